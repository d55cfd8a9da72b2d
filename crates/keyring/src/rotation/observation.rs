//! What was seen at the public address of the keys: for each `kid` since when it has been there
//! without a break.
//!
//! A look that finds the document without the key ends its time; so does a gap between two looks
//! that is too long to know what was there in between, or a clock that was set back. Clocks of
//! those who look may differ by the allowed skew: that ends nothing, and is added to the time a key
//! has to be seen. A look that failed says nothing. Kept in the keyring's document, so that anyone
//! who can only write to the store cannot make a key count as seen; `keys_sequence` leaves them
//! out.

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

/// A look at the public address. It takes a while, and the document was read at some time in it.
#[derive(Debug, Clone)]
pub struct Look {
    /// The keys that were found, and no others.
    pub found: BTreeSet<String>,
    /// When it was begun: what it found was surely there no later than at its end.
    pub began: Timestamp,
    /// When the answer was there: what it found may have appeared no earlier than that.
    pub ended: Timestamp,
}

impl Look {
    /// One that took no time.
    pub fn at(now: Timestamp, found: BTreeSet<String>) -> Self {
        Self { found, began: now, ended: now }
    }
}

impl Observations {
    /// What is known after a look. Only `known` keys are remembered. The look before may have been
    /// on another clock, up to `skew` ahead.
    #[must_use]
    pub fn with_look(
        &self,
        look: &Look,
        known: &BTreeSet<String>,
        longest_gap: Duration,
        skew: Duration,
    ) -> Self {
        let seen = |kid: &String| {
            let before = self.keys.get(kid).filter(|before| before.lasts(longest_gap, skew, look.ended));
            // Counted from the end of the first look to the beginning of the last one, which proves
            // the least.
            let first = Sighting { first_seen: look.ended, last_seen: look.began };
            let sighting = before.map_or(first, |before| Sighting {
                first_seen: before.first_seen,
                last_seen: before.last_seen.max(look.began),
            });
            (kid.clone(), sighting)
        };
        Self { keys: look.found.intersection(known).map(seen).collect() }
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
