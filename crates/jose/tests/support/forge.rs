//! Tokens that the crate's own signer cannot make: any header, any payload, any text, properly
//! signed all the same.
//!
//! A refusal only means something when the signature was right, so the attacks are signed here with
//! aws-lc directly. Included by `attacks.rs`.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use countersign_jose::{Algorithm, Curve, PublicKey, SymmetricKey, VerifyingKey, base64url::encode};

/// Long enough for every HMAC algorithm.
pub(crate) const SECRET: [u8; 64] = [0x5a; 64];

/// The first two parts of a token, from the header and the payload as they are typed.
pub(crate) fn input(header: &str, payload: &str) -> String {
    format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()))
}

/// Adds the HS256 signature to whatever stands in front of the second dot.
pub(crate) fn hs256(input: &str, secret: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", encode(tag.as_ref()))
}

/// A token under [`SECRET`] with this header and an empty set of claims.
pub(crate) fn with_header(header: &str) -> String {
    hs256(&input(header, "{}"), &SECRET)
}

/// A token under [`SECRET`] with these claims.
pub(crate) fn with_claims(claims: &str) -> String {
    hs256(&input(r#"{"alg":"HS256"}"#, claims), &SECRET)
}

/// The key that verifies what [`with_header`] and [`with_claims`] make.
pub(crate) fn hs256_key() -> VerifyingKey {
    let secret = SymmetricKey::new(SECRET.to_vec().into());
    VerifyingKey::symmetric(&secret, Algorithm::HS256, Some("k1".into())).unwrap()
}

/// An ES256 key pair that signs any text.
pub(crate) struct Es256(EcdsaKeyPair);

impl Es256 {
    pub(crate) fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        PublicKey::Ec { curve: Curve::P256, x: x.to_vec(), y: y.to_vec() }
    }

    pub(crate) fn key(&self) -> VerifyingKey {
        VerifyingKey::new(&self.public_key(), Algorithm::ES256, None).unwrap()
    }

    pub(crate) fn signature(&self, input: &str) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap().as_ref().to_vec()
    }

    pub(crate) fn sign(&self, input: &str) -> String {
        format!("{input}.{}", encode(&self.signature(input)))
    }
}
