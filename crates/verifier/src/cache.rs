//! The optional cache of verified tokens: off by default, because a signature check costs some tens
//! of microseconds.
//!
//! An entry is found by the SHA-256 of the whole token, signature included, within one verifier,
//! whose policies never change. It is used only while the keys that verified it are still the
//! issuer's current ones, and before `exp` (leeway does not count here) and the end of the key's
//! certificate. The oldest entries make room for new ones.

use crate::verifier::{Accepted, IssuerKeys};
use aws_lc_rs::digest::{SHA256, digest};
use countersign_jose::Timestamp;
use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// SHA-256 of a token.
pub(crate) type Name = [u8; 32];

pub(crate) fn name(token: &str) -> Name {
    let mut name = Name::default();
    name.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    name
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) accepted: Accepted,
    /// Which of the verifier's issuers accepted it, and so under which policy.
    pub(crate) issuer: usize,
    /// Where its keys come from.
    pub(crate) source: IssuerKeys,
    /// The keys it was verified with.
    pub(crate) keys: [u8; 32],
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

#[derive(Debug)]
pub(crate) struct TokenCache {
    capacity: NonZeroUsize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    found: HashMap<Name, Arc<Entry>>,
    /// In the order they came; may name entries that are gone.
    order: VecDeque<Name>,
}

impl TokenCache {
    pub(crate) fn new(capacity: NonZeroUsize) -> Self {
        Self { capacity, entries: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, name: &Name, now: Timestamp) -> Option<Arc<Entry>> {
        let entry = self.lock().found.get(name).cloned()?;
        (entry.from <= now && now < entry.until).then_some(entry)
    }

    pub(crate) fn insert(&self, name: Name, entry: Entry) {
        let mut entries = self.lock();
        while entries.order.len() >= self.capacity.get() {
            let Some(oldest) = entries.order.pop_front() else { break };
            entries.found.remove(&oldest);
        }
        entries.order.push_back(name);
        entries.found.insert(name, Arc::new(entry));
    }

    pub(crate) fn remove(&self, name: &Name) {
        self.lock().found.remove(name);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().found.len()
    }
}
