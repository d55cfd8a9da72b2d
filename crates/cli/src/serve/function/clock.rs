//! A clock for a process that is frozen between events.
//!
//! Whether the clock that nobody sets goes on while Lambda holds a process is not documented. The
//! time of day does, and it is set by AWS. So what has passed is what either of the two says,
//! whichever is more: a store that was last read before a freeze counts as silent for that long.

use countersign_jose::Timestamp;
use countersign_store::{Clock, Moment, SystemClock};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Times of day are whole seconds, so that a difference of two may be a second too long.
const ROUNDING: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct FunctionClock<C = SystemClock> {
    clock: C,
    began: (Timestamp, Moment),
    /// Milliseconds of the latest moment that was told: it never goes back.
    latest: AtomicU64,
}

impl FunctionClock {
    pub(super) fn start() -> Self {
        Self::over(SystemClock)
    }
}

impl<C: Clock> FunctionClock<C> {
    fn over(clock: C) -> Self {
        Self { began: (clock.now(), clock.moment()), latest: AtomicU64::new(0), clock }
    }
}

impl<C: Clock> Clock for FunctionClock<C> {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn moment(&self) -> Moment {
        let (now, moment) = self.began;
        let by_day = self.clock.now().since(now).saturating_sub(ROUNDING);
        let passed = self.clock.moment().since(moment).max(by_day);
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).saturating_add(moment.as_millis());
        Moment::from_millis(self.latest.fetch_max(millis, Ordering::Relaxed).max(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_store::{ClockWatch, ManualClock};

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn time_that_was_spent_frozen_counts_though_the_other_clock_stood_still() {
        let clock = FunctionClock::over(ManualClock::at(NOW));
        let watch = ClockWatch::start(&clock);
        let before = clock.moment();
        clock.clock.advance(HOUR);
        assert_eq!(clock.moment().since(before), HOUR, "both go on");
        // Frozen: only the time of day has gone on.
        clock.clock.set(NOW.plus(HOUR * 3));
        assert_eq!(clock.moment().since(before), HOUR * 3 - ROUNDING);
        assert_eq!(watch.jump(&clock, Duration::from_secs(60)), None, "that is no clock that was set");
    }

    #[test]
    fn it_never_goes_back_whatever_the_time_of_day_is_set_to() {
        let clock = FunctionClock::over(ManualClock::at(NOW));
        let before = clock.moment();
        clock.clock.set(NOW.plus(HOUR));
        let ahead = clock.moment();
        assert!(ahead.since(before) > HOUR / 2);
        for at in [NOW, NOW.minus(HOUR), Timestamp::from_unix_seconds(0)] {
            clock.clock.set(at);
            assert_eq!(clock.moment(), ahead);
        }
    }
}
