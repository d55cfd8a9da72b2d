//! `Flight`: one piece of work that many wait for and nobody owns.
//!
//! It runs as a task of the runtime, so it goes on when the caller who started it is cancelled. Waiters learn only that
//! it has ended, by its sender being dropped: that also happens when the task panics or the runtime shuts down, so
//! nobody waits forever. The result is left where the work put it.

use std::future::Future;
use std::time::Duration;
use tokio::{sync::watch, time::Instant};

/// Work in progress, or its end.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    landing: watch::Receiver<()>,
    started: Instant,
}

impl Flight {
    /// Starts the work as a task.
    pub(crate) fn launch(work: impl Future<Output = ()> + Send + 'static) -> Self {
        let (landing, waiting) = watch::channel(());
        tokio::spawn(async move {
            // Dropped last, after everything the work has to say was said.
            let _landing = landing;
            work.await;
        });
        Self { landing: waiting, started: Instant::now() }
    }

    pub(crate) fn is_in_the_air(&self) -> bool {
        self.landing.has_changed().is_ok()
    }

    /// Waits for the end of the work.
    pub(crate) async fn landed(mut self) {
        while self.landing.changed().await.is_ok() {}
    }

    /// Waits for the end of the work, but not until later than `patience` after its start.
    pub(crate) async fn landed_within(self, patience: Duration) {
        let until = self.started + patience;
        // Whether it has landed or not is seen in what it has left.
        let _ = tokio::time::timeout_at(until, self.landed()).await;
    }
}
