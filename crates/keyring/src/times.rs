//! The times a keyring has of itself, and what to make of those that lie in the future.
//!
//! A machine whose clock is ahead writes times that have not come yet. They count as what can be
//! known instead, so that the plan neither rests until they have come nor removes anything early: a
//! key that became active in the future is due for its successor at once, and one that stopped
//! signing in the future stopped when the key that signs now began, or now. Anyone who knows that
//! the clock at hand is right can have them corrected. Pure functions; asked by `rotation::plan`
//! and by the program.

use crate::{KeyRecord, Keyring, KeyringError, Ring, StoredKeyring};
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
    /// What it becomes where it is corrected.
    pub corrected: Timestamp,
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

    /// Until when it is said to be needed, if that is longer than of a key that stops signing at
    /// `latest`.
    fn needed_too_long(&self, latest: Timestamp) -> Option<Timestamp> {
        self.needed_until.filter(|until| *until > latest.plus(self.keep_after))
    }
}

impl Ring {
    /// Since when the active key has signed: `None` where that is not known because it lies in the
    /// future.
    pub(crate) fn signs_since(active: &KeyRecord, skew: Duration, now: Timestamp) -> Option<Timestamp> {
        let since = active.signing_since.or(active.activated_at).unwrap_or(active.created_at);
        (since <= now.plus(skew)).then_some(since)
    }

    /// When a retired key can be removed. One that stopped in the future stopped when the key that
    /// signs now began, because no key stops after that, or else now.
    pub(crate) fn removable_at(
        &self,
        key: &KeyRecord,
        keep_retired: Duration,
        skew: Duration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let at = key.needed_until(keep_retired)?;
        if key.retired_at.is_none_or(|stopped| stopped <= now.plus(skew)) {
            return Some(at);
        }
        let active = self.active().and_then(|active| Self::signs_since(active, skew, now));
        Some(active.unwrap_or(now).plus(keep_retired.max(key.keep_after)))
    }
}

impl Keyring {
    /// The latest time at which something is said to have happened.
    pub fn latest_time(&self) -> Option<Timestamp> {
        let keys = self.keys_of_all_rings().flat_map(|key| key.events()).map(|(_, at)| at);
        keys.chain(self.revoked().iter().map(|key| key.revoked_at)).max()
    }

    /// The times that have not come yet, by a clock that may be behind by `skew`.
    pub fn future_times(&self, skew: Duration, now: Timestamp) -> Vec<FutureTime> {
        let horizon = now.plus(skew);
        let time = |kid: &str, name, at, corrected| FutureTime { kid: kid.to_owned(), name, at, corrected };
        let future = |key: &KeyRecord| {
            let times = key.events().filter(|(_, at)| *at > horizon).map(|(name, at)| (name, at, now));
            let needed =
                key.needed_too_long(horizon).map(|at| ("needed_until", at, now.plus(key.keep_after)));
            let times = times.chain(needed).map(|(name, at, corrected)| time(&key.kid, name, at, corrected));
            times.collect::<Vec<_>>()
        };
        let revoked = self.revoked().iter().filter(|key| key.revoked_at > horizon);
        let revoked = revoked.map(|key| time(&key.kid, "revoked_at", key.revoked_at, now));
        self.keys_of_all_rings().flat_map(future).chain(revoked).collect()
    }

    /// The keyring with every time that has not come yet set to now, and a key that was needed for
    /// too long because of one needed for as long as if it stopped signing now. `None` if there is
    /// nothing to correct.
    pub fn with_times_corrected(&self, skew: Duration, now: Timestamp) -> Option<Self> {
        let horizon = now.plus(skew);
        let mut next = self.clone();
        for key in next.rings.values_mut().flat_map(|ring| &mut ring.keys) {
            if key.needed_too_long(horizon).is_some() {
                key.needed_until = Some(now.plus(key.keep_after));
            }
            let times =
                [&mut key.published_at, &mut key.activated_at, &mut key.signing_since, &mut key.retired_at];
            for at in times.into_iter().flatten().chain([&mut key.created_at]) {
                if *at > horizon {
                    *at = now;
                }
            }
        }
        for key in &mut next.revoked {
            if key.revoked_at > horizon {
                key.revoked_at = now;
            }
        }
        (next != *self).then_some(next)
    }

    fn keys_of_all_rings(&self) -> impl Iterator<Item = &KeyRecord> {
        self.rings.values().flat_map(|ring| &ring.keys)
    }
}

impl StoredKeyring {
    /// Corrects every time that has not come yet, and says which they were. For anyone who knows
    /// that this clock is right.
    pub async fn correct_times(
        &self,
        skew: Duration,
        now: Timestamp,
    ) -> Result<Vec<FutureTime>, KeyringError> {
        let mut corrected = Vec::new();
        self.change_states(now, |keyring| {
            corrected = keyring.future_times(skew, now);
            Ok(keyring.with_times_corrected(skew, now))
        })
        .await?;
        Ok(corrected)
    }
}
