//! A JWK Set to verify with: the token's `kid` selects a key, and the key decides the algorithm
//! (RFC 7517 §5).
//!
//! A key that cannot be used is skipped with its reason and the good ones are kept. Two keys of one
//! name are told apart by their own `alg`. A token without a `kid` is taken only from a set of
//! exactly one key: with several, even of different algorithms, the token would choose its key by
//! `alg`.

use crate::{
    Algorithm, Signed, TokenError, Unverified, VerifyingKey,
    key::{Jwk, KeyError, Skipped},
};

/// Verification keys of one issuer.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    skipped: Vec<Skipped>,
}

impl KeySet {
    /// Reads a JWK Set (or one JWK). Keys without `alg` are bound to `assumed` where they are of
    /// its kind, else to the usual algorithm of their own.
    pub fn parse(json: &[u8], assumed: Option<Algorithm>) -> Result<Self, KeyError> {
        Self::parse_for(json, assumed.as_slice())
    }

    /// The same with several assumptions: keys without `alg` are bound to the first that takes
    /// their kind of key.
    pub fn parse_for(json: &[u8], assumed: &[Algorithm]) -> Result<Self, KeyError> {
        let mut set = Self::default();
        for jwk in Jwk::parse_public_set(json)? {
            let key = jwk.and_then(|jwk| {
                let named = |why| Skipped { kid: jwk.kid().map(str::to_owned), why };
                jwk.verifying_key_for(assumed).map_err(named)
            });
            match key {
                Ok(key) => set.keys.push(key),
                Err(skipped) => set.skipped.push(skipped),
            }
        }
        Ok(set)
    }

    /// The keys, in the order of the document.
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// Keys that were passed over, and why.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The key a token must be verified with.
    pub fn select(&self, token: &Unverified<'_>) -> Result<&VerifyingKey, TokenError> {
        let algorithm = token.unverified_algorithm();
        let Some(kid) = token.unverified_kid() else {
            return match self.keys.as_slice() {
                [only] => Ok(only),
                _ => Err(TokenError::NoKey),
            };
        };
        let mut named = self.keys.iter().filter(|key| key.kid() == Some(kid)).peekable();
        let Some(first) = named.peek().copied() else {
            // A key that is there and cannot be used looks from outside as if its issuer had
            // forgotten it.
            let skipped = self.skipped.iter().find(|skipped| skipped.kid.as_deref() == Some(kid));
            return Err(
                skipped.map_or(TokenError::NoKey, |skipped| TokenError::KeyUnusable(skipped.why.clone()))
            );
        };
        // With none of the named keys for that algorithm, the first one makes `verify` say what is
        // wrong.
        Ok(named.find(|key| key.algorithm() == algorithm).unwrap_or(first))
    }

    /// Selects a key and proves the signature.
    pub fn verify(&self, token: Unverified<'_>) -> Result<Signed, TokenError> {
        let key = self.select(&token)?;
        token.verify(key)
    }
}

impl From<Vec<VerifyingKey>> for KeySet {
    fn from(keys: Vec<VerifyingKey>) -> Self {
        Self { keys, skipped: Vec::new() }
    }
}
