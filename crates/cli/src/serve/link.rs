//! One connection as others see it: what it waits for, since when, and what it was told to do.
//!
//! The connection's own task writes (`stream`, `connection`); the table of connections reads, to
//! find the one that has to give way. Times are checked by one timer for each connection that is
//! seldom set again, never by one for each request. All fields are atomic and none guards another:
//! a reader that sees an old value picks a connection that has just become busy, and that one
//! finishes its answer before it closes.

use super::table::AddressKey;
use crate::config::Limits;
use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// What a connection does. Ordered as it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nothing has come yet.
    Fresh,
    /// Between two requests.
    Idle,
    /// The head of a request has begun to come.
    Head,
    /// The answer is being made, and waits for more of the body.
    Body,
    /// The answer is being made.
    Answering,
    /// The answer is being sent.
    Writing,
}

/// Waiting for the client for so long is no offence.
const GRACE: u64 = 1000;
/// What a client must take of an answer within `limits.write_time`.
const LEAST_WRITTEN: u64 = 16 * 1024;
/// Not stalled.
const NEVER: u64 = u64::MAX;

/// What a connection was told.
const GIVE_WAY: u8 = 1;
const FINISH: u8 = 2;

/// The shared side of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) address: IpAddr,
    pub(super) key: AddressKey,
    /// A proxy's, which may have as many connections as there are.
    pub(super) of_proxy: bool,
    /// Times below are milliseconds since then.
    epoch: Instant,
    phase: AtomicU8,
    since: AtomicU64,
    stalled: AtomicU64,
    written: AtomicU64,
    orders: AtomicU8,
    ordered: Notify,
    late: AtomicBool,
    last: AtomicBool,
    reset: AtomicBool,
}

/// What the task of a connection has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Look again at this time.
    Look(Instant),
    /// Poll the connection: its answer is late, or has become the last one.
    Poll,
    /// Close it as soon as hyper has nothing under way.
    WindUp,
    /// Drop it.
    Drop,
}

impl Link {
    pub(super) fn new(address: IpAddr, of_proxy: bool, epoch: Instant) -> Self {
        let address = address.to_canonical();
        let link = Self {
            address,
            key: AddressKey::of(address),
            of_proxy,
            epoch,
            phase: AtomicU8::new(Phase::Fresh as u8),
            since: AtomicU64::new(0),
            stalled: AtomicU64::new(NEVER),
            written: AtomicU64::new(0),
            orders: AtomicU8::new(0),
            ordered: Notify::new(),
            late: AtomicBool::new(false),
            last: AtomicBool::new(false),
            reset: AtomicBool::new(false),
        };
        link.since.store(link.now(), Relaxed);
        link
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn phase(&self) -> Phase {
        const ALL: [Phase; 6] =
            [Phase::Fresh, Phase::Idle, Phase::Head, Phase::Body, Phase::Answering, Phase::Writing];
        ALL.get(usize::from(self.phase.load(Relaxed))).copied().unwrap_or(Phase::Writing)
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Bytes were read.
    pub(super) fn read(&self) {
        match self.phase() {
            Phase::Fresh | Phase::Idle => {
                self.since.store(self.now(), Relaxed);
                self.enter(Phase::Head);
            }
            Phase::Body => self.enter(Phase::Answering),
            Phase::Head | Phase::Answering | Phase::Writing => {}
        }
    }

    /// More is wanted than has come.
    pub(super) fn wants_more(&self) {
        if self.phase() == Phase::Answering {
            self.enter(Phase::Body);
        }
    }

    /// A whole head was read. One that came together with the request before counts from now.
    pub(super) fn begins(&self) {
        if self.phase() != Phase::Head {
            self.since.store(self.now(), Relaxed);
        }
        self.enter(Phase::Answering);
    }

    /// The answer is made.
    pub(super) fn answered(&self) {
        self.enter(Phase::Writing);
    }

    /// Everything that was to be sent is with the kernel.
    pub(super) fn flushed(&self) {
        if self.stalled.load(Relaxed) != NEVER {
            self.stalled.store(NEVER, Relaxed);
        }
        if self.phase() == Phase::Writing {
            self.since.store(self.now(), Relaxed);
            self.enter(Phase::Idle);
        }
    }

    /// The kernel takes no more.
    pub(super) fn stalls(&self) {
        if self.stalled.load(Relaxed) == NEVER {
            self.written.store(0, Relaxed);
            self.stalled.store(self.now(), Relaxed);
        }
    }

    /// The kernel took some.
    pub(super) fn wrote(&self, bytes: usize) {
        if self.stalled.load(Relaxed) != NEVER {
            self.written.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// The answer under way is to be given up with 408.
    pub(super) fn is_late(&self) -> bool {
        self.late.load(Relaxed)
    }

    /// The next answer is the last one.
    pub(super) fn is_last(&self) -> bool {
        self.last.load(Relaxed)
    }

    /// What the kernel still has is not worth keeping.
    pub(super) fn is_reset(&self) -> bool {
        self.reset.load(Relaxed)
    }

    /// How long it has waited for its client, if it has done so long enough to give way to another.
    /// In milliseconds.
    pub(super) fn waited(&self) -> Option<u64> {
        let now = self.now();
        let for_long = |since: u64| Some(now.saturating_sub(since)).filter(|waited| *waited >= GRACE);
        match (self.stalled.load(Relaxed), self.phase()) {
            (NEVER, Phase::Idle) => Some(now.saturating_sub(self.since.load(Relaxed))),
            (NEVER, Phase::Fresh | Phase::Head | Phase::Body) => for_long(self.since.load(Relaxed)),
            (NEVER, Phase::Answering | Phase::Writing) => None,
            (since, _) => for_long(since),
        }
    }

    /// Tells it to make room for another.
    pub(super) fn give_way(&self) {
        self.order(GIVE_WAY);
    }

    /// Tells it to end with the request it has, or the first one if none has come.
    pub(super) fn finish(&self) {
        self.order(FINISH);
    }

    fn order(&self, order: u8) {
        self.orders.fetch_or(order, Relaxed);
        self.ordered.notify_one();
    }

    /// Ends when something was told.
    pub(super) async fn ordered(&self) {
        self.ordered.notified().await;
    }

    /// What follows from what was told. The connection was polled before, so a request that has
    /// come counts.
    pub(super) fn obey(&self) -> Step {
        let orders = self.orders.swap(0, Relaxed);
        self.last.store(true, Relaxed);
        if orders & GIVE_WAY == 0 {
            return match self.phase() {
                // Taken from the queue of a server that stops: its request is on the way.
                Phase::Fresh => Step::Look(Instant::now() + Duration::from_millis(GRACE)),
                _ => Step::WindUp,
            };
        }
        if self.stalled.load(Relaxed) != NEVER {
            return self.cut_off();
        }
        match self.phase() {
            Phase::Fresh | Phase::Head => Step::Drop,
            Phase::Body => self.make_late(),
            Phase::Idle | Phase::Answering | Phase::Writing => Step::WindUp,
        }
    }

    /// Whether its time is up, or when to look again.
    pub(super) fn look(&self, limits: &Limits) -> Step {
        let now = self.now();
        let stalled = self.stalled.load(Relaxed);
        if stalled != NEVER {
            if now.saturating_sub(stalled) >= millis(limits.write_time) {
                if self.written.swap(0, Relaxed) < LEAST_WRITTEN {
                    return self.cut_off();
                }
                self.stalled.store(now, Relaxed);
            }
            return self.again(now, limits.write_time, limits);
        }
        let limit = match self.phase() {
            Phase::Fresh if self.is_last() => Duration::from_millis(GRACE),
            Phase::Idle => limits.idle_time,
            Phase::Writing => limits.write_time,
            Phase::Fresh | Phase::Head | Phase::Body | Phase::Answering => limits.request_time,
        };
        let waited = Duration::from_millis(now.saturating_sub(self.since.load(Relaxed)));
        let Some(left) = limit.checked_sub(waited).filter(|left| !left.is_zero()) else {
            return match self.phase() {
                Phase::Fresh | Phase::Head => Step::Drop,
                Phase::Idle => Step::WindUp,
                Phase::Body | Phase::Answering => self.make_late(),
                // Not stalled: it has been sent, and a flush is all that is missing.
                Phase::Writing => self.again(now, limits.write_time, limits),
            };
        };
        self.again(now, left, limits)
    }

    /// Looking at least as often as the shortest limit is long finds each end on time, whatever
    /// phase begins meanwhile.
    fn again(&self, now: u64, left: Duration, limits: &Limits) -> Step {
        let shortest = limits.request_time.min(limits.idle_time).min(limits.write_time);
        let soonest = Duration::from_millis(1);
        Step::Look(self.epoch + Duration::from_millis(now) + left.min(shortest).max(soonest))
    }

    /// 408 for the request under way, and if that was said already and nothing came of it, the end.
    fn make_late(&self) -> Step {
        self.last.store(true, Relaxed);
        if self.late.swap(true, Relaxed) { Step::Drop } else { Step::Poll }
    }

    /// The end without what was not sent yet.
    fn cut_off(&self) -> Step {
        self.reset.store(true, Relaxed);
        Step::Drop
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
