//! `RefreshPolicy`: how long fetched keys are kept, and when they are asked for again.
//!
//! The defaults are chosen so that a removed key stops verifying within ten minutes, a new key is
//! picked up at once and then at most every 30 s, and an issuer that is down for an hour is not
//! noticed.

use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long fetched keys are kept and when they are fetched again. All of it in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// Keys are kept at least this long, whatever the answer says.
    pub floor: Duration,
    /// Keys are kept at most this long, whatever the answer says; 24 h is the most that can be
    /// asked for.
    pub ceiling: Duration,
    /// How long keys are kept when the answer does not say.
    pub default: Duration,
    /// How much longer keys are used when a refresh fails; zero for not at all.
    pub stale: Duration,
    /// Unknown `kid`s cause at most one fetch in this time.
    pub unknown_kid_window: Duration,
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause after failures.
    pub longest_pause: Duration,
}

impl Default for RefreshPolicy {
    /// 60 s to 24 h, 10 minutes when not stated, 1 h stale, one fetch in 30 s for unknown `kid`s,
    /// pauses of 2 s to 60 s.
    fn default() -> Self {
        Self {
            floor: Duration::from_secs(60),
            ceiling: DAY,
            default: Duration::from_secs(600),
            stale: HOUR,
            unknown_kid_window: Duration::from_secs(30),
            first_pause: Duration::from_secs(2),
            longest_pause: Duration::from_secs(60),
        }
    }
}

impl RefreshPolicy {
    /// Whether the times fit together.
    pub(crate) fn is_sound(&self) -> bool {
        let second = Duration::from_secs(1);
        second <= self.floor
            && self.floor <= self.default
            && self.default <= self.ceiling
            && self.ceiling <= DAY
            && self.stale <= DAY
            && second <= self.unknown_kid_window
            && self.unknown_kid_window <= DAY
            && second <= self.first_pause
            && self.first_pause <= self.longest_pause
            && self.longest_pause <= HOUR
    }

    /// How long keys are fresh, given what the answer said.
    pub(crate) fn time_to_live(&self, stated: Option<Duration>) -> Duration {
        // `clamp` would panic on unsound times.
        stated.unwrap_or(self.default).min(self.ceiling).max(self.floor)
    }

    /// How long nothing is asked after so many failures in a row.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let factor = 2u32.saturating_pow(failures.saturating_sub(1));
        self.first_pause.saturating_mul(factor).min(self.longest_pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_answer_says_is_kept_between_floor_and_ceiling() {
        let policy = RefreshPolicy::default();
        let kept = |stated: Option<u64>| policy.time_to_live(stated.map(Duration::from_secs)).as_secs();
        assert_eq!(
            [kept(None), kept(Some(0)), kept(Some(300)), kept(Some(u64::MAX))],
            [600, 60, 300, 86_400]
        );
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = RefreshPolicy::default();
        let pauses: Vec<u64> = (1..=7).map(|n| policy.pause(n).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.pause(u32::MAX).as_secs(), 60);
    }

    #[test]
    fn times_that_contradict_each_other_are_unsound() {
        let good = RefreshPolicy::default();
        assert!(good.is_sound());
        assert!(!RefreshPolicy { floor: Duration::ZERO, ..good }.is_sound());
        assert!(!RefreshPolicy { floor: HOUR, ..good }.is_sound());
        assert!(!RefreshPolicy { ceiling: DAY * 2, ..good }.is_sound());
        assert!(!RefreshPolicy { stale: DAY * 2, ..good }.is_sound());
        assert!(!RefreshPolicy { unknown_kid_window: Duration::ZERO, ..good }.is_sound());
    }
}
