//! The memory engine: documents in a map, gone with the process.
//!
//! For tests and trials. It is the contract in its plainest form: one lock around every operation,
//! so read it first when another engine's statements look odd. Opened by `memory:`; each opening is
//! a store of its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use countersign_jose::Timestamp;

use crate::{Clock, Document, Expect, Key, Store, StoreError, Version, document, sweep::Sweep};

/// Documents in the memory of this process.
#[derive(Debug)]
pub struct MemoryStore {
    documents: Mutex<BTreeMap<Key, Document>>,
    clock: Arc<dyn Clock>,
    sweep: Sweep,
}

impl MemoryStore {
    /// An empty store that takes the time from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { documents: Mutex::default(), clock, sweep: Sweep::default() }
    }

    /// A panic elsewhere cannot leave the map half changed: every change is one call.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Document>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let now = self.clock.now();
        Ok(self.lock().get(key).filter(|document| document.is_live(now)).cloned())
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        document::check_size(key, bytes)?;
        let version = Version::fresh("the memory store")?;
        let mut documents = self.lock();
        let now = self.clock.now();
        let live = documents.get(key).filter(|document| document.is_live(now));
        let holds = match &expect {
            Expect::Absent => live.is_none(),
            Expect::Version(expected) => live.is_some_and(|document| document.version == *expected),
        };
        if !holds {
            return Err(StoreError::Conflict { key: key.clone() });
        }
        let document = Document { bytes: bytes.to_vec(), version: version.clone(), expires_at };
        documents.insert(key.clone(), document);
        if let Some(cutoff) = self.sweep.due(now) {
            documents.retain(|_, document| document.is_live(cutoff));
        }
        Ok(version)
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        let mut documents = self.lock();
        let now = self.clock.now();
        match documents.get(key).filter(|document| document.is_live(now)) {
            None => Ok(()),
            Some(document) if document.version == *version => {
                documents.remove(key);
                Ok(())
            }
            Some(_) => Err(StoreError::Conflict { key: key.clone() }),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        if !Key::may_start_with(prefix) {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let documents = self.lock();
        let live = documents.iter().filter(|(_, document)| document.is_live(now)).map(|(key, _)| key);
        Ok(live.filter(|key| key.as_str().starts_with(prefix)).cloned().collect())
    }
}
