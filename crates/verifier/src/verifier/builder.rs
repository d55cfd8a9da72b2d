//! Puts trusted issuers together into a `Verifier`, and refuses sets in which a token's `iss` would
//! not select one.

use super::{IssuerKeys, Trusted, TrustedKeys, Verifier};
use crate::{
    by_kid::KeysByKid,
    cache::TokenCache,
    fetch::{Fetch, FetchLimits, HttpsFetch},
    keys::Format,
    remote::{Location, RemoteKeys, Subject},
    revocation::Watch,
    snapshot::Snapshots,
    trusted::{Source, TrustError, TrustedIssuer},
};
use std::{collections::HashMap, num::NonZeroUsize, sync::Arc};

/// Makes a [`Verifier`].
#[derive(Debug, Default)]
#[must_use]
pub struct VerifierBuilder {
    issuers: Vec<TrustedIssuer>,
    fetch: Option<Arc<dyn Fetch>>,
    limits: FetchLimits,
    snapshots: Option<Arc<dyn Snapshots>>,
    cached_tokens: Option<NonZeroUsize>,
}

impl VerifierBuilder {
    /// Trusts one more issuer.
    pub fn trust(mut self, issuer: TrustedIssuer) -> Self {
        self.issuers.push(issuer);
        self
    }

    /// The limits of the built-in fetcher. Without effect when [`VerifierBuilder::fetch`] is given.
    pub fn fetch_limits(mut self, limits: FetchLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Fetches keys in another way than [`HttpsFetch`], except from servers that want something
    /// ([`KeyServer`](crate::KeyServer)).
    pub fn fetch(mut self, fetch: Arc<dyn Fetch>) -> Self {
        self.fetch = Some(fetch);
        self
    }

    /// Keeps fetched keys across restarts.
    pub fn snapshots(mut self, snapshots: Arc<dyn Snapshots>) -> Self {
        self.snapshots = Some(snapshots);
        self
    }

    /// Remembers up to so many verified tokens. Off by default; nothing is remembered past `exp` or
    /// a change of keys.
    pub fn cache_verified_tokens(mut self, entries: NonZeroUsize) -> Self {
        self.cached_tokens = Some(entries);
        self
    }

    /// Checks that each `iss` selects one issuer, and makes the verifier. Nothing is fetched yet.
    pub fn build(self) -> Result<Verifier, TrustError> {
        if self.issuers.is_empty() {
            return Err(TrustError::NoIssuers);
        }
        let (mut by_iss, mut by_signer) = (HashMap::new(), HashMap::new());
        for (index, issuer) in self.issuers.iter().enumerate() {
            if issuer.load_balancer.is_some() {
                if by_signer.insert(issuer.name.to_string(), index).is_some() {
                    return Err(TrustError::DuplicateIssuer(issuer.name.to_string()));
                }
                continue;
            }
            for (which, identity) in issuer.identities.iter().enumerate() {
                let Some(iss) = &identity.iss else {
                    if self.issuers.len() > 1 {
                        return Err(TrustError::AnyIssuerBesideOthers { issuer: issuer.name.to_string() });
                    }
                    continue;
                };
                if by_iss.insert(iss.clone(), (index, which)).is_some() {
                    return Err(TrustError::DuplicateIssuer(iss.clone()));
                }
            }
        }
        let fetch = self.fetch.unwrap_or_else(|| Arc::new(HttpsFetch::new(self.limits)));
        let (snapshots, limits) = (self.snapshots, self.limits);
        let with_keys = |issuer: TrustedIssuer| {
            let own = match (&issuer.key_server, &issuer.source) {
                (Some(server), Source::Remote { url, .. }) => {
                    Some(Arc::new(HttpsFetch::at_server(limits, server.clone(), url.clone()))
                        as Arc<dyn Fetch>)
                }
                _ => None,
            };
            let fetch = own.unwrap_or_else(|| Arc::clone(&fetch));
            let made = |source: &Source, may_be_missing: bool| {
                trusted_keys((&issuer, source, may_be_missing), &fetch, snapshots.as_ref())
            };
            // Not every name that an issuer can have is one that it has.
            let own_keys = issuer.own_sources.iter().filter_map(|source| match made(source, true) {
                TrustedKeys::All(keys) => Some(keys),
                TrustedKeys::ByKid(_) => None,
            });
            let (keys, own_keys) = (made(&issuer.source, false), own_keys.collect());
            let revocations = match (issuer.revocations.clone(), &keys) {
                (Some((url, settings)), TrustedKeys::All(keys)) => {
                    Some(Watch::new(&issuer.name, url, settings, issuer.leeway, keys.clone(), fetch))
                }
                (_, TrustedKeys::All(_) | TrustedKeys::ByKid(_)) => None,
            };
            Trusted { issuer, keys, own_keys, revocations }
        };
        let trusted = self.issuers.into_iter().map(with_keys).collect();
        Ok(Verifier { trusted, by_iss, by_signer, cache: self.cached_tokens.map(TokenCache::new) })
    }
}

fn trusted_keys(
    (issuer, source, may_be_missing): (&TrustedIssuer, &Source, bool),
    fetch: &Arc<dyn Fetch>,
    snapshots: Option<&Arc<dyn Snapshots>>,
) -> TrustedKeys {
    let (location, format) = match source {
        Source::Fixed(keys) => return TrustedKeys::All(IssuerKeys::Fixed(keys.clone())),
        Source::ByKid { url } => {
            let how = (issuer.algorithms().to_vec(), issuer.refresh);
            let (name, fetch, snapshots) = (issuer.name.clone(), fetch.clone(), snapshots.cloned());
            return TrustedKeys::ByKid(Box::new(KeysByKid::new(name, url.clone(), how, fetch, snapshots)));
        }
        Source::Remote { url, format } => (Location::Direct(url.clone()), *format),
        Source::Discovery { url, issuer } => {
            (Location::Discovery { url: url.clone(), issuer: issuer.clone() }, Format::Jwks)
        }
    };
    let subject = Subject {
        issuer: issuer.name.clone(),
        location,
        format,
        algorithms: issuer.algorithms().to_vec(),
        policy: issuer.refresh,
        may_be_missing,
    };
    TrustedKeys::All(IssuerKeys::Remote(RemoteKeys::new(subject, fetch.clone(), snapshots.cloned())))
}
