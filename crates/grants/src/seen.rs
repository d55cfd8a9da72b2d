//! What may be used once: the names of assertions that were taken, in the store that all servers
//! share.
//!
//! A name is written on the condition that it is not there, before what it names is worth anything,
//! and stays until nobody could take it any more. A request that takes several and is refused
//! half-way gives back those it has taken, so that no refusal uses up what another try would need.
//! Pinned by `tests/e2e/stores.py`, on every engine, and by `tests/e2e/test_spent.py`.

use aws_lc_rs::digest::{Context, SHA256};
use countersign_jose::{Timestamp, base64url};
use countersign_store::{Expect, Key, Store, StoreError, Version};
use std::{sync::Arc, time::Duration};

/// The names that were taken.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    store: Arc<dyn Store>,
    /// How much later than here it may be on other servers and in the store.
    skew: Duration,
}

/// A name that this request has taken.
#[derive(Debug)]
pub(crate) struct Taken {
    key: Key,
    version: Version,
}

/// Whose name it is: that of one kind says nothing about another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An assertion by which a client proves who it is.
    OfClient,
    /// A token of another issuer that is shown for one of ours.
    OfIssuer,
    /// A proof that its sender holds a key.
    Proof,
}

impl Kind {
    const fn folder(self) -> &'static str {
        match self {
            Self::OfClient => "assertion",
            Self::OfIssuer => "exchanged",
            Self::Proof => "dpop",
        }
    }
}

impl Seen {
    pub(crate) fn new(store: Arc<dyn Store>, skew: Duration) -> Self {
        Self { store, skew }
    }

    /// Takes the name that `by` gave, for the first and only time before `until`.
    pub(crate) async fn once(
        &self,
        kind: Kind,
        by: &str,
        jti: &str,
        until: Timestamp,
    ) -> Result<Taken, SeenError> {
        let key = key(kind, by, jti)?;
        match self.store.put(&key, &[], Expect::Absent, Some(until.plus(self.skew))).await {
            Ok(version) => Ok(Taken { key, version }),
            Err(StoreError::Conflict { .. }) => Err(SeenError::Replayed),
            Err(why) => Err(why.into()),
        }
    }

    /// Whether a name was taken before, without taking it.
    pub(crate) async fn check(&self, kind: Kind, by: &str, jti: &str) -> Result<(), SeenError> {
        match self.store.get(&key(kind, by, jti)?).await? {
            Some(_) => Err(SeenError::Replayed),
            None => Ok(()),
        }
    }

    /// Gives names back that were taken for nothing. Where that fails they stay taken, which is
    /// safe.
    pub(crate) async fn give_back(&self, names: Vec<Taken>) {
        for Taken { key, version } in names {
            if let Err(why) = self.store.delete(&key, &version).await {
                tracing::warn!("a token that was not exchanged stays used up: {why}");
            }
        }
    }
}

fn key(kind: Kind, by: &str, jti: &str) -> Result<Key, SeenError> {
    Key::parse(&name(kind, by, jti)).map_err(|why| SeenError::Store(why.to_string()))
}

/// A document's name for what somebody calls an assertion, of any length and alphabet.
fn name(kind: Kind, by: &str, jti: &str) -> String {
    let mut hash = Context::new(&SHA256);
    hash.update(&u64::try_from(by.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(by.as_bytes());
    hash.update(jti.as_bytes());
    format!("{}/{}", kind.folder(), base64url::encode(hash.finish().as_ref()))
}

/// Why a name was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SeenError {
    #[error("it was used before (`jti`)")]
    Replayed,
    #[error("it cannot be known whether it was used before: {0}")]
    Store(String),
}

impl From<StoreError> for SeenError {
    fn from(why: StoreError) -> Self {
        Self::Store(why.to_string())
    }
}

impl SeenError {
    /// Whether it may be good, and only cannot be judged now.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Store(_) => true,
            Self::Replayed => false,
        }
    }

    /// A stable name for the audit and the metrics.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "store_unavailable",
            Self::Replayed => "assertion_replayed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_name_of_an_assertion_is_a_key_whatever_it_is_called_and_another_for_each_who_calls_it_so() {
        let jtis = ["a", "../..", "é\0", &"x".repeat(9000), "a/b", "", "b", "ba"];
        let mut names = BTreeSet::new();
        for by in ["app", "ap", "..", "https://login.example/"] {
            for jti in jtis {
                for kind in [Kind::OfClient, Kind::OfIssuer, Kind::Proof] {
                    let name = name(kind, by, jti);
                    assert!(Key::parse(&name).is_ok(), "{name}");
                    assert!(names.insert(name), "{by} {jti}");
                }
            }
        }
        assert_ne!(name(Kind::OfClient, "a", "bc"), name(Kind::OfClient, "ab", "c"));
    }
}
