//! Who asks S3: the credentials that every AWS client of this process and machine would use.
//!
//! The object store's client takes credentials through a trait of its own; this is
//! `countersign_aws`'s chain behind it, with all that is promised there: good ones go on while
//! others cannot be had, a chain that fails is left alone for a while, and what S3 refuses is given
//! up. Called by `connect`.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use countersign_aws::{SdkConfig, credentials::Chain};
use countersign_jose::Timestamp;
use object_store::{CredentialProvider, aws::AwsCredential};

use crate::{Clock, SystemClock};

/// How long before their end credentials are replaced.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// AWS's chain of credential providers, and what it said last.
pub(super) struct AwsCredentials {
    chain: Arc<Chain>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials").finish_non_exhaustive()
    }
}

impl AwsCredentials {
    pub(super) fn new(aws: SdkConfig) -> Self {
        Self { chain: Arc::new(Chain::of_client(aws)), clock: Arc::new(SystemClock) }
    }

    /// S3 would not take what is held: the next request asks the chain again.
    pub(super) fn give_up(&self) {
        self.chain.give_up();
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + self.clock.now().since(Timestamp::from_unix_seconds(0))
    }
}

#[async_trait]
impl CredentialProvider for AwsCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let now = self.now();
        let found = match self.chain.held(now) {
            Some(held) if self.chain.is_fresh(now, MARGIN) => held,
            _ => self.chain.refresh(now, MARGIN).await.map_err(|why| object_store::Error::Generic {
                store: "credentials",
                source: Box::new(why),
            })?,
        };
        Ok(Arc::new(AwsCredential {
            key_id: found.key_id.clone(),
            secret_key: String::clone(&found.secret),
            token: found.token.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_credential_types::{
        Credentials,
        provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
    };

    use super::*;
    use crate::ManualClock;

    /// Gives credentials that end at these times, one after the other, and then fails.
    #[derive(Debug)]
    struct Giving {
        asked: Arc<AtomicU32>,
        ends: &'static [u64],
    }

    impl ProvideCredentials for Giving {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let turn = self.asked.fetch_add(1, Ordering::SeqCst) as usize;
            future::ProvideCredentials::ready(match self.ends.get(turn) {
                Some(ends) => {
                    let end = UNIX_EPOCH + Duration::from_secs(*ends);
                    Ok(Credentials::new(format!("AKIA{turn}"), "secret", None, Some(end), "test"))
                }
                None => Err(CredentialsError::provider_error("the role is away")),
            })
        }
    }

    fn credentials(ends: &'static [u64]) -> (AwsCredentials, Arc<ManualClock>, Arc<AtomicU32>) {
        let (asked, clock) =
            (Arc::new(AtomicU32::new(0)), Arc::new(ManualClock::at(Timestamp::from_unix_seconds(0))));
        let provider = SharedCredentialsProvider::new(Giving { asked: Arc::clone(&asked), ends });
        let aws = SdkConfig::builder().credentials_provider(provider).build();
        let found = AwsCredentials { clock: Arc::clone(&clock) as _, ..AwsCredentials::new(aws) };
        (found, clock, asked)
    }

    #[tokio::test]
    async fn good_credentials_go_on_while_others_cannot_be_had() {
        let (credentials, clock, asked) = credentials(&[1000]);
        // The last of them within the five minutes before their end, when the provider fails.
        for now in [0, 699, 700, 701, 704, 720, 999] {
            clock.set(Timestamp::from_unix_seconds(now));
            assert_eq!(credentials.get_credential().await.unwrap().key_id, "AKIA0", "{now}");
        }
        assert!(asked.load(Ordering::SeqCst) <= 4, "not with every request");
        clock.set(Timestamp::from_unix_seconds(1100));
        assert!(credentials.get_credential().await.is_err());
        let asked_now = asked.load(Ordering::SeqCst);
        for _ in 0..10 {
            assert!(credentials.get_credential().await.is_err());
        }
        assert_eq!(
            asked.load(Ordering::SeqCst),
            asked_now,
            "a provider that fails is left alone for a while"
        );
    }

    #[tokio::test]
    async fn credentials_that_live_for_less_than_five_minutes_are_not_fetched_for_every_request() {
        let (credentials, _, asked) = credentials(&[200, 200]);
        for _ in 0..10 {
            assert_eq!(credentials.get_credential().await.unwrap().key_id, "AKIA0");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_s3_refuses_is_asked_for_again() {
        let (credentials, _, _) = credentials(&[9000, 9000]);
        assert_eq!(credentials.get_credential().await.unwrap().key_id, "AKIA0");
        credentials.give_up();
        assert_eq!(credentials.get_credential().await.unwrap().key_id, "AKIA1");
    }
}
