//! Why a token is not accepted, in one enum with stable codes and never any of the token's text.
//!
//! Errors are split by whose fault they are: a refused token (`Fault::Token`: 401) and keys that
//! could not be had (`Fault::Keys`: 503, the token may be good). Configuration mistakes are
//! `TrustError`, in `trusted`.

use crate::{fetch::FetchError, revocation::RevocationError};
use countersign_jose::{Algorithm, TokenError};
use std::sync::Arc;

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The token is malformed, its signature is not its key's, or its claims do not meet the
    /// policy.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token has no `iss`, so nobody's keys may verify it.
    #[error("the token names no issuer (`iss`)")]
    NoIssuer,
    /// The token's `iss` is not a trusted issuer. Nothing was fetched.
    #[error("the token's issuer is not trusted here")]
    UnknownIssuer,
    /// The load balancer that has signed the token is not a trusted one. Nothing was fetched.
    #[error("the load balancer that has signed the token (`signer`) is not trusted here")]
    UnknownSigner,
    /// The header's `alg` is not among those the issuer may use. Nothing was fetched.
    #[error("{algorithm} is not an algorithm of this issuer")]
    AlgorithmNotAllowed {
        /// The algorithm the header names.
        algorithm: Algorithm,
    },
    /// The certificate of the token's key is not valid now.
    #[error("the certificate of the token's key is expired or not valid yet")]
    CertificateNotValid,
    /// The key belongs to another tenant of a shared key set.
    #[error("the token's key belongs to another issuer of the same key set")]
    KeyOfAnotherIssuer,
    /// Its issuer has revoked it.
    #[error("the token was revoked by its issuer")]
    Revoked,
    /// What the issuer has revoked could not be had, and no list recent enough is at hand.
    #[error("what {issuer} has revoked cannot be known: {why}")]
    RevocationsUnavailable {
        /// The configured name of the issuer.
        issuer: Arc<str>,
        /// What went wrong the last time.
        why: RevocationError,
    },
    /// The issuer's keys could not be had, and none recent enough are at hand.
    #[error("the keys of {issuer} cannot be had: {asked}: {why}")]
    KeysUnavailable {
        /// The configured name of the issuer.
        issuer: Arc<str>,
        /// The address that was asked last: that of the keys or of the discovery document, without
        /// a query.
        asked: Arc<str>,
        /// What went wrong the last time.
        why: FetchError,
    },
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The token's: it will not be accepted by trying again.
    Token,
    /// The issuer's or the network's: the token may be good.
    Keys,
}

impl VerifyError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token(token) => token.code(),
            Self::NoIssuer => "issuer_missing",
            Self::UnknownIssuer => "issuer_unknown",
            Self::UnknownSigner => "signer_unknown",
            Self::AlgorithmNotAllowed { .. } => "algorithm_not_allowed",
            Self::CertificateNotValid => "certificate_not_valid",
            Self::KeyOfAnotherIssuer => "key_of_another_issuer",
            Self::Revoked => "token_revoked",
            Self::RevocationsUnavailable { .. } => "revocations_unavailable",
            Self::KeysUnavailable { .. } => "keys_unavailable",
        }
    }

    /// Whose fault it is: answer 401 to the token's, 503 to the keys'.
    pub fn fault(&self) -> Fault {
        match self {
            Self::KeysUnavailable { .. } | Self::RevocationsUnavailable { .. } => Fault::Keys,
            Self::Token(_)
            | Self::NoIssuer
            | Self::UnknownIssuer
            | Self::UnknownSigner
            | Self::AlgorithmNotAllowed { .. }
            | Self::CertificateNotValid
            | Self::Revoked
            | Self::KeyOfAnotherIssuer => Fault::Token,
        }
    }
}
