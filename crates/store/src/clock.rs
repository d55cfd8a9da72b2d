//! `Clock`: where a store, and whoever else needs it, learns what time it is.
//!
//! Time is a parameter everywhere in Countersign, so that expiry, rotation and replay windows run on a virtual
//! clock in tests. This module holds the one place that asks the operating system.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use countersign_jose::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + Debug {
    /// The current time, in whole seconds, rounded down.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the time enters the program")]
    fn now(&self) -> Timestamp {
        let epoch = Timestamp::from_unix_seconds(0);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => epoch.plus(after),
            Err(before) => epoch.minus(before.duration()),
        }
    }
}

/// A clock that stands still until it is told otherwise, for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub const fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.unix_seconds()))
    }

    /// Sets the clock, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.unix_seconds(), Ordering::SeqCst);
    }

    /// Moves the clock `by` forwards, in whole seconds.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_shows_this_century() {
        let now = SystemClock.now().unix_seconds();
        assert!((1_750_000_000..4_102_444_800).contains(&now), "{now}");
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(Timestamp::from_unix_seconds(100));
        assert_eq!(clock.now().unix_seconds(), 100);
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now().unix_seconds(), 105);
        clock.set(Timestamp::from_unix_seconds(7));
        assert_eq!(clock.now().unix_seconds(), 7);
    }
}
