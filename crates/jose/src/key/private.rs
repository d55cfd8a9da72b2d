//! Private key material: made, loaded, and handed on as PKCS#8 for sealing. Wiped when dropped,
//! never printed.

use super::{KeyError, MIN_RSA_BITS, PublicKey, pem, rsa::recover_crt, significant_bits, strip_zeros, weak};
use crate::algorithm::{Algorithm, Curve, KeyKind};
use aws_lc_rs::{
    encoding::AsBigEndian,
    rsa::{KeyPair as RsaKeyPair, KeyPairComponents, KeySize as LcKeySize, PublicKeyComponents},
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
        ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    },
};
use std::fmt;
use zeroize::Zeroizing;

type SecretBytes = Zeroizing<Vec<u8>>;

/// The modulus length of an RSA key to be made; other kinds of key have one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeySize {
    /// 2048 bits.
    #[default]
    Rsa2048,
    /// 3072 bits.
    Rsa3072,
    /// 4096 bits.
    Rsa4096,
}

/// An asymmetric private key whose parts were proven to belong together.
pub struct PrivateKey(pub(crate) Material);

pub(crate) enum Material {
    Rsa(Box<RsaMembers>),
    Ec { curve: Curve, x: Vec<u8>, y: Vec<u8>, d: SecretBytes },
    Ed25519 { x: Vec<u8>, d: SecretBytes },
}

pub(crate) struct RsaMembers {
    pub(crate) n: Vec<u8>,
    pub(crate) e: Vec<u8>,
    pub(crate) d: SecretBytes,
    pub(crate) p: SecretBytes,
    pub(crate) q: SecretBytes,
    pub(crate) dp: SecretBytes,
    pub(crate) dq: SecretBytes,
    pub(crate) qi: SecretBytes,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.kind()).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Makes a new key for `algorithm`; `size` matters to RSA alone. Fails for a shared-secret
    /// algorithm.
    pub fn generate(algorithm: Algorithm, size: KeySize) -> Result<Self, KeyError> {
        match algorithm.key_kind() {
            KeyKind::Rsa => {
                let size = match size {
                    KeySize::Rsa2048 => LcKeySize::Rsa2048,
                    KeySize::Rsa3072 => LcKeySize::Rsa3072,
                    KeySize::Rsa4096 => LcKeySize::Rsa4096,
                };
                let pair = RsaKeyPair::generate(size).map_err(|_| KeyError::Crypto)?;
                let der = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair)
                    .map_err(|_| KeyError::Crypto)?;
                pem::from_pkcs8_der(der.as_ref())
            }
            KeyKind::Ec(curve) => {
                let pair = EcdsaKeyPair::generate(signing(curve)).map_err(|_| KeyError::Crypto)?;
                Self::from_ec_pair(curve, &pair)
            }
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Crypto)?;
                Self::from_ed25519_pair(&pair)
            }
            KeyKind::Oct { .. } => Err(KeyError::AlgorithmMismatch { algorithm }),
        }
    }

    /// The kind of key this is.
    pub fn kind(&self) -> KeyKind {
        match &self.0 {
            Material::Rsa(_) => KeyKind::Rsa,
            Material::Ec { curve, .. } => KeyKind::Ec(*curve),
            Material::Ed25519 { .. } => KeyKind::Ed25519,
        }
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        match &self.0 {
            Material::Rsa(m) => PublicKey::Rsa { n: m.n.clone(), e: m.e.clone() },
            Material::Ec { curve, x, y, .. } => PublicKey::Ec { curve: *curve, x: x.clone(), y: y.clone() },
            Material::Ed25519 { x, .. } => PublicKey::Ed25519 { x: x.clone() },
        }
    }

    /// An RSA key from its members; the CRT members are recovered when they are not given.
    pub(super) fn from_rsa(
        n: &[u8],
        e: &[u8],
        d: SecretBytes,
        crt: Option<[SecretBytes; 5]>,
    ) -> Result<Self, KeyError> {
        let PublicKey::Rsa { n, e } = PublicKey::rsa(n, e)? else { return Err(KeyError::Inconsistent) };
        let bits = significant_bits(&n);
        if bits < MIN_RSA_BITS {
            return Err(KeyError::RsaTooSmall { bits });
        }
        let [p, q, dp, dq, qi] = match crt {
            Some(given) => given,
            None => {
                let crt = recover_crt(&n, &e, &d)?;
                [crt.p, crt.q, crt.dp, crt.dq, crt.qi]
            }
        };
        let key = Self(Material::Rsa(Box::new(RsaMembers { n, e, d, p, q, dp, dq, qi })));
        key.rsa_pair()?;
        weak::check(&key.public_key())?;
        Ok(key)
    }

    /// An EC key from its scalar, and its point where one was given (it must then be the right
    /// one).
    pub(super) fn from_ec(curve: Curve, d: &[u8], point: Option<(&[u8], &[u8])>) -> Result<Self, KeyError> {
        let width = curve.coordinate_bytes();
        let d = strip_zeros(d);
        let pad = width.checked_sub(d.len()).ok_or(KeyError::Inconsistent)?;
        let d = Zeroizing::new([vec![0; pad].as_slice(), d].concat());
        let der = pem::sec1_der(curve, &d)?;
        let pair =
            EcdsaKeyPair::from_private_key_der(signing(curve), &der).map_err(|_| KeyError::Inconsistent)?;
        let key = Self::from_ec_pair(curve, &pair)?;
        match (&key.0, point) {
            (Material::Ec { x, y, .. }, Some((given_x, given_y))) if x != given_x || y != given_y => {
                Err(KeyError::Inconsistent)
            }
            _ => Ok(key),
        }
    }

    fn from_ec_pair(curve: Curve, pair: &EcdsaKeyPair) -> Result<Self, KeyError> {
        let width = curve.coordinate_bytes();
        let point = pair.public_key().as_ref();
        let (x, y) = point.get(1..).and_then(|xy| xy.split_at_checked(width)).ok_or(KeyError::Crypto)?;
        let d = pair.private_key().as_be_bytes().map_err(|_| KeyError::Crypto)?;
        let d = Zeroizing::new(d.as_ref().to_vec());
        Ok(Self(Material::Ec { curve, x: x.to_vec(), y: y.to_vec(), d }))
    }

    /// An Ed25519 key from its seed, and its public key where one was given (it must then be the
    /// right one).
    pub(super) fn from_ed25519(seed: &[u8], public: Option<&[u8]>) -> Result<Self, KeyError> {
        let pair = match public {
            Some(public) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
            None => Ed25519KeyPair::from_seed_unchecked(seed),
        }
        .map_err(|_| KeyError::Inconsistent)?;
        Self::from_ed25519_pair(&pair)
    }

    fn from_ed25519_pair(pair: &Ed25519KeyPair) -> Result<Self, KeyError> {
        let seed = pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(|_| KeyError::Crypto)?;
        let d = Zeroizing::new(seed.as_ref().to_vec());
        Ok(Self(Material::Ed25519 { x: pair.public_key().as_ref().to_vec(), d }))
    }

    pub(crate) fn rsa_pair(&self) -> Result<RsaKeyPair, KeyError> {
        let Material::Rsa(m) = &self.0 else { return Err(KeyError::Inconsistent) };
        RsaKeyPair::from_components(&KeyPairComponents::<&[u8]> {
            public_key: PublicKeyComponents { n: m.n.as_slice(), e: m.e.as_slice() },
            d: m.d.as_slice(),
            p: m.p.as_slice(),
            q: m.q.as_slice(),
            dP: m.dp.as_slice(),
            dQ: m.dq.as_slice(),
            qInv: m.qi.as_slice(),
        })
        .map_err(|_| KeyError::Inconsistent)
    }
}

fn signing(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
    }
}

/// A shared secret for HS256, HS384 or HS512 (JWK `kty` `oct`).
pub struct SymmetricKey(pub(crate) SecretBytes);

impl SymmetricKey {
    /// A secret as raw bytes. Its length is checked when it is bound to an algorithm.
    pub fn new(secret: SecretBytes) -> Self {
        Self(secret)
    }

    /// Makes a secret as long as the algorithm's hash.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let KeyKind::Oct { min_bytes } = algorithm.key_kind() else {
            return Err(KeyError::AlgorithmMismatch { algorithm });
        };
        let mut secret = Zeroizing::new(vec![0; min_bytes]);
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| KeyError::Crypto)?;
        Ok(Self(secret))
    }

    /// The bytes of the secret, for sealing.
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn hmac_key(&self, algorithm: Algorithm) -> Result<aws_lc_rs::hmac::Key, KeyError> {
        use crate::algorithm::Primitive;
        let (KeyKind::Oct { min_bytes }, Primitive::Hmac(hmac)) =
            (algorithm.key_kind(), algorithm.primitive())
        else {
            return Err(KeyError::AlgorithmMismatch { algorithm });
        };
        if self.0.len() < min_bytes {
            return Err(KeyError::SecretTooShort { algorithm, bytes: self.0.len(), min: min_bytes });
        }
        Ok(aws_lc_rs::hmac::Key::new(*hmac, &self.0))
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SymmetricKey").finish_non_exhaustive()
    }
}

/// Proves a public key usable: an RSA modulus within limits, a point on its curve, nothing weak.
pub(crate) fn parse_public(
    key: &PublicKey,
    algorithm: &'static dyn signature::VerificationAlgorithm,
) -> Result<signature::ParsedPublicKey, KeyError> {
    // The fields of a `PublicKey` are public, so it need not have come through a JWK or PEM text.
    if let PublicKey::Rsa { n, e } = key {
        PublicKey::rsa(n, e)?;
    }
    weak::check(key)?;
    signature::ParsedPublicKey::new(algorithm, key.to_crypto_bytes()?).map_err(|_| KeyError::Inconsistent)
}
