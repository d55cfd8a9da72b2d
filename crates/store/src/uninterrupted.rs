//! `Uninterrupted`: every operation of an engine runs to its end, whether or not its caller still
//! waits.
//!
//! Callers hang up at any moment: a request is cancelled, a timeout fires. No driver handles that
//! well when its future is dropped half way: MongoDB's pool keeps a dead waiter that delays the
//! next one, a Postgres connection has to be closed, an HTTP connection is lost. So each operation
//! runs in a task of its own, and takes a permit before its task starts: the number of tasks is
//! bounded, a caller that hangs up while it waits for a permit leaves nothing behind, and one that
//! hangs up later does not stop the operation. The permits are also the only queue in front of a
//! driver.
//!
//! Every engine with a driver is wrapped in it; `MemoryStore` never waits. Pinned by
//! `conformance::abandoned`.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use countersign_jose::Timestamp;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::{Document, Expect, Key, Store, StoreError, Version, document};

/// An engine with a driver that does not like to be interrupted.
#[async_trait]
pub trait Engine: Store {
    /// How errors call the store.
    fn place(&self) -> String;

    /// Clean-up that is due after a `put`. Runs when the caller has its answer already, and its
    /// failure is nobody's.
    async fn tidy(&self) {}
}

/// How many operations may be under way at once, and how long others wait for their turn.
#[derive(Debug, Clone)]
pub(crate) struct Permits {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    patience: Duration,
}

impl Permits {
    /// At most `count` operations of all kinds.
    #[cfg(any(feature = "postgres", feature = "dynamodb", feature = "mongodb", feature = "s3", test))]
    pub(crate) fn shared(count: usize, patience: Duration) -> Self {
        let all = Arc::new(Semaphore::new(count.max(1)));
        Self { reads: Arc::clone(&all), writes: all, patience }
    }

    /// For an engine whose readers and writers do not wait for each other.
    #[cfg(feature = "sqlite")]
    pub(crate) fn apart(reads: usize, writes: usize, patience: Duration) -> Self {
        let [reads, writes] = [reads, writes].map(|count| Arc::new(Semaphore::new(count)));
        Self { reads, writes, patience }
    }
}

/// Whether there is something to do when the caller has its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    Nothing,
    Tidy,
}

/// A store whose operations are not interrupted by callers that hang up.
pub struct Uninterrupted<E> {
    engine: Arc<E>,
    permits: Permits,
}

impl<E: fmt::Debug> fmt::Debug for Uninterrupted<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.engine.fmt(f)
    }
}

impl<E: Engine + 'static> Uninterrupted<E> {
    pub(crate) fn new(engine: E, permits: Permits) -> Self {
        Self { engine: Arc::new(engine), permits }
    }

    /// The engine itself, for what is asked of it in tests of its settings.
    #[cfg(test)]
    pub(crate) fn engine(&self) -> &E {
        &self.engine
    }

    async fn run<T, W>(
        &self,
        permits: &Arc<Semaphore>,
        afterwards: Afterwards,
        work: impl FnOnce(Arc<E>) -> W,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let permit = match timeout(self.permits.patience, Arc::clone(permits).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => return Err(self.unavailable(OVERLOADED)),
        };
        let (engine, work) = (Arc::clone(&self.engine), work(Arc::clone(&self.engine)));
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            let outcome = work.await;
            let is_done = outcome.is_ok();
            let _ = answer.send(outcome); // fails when the caller has hung up
            if is_done && afterwards == Afterwards::Tidy {
                engine.tidy().await;
            }
            drop(permit);
        });
        answered.await.unwrap_or_else(|_| Err(self.unavailable(STOPPED)))
    }

    fn unavailable(&self, reason: &str) -> StoreError {
        StoreError::Unavailable { place: self.engine.place(), reason: reason.to_owned() }
    }
}

const OVERLOADED: &str =
    "timed out waiting for other operations of this process; there are too many, or the store is slow";
const STOPPED: &str = "the process is stopping, and the outcome of the operation is unknown";

#[async_trait]
impl<E: Engine + 'static> Store for Uninterrupted<E> {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let key = key.clone();
        let get = |engine: Arc<E>| async move { engine.get(&key).await };
        self.run(&self.permits.reads, Afterwards::Nothing, get).await
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        document::check_size(key, bytes)?;
        let (key, bytes) = (key.clone(), bytes.to_vec());
        let put = |engine: Arc<E>| async move { engine.put(&key, &bytes, expect, expires_at).await };
        self.run(&self.permits.writes, Afterwards::Tidy, put).await
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        let (key, version) = (key.clone(), version.clone());
        let delete = |engine: Arc<E>| async move { engine.delete(&key, &version).await };
        self.run(&self.permits.writes, Afterwards::Nothing, delete).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        if !Key::may_start_with(prefix) {
            return Ok(Vec::new());
        }
        let prefix = prefix.to_owned();
        let list = |engine: Arc<E>| async move { engine.list(&prefix).await };
        self.run(&self.permits.reads, Afterwards::Nothing, list).await
    }

    async fn close(&self) {
        self.engine.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, SystemClock};

    /// An engine whose clean-up takes until the test lets it end.
    #[derive(Debug)]
    struct SlowToTidy {
        store: MemoryStore,
        may_end: Semaphore,
        begun: Semaphore,
    }

    #[async_trait]
    impl Engine for SlowToTidy {
        fn place(&self) -> String {
            "here".to_owned()
        }

        async fn tidy(&self) {
            self.begun.add_permits(1);
            let _ = self.may_end.acquire().await;
        }
    }

    #[async_trait]
    impl Store for SlowToTidy {
        async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
            self.store.get(key).await
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

    /// Virtual time: an answer that waits for the clean-up is late at once.
    #[tokio::test(start_paused = true)]
    async fn a_put_is_answered_before_the_clean_up_that_it_made_due() {
        let (may_end, begun) = (Semaphore::new(0), Semaphore::new(0));
        let engine = SlowToTidy { store: MemoryStore::new(Arc::new(SystemClock)), may_end, begun };
        let store = Uninterrupted::new(engine, Permits::shared(2, Duration::from_secs(5)));
        let key = Key::parse("key").unwrap();
        let put = timeout(Duration::from_secs(3600), store.put(&key, b"first", Expect::Absent, None)).await;
        let version = put.expect("the clean-up was waited for").unwrap();
        // It is under way, takes a permit, and leaves the others to the next one.
        let _ = store.engine().begun.acquire().await.unwrap();
        assert_eq!(store.permits.writes.available_permits(), 1);
        assert_eq!(store.get(&key).await.unwrap().unwrap().version, version);
        // One that changed nothing makes none due.
        let refused = store.put(&key, b"second", Expect::Absent, None).await.unwrap_err();
        assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
        store.engine().may_end.add_permits(1);
        while store.permits.writes.available_permits() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.engine().begun.available_permits(), 1, "one clean-up for one put");
    }
}
