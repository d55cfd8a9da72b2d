//! Claims policy: what a signed token must say before it is `Verified` (RFC 7519 §4.1, RFC 8725 §3).
//!
//! An expectation implies presence: an expected claim must be there, have its JSON type and match exactly. `exp` is
//! required unless the caller gives that up by name. The time is an argument; leeway applies to `exp`, `nbf`, `iat`.
//! Pinned by `tests/claims.rs`.

mod claim_error;
mod registered;

pub use claim_error::ClaimError;
pub use registered::RegisteredClaims;

use crate::{Signed, Timestamp, TokenError, json::Object};
use serde_json::Value;
use std::{fmt, time::Duration};

/// What a token must say. Start from [`Policy::new`], which already requires `exp` and proper types.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    issuer: Option<String>,
    audiences: Option<Vec<String>>,
    typ: Option<String>,
    subject: Option<String>,
    required: Vec<(String, Option<Value>)>,
    leeway: Duration,
    max_age: Option<Duration>,
    expiry: Expiry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Required,
    CheckedIfPresent,
    Ignored,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy {
    /// Requires a current `exp`; nothing else yet. No leeway.
    pub fn new() -> Self {
        Self {
            issuer: None,
            audiences: None,
            typ: None,
            subject: None,
            required: Vec::new(),
            leeway: Duration::ZERO,
            max_age: None,
            expiry: Expiry::Required,
        }
    }

    /// Requires `iss` to be exactly this.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Requires `aud` to name at least one of these, exactly. An empty list accepts no token.
    #[must_use]
    pub fn audiences<S: Into<String>>(mut self, audiences: impl IntoIterator<Item = S>) -> Self {
        self.audiences = Some(audiences.into_iter().map(Into::into).collect());
        self
    }

    /// Requires the header's `typ`. Media types: case and an `application/` in front do not count (RFC 7515 §4.1.9).
    #[must_use]
    pub fn typ(mut self, typ: impl Into<String>) -> Self {
        self.typ = Some(typ.into());
        self
    }

    /// Requires `sub` to be exactly this.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Requires a claim to be there, with any value but null.
    #[must_use]
    pub fn require(mut self, name: impl Into<String>) -> Self {
        self.required.push((name.into(), None));
        self
    }

    /// Requires a claim to have exactly this value.
    #[must_use]
    pub fn require_value(mut self, name: impl Into<String>, value: Value) -> Self {
        self.required.push((name.into(), Some(value)));
        self
    }

    /// How far the clocks of issuer and verifier may differ.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Requires `iat` to be no longer ago than this.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Accepts a token without `exp`; one that is there is still checked.
    #[must_use]
    pub fn allow_missing_expiry(mut self) -> Self {
        self.expiry = Expiry::CheckedIfPresent;
        self
    }

    /// Accepts tokens whatever their `exp` says. Only for looking at tokens, never for letting anyone in.
    #[must_use]
    pub fn dangerously_ignore_expiry(mut self) -> Self {
        self.expiry = Expiry::Ignored;
        self
    }
}

impl Signed {
    /// Proves the claims at the instant `now`.
    pub fn check(self, policy: &Policy, now: Timestamp) -> Result<Verified, TokenError> {
        let claims = self.claims()?;
        let claims = policy.check(&claims, self.typ.as_deref(), now)?;
        Ok(Verified { claims, signed: self })
    }
}

/// A token whose signature and claims were both proven. There is no other way to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    signed: Signed,
    claims: RegisteredClaims,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("algorithm", &self.signed.algorithm).finish_non_exhaustive()
    }
}

impl Verified {
    /// The registered claims.
    pub fn registered(&self) -> &RegisteredClaims {
        &self.claims
    }

    /// The header's `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.signed.kid.as_deref()
    }

    /// The algorithm of the key that verified it.
    pub fn algorithm(&self) -> crate::Algorithm {
        self.signed.algorithm
    }

    /// All claims, as the JSON text that was signed.
    pub fn payload(&self) -> &[u8] {
        &self.signed.payload
    }

    /// All claims, in a type of the caller's.
    pub fn claims<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.signed.payload)
    }
}

impl Policy {
    fn check(
        &self,
        claims: &Object<'_>,
        typ: Option<&str>,
        now: Timestamp,
    ) -> Result<RegisteredClaims, TokenError> {
        if let Some(expected) = &self.typ {
            let typ = typ.ok_or(ClaimError::Missing("typ".into()))?;
            if !media_type(typ).eq_ignore_ascii_case(media_type(expected)) {
                return Err(ClaimError::WrongTyp.into());
            }
        }
        let registered = RegisteredClaims::read(claims)?;
        self.check_times(&registered, now)?;
        exactly("iss", self.issuer.as_deref(), registered.iss.as_deref())?;
        exactly("sub", self.subject.as_deref(), registered.sub.as_deref())?;
        if let Some(expected) = &self.audiences {
            if registered.aud.is_empty() {
                return Err(ClaimError::Missing("aud".into()).into());
            }
            if !registered.aud.iter().any(|aud| expected.contains(aud)) {
                return Err(ClaimError::Mismatch("aud".into()).into());
            }
        }
        for (name, expected) in &self.required {
            let raw = claims.get(name).filter(|raw| raw.get() != "null");
            let raw = raw.ok_or_else(|| ClaimError::Missing(name.clone()))?;
            let matches = |value: &Value| serde_json::from_str::<Value>(raw.get()).is_ok_and(|v| v == *value);
            if expected.as_ref().is_some_and(|value| !matches(value)) {
                return Err(ClaimError::Mismatch(name.clone()).into());
            }
        }
        Ok(registered)
    }

    fn check_times(&self, claims: &RegisteredClaims, now: Timestamp) -> Result<(), ClaimError> {
        match (self.expiry, claims.exp) {
            (Expiry::Required, None) => return Err(ClaimError::Missing("exp".into())),
            (Expiry::Required | Expiry::CheckedIfPresent, Some(exp)) if now >= exp.plus(self.leeway) => {
                return Err(ClaimError::Expired);
            }
            _ => {}
        }
        let horizon = now.plus(self.leeway);
        if claims.nbf.is_some_and(|nbf| nbf > horizon) {
            return Err(ClaimError::NotYetValid);
        }
        if claims.iat.is_some_and(|iat| iat > horizon) {
            return Err(ClaimError::IssuedInTheFuture);
        }
        if let Some(max_age) = self.max_age {
            let iat = claims.iat.ok_or_else(|| ClaimError::Missing("iat".into()))?;
            if now > iat.plus(max_age).plus(self.leeway) {
                return Err(ClaimError::TooOld);
            }
        }
        Ok(())
    }
}

fn exactly(name: &'static str, expected: Option<&str>, found: Option<&str>) -> Result<(), ClaimError> {
    match (expected, found) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(ClaimError::Missing(name.into())),
        (Some(expected), Some(found)) if expected == found => Ok(()),
        (Some(_), Some(_)) => Err(ClaimError::Mismatch(name.into())),
    }
}

fn media_type(typ: &str) -> &str {
    match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => typ,
    }
}
