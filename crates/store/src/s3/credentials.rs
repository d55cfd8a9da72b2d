//! Who asks S3: the credentials that every AWS client of this process and machine would use.
//!
//! The object store's client takes credentials through a trait of its own; this is AWS's chain (environment, profile,
//! container, function, instance, web identity) behind it. What expires is fetched anew five minutes before, what does not
//! after fifteen minutes, as AWS's clients do; and whatever is held is given up when S3 refuses it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use countersign_aws::SdkConfig;
use countersign_jose::Timestamp;
use object_store::{CredentialProvider, aws::AwsCredential};
use tokio::sync::Mutex;

use crate::{Clock, SystemClock};

/// How long before their end credentials are replaced.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// How long credentials without an end are held.
const HELD: Duration = Duration::from_secs(15 * 60);

/// AWS's chain of credential providers, and what it said last.
pub(super) struct AwsCredentials {
    aws: SdkConfig,
    held: Mutex<Option<Held>>,
    refused: AtomicBool,
}

struct Held {
    credential: Arc<AwsCredential>,
    until: Timestamp,
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials").finish_non_exhaustive()
    }
}

impl AwsCredentials {
    pub(super) fn new(aws: SdkConfig) -> Self {
        Self { aws, held: Mutex::new(None), refused: AtomicBool::new(false) }
    }

    /// S3 would not take what is held: the next request asks the chain again.
    pub(super) fn give_up(&self) {
        self.refused.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl CredentialProvider for AwsCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        if self.refused.swap(false, Ordering::SeqCst) {
            *held = None;
        }
        let now = SystemClock.now();
        if let Some(held) = held.as_ref().filter(|held| now < held.until) {
            return Ok(Arc::clone(&held.credential));
        }
        let provider = self.aws.credentials_provider().ok_or_else(|| NoCredentials::because("none"))?;
        let provider: &dyn AsRef<_> = &provider;
        let found = provider.as_ref().provide_credentials().await.map_err(NoCredentials::because)?;
        let until = match found.expiry().map(|end| end.duration_since(UNIX_EPOCH).unwrap_or_default()) {
            Some(end) => Timestamp::from_unix_seconds(0).plus(end).minus(MARGIN),
            None => now.plus(HELD),
        };
        let credential = Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        });
        *held = Some(Held { credential: Arc::clone(&credential), until });
        Ok(credential)
    }
}

/// The chain has nothing to give.
#[derive(Debug, thiserror::Error)]
#[error("no AWS credentials")]
pub(super) struct NoCredentials {
    /// Whether there are none anywhere; otherwise a provider failed.
    pub(super) nowhere: bool,
}

impl NoCredentials {
    /// What a provider says about itself may repeat what it was given, so it stays out.
    fn because(why: impl fmt::Debug) -> object_store::Error {
        let nowhere =
            matches!(format!("{why:?}").split(['(', ' ']).next(), Some("CredentialsNotLoaded" | "\"none\""));
        object_store::Error::Generic { store: "credentials", source: Box::new(Self { nowhere }) }
    }
}
