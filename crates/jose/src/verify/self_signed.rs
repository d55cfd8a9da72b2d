//! `SelfSigned`: a token that the key in its own header verifies. It proves that its sender holds
//! that key, and nothing else.
//!
//! Of the two ways to read a token this is the one where the key comes with it, so nothing in such
//! a token may be believed for being signed; `Unverified` goes on ignoring `jwk`. The key is public
//! (a private member or a shared secret is refused), of an algorithm that the caller names, and as
//! strong as every other key here. RFC 7515 §4.1.3, RFC 9449 §4.2 and §4.3. Called by
//! `countersign-verifier`, whose `tests/suite/dpop.rs` pins it.

use super::{MAX_CLAIMS_DEPTH, Signed, TokenError, TokenPart, Unverified};
use crate::{
    Algorithm, base64url,
    json::Object,
    key::{Jwk, KeyError, PublicKey},
};
use std::fmt;

/// Members that no public key has (RFC 7518 §6.2.2, §6.3.2 and §6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A token whose signature was proven under the key in its header.
#[derive(Clone, PartialEq, Eq)]
pub struct SelfSigned {
    key: PublicKey,
    signed: Signed,
}

impl fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelfSigned").finish_non_exhaustive()
    }
}

impl SelfSigned {
    /// Proves a token of exactly this `typ`, of one of these algorithms, and not longer than
    /// `max_bytes`.
    ///
    /// # Errors
    ///
    /// What is wrong with its form, its key or its signature.
    pub fn prove(
        token: &str,
        typ: &str,
        algorithms: &[Algorithm],
        max_bytes: usize,
    ) -> Result<Self, SelfSignedError> {
        let unverified = Unverified::parse_within(token, max_bytes)?;
        if unverified.typ.as_deref() != Some(typ) {
            return Err(SelfSignedError::Typ);
        }
        let algorithm = unverified.algorithm;
        if algorithm.is_symmetric() || !algorithms.contains(&algorithm) {
            return Err(SelfSignedError::Algorithm(algorithm));
        }
        let header = token.split('.').next().unwrap_or_default();
        let header = base64url::decode(header).map_err(TokenPart::Header.not_base64url())?;
        let header = Object::parse(&header, MAX_CLAIMS_DEPTH).map_err(TokenError::Header)?;
        let jwk = header.get("jwk").ok_or(SelfSignedError::NoKey)?;
        let jwk = Object::parse(jwk.get().as_bytes(), MAX_CLAIMS_DEPTH).map_err(KeyError::from)?;
        if PRIVATE.iter().any(|name| jwk.get(name).is_some()) {
            return Err(SelfSignedError::PrivateKey);
        }
        let jwk = Jwk::from_object(&jwk)?;
        let key = jwk.public_key().ok_or(SelfSignedError::PrivateKey)?;
        let signed = unverified.verify(&jwk.verifying_key(Some(algorithm))?)?;
        Ok(Self { key, signed })
    }

    /// The key that signed it.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The payload's bytes, which need not be JSON.
    pub fn payload(&self) -> &[u8] {
        self.signed.payload()
    }
}

/// Why a token does not prove that its sender holds a key. Never holds any of the token's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelfSignedError {
    /// Its form, or its signature.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Its `typ` is another one.
    #[error("its `typ` is not the one that is expected")]
    Typ,
    /// Its `alg` is not among those that are accepted.
    #[error("its `alg` is {0}, which is not accepted")]
    Algorithm(Algorithm),
    /// There is no `jwk` in its header.
    #[error("its header has no `jwk`")]
    NoKey,
    /// The `jwk` is a private key, or a shared secret: its sender has given it away.
    #[error("its `jwk` has private members; send the public key alone, and replace this one")]
    PrivateKey,
    /// The `jwk` cannot be used.
    #[error("its `jwk`: {0}")]
    Key(#[from] KeyError),
}
