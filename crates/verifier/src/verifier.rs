//! `Verifier`: finds out whose token this is, and whether to believe it.
//!
//! The token's unverified `iss` selects exactly one trusted issuer; an unknown one is refused before anything is
//! fetched. Only that issuer's keys are looked at, so a key of one never verifies another's token, whatever its `kid`.
//! Then the signature (`jose`), then the claims policy. The header's `jwk`, `jku`, `x5u` and `x5c` are never read.
//! Pinned by `tests/suite`: `trust`, `security_cases` and `presets`.

mod builder;
#[cfg(test)]
mod cache_tests;

pub use builder::VerifierBuilder;

use crate::{
    cache::{self, Entry, TokenCache},
    error::VerifyError,
    fetch::FetchError,
    keys::{self, LoadedKeys},
    remote::{KeyStatus, RemoteKeys},
    trusted::{Identity, TrustedIssuer},
};
use countersign_jose::{MAX_TOKEN_BYTES, Signed, Timestamp, TokenError, Unverified, Verified};
use std::{collections::HashMap, sync::Arc};

/// Verifies tokens of the issuers it trusts. Made by [`Verifier::builder`]; shared by reference or in an `Arc`.
#[derive(Debug)]
pub struct Verifier {
    trusted: Vec<Trusted>,
    /// Exact `iss` → which issuer, and which of its identities.
    by_iss: HashMap<String, (usize, usize)>,
    cache: Option<TokenCache>,
}

#[derive(Debug)]
struct Trusted {
    issuer: TrustedIssuer,
    keys: IssuerKeys,
}

#[derive(Debug)]
enum IssuerKeys {
    Fixed(Arc<LoadedKeys>),
    Remote(RemoteKeys),
}

/// A token that a trusted issuer signed and whose claims meet that issuer's policy. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    issuer: Arc<str>,
    verified: Arc<Verified>,
}

impl Accepted {
    /// The configured name of the issuer that accepted it: for a multi-tenant issuer its template. The token's own `iss`
    /// is among the registered claims.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The token and its claims.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }
}

/// What a token was accepted by.
struct Proof {
    accepted: Accepted,
    issuer: usize,
    keys: Arc<LoadedKeys>,
}

impl Verifier {
    /// Starts without any trusted issuer.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }

    /// Proves a compact token at the instant `now`, which must be the present: the age of keys is measured by it too.
    ///
    /// May fetch the issuer's keys, and needs a tokio runtime for that. Cancelling the call does no harm.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Accepted, VerifyError> {
        let Some(cache) = &self.cache else {
            return self.prove(token, now).await.map(|proof| proof.accepted);
        };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong.into());
        }
        let name = cache::name(token);
        if let Some(entry) = cache.find(&name, now)
            && let Some(trusted) = self.trusted.get(entry.issuer)
        {
            if trusted.keys(now).await?.fingerprint() == &entry.keys {
                return Ok(entry.accepted.clone());
            }
            cache.remove(&name);
        }
        let proof = self.prove(token, now).await?;
        let verified = proof.accepted.verified();
        if let Some(exp) = verified.registered().exp {
            let until = proof.keys.not_after(verified.kid()).map_or(exp, |end| end.min(exp));
            let (issuer, keys) = (proof.issuer, *proof.keys.fingerprint());
            cache.insert(name, Entry { accepted: proof.accepted.clone(), issuer, keys, from: now, until });
        }
        Ok(proof.accepted)
    }

    /// Fetches all keys that are not at hand, at once, and reports on each issuer. For starting up and for readiness.
    pub async fn warm(&self, now: Timestamp) -> Vec<KeyStatus> {
        let mut fetches = tokio::task::JoinSet::new();
        for trusted in &self.trusted {
            if let IssuerKeys::Remote(keys) = &trusted.keys {
                let keys = keys.clone();
                fetches.spawn(async move { keys.current(now).await.is_ok() });
            }
        }
        fetches.join_all().await;
        self.status(now)
    }

    /// What is known about each issuer's keys, without asking anybody.
    pub fn status(&self, now: Timestamp) -> Vec<KeyStatus> {
        let of = |trusted: &Trusted| match &trusted.keys {
            IssuerKeys::Remote(keys) => keys.status(now),
            IssuerKeys::Fixed(keys) => KeyStatus {
                issuer: trusted.issuer.name.clone(),
                keys: keys.count(),
                fetched_at: None,
                fresh: true,
                failure: None,
            },
        };
        self.trusted.iter().map(of).collect()
    }

    /// The issuers that are trusted, in the order they were given.
    pub fn issuers(&self) -> impl Iterator<Item = &TrustedIssuer> {
        self.trusted.iter().map(|trusted| &trusted.issuer)
    }

    async fn prove(&self, token: &str, now: Timestamp) -> Result<Proof, VerifyError> {
        let token = Unverified::parse(token)?;
        let (index, trusted, identity) = self.select(token.unverified_issuer()?.as_deref())?;
        trusted.issuer.check_header(&token)?;
        let (keys, signed) = trusted.verify(token, identity, now).await?;
        let verified = Arc::new(trusted.issuer.check_claims(signed, identity, now)?);
        Ok(Proof {
            accepted: Accepted { issuer: trusted.issuer.name.clone(), verified },
            issuer: index,
            keys,
        })
    }

    /// The one issuer whose tokens say this `iss`.
    fn select(&self, iss: Option<&str>) -> Result<(usize, &Trusted, &Identity), VerifyError> {
        if let [only] = self.trusted.as_slice()
            && let [identity] = only.issuer.identities.as_slice()
            && identity.iss.is_none()
        {
            return Ok((0, only, identity));
        }
        let &(index, which) =
            self.by_iss.get(iss.ok_or(VerifyError::NoIssuer)?).ok_or(VerifyError::UnknownIssuer)?;
        let trusted = self.trusted.get(index).ok_or(VerifyError::UnknownIssuer)?;
        let identity = trusted.issuer.identities.get(which).ok_or(VerifyError::UnknownIssuer)?;
        Ok((index, trusted, identity))
    }
}

impl Trusted {
    async fn keys(&self, now: Timestamp) -> Result<Arc<LoadedKeys>, VerifyError> {
        let unavailable =
            |why: FetchError| VerifyError::KeysUnavailable { issuer: self.issuer.name.clone(), why };
        match &self.keys {
            IssuerKeys::Fixed(keys) => Ok(keys.clone()),
            IssuerKeys::Remote(remote) => remote.current(now).await.map_err(unavailable),
        }
    }

    /// Proves the signature with a key of this issuer; asks once for newer keys if the token's key is not known.
    async fn verify(
        &self,
        token: Unverified<'_>,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<(Arc<LoadedKeys>, Signed), VerifyError> {
        let mut keys = self.keys(now).await?;
        if let Err(why) = keys.select(&token, identity, now)
            && keys::may_be_new(&token, &why)
            && let IssuerKeys::Remote(remote) = &self.keys
        {
            keys = remote.newer_than(&keys, now).await.ok_or(why)?;
        }
        let signed = token.clone().verify(keys.select(&token, identity, now)?)?;
        Ok((keys, signed))
    }
}
