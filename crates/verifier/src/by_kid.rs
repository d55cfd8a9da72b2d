//! `KeysByKid`: keys of an issuer that has no set of them, but one at an address for each `kid`, as
//! AWS has those of its load balancers.
//!
//! The only place where a token says which address is asked, so what it says has one shape, a GUID
//! in lower case, and is put behind the configured address and nowhere else. Each name has its own
//! `RemoteKeys`: one fetch for all who wait, the same ages, pauses and staleness as everywhere, and
//! one look in a window for a key that was replaced under its name. Names are cheap to make up, so
//! there are bounds: a name without a key is not asked for again for `MISSING_FOR`, and of such
//! names there are `MOST_UNKNOWN` in a window, all others wait. Keys that were found do not make
//! room for them. Called by `verifier`; pinned by `tests/suite/load_balancer.rs`.

use crate::{
    error::VerifyError,
    fetch::{Fetch, FetchError},
    keys::{Format, LoadedKeys},
    remote::{KeyStatus, Location, MISSING_FOR, RefreshPolicy, RemoteKeys, Subject},
    snapshot::Snapshots,
    source::KeyUrl,
    trusted::is_guid,
};
use countersign_jose::{Algorithm, Timestamp, TokenError};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// As many keys are kept; a load balancer signs with one at a time.
const MOST_KEYS: usize = 32;
/// As many names without a key may be asked for in the window for unknown names.
const MOST_UNKNOWN: usize = 8;

/// The keys of one issuer, by their names.
#[derive(Debug)]
pub(crate) struct KeysByKid {
    issuer: Arc<str>,
    base: KeyUrl,
    algorithms: Vec<Algorithm>,
    policy: RefreshPolicy,
    fetch: Arc<dyn Fetch>,
    snapshots: Option<Arc<dyn Snapshots>>,
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    kid: String,
    keys: RemoteKeys,
    since: Timestamp,
    /// When it was found to have no key.
    missing: Option<Timestamp>,
}

impl KeysByKid {
    pub(crate) fn new(
        issuer: Arc<str>,
        base: KeyUrl,
        (algorithms, policy): (Vec<Algorithm>, RefreshPolicy),
        fetch: Arc<dyn Fetch>,
        snapshots: Option<Arc<dyn Snapshots>>,
    ) -> Self {
        Self { issuer, base, algorithms, policy, fetch, snapshots, entries: Mutex::default() }
    }

    /// The key of this name, and where newer ones under it come from.
    pub(crate) async fn current(
        &self,
        kid: Option<&str>,
        now: Timestamp,
    ) -> Result<(RemoteKeys, Arc<LoadedKeys>), VerifyError> {
        let kid = kid.filter(|kid| is_guid(kid)).ok_or(TokenError::NoKey)?;
        let remote = self.admitted(kid, now)?;
        match remote.current(now).await {
            Ok(keys) => Ok((remote, keys)),
            Err((_, why)) if why.is_missing() => {
                if let Some(entry) = self.lock().iter_mut().find(|entry| entry.kid == kid) {
                    entry.missing.get_or_insert(now);
                }
                Err(TokenError::NoKey.into())
            }
            Err((asked, why)) => Err(self.unavailable(asked, why)),
        }
    }

    /// What is known, without asking anybody.
    pub(crate) fn status(&self, now: Timestamp) -> KeyStatus {
        let found = self.lock().iter().map(|entry| entry.keys.status(now)).collect::<Vec<_>>();
        KeyStatus {
            issuer: self.issuer.clone(),
            keys: found.iter().map(|status| status.keys).sum(),
            fetched_at: found.iter().filter_map(|status| status.fetched_at).max(),
            // Nothing is known to be there before a token names it.
            fresh: true,
            failure: None,
        }
    }

    /// Waits until nothing is being fetched, for each fetch not longer than `leisure` in all.
    pub(crate) async fn settled_within(&self, leisure: Duration) {
        let all: Vec<RemoteKeys> = self.lock().iter().map(|entry| entry.keys.clone()).collect();
        for keys in all {
            keys.settled_within(leisure).await;
        }
    }

    /// The keys of a name that is known, or may be asked for.
    fn admitted(&self, kid: &str, now: Timestamp) -> Result<RemoteKeys, VerifyError> {
        let mut entries = self.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.kid == kid) {
            match entry.missing {
                Some(at) if is_within(at, now, MISSING_FOR) => return Err(TokenError::NoKey.into()),
                Some(_) => (entry.missing, entry.since) = (None, now),
                None => {}
            }
            return Ok(entry.keys.clone());
        }
        let has_key: Vec<bool> = entries.iter().map(|entry| entry.keys.status(now).keys > 0).collect();
        let keyless = has_key.iter().filter(|has| !**has).count();
        let full = [(keyless >= MOST_UNKNOWN, false), (entries.len() - keyless >= MOST_KEYS, true)];
        for (_, kind) in full.into_iter().filter(|(is_full, _)| *is_full) {
            let of_kind = entries.iter().zip(&has_key).enumerate().filter(|(_, (_, has))| **has == kind);
            let oldest = of_kind.min_by_key(|(_, (entry, _))| entry.since);
            let Some((at, (entry, _))) = oldest else { continue };
            if !kind && is_within(entry.since, now, self.policy.unknown_kid_window) {
                return Err(self.unavailable(self.base.as_str().into(), FetchError::ManyUnknownKids));
            }
            entries.remove(at);
            break;
        }
        let keys = self.remote(kid)?;
        entries.push(Entry { kid: kid.to_owned(), keys: keys.clone(), since: now, missing: None });
        Ok(keys)
    }

    fn remote(&self, kid: &str) -> Result<RemoteKeys, VerifyError> {
        let url = self.base.below(kid).map_err(|_| TokenError::NoKey)?;
        let subject = Subject {
            issuer: self.issuer.clone(),
            location: Location::Direct(url),
            format: Format::Pem,
            algorithms: self.algorithms.clone(),
            policy: self.policy,
            // Names that have no key are remembered here.
            may_be_missing: false,
        };
        Ok(RemoteKeys::new(subject, self.fetch.clone(), self.snapshots.clone()))
    }

    fn unavailable(&self, asked: Arc<str>, why: FetchError) -> VerifyError {
        VerifyError::KeysUnavailable { issuer: self.issuer.clone(), asked, why }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether no more than `time` has passed; not if the clock was set back in between.
fn is_within(since: Timestamp, now: Timestamp, time: Duration) -> bool {
    since <= now && now.since(since) < time
}
