//! Claims policy: what a signed token must say before it is `Verified` (RFC 7519 §4.1, RFC 8725
//! §3).
//!
//! An expectation implies presence: an expected claim must be there, have its JSON type and match
//! exactly. `exp` is required unless the caller gives that up by name. The time is an argument;
//! leeway applies to `exp`, `nbf`, `iat`. `check` stops at the first failure and `explain` reports
//! all, of the same run in `checks`. Pinned by `tests/claims.rs` and `tests/explain.rs`.

mod checks;
mod claim_error;
mod name;
mod registered;
mod scopes;

pub use claim_error::ClaimError;
pub use name::{ClaimName, ClaimNameError, ClaimValue, InexactNumber};
pub use registered::{NUMERIC_DATES, RegisteredClaims, check_registered_claim};
pub use scopes::scopes;

use crate::{
    Signed, Timestamp, TokenError,
    explain::{Check, Every, FirstFailure, Unreached, Verdict},
    json::Object,
};
use std::{fmt, time::Duration};

/// What a token must say. Start from [`Policy::new`], which already requires `exp` and proper
/// types.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    issuer: Option<String>,
    audiences: Option<Vec<String>>,
    audience_fallback: Option<String>,
    typ: Option<String>,
    subject: Option<String>,
    max_subject_chars: Option<usize>,
    required: Vec<(ClaimName, Option<ClaimValue>)>,
    leeway: Duration,
    max_age: Option<Duration>,
    expiry: Expiry,
    fractions: Fractions,
    kinds: Kinds,
}

/// Kinds of tokens that are for something else than proving an identity, by their `typ`: a form for
/// a bucket, and an assertion for another authorization server. Holding one is not holding an
/// access token, whatever its audience is (RFC 8725 §3.12).
pub const OTHER_KINDS: [&str; 2] = ["upload+jwt", "oauth-id-jag+jwt"];

/// Which kinds of tokens are accepted where no `typ` is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    All,
    /// None of [`OTHER_KINDS`].
    ForRequests,
}

/// Whether a NumericDate may have a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fractions {
    Refused,
    /// Rounded so that no token lives longer for it: `exp` and `iat` down, `nbf` up.
    Rounded,
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
            audience_fallback: None,
            typ: None,
            subject: None,
            max_subject_chars: None,
            required: Vec::new(),
            leeway: Duration::ZERO,
            max_age: None,
            expiry: Expiry::Required,
            fractions: Fractions::Refused,
            kinds: Kinds::All,
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

    /// For a token that has no `aud` at all, the claim that names its client is compared with the
    /// audiences instead (`client_id` in RFC 9068 §2.2 and in Cognito's access tokens). An `aud`
    /// that is there decides alone.
    #[must_use]
    pub fn audience_fallback(mut self, claim: impl Into<String>) -> Self {
        self.audience_fallback = Some(claim.into());
        self
    }

    /// Requires the header's `typ`. Media types: case and an `application/` in front do not count
    /// (RFC 7515 §4.1.9).
    #[must_use]
    pub fn typ(mut self, typ: impl Into<String>) -> Self {
        self.typ = Some(typ.into());
        self
    }

    /// Refuses tokens of [`OTHER_KINDS`], unless [`Policy::typ`] requires one of them.
    #[must_use]
    pub fn for_requests(mut self) -> Self {
        self.kinds = Kinds::ForRequests;
        self
    }

    /// Requires `sub` to be exactly this.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Requires a `sub` of 1 to `max` characters.
    #[must_use]
    pub fn max_subject_chars(mut self, max: usize) -> Self {
        self.max_subject_chars = Some(max);
        self
    }

    /// Requires a claim to be there, with any value but null.
    #[must_use]
    pub fn require(mut self, name: ClaimName) -> Self {
        self.required.push((name, None));
        self
    }

    /// Requires a claim to have exactly this value.
    #[must_use]
    pub fn require_value(mut self, name: ClaimName, value: ClaimValue) -> Self {
        self.required.push((name, Some(value)));
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

    /// Accepts tokens whatever their `exp` says. Only for looking at tokens, never for letting
    /// anyone in.
    #[must_use]
    pub fn dangerously_ignore_expiry(mut self) -> Self {
        self.expiry = Expiry::Ignored;
        self
    }

    /// Accepts `exp`, `nbf` and `iat` with a fraction of a second, which RFC 7519 §2 allows and
    /// some issuers send (`time.time() + 3600`). `exp` and `iat` are rounded down to a whole second
    /// and `nbf` up, so that a token is never accepted for longer than it says.
    #[must_use]
    pub fn accept_fractional_dates(mut self) -> Self {
        self.fractions = Fractions::Rounded;
        self
    }

    /// What this policy looks at in a token whose claims may not be read. Every check is
    /// [`Verdict::NotReached`].
    pub fn unreached(&self) -> Vec<Check> {
        let mut sink = Unreached::default();
        // There are no claims to fail.
        let _ = self.run(&Object::default(), None, Timestamp::default(), &mut sink);
        sink.0
    }
}

impl Signed {
    /// Proves the claims at the instant `now`.
    pub fn check(self, policy: &Policy, now: Timestamp) -> Result<Verified, TokenError> {
        let claims = self.claims()?;
        let claims = policy.run(&claims, self.typ(), now, &mut FirstFailure)?;
        Ok(Verified { claims, signed: self })
    }

    /// Runs the same checks to their end and reports each. [`Signed::check`] succeeds if and only
    /// if none failed, and otherwise ends with the first that did.
    pub fn explain(&self, policy: &Policy, now: Timestamp) -> Vec<Check> {
        let claims = match self.claims() {
            Ok(claims) => claims,
            Err(why) => return unreadable(&why, policy),
        };
        let mut sink = Every::default();
        // It keeps the failures and ends the run at none.
        let _ = policy.run(&claims, self.typ(), now, &mut sink);
        sink.checks
    }
}

fn unreadable(why: &TokenError, policy: &Policy) -> Vec<Check> {
    let claims = Check {
        name: "claims".into(),
        expected: "a JSON object without duplicates".into(),
        found: String::new(),
        verdict: Verdict::Failed { code: why.code(), why: why.to_string() },
    };
    let mut checks = policy.unreached();
    checks.insert(0, claims);
    checks
}

/// A token whose signature and claims were both proven. There is no other way to make one:
///
/// ```compile_fail,E0451
/// # use countersign_jose::{RegisteredClaims, Signed, Verified};
/// fn by_hand(signed: Signed) -> Verified {
///     Verified { signed, claims: RegisteredClaims::default() }
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    signed: Signed,
    claims: RegisteredClaims,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("algorithm", &self.signed.algorithm()).finish_non_exhaustive()
    }
}

impl Verified {
    /// The registered claims.
    pub fn registered(&self) -> &RegisteredClaims {
        &self.claims
    }

    /// The header's `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.signed.kid()
    }

    /// The header's `typ`.
    pub fn typ(&self) -> Option<&str> {
        self.signed.typ()
    }

    /// The algorithm of the key that verified it.
    pub fn algorithm(&self) -> crate::Algorithm {
        self.signed.algorithm()
    }

    /// All claims, as the JSON text that was signed.
    pub fn payload(&self) -> &[u8] {
        self.signed.payload()
    }

    /// All claims, in a type of the caller's. The text of the error may hold the value that does
    /// not fit.
    pub fn claims<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.signed.payload())
    }
}
