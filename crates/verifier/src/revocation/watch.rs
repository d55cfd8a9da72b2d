//! `Watch`: the newest list of an issuer, fetched when it is asked for, by one for all who wait.
//!
//! A list that is older than `every` is asked for again before it is used, so that a revocation
//! counts within that time as long as the issuer can be reached. One that cannot be fetched is used
//! for `max_stale` longer, and then no token of the issuer is accepted: that is not known of any,
//! and says so as missing keys do. A list is signed by a key of the issuer and has a type and an
//! audience of its own. An older one than that at hand is not taken: by its time, and until the one
//! at hand has expired by its number.

use super::list::{RevocationList, TYP};
use crate::{
    elapsed::elapsed,
    error::VerifyError,
    fetch::{self, Fetch, FetchError},
    keys::{self, LoadedKeys},
    remote::Flight,
    source::KeyUrl,
    verifier::IssuerKeys,
};
use countersign_jose::{Policy, Timestamp, TokenError, Unverified, Verified};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long somebody waits for a newer list while the one at hand may still be used.
const PATIENCE: Duration = Duration::from_secs(1);
/// How far the clocks of issuer and verifier may differ at least.
const LEAST_LEEWAY: Duration = Duration::from_secs(60);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest list: as much as is fetched of key documents.
const MAX_BYTES: usize = crate::fetch::MAX_KEY_BYTES;

/// How a verifier keeps up with what an issuer has revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationSettings {
    /// Where the list is; `None` for `/.well-known/revoked.jwt` below the issuer.
    pub url: Option<String>,
    /// How old a list may be while a newer one can be had.
    pub every: Duration,
    /// How much longer it is used while none can be had; then no token is accepted.
    pub max_stale: Duration,
}

impl RevocationSettings {
    /// Whether the times are ones that mean something: up to an hour, and a day.
    pub(crate) fn is_sound(&self) -> bool {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        second <= self.every && self.every <= hour && self.max_stale <= 24 * hour
    }
}

/// Why there is no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// It could not be fetched.
    #[error("{0}")]
    Fetch(#[from] FetchError),
    /// It is not signed by the issuer, is expired, or is for another purpose.
    #[error("the answer is no list of this issuer: {0}")]
    Token(#[from] TokenError),
    /// Its `typ` is not that of such a list.
    #[error("the answer is a token of another type than `revoked+jwt`")]
    Typ,
    /// Its claims are not those of a list.
    #[error("the list has claims that cannot be read")]
    Claims,
    /// It is older than the one at hand.
    #[error("the list is older than the one that was seen before")]
    WentBack,
}

/// The list of one issuer.
#[derive(Debug)]
pub(crate) struct Watch {
    issuer: Arc<str>,
    url: KeyUrl,
    settings: RevocationSettings,
    policy: Policy,
    keys: IssuerKeys,
    fetch: Arc<dyn Fetch>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    failure: Option<(RevocationError, Timestamp)>,
    flight: Option<Flight>,
}

#[derive(Debug, Clone)]
struct Held {
    list: Arc<RevocationList>,
    fetched_at: Timestamp,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl Watch {
    pub(crate) fn new(
        issuer: &Arc<str>,
        url: KeyUrl,
        settings: RevocationSettings,
        leeway: Duration,
        keys: IssuerKeys,
        fetch: Arc<dyn Fetch>,
    ) -> Arc<Self> {
        // A list may have been signed a moment after `now` was read, by a clock that is ahead.
        let policy = Policy::new()
            .issuer(&**issuer)
            .audiences([RevocationList::audience(issuer)])
            .leeway(leeway.max(LEAST_LEEWAY));
        let issuer = Arc::clone(issuer);
        Arc::new(Self { issuer, url, settings, policy, keys, fetch, state: Mutex::default() })
    }

    /// Refuses a token that the issuer has revoked.
    pub(crate) async fn check(self: &Arc<Self>, token: &Verified, now: Timestamp) -> Result<(), VerifyError> {
        let list = self
            .current(now)
            .await
            .map_err(|why| VerifyError::RevocationsUnavailable { issuer: Arc::clone(&self.issuer), why })?;
        if list.revokes(token) { Err(VerifyError::Revoked) } else { Ok(()) }
    }

    /// The list, as new as it can be had.
    pub(crate) async fn current(
        self: &Arc<Self>,
        now: Timestamp,
    ) -> Result<Arc<RevocationList>, RevocationError> {
        let (held, flight) = {
            let mut state = self.lock();
            let held = state.held.clone();
            let age = held.as_ref().and_then(|held| elapsed(held.fetched_at, now));
            if let (Some(held), Some(age)) = (&held, age)
                && age < self.settings.every * 3 / 4
            {
                return Ok(Arc::clone(&held.list));
            }
            let flight = self.flight(&mut state, now);
            // Renewed before it has to be, so that nobody waits.
            if let (Some(held), Some(age)) = (&held, age)
                && age < self.settings.every
            {
                return Ok(Arc::clone(&held.list));
            }
            (held.filter(|held| self.is_usable(held, now)), flight)
        };
        match (&held, flight) {
            (Some(_), Some(flight)) => flight.landed_within(PATIENCE).await,
            (None, Some(flight)) => flight.landed().await,
            (_, None) => {}
        }
        let state = self.lock();
        let newest = state.held.as_ref().filter(|held| self.is_usable(held, now));
        match (newest, &state.failure) {
            (Some(held), _) => Ok(Arc::clone(&held.list)),
            (None, Some((why, _))) => Err(why.clone()),
            (None, None) => Err(FetchError::Interrupted.into()),
        }
    }

    /// Waits until nothing is being fetched, for each fetch not longer than `leisure` in all.
    pub(crate) async fn settled_within(&self, leisure: Duration) {
        let flight = self.lock().flight.clone();
        if let Some(flight) = flight {
            flight.settled_within(leisure).await;
        }
    }

    fn is_usable(&self, held: &Held, now: Timestamp) -> bool {
        // Somebody who waits for another's request may have come a moment later.
        let most = self.settings.every.saturating_add(self.settings.max_stale);
        elapsed(held.fetched_at, now).is_some_and(|age| age <= most)
            && now < held.expires_at.plus(self.settings.max_stale)
    }

    /// The request that is under way, or one that begins now; none shortly after a failure.
    fn flight(self: &Arc<Self>, state: &mut State, now: Timestamp) -> Option<Flight> {
        if let Some(flight) = state.flight.as_ref().filter(|flight| flight.is_in_the_air()) {
            return Some(flight.clone());
        }
        let pause =
            |(_, at): &(RevocationError, Timestamp)| elapsed(*at, now).is_some_and(|since| since < PAUSE);
        if state.failure.as_ref().is_some_and(pause) {
            return None;
        }
        let watch = Arc::clone(self);
        let flight = Flight::launch(async move { watch.renew(now).await });
        state.flight = Some(flight.clone());
        Some(flight)
    }

    async fn renew(&self, now: Timestamp) {
        let outcome = self.ask(now).await;
        let mut state = self.lock();
        match outcome.and_then(|new| self.not_older(state.held.as_ref(), new, now)) {
            Ok(held) => {
                state.held = Some(held);
                state.failure = None;
            }
            Err(why) => {
                let issuer = &*self.issuer;
                tracing::warn!(issuer, "the revocation list of an issuer could not be fetched: {why}");
                state.failure = Some((why, now));
            }
        }
    }

    fn not_older(&self, held: Option<&Held>, new: Held, now: Timestamp) -> Result<Held, RevocationError> {
        let Some(held) = held else { return Ok(new) };
        let fewer = new.list.sequence < held.list.sequence && now < held.expires_at;
        if new.issued_at < held.issued_at || fewer { Err(RevocationError::WentBack) } else { Ok(new) }
    }

    async fn ask(&self, now: Timestamp) -> Result<Held, RevocationError> {
        let (fetched, passed) = fetch::ask(&*self.fetch, &self.url).await?;
        let (body, now) = (fetched.body, now.plus(passed));
        let text = std::str::from_utf8(&body).map_err(|_| TokenError::NotCompact { parts: 1 })?.trim_end();
        let parse = || Unverified::parse_within(text, MAX_BYTES);
        let keys = self.keys_for(&parse()?, now).await?;
        let token = parse()?;
        let key = keys.select(&token).map_err(|_| TokenError::NoKey)?;
        let verified = token.verify(key)?.check(&self.policy, now)?;
        if verified.typ() != Some(TYP) {
            return Err(RevocationError::Typ);
        }
        let list = RevocationList::of(&verified).ok_or(RevocationError::Claims)?;
        let claims = verified.registered();
        let (Some(issued_at), Some(expires_at)) = (claims.iat, claims.exp) else {
            return Err(RevocationError::Claims);
        };
        Ok(Held { list: Arc::new(list), fetched_at: now, issued_at, expires_at })
    }

    async fn keys_for(
        &self,
        token: &Unverified<'_>,
        now: Timestamp,
    ) -> Result<Arc<LoadedKeys>, RevocationError> {
        let remote = match &self.keys {
            IssuerKeys::Fixed(keys) => return Ok(Arc::clone(keys)),
            IssuerKeys::Remote(remote) => remote,
        };
        let keys = remote.current(now).await.map_err(|(_, why)| why)?;
        if keys.select(token).is_err_and(|why| keys::may_be_new(token, &why))
            && let Some(newer) = remote.newer_than(&keys, now).await.map_err(|(_, why)| why)?
        {
            return Ok(newer);
        }
        Ok(keys)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
