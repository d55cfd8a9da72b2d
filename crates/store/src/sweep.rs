//! When expired documents are physically removed, for engines that do not do so themselves.
//!
//! Expired documents are absent at once because every statement compares their expiry with the
//! clock; the sweep only gives the space back. It rides on writes, so there is no background task
//! to start, stop or forget: after every [`EVERY`]th `put`, at most [`BATCH`] documents that
//! expired more than [`MARGIN`] ago go. Since a `put` adds one document and a round removes up to
//! `BATCH / EVERY` per `put`, garbage shrinks.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use countersign_jose::Timestamp;

/// Puts between two rounds, so that most of them pay nothing.
pub(crate) const EVERY: u32 = 16;
/// The most documents one round removes, so that no put takes long.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) const BATCH: u32 = 64;
/// How long expired documents are left lying: a process whose clock is somewhat fast must not
/// destroy what is still alive for the others.
pub(crate) const MARGIN: Duration = Duration::from_secs(60 * 60);

/// Counts puts and says when a round is due.
#[derive(Debug, Default)]
pub(crate) struct Sweep(AtomicU32);

impl Sweep {
    /// To be called after every put: the time before which documents must have expired to be
    /// removed now.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let puts = self.0.fetch_add(1, Ordering::Relaxed);
        (puts % EVERY == EVERY - 1).then(|| now.minus(MARGIN))
    }
}
