//! `Flight`: one piece of work that many wait for and nobody owns.
//!
//! It runs as a task of the runtime, so it goes on when the caller who started it is cancelled.
//! Waiters learn only that it has ended, by its sender being dropped: that also happens when the
//! task panics or the runtime shuts down, so nobody waits forever. The result is left where the
//! work put it. Those who could do without it wait together, from when the first of them has come:
//! work that was begun in the background may have been frozen with the process since. So do those
//! who have nothing else to do, each kind by itself.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// So long after the common wait was over, another one begins: work takes no longer, unless the
/// process stood still.
const AGAIN: Duration = Duration::from_secs(5);

/// Work in progress, or its end.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    landing: watch::Receiver<()>,
    patience: Patience,
    leisure: Patience,
}

/// Until when some wait, together.
#[derive(Debug, Clone, Default)]
struct Patience(Arc<Mutex<Option<Instant>>>);

impl Flight {
    /// Starts the work as a task.
    pub(crate) fn launch(work: impl Future<Output = ()> + Send + 'static) -> Self {
        let (landing, waiting) = watch::channel(());
        tokio::spawn(async move {
            // Dropped last, after everything the work has to say was said.
            let _landing = landing;
            work.await;
        });
        Self { landing: waiting, patience: Patience::default(), leisure: Patience::default() }
    }

    pub(crate) fn is_in_the_air(&self) -> bool {
        self.landing.has_changed().is_ok()
    }

    /// Waits for the end of the work.
    pub(crate) async fn landed(mut self) {
        while self.landing.changed().await.is_ok() {}
    }

    /// Waits for the end of the work, but not until later than `patience` after somebody began to
    /// wait so.
    pub(crate) async fn landed_within(self, patience: Duration) {
        let until = self.patience.until(patience);
        self.landed_until(until).await;
    }

    /// The same for those who have nothing else to do.
    pub(crate) async fn settled_within(self, leisure: Duration) {
        let until = self.leisure.until(leisure);
        self.landed_until(until).await;
    }

    async fn landed_until(self, until: Instant) {
        // Whether it has landed or not is seen in what it has left.
        let _ = tokio::time::timeout_at(until, self.landed()).await;
    }
}

impl Patience {
    fn until(&self, patience: Duration) -> Instant {
        let now = Instant::now();
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let common = until.filter(|until| now < *until + AGAIN);
        *until.insert(common.unwrap_or(now + patience))
    }
}
