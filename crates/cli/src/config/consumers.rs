//! Who verifies the tokens of each ring: refused where a consumer that the ring names does not take
//! what it signs, and a warning where it names none.
//!
//! Which algorithms a consumer takes is data (crates/consumers/algorithms.csv). Of the consumers
//! that are named in `consumers` each has to take what is signed; `other`, which is what a ring has
//! that names none, stands for everything that is known and says nothing for sure.

use super::{RingConfig, raw::RawRing, values::at};
use crate::failure::{Outcome, refused};
use countersign_consumers::{Consumer, refusing, taken_by};
use countersign_jose::Algorithm;

/// The consumers of one ring, which take what it signs.
pub(super) fn of(name: &str, ring: &RawRing) -> Outcome<Vec<&'static Consumer>> {
    let known = |consumer: &String| {
        Consumer::named(consumer).map_err(|why| at(&format!("rings.{name}.consumers"), why))
    };
    let consumers = ring.consumers.iter().map(known).collect::<Outcome<Vec<_>>>()?;
    match objection(name, ring.algorithm, &consumers) {
        Some(why) => Err(at(&format!("rings.{name}.algorithm"), why)),
        None => Ok(consumers),
    }
}

/// Why the tokens of a key would be refused, by whom, and what to do.
fn objection(ring: &str, algorithm: Algorithm, consumers: &[&'static Consumer]) -> Option<String> {
    let named = consumers.iter().find_map(|consumer| {
        let taken = taken_by(consumer)?;
        (!taken.contains(&algorithm.name())).then_some((consumer, taken))
    });
    if let Some((consumer, taken)) = named {
        let Consumer { name, title, .. } = consumer;
        return Some(format!(
            "{name} ({title}) refuses tokens signed with {algorithm}: it takes {}; choose one of these, or take it out of \
             rings.{ring}.consumers",
            taken.join(", ")
        ));
    }
    let reads_keys =
        consumers.iter().find(|consumer| algorithm.is_symmetric() && consumer.name != "other")?;
    Some(format!(
        "{} reads public keys, and keys for {algorithm} are secrets that are never published; choose an algorithm with key pairs, \
         or take it out of rings.{ring}.consumers",
        reads_keys.name
    ))
}

impl RingConfig {
    /// Refuses a key whose tokens a consumer of this ring does not take.
    pub(crate) fn check_taken(&self, algorithm: Algorithm) -> Outcome {
        match objection(self.spec.name.as_str(), algorithm, &self.consumers) {
            Some(why) => Err(refused("consumer_refuses_algorithm", why)),
            None => Ok(()),
        }
    }

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
