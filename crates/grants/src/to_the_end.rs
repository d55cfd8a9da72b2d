//! `ToTheEnd`: a request that has begun runs to its end, whether or not its sender still waits.
//!
//! A sender hangs up, or the server gives the request up (`limits.request_time`), at any await:
//! also between the write that uses up a code, an assertion or a proof and the token that it was
//! used up for. So the request is a task of its own, and takes a place before its task starts: the
//! number of tasks is bounded whichever side hangs up, and a sender that does so while it waits for
//! a place leaves nothing behind. The same mechanism as `Uninterrupted` in the store, one level up
//! (decision 0036).

use std::{panic::resume_unwind, sync::Arc};
use tokio::sync::Semaphore;

/// Requests at the same time: as many as there may be connections by default. Those that nobody
/// waits for count too.
const PLACES: usize = 1024;

/// Runs requests to their end.
#[derive(Debug)]
pub(crate) struct ToTheEnd(Arc<Semaphore>);

impl Default for ToTheEnd {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

impl ToTheEnd {
    /// What comes of `work`; `None` if the process stops before it ends.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let place = Arc::clone(&self.0).acquire_owned().await.ok()?;
        let task = tokio::spawn(async move {
            let outcome = work.await;
            drop(place);
            outcome
        });
        match task.await {
            Ok(outcome) => Some(outcome),
            Err(why) => match why.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::ready,
        sync::atomic::{AtomicUsize, Ordering},
    };

    /// Begins to wait for something, and hangs up.
    async fn hang_up<T>(waiting: impl Future<Output = T>) -> Option<T> {
        tokio::select! { biased; outcome = waiting => Some(outcome), () = ready(()) => None }
    }

    #[tokio::test]
    async fn what_has_begun_ends_and_what_waits_for_a_place_never_begins_when_nobody_waits_for_it() {
        let (running, ended) = (ToTheEnd::default(), Arc::new(AtomicUsize::new(0)));
        let release = Arc::new(Semaphore::new(0));
        let work = || {
            let (ended, release) = (Arc::clone(&ended), Arc::clone(&release));
            async move {
                release.acquire().await.unwrap().forget();
                ended.fetch_add(1, Ordering::Relaxed);
            }
        };
        for _ in 0..PLACES {
            assert_eq!(hang_up(running.run(work())).await, None);
        }
        assert_eq!(running.0.available_permits(), 0);
        assert_eq!(hang_up(running.run(work())).await, None, "there is no place for it");
        release.add_permits(PLACES + 1);
        while running.0.available_permits() < PLACES {
            tokio::task::yield_now().await;
        }
        assert_eq!(ended.load(Ordering::Relaxed), PLACES);
        assert_eq!(release.available_permits(), 1, "the one without a place never began");
        assert_eq!(running.run(async { 7 }).await, Some(7));
    }
}
