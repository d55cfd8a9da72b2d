//! `Replays`: the proofs that one process has taken, until nobody would take them any more.
//! Bounded: a key can have as much as is left free, so one has half at most, and some is always
//! left for others; where nothing is, no proof is taken.
//!
//! A proof is kept under the second in which it was made, which follows from the proof alone, so
//! that there is one place to look and what has ended goes in one piece. What was forgotten is
//! refused even if the clock then goes back or the window grows.

use super::proof::Proven;
use countersign_jose::Timestamp;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

/// The proofs that were taken.
#[derive(Debug)]
pub struct Replays(Mutex<Taken>);

#[derive(Debug)]
struct Taken {
    most: usize,
    /// By the second in which they were made.
    made: BTreeMap<i64, Second>,
    count: usize,
    /// How many there are of each key.
    keys: HashMap<[u8; 8], usize>,
    /// The latest that was made by a client's clock of those that are forgotten.
    latest: i64,
    /// What ended before is forgotten.
    forgotten: i64,
}

/// The proofs of one second.
#[derive(Debug, Default)]
struct Second {
    /// When the last of them ends.
    until: i64,
    /// Whether one was made by a client's clock.
    by_clock: bool,
    names: HashSet<([u8; 8], [u8; 16])>,
}

/// Why a proof is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It was taken before, or that cannot be told any more.
    #[error("the DPoP proof was used before")]
    Replayed,
    /// As many are remembered as may be, or as many of this key as are free.
    #[error(
        "as many DPoP proofs are remembered as may be, in all or of this key, so that none can be taken until some have expired"
    )]
    Full,
}

impl Replays {
    /// Room for so many proofs.
    pub fn new(most: usize) -> Self {
        let (made, keys) = (BTreeMap::new(), HashMap::new());
        Self(Mutex::new(Taken { most, made, count: 0, keys, latest: i64::MIN, forgotten: i64::MIN }))
    }

    /// Makes room for another number of proofs. None is forgotten for it.
    pub fn resize(&self, most: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).most = most;
    }

    /// Takes a proof, for the first and only time.
    ///
    /// # Errors
    ///
    /// If it was taken before, or there is no room to remember it.
    pub fn once(&self, proof: &Proven, now: Timestamp) -> Result<(), ReplayError> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.forget(now.unix_seconds());
        let until = proof.until().unix_seconds();
        let made = proof.made().unix_seconds();
        // What a nonce tells ends at one time; what a clock tells, at another when the window has
        // changed.
        if until < taken.forgotten || proof.is_by_clock() && made <= taken.latest {
            return Err(ReplayError::Replayed);
        }
        let key = proof.key();
        let own = taken.keys.get(&key).copied().unwrap_or_default();
        let full = own >= taken.most.saturating_sub(taken.count);
        let second = taken.made.entry(made).or_default();
        let name = (key, proof.name());
        if second.names.contains(&name) {
            return Err(ReplayError::Replayed);
        }
        if full {
            return Err(ReplayError::Full);
        }
        second.names.insert(name);
        second.until = second.until.max(until);
        second.by_clock |= proof.is_by_clock();
        taken.count += 1;
        *taken.keys.entry(key).or_default() += 1;
        Ok(())
    }
}

impl Taken {
    /// Forgets what has ended, once a second.
    fn forget(&mut self, now: i64) {
        if now <= self.forgotten {
            return;
        }
        self.forgotten = now;
        let Self { made, keys, latest, count, .. } = self;
        made.retain(|at, second| {
            let is_kept = now <= second.until;
            if !is_kept {
                *latest = (*latest).max(if second.by_clock { *at } else { i64::MIN });
                *count -= second.names.len();
                for (key, _) in second.names.drain() {
                    if let Some(own) = keys.get_mut(&key) {
                        *own -= 1;
                    }
                }
            }
            is_kept
        });
        keys.retain(|_, own| *own > 0);
    }
}
