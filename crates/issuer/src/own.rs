//! The issuer's own tokens, shown to it again: to be introspected, exchanged or revoked, or to be
//! kept from others.
//!
//! `own` is what lets somebody in: a token for requests that is valid now. `own_unended` is for
//! taking one back, and does not mind when it begins, for a clock that was ahead has made it, and
//! it will be good. `may_be_own` is for keeping one from others, and takes more than it has to for
//! one of ours. Pinned by `tests/own.rs` and tests/e2e/test_revocation.py.

use crate::Issuer;
use countersign_jose::{Policy, PublicJwk, Signed, Timestamp, Unverified, Verified, VerifyingKey};
use countersign_keyring::RingName;
use std::time::Duration;

/// A token of this issuer's that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnToken {
    /// One that requests are made with.
    ForRequests(Box<Verified>),
    /// One for something else (a meeting, an upload, another authorization server), whose readers
    /// know nothing of what is revoked here.
    OfAnotherKind,
}

impl Issuer {
    /// A token of this issuer's that is valid now. Keys that are published sign what verifiers may
    /// see; one of another issuer is not among them.
    pub fn own(&self, token: &str, now: Timestamp) -> Option<Verified> {
        let token = Unverified::parse(token).ok()?;
        let jwk = self.published_key(&token)?;
        signed(token, &jwk)?.check(&self.for_requests(), now).ok()
    }

    /// A token that one of this issuer's keys has signed, whatever kind it is of, and that no clock
    /// within the skew takes for expired.
    pub fn own_unended(&self, token: &str, now: Timestamp) -> Option<OwnToken> {
        let token = Unverified::parse(token).ok()?;
        if self.names_shared_secret(&token) {
            return Some(OwnToken::OfAnotherKind);
        }
        let jwk = self.public_key(&token)?;
        let signed = signed(token, &jwk)?;
        // In the end everything has begun.
        let end = Timestamp::from_unix_seconds(i64::MAX);
        let any = signed.clone().check(&Policy::new().dangerously_ignore_expiry(), end).ok()?;
        let skew = self.settings().patience.skew;
        if any.registered().exp.is_some_and(|exp| exp.plus(skew) <= now) {
            return None;
        }
        let for_requests = signed.check(&self.for_requests().dangerously_ignore_expiry(), end);
        Some(for_requests.map_or(OwnToken::OfAnotherKind, |token| OwnToken::ForRequests(Box::new(token))))
    }

    /// Whether this issuer has made it, or it says so: nobody else is to see it. It may have
    /// expired, or be of any kind.
    pub fn may_be_own(&self, token: &str) -> bool {
        let Ok(token) = Unverified::parse(token) else { return false };
        let says_so = token
            .unverified_issuer()
            .is_ok_and(|iss| iss.as_deref() == Some(self.settings().issuer.as_str()));
        says_so
            || self.names_shared_secret(&token)
            || self.public_key(&token).is_some_and(|jwk| signed(token, &jwk).is_some())
    }

    /// The longest that a token lives which a key in use has signed, by any configuration under
    /// which it did, and the skew of clocks.
    pub fn longest_signed(&self) -> Duration {
        self.keys().keyring().records().longest_signed()
    }

    fn for_requests(&self) -> Policy {
        // An ID-JAG is worth something to another authorization server alone, and a form to a
        // bucket.
        Policy::new().issuer(self.settings().issuer.as_str()).for_requests()
    }

    fn published_key(&self, token: &Unverified<'_>) -> Option<PublicJwk> {
        self.key(token, |ring| !self.settings().unpublished_rings.contains(ring))
    }

    fn public_key(&self, token: &Unverified<'_>) -> Option<PublicJwk> {
        self.key(token, |_| true)
    }

    fn key(&self, token: &Unverified<'_>, of: impl Fn(&RingName) -> bool) -> Option<PublicJwk> {
        let keys = self.keys();
        let rings = keys.keyring().rings().filter(|(name, _)| of(name));
        rings
            .flat_map(|(_, ring)| ring.public_keys())
            .find(|key| Some(key.jwk.kid.as_str()) == token.unverified_kid())
            .map(|key| key.jwk.clone())
    }

    /// Whether it says that a shared secret of this issuer's has signed it. The signature is not
    /// looked at: a secret that signs no more is not at hand, and nobody but its holders can verify
    /// such a token.
    fn names_shared_secret(&self, token: &Unverified<'_>) -> bool {
        let Some(kid) = token.unverified_kid().filter(|_| token.unverified_algorithm().is_symmetric()) else {
            return false;
        };
        let keys = self.keys();
        let mut signers = keys.keyring().rings().filter_map(|(_, ring)| ring.active());
        let signs = signers.any(|signer| signer.kid() == kid && signer.algorithm().is_symmetric());
        let record = keys.keyring().records().find(kid);
        signs || record.is_some_and(|(_, key)| key.algorithm.is_symmetric())
    }
}

fn signed(token: Unverified<'_>, jwk: &PublicJwk) -> Option<Signed> {
    let key = VerifyingKey::new(&jwk.key, jwk.algorithm, Some(jwk.kid.clone())).ok()?;
    token.verify(&key).ok()
}
