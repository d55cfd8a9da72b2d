//! Keys as material: what a JWK or a PEM file says, checked, before it is bound to an algorithm.
//!
//! `PublicKey` has no private members, so nothing public can leak one. `PrivateKey` wipes itself
//! when dropped and has a `Debug` that shows its kind alone. Loading proves that the parts belong
//! together (aws-lc checks them), that RSA has at least 2048 bits, that a point is on its curve and
//! that the key is not a known weak one (`weak`). Formats: JWK (RFC 7517, RFC 7518 §6, RFC 8037) in
//! `jwk`, PEM in `pem`, RFC 7638 thumbprints in `thumbprint`.

mod instead;
mod jwk;
mod pem;
mod private;
mod rsa;
mod thumbprint;
mod unsupported;
mod weak;

pub use instead::Instead;
pub use jwk::{Jwk, MAX_KEYS, PublicJwk, Skipped};
pub use pem::unpacked_pem;
pub use private::{KeySize, PrivateKey, SymmetricKey};
pub(crate) use private::{Material, parse_public};
pub use weak::Weakness;

use crate::algorithm::{Curve, KeyKind};

/// The smallest RSA modulus that signs, and by default the smallest that verifies (RFC 7518 §3.3).
pub const MIN_RSA_BITS: usize = 2048;
/// The largest RSA modulus accepted: beyond it one verification costs an attacker's victim too
/// much.
pub const MAX_RSA_BITS: usize = 8192;

/// A public key: only public members, in the unsigned big-endian form of its JWK.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PublicKey {
    /// RSA modulus and exponent, without leading zeros.
    Rsa {
        /// Modulus.
        n: Vec<u8>,
        /// Public exponent.
        e: Vec<u8>,
    },
    /// A point on a NIST curve; both coordinates have the curve's full width.
    Ec {
        /// The curve.
        curve: Curve,
        /// X coordinate.
        x: Vec<u8>,
        /// Y coordinate.
        y: Vec<u8>,
    },
    /// An Ed25519 public key.
    Ed25519 {
        /// The 32 bytes of the key.
        x: Vec<u8>,
    },
}

impl PublicKey {
    /// The kind of key this is.
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa { .. } => KeyKind::Rsa,
            Self::Ec { curve, .. } => KeyKind::Ec(*curve),
            Self::Ed25519 { .. } => KeyKind::Ed25519,
        }
    }

    /// Bits of the modulus or of the curve.
    pub fn bits(&self) -> usize {
        match self {
            Self::Rsa { n, .. } => significant_bits(n),
            Self::Ec { curve: Curve::P256, .. } | Self::Ed25519 { .. } => 256,
            Self::Ec { curve: Curve::P384, .. } => 384,
            Self::Ec { curve: Curve::P521, .. } => 521,
        }
    }

    /// An RSA key from members whose leading zeros, if any, do not count.
    fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (strip_zeros(n), strip_zeros(e));
        let bits = significant_bits(n);
        if bits > MAX_RSA_BITS {
            return Err(KeyError::RsaTooLarge { bits });
        }
        if bits == 0 {
            return Err(KeyError::Inconsistent);
        }
        // An even or unit exponent signs nothing; above 33 bits no library agrees on it
        // (CVE-2023-46234 and kin).
        let odd = e.last().is_some_and(|b| b & 1 == 1);
        if !odd || e == [1] || significant_bits(e) > 33 {
            return Err(KeyError::RsaExponent);
        }
        Ok(Self::Rsa { n: n.to_vec(), e: e.to_vec() })
    }

    /// The bytes aws-lc-rs takes: `RSAPublicKey` DER, an uncompressed point, or the raw key.
    pub(crate) fn to_crypto_bytes(&self) -> Result<Vec<u8>, KeyError> {
        match self {
            Self::Rsa { n, e } => pem::rsa_public_der(n, e),
            Self::Ec { x, y, .. } => Ok(uncompressed_point(x, y)),
            Self::Ed25519 { x } => Ok(x.clone()),
        }
    }
}

fn uncompressed_point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4][..], x, y].concat()
}

fn strip_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

fn significant_bits(bytes: &[u8]) -> usize {
    let bytes = strip_zeros(bytes);
    bytes.first().map_or(0, |top| bytes.len() * 8 - top.leading_zeros() as usize)
}

/// Why a key cannot be used. Never holds key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The JWK or JWK Set is not acceptable JSON.
    #[error("the JWK is not acceptable: {0}")]
    Json(#[from] crate::json::JsonError),
    /// A member has the wrong JSON type.
    #[error("the JWK is not acceptable: {0}")]
    WrongType(#[from] crate::json::WrongType),
    /// A member the key type needs is not there.
    #[error("the JWK has no `{0}` member")]
    MissingMember(&'static str),
    /// A member is not of the length its key type needs, or not of the form it has to have.
    #[error("the JWK member `{0}` is malformed")]
    MalformedMember(&'static str),
    /// A member is not canonical base64url.
    #[error("the JWK member `{name}` is not base64url: {why}")]
    NotBase64Url {
        /// The member.
        name: &'static str,
        /// What is wrong, and where.
        why: crate::base64url::InvalidBase64Url,
    },
    /// `kty` (or `crv`) names a kind of key this crate does not know.
    #[error(
        "unsupported key type or curve{}; RSA, EC (P-256, P-384, P-521), OKP (Ed25519) and oct are known",
        found.map(|found| format!(": it is {found}")).unwrap_or_default()
    )]
    UnsupportedKind {
        /// Which, where it is one that people have.
        found: Option<&'static str>,
    },
    /// `alg` names an algorithm that is not in the table.
    #[error("the key names an {0}")]
    UnsupportedAlgorithm(#[from] crate::algorithm::UnsupportedAlgorithm),
    /// The key is of another kind or curve than the algorithm takes.
    #[error("the key does not fit algorithm {algorithm}")]
    AlgorithmMismatch {
        /// The algorithm asked for.
        algorithm: crate::Algorithm,
    },
    /// Nothing says which algorithm the key is for.
    #[error("nothing says which algorithm this key is for; give it an `alg`")]
    NoAlgorithm,
    /// `use` is not `sig`.
    #[error("the key is not for signatures (`use` is not \"sig\")")]
    NotForSignatures,
    /// `key_ops` does not allow the operation.
    #[error("`key_ops` of the key does not allow \"{0}\"")]
    OperationNotAllowed(&'static str),
    /// An RSA modulus below the limit.
    #[error(
        "the RSA key has {bits} bits; at least {min} are needed, so make a new one: openssl genpkey -algorithm RSA \
         -pkeyopt rsa_keygen_bits:{min} -out new.pem",
        min = MIN_RSA_BITS
    )]
    RsaTooSmall {
        /// Bits of the modulus.
        bits: usize,
    },
    /// An RSA modulus above [`MAX_RSA_BITS`].
    #[error("the RSA key has {bits} bits; at most {max} are accepted", max = MAX_RSA_BITS)]
    RsaTooLarge {
        /// Bits of the modulus.
        bits: usize,
    },
    /// An RSA public exponent that is even, 1 or longer than 33 bits.
    #[error("the RSA public exponent cannot be used: it must be odd, above 1 and of at most 33 bits")]
    RsaExponent,
    /// An elliptic-curve point in compressed form (RFC 5480 §2.2).
    #[error(
        "the elliptic-curve point is compressed; write it uncompressed (openssl ec -conv_form uncompressed)"
    )]
    CompressedPoint,
    /// A well-formed key that keeps nobody out.
    #[error("the key is weak and must be replaced: {0}")]
    Weak(#[from] Weakness),
    /// A shared secret shorter than the hash (RFC 7518 §3.2).
    #[error("the secret has {}; {algorithm} needs at least {min}", crate::explain::bytes(*bytes))]
    SecretTooShort {
        /// The algorithm asked for.
        algorithm: crate::Algorithm,
        /// Bytes the secret has.
        bytes: usize,
        /// Bytes it needs.
        min: usize,
    },
    /// The parts do not belong together, or a point is not on its curve.
    #[error("the parts of the key do not belong together")]
    Inconsistent,
    /// Not PEM, or no block of a kind that holds a key.
    #[error("no key found: {0}")]
    NoKeyFound(Instead),
    /// More than one key in a PEM text that should have one.
    #[error("the PEM text holds more than one key")]
    MoreThanOneKey,
    /// The PEM block does not hold the DER structure its label promises.
    #[error("the PEM block is not valid DER of the kind its label names")]
    MalformedDer,
    /// The private key is protected by a password.
    #[error("the private key is encrypted; decrypt it first (openssl pkey -in key.pem -out clear.pem)")]
    Encrypted,
    /// A private key was expected.
    #[error(
        "this is a public key, and a private key is needed, which cannot be made from it; find the file that has it: \
         grep -rl \"PRIVATE KEY-\" FOLDER (PEM), or grep -rlE '\"d\" *:' FOLDER (JWK)"
    )]
    NotPrivate,
    /// More keys in a set than [`MAX_KEYS`].
    #[error("the set holds more than {MAX_KEYS} keys")]
    TooManyKeys,
    /// `kid` is empty, longer than 256 bytes, or not printable ASCII.
    #[error("the kid must be 1 to 256 printable ASCII characters")]
    BadKeyId,
    /// The crypto library could not do its part (out of memory, no randomness).
    #[error("the crypto library failed")]
    Crypto,
}

impl KeyError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "key_malformed_json",
            Self::WrongType(_) => "key_wrong_type",
            Self::MissingMember(_) => "key_missing_member",
            Self::MalformedMember(_) | Self::NotBase64Url { .. } => "key_malformed_member",
            Self::UnsupportedKind { .. } => "key_unsupported_kind",
            Self::UnsupportedAlgorithm(_) => "key_unsupported_algorithm",
            Self::AlgorithmMismatch { .. } => "key_algorithm_mismatch",
            Self::NoAlgorithm => "key_no_algorithm",
            Self::NotForSignatures => "key_not_for_signatures",
            Self::OperationNotAllowed(_) => "key_operation_not_allowed",
            Self::RsaTooSmall { .. } => "key_rsa_too_small",
            Self::RsaTooLarge { .. } => "key_rsa_too_large",
            Self::RsaExponent => "key_rsa_exponent",
            Self::CompressedPoint => "key_compressed_point",
            Self::Weak(_) => "key_weak",
            Self::SecretTooShort { .. } => "key_secret_too_short",
            Self::Inconsistent => "key_inconsistent",
            Self::NoKeyFound(_) => "key_not_found",
            Self::MoreThanOneKey => "key_more_than_one",
            Self::MalformedDer => "key_malformed_der",
            Self::Encrypted => "key_encrypted",
            Self::NotPrivate => "key_not_private",
            Self::TooManyKeys => "key_set_too_large",
            Self::BadKeyId => "key_bad_kid",
            Self::Crypto => "key_crypto_failure",
        }
    }
}

/// Checks a `kid`: 1 to 256 printable ASCII characters. It is only ever compared, never used as a
/// path.
pub fn check_kid(kid: &str) -> Result<(), KeyError> {
    let printable = kid.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if kid.is_empty() || kid.len() > 256 || !printable { Err(KeyError::BadKeyId) } else { Ok(()) }
}
