//! Credentials of AWS's chain (environment, profile, container, function, instance, web identity), for code that signs by
//! itself: held in memory, and replaced before they end.
//!
//! [`Chain::held`] never waits. [`Chain::refresh`] asks the chain where what is held is missing or ends too soon: one task
//! asks, and the others wait for it only where there is nothing to go on with. It asks in a task of its own, so that what
//! comes of it is noted whatever becomes of the request that wanted it. What does not end is asked for again after
//! fifteen minutes, as AWS's clients do. A chain that has failed is left alone for some seconds, so that a burst of requests
//! is not a burst of attempts. No error and no `Debug` shows a key.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use tokio::sync::{Mutex, OnceCell};
use zeroize::Zeroizing;

use crate::{ATTEMPT, Named, Service, Unusable, configuration};

/// How long credentials without an end are held.
const HELD: Duration = Duration::from_secs(15 * 60);
/// How long the chain is left alone after it was asked, whatever came of it: longer than it may take to answer
/// ([`ATTEMPT`]), so that those who have waited meanwhile do not ask again.
const PAUSE: Duration = Duration::from_secs(5);

/// Credentials of AWS, or of a service that takes the same.
#[derive(Clone)]
pub struct Credentials {
    /// The access key id, which is public.
    pub key_id: String,
    /// The secret access key.
    pub secret: Zeroizing<String>,
    /// The session token, where they are those of a session.
    pub token: Option<String>,
    /// When they end, where that is known.
    pub ends: Option<SystemTime>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCredentials {
    /// AWS cannot be asked with what is configured.
    #[error("{0}")]
    Unusable(#[from] Unusable),
    /// The chain has none.
    #[error(
        "there are no AWS credentials in the environment, a profile, or from the machine; see the AWS SDKs and Tools \
         Reference Guide on the credential provider chain"
    )]
    Nowhere,
    /// A provider of the chain failed. What it says of itself may repeat what it was given, so it is left out.
    #[error("the AWS credentials could not be had: a provider of the chain failed ({0})")]
    Failed(&'static str),
    /// They have ended and no others could be had.
    #[error("the AWS credentials have expired, and the chain gives no newer ones")]
    Ended,
}

/// The chain of credential providers, and what it said last.
pub struct Chain {
    /// The region that the chain is asked in.
    region: Option<String>,
    aws: OnceCell<SdkConfig>,
    held: ArcSwapOption<Credentials>,
    asked: Mutex<Option<Asked>>,
}

/// When the chain was asked, and what came of it.
struct Asked {
    at: SystemTime,
    failure: Option<NoCredentials>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Chain {
    /// The chain of this process. Nothing is read or asked yet. `region` is for providers that need one.
    pub fn new(region: Option<String>) -> Self {
        Self { region, aws: OnceCell::new(), held: ArcSwapOption::empty(), asked: Mutex::new(None) }
    }

    /// The same with a configuration that was made elsewhere.
    pub fn of(aws: SdkConfig) -> Self {
        Self { aws: OnceCell::new_with(Some(aws)), ..Self::new(None) }
    }

    /// What is held, unless it has ended.
    pub fn held(&self, now: SystemTime) -> Option<Arc<Credentials>> {
        self.held.load_full().filter(|held| held.ends.is_none_or(|ends| now < ends))
    }

    /// Whether what is held is good for this long, and need not be asked for.
    pub fn is_fresh(&self, now: SystemTime, at_least: Duration) -> bool {
        let held = self.held.load();
        let Some(held) = held.as_ref() else { return false };
        match held.ends {
            Some(ends) => now + at_least < ends,
            // When it was asked is behind a lock; nobody is asking while it can be had.
            None => self
                .asked
                .try_lock()
                .map_or(true, |asked| asked.as_ref().is_some_and(|asked| is_within(asked.at, now, HELD))),
        }
    }

    /// Asks the chain, unless what is held is good for `at_least` this long.
    ///
    /// # Errors
    ///
    /// [`NoCredentials`], where there is nothing left to go on with.
    pub async fn refresh(
        self: &Arc<Self>,
        now: SystemTime,
        at_least: Duration,
    ) -> Result<Arc<Credentials>, NoCredentials> {
        // Somebody is asking already.
        if let (Some(held), Err(_)) = (self.held(now), self.asked.try_lock()) {
            return Ok(held);
        }
        let own = Arc::clone(self);
        let asking = tokio::spawn(async move { own.in_turn(now, at_least).await });
        asking.await.unwrap_or(Err(NoCredentials::Failed("the task that asked has ended")))
    }

    async fn in_turn(&self, now: SystemTime, at_least: Duration) -> Result<Arc<Credentials>, NoCredentials> {
        let mut asked = self.asked.lock().await;
        let is_good = |held: &Credentials| match held.ends {
            Some(ends) => now + at_least < ends,
            None => asked.as_ref().is_some_and(|asked| is_within(asked.at, now, HELD)),
        };
        let held = self.held(now);
        if let Some(held) = held.as_ref().filter(|held| is_good(held)) {
            return Ok(Arc::clone(held));
        }
        if let Some(last) = asked.as_ref().filter(|asked| is_within(asked.at, now, PAUSE)) {
            let failure = last.failure.clone().unwrap_or(NoCredentials::Ended);
            return held.ok_or(failure);
        }
        let found = self.ask().await;
        *asked = Some(Asked { at: now, failure: found.as_ref().err().cloned() });
        match found {
            Ok(found) => {
                self.held.store(Some(Arc::new(found)));
                self.held(now).ok_or(NoCredentials::Ended)
            }
            Err(why) => held.ok_or(why),
        }
    }

    async fn ask(&self) -> Result<Credentials, NoCredentials> {
        let named = Named { region: self.region.as_deref(), endpoint: None };
        let aws = self.aws.get_or_try_init(|| configuration(Service::S3, named)).await?;
        let provider = aws.credentials_provider().ok_or(NoCredentials::Nowhere)?;
        let found = tokio::time::timeout(ATTEMPT, provider.provide_credentials()).await;
        let found =
            found.map_err(|_| NoCredentials::Failed("no answer in time"))?.map_err(|why| match why {
                CredentialsError::CredentialsNotLoaded(_) => NoCredentials::Nowhere,
                CredentialsError::ProviderTimedOut(_) => NoCredentials::Failed("no answer in time"),
                CredentialsError::InvalidConfiguration(_) => NoCredentials::Failed("invalid configuration"),
                CredentialsError::ProviderError(_) => NoCredentials::Failed("provider error"),
                _ => NoCredentials::Failed("unexpected error"),
            })?;
        Ok(Credentials {
            key_id: found.access_key_id().to_owned(),
            secret: Zeroizing::new(found.secret_access_key().to_owned()),
            token: found.session_token().map(str::to_owned),
            ends: found.expiry(),
        })
    }
}

/// Whether `at` is less than `span` before `now`. A clock that was set back asks again.
fn is_within(at: SystemTime, now: SystemTime, span: Duration) -> bool {
    now.duration_since(at).is_ok_and(|since| since < span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_config::Region;
    use aws_credential_types::{
        Credentials as Found,
        provider::{SharedCredentialsProvider, future},
    };
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Gives credentials that end after so many seconds, or fails.
    #[derive(Debug)]
    struct Giving {
        asked: Arc<AtomicU32>,
        ends: Vec<Option<u64>>,
        with_end: bool,
    }

    impl ProvideCredentials for Giving {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let turn = self.asked.fetch_add(1, Ordering::SeqCst) as usize;
            let ends = self.ends.get(turn.min(self.ends.len() - 1)).copied().flatten();
            future::ProvideCredentials::ready(match ends {
                Some(ends) => Ok(Found::new(
                    format!("AKIA{turn}"),
                    "secret",
                    Some("token".into()),
                    self.with_end.then(|| at(ends)),
                    "test",
                )),
                None => Err(CredentialsError::provider_error("SECRET was refused")),
            })
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn chain(ends: &[Option<u64>], with_end: bool) -> (Arc<Chain>, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let giving = Giving { asked: Arc::clone(&asked), ends: ends.to_vec(), with_end };
        let aws = SdkConfig::builder()
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(giving))
            .build();
        (Arc::new(Chain::of(aws)), asked)
    }

    const NEED: Duration = Duration::from_secs(300);

    #[tokio::test]
    async fn credentials_are_replaced_before_they_end_and_not_sooner() {
        let (chain, asked) = chain(&[Some(1000), Some(9000)], true);
        assert!(chain.held(at(0)).is_none() && !chain.is_fresh(at(0), NEED));
        for (now, key, times) in
            [(0, "AKIA0", 1), (600, "AKIA0", 1), (699, "AKIA0", 1), (700, "AKIA1", 2), (8000, "AKIA1", 2)]
        {
            assert_eq!(chain.refresh(at(now), NEED).await.unwrap().key_id, key, "{now}");
            assert_eq!(asked.load(Ordering::SeqCst), times, "{now}");
            assert!(chain.is_fresh(at(now), NEED), "{now}");
        }
        assert!(!chain.is_fresh(at(8700), NEED) && chain.held(at(8999)).is_some());
        assert!(chain.held(at(9000)).is_none(), "they have ended");
    }

    #[tokio::test]
    async fn a_chain_that_fails_is_left_alone_for_a_while_and_what_is_held_goes_on_until_it_ends() {
        let (chain, asked) = chain(&[Some(1000), None], true);
        chain.refresh(at(0), NEED).await.unwrap();
        for (now, times) in [(800, 2), (801, 2), (804, 2), (806, 3), (999, 4)] {
            assert_eq!(chain.refresh(at(now), NEED).await.unwrap().key_id, "AKIA0", "{now}");
            assert_eq!(asked.load(Ordering::SeqCst), times, "{now}");
        }
        for _ in 0..10 {
            let why = chain.refresh(at(1000), NEED).await.unwrap_err();
            assert_eq!(why, NoCredentials::Failed("provider error"));
            assert!(!format!("{why} {why:?} {chain:?}").contains("SECRET"));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_chain_that_gives_the_same_ones_again_is_not_asked_by_every_request() {
        let (chain, asked) = chain(&[Some(1000)], true);
        for now in [0, 800, 801, 802, 803, 804] {
            assert!(chain.refresh(at(now), NEED).await.is_ok());
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        assert_eq!(chain.refresh(at(1001), NEED).await.unwrap_err(), NoCredentials::Ended);
    }

    #[tokio::test]
    async fn credentials_without_an_end_are_asked_for_again_after_a_quarter_of_an_hour() {
        let (chain, asked) = chain(&[Some(0)], false);
        for (now, times) in [(0, 1), (10, 1), (899, 1), (900, 2), (1000, 2)] {
            assert!(chain.refresh(at(now), NEED).await.unwrap().ends.is_none());
            assert_eq!(asked.load(Ordering::SeqCst), times, "{now}");
        }
    }

    /// A provider that never answers.
    #[derive(Debug)]
    struct Silent(Arc<AtomicU32>);

    impl ProvideCredentials for Silent {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.0.fetch_add(1, Ordering::SeqCst);
            future::ProvideCredentials::new(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_that_never_answers_is_noted_though_nobody_waits_for_it() {
        let asked = Arc::new(AtomicU32::new(0));
        let aws = SdkConfig::builder()
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(Silent(Arc::clone(&asked))))
            .build();
        let chain = Arc::new(Chain::of(aws));
        // Its request is given up after a second.
        assert!(tokio::time::timeout(Duration::from_secs(1), chain.refresh(at(0), NEED)).await.is_err());
        tokio::time::sleep(ATTEMPT).await;
        for now in [1, 3, 4] {
            let why = chain.refresh(at(now), NEED).await.unwrap_err();
            assert_eq!(why, NoCredentials::Failed("no answer in time"), "{now}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_machine_without_credentials_says_so() {
        let aws = SdkConfig::builder().region(Region::new("eu-central-1")).build();
        assert_eq!(Arc::new(Chain::of(aws)).refresh(at(0), NEED).await.unwrap_err(), NoCredentials::Nowhere);
    }
}
