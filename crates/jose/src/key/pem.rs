//! PEM: PKCS#8 and PKCS#1 private keys, SEC1 EC keys, SPKI and PKCS#1 public keys (RFC 7468, 5958,
//! 8017, 5915, 5280).
//!
//! Also takes what environment variables carry: one line with `\n` for line ends, or base64 of the
//! whole text. What is not a key (certificates, EC PARAMETERS) is passed over, and named where
//! there is nothing else (`instead`); two keys in one text are refused rather than one being
//! chosen.

use super::{
    Instead, KeyError, PrivateKey, PublicKey,
    private::{Material, RsaMembers},
    uncompressed_point, unsupported,
};
use crate::algorithm::Curve;
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use pkcs1::{RsaPrivateKey, RsaPublicKey, UintRef};
use pkcs8::{
    PrivateKeyInfoRef, SubjectPublicKeyInfoRef,
    der::{
        Decode, Encode,
        asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef},
    },
    spki::AlgorithmIdentifierRef,
};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

fn malformed<E>(_: E) -> KeyError {
    KeyError::MalformedDer
}

enum Block {
    Private(PrivateKey),
    Public(PublicKey),
}

impl PrivateKey {
    /// Reads the one private key of a PEM text: PKCS#8, PKCS#1 or SEC1.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        match only_key(text)? {
            Block::Private(key) => Ok(key),
            Block::Public(_) => Err(KeyError::NotPrivate),
        }
    }

    /// Reads PKCS#8 DER, as [`PrivateKey::to_pkcs8_der`] wrote it.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        from_pkcs8_der(der)
    }

    /// PKCS#8 version 1 DER (RFC 5958), the form that is sealed at rest.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let (oid, parameters, inner) = match &self.0 {
            Material::Rsa(m) => (RSA_ENCRYPTION, Some(AnyRef::NULL), rsa_private_der(m)?),
            Material::Ec { curve, d, .. } => {
                let inner = sec1_der(*curve, d)?;
                let oid = ObjectIdentifier::new_unwrap(curve.oid());
                return encode_pkcs8(EC_PUBLIC_KEY, Some(AnyRef::from(&oid)), &inner);
            }
            Material::Ed25519 { d, .. } => {
                let seed = OctetStringRef::new(d).map_err(malformed)?;
                (ED25519, None, Zeroizing::new(seed.to_der().map_err(malformed)?))
            }
        };
        encode_pkcs8(oid, parameters, &inner)
    }

    /// `-----BEGIN PRIVATE KEY-----`: the same in PEM (RFC 5958 §5), with `\n` line ends.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let der = self.to_pkcs8_der()?;
        let config = ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF);
        Ok(Zeroizing::new(::pem::encode_config(&::pem::Pem::new("PRIVATE KEY", der.as_slice()), config)))
    }
}

impl PublicKey {
    /// Reads the one key of a PEM text: SPKI or PKCS#1 public, or the public half of a private key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        match only_key(text)? {
            Block::Private(key) => Ok(key.public_key()),
            Block::Public(key) => Ok(key),
        }
    }

    /// Reads a SubjectPublicKeyInfo in DER: what `to_spki_der` writes.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        from_spki_der(der)
    }

    /// `-----BEGIN PUBLIC KEY-----`: SPKI (RFC 5280 §4.1.2.7), with `\n` line ends.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let der = self.to_spki_der()?;
        let config = ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF);
        Ok(::pem::encode_config(&::pem::Pem::new("PUBLIC KEY", der), config))
    }

    /// The SubjectPublicKeyInfo DER of the key.
    pub fn to_spki_der(&self) -> Result<Vec<u8>, KeyError> {
        let curve_oid;
        let (oid, parameters, bits) = match self {
            Self::Rsa { n, e } => (RSA_ENCRYPTION, Some(AnyRef::NULL), rsa_public_der(n, e)?),
            Self::Ec { curve, x, y } => {
                curve_oid = ObjectIdentifier::new_unwrap(curve.oid());
                (EC_PUBLIC_KEY, Some(AnyRef::from(&curve_oid)), uncompressed_point(x, y))
            }
            Self::Ed25519 { x } => (ED25519, None, x.clone()),
        };
        SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid, parameters },
            subject_public_key: BitStringRef::from_bytes(&bits).map_err(malformed)?,
        }
        .to_der()
        .map_err(malformed)
    }
}

/// Finds the one key in a PEM text: as it is, in one line with `\n` for line ends, or as base64 of
/// the whole text, which is how people bring one through an environment that keeps no line ends.
fn only_key(text: &str) -> Result<Block, KeyError> {
    let unescaped = unpacked_pem(text);
    let none = || KeyError::NoKeyFound(Instead::of(&unescaped));
    let blocks = ::pem::parse_many(unescaped.as_bytes()).map_err(|_| none())?;
    let mut found = None;
    for block in &blocks {
        let der = block.contents();
        let key = match block.tag() {
            "PRIVATE KEY" => Block::Private(from_pkcs8_der(der)?),
            "RSA PRIVATE KEY" if block.headers().get("DEK-Info").is_none() => {
                Block::Private(from_pkcs1_der(der)?)
            }
            "EC PRIVATE KEY" if block.headers().get("DEK-Info").is_none() => {
                Block::Private(from_sec1_der(der, None)?)
            }
            "ENCRYPTED PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
                return Err(KeyError::Encrypted);
            }
            "PUBLIC KEY" => Block::Public(from_spki_der(der)?),
            "RSA PUBLIC KEY" => Block::Public(from_pkcs1_public_der(der)?),
            _ => continue,
        };
        if found.replace(key).is_some() {
            return Err(KeyError::MoreThanOneKey);
        }
    }
    found.ok_or_else(none)
}

/// A PEM text with its line ends: as it is, of one line with `\n` for line ends, or of base64 of
/// the whole text. Keys are read so ([`PublicKey::from_pem`]); this is for what has other things
/// than keys in it.
pub fn unpacked_pem(text: &str) -> Zeroizing<String> {
    let decoded = whole_as_base64(text);
    unescape(decoded.as_deref().map_or(text, String::as_str))
}

/// The text that `text` is the base64 of, if that is PEM. Wrapped lines, padding or none, either
/// alphabet.
fn whole_as_base64(text: &str) -> Option<Zeroizing<String>> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\u{feff}'));
    // `-----BEGIN ` in base64, whatever stands behind it.
    if !text.starts_with("LS0tLS1CRUdJTi") {
        return None;
    }
    let mut packed = Zeroizing::new(String::with_capacity(text.len()));
    packed.extend(text.chars().filter(|c| !c.is_whitespace()).map(|c| match c {
        '-' => '+',
        '_' => '/',
        c => c,
    }));
    let bytes = GeneralPurpose::new(&alphabet::STANDARD, CONFIG)
        .decode(packed.as_bytes())
        .ok()
        .map(Zeroizing::new)?;
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// Line ends where the text has them escaped, however often and with whatever behind: `\n`, `\\n`,
/// and a `\` at the end of a line. Blanks that only look like one, and marks that look like
/// nothing, are what they look like. One buffer, as long as it can get, so that no copy of a
/// private key stays behind unwiped.
fn unescape(text: &str) -> Zeroizing<String> {
    let mut unescaped = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                while rest.next_if_eq(&'\\').is_some() {}
                if rest.next_if_eq(&'n').is_some() {
                    unescaped.push('\n');
                } else if rest.next_if(|c| matches!(c, '\r' | '\n')).is_some() {
                    // The end of a line that goes on.
                    let _ = rest.next_if_eq(&'\n');
                } else if rest.next_if_eq(&'r').is_none() && rest.peek().is_some() {
                    unescaped.push('\\');
                }
            }
            '\u{a0}' => unescaped.push(' '),
            '\u{feff}' | '\u{200b}' => {}
            c => unescaped.push(c),
        }
    }
    unescaped
}

pub(super) fn from_pkcs8_der(der: &[u8]) -> Result<PrivateKey, KeyError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(malformed)?;
    let inner = info.private_key.as_bytes();
    match info.algorithm.oid {
        RSA_ENCRYPTION => from_pkcs1_der(inner),
        EC_PUBLIC_KEY => {
            let oid = info.algorithm.parameters_oid().map_err(malformed)?;
            from_sec1_der(inner, Some(oid))
        }
        ED25519 => {
            let seed = <&OctetStringRef>::from_der(inner).map_err(malformed)?;
            let public = info.public_key.as_ref().and_then(BitStringRef::as_bytes);
            PrivateKey::from_ed25519(seed.as_bytes(), public)
        }
        other => Err(unsupported::of_oid(&other.to_string())),
    }
}

fn from_pkcs1_der(der: &[u8]) -> Result<PrivateKey, KeyError> {
    let key = RsaPrivateKey::<UintRef<'_>>::from_der(der).map_err(malformed)?;
    if key.other_prime_infos.is_some() {
        return Err(unsupported::many_primes());
    }
    let secret = |v: &UintRef<'_>| Zeroizing::new(v.as_bytes().to_vec());
    let crt = [&key.prime1, &key.prime2, &key.exponent1, &key.exponent2, &key.coefficient].map(secret);
    PrivateKey::from_rsa(
        key.modulus.as_bytes(),
        key.public_exponent.as_bytes(),
        secret(&key.private_exponent),
        Some(crt),
    )
}

fn from_sec1_der(der: &[u8], outer: Option<ObjectIdentifier>) -> Result<PrivateKey, KeyError> {
    let key = EcPrivateKey::from_der(der).map_err(malformed)?;
    let inner = key.parameters.and_then(|p| p.named_curve());
    let oid = match (outer, inner) {
        (Some(a), Some(b)) if a != b => return Err(KeyError::Inconsistent),
        (a, b) => a.or(b).ok_or(KeyError::UnsupportedKind { found: None })?,
    };
    let curve = named_curve(oid)?;
    let point = key.public_key.map(|point| split_point(curve, point)).transpose()?;
    PrivateKey::from_ec(curve, key.private_key, point)
}

fn named_curve(oid: ObjectIdentifier) -> Result<Curve, KeyError> {
    let oid = oid.to_string();
    Curve::from_oid(&oid).ok_or_else(|| unsupported::of_oid(&oid))
}

fn split_point(curve: Curve, point: &[u8]) -> Result<(&[u8], &[u8]), KeyError> {
    let width = curve.coordinate_bytes();
    match point.split_first() {
        Some((4, xy)) if xy.len() == 2 * width => Ok(xy.split_at(width)),
        Some((2 | 3, x)) if x.len() == width => Err(KeyError::CompressedPoint),
        _ => Err(KeyError::Inconsistent),
    }
}

fn from_spki_der(der: &[u8]) -> Result<PublicKey, KeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(malformed)?;
    let bits = info.subject_public_key.as_bytes().ok_or(KeyError::MalformedDer)?;
    match info.algorithm.oid {
        RSA_ENCRYPTION => from_pkcs1_public_der(bits),
        EC_PUBLIC_KEY => {
            let oid = info.algorithm.parameters_oid().map_err(malformed)?;
            let curve = named_curve(oid)?;
            let (x, y) = split_point(curve, bits)?;
            Ok(PublicKey::Ec { curve, x: x.to_vec(), y: y.to_vec() })
        }
        ED25519 if bits.len() == 32 => Ok(PublicKey::Ed25519 { x: bits.to_vec() }),
        ED25519 => Err(KeyError::Inconsistent),
        other => Err(unsupported::of_oid(&other.to_string())),
    }
}

fn from_pkcs1_public_der(der: &[u8]) -> Result<PublicKey, KeyError> {
    let key = RsaPublicKey::<UintRef<'_>>::from_der(der).map_err(malformed)?;
    PublicKey::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
}

pub(super) fn rsa_public_der(n: &[u8], e: &[u8]) -> Result<Vec<u8>, KeyError> {
    RsaPublicKey {
        modulus: UintRef::new(n).map_err(malformed)?,
        public_exponent: UintRef::new(e).map_err(malformed)?,
    }
    .to_der()
    .map_err(malformed)
}

fn rsa_private_der(m: &RsaMembers) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let uint = |bytes| UintRef::new(bytes).map_err(malformed);
    let der = RsaPrivateKey {
        modulus: uint(&m.n)?,
        public_exponent: uint(&m.e)?,
        private_exponent: uint(&m.d)?,
        prime1: uint(&m.p)?,
        prime2: uint(&m.q)?,
        exponent1: uint(&m.dp)?,
        exponent2: uint(&m.dq)?,
        coefficient: uint(&m.qi)?,
        other_prime_infos: None,
    }
    .to_der()
    .map_err(malformed)?;
    Ok(Zeroizing::new(der))
}

/// SEC1 `ECPrivateKey` with the curve and without the point, which aws-lc derives.
pub(super) fn sec1_der(curve: Curve, d: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let oid = ObjectIdentifier::new_unwrap(curve.oid());
    let der =
        EcPrivateKey { private_key: d, parameters: Some(EcParameters::NamedCurve(oid)), public_key: None }
            .to_der()
            .map_err(malformed)?;
    Ok(Zeroizing::new(der))
}

fn encode_pkcs8(
    oid: ObjectIdentifier,
    parameters: Option<AnyRef<'_>>,
    inner: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let inner = OctetStringRef::new(inner).map_err(malformed)?;
    let info = PrivateKeyInfoRef::new(AlgorithmIdentifierRef { oid, parameters }, inner);
    Ok(Zeroizing::new(info.to_der().map_err(malformed)?))
}
