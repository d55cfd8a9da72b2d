//! Who verifies the tokens of each ring, and a warning where they cannot.

use super::{RingConfig, raw::RawRing, resolve::at};
use crate::failure::Outcome;
use countersign_consumers::{Consumer, refusing};
use countersign_jose::Algorithm;

/// The consumers of one ring.
pub(super) fn of(name: &str, ring: &RawRing) -> Outcome<Vec<&'static Consumer>> {
    let known = |consumer: &String| {
        Consumer::named(consumer).map_err(|why| at(&format!("rings.{name}.consumers"), why))
    };
    ring.consumers.iter().map(known).collect()
}

impl RingConfig {
    /// Warns of consumers that do not take what a new key of this ring signs.
    pub(crate) fn warn_of_refusals(&self, algorithm: Algorithm) {
        let refusing = refusing(algorithm.name(), &self.consumers);
        if !refusing.is_empty() {
            let ring = self.spec.name.as_str();
            tracing::warn!(
                ring,
                "tokens signed with {algorithm} are refused by {}; if one of them is to verify them, choose \
                 another algorithm (docs/keys.md, Algorithms)",
                refusing.join(", "),
            );
        }
    }
}
