//! `Signed`: a token whose signature was proven. Its one constructor does the proving.
//!
//! The fields are private to this file, so nothing else in the crate can make one either.
//! RFC 7515 §5.2. Called through `Unverified::verify`; pinned by `tests/attacks.rs` and the
//! documentation tests below, which must not compile.

use super::{MAX_CLAIMS_DEPTH, TokenError, TokenPart, Unverified, VerifyingKey};
use crate::{Algorithm, base64url, json::Object};
use std::fmt;

/// A token whose signature was proven. Its claims can be read, but say nothing yet about who may
/// use it, or when. There is no way to make one but to verify a token:
///
/// ```compile_fail,E0451
/// # use countersign_jose::{Algorithm, Signed};
/// fn by_hand(payload: Vec<u8>) -> Signed {
///     Signed { algorithm: Algorithm::RS256, kid: None, typ: None, payload }
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    payload: Vec<u8>,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Signed {
    /// Proves the signature of a token under one key.
    pub(super) fn prove(token: Unverified<'_>, key: &VerifyingKey) -> Result<Self, TokenError> {
        if token.algorithm != key.algorithm {
            return Err(TokenError::AlgorithmMismatch { key: key.algorithm, token: token.algorithm });
        }
        let signature = base64url::decode(token.signature).map_err(TokenPart::Signature.not_base64url())?;
        if !key.verifies(token.signing_input.as_bytes(), &signature) {
            return Err(TokenError::BadSignature);
        }
        let payload = token.payload.map_err(TokenPart::Claims.not_base64url())?;
        Ok(Self { algorithm: token.algorithm, kid: token.kid, typ: token.typ, payload })
    }

    /// The payload's bytes, which need not be JSON (RFC 7515 signs any bytes).
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub(crate) fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    pub(crate) fn claims(&self) -> Result<Object<'_>, TokenError> {
        Object::parse(&self.payload, MAX_CLAIMS_DEPTH).map_err(TokenError::Payload)
    }
}
