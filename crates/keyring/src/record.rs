//! The keyring as a value: its rings, one record per key, the revoked names, data keys and
//! observations.
//!
//! It is the content of the stored document, which is authenticated as a whole (`document`). A
//! record holds the public key in clear and the private key sealed, or the name of a key that never
//! leaves its service, and never anything else. A revoked key has no record: only its name stays,
//! so that it never comes back. What may happen to a keyring is in `lifecycle`.

use crate::{Certificate, Distribution, Observations, SealedKey, sealing::DataKeyRecord};
use countersign_jose::{Algorithm, Jwk, PublicJwk, PublicKey, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    time::Duration,
};

/// All signing keys of an issuer and the state each is in.
///
/// The default is the keyring of a store that has none: it has no id and sequence 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    /// 128 random bits, made with the first write.
    pub(crate) id: String,
    /// One more with every write.
    pub(crate) sequence: u64,
    /// The sequence of the last write that changed anything but observations.
    pub(crate) keys_sequence: u64,
    pub(crate) rings: BTreeMap<RingName, Ring>,
    /// Sealing keys that a service has encrypted, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) data_keys: Vec<DataKeyRecord>,
    /// Oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) revoked: Vec<RevokedKey>,
    pub(crate) observations: Observations,
    /// Keys whose disappearance an operator accepted by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) accepted_losses: BTreeSet<String>,
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

    /// Which keyring this is; empty when nothing is stored.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many times it was written.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The sequence of the last write that changed anything but observations.
    pub fn keys_sequence(&self) -> u64 {
        self.keys_sequence
    }

    /// Whether it is in a store.
    pub fn is_stored(&self) -> bool {
        self.sequence > 0
    }

    /// The revoked keys, oldest first.
    pub fn revoked(&self) -> &[RevokedKey] {
        &self.revoked
    }

    /// A revoked key.
    pub fn revocation(&self, kid: &str) -> Option<&RevokedKey> {
        self.revoked.iter().find(|key| key.kid == kid)
    }

    /// What was seen at the public address.
    pub fn observations(&self) -> &Observations {
        &self.observations
    }

    /// The sealing keys that are kept in it, each encrypted by a service, oldest first.
    pub fn data_keys(&self) -> &[DataKeyRecord] {
        &self.data_keys
    }

    /// Keys whose disappearance an operator accepted by name.
    pub fn accepted_losses(&self) -> impl Iterator<Item = &str> {
        self.accepted_losses.iter().map(String::as_str)
    }

    /// Whether both hold the same, observations aside.
    pub(crate) fn has_the_keys_of(&self, other: &Self) -> bool {
        self.id == other.id
            && self.rings == other.rings
            && self.data_keys == other.data_keys
            && self.revoked == other.revoked
            && self.accepted_losses == other.accepted_losses
    }

    /// Every record with the ring it is in.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&RingName, &KeyRecord)> {
        self.rings.iter().flat_map(|(name, ring)| ring.keys.iter().map(move |key| (name, key)))
    }

    /// The longest that a token lives which one of its keys has signed, with the skew of clocks:
    /// the maximum over the policies that were in force while it signed
    /// ([`KeyRecord::keep_after`]).
    pub fn longest_signed(&self) -> Duration {
        self.records().map(|(_, key)| key.keep_after).max().unwrap_or_default()
    }

    /// Finds a key in any ring; a revoked one is in none. A `kid` names one key in the whole
    /// keyring.
    pub fn find(&self, kid: &str) -> Option<(&RingName, &KeyRecord)> {
        self.records().find(|(_, key)| key.kid == kid)
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
    /// When verifiers were first shown it, if they have been; of a key that is given to them by
    /// hand, since when it could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
    /// When it first signed, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// When it began to sign the last time: later than `activated_at` if it had stopped in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_since: Option<Timestamp>,
    /// When it stopped signing, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
    /// How long after its last signature a verifier may still need it: the maximum, over the
    /// policies that were in force while it signed, of longest token, skew and signer lag together.
    /// In whole seconds.
    #[serde(default, with = "seconds", skip_serializing_if = "Duration::is_zero")]
    pub keep_after: Duration,
    /// Until when a token that it signed may live, once it has stopped signing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_until: Option<Timestamp>,
    /// The public JWK; absent for a shared secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) public: Option<serde_json::Value>,
    /// Its certificate; absent for a shared secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<Certificate>,
    /// The private key or shared secret.
    pub(crate) private: PrivateHalf,
}

/// Where the private half of a key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PrivateHalf {
    /// Here, sealed.
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

/// What is remembered of a revoked key: enough to refuse its name and to say what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedKey {
    /// Its name, which no key gets again.
    pub kid: String,
    /// When it was revoked.
    pub revoked_at: Timestamp,
    /// The ring it was in.
    pub ring: RingName,
    /// The algorithm it signed with.
    pub algorithm: Algorithm,
    /// Where it came from.
    pub origin: KeyOrigin,
    /// When it came into the keyring.
    pub created_at: Timestamp,
    /// When it first signed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// The service's name for it: revoking it here does not disable it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<RemoteName>,
}

impl RevokedKey {
    /// The service's name for it, its ARN; `None` for a key that was kept here.
    pub fn remote_name(&self) -> Option<&str> {
        self.remote.as_ref().map(RemoteName::as_str)
    }
}

/// Where a key is in its life. A revoked key is not in the keyring any more. Keys in `Published`,
/// `Active` and `Retired` are in the JWKS, or where keys are given by hand
/// ([`Distribution::ByHand`]), verifiers have them or are being given them.
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
}

impl KeyState {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }

    /// The word for it where keys come to verifiers so.
    pub const fn name_in(self, distribution: Distribution) -> &'static str {
        match (self, distribution) {
            (Self::Published, Distribution::ByHand) => "handed-out",
            (state, _) => state.name(),
        }
    }

    /// Whether verifiers are shown the key.
    pub const fn is_public(self) -> bool {
        match self {
            Self::Published | Self::Active | Self::Retired => true,
            Self::Prepared => false,
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

/// A duration as whole seconds.
mod seconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(duration.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
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
