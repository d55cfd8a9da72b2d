//! Signing: a key parsed once and bound to one algorithm, and the two halves of a compact JWS (RFC
//! 7515 §5.1).
//!
//! `SigningInput` is the text a signature is made over; `finish` adds the signature. The two are
//! apart because the signature may come from elsewhere (a KMS). Signing takes `&self` and no lock.

use crate::{
    Algorithm,
    algorithm::Primitive,
    base64url,
    key::{KeyError, KeySize, Material, PrivateKey, PublicKey, SymmetricKey},
};
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{EcdsaKeyPair, Ed25519KeyPair, RsaSignatureEncoding},
};
use serde::Serialize;
use std::fmt;

/// A private key or shared secret, ready to sign with its one algorithm.
pub struct SigningKey {
    algorithm: Algorithm,
    public_key: Option<PublicKey>,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair, &'static RsaSignatureEncoding),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Hmac(Box<hmac::Key>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Binds a private key to `algorithm`, which must take this kind of key.
    pub fn new(key: &PrivateKey, algorithm: Algorithm) -> Result<Self, KeyError> {
        let mismatch = KeyError::AlgorithmMismatch { algorithm };
        if key.kind() != algorithm.key_kind() {
            return Err(mismatch);
        }
        let pair = match (&key.0, algorithm.primitive()) {
            (Material::Rsa(_), Primitive::Rsa { sign, .. }) => Pair::Rsa(key.rsa_pair()?, sign),
            (Material::Ec { x, y, d, .. }, Primitive::Ec { sign, .. }) => {
                let point = [&[4][..], x, y].concat();
                let pair = EcdsaKeyPair::from_private_key_and_public_key(sign, d, &point);
                Pair::Ec(pair.map_err(|_| KeyError::Inconsistent)?)
            }
            (Material::Ed25519 { x, d }, Primitive::Ed25519) => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(d, x);
                Pair::Ed25519(pair.map_err(|_| KeyError::Inconsistent)?)
            }
            _ => return Err(mismatch),
        };
        Ok(Self { algorithm, public_key: Some(key.public_key()), pair })
    }

    /// Binds a shared secret to an HMAC algorithm; refuses one shorter than the hash (RFC 7518
    /// §3.2).
    pub fn symmetric(key: &SymmetricKey, algorithm: Algorithm) -> Result<Self, KeyError> {
        Ok(Self { algorithm, public_key: None, pair: Pair::Hmac(Box::new(key.hmac_key(algorithm)?)) })
    }

    /// Makes a new asymmetric key bound to `algorithm`.
    pub fn generate(algorithm: Algorithm, size: KeySize) -> Result<Self, KeyError> {
        Self::new(&PrivateKey::generate(algorithm, size)?, algorithm)
    }

    /// The algorithm this key is bound to.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half; `None` for a shared secret.
    pub fn public_key(&self) -> Option<&PublicKey> {
        self.public_key.as_ref()
    }

    /// The JWS signature over `input`: RSA as is, ECDSA as fixed-width R‖S (RFC 7518 §3.4), Ed25519
    /// 64 bytes.
    pub fn sign(&self, input: &SigningInput) -> Result<Vec<u8>, KeyError> {
        self.sign_bytes(input.as_bytes())
    }

    /// A signature of the same form over bytes that are no token: the inside of the key's own
    /// certificate.
    pub fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let rng = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &rng, message, &mut signature).map_err(|_| KeyError::Crypto)?;
                Ok(signature)
            }
            Pair::Ec(pair) => Ok(pair.sign(&rng, message).map_err(|_| KeyError::Crypto)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => {
                Ok(pair.try_sign(message).map_err(|_| KeyError::Crypto)?.as_ref().to_vec())
            }
            Pair::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
    }
}

/// The header of a token made here (RFC 7515 §4.1). No other parameter can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Header<'a> {
    /// The signing key's algorithm.
    pub alg: Algorithm,
    /// The signing key's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<&'a str>,
    /// The kind of token: `JWT`, `at+jwt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typ: Option<&'a str>,
}

impl Header<'_> {
    /// The encoded header; the same for every token of one key and type, so it can be made once.
    pub fn encode(&self) -> EncodedHeader {
        // Three plain strings: serialising them cannot fail.
        EncodedHeader(base64url::encode(&serde_json::to_vec(self).unwrap_or_default()))
    }
}

/// A header as it stands in front of the first dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedHeader(String);

/// The text a signature is made over: encoded header, dot, encoded payload (RFC 7515 §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningInput(String);

impl SigningInput {
    /// Joins a header and a payload.
    pub fn new(header: &EncodedHeader, payload: &[u8]) -> Self {
        // Room for the signature of a 2048-bit key too, so finishing does not move the text.
        let mut text = String::with_capacity(header.0.len() + payload.len() * 4 / 3 + 352);
        text.push_str(&header.0);
        text.push('.');
        base64url::encode_into(payload, &mut text);
        Self(text)
    }

    /// The bytes to sign.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The compact token.
    pub fn finish(self, signature: &[u8]) -> String {
        let mut token = self.0;
        token.push('.');
        base64url::encode_into(signature, &mut token);
        token
    }
}
