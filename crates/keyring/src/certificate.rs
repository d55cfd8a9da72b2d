//! A self-signed X.509 certificate per key, for verifiers that take keys only in one: `x5c`,
//! `x5t#S256`, the x509 map.
//!
//! It wraps the public key and says nothing else: version 3, subject and issuer are the `kid`,
//! `CA:FALSE`, key usage `digitalSignature`, signed by the key itself with its one algorithm. It is
//! made once and kept in the key's record, because an ECDSA or PSS signature made again has other
//! bytes, and every instance must show the same. What is to be signed and what the signature
//! completes are apart, because the signature may come from elsewhere (a KMS). Specifications: RFC
//! 5280 §4.1 and §4.2, RFC 4055 §3 and §5, RFC 5758 §3.2, RFC 8410 §3, RFC 7517 §4.7 and §4.9.

use crate::ecdsa;
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_jose::{Algorithm, KeyError, PublicJwk, PublicKey, SigningKey, Timestamp, base64url, hex};
use der::{
    Any, AnyRef, Decode, Encode, Sequence,
    asn1::{BitString, ObjectIdentifier, OctetString, SetOfVec, Utf8StringRef},
};
use pkcs1::RsaPssParams;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use x509_cert::{
    Certificate as X509, Version,
    attr::AttributeTypeAndValue,
    ext::{
        Extension,
        pkix::{BasicConstraints, KeyUsage, KeyUsages},
    },
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifier, AlgorithmIdentifierOwned, AlgorithmIdentifierRef},
    time::{Time, Validity},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long before its key it is valid: for verifiers whose clocks are late.
const BACKDATE: Duration = DAY;
/// How long after it is valid: longer than any key lives, so that it never expires in use.
const LIFETIME: Duration = Duration::from_secs(20 * 365 * DAY.as_secs());
/// The longest common name (X.520, `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// A certificate of one key, as DER; in the keyring document as base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Certificate(Vec<u8>);

/// Why there is no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A part cannot be written as DER.
    #[error("a part of the certificate cannot be encoded")]
    Encoding,
    /// The signature does not have the form its algorithm has in a JWS.
    #[error("the signature is not one of {0}")]
    Signature(Algorithm),
    /// A shared secret has none.
    #[error("{0} has no public key to certify")]
    NoPublicKey(Algorithm),
    /// The stored text is not base64.
    #[error("the certificate is not base64")]
    Base64,
}

impl CertificateError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Encoding => "certificate_encoding",
            Self::Signature(_) => "certificate_signature",
            Self::NoPublicKey(_) => "certificate_no_public_key",
            Self::Base64 => "certificate_malformed",
        }
    }
}

impl From<der::Error> for CertificateError {
    fn from(_: der::Error) -> Self {
        Self::Encoding
    }
}

impl From<KeyError> for CertificateError {
    fn from(_: KeyError) -> Self {
        Self::Encoding
    }
}

impl Certificate {
    /// The DER.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// `-----BEGIN CERTIFICATE-----`, with `\n` line ends.
    pub fn to_pem(&self) -> String {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("CERTIFICATE", self.0.as_slice()), config)
    }

    /// The one element of `x5c` (RFC 7517 §4.7): base64 of the DER, not base64url.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// `x5t#S256` (RFC 7517 §4.9).
    pub fn thumbprint(&self) -> String {
        base64url::encode(digest::digest(&digest::SHA256, &self.0).as_ref())
    }

    /// Whether it is a certificate of this key.
    pub fn certifies(&self, key: &PublicKey) -> bool {
        let Ok(certificate) = X509::from_der(&self.0) else { return false };
        let certified = certificate.tbs_certificate().subject_public_key_info().to_der();
        matches!((certified, key.to_spki_der()), (Ok(certified), Ok(key)) if certified == key)
    }
}

impl TryFrom<String> for Certificate {
    type Error = CertificateError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self).map_err(|_| CertificateError::Base64)
    }
}

impl From<Certificate> for String {
    fn from(certificate: Certificate) -> Self {
        certificate.to_base64()
    }
}

/// A certificate without its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedCertificate {
    algorithm: Algorithm,
    to_be_signed: Vec<u8>,
}

impl UnsignedCertificate {
    /// The certificate of `key`, which came into the keyring at `created_at`; `random` becomes the
    /// serial number.
    pub fn new(key: &PublicJwk, created_at: Timestamp, random: [u8; 16]) -> Result<Self, CertificateError> {
        let name = common_name(&key.kid)?;
        let extension = |extn_id, value: Vec<u8>| -> Result<Extension, CertificateError> {
            Ok(Extension { extn_id, critical: true, extn_value: OctetString::new(value)? })
        };
        let to_be_signed = ToBeSigned {
            version: Version::V3,
            serial: SerialNumber::new(&positive(random))?,
            signature: signature_algorithm(key.algorithm)?,
            issuer: name.clone(),
            validity: Validity::new(instant(created_at.minus(BACKDATE)), instant(created_at.plus(LIFETIME))),
            subject: name,
            public_key: Any::from_der(&key.key.to_spki_der()?)?,
            extensions: vec![
                extension(
                    BASIC_CONSTRAINTS,
                    BasicConstraints { ca: false, path_len_constraint: None }.to_der()?,
                )?,
                extension(KEY_USAGE, KeyUsage(KeyUsages::DigitalSignature.into()).to_der()?)?,
            ],
        };
        Ok(Self { algorithm: key.algorithm, to_be_signed: to_be_signed.to_der()? })
    }

    /// The bytes to sign with the key's own algorithm: the DER of the `TBSCertificate`. No token
    /// can have the same bytes, since the second one is not in base64url's alphabet.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.to_be_signed
    }

    /// The certificate, given the signature in the form it has in a JWS (ECDSA as R‖S).
    pub fn finish(self, signature: &[u8]) -> Result<Certificate, CertificateError> {
        let signature = match self.algorithm {
            Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 => {
                ecdsa::to_der(signature, self.algorithm)
            }
            _ if signature.is_empty() => None,
            _ => Some(signature.to_vec()),
        };
        let signature = signature.ok_or(CertificateError::Signature(self.algorithm))?;
        let signed = Signed {
            to_be_signed: Any::from_der(&self.to_be_signed)?,
            algorithm: signature_algorithm(self.algorithm)?,
            signature: BitString::from_bytes(&signature)?,
        };
        Ok(Certificate(signed.to_der()?))
    }

    /// The certificate, signed by a key at hand.
    pub fn sign(self, key: &SigningKey) -> Result<Certificate, CertificateError> {
        let signature =
            key.sign_bytes(&self.to_be_signed).map_err(|_| CertificateError::Signature(self.algorithm))?;
        self.finish(&signature)
    }
}

/// `TBSCertificate` (RFC 5280 §4.1), of which x509-cert has the reading half.
#[derive(Sequence)]
struct ToBeSigned {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial: SerialNumber,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    public_key: Any,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// `Certificate` (RFC 5280 §4.1).
#[derive(Sequence)]
struct Signed {
    to_be_signed: Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// `RDNSequence` (RFC 5280 §4.1.2.4).
type Name = Vec<SetOfVec<AttributeTypeAndValue>>;

/// The `kid` as a name; its SHA-256 in hexadecimal, which is just as long as a common name may be,
/// where it is longer.
fn common_name(kid: &str) -> Result<Name, CertificateError> {
    let name = if kid.len() <= MAX_COMMON_NAME {
        kid.to_owned()
    } else {
        hex(digest::digest(&digest::SHA256, kid.as_bytes()).as_ref())
    };
    let value = Any::from(AnyRef::from(Utf8StringRef::new(&name)?));
    Ok(vec![SetOfVec::try_from([AttributeTypeAndValue { oid: COMMON_NAME, value }])?])
}

/// A serial number is positive (RFC 5280 §4.1.2.2), and these all have the same length.
fn positive(mut random: [u8; 16]) -> [u8; 16] {
    let [first, ..] = &mut random;
    *first = (*first & 0x7f) | 0x40;
    random
}

/// The nearest instant a certificate can name: 1970 to the end of 9999, the latter being "no end"
/// (RFC 5280 §4.1.2.5).
fn instant(at: Timestamp) -> Time {
    let since_1970 = Duration::from_secs(at.unix_seconds().try_into().unwrap_or(0));
    der::DateTime::from_unix_duration(since_1970).map_or(Time::INFINITY, Time::from)
}

/// The identifier of a JOSE algorithm, with the parameters it has in a certificate: NULL for RSA
/// PKCS#1 (RFC 4055 §5), hash and salt for PSS (§3.1), none for ECDSA (RFC 5758 §3.2) and Ed25519
/// (RFC 8410 §3).
fn signature_algorithm(algorithm: Algorithm) -> Result<AlgorithmIdentifierOwned, CertificateError> {
    let (oid, parameters) = match algorithm {
        Algorithm::RS256 => ("1.2.840.113549.1.1.11", Some(Any::null())),
        Algorithm::RS384 => ("1.2.840.113549.1.1.12", Some(Any::null())),
        Algorithm::RS512 => ("1.2.840.113549.1.1.13", Some(Any::null())),
        Algorithm::PS256 => return pss(SHA256, 32),
        Algorithm::PS384 => return pss(SHA384, 48),
        Algorithm::PS512 => return pss(SHA512, 64),
        Algorithm::ES256 => ("1.2.840.10045.4.3.2", None),
        Algorithm::ES384 => ("1.2.840.10045.4.3.3", None),
        Algorithm::ES512 => ("1.2.840.10045.4.3.4", None),
        Algorithm::EdDSA | Algorithm::Ed25519 => ("1.3.101.112", None),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            return Err(CertificateError::NoPublicKey(algorithm));
        }
    };
    Ok(AlgorithmIdentifier { oid: ObjectIdentifier::new_unwrap(oid), parameters })
}

fn pss(hash: ObjectIdentifier, salt_len: u8) -> Result<AlgorithmIdentifierOwned, CertificateError> {
    let hash = AlgorithmIdentifierRef { oid: hash, parameters: Some(AnyRef::NULL) };
    let parameters = RsaPssParams {
        hash,
        mask_gen: AlgorithmIdentifier { oid: MGF1, parameters: Some(hash) },
        salt_len,
        trailer_field: Default::default(),
    };
    let parameters = Any::from_der(&parameters.to_der()?)?;
    Ok(AlgorithmIdentifier { oid: RSASSA_PSS, parameters: Some(parameters) })
}

#[cfg(test)]
mod tests;
