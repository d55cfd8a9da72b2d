//! `RemoteKeys`: the current keys of one issuer, fetched once for everybody who waits for them.
//!
//! Guarantees: one fetch at a time, in a task of its own, so that a caller who goes away neither
//! cancels nor spoils it; no lock is held over I/O, and fresh keys are read without one; a refresh
//! replaces the keys. Fresh keys are used at once and renewed in the background from three quarters
//! of their life on, while in use. Expired keys wait for the fetch, but only for `PATIENCE`: if it
//! fails or takes longer they are used for a bounded time. A well-formed answer without a usable
//! key withdraws all keys at once. Failures pause the asking, ever longer while keys are at hand;
//! what failed while the process stood still is asked again and is no failure
//! (`fetch::standstill`). A token with an unknown `kid`, or a signature that does not verify, may
//! cause one fetch per window, for which only such tokens wait. If the latest fetch failed, nobody
//! knows whether there are newer keys, and that is what they are told. There is no clock here:
//! `now` comes with each call, and a clock set back by over a minute counts as expiry. Pinned by
//! `tests/suite`: `remote_keys`, `hostile_servers` and `flood`.

mod flight;
mod held;
mod policy;

pub(crate) use flight::Flight;
pub use held::KeyStatus;
pub(crate) use held::{Held, Location, MISSING_FOR, Subject};
pub use policy::RefreshPolicy;

use crate::{
    discovery,
    elapsed::elapsed,
    fetch::{self, Fetch, FetchError},
    keys::LoadedKeys,
    snapshot::{self, Snapshots},
    source::KeyUrl,
};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use countersign_jose::Timestamp;
use held::State;
use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

/// How long a discovered `jwks_uri` is believed. It is dropped at once when it fails.
const DISCOVERY_LIFE: Duration = Duration::from_secs(3600);
/// How long a caller waits for newer keys while stale ones could be used: a healthy issuer answers
/// in this time, so that a removed key is not used once more after a quiet hour, and a frozen one
/// holds nobody up.
const PATIENCE: Duration = Duration::from_millis(250);

/// Why keys are not to be had, behind the address that was asked.
pub(crate) type Unavailable = (Arc<str>, FetchError);

/// The keys of one issuer that are fetched.
#[derive(Debug, Clone)]
pub(crate) struct RemoteKeys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    subject: Subject,
    fetch: Arc<dyn Fetch>,
    snapshots: Option<Arc<dyn Snapshots>>,
    current: ArcSwapOption<Held>,
    state: Mutex<State>,
}

impl RemoteKeys {
    pub(crate) fn new(
        subject: Subject,
        fetch: Arc<dyn Fetch>,
        snapshots: Option<Arc<dyn Snapshots>>,
    ) -> Self {
        let (current, state) = (ArcSwapOption::empty(), Mutex::default());
        Self(Arc::new(Shared { subject, fetch, snapshots, current, state }))
    }

    /// The keys to verify with now. Needs a tokio runtime.
    /// An error says which address was asked.
    pub(crate) async fn current(&self, now: Timestamp) -> Result<Arc<LoadedKeys>, Unavailable> {
        if let Some(held) = self.0.current.load().as_ref().filter(|held| held.is_fresh(now)) {
            if held.wants_renewal(now) {
                self.renew_in_background(now);
            }
            return Ok(held.keys.clone());
        }
        let flight = {
            let mut state = self.0.lock();
            // A flight may have landed since.
            let usable = self.0.usable(now);
            if let Some(held) = usable.as_ref().filter(|held| held.is_fresh(now)) {
                return Ok(held.keys.clone());
            }
            let flight = self.join_or_launch(&mut state, now);
            match (usable, flight) {
                // The issuer is known to be down: callers are not made to wait for another try.
                (Some(held), _) if state.is_down(now, &self.0.subject.policy) => {
                    return Ok(held.keys.clone());
                }
                (Some(_), Some(flight)) => (flight, Some(PATIENCE)),
                (None, Some(flight)) => (flight, None),
                (Some(held), None) => return Ok(held.keys.clone()),
                (None, None) => return Err(state.why(&self.0.subject.location)),
            }
        };
        match flight {
            (flight, Some(patience)) => flight.landed_within(patience).await,
            (flight, None) => flight.landed().await,
        }
        match self.0.usable(now) {
            Some(held) => Ok(held.keys.clone()),
            None => Err(self.0.lock().why(&self.0.subject.location)),
        }
    }

    /// Other keys than `seen`, with which a token could not be verified, if there are any or the
    /// window allows to ask. It is one window for unknown names and bad signatures, so that no
    /// mixture of them causes more. An error if the issuer did not answer when it was asked last,
    /// so that there may be others.
    pub(crate) async fn newer_than(
        &self,
        seen: &Arc<LoadedKeys>,
        now: Timestamp,
    ) -> Result<Option<Arc<LoadedKeys>>, Unavailable> {
        let flight = {
            let mut state = self.0.lock();
            let in_the_air = state.flight.as_ref().filter(|flight| flight.is_in_the_air()).cloned();
            match (self.0.other_than(seen, now), in_the_air) {
                (Some(keys), _) => return Ok(Some(keys)),
                (None, Some(flight)) => Some(flight),
                (None, None) => {
                    let window = self.0.subject.policy.unknown_kid_window;
                    let since = state.unknown_kid_at.and_then(|at| elapsed(at, now));
                    let may_ask = since.is_none_or(|since| since >= window);
                    let flight = may_ask.then(|| self.join_or_launch(&mut state, now)).flatten();
                    if flight.is_some() {
                        state.unknown_kid_at = Some(now);
                    }
                    flight
                }
            }
        };
        if let Some(flight) = flight {
            flight.landed().await;
        }
        let newer = self.0.other_than(seen, now);
        let state = self.0.lock();
        if newer.is_none() && state.failures > 0 {
            return Err(state.why(&self.0.subject.location));
        }
        Ok(newer)
    }

    /// Waits until nothing is being fetched, for each fetch not longer than `leisure` in all.
    pub(crate) async fn settled_within(&self, leisure: Duration) {
        let flight = self.0.lock().flight.clone();
        if let Some(flight) = flight {
            flight.settled_within(leisure).await;
        }
    }

    /// Whether it need not be where it is looked for.
    pub(crate) fn may_be_missing(&self) -> bool {
        self.0.subject.may_be_missing
    }

    /// What is known, without asking anybody.
    pub(crate) fn status(&self, now: Timestamp) -> KeyStatus {
        let held = self.0.usable(now);
        KeyStatus {
            issuer: self.0.subject.issuer.clone(),
            keys: held.as_ref().map_or(0, |held| held.keys.count()),
            fetched_at: held.as_ref().map(|held| held.fetched_at),
            fresh: held.is_some_and(|held| held.is_fresh(now)),
            failure: self.0.lock().last_failure.as_ref().map(|(why, _)| why.clone()),
        }
    }

    fn renew_in_background(&self, now: Timestamp) {
        // Somebody else is at it, or will be: fresh keys never wait, not even for a lock.
        let mut state = match self.0.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.join_or_launch(&mut state, now);
    }

    /// The flight in the air, or a new one unless failures demand a pause.
    fn join_or_launch(&self, state: &mut State, now: Timestamp) -> Option<Flight> {
        if let Some(flight) = state.flight.as_ref().filter(|flight| flight.is_in_the_air()) {
            return Some(flight.clone());
        }
        let keys_at_hand = self.0.usable(now).is_some();
        if !state.may_ask(now, &self.0.subject, keys_at_hand) {
            return None;
        }
        let restore = !mem::replace(&mut state.snapshot_tried, true);
        let shared = self.0.clone();
        let flight = Flight::launch(async move { shared.refresh(restore, now).await });
        state.flight = Some(flight.clone());
        Some(flight)
    }
}

impl Shared {
    /// Nothing in the state can be left half-changed by a panic, so a poisoned lock is as good as
    /// any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self, now: Timestamp) -> Option<Arc<Held>> {
        self.current.load_full().filter(|held| held.is_usable(now, &self.subject.policy))
    }

    fn other_than(&self, seen: &Arc<LoadedKeys>, now: Timestamp) -> Option<Arc<LoadedKeys>> {
        let held = self.usable(now).filter(|held| !Arc::ptr_eq(&held.keys, seen))?;
        Some(held.keys.clone())
    }

    /// One flight: the snapshot if it was not tried yet, else or if that is not fresh the network.
    async fn refresh(self: Arc<Self>, restore: bool, now: Timestamp) {
        if restore && let Some(held) = self.restore(now).await {
            let fresh = held.is_fresh(now);
            self.current.store(Some(Arc::new(held)));
            if fresh {
                return;
            }
        }
        let started = tokio::time::Instant::now();
        // In a task of its own, so that a panic in a `Fetch` is a failure like any other.
        let asking = tokio::spawn({
            let shared = self.clone();
            async move { shared.ask(now).await }
        });
        let outcome = asking.await.unwrap_or(Err(FetchError::Interrupted));
        match outcome {
            Ok((held, body)) if !held.keys.are_usable() => {
                self.withdrawn(&held.keys, now.plus(started.elapsed()));
                self.save(&held, body).await;
            }
            Ok((held, body)) => {
                self.succeeded(held.clone());
                self.save(&held, body).await;
            }
            Err(why) => self.failed(why, now.plus(started.elapsed())),
        }
    }

    fn succeeded(&self, held: Held) {
        self.current.store(Some(Arc::new(held)));
        let mut state = self.lock();
        state.failures = 0;
        state.last_failure = None;
    }

    /// The issuer is there and has no key for its tokens any more. Asked again after the shortest
    /// pause, because the next set is on its way where somebody has taken the wrong step of a
    /// rotation.
    fn withdrawn(&self, keys: &LoadedKeys, at: Timestamp) {
        let issuer = &*self.subject.issuer;
        let why = FetchError::NoUsableKey;
        let keys = keys.skipped_in_words(&self.subject.algorithms);
        tracing::warn!(issuer, code = why.code(), "an issuer has withdrawn its keys: {why}{keys}");
        self.current.store(None);
        let mut state = self.lock();
        state.failures = 1;
        state.last_failure = Some((why, at));
        state.jwks_uri = None;
    }

    fn failed(&self, why: FetchError, at: Timestamp) {
        let issuer = &*self.subject.issuer;
        let mut state = self.lock();
        let asked = state.asked.as_ref().unwrap_or(self.subject.location.url()).without_query();
        tracing::warn!(issuer, asked, code = why.code(), "the keys of an issuer could not be fetched: {why}");
        state.failures = state.failures.saturating_add(1);
        state.last_failure = Some((why, at));
        state.jwks_uri = None;
    }

    async fn ask(&self, now: Timestamp) -> Result<(Held, Bytes), FetchError> {
        let (url, now) = match &self.subject.location {
            Location::Direct(url) => (url.clone(), now),
            Location::Discovery { url, issuer } => self.discover(url, issuer, now).await?,
        };
        self.lock().asked = Some(url.clone());
        let (answer, passed) = fetch::ask(&*self.fetch, &url).await?;
        let keys = LoadedKeys::parse(self.subject.format, &answer.body, &self.subject.algorithms)?;
        let time_to_live = self.subject.policy.time_to_live(answer.fresh_for);
        let fetched_at = now.plus(passed);
        Ok((Held { keys: Arc::new(keys), fetched_at, time_to_live }, answer.body))
    }

    /// The address of the keys, and what time it is now.
    async fn discover(
        &self,
        url: &KeyUrl,
        issuer: &str,
        now: Timestamp,
    ) -> Result<(KeyUrl, Timestamp), FetchError> {
        let known = self.lock().jwks_uri.clone();
        if let Some((uri, at)) = known
            && elapsed(at, now).is_some_and(|age| age < DISCOVERY_LIFE)
        {
            return Ok((uri, now));
        }
        self.lock().asked = Some(url.clone());
        let (document, passed) = fetch::ask(&*self.fetch, url).await?;
        let (uri, now) = (discovery::jwks_uri(&document.body, issuer, url)?, now.plus(passed));
        self.lock().jwks_uri = Some((uri.clone(), now));
        Ok((uri, now))
    }

    async fn restore(&self, now: Timestamp) -> Option<Held> {
        let held = snapshot::load(self.snapshots.clone()?, &self.subject).await?;
        held.is_usable(now, &self.subject.policy).then_some(held)
    }

    async fn save(&self, held: &Held, body: Bytes) {
        if let Some(snapshots) = self.snapshots.clone() {
            snapshot::save(snapshots, &self.subject, held, body).await;
        }
    }
}
