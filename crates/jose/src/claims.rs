//! Claims policy: what a signed token must say before it is `Verified` (RFC 7519 §4.1, RFC 8725 §3).
//!
//! An expectation implies presence: an expected claim must be there, have its JSON type and match exactly. `exp` is
//! required unless the caller gives that up by name. The time is an argument; leeway applies to `exp`, `nbf`, `iat`.
//! Pinned by `tests/claims.rs`.

use crate::{
    Signed, Timestamp, TokenError,
    json::{Object, string},
};
use serde_json::{Value, value::RawValue};
use std::{borrow::Cow, fmt, time::Duration};

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

/// The registered claims of RFC 7519 §4.1, in their proper types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegisteredClaims {
    /// Who issued the token.
    pub iss: Option<String>,
    /// Whom it is about.
    pub sub: Option<String>,
    /// For whom it is; one or many.
    pub aud: Vec<String>,
    /// When it ends.
    pub exp: Option<Timestamp>,
    /// When it begins.
    pub nbf: Option<Timestamp>,
    /// When it was issued.
    pub iat: Option<Timestamp>,
    /// Its own name.
    pub jti: Option<String>,
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

impl RegisteredClaims {
    fn read(claims: &Object<'_>) -> Result<Self, ClaimError> {
        let mut registered = Self::default();
        for (name, raw) in claims.members() {
            match name {
                "iss" => registered.iss = Some(text("iss", raw)?.into_owned()),
                "sub" => registered.sub = Some(text("sub", raw)?.into_owned()),
                "jti" => registered.jti = Some(text("jti", raw)?.into_owned()),
                "aud" => registered.aud = one_or_many("aud", raw)?,
                "exp" => registered.exp = Some(numeric_date("exp", raw)?),
                "nbf" => registered.nbf = Some(numeric_date("nbf", raw)?),
                "iat" => registered.iat = Some(numeric_date("iat", raw)?),
                _ => {}
            }
        }
        Ok(registered)
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

fn text<'a>(name: &'static str, raw: &'a RawValue) -> Result<Cow<'a, str>, ClaimError> {
    string(raw).ok_or(ClaimError::WrongType { name, expected: "a string" })
}

fn one_or_many(name: &'static str, raw: &RawValue) -> Result<Vec<String>, ClaimError> {
    if let Some(one) = string(raw) {
        return Ok(vec![one.into_owned()]);
    }
    serde_json::from_str(raw.get())
        .map_err(|_| ClaimError::WrongType { name, expected: "a string or an array of strings" })
}

/// Whole seconds, not negative, at most the year 9999. RFC 7519 would allow fractions; no issuer needs them, and two
/// readers that round differently disagree about a token.
fn numeric_date(name: &'static str, raw: &RawValue) -> Result<Timestamp, ClaimError> {
    const YEAR_10000: i64 = 253_402_300_800;
    match raw.get().parse::<i64>() {
        Ok(seconds) if (0..YEAR_10000).contains(&seconds) => Ok(Timestamp::from_unix_seconds(seconds)),
        _ => Err(ClaimError::WrongType { name, expected: "a whole number of seconds since 1970" }),
    }
}

fn media_type(typ: &str) -> &str {
    match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => typ,
    }
}

/// Which expectation the claims of a properly signed token do not meet. Names claims, never their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// An expected claim (or header parameter) is not there.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A registered claim has another JSON type than RFC 7519 gives it.
    #[error("`{name}` must be {expected}")]
    WrongType {
        /// The claim.
        name: &'static str,
        /// The type it should have.
        expected: &'static str,
    },
    /// A claim is there but not the expected one.
    #[error("`{0}` is not the expected one")]
    Mismatch(String),
    /// The header's `typ` is another one.
    #[error("`typ` is not the expected one")]
    WrongTyp,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` is still to come: one of the two clocks is wrong.
    #[error("the token was issued in the future; check the clocks")]
    IssuedInTheFuture,
    /// `iat` is longer ago than the policy's maximum age.
    #[error("the token was issued too long ago")]
    TooOld,
}

impl ClaimError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "claim_missing",
            Self::WrongType { .. } => "claim_wrong_type",
            Self::Mismatch(_) => "claim_mismatch",
            Self::WrongTyp => "claim_wrong_typ",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::IssuedInTheFuture => "token_issued_in_the_future",
            Self::TooOld => "token_too_old",
        }
    }
}
