//! With whose credentials policies are signed: those of AWS's chain, or a pair of keys that the
//! configuration has for a service of its own.
//!
//! What a form can do, these credentials can. They need `s3:PutObject` below the fixed beginning of
//! the keys, and nothing else.

use countersign_aws::credentials::{Chain, Credentials, NoCredentials};
use countersign_jose::Timestamp;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long credentials have to be good for beyond what a form needs, so that they are replaced in
/// time.
const MARGIN: Duration = Duration::from_secs(60);

/// Where the credentials of a destination are.
#[derive(Debug, Clone)]
pub enum Access {
    /// A pair of keys without an end.
    Keys(Arc<Credentials>),
    /// AWS's chain.
    Chain(Arc<Chain>),
}

impl Access {
    /// What a form is signed with now; `None` where [`Access::refresh`] has to be waited for first.
    pub(crate) fn held(&self, now: Timestamp) -> Option<Arc<Credentials>> {
        match self {
            Self::Keys(keys) => Some(Arc::clone(keys)),
            Self::Chain(chain) => chain.held(system_time(now)),
        }
    }

    /// Whether nothing has to be waited for, for forms that live so long.
    pub(crate) fn is_fresh(&self, now: Timestamp, lifetime: Duration) -> bool {
        match self {
            Self::Keys(_) => true,
            Self::Chain(chain) => chain.is_fresh(system_time(now), lifetime.saturating_add(MARGIN)),
        }
    }

    /// Asks for newer credentials where those that are held end too soon.
    pub(crate) async fn refresh(&self, now: Timestamp, lifetime: Duration) -> Result<(), NoCredentials> {
        match self {
            Self::Keys(_) => Ok(()),
            Self::Chain(chain) => {
                chain.refresh(system_time(now), lifetime.saturating_add(MARGIN)).await.map(|_| ())
            }
        }
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + time.since(Timestamp::from_unix_seconds(0))
}

/// When credentials end, where that is known.
pub(crate) fn ends(credentials: &Credentials) -> Option<Timestamp> {
    let since = credentials.ends?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Timestamp::from_unix_seconds(0).plus(since))
}
