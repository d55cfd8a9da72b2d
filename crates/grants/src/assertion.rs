//! `private_key_jwt`: a client proves who it is with a JWT that it signs (RFC 7521 §4.2, RFC 7523
//! §2.2 and §3).
//!
//! `iss` and `sub` are the client, whose own keys alone may verify it; every `aud` is this issuer
//! or its token endpoint; `exp` is there and at most an hour away; `jti` is there and is taken
//! once, whichever server it comes to, until the assertion has expired. That is written into the
//! store before the client is believed. `typ`, if there, is that of such an assertion, so that no
//! other token a client signs can be used as one (RFC 8725 §3.11). Pinned by
//! `tests/e2e/test_private_key_jwt.py`.

use crate::seen::{Kind, Seen, SeenError};
use countersign_issuer::ShownToken;
use countersign_jose::{Algorithm, Timestamp, Verified};
use countersign_verifier::{Fault, KeySource, TrustError, TrustedIssuer, Verifier, VerifyError};
use std::{collections::BTreeSet, time::Duration};

/// The longest time an assertion may have left. Authlib makes them for an hour unless told
/// otherwise.
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);
/// How far the clocks of client and issuer may differ.
pub(crate) const LEEWAY: Duration = Duration::from_secs(10);
/// Values of `typ` that such an assertion may have, in lower case.
const TYPES: [&str; 2] = ["jwt", "client-authentication+jwt"];

/// The keys a client signs its assertions with.
#[derive(Debug)]
pub struct AssertionKeys {
    /// The client.
    pub client_id: String,
    /// Where its public keys are.
    pub source: KeySource,
    /// What it may sign with. Not HMAC: a shared secret is what this replaces.
    pub algorithms: Vec<Algorithm>,
}

/// The assertions of all clients that sign some.
#[derive(Debug)]
pub struct Assertions {
    verifier: Verifier,
    audiences: [String; 2],
}

impl Assertions {
    /// Assertions for this issuer and its token endpoint; `None` where no client signs any.
    ///
    /// # Errors
    ///
    /// The client whose keys cannot be used.
    pub fn new(
        issuer: &str,
        token_endpoint: &str,
        clients: Vec<AssertionKeys>,
    ) -> Result<Option<Self>, TrustError> {
        if clients.is_empty() {
            return Ok(None);
        }
        let audiences = [issuer.to_owned(), token_endpoint.to_owned()];
        let mut verifier = Verifier::builder();
        for AssertionKeys { client_id, source, algorithms } in clients {
            let trusted = TrustedIssuer::builder(client_id.clone())
                .keys(source)
                .algorithms(algorithms)
                .audiences(audiences.clone())
                .require_value("sub", client_id.into())
                .require("jti")
                .leeway(LEEWAY);
            verifier = verifier.trust(trusted.build()?);
        }
        Ok(Some(Self { verifier: verifier.build()?, audiences }))
    }

    /// What they may be signed with.
    pub(crate) fn algorithms(&self) -> BTreeSet<Algorithm> {
        self.verifier.issuers().flat_map(|client| client.algorithms().iter().copied()).collect()
    }

    /// The client that signed an assertion, unless it was taken before. `client_id` is what the
    /// request says beside it (RFC 7521 §4.2).
    pub(crate) async fn accept(
        &self,
        assertion: &str,
        now: Timestamp,
        client_id: Option<&str>,
        seen: &Seen,
    ) -> Result<(String, ShownToken), AssertionError> {
        let accepted = self.verifier.verify(assertion, now).await?;
        if client_id.is_some_and(|id| id != accepted.issuer()) {
            return Err(AssertionError::AnotherClient);
        }
        let verified = accepted.verified();
        if verified.typ().is_some_and(|typ| !TYPES.contains(&typ.to_ascii_lowercase().as_str())) {
            return Err(AssertionError::Typ);
        }
        let claims = verified.registered();
        if !claims.aud.iter().all(|audience| self.audiences.contains(audience)) {
            return Err(AssertionError::ForOthersToo);
        }
        let ends = claims.exp.ok_or(AssertionError::TooLong)?;
        if ends > now.plus(LONGEST).plus(LEEWAY) {
            return Err(AssertionError::TooLong);
        }
        let jti = claims.jti.as_deref().filter(|jti| !jti.is_empty()).ok_or(AssertionError::NoJti)?;
        // It stays taken whatever becomes of the request: it says who asks, and the client makes
        // another for each.
        seen.once(Kind::OfClient, accepted.issuer(), jti, ends.plus(LEEWAY)).await?;
        Ok((accepted.issuer().to_owned(), shown(verified)))
    }
}

/// What a token is called, for the audit.
pub(crate) fn shown(token: &Verified) -> ShownToken {
    let claims = token.registered();
    ShownToken { iss: claims.iss.clone(), sub: claims.sub.clone(), jti: claims.jti.clone() }
}

/// Why an assertion proves nothing. Callers learn none of it; it is for the audit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum AssertionError {
    #[error("the client's assertion is not accepted: {0}")]
    Refused(#[from] VerifyError),
    #[error("the client's assertion is a token of another kind (`typ`)")]
    Typ,
    #[error("the client's assertion is for others too: each `aud` must be the issuer or its token endpoint")]
    ForOthersToo,
    #[error("the client's assertion is valid for more than an hour from now (`exp`)")]
    TooLong,
    #[error("the client's assertion has no name (`jti`)")]
    NoJti,
    #[error("the token is about a user, or about somebody else than whom it was given to")]
    Subject,
    #[error("the token is bound to a key (`cnf`), which is not shown with it")]
    Bound,
    #[error("the client that is named proves who it is in another way")]
    NotInUse,
    #[error("`client_id` is another client than the assertion's")]
    AnotherClient,
    #[error("the client's assertion: {0}")]
    Seen(#[from] SeenError),
}

impl AssertionError {
    /// Whether it is of an issuer that no client signs as.
    pub(crate) fn is_of_a_stranger(&self) -> bool {
        matches!(self, Self::NotInUse | Self::Refused(VerifyError::UnknownIssuer))
    }

    /// Whether it may be good, and only cannot be judged now.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(why) => why.fault() == Fault::Keys,
            Self::Seen(why) => why.is_temporary(),
            Self::Typ
            | Self::ForOthersToo
            | Self::TooLong
            | Self::NoJti
            | Self::NotInUse
            | Self::Subject
            | Self::Bound
            | Self::AnotherClient => false,
        }
    }

    /// A stable name for the audit and the metrics.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Refused(why) if why.fault() == Fault::Keys => "client_keys_unavailable",
            Self::Seen(why) => why.code(),
            Self::Refused(_)
            | Self::Typ
            | Self::ForOthersToo
            | Self::TooLong
            | Self::NoJti
            | Self::NotInUse
            | Self::Subject
            | Self::Bound
            | Self::AnotherClient => "invalid_client",
        }
    }
}
