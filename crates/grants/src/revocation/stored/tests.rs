//! Revocations of one process that reads and writes at once, on a store whose answers come late.

use super::*;
use async_trait::async_trait;
use countersign_keyring::SealingKey;
use countersign_store::{Document, ManualClock, MemoryStore};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// A store that answers one read, the next after `hold`, when it is told to.
#[derive(Debug)]
struct Late {
    store: MemoryStore,
    hold: AtomicBool,
    read: Semaphore,
    released: Semaphore,
}

#[async_trait]
impl Store for Late {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let found = self.store.get(key).await;
        if self.hold.swap(false, Ordering::Relaxed) {
            self.read.add_permits(1);
            self.released.acquire().await.unwrap().forget();
        }
        found
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        self.store.put(key, bytes, expect, expires_at).await
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        self.store.delete(key, version).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        self.store.list(prefix).await
    }
}

#[tokio::test]
async fn a_read_that_ends_after_a_write_knows_what_was_written_and_takes_nothing_for_lost() {
    let store = Arc::new(Late {
        store: MemoryStore::new(Arc::new(ManualClock::at(NOW))),
        hold: AtomicBool::new(false),
        read: Semaphore::new(0),
        released: Semaphore::new(0),
    });
    let keyring = StoredKeyring::new(Arc::clone(&store) as _, Arc::new(SealingKey::generate().unwrap().0));
    let revocations = Revocations::new(Arc::clone(&store) as _, keyring, HOUR);
    for number in 1..4_u64 {
        store.hold.store(true, Ordering::Relaxed);
        let reading = tokio::spawn({
            let revocations = revocations.clone();
            async move { revocations.list(NOW).await }
        });
        store.read.acquire().await.unwrap().forget();
        let entry = Entry::single(super::super::Reach::Token, &format!("t{number}"), None, NOW.plus(HOUR));
        revocations.add(&entry, NOW).await.unwrap();
        store.released.add_permits(1);
        let list = reading.await.unwrap().unwrap();
        assert_eq!((list.sequence, list.tokens.len() as u64), (number, number));
        let entries = revocations.entries(NOW).await.unwrap();
        assert_eq!(entries.len() as u64, number, "{entries:?}");
        assert!(revocations.lock().is_whole(), "nothing was taken for lost");
    }
}
