//! Refusals of callers that have not proved who they are: a few are logged one by one, the others
//! are counted.
//!
//! Anybody on the network can be refused as often as it likes, so what is logged of it has a bound
//! of its own: each cause a few times a second, and one record a second that sums up the rest by
//! cause and by address. The code that logs such a refusal gives its event the name
//! [`UNAUTHENTICATED`], and the fields `code` and `address`. All refusals are counted in the
//! metrics anyway.

use std::{
    fmt::{self, Write as _},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// The name of events that anybody can cause, as often as it likes.
pub const UNAUTHENTICATED: &str = "unauthenticated";
/// How many records of one cause are logged in a second.
const ONE_BY_ONE: u32 = 10;
/// How many causes are told apart; there are fewer, and what is beyond counts as one.
const CAUSES: usize = 64;
/// How many addresses are named in a second.
const ADDRESSES: usize = 16;
const OTHERS: &str = "others";

/// Counts what is too much to be logged.
pub(super) struct Flood {
    held: Mutex<Held>,
    clock: fn() -> Duration,
    /// Called when there is something to sum up.
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug, Default)]
struct Held {
    second: u64,
    causes: Vec<Cause>,
    addresses: Vec<(String, u64)>,
    /// When something was held back first since the last summary.
    since: Option<Duration>,
}

#[derive(Debug)]
struct Cause {
    target: &'static str,
    code: String,
    logged: u32,
    held: u64,
}

/// What was not logged one by one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) target: &'static str,
    pub(super) refusals: u64,
    /// `rate_limited 31210, invalid_client 7`.
    pub(super) codes: String,
    /// The same of addresses; of all targets together.
    pub(super) addresses: String,
}

impl Flood {
    pub(super) fn new(clock: fn() -> Duration, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { held: Mutex::default(), clock, wake: Box::new(wake) }
    }

    /// Whether a refusal is to be logged by itself; counted if not.
    fn admits(&self, target: &'static str, code: &str, address: &str) -> bool {
        let now = (self.clock)();
        let mut held = self.lock();
        if held.second != now.as_secs() {
            held.second = now.as_secs();
            held.causes.retain(|cause| cause.held > 0);
            held.causes.iter_mut().for_each(|cause| cause.logged = 0);
        }
        let Some(cause) = cause(&mut held.causes, target, code) else { return true };
        if cause.logged < ONE_BY_ONE {
            cause.logged += 1;
            return true;
        }
        cause.held += 1;
        count(&mut held.addresses, address);
        let first = held.since.is_none();
        held.since.get_or_insert(now);
        drop(held);
        if first {
            (self.wake)();
        }
        false
    }

    /// What is to be said now, and when to ask again.
    pub(super) fn due(&self) -> (Vec<Summary>, Option<Duration>) {
        const EVERY: Duration = Duration::from_secs(1);
        let now = (self.clock)();
        let mut held = self.lock();
        let Some(since) = held.since else { return (Vec::new(), None) };
        let waited = now.saturating_sub(since);
        if waited < EVERY {
            return (Vec::new(), Some(EVERY.saturating_sub(waited)));
        }
        held.since = None;
        let addresses = counts(mem::take(&mut held.addresses).iter().map(|(name, count)| (&**name, *count)));
        let mut summaries: Vec<Summary> = Vec::new();
        for cause in held.causes.iter_mut().filter(|cause| cause.held > 0) {
            let count = mem::take(&mut cause.held);
            let words = counts([(&*cause.code, count)].into_iter());
            match summaries.iter_mut().find(|summary| summary.target == cause.target) {
                Some(summary) => {
                    summary.refusals += count;
                    summary.codes = format!("{}, {words}", summary.codes);
                }
                None => summaries.push(Summary {
                    target: cause.target,
                    refusals: count,
                    codes: words,
                    addresses: addresses.clone(),
                }),
            }
        }
        (summaries, None)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cause<'a>(causes: &'a mut Vec<Cause>, target: &'static str, code: &str) -> Option<&'a mut Cause> {
    let at = match causes.iter().position(|cause| cause.code == code && cause.target == target) {
        Some(at) => at,
        None if causes.len() < CAUSES => {
            causes.push(Cause { target, code: code.to_owned(), logged: 0, held: 0 });
            causes.len() - 1
        }
        None => causes.len() - 1,
    };
    causes.get_mut(at)
}

fn count(addresses: &mut Vec<(String, u64)>, address: &str) {
    let full = addresses.len() >= ADDRESSES;
    let others = if full { OTHERS } else { address };
    match addresses.iter_mut().find(|(name, _)| name == address) {
        Some((_, count)) => *count += 1,
        None => match addresses.iter_mut().find(|(name, _)| name == others) {
            Some((_, count)) => *count += 1,
            None => addresses.push((others.to_owned(), 1)),
        },
    }
}

fn counts<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    let words: Vec<_> = counts.map(|(name, count)| format!("{name} {count}")).collect();
    words.join(", ")
}

/// Keeps back what a [`Flood`] does not admit.
pub(super) struct Summarised(pub(super) Arc<Flood>);

impl<S: Subscriber> Layer<S> for Summarised {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if metadata.name() != UNAUTHENTICATED {
            return true;
        }
        let mut seen = Seen::default();
        event.record(&mut seen);
        self.0.admits(metadata.target(), &seen.code, &seen.address)
    }
}

/// What of an event decides.
#[derive(Default)]
struct Seen {
    code: String,
    address: String,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "address" {
            let _ = write!(self.address, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "code" {
            value.clone_into(&mut self.code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        cell::Cell,
        sync::atomic::{AtomicUsize, Ordering},
    };

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(0) };
    }

    fn now() -> Duration {
        Duration::from_millis(NOW.get())
    }

    fn flood() -> (Flood, Arc<AtomicUsize>) {
        NOW.set(0);
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let wake = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        (Flood::new(now, wake), woken)
    }

    #[test]
    fn a_few_of_each_cause_are_logged_and_the_rest_is_summed_up_once_a_second() {
        let (flood, woken) = flood();
        let logged = |code: &str, count: usize, address: &str| {
            (0..count).filter(|_| flood.admits("audit", code, address)).count()
        };
        assert_eq!(logged("rate_limited", 10, "192.0.2.1"), 10);
        assert_eq!(flood.due(), (Vec::new(), None));
        assert_eq!(logged("rate_limited", 1_000, "192.0.2.1"), 0);
        assert_eq!(logged("invalid_client", 13, "192.0.2.2"), 10, "another cause has its own");
        assert_eq!((0..12).filter(|_| flood.admits("gate", "rate_limited", "192.0.2.3")).count(), 10);
        assert_eq!(woken.load(Ordering::Relaxed), 1, "the thread is told once");
        NOW.set(400);
        assert_eq!(flood.due(), (Vec::new(), Some(Duration::from_millis(600))));
        NOW.set(1_000);
        let addresses = "192.0.2.1 1000, 192.0.2.2 3, 192.0.2.3 2".to_owned();
        let sum = |target, refusals, codes: &str| Summary {
            target,
            refusals,
            codes: codes.to_owned(),
            addresses: addresses.clone(),
        };
        let all = vec![
            sum("audit", 1_003, "rate_limited 1000, invalid_client 3"),
            sum("gate", 2, "rate_limited 2"),
        ];
        assert_eq!(flood.due(), (all, None));
        assert_eq!(flood.due(), (Vec::new(), None), "and nothing twice");
        assert_eq!(logged("rate_limited", 11, "192.0.2.1"), 10, "a new second");
    }

    proptest! {
        /// However many addresses, codes and seconds: nothing is lost from the sums, and memory has
        /// a bound.
        #[test]
        fn every_refusal_is_logged_or_counted(
            events in proptest::collection::vec((0_u8..100, 0_u16..500, 0_u64..400), 1..2_000)
        ) {
            let (flood, _) = flood();
            let (mut logged, mut counted, mut lines) = (0, 0, 0);
            for (code, address, passed) in &events {
                NOW.set(NOW.get() + passed / 8);
                logged += u64::from(flood.admits("audit", &format!("code_{code}"), &address.to_string()));
                let (summaries, _) = flood.due();
                lines += summaries.len();
                counted += summaries.iter().map(|summary| summary.refusals).sum::<u64>();
                let held = flood.lock();
                prop_assert!(held.causes.len() <= CAUSES && held.addresses.len() <= ADDRESSES + 1);
            }
            let seconds = usize::try_from(NOW.get() / 1_000).unwrap();
            prop_assert!(lines <= seconds + 1);
            NOW.set(NOW.get() + 1_000);
            counted += flood.due().0.iter().map(|summary| summary.refusals).sum::<u64>();
            prop_assert_eq!(logged + counted, events.len() as u64);
        }
    }
}
