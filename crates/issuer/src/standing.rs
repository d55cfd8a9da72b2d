//! `Standing`: whether what this issuer knows can be relied on now, and what a person should look
//! at.
//!
//! How long the store has been silent is measured by a clock that nobody sets. A wall clock that is
//! behind what this process knows of time mints tokens that are expired already, so nothing is
//! minted then. What this process knows: the time it was started and what has passed since, and the
//! times the keyring had at the start. A later one that lies in the future proves nothing: this
//! process knows better what time it is, and another machine's clock was wrong. A clock that was
//! wrong at the start and set right then looks like one that was right and is wrong now: it is
//! believed when it has gone on undisturbed for long, and nothing that others write speaks against
//! it (docs/decisions/0025).
//!
//! Asked by every mint, by the public documents, `/readyz` and `/metrics`; told by the code that
//! reads the store.

use countersign_jose::Timestamp;
use countersign_store::{Clock, ClockJump, ClockWatch, Moment};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What a person should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// No profile has a key to sign with.
    NoKey,
    /// The keys in the store could not be read for too long.
    StoreSilent,
    /// The store holds less than this process has seen there.
    StoreWentBack,
    /// The clock shows an earlier time than it can be.
    ClockBehind,
    /// The clock was set since this process was started.
    ClockJumped,
    /// The keyring has times that lie in the future.
    FutureTimes,
    /// The server was told to stop, and answers what still comes.
    Stopping,
}

impl Concern {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::NoKey,
        Self::StoreSilent,
        Self::StoreWentBack,
        Self::ClockBehind,
        Self::ClockJumped,
        Self::FutureTimes,
        Self::Stopping,
    ];

    /// A stable name for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoKey => "no_active_key",
            Self::StoreSilent => "store_silent",
            Self::StoreWentBack => "store_went_back",
            Self::ClockBehind => "clock_behind",
            Self::ClockJumped => "clock_jumped",
            Self::FutureTimes => "times_in_the_future",
            Self::Stopping => "stopping",
        }
    }

    /// The same for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoKey => "no profile has an active key",
            Self::StoreSilent => "the keys in the store could not be read for too long",
            Self::StoreWentBack => "the store holds less than this server has seen there",
            Self::ClockBehind => "the clock of this machine is behind",
            Self::ClockJumped => {
                "the clock of this machine was set; no key is activated or removed until it is right again, or has gone on for long"
            }
            Self::FutureTimes => "the keyring has times that lie in the future",
            Self::Stopping => "this server is stopping",
        }
    }

    /// Whether requests should go to another instance.
    pub const fn ends_readiness(self) -> bool {
        match self {
            Self::NoKey | Self::StoreSilent | Self::StoreWentBack | Self::ClockBehind | Self::Stopping => {
                true
            }
            Self::ClockJumped | Self::FutureTimes => false,
        }
    }
}

/// How long a store may be silent, and how far clocks may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long this issuer counts as ready while the store does not answer.
    pub max_stale: Duration,
    /// How long tokens are minted with the keys last read while the store does not answer.
    pub max_stale_signing: Duration,
    /// How far clocks may differ.
    pub skew: Duration,
    /// How long a clock that was set has to go on undisturbed until keys are removed by it: as long
    /// as the key that is kept longest after it retired, so that those that were retired before the
    /// jump have been kept for their time whichever clock was right. Tokens are minted by it after
    /// `max_stale_signing`.
    pub clock_settles: Duration,
}

/// What is known of store and clock.
#[derive(Debug)]
pub(crate) struct Standing {
    clock: Arc<dyn Clock>,
    /// By which it is judged whether keys may be removed.
    watch: ClockWatch,
    /// By which it is judged whether tokens may be minted, where a wrong clock destroys nothing.
    minting: ClockWatch,
    patience: Patience,
    /// When the store last answered, in milliseconds of `Clock::moment`.
    answered_at: AtomicU64,
    /// The latest time in the keyring.
    newest: AtomicI64,
    /// The latest of those there were at the start and still are: it is later than that.
    proven: AtomicI64,
    went_back: AtomicBool,
    stopping: AtomicBool,
}

impl Standing {
    pub(crate) fn new(clock: Arc<dyn Clock>, patience: Patience, newest: Option<Timestamp>) -> Self {
        let newest = newest.map_or(i64::MIN, Timestamp::unix_seconds);
        Self {
            watch: ClockWatch::start(clock.as_ref()),
            minting: ClockWatch::start(clock.as_ref()),
            patience,
            answered_at: AtomicU64::new(clock.moment().as_millis()),
            newest: AtomicI64::new(newest),
            proven: AtomicI64::new(newest),
            went_back: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            clock,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn store_answered(&self) {
        self.answered_at.store(self.clock.moment().as_millis(), Ordering::Relaxed);
    }

    pub(crate) fn store_went_back(&self, it_did: bool) {
        self.went_back.store(it_did, Ordering::Relaxed);
    }

    pub(crate) fn stops(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Notes the latest time in a keyring that was read.
    pub(crate) fn keyring_was_read(&self, newest: Option<Timestamp>) {
        let newest = newest.map_or(i64::MIN, Timestamp::unix_seconds);
        self.proven.fetch_min(newest, Ordering::Relaxed);
        let before = self.newest.swap(newest, Ordering::Relaxed);
        // Written since the store answered last, so the clock of who wrote it showed about that
        // then.
        let since = self.now().minus(self.silent_for().saturating_add(self.patience.skew));
        if newest > before && newest < since.unix_seconds() {
            self.doubt_the_clock();
        }
    }

    /// To be called every now and then: believes a clock that was set when it has gone on for long
    /// enough. Returns the jump when keys may be removed by it from now on.
    pub(crate) fn settle_clock(&self) -> Option<ClockJump> {
        if self.holds(Concern::FutureTimes) {
            self.doubt_the_clock();
            return None;
        }
        let Patience { skew, max_stale_signing, clock_settles, .. } = self.patience;
        let clock = self.clock.as_ref();
        // A clock by which keys are removed is good enough to mint by.
        self.minting.settle(clock, skew, max_stale_signing.min(clock_settles));
        self.watch.settle(clock, skew, clock_settles)
    }

    fn doubt_the_clock(&self) {
        self.watch.doubt();
        self.minting.doubt();
    }

    /// Whether the store has been silent for too long to count as ready, and verifiers should not
    /// keep what they are given.
    pub(crate) fn is_stale(&self) -> bool {
        self.silent_for() > self.patience.max_stale
    }

    /// Whether the keys last read may still sign: others may have retired them since.
    pub(crate) fn may_sign(&self) -> bool {
        self.silent_for() <= self.patience.max_stale_signing
    }

    /// How late it is at least, if the clock shows an earlier time by more than clocks may differ.
    pub(crate) fn clock_is_behind(&self, now: Timestamp) -> Option<Timestamp> {
        let proven = Timestamp::from_unix_seconds(self.proven.load(Ordering::Relaxed));
        let at_least = self.minting.expected(self.clock.as_ref()).max(proven);
        (now.plus(self.patience.skew) < at_least).then_some(at_least)
    }

    /// The jump of the clock since this process was started, if there was one.
    pub(crate) fn jump(&self) -> Option<ClockJump> {
        self.watch.jump(self.clock.as_ref(), self.patience.skew)
    }

    /// Everything that holds now but for the lack of a key, which is not known here.
    pub(crate) fn holds(&self, concern: Concern) -> bool {
        match concern {
            Concern::NoKey => false,
            Concern::StoreSilent => self.is_stale(),
            Concern::StoreWentBack => self.went_back.load(Ordering::Relaxed),
            Concern::Stopping => self.stopping.load(Ordering::Relaxed),
            Concern::ClockBehind => self.clock_is_behind(self.now()).is_some(),
            Concern::ClockJumped => self.jump().is_some(),
            Concern::FutureTimes => {
                self.newest.load(Ordering::Relaxed) > self.now().plus(self.patience.skew).unix_seconds()
            }
        }
    }

    fn silent_for(&self) -> Duration {
        let answered_at = Moment::from_millis(self.answered_at.load(Ordering::Relaxed));
        self.clock.moment().since(answered_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_store::ManualClock;

    const HOUR: Duration = Duration::from_secs(3600);
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
    const DAY: i64 = 86_400;

    fn patience() -> Patience {
        Patience {
            max_stale: Duration::from_secs(300),
            max_stale_signing: HOUR,
            skew: Duration::from_secs(60),
            clock_settles: 24 * HOUR,
        }
    }

    fn standing(newest: i64) -> (Arc<ManualClock>, Standing) {
        let clock = Arc::new(ManualClock::at(NOW));
        (Arc::clone(&clock), Standing::new(clock, patience(), Some(at(newest))))
    }

    /// So many seconds from now.
    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(NOW.unix_seconds() + seconds)
    }

    #[test]
    fn how_long_the_store_is_silent_does_not_depend_on_what_the_clock_is_set_to() {
        for jump in [0, 60, 3600, -3600, -DAY, 3650 * DAY] {
            let (clock, standing) = standing(-DAY);
            clock.set(at(jump));
            assert!(!standing.is_stale() && standing.may_sign(), "{jump}: no time has passed");
            clock.advance(Duration::from_secs(300));
            assert!(!standing.is_stale() && standing.may_sign(), "{jump}");
            clock.advance(Duration::from_secs(1));
            assert!(standing.is_stale() && standing.may_sign(), "{jump}");
            clock.set(at(-jump));
            assert!(standing.is_stale(), "{jump}: setting it back does not help");
            clock.advance(HOUR);
            assert!(!standing.may_sign(), "{jump}");
            standing.store_answered();
            assert!(!standing.is_stale() && standing.may_sign(), "{jump}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_is_behind_and_one_that_is_set_forward_has_jumped() {
        for (jump, behind, jumped) in [
            (0, false, false),
            (-60, false, false),
            (-61, true, true),
            (-3600, true, true),
            (-DAY, true, true),
            (60, false, false),
            (61, false, true),
            (3650 * DAY, false, true),
        ] {
            let (clock, standing) = standing(-DAY);
            clock.advance(HOUR);
            clock.set(at(3600 + jump));
            let held = |concern| standing.holds(concern);
            assert_eq!((held(Concern::ClockBehind), held(Concern::ClockJumped)), (behind, jumped), "{jump}");
            clock.set(at(3600));
            assert!(Concern::ALL.into_iter().all(|c| !held(c) || c == Concern::StoreSilent), "right again");
        }
    }

    #[test]
    fn at_the_start_the_times_in_the_keyring_say_how_late_it_is_at_least() {
        for (newest, behind) in [(-DAY, false), (0, false), (60, false), (61, true), (DAY, true)] {
            let (clock, standing) = standing(newest);
            assert_eq!(standing.clock_is_behind(clock.now()), behind.then_some(at(newest)), "{newest}");
            assert_eq!(standing.holds(Concern::FutureTimes), behind, "{newest}");
        }
    }

    #[test]
    fn a_time_that_another_machine_wrote_into_the_future_stops_no_clock_that_went_on_undisturbed() {
        let (clock, standing) = standing(-DAY);
        standing.keyring_was_read(Some(at(3650 * DAY)));
        assert!(standing.holds(Concern::FutureTimes) && !standing.holds(Concern::ClockBehind));
        clock.advance(HOUR);
        standing.keyring_was_read(Some(at(3650 * DAY)));
        assert!(!standing.holds(Concern::ClockBehind), "nor the second time");
        standing.keyring_was_read(Some(at(0)));
        assert!(!standing.holds(Concern::FutureTimes));
    }

    #[test]
    fn a_machine_whose_clock_was_years_ahead_for_a_while_is_as_before_when_it_is_right_again() {
        let (clock, standing) = standing(-DAY);
        clock.set(at(3650 * DAY));
        standing.keyring_was_read(Some(at(3650 * DAY)));
        clock.set(at(0));
        assert!(!standing.holds(Concern::ClockBehind) && standing.holds(Concern::FutureTimes));
    }

    #[test]
    fn who_started_behind_the_keyring_goes_on_when_its_times_are_corrected_or_the_clock_is() {
        let (_, standing) = standing(3650 * DAY);
        assert!(standing.holds(Concern::ClockBehind));
        standing.keyring_was_read(Some(at(0)));
        assert!(!standing.holds(Concern::ClockBehind) && !standing.holds(Concern::FutureTimes));

        let clock = Arc::new(ManualClock::at(NOW));
        let standing = Standing::new(Arc::clone(&clock) as _, patience(), Some(at(DAY)));
        assert!(standing.holds(Concern::ClockBehind));
        clock.set(at(DAY));
        assert!(!standing.holds(Concern::ClockBehind));
    }

    #[test]
    fn a_clock_that_was_wrong_at_the_start_is_believed_when_it_has_gone_on_for_long() {
        for wrong in [-DAY, DAY] {
            let (clock, standing) = standing(-2 * DAY);
            clock.set(at(-wrong));
            let held = |concern| standing.holds(concern);
            let mut minted_after = None;
            for minutes in 0..24 * 60 {
                assert_eq!(standing.settle_clock(), None, "{wrong}, after {minutes} min");
                assert!(held(Concern::ClockJumped), "{wrong}");
                if wrong > 0 && !held(Concern::ClockBehind) {
                    minted_after = minted_after.or(Some(minutes));
                }
                clock.advance(Duration::from_secs(60));
            }
            let expected = (wrong > 0).then_some(60);
            assert_eq!(minted_after, expected, "tokens are minted after max_stale_signing");
            assert!(standing.settle_clock().is_some() && !held(Concern::ClockJumped), "{wrong}");
            assert!(!held(Concern::ClockBehind), "{wrong}");
        }
    }

    #[test]
    fn a_clock_that_the_others_contradict_is_not_believed() {
        // It was right, and is a day ahead; what others write is a day behind it. Or the other way
        // round.
        for wrong in [DAY, -DAY] {
            let (clock, standing) = standing(-2 * DAY);
            clock.set(at(wrong));
            for hours in 0..72 {
                assert_eq!(standing.settle_clock(), None, "{wrong}, after {hours} h");
                clock.advance(HOUR);
                if hours % 12 == 0 {
                    standing.keyring_was_read(Some(at((hours + 1) * 3600)));
                }
                standing.store_answered();
            }
            assert!(standing.holds(Concern::ClockJumped), "{wrong}");
        }
    }

    #[test]
    fn what_the_reader_of_the_store_says_holds_until_it_says_otherwise() {
        let (_, standing) = standing(0);
        standing.store_went_back(true);
        assert!(standing.holds(Concern::StoreWentBack) && Concern::StoreWentBack.ends_readiness());
        standing.store_went_back(false);
        assert!(!standing.holds(Concern::StoreWentBack));
    }

    #[test]
    fn a_server_that_was_told_to_stop_is_not_ready_any_more() {
        let (_, standing) = standing(0);
        assert!(!standing.holds(Concern::Stopping));
        standing.stops();
        assert!(standing.holds(Concern::Stopping) && Concern::Stopping.ends_readiness());
    }
}
