//! Why a proof proves nothing. For the client: a proof holds no secret, and its sender has to know
//! what to mend.

use super::proof::AHEAD;
use countersign_jose::{SelfSignedError, Timestamp, json::JsonError};
use std::time::Duration;

/// Why a proof is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is none.
    #[error("a DPoP proof is needed: send one in the header `DPoP`")]
    Missing,
    /// More than one, or one that is no single value.
    #[error("there is more than one DPoP proof; send exactly one header `DPoP`")]
    Several,
    /// Form, key or signature.
    #[error("the DPoP proof is not accepted: {0}")]
    Token(#[from] SelfSignedError),
    /// The payload is not an acceptable JSON object.
    #[error("the claims of the DPoP proof are not acceptable: {0}")]
    Claims(JsonError),
    /// A claim is not there, or of another type.
    #[error("the DPoP proof needs `{name}`, {expected}")]
    Claim {
        /// Its name.
        name: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// For another method.
    #[error("the DPoP proof is for another method: `htm` is {found}, the request's is {expected}")]
    Method {
        /// An excerpt of what it says.
        found: String,
        /// The method of the request.
        expected: String,
    },
    /// For another URL.
    #[error("the DPoP proof is for another URL: `htu` is {found}, expected is {expected}")]
    Url {
        /// An excerpt of what it says.
        found: String,
        /// The public URL of the request.
        expected: String,
    },
    /// Too old, or of the future.
    #[error(
        "the DPoP proof was made at {iat} (`iat`), and it is {now} here; {window} s of age are accepted, and {ahead} s of the \
         future: set the client's clock, or send the nonce of the header `DPoP-Nonce`",
        window = .window.as_secs(), ahead = .window.min(&AHEAD).as_secs(), iat = .iat.unix_seconds(), now = .now.unix_seconds()
    )]
    Time {
        /// What it says.
        iat: Timestamp,
        /// The time here.
        now: Timestamp,
        /// How old it may be.
        window: Duration,
    },
    /// For another access token.
    #[error("the DPoP proof is for another access token (`ath`)")]
    AccessToken,
    /// Without a nonce of ours, or with one that has expired.
    #[error("the DPoP proof needs the nonce of the header `DPoP-Nonce`")]
    Nonce,
    /// By another key than the token's.
    #[error("the DPoP proof is signed by another key than the one that the token is bound to")]
    OtherKey,
    /// It was used before.
    #[error("the DPoP proof was used before (`jti`); make one for each request")]
    Replayed,
}

impl ProofError {
    /// The error code of RFC 9449 §5 and §8.
    pub fn error(&self) -> &'static str {
        match self {
            Self::Nonce => "use_dpop_nonce",
            Self::Missing
            | Self::Several
            | Self::Token(_)
            | Self::Claims(_)
            | Self::Claim { .. }
            | Self::Method { .. }
            | Self::Url { .. }
            | Self::Time { .. }
            | Self::AccessToken
            | Self::OtherKey
            | Self::Replayed => "invalid_dpop_proof",
        }
    }

    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "dpop_proof_missing",
            Self::Several => "dpop_proof_several",
            Self::Token(_) => "dpop_proof_invalid",
            Self::Claims(_) => "dpop_claims_malformed",
            Self::Claim { .. } => "dpop_claim_missing",
            Self::Method { .. } => "dpop_method",
            Self::Url { .. } => "dpop_url",
            Self::Time { .. } => "dpop_time",
            Self::AccessToken => "dpop_access_token",
            Self::Nonce => "dpop_nonce",
            Self::OtherKey => "dpop_other_key",
            Self::Replayed => "dpop_replayed",
        }
    }
}
