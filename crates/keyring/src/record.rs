//! What is stored: the keyring document, its rings, and one record per key.
//!
//! Serialised as JSON with a format number, so that an older program refuses a newer document instead of losing what
//! it does not know. A record holds the public key in clear and the private key sealed,
//! or the name of a key that never leaves its service, and never anything else.

use crate::{Certificate, SealedKey};
use countersign_jose::{Algorithm, Jwk, PublicJwk, PublicKey, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// The format this program reads and writes.
pub(crate) const FORMAT: u32 = 4;

/// All signing keys of an issuer and the state each is in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    pub(crate) format: u32,
    pub(crate) rings: BTreeMap<RingName, Ring>,
}

impl Default for Keyring {
    fn default() -> Self {
        Self { format: FORMAT, rings: BTreeMap::new() }
    }
}

impl Keyring {
    /// The rings by name.
    pub fn rings(&self) -> impl Iterator<Item = (&RingName, &Ring)> {
        self.rings.iter()
    }

    /// One ring.
    pub fn ring(&self, name: &RingName) -> Option<&Ring> {
        self.rings.get(name)
    }

    /// Finds a key in any ring. A `kid` names one key in the whole keyring.
    pub fn find(&self, kid: &str) -> Option<(&RingName, &KeyRecord)> {
        self.rings.iter().find_map(|(name, ring)| Some((name, ring.keys.iter().find(|key| key.kid == kid)?)))
    }
}

/// A named line of keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ring {
    pub(crate) keys: Vec<KeyRecord>,
}

impl Ring {
    /// The keys, oldest first.
    pub fn keys(&self) -> &[KeyRecord] {
        &self.keys
    }

    /// The key that signs.
    pub fn active(&self) -> Option<&KeyRecord> {
        self.keys.iter().find(|key| key.state == KeyState::Active)
    }
}

/// One key and what has happened to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The key's name in token headers and in the JWKS.
    pub kid: String,
    /// The one algorithm it signs with.
    pub algorithm: Algorithm,
    /// The state it is in.
    pub state: KeyState,
    /// Whether it was made here.
    pub origin: KeyOrigin,
    /// When it came into the keyring.
    pub created_at: Timestamp,
    /// When verifiers were first shown it, if they have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
    /// When it first signed, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// When it stopped signing, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// The public JWK; absent for a shared secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) public: Option<serde_json::Value>,
    /// Its certificate; absent for a shared secret, and in a document of format 1 or 2 until the keyring changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<Certificate>,
    /// The private key or shared secret.
    pub(crate) private: PrivateHalf,
}

/// Where the private half of a key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PrivateHalf {
    /// Here, sealed: the only form before format 4.
    Sealed(SealedKey),
    /// With a service that signs.
    Remote(RemoteName),
}

/// The name that AWS KMS has for a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteName {
    /// The ARN.
    kms: String,
}

impl PrivateHalf {
    pub(crate) fn remote(name: String) -> Self {
        Self::Remote(RemoteName { kms: name })
    }
}

impl RemoteName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.kms
    }
}

impl KeyRecord {
    /// The public key as it is published; `None` for a shared secret or an unreadable record.
    pub fn public_jwk(&self) -> Option<PublicJwk> {
        let json = serde_json::to_vec(self.public.as_ref()?).ok()?;
        let key = Jwk::parse(&json).ok()?.public_key()?;
        Some(PublicJwk { kid: self.kid.clone(), algorithm: self.algorithm, key })
    }

    /// The certificate of the public key, if it has one yet.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// The fingerprint of the sealing key it is under; `None` for a key that a service keeps.
    pub fn sealed_by(&self) -> Option<&str> {
        match &self.private {
            PrivateHalf::Sealed(sealed) => Some(sealed.sealed_by()),
            PrivateHalf::Remote(_) => None,
        }
    }

    /// The service's name for it, its ARN; `None` for a key that is kept here.
    pub fn remote_name(&self) -> Option<&str> {
        match &self.private {
            PrivateHalf::Sealed(_) => None,
            PrivateHalf::Remote(name) => Some(name.as_str()),
        }
    }

    /// The public key, as `public_jwk` gives it.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.public_jwk().map(|jwk| jwk.key)
    }
}

/// Where a key is in its life. Keys in `Published`, `Active` and `Retired` are in the JWKS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Made or brought in, and shown to nobody.
    Prepared,
    /// In the JWKS, not signing yet: verifiers are learning it.
    Published,
    /// In the JWKS and signing. Exactly one per ring.
    Active,
    /// In the JWKS, no longer signing: tokens it signed still live.
    Retired,
    /// Out of the JWKS before its time; never to sign or be shown again.
    Revoked,
}

impl KeyState {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }

    /// Whether verifiers are shown the key.
    pub const fn is_public(self) -> bool {
        match self {
            Self::Published | Self::Active | Self::Retired => true,
            Self::Prepared | Self::Revoked => false,
        }
    }
}

/// Where a key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyOrigin {
    /// Made here; its private half was never anywhere else.
    Generated,
    /// Brought in; others may have a copy.
    Imported,
}

/// The name of a ring: 1 to 64 lower-case letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RingName(String);

/// A text that is not a ring name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ring name is 1 to 64 lower-case letters, digits, `-` or `_`")]
pub struct RingNameError;

impl RingName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RingName {
    type Err = RingNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let valid = (1..=64).contains(&name.len()) && name.bytes().all(allowed);
        if valid { Ok(Self(name.to_owned())) } else { Err(RingNameError) }
    }
}

impl TryFrom<String> for RingName {
    type Error = RingNameError;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<RingName> for String {
    fn from(name: RingName) -> Self {
        name.0
    }
}

impl fmt::Display for RingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
