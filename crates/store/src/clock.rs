//! `Clock`: where a store, and anything else that needs it, learns what time it is.
//!
//! Time is a parameter everywhere in Countersign, so that expiry, rotation and replay windows run
//! on a virtual clock in tests. This module holds the one place that asks the operating system.
//!
//! There are two kinds of time. `now` is the time of day, which people and time servers may set: it
//! is for times that others read. `moment` only ever goes forward, and counts the time a machine
//! slept: how long something has taken is the difference of two moments. [`ClockWatch`] compares
//! the two and so notices a clock that was set.

use std::{
    fmt::{self, Debug},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use countersign_jose::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Tells the time.
pub trait Clock: Send + Sync + Debug {
    /// The current time, in whole seconds, rounded down.
    fn now(&self) -> Timestamp;

    /// A point on a clock that nobody sets and that does not stop while the machine sleeps.
    fn moment(&self) -> Moment;
}

/// A point in time that only means something beside another one of the same machine since it was
/// started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// How long after `earlier` it is; nothing if it is before.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment so many milliseconds after the machine was started.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Whole milliseconds since the machine was started.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
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

    fn moment(&self) -> Moment {
        // Linux stops its monotonic clock while the machine sleeps; the others do not.
        #[cfg(target_os = "linux")]
        let clock = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = ClockId::Monotonic;
        Moment(Duration::try_from(clock_gettime(clock)).unwrap_or_default())
    }
}

/// A clock that stands still until it is told otherwise, for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicI64,
    millis: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub const fn at(now: Timestamp) -> Self {
        Self { now: AtomicI64::new(now.unix_seconds()), millis: AtomicU64::new(0) }
    }

    /// Sets the clock, forwards or backwards, as a person does: no time passes by that.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.unix_seconds(), Ordering::SeqCst);
    }

    /// Lets time pass, in whole seconds.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
        self.advance_without_showing(by);
    }

    /// Lets time pass while the clock goes on showing the same.
    pub fn advance_without_showing(&self, by: Duration) {
        self.millis.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.now.load(Ordering::SeqCst))
    }

    fn moment(&self) -> Moment {
        Moment::from_millis(self.millis.load(Ordering::SeqCst))
    }
}

/// What a clock showed once, so that it is noticed when somebody sets it, and when it can be
/// believed again.
#[derive(Debug)]
pub struct ClockWatch {
    /// What the believed clock shows at moment 0, in milliseconds: the same until somebody sets it.
    believed: AtomicI64,
    /// The clock that shows something else now, until it is believed or right again.
    other: Mutex<Option<Other>>,
}

/// A clock that was set.
#[derive(Debug, Clone, Copy)]
struct Other {
    /// What it shows at moment 0, in milliseconds.
    offset: i64,
    /// Since when it has gone on undisturbed.
    since: Moment,
}

impl ClockWatch {
    /// Begins to watch, and believes what the clock shows.
    pub fn start(clock: &dyn Clock) -> Self {
        Self { believed: AtomicI64::new(offset(clock)), other: Mutex::default() }
    }

    /// What the clock would show if it had gone on undisturbed.
    pub fn expected(&self, clock: &dyn Clock) -> Timestamp {
        let millis = self.believed.load(Ordering::Relaxed).saturating_add(millis(clock.moment()));
        Timestamp::from_unix_seconds(millis.div_euclid(1000))
    }

    /// The jump of the clock, if it is larger than `tolerated`.
    pub fn jump(&self, clock: &dyn Clock, tolerated: Duration) -> Option<ClockJump> {
        let jump = ClockJump { shown: clock.now(), expected: self.expected(clock) };
        (jump.size() > tolerated).then_some(jump)
    }

    /// To be asked every now and then: a clock that was set and has gone on undisturbed since for
    /// as long as `settles` is believed from then on. Returns the jump when that is so.
    pub fn settle(&self, clock: &dyn Clock, tolerated: Duration, settles: Duration) -> Option<ClockJump> {
        let mut other = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(jump) = self.jump(clock, tolerated) else {
            *other = None;
            return None;
        };
        let (found, now) = (offset(clock), clock.moment());
        let differs = |before: &Other| {
            before.offset.abs_diff(found) > u64::try_from(tolerated.as_millis()).unwrap_or(u64::MAX)
        };
        match *other {
            Some(before) if !differs(&before) => {
                if now.since(before.since) < settles {
                    return None;
                }
                self.believed.store(found, Ordering::Relaxed);
                *other = None;
                Some(jump)
            }
            Some(_) | None => {
                *other = Some(Other { offset: found, since: now });
                None
            }
        }
    }

    /// Something speaks against the clock that was set: its waiting begins anew.
    pub fn doubt(&self) {
        *self.other.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What a clock would have shown at moment 0, in milliseconds.
fn offset(clock: &dyn Clock) -> i64 {
    clock.now().unix_seconds().saturating_mul(1000).saturating_sub(millis(clock.moment()))
}

fn millis(moment: Moment) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)
}

/// A clock that was set: it shows another time than has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockJump {
    /// What it shows.
    pub shown: Timestamp,
    /// What it would show if only time had passed.
    pub expected: Timestamp,
}

impl ClockJump {
    /// How far it is off.
    pub fn size(&self) -> Duration {
        self.shown.since(self.expected).max(self.expected.since(self.shown))
    }

    /// Whether it was set back.
    pub fn is_back(&self) -> bool {
        self.shown < self.expected
    }
}

impl fmt::Display for ClockJump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.is_back() { "back" } else { "forward" };
        let (shown, expected, seconds) = (self.shown, self.expected, self.size().as_secs());
        write!(f, "the clock was set {way} by {seconds} s: it shows {shown}, and {expected} was expected")
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
        let before = clock.moment();
        clock.set(Timestamp::from_unix_seconds(7));
        assert_eq!(clock.now().unix_seconds(), 7);
        assert_eq!(clock.moment(), before);
    }

    #[test]
    fn moments_of_the_system_clock_go_forward() {
        let moments: Vec<_> = (0..100).map(|_| SystemClock.moment()).collect();
        assert!(moments.is_sorted());
        assert!(moments[0] > Moment::from_millis(0));
    }

    #[test]
    fn a_clock_that_is_set_is_told_from_time_that_passes() {
        let minute = Duration::from_secs(60);
        for (jump, expected) in [(0, None), (60, None), (61, Some(61)), (-60, None), (-61, Some(61))] {
            let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
            let watch = ClockWatch::start(&clock);
            clock.advance(Duration::from_secs(86_400));
            assert_eq!(watch.jump(&clock, minute), None, "a day has passed");
            let right = clock.now();
            clock.set(Timestamp::from_unix_seconds(right.unix_seconds() + jump));
            let found = watch.jump(&clock, minute);
            assert_eq!(found.map(|jump| jump.size().as_secs()), expected, "{jump}");
            assert!(found.is_none_or(|found| found.is_back() == (jump < 0) && found.expected == right));
            clock.set(right);
            assert_eq!(watch.jump(&clock, minute), None, "it is right again");
        }
        let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
        let watch = ClockWatch::start(&clock);
        clock.advance_without_showing(Duration::from_secs(3600));
        assert!(watch.jump(&clock, minute).unwrap().is_back(), "it stood still for an hour");
    }

    #[test]
    fn a_clock_that_was_set_is_believed_after_it_has_gone_on_undisturbed_and_not_before() {
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        for jump in [-86_400, 86_400] {
            let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
            let watch = ClockWatch::start(&clock);
            let settle = || watch.settle(&clock, minute, hour);
            let set = |by: i64| clock.set(Timestamp::from_unix_seconds(clock.now().unix_seconds() + by));
            set(jump);
            for _ in 0..60 {
                assert_eq!(settle(), None, "{jump}: it has to go on for an hour");
                clock.advance(minute);
            }
            // Set once more: the hour begins anew.
            set(jump);
            assert_eq!(settle(), None);
            clock.advance(hour - minute);
            assert_eq!(settle(), None);
            // So it does where something speaks against it.
            watch.doubt();
            clock.advance(minute);
            assert_eq!(settle(), None);
            clock.advance(hour);
            assert!(watch.jump(&clock, minute).is_some());
            assert_eq!(settle().map(|jump| jump.size()), Some(Duration::from_secs(2 * 86_400)));
            assert_eq!((watch.jump(&clock, minute), settle()), (None, None), "{jump}");
            // And now the time from before is a jump.
            set(-jump);
            assert!(watch.jump(&clock, minute).is_some());
            set(jump);
            assert_eq!((settle(), watch.jump(&clock, minute)), (None, None), "{jump}: right again at once");
        }
    }
}
