//! What `RemoteKeys` is about and what it remembers: whose keys, how old, and what went wrong.
//!
//! Plain data and questions about it at an instant; nothing here asks anybody or waits.

use super::{RefreshPolicy, flight::Flight};
use crate::{
    elapsed::elapsed,
    fetch::FetchError,
    keys::{Format, LoadedKeys},
    source::KeyUrl,
};
use countersign_jose::{Algorithm, Timestamp};
use std::{sync::Arc, time::Duration};

/// What is fetched, from where, for whom.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The configured name of the issuer.
    pub(crate) issuer: Arc<str>,
    pub(crate) location: Location,
    pub(crate) format: Format,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) policy: RefreshPolicy,
    /// Whether the address need not exist: an issuer has names that it may not use. One where
    /// nothing is, is not asked again for [`MISSING_FOR`].
    pub(crate) may_be_missing: bool,
}

/// How long an address where nothing was is believed not to exist.
pub(crate) const MISSING_FOR: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) enum Location {
    /// The key document is here.
    Direct(KeyUrl),
    /// The discovery document of this issuer is here, and says where the keys are.
    Discovery { url: KeyUrl, issuer: String },
}

impl Location {
    /// The configured address.
    pub(crate) fn url(&self) -> &KeyUrl {
        match self {
            Self::Direct(url) | Self::Discovery { url, .. } => url,
        }
    }
}

/// Keys and their age.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) keys: Arc<LoadedKeys>,
    /// When the request for them was sent.
    pub(crate) fetched_at: Timestamp,
    pub(crate) time_to_live: Duration,
}

impl Held {
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        elapsed(self.fetched_at, now).is_some_and(|age| age < self.time_to_live)
    }

    pub(super) fn is_usable(&self, now: Timestamp, policy: &RefreshPolicy) -> bool {
        elapsed(self.fetched_at, now).is_some_and(|age| age < self.time_to_live + policy.stale)
    }

    pub(super) fn wants_renewal(&self, now: Timestamp) -> bool {
        elapsed(self.fetched_at, now).is_none_or(|age| age >= self.time_to_live * 3 / 4)
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) flight: Option<Flight>,
    pub(super) snapshot_tried: bool,
    /// Failures in a row.
    pub(super) failures: u32,
    pub(super) last_failure: Option<(FetchError, Timestamp)>,
    /// The address of the last request.
    pub(super) asked: Option<KeyUrl>,
    pub(super) unknown_kid_at: Option<Timestamp>,
    pub(super) jwks_uri: Option<(KeyUrl, Timestamp)>,
}

impl State {
    /// What was asked last and why it did not lead to keys.
    pub(super) fn why(&self, location: &Location) -> (Arc<str>, FetchError) {
        let why = self.last_failure.as_ref().map_or(FetchError::Interrupted, |(why, _)| why.clone());
        (self.asked.as_ref().unwrap_or(location.url()).without_query().into(), why)
    }

    /// Whether failures allow to ask again. While no keys are at hand that could be used meanwhile,
    /// the pause does not grow: callers wait for the issuer's first good answer.
    pub(super) fn may_ask(&self, now: Timestamp, subject: &Subject, keys_at_hand: bool) -> bool {
        let Some((why, at)) = &self.last_failure else { return true };
        let pause = match keys_at_hand {
            true => subject.policy.pause(self.failures),
            false if subject.may_be_missing && why.is_missing() => MISSING_FOR,
            false => subject.policy.first_pause,
        };
        elapsed(*at, now).is_none_or(|since| since >= pause)
    }

    /// Whether the issuer failed lately. What failed longer ago says nothing of it: a function that
    /// was frozen meanwhile has not asked since.
    pub(super) fn is_down(&self, now: Timestamp, policy: &RefreshPolicy) -> bool {
        let lately = policy.longest_pause.saturating_mul(2);
        let at = self.last_failure.as_ref().map(|(_, at)| *at);
        self.failures > 0 && at.is_some_and(|at| elapsed(at, now).is_some_and(|since| since < lately))
    }
}

/// What an operator may know about an issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// The configured name of the issuer.
    pub issuer: Arc<str>,
    /// How many keys are at hand, fresh or still usable.
    pub keys: usize,
    /// When they were fetched; `None` for inline keys, or if there are none.
    pub fetched_at: Option<Timestamp>,
    /// Whether they are within their time to live (inline keys always are).
    pub fresh: bool,
    /// Why the latest fetch failed, if it did.
    pub failure: Option<FetchError>,
}
