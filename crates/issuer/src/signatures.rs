//! Turns at the processor: how many signatures are computed at once, and how many requests wait for
//! theirs.
//!
//! A signature with RSA keeps a core busy for most of a millisecond. If every request that is ready
//! signed at once, health and keys would wait behind all of them. So at most `at_once` are computed
//! at a time (one core is left to the rest, where there are several), and a task that has a turn
//! lets the tasks that are ready run first, because on a single core nobody else could. Waiting is
//! in order and bounded: beyond `waiting` a request is refused and told to come back. A key that a
//! service keeps takes no turn, for its work is done elsewhere.

use countersign_jose::{Algorithm, KeyKind};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many signatures by keys in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureLimits {
    /// Computed at a time; one at least.
    pub at_once: usize,
    /// Requests that wait for a turn.
    pub waiting: usize,
}

impl SignatureLimits {
    /// As many at once as there are cores, less one for everything else.
    pub fn on_cores(cores: usize, waiting: usize) -> Self {
        Self { at_once: cores.saturating_sub(1).max(1), waiting }
    }
}

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// Hands out turns.
#[derive(Debug)]
pub(crate) struct Turns {
    permits: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
    cheap: AtomicU32,
}

/// While it lives, its holder may sign.
pub(crate) struct Turn<'a>(
    #[expect(dead_code, reason = "held until the signature is there")] SemaphorePermit<'a>,
);

/// Elliptic curves are quick: this many in a row are shorter than one RSA signature.
const CHEAP_IN_A_ROW: u32 = 16;

impl Turns {
    pub(crate) fn new(limits: SignatureLimits) -> Self {
        Self {
            permits: Semaphore::new(limits.at_once.clamp(1, Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            most_waiting: limits.waiting,
            cheap: AtomicU32::new(0),
        }
    }

    /// The next turn, in order of asking.
    pub(crate) async fn next(&self, algorithm: Algorithm) -> Result<Turn<'_>, Busy> {
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = Place::take(self)?;
                self.permits.acquire().await.map_err(|_| Busy)?
            }
        };
        let is_dear = match algorithm.key_kind() {
            KeyKind::Rsa => true,
            _ => self.cheap.fetch_add(1, Ordering::Relaxed).is_multiple_of(CHEAP_IN_A_ROW),
        };
        if is_dear {
            // With the permit in hand: other tasks about to sign queue up, and what is left to run
            // is short.
            tokio::task::yield_now().await;
        }
        Ok(Turn(permit))
    }
}

/// A place among those that wait; given back also by a caller that hangs up.
struct Place<'a>(&'a Turns);

impl<'a> Place<'a> {
    fn take(turns: &'a Turns) -> Result<Self, Busy> {
        let before = turns.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(turns);
        if before >= turns.most_waiting { Err(Busy) } else { Ok(place) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
