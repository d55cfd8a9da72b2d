//! Credentials of AWS's chain (environment, profile, container, function, instance, web identity),
//! for code that signs by itself: held in memory, and replaced before they end.
//!
//! [`Chain::held`] never waits. [`Chain::refresh`] asks the chain where what is held is missing or
//! ends too soon: one task asks, and the others wait for it only where there is nothing to go on
//! with. It asks in a task of its own, so that what comes of it is noted whatever becomes of the
//! request that wanted it. What does not end is asked for again after fifteen minutes, as AWS's
//! clients do. A chain that has failed is left alone for some seconds, so that a burst of requests
//! is not a burst of attempts; one that has nothing that lives as long as is wanted, for longer,
//! because what it gives lives no longer than it does. That they could not be renewed is in the log
//! at once, and not when the old ones have ended: each reason once until they can be had again.
//! What the service refuses ([`Chain::give_up`]) is replaced at once, and then not again before the
//! pause. No error, no record and no `Debug` shows a key.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use tokio::{
    sync::{Mutex, OnceCell},
    time::Instant,
};
use zeroize::Zeroizing;

use crate::{ATTEMPT, Named, OPERATION, Service, Unusable, configuration};

/// How long credentials without an end are held.
const HELD: Duration = Duration::from_secs(15 * 60);
/// How long the chain is left alone after it was asked, whatever came of it; after one that failed,
/// besides what it took, so that those who have waited meanwhile do not ask again.
pub const PAUSE: Duration = Duration::from_secs(5);
/// How long it is left alone at most where it gave credentials that end sooner than is wanted: a
/// tenth of what is left of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

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
    /// A provider of the chain failed. What it says of itself may repeat what it was given, so it
    /// is left out.
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
    load: Load,
    /// How long it is waited for.
    patience: Duration,
    teller: Teller,
    aws: OnceCell<SdkConfig>,
    held: ArcSwapOption<Credentials>,
    /// The service did not take what is held.
    refused: AtomicBool,
    asked: Mutex<Option<Asked>>,
}

/// Who says that there are no credentials at all. That old ones could not be renewed is in the log
/// in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Teller {
    Log,
    /// The error is shown to those who asked.
    Caller,
}

/// Finds out what the chain is made of: reads files, and may ask the machine for its region.
type Load = Box<dyn Fn(Option<String>) -> Loading + Send + Sync>;
type Loading = Pin<Box<dyn Future<Output = Result<SdkConfig, Unusable>> + Send>>;

/// What every AWS tool would find here.
fn of_the_machine(region: Option<String>) -> Loading {
    Box::pin(
        async move { configuration(Service::S3, Named { region: region.as_deref(), endpoint: None }).await },
    )
}

/// When the chain was asked, and what came of it.
struct Asked {
    at: SystemTime,
    /// How long it took.
    took: Duration,
    failure: Option<NoCredentials>,
    /// What the log has of that.
    told: Option<NoCredentials>,
    /// Whether it was asked because the service did not take what it had given before.
    for_refused: bool,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Chain {
    /// The chain of this process. Nothing is read or asked yet. `region` is for providers that need
    /// one.
    pub fn new(region: Option<String>) -> Self {
        Self::loaded_by(Box::new(of_the_machine), region)
    }

    fn loaded_by(load: Load, region: Option<String>) -> Self {
        Self {
            region,
            load,
            patience: ATTEMPT,
            teller: Teller::Log,
            aws: OnceCell::new(),
            held: ArcSwapOption::empty(),
            refused: AtomicBool::new(false),
            asked: Mutex::new(None),
        }
    }

    /// The same with a configuration that was made elsewhere.
    pub fn of(aws: SdkConfig) -> Self {
        Self { aws: OnceCell::new_with(Some(aws)), ..Self::new(None) }
    }

    /// That of a client whose operations wait for it ([`OPERATION`]), and tell their callers
    /// themselves that there are no credentials.
    pub fn of_client(aws: SdkConfig) -> Self {
        Self { patience: OPERATION, teller: Teller::Caller, ..Self::of(aws) }
    }

    /// The service does not take what is held: the next [`Chain::refresh`] asks for others,
    /// whenever it would end. A chain that gives the same ones again is left alone for [`PAUSE`],
    /// and they are what there is until then.
    pub fn give_up(&self) {
        self.refused.store(true, Ordering::SeqCst);
    }

    /// What is held, unless it has ended.
    pub fn held(&self, now: SystemTime) -> Option<Arc<Credentials>> {
        self.held.load_full().filter(|held| held.ends.is_none_or(|ends| now < ends))
    }

    /// Whether what is held is good for this long, or the chain was asked just now and has no
    /// better ones.
    pub fn is_fresh(&self, now: SystemTime, at_least: Duration) -> bool {
        let Some(held) = self.held(now) else { return false };
        let refused = self.refused.load(Ordering::SeqCst);
        if !refused && held.ends.is_some_and(|ends| now + at_least < ends) {
            return true;
        }
        // When it was asked is behind a lock; nobody is asking while it can be had.
        self.asked.try_lock().map_or(!refused, |asked| {
            asked.as_ref().is_some_and(|asked| match refused {
                true => asked.has_just_replaced(now),
                false => asked.lasts(&held, now),
            })
        })
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
        // Somebody is asking already, and what is held will do until then.
        if !self.refused.load(Ordering::SeqCst)
            && let (Some(held), Err(_)) = (self.held(now), self.asked.try_lock())
        {
            return Ok(held);
        }
        let own = Arc::clone(self);
        let asking = tokio::spawn(async move { own.in_turn(now, at_least).await });
        asking.await.unwrap_or(Err(NoCredentials::Failed("the task that asked has ended")))
    }

    async fn in_turn(&self, now: SystemTime, at_least: Duration) -> Result<Arc<Credentials>, NoCredentials> {
        let mut asked = self.asked.lock().await;
        let mut held = self.held(now);
        // Others may be refused while these are asked for, and then these are given up, too, which
        // costs one question.
        let refused = held.is_some() && self.refused.load(Ordering::SeqCst);
        if let Some(held) = &held {
            let is_good = !refused && held.ends.is_some_and(|ends| now + at_least < ends);
            let may_last = |asked: &Asked| match refused {
                true => asked.has_just_replaced(now),
                false => asked.lasts(held, now),
            };
            if is_good || asked.as_ref().is_some_and(may_last) {
                return Ok(Arc::clone(held));
            }
        } else if let Some(last) = asked.as_ref().filter(|asked| is_within(asked.at, now, asked.pause())) {
            return Err(last.failure.clone().unwrap_or(NoCredentials::Ended));
        }
        if refused {
            // Nothing to go on with, whatever comes of this.
            held = None;
            self.held.store(None);
        }
        self.refused.store(false, Ordering::SeqCst);
        let began = Instant::now();
        // The files, the region and the provider together, so that nobody waits longer.
        let found = tokio::time::timeout(self.patience, self.ask()).await;
        let found = found.unwrap_or(Err(NoCredentials::Failed("no answer in time")));
        let failure = found.as_ref().err().cloned();
        let told = asked.as_ref().and_then(|asked| asked.told.as_ref());
        let told = self.report(told, failure.as_ref(), held.as_deref(), now);
        *asked = Some(Asked { at: now, took: began.elapsed(), failure, told, for_refused: refused });
        match found {
            Ok(found) => {
                self.held.store(Some(Arc::new(found)));
                self.held(now).ok_or(NoCredentials::Ended)
            }
            Err(why) => held.ok_or(why),
        }
    }

    /// Tells that the credentials could not be renewed, or can be had again, and returns what the
    /// log has of the reason now. One that was told is told again only after they could be had.
    fn report(
        &self,
        before: Option<&NoCredentials>,
        failure: Option<&NoCredentials>,
        held: Option<&Credentials>,
        now: SystemTime,
    ) -> Option<NoCredentials> {
        let Some(why) = failure else {
            if before.is_some() {
                tracing::info!("the AWS credentials can be had again");
            }
            return None;
        };
        if before == Some(why) || (held.is_none() && self.teller == Teller::Caller) {
            return before.cloned();
        }
        match held.map(|held| held.ends) {
            None => tracing::error!("there are no AWS credentials to sign with: {why}"),
            Some(None) => {
                tracing::warn!("the AWS credentials could not be renewed, the old ones go on: {why}");
            }
            Some(Some(ends)) => {
                let left = ends.duration_since(now).unwrap_or_default().as_secs();
                tracing::warn!(
                    "the AWS credentials could not be renewed, and the old ones end in {left} s: {why}"
                );
            }
        }
        Some(why.clone())
    }

    async fn ask(&self) -> Result<Credentials, NoCredentials> {
        let aws = self.aws.get_or_try_init(|| (self.load)(self.region.clone())).await?;
        let provider = aws.credentials_provider().ok_or(NoCredentials::Nowhere)?;
        let found = provider.provide_credentials().await.map_err(|why| match why {
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

impl Asked {
    /// Whether the chain need not be asked again for something better than these.
    fn lasts(&self, held: &Credentials, now: SystemTime) -> bool {
        let pause = match held.ends {
            _ if self.failure.is_some() => self.pause(),
            None => HELD,
            Some(ends) => {
                let left = ends.duration_since(now).unwrap_or_default();
                (left / 10).clamp(PAUSE, LONGEST_PAUSE).max(self.took)
            }
        };
        is_within(self.at, now, pause)
    }

    /// How long the chain is left alone where it had nothing.
    fn pause(&self) -> Duration {
        self.took.saturating_add(PAUSE)
    }

    /// Whether it was asked for others just now, and gave those that are refused.
    fn has_just_replaced(&self, now: SystemTime) -> bool {
        self.for_refused && is_within(self.at, now, self.pause())
    }
}

/// Whether `at` is less than `span` before `now`. A clock that was set back asks again.
fn is_within(at: SystemTime, now: SystemTime, span: Duration) -> bool {
    now.duration_since(at).is_ok_and(|since| since < span)
}

#[cfg(test)]
mod tests;
