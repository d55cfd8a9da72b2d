//! What was seen at the public address of the keys: for each `kid` since when it has been there without a break.
//!
//! A look that finds the document without the key ends its time; so does a gap between two looks that is too long to know what was
//! there in between, or a clock that was set back. A look that failed says nothing. Kept in a document of its own, so that looking does
//! not change the keyring.

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
    /// What is known after a look at `now` that found exactly these keys. Only `known` ones are remembered.
    #[must_use]
    pub fn with_look(
        &self,
        found: &BTreeSet<String>,
        known: &BTreeSet<String>,
        longest_gap: Duration,
        now: Timestamp,
    ) -> Self {
        let seen = |kid: &String| {
            let before = self
                .keys
                .get(kid)
                .filter(|before| before.last_seen <= now && now.since(before.last_seen) <= longest_gap);
            let first_seen = before.map_or(now, |before| before.first_seen);
            (kid.clone(), Sighting { first_seen, last_seen: now })
        };
        Self { keys: found.intersection(known).map(seen).collect() }
    }

    /// What was seen of a key.
    pub fn of(&self, kid: &str) -> Option<Sighting> {
        self.keys.get(kid).copied()
    }

    /// Since when a key has been seen without a break until now.
    pub(crate) fn seen_since(&self, kid: &str, longest_gap: Duration, now: Timestamp) -> Option<Timestamp> {
        let sighting = self.keys.get(kid)?;
        let current = sighting.last_seen <= now && now.since(sighting.last_seen) <= longest_gap;
        current.then_some(sighting.first_seen)
    }
}
