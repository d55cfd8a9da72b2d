//! JWK, in and out: RFC 7517 with the key types of RFC 7518 §6 (RSA, EC, oct) and RFC 8037 (OKP
//! Ed25519).
//!
//! Reading takes public and private keys; writing has a type of its own without private members, so
//! a JWKS cannot leak one. `use`, `key_ops`, `alg`, `crv` and sizes are all checked, and unknown
//! members are passed over (§4).

use super::{KeyError, PrivateKey, PublicKey, SymmetricKey, check_kid, unsupported};
use crate::{
    Algorithm, SigningKey, VerifyingKey,
    algorithm::Curve,
    base64url,
    json::{DEFAULT_DEPTH, Object, WrongType, string},
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::collections::HashSet;
use zeroize::Zeroizing;

/// The most keys a set may hold.
pub const MAX_KEYS: usize = 500;

/// A JWK as it was read: public, private or a shared secret.
#[derive(Debug)]
pub struct Jwk {
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    key_ops: Option<Vec<String>>,
    /// Whether it has the members of a key pair, read or not.
    is_pair: bool,
    material: Material,
}

/// A key of a set that cannot be used, and the name it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its `kid`, if it has one that can be read.
    pub kid: Option<String>,
    /// Why.
    pub why: KeyError,
}

#[derive(Debug)]
enum Material {
    Public(PublicKey),
    Private(PrivateKey),
    Secret(SymmetricKey),
}

/// Which members of a JWK are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Members {
    All,
    Public,
}

impl Jwk {
    /// Reads one JWK.
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        Self::from_object(&Object::parse(json, DEFAULT_DEPTH)?)
    }

    /// Reads one JWK from an object that was parsed already.
    pub fn from_object(jwk: &Object<'_>) -> Result<Self, KeyError> {
        Self::read(jwk, Members::All)
    }

    fn read(jwk: &Object<'_>, members: Members) -> Result<Self, KeyError> {
        if jwk.string("use")?.is_some_and(|u| u != "sig") {
            return Err(KeyError::NotForSignatures);
        }
        let kid = jwk.string("kid")?.map(|kid| check_kid(&kid).map(|()| kid.into_owned())).transpose()?;
        let algorithm = jwk.string("alg")?.map(|alg| alg.parse()).transpose()?;
        let material = match jwk.string("kty")?.ok_or(KeyError::MissingMember("kty"))?.as_ref() {
            "RSA" => rsa(jwk, members)?,
            "EC" => ec(jwk, members)?,
            "OKP" => okp(jwk, members)?,
            "oct" => Material::Secret(SymmetricKey::new(required(jwk, "k")?)),
            other => return Err(unsupported::of_name(other)),
        };
        let is_pair = jwk.get("d").is_some();
        Ok(Self { kid, algorithm, key_ops: key_ops(jwk)?, is_pair, material })
    }

    /// Reads a JWK Set, or a single JWK as a set of one. A key that cannot be read is an error of
    /// its own, at its place, so that one bad key does not take the good ones with it. More than
    /// [`MAX_KEYS`] are refused unread.
    pub fn parse_set(json: &[u8]) -> Result<Vec<Result<Self, KeyError>>, KeyError> {
        let keys = Self::read_set(json, Members::All)?;
        Ok(keys.into_iter().map(|key| key.map_err(|skipped| skipped.why)).collect())
    }

    /// The same for verifying: private members of a key pair are not looked at, so checking them
    /// costs a verifier nothing. A shared secret has no public half and is read; code that takes
    /// keys from elsewhere refuses it.
    pub(crate) fn parse_public_set(json: &[u8]) -> Result<Vec<Result<Self, Skipped>>, KeyError> {
        Self::read_set(json, Members::Public)
    }

    fn read_set(json: &[u8], members: Members) -> Result<Vec<Result<Self, Skipped>>, KeyError> {
        let named = |jwk: &Object<'_>| {
            let kid = || jwk.string("kid").ok().flatten().filter(|kid| check_kid(kid).is_ok());
            Self::read(jwk, members).map_err(|why| Skipped { kid: kid().map(|kid| kid.into_owned()), why })
        };
        let set = Object::parse(json, DEFAULT_DEPTH)?;
        let Some(keys) = set.get("keys") else {
            return Ok(vec![named(&set)]);
        };
        let keys: Vec<&serde_json::value::RawValue> = serde_json::from_str(keys.get())
            .map_err(|_| KeyError::WrongType(WrongType { name: "keys", expected: "an array of JWKs" }))?;
        if keys.len() > MAX_KEYS {
            return Err(KeyError::TooManyKeys);
        }
        let read = |key: &serde_json::value::RawValue| {
            let jwk = Object::parse(key.get().as_bytes(), DEFAULT_DEPTH);
            named(&jwk.map_err(|why| Skipped { kid: None, why: why.into() })?)
        };
        Ok(keys.into_iter().map(read).collect())
    }

    /// The key's name, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The algorithm the JWK names, if it names one.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// The public key; `None` for a shared secret.
    pub fn public_key(&self) -> Option<PublicKey> {
        match &self.material {
            Material::Public(key) => Some(key.clone()),
            Material::Private(key) => Some(key.public_key()),
            Material::Secret(_) => None,
        }
    }

    /// The private key, when this JWK is one.
    pub fn into_private_key(self) -> Result<PrivateKey, KeyError> {
        match self.material {
            Material::Private(key) => Ok(key),
            Material::Public(_) | Material::Secret(_) => Err(KeyError::NotPrivate),
        }
    }

    /// The shared secret, when this JWK is one.
    pub fn into_symmetric_key(self) -> Option<SymmetricKey> {
        match self.material {
            Material::Secret(key) => Some(key),
            Material::Public(_) | Material::Private(_) => None,
        }
    }

    /// Binds the key for verifying: to its own `alg`, else to `assumed`, else to the usual
    /// algorithm of its kind.
    pub fn verifying_key(&self, assumed: Option<Algorithm>) -> Result<VerifyingKey, KeyError> {
        self.verifying_key_for(assumed.as_slice())
    }

    /// The same with several assumptions, of which the first that fits counts.
    pub(crate) fn verifying_key_for(&self, assumed: &[Algorithm]) -> Result<VerifyingKey, KeyError> {
        // A private key's `key_ops` speak of signing; its public half verifies, whether or not the
        // rest was read.
        if !self.is_pair || matches!(self.material, Material::Secret(_)) {
            self.allows("verify")?;
        }
        let kid = self.kid.clone();
        match &self.material {
            Material::Public(key) => VerifyingKey::new(key, self.bind(Some(key), assumed)?, kid),
            Material::Private(key) => {
                let public = key.public_key();
                VerifyingKey::new(&public, self.bind(Some(&public), assumed)?, kid)
            }
            Material::Secret(key) => VerifyingKey::symmetric(key, self.bind(None, assumed)?, kid),
        }
    }

    /// Binds the key for signing, in the same way.
    pub fn signing_key(&self, assumed: Option<Algorithm>) -> Result<SigningKey, KeyError> {
        self.allows("sign")?;
        let assumed = assumed.as_slice();
        match &self.material {
            Material::Public(_) => Err(KeyError::NotPrivate),
            Material::Private(key) => SigningKey::new(key, self.bind(Some(&key.public_key()), assumed)?),
            Material::Secret(key) => SigningKey::symmetric(key, self.bind(None, assumed)?),
        }
    }

    /// Refuses a key whose `key_ops` say that it is not for signing (RFC 7517 §4.3).
    pub fn check_signs(&self) -> Result<(), KeyError> {
        self.allows("sign")
    }

    fn bind(&self, public: Option<&PublicKey>, assumed: &[Algorithm]) -> Result<Algorithm, KeyError> {
        // An assumption of another kind of key ("RS256" for a set that also holds EC keys) does not
        // concern this one.
        let fits = |a: &Algorithm| public.is_none_or(|key| key.kind() == a.key_kind());
        let usual = || public.and_then(|key| Algorithm::default_for(key.kind()));
        let assumed = || assumed.iter().copied().find(fits);
        self.algorithm.or_else(assumed).or_else(usual).ok_or(KeyError::NoAlgorithm)
    }

    fn allows(&self, operation: &'static str) -> Result<(), KeyError> {
        match &self.key_ops {
            Some(ops) if !ops.iter().any(|op| op == operation) => {
                Err(KeyError::OperationNotAllowed(operation))
            }
            _ => Ok(()),
        }
    }
}

fn key_ops(jwk: &Object<'_>) -> Result<Option<Vec<String>>, KeyError> {
    let wrong = KeyError::WrongType(WrongType { name: "key_ops", expected: "an array of strings" });
    let Some(raw) = jwk.get("key_ops") else { return Ok(None) };
    let ops: Vec<String> = serde_json::from_str(raw.get()).map_err(|_| wrong)?;
    // RFC 7517 §4.3: duplicate values must not be present.
    let mut seen = HashSet::new();
    if ops.iter().all(|op| seen.insert(op)) {
        Ok(Some(ops))
    } else {
        Err(KeyError::MalformedMember("key_ops"))
    }
}

fn rsa(jwk: &Object<'_>, members: Members) -> Result<Material, KeyError> {
    let (n, e) = (required(jwk, "n")?, required(jwk, "e")?);
    let Some(d) = (if members == Members::All { optional(jwk, "d")? } else { None }) else {
        return PublicKey::rsa(&n, &e).map(Material::Public);
    };
    if jwk.get("oth").is_some() {
        return Err(unsupported::many_primes());
    }
    // RFC 7518 §6.3.2: all of the CRT members or none of them.
    let names = ["p", "q", "dp", "dq", "qi"];
    let crt = if names.iter().any(|name| jwk.get(name).is_some()) {
        let [p, q, dp, dq, qi] = names.map(|name| required(jwk, name));
        Some([p?, q?, dp?, dq?, qi?])
    } else {
        None
    };
    PrivateKey::from_rsa(&n, &e, d, crt).map(Material::Private)
}

fn ec(jwk: &Object<'_>, members: Members) -> Result<Material, KeyError> {
    let crv = jwk.string("crv")?.ok_or(KeyError::MissingMember("crv"))?;
    let curve = Curve::from_name(&crv).ok_or_else(|| unsupported::of_name(&crv))?;
    let (x, y) = (sized(jwk, "x", curve.coordinate_bytes())?, sized(jwk, "y", curve.coordinate_bytes())?);
    if members == Members::All && jwk.get("d").is_some() {
        let d = sized(jwk, "d", curve.coordinate_bytes())?;
        return PrivateKey::from_ec(curve, &d, Some((&x, &y))).map(Material::Private);
    }
    Ok(Material::Public(PublicKey::Ec { curve, x: x.to_vec(), y: y.to_vec() }))
}

fn okp(jwk: &Object<'_>, members: Members) -> Result<Material, KeyError> {
    let crv = jwk.string("crv")?.ok_or(KeyError::MissingMember("crv"))?;
    if crv != "Ed25519" {
        return Err(unsupported::of_name(&crv));
    }
    let x = sized(jwk, "x", 32)?;
    if members == Members::All && jwk.get("d").is_some() {
        let d = sized(jwk, "d", 32)?;
        return PrivateKey::from_ed25519(&d, Some(&x)).map(Material::Private);
    }
    Ok(Material::Public(PublicKey::Ed25519 { x: x.to_vec() }))
}

fn optional(jwk: &Object<'_>, name: &'static str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let Some(raw) = jwk.get(name) else { return Ok(None) };
    let text = string(raw).ok_or(WrongType { name, expected: "a string" })?;
    let bytes = base64url::decode(&text).map_err(|why| KeyError::NotBase64Url { name, why })?;
    if bytes.is_empty() {
        return Err(KeyError::MalformedMember(name));
    }
    Ok(Some(Zeroizing::new(bytes)))
}

fn required(jwk: &Object<'_>, name: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    optional(jwk, name)?.ok_or(KeyError::MissingMember(name))
}

fn sized(jwk: &Object<'_>, name: &'static str, bytes: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    required(jwk, name)
        .and_then(|v| if v.len() == bytes { Ok(v) } else { Err(KeyError::MalformedMember(name)) })
}

/// A public signature key as it is published: `kty`, `use`, `alg`, `kid` and the public members,
/// nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicJwk {
    /// The key's name.
    pub kid: String,
    /// The one algorithm it signs with.
    pub algorithm: Algorithm,
    /// The key.
    pub key: PublicKey,
}

impl Serialize for PublicJwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut jwk = serializer.serialize_struct("PublicJwk", 7)?;
        let kty = match &self.key {
            PublicKey::Rsa { .. } => "RSA",
            PublicKey::Ec { .. } => "EC",
            PublicKey::Ed25519 { .. } => "OKP",
        };
        jwk.serialize_field("kty", kty)?;
        jwk.serialize_field("use", "sig")?;
        jwk.serialize_field("alg", self.algorithm.name())?;
        jwk.serialize_field("kid", &self.kid)?;
        match &self.key {
            PublicKey::Rsa { n, e } => {
                jwk.serialize_field("n", &base64url::encode(n))?;
                jwk.serialize_field("e", &base64url::encode(e))?;
            }
            PublicKey::Ec { curve, x, y } => {
                jwk.serialize_field("crv", curve.name())?;
                jwk.serialize_field("x", &base64url::encode(x))?;
                jwk.serialize_field("y", &base64url::encode(y))?;
            }
            PublicKey::Ed25519 { x } => {
                jwk.serialize_field("crv", "Ed25519")?;
                jwk.serialize_field("x", &base64url::encode(x))?;
            }
        }
        jwk.end()
    }
}
