//! The algorithm table: one row per JOSE signature algorithm, and nothing else enumerates them.
//!
//! A row ties the JOSE name (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2) to the one kind of key it
//! takes, the aws-lc-rs parameters that sign and verify it, and what AWS KMS calls the same
//! algorithm and its keys. `none` has no row, so a token that asks for it cannot even be parsed.

use crate::key::KeySize;
use aws_lc_rs::{
    digest, hmac,
    signature::{
        self, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, RsaParameters, RsaSignatureEncoding,
    },
};
use std::{fmt, str::FromStr};

/// A JWS signature algorithm this crate signs and verifies with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the JOSE name it stands for; the table documents the rest")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
    Ed25519,
    HS256,
    HS384,
    HS512,
}

/// The kind of key an algorithm takes, with what narrows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA, JWK `kty` `RSA`.
    Rsa,
    /// Elliptic curve, JWK `kty` `EC`.
    Ec(Curve),
    /// Edwards curve 25519, JWK `kty` `OKP`, `crv` `Ed25519`.
    Ed25519,
    /// A shared secret of at least this many bytes, JWK `kty` `oct` (RFC 7518 §3.2: not shorter
    /// than the hash).
    Oct {
        /// The fewest bytes a secret may have.
        min_bytes: usize,
    },
}

/// A NIST curve (RFC 7518 §6.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the curve it names")]
pub enum Curve {
    P256,
    P384,
    P521,
}

/// What aws-lc-rs needs to sign and verify with a row's algorithm.
#[derive(Clone, Copy)]
pub(crate) enum Primitive {
    Rsa { sign: &'static RsaSignatureEncoding, verify: &'static RsaParameters },
    Ec { sign: &'static EcdsaSigningAlgorithm, verify: &'static EcdsaVerificationAlgorithm },
    Ed25519,
    Hmac(&'static hmac::Algorithm),
}

/// One row of the table.
struct Row {
    name: &'static str,
    key: KeyKind,
    kms: Option<&'static str>,
    /// What is signed is the hash of the message; `None` where it is the message itself.
    hash: Option<&'static digest::Algorithm>,
    primitive: Primitive,
}

const fn rsa(
    name: &'static str,
    kms: &'static str,
    hash: &'static digest::Algorithm,
    sign: &'static RsaSignatureEncoding,
    verify: &'static RsaParameters,
) -> Row {
    Row {
        name,
        key: KeyKind::Rsa,
        kms: Some(kms),
        hash: Some(hash),
        primitive: Primitive::Rsa { sign, verify },
    }
}

const fn ec(
    name: &'static str,
    curve: Curve,
    kms: &'static str,
    hash: &'static digest::Algorithm,
    sign: &'static EcdsaSigningAlgorithm,
    verify: &'static EcdsaVerificationAlgorithm,
) -> Row {
    Row {
        name,
        key: KeyKind::Ec(curve),
        kms: Some(kms),
        hash: Some(hash),
        primitive: Primitive::Ec { sign, verify },
    }
}

const fn ed25519(name: &'static str) -> Row {
    Row {
        name,
        key: KeyKind::Ed25519,
        kms: Some("ED25519_SHA_512"),
        hash: None,
        primitive: Primitive::Ed25519,
    }
}

const fn hmac(name: &'static str, min_bytes: usize, algorithm: &'static hmac::Algorithm) -> Row {
    Row {
        name,
        key: KeyKind::Oct { min_bytes },
        kms: None,
        hash: None,
        primitive: Primitive::Hmac(algorithm),
    }
}

#[rustfmt::skip]
const fn row(algorithm: Algorithm) -> Row {
    use {digest::{SHA256, SHA384, SHA512}, signature::*};
    match algorithm {
        Algorithm::RS256 => rsa("RS256", "RSASSA_PKCS1_V1_5_SHA_256", &SHA256, &RSA_PKCS1_SHA256, &RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => rsa("RS384", "RSASSA_PKCS1_V1_5_SHA_384", &SHA384, &RSA_PKCS1_SHA384, &RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => rsa("RS512", "RSASSA_PKCS1_V1_5_SHA_512", &SHA512, &RSA_PKCS1_SHA512, &RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => rsa("PS256", "RSASSA_PSS_SHA_256", &SHA256, &RSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => rsa("PS384", "RSASSA_PSS_SHA_384", &SHA384, &RSA_PSS_SHA384, &RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => rsa("PS512", "RSASSA_PSS_SHA_512", &SHA512, &RSA_PSS_SHA512, &RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => ec("ES256", Curve::P256, "ECDSA_SHA_256", &SHA256, &ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => ec("ES384", Curve::P384, "ECDSA_SHA_384", &SHA384, &ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED),
        Algorithm::ES512 => ec("ES512", Curve::P521, "ECDSA_SHA_512", &SHA512, &ECDSA_P521_SHA512_FIXED_SIGNING, &ECDSA_P521_SHA512_FIXED),
        Algorithm::EdDSA => ed25519("EdDSA"),
        Algorithm::Ed25519 => ed25519("Ed25519"),
        Algorithm::HS256 => hmac("HS256", 32, &hmac::HMAC_SHA256),
        Algorithm::HS384 => hmac("HS384", 48, &hmac::HMAC_SHA384),
        Algorithm::HS512 => hmac("HS512", 64, &hmac::HMAC_SHA512),
    }
}

impl Algorithm {
    /// Every algorithm, in the order of the table.
    pub const ALL: [Self; 14] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
        Self::Ed25519,
        Self::HS256,
        Self::HS384,
        Self::HS512,
    ];

    /// The `alg` value of a JWS header (RFC 7518 §3.1).
    pub const fn name(self) -> &'static str {
        row(self).name
    }

    /// The one kind of key this algorithm takes.
    pub const fn key_kind(self) -> KeyKind {
        row(self).key
    }

    /// The AWS KMS `SigningAlgorithm`, where KMS has one (KMS API reference, `Sign`).
    pub const fn kms_name(self) -> Option<&'static str> {
        row(self).kms
    }

    /// The AWS KMS `KeySpec` of keys for this algorithm, where KMS has one; `size` matters to RSA
    /// alone (KMS API reference, `CreateKey`).
    pub const fn kms_key_spec(self, size: KeySize) -> Option<&'static str> {
        match (self.key_kind(), size) {
            (KeyKind::Rsa, KeySize::Rsa2048) => Some("RSA_2048"),
            (KeyKind::Rsa, KeySize::Rsa3072) => Some("RSA_3072"),
            (KeyKind::Rsa, KeySize::Rsa4096) => Some("RSA_4096"),
            (KeyKind::Ec(Curve::P256), _) => Some("ECC_NIST_P256"),
            (KeyKind::Ec(Curve::P384), _) => Some("ECC_NIST_P384"),
            (KeyKind::Ec(Curve::P521), _) => Some("ECC_NIST_P521"),
            (KeyKind::Ed25519, _) => Some("ECC_NIST_EDWARDS25519"),
            (KeyKind::Oct { .. }, _) => None,
        }
    }

    /// The hash of `message` that is signed in its place; `None` where the algorithm takes the
    /// message itself.
    pub fn digest(self, message: &[u8]) -> Option<Vec<u8>> {
        row(self).hash.map(|hash| digest::digest(hash, message).as_ref().to_vec())
    }

    /// Whether signer and verifier share one secret, which therefore can never be published.
    pub const fn is_symmetric(self) -> bool {
        matches!(self.key_kind(), KeyKind::Oct { .. })
    }

    pub(crate) const fn primitive(self) -> Primitive {
        row(self).primitive
    }

    /// The algorithm a key of this kind is bound to when nothing names one: RS256, the curve's own
    /// ECDSA, EdDSA. A shared secret has no default.
    pub fn default_for(kind: KeyKind) -> Option<Self> {
        match kind {
            KeyKind::Oct { .. } => None,
            other => Self::ALL.into_iter().find(|a| a.key_kind() == other),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An `alg` that is not in the table; `none` in any spelling is one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "unsupported algorithm; one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519, HS256, HS384, HS512 is expected"
)]
pub struct UnsupportedAlgorithm;

impl FromStr for Algorithm {
    type Err = UnsupportedAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|a| a.name() == name).ok_or(UnsupportedAlgorithm)
    }
}

impl serde::Serialize for Algorithm {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Algorithm {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

impl Curve {
    /// The JWK `crv` value (RFC 7518 §6.2.1.1).
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Bytes of one coordinate and of the private scalar, left-padded (RFC 7518 §6.2.1.2).
    pub const fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521].into_iter().find(|c| c.name() == name)
    }

    /// The named-curve object identifier (RFC 5480 §2.1.1.1).
    pub(crate) const fn oid(self) -> &'static str {
        match self {
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
        }
    }

    pub(crate) fn from_oid(oid: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521].into_iter().find(|c| c.oid() == oid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_to_its_algorithm_and_no_two_are_alike() {
        for (i, a) in Algorithm::ALL.into_iter().enumerate() {
            assert_eq!(a.name().parse(), Ok(a));
            assert!(Algorithm::ALL.iter().skip(i + 1).all(|b| b.name() != a.name()));
        }
    }

    #[test]
    fn what_kms_calls_an_algorithm_has_the_length_of_its_hash_in_it() {
        for algorithm in Algorithm::ALL {
            let Some(kms) = algorithm.kms_name() else {
                assert!(algorithm.is_symmetric() && algorithm.kms_key_spec(KeySize::Rsa2048).is_none());
                continue;
            };
            match algorithm.digest(b"message") {
                Some(digest) => assert!(kms.ends_with(&format!("SHA_{}", digest.len() * 8)), "{kms}"),
                None => assert_eq!((algorithm.key_kind(), kms), (KeyKind::Ed25519, "ED25519_SHA_512")),
            }
        }
        let sizes = [KeySize::Rsa2048, KeySize::Rsa3072, KeySize::Rsa4096];
        let specs = sizes.map(|size| Algorithm::PS384.kms_key_spec(size).unwrap());
        assert_eq!(specs, ["RSA_2048", "RSA_3072", "RSA_4096"]);
    }

    #[test]
    fn none_is_not_an_algorithm_in_any_casing() {
        for name in ["none", "None", "NONE", "nOnE", "", "rs256", "RS256 ", "HS1", "ES256K"] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnsupportedAlgorithm), "{name:?}");
        }
    }

    #[test]
    fn a_key_kind_without_a_named_algorithm_gets_its_usual_one() {
        assert_eq!(Algorithm::default_for(KeyKind::Rsa), Some(Algorithm::RS256));
        assert_eq!(Algorithm::default_for(KeyKind::Ec(Curve::P521)), Some(Algorithm::ES512));
        assert_eq!(Algorithm::default_for(KeyKind::Ed25519), Some(Algorithm::EdDSA));
        assert_eq!(Algorithm::default_for(KeyKind::Oct { min_bytes: 32 }), None);
    }
}
