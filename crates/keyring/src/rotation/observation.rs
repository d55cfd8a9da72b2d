//! What was seen at the public address of the keys: for each `kid` since when it has been there without a break.
//!
//! A look that finds the document without the key ends its time; so does a gap between two looks that is too long to know what was
//! there in between, or a clock that was set back. Clocks of those who look may differ by the allowed skew: that ends nothing, and is
//! added to the time a key has to be seen. A look that failed says nothing. Kept in a document of its own, so that looking does not
//! change the keyring.

use countersign_jose::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Everything that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observations {
    keys: BTreeMap<String, Sighting>,
}

/// Since when, and until when last, a key has been seen without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// The first look of this run that found it.
    pub first_seen: Timestamp,
    /// The latest one.
    pub last_seen: Timestamp,
}

impl Observations {
    /// What is known after a look at `now` that found exactly these keys. Only `known` ones are remembered. The look before may
    /// have been on another clock, up to `skew` ahead.
    #[must_use]
    pub fn with_look(
        &self,
        found: &BTreeSet<String>,
        known: &BTreeSet<String>,
        longest_gap: Duration,
        skew: Duration,
        now: Timestamp,
    ) -> Self {
        let seen = |kid: &String| {
            let before = self.keys.get(kid).filter(|before| before.lasts(longest_gap, skew, now));
            let sighting = before.map_or(Sighting { first_seen: now, last_seen: now }, |before| Sighting {
                first_seen: before.first_seen,
                last_seen: before.last_seen.max(now),
            });
            (kid.clone(), sighting)
        };
        Self { keys: found.intersection(known).map(seen).collect() }
    }

    /// What was seen of a key.
    pub fn of(&self, kid: &str) -> Option<Sighting> {
        self.keys.get(kid).copied()
    }

    /// Since when a key has been seen without a break until now.
    pub(crate) fn seen_since(
        &self,
        kid: &str,
        longest_gap: Duration,
        skew: Duration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let sighting = self.keys.get(kid)?;
        sighting.lasts(longest_gap, skew, now).then_some(sighting.first_seen)
    }
}

impl Sighting {
    /// Whether the latest look was not so long ago that the key may have been away since.
    fn lasts(&self, longest_gap: Duration, skew: Duration, now: Timestamp) -> bool {
        self.last_seen <= now.plus(skew) && now.since(self.last_seen) <= longest_gap
    }
}
