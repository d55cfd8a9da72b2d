//! `Verifier`: finds out whose token this is, and whether to believe it.
//!
//! The token's unverified `iss` selects exactly one trusted issuer; an unknown one is refused
//! before anything is fetched. Only that issuer's keys are looked at, so a key of one never
//! verifies another's token, whatever its `kid`. Then the signature (`jose`), then the claims
//! policy. The header's `jwk`, `jku`, `x5u` and `x5c` are never read. `verify` and `explain` take
//! the same steps, in `proof`. Pinned by `tests/suite`: `trust`, `security_cases`, `presets` and
//! `explanations`.

mod builder;
#[cfg(test)]
mod cache_tests;
mod explanation;
mod proof;

pub use builder::VerifierBuilder;
pub use explanation::Explanation;

use crate::{
    by_kid::KeysByKid,
    cache::{self, Entry, TokenCache},
    error::VerifyError,
    keys::LoadedKeys,
    remote::{KeyStatus, RemoteKeys},
    revocation::Watch,
    trusted::TrustedIssuer,
};
use countersign_jose::{MAX_TOKEN_BYTES, Timestamp, TokenError, Verified};
use proof::{Nobody, Proof};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Verifies tokens of the issuers it trusts. Made by [`Verifier::builder`]; shared by reference or
/// in an `Arc`.
#[derive(Debug)]
pub struct Verifier {
    trusted: Vec<Trusted>,
    /// Exact `iss` → which issuer, and which of its identities.
    by_iss: HashMap<String, (usize, usize)>,
    /// ARN of a load balancer → which issuer.
    by_signer: HashMap<String, usize>,
    cache: Option<TokenCache>,
}

#[derive(Debug)]
struct Trusted {
    issuer: TrustedIssuer,
    keys: TrustedKeys,
    /// Those of identities that have their own.
    own_keys: Vec<IssuerKeys>,
    /// What it has revoked, where that is asked.
    revocations: Option<Arc<Watch>>,
}

#[derive(Debug)]
enum TrustedKeys {
    /// For every token of the issuer.
    All(IssuerKeys),
    /// For tokens that name them.
    ByKid(Box<KeysByKid>),
}

#[derive(Debug, Clone)]
pub(crate) enum IssuerKeys {
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
    /// The configured name of the issuer that accepted it: for a multi-tenant issuer its template.
    /// The token's own `iss` is among the registered claims.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The token and its claims.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }
}

impl Verifier {
    /// Starts without any trusted issuer.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }

    /// Proves a compact token at the instant `now`, which must be the present: the age of keys is
    /// measured by it too.
    ///
    /// May fetch the issuer's keys, and needs a tokio runtime for that. Cancelling the call does no
    /// harm.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Accepted, VerifyError> {
        let Some(cache) = &self.cache else {
            let Proof { accepted, .. } = self.prove(token, now, &mut Nobody).await?;
            return Ok(accepted);
        };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong.into());
        }
        let name = cache::name(token);
        if let Some(entry) = cache.find(&name, now)
            && let Some(trusted) = self.trusted.get(entry.issuer)
        {
            if trusted.current(&entry.source, now).await?.fingerprint() == &entry.keys {
                trusted.check_revoked(entry.accepted.verified(), now).await?;
                return Ok(entry.accepted.clone());
            }
            cache.remove(&name);
        }
        let proof = self.prove(token, now, &mut Nobody).await?;
        let verified = proof.accepted.verified();
        if let Some(exp) = verified.registered().exp {
            let until = proof.until.map_or(exp, |end| end.min(exp));
            let (issuer, keys) = (proof.issuer, *proof.keys.fingerprint());
            let (accepted, source) = (proof.accepted.clone(), proof.source);
            cache.insert(name, Entry { accepted, issuer, source, keys, from: now, until });
        }
        Ok(proof.accepted)
    }

    /// Fetches all keys that are not at hand, at once, and reports on each issuer. For starting up
    /// and for readiness.
    pub async fn warm(&self, now: Timestamp) -> Vec<KeyStatus> {
        let mut fetches = tokio::task::JoinSet::new();
        for trusted in &self.trusted {
            // Those of identities with their own wait for a token: an issuer need not have all its
            // names.
            if let TrustedKeys::All(IssuerKeys::Remote(keys)) = &trusted.keys {
                let keys = keys.clone();
                fetches.spawn(async move { keys.current(now).await.is_ok() });
            }
            if let Some(watch) = trusted.revocations.clone() {
                fetches.spawn(async move { watch.current(now).await.is_ok() });
            }
        }
        fetches.join_all().await;
        self.status(now)
    }

    /// Waits until nothing is being fetched, for each fetch not longer than `leisure` in all: what
    /// is at hand is renewed in the background. For programs that are frozen between requests, as
    /// functions are, and a fetch in the air with them.
    pub async fn settled_within(&self, leisure: Duration) {
        for trusted in &self.trusted {
            let own = trusted.own_keys.iter();
            let all = match &trusted.keys {
                TrustedKeys::All(keys) => own.chain(Some(keys)),
                TrustedKeys::ByKid(keys) => {
                    keys.settled_within(leisure).await;
                    own.chain(None)
                }
            };
            for keys in all {
                if let IssuerKeys::Remote(keys) = keys {
                    keys.settled_within(leisure).await;
                }
            }
            if let Some(watch) = &trusted.revocations {
                watch.settled_within(leisure).await;
            }
        }
    }

    /// What is known about each issuer's keys, without asking anybody.
    pub fn status(&self, now: Timestamp) -> Vec<KeyStatus> {
        let of = |trusted: &Trusted| match &trusted.keys {
            TrustedKeys::ByKid(keys) => keys.status(now),
            TrustedKeys::All(IssuerKeys::Remote(keys)) => keys.status(now),
            TrustedKeys::All(IssuerKeys::Fixed(keys)) => KeyStatus {
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
}
