//! How long verifiers may keep the public documents: until the next planned change of the keys,
//! within a floor and a ceiling, and not all for the same time.
//!
//! A time that ends with the planned change would bring every cache back in the same second. So
//! answers say by turns one of a few times, the longest of which is the one that is allowed, made
//! with the documents and not for a request: bodies and `ETag` are the same for everybody (RFC 9111
//! §5.2.2.1, `max-age`). Called by `http/public` and by the code that knows the plan.

use axum::http::HeaderValue;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// A change that is due is made any moment, or much later if the store is away; nobody is to ask
/// for it all the time.
const FLOOR: Duration = Duration::from_secs(10);
/// How many times there are.
const TURNS: u64 = 16;
/// The shortest time lacks this part of the longest.
const SPREAD: u64 = 5;

/// The longest that documents may be kept which are to change after `until_change`, as far as is
/// planned. Within 10 s and `ceiling`, and `ceiling` where that is less.
pub fn max_age(until_change: Option<Duration>, ceiling: Duration) -> Duration {
    until_change.unwrap_or(ceiling).max(FLOOR).min(ceiling)
}

/// `Cache-Control` of documents that may be kept for so long.
pub(crate) fn cache_control(seconds: u64) -> String {
    format!("public, max-age={seconds}")
}

/// The values of `Cache-Control` that answers have by turns.
#[derive(Debug)]
pub(crate) struct Freshness {
    values: Vec<HeaderValue>,
    turn: AtomicUsize,
}

impl Freshness {
    /// Between four fifths of `max_age` and all of it, but not below the floor for the spread
    /// alone.
    pub(crate) fn new(max_age: Duration) -> Self {
        let longest = max_age.as_secs();
        let shortest = (longest - longest / SPREAD).max(longest.min(FLOOR.as_secs()));
        let less = |turn: u64| (longest - shortest).saturating_mul(turn) / (TURNS - 1);
        let values = (0..TURNS).filter_map(|turn| cache_control(longest - less(turn)).try_into().ok());
        Self { values: values.collect(), turn: AtomicUsize::new(0) }
    }

    /// The value for one answer.
    pub(crate) fn next(&self) -> Option<&HeaderValue> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.values.get(turn.checked_rem(self.values.len())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn of_many_answers(max_age: Duration) -> Vec<u64> {
        let freshness = Freshness::new(max_age);
        let seconds = |value: &HeaderValue| {
            value.to_str().unwrap().strip_prefix("public, max-age=").unwrap().parse().unwrap()
        };
        (0..100).map(|_| seconds(freshness.next().unwrap())).collect()
    }

    #[test]
    fn documents_are_kept_until_the_next_change_within_floor_and_ceiling() {
        let ceiling = seconds(300);
        for (until_change, expected) in [
            (None, 300),
            (Some(Duration::MAX), 300),
            (Some(seconds(301)), 300),
            (Some(seconds(299)), 299),
            (Some(seconds(11)), 11),
            (Some(seconds(9)), 10),
            (Some(Duration::ZERO), 10),
        ] {
            assert_eq!(max_age(until_change, ceiling), seconds(expected), "{until_change:?}");
        }
        for low in [0, 3] {
            assert_eq!(max_age(Some(seconds(100)), seconds(low)), seconds(low), "the ceiling wins");
        }
    }

    #[test]
    fn answers_of_one_moment_are_kept_for_different_times_and_never_for_longer_than_allowed() {
        for allowed in [300, 299, 61, 20, 13] {
            let ages = of_many_answers(seconds(allowed));
            let different: BTreeSet<_> = ages.iter().collect();
            assert!(different.len() as u64 > (allowed / SPREAD).min(TURNS) / 2, "{allowed}: {different:?}");
            assert_eq!(ages.iter().max(), Some(&allowed));
            assert!(*ages.iter().min().unwrap() >= (allowed * 4 / 5).max(10), "{allowed}: {ages:?}");
        }
        for allowed in [10, 7, 1, 0, u64::MAX] {
            let ages = of_many_answers(seconds(allowed));
            assert!(ages.iter().all(|age| *age <= allowed && *age >= allowed.min(10)), "{allowed}: {ages:?}");
        }
    }
}
