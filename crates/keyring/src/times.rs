//! The times a keyring has of itself, and what to make of those that lie in the future.
//!
//! A machine whose clock is ahead writes times that have not come yet. Whoever knows that the clock at hand is right can have them
//! corrected. Pure functions; asked by the program.

use crate::{KeyRecord, Keyring, KeyringError, StoredKeyring};
use countersign_jose::Timestamp;
use std::time::Duration;

/// A time that has not come yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FutureTime {
    /// Whose it is.
    pub kid: String,
    /// What is said to have happened then: `created_at` and the like.
    pub name: &'static str,
    /// When.
    pub at: Timestamp,
}

impl KeyRecord {
    /// What has happened to it and when.
    fn events(&self) -> impl Iterator<Item = (&'static str, Timestamp)> {
        [
            ("created_at", Some(self.created_at)),
            ("published_at", self.published_at),
            ("activated_at", self.activated_at),
            ("signing_since", self.signing_since.filter(|at| Some(*at) != self.activated_at)),
            ("retired_at", self.retired_at),
        ]
        .into_iter()
        .filter_map(|(name, at)| Some((name, at?)))
    }
}

impl Keyring {
    /// The latest time at which something is said to have happened.
    pub fn latest_time(&self) -> Option<Timestamp> {
        self.keys_of_all_rings().flat_map(|key| key.events()).map(|(_, at)| at).max()
    }

    /// The times that have not come yet, by a clock that may be behind by `skew`.
    pub fn future_times(&self, skew: Duration, now: Timestamp) -> Vec<FutureTime> {
        let horizon = now.plus(skew);
        let future = |key: &KeyRecord| {
            let times = key.events().filter(|(_, at)| *at > horizon);
            times.map(|(name, at)| FutureTime { kid: key.kid.clone(), name, at }).collect::<Vec<_>>()
        };
        self.keys_of_all_rings().flat_map(future).collect()
    }

    /// The keyring with every time that has not come yet set to now. `None` if there is none.
    pub fn with_times_corrected(&self, skew: Duration, now: Timestamp) -> Option<Self> {
        let horizon = now.plus(skew);
        let mut next = self.clone();
        for key in next.rings.values_mut().flat_map(|ring| &mut ring.keys) {
            let times =
                [&mut key.published_at, &mut key.activated_at, &mut key.signing_since, &mut key.retired_at];
            for at in times.into_iter().flatten().chain([&mut key.created_at]) {
                if *at > horizon {
                    *at = now;
                }
            }
        }
        (next != *self).then_some(next)
    }

    fn keys_of_all_rings(&self) -> impl Iterator<Item = &KeyRecord> {
        self.rings.values().flat_map(|ring| &ring.keys)
    }
}

impl StoredKeyring {
    /// Sets every time that has not come yet to now, and says which they were. For whoever knows that this clock is right.
    pub async fn correct_times(
        &self,
        skew: Duration,
        now: Timestamp,
    ) -> Result<Vec<FutureTime>, KeyringError> {
        let mut corrected = Vec::new();
        self.change_states(|keyring| {
            corrected = keyring.future_times(skew, now);
            Ok(keyring.with_times_corrected(skew, now))
        })
        .await?;
        Ok(corrected)
    }
}
