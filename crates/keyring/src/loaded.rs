//! A keyring opened for use: every key unsealed and parsed once, as an immutable snapshot that many
//! requests share.

use crate::{
    Certificate, KeyOrigin, KeyRecord, KeyService, KeyState, Keyring, KeyringError, LocalSigner, PrivateHalf,
    RemoteSigner, RingName, Signer, material::context, sealing::Opening,
};
use countersign_jose::{
    Algorithm, KeyError, KeyKind, PrivateKey, PublicJwk, PublicKey, SigningKey, SymmetricKey,
};
use countersign_store::Version;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// All rings, ready to sign and to be published.
#[derive(Debug, Clone, Default)]
pub struct LoadedKeyring {
    pub(crate) version: Option<Version>,
    pub(crate) rings: BTreeMap<RingName, LoadedRing>,
    pub(crate) records: Arc<Keyring>,
}

/// One ring, ready to sign and to be published.
#[derive(Debug, Clone, Default)]
pub struct LoadedRing {
    pub(crate) active: Option<Arc<dyn Signer>>,
    pub(crate) public: Vec<PublishedKey>,
}

/// A key as verifiers are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    /// The public key.
    pub jwk: PublicJwk,
    /// Its certificate, if it has one: keys from the environment have none, since each instance
    /// would make another.
    pub certificate: Option<Certificate>,
}

impl LoadedRing {
    /// The key that signs, if the ring has one.
    pub fn active(&self) -> Option<&Arc<dyn Signer>> {
        self.active.as_ref()
    }

    /// The public keys verifiers are shown, oldest first. Shared secrets are never among them.
    pub fn public_keys(&self) -> &[PublishedKey] {
        &self.public
    }
}

impl LoadedKeyring {
    /// Opens every key of a keyring but those that are `marked` as revoked. One that does not open
    /// fails the whole: half a keyring signs with the wrong key. Of a key that a service keeps
    /// nothing is asked.
    pub(crate) fn open(
        keyring: &Keyring,
        version: Option<Version>,
        marked: &BTreeSet<String>,
        opening: &Opening,
        service: Option<&Arc<dyn KeyService>>,
    ) -> Result<Self, KeyringError> {
        let mut rings = BTreeMap::new();
        for (name, ring) in keyring.rings() {
            let mut loaded = LoadedRing::default();
            for record in ring.keys().iter().filter(|record| !marked.contains(&record.kid)) {
                let key = OpenedKey::open(name, record, opening, service)?;
                if let Some(public) = key.public_key().filter(|_| record.state.is_public()) {
                    let jwk = PublicJwk {
                        kid: record.kid.clone(),
                        algorithm: record.algorithm,
                        key: public.clone(),
                    };
                    loaded.public.push(PublishedKey { jwk, certificate: record.certificate.clone() });
                }
                if record.state == KeyState::Active {
                    loaded.active = Some(key.into_signer(&record.kid));
                }
            }
            rings.insert(name.clone(), loaded);
        }
        Ok(Self { version, rings, records: Arc::new(keyring.clone()) })
    }

    /// One ring.
    pub fn ring(&self, name: &RingName) -> Option<&LoadedRing> {
        self.rings.get(name)
    }

    /// The rings by name.
    pub fn rings(&self) -> impl Iterator<Item = (&RingName, &LoadedRing)> {
        self.rings.iter()
    }

    /// The document it was opened from: states and times of the keys.
    pub fn records(&self) -> &Keyring {
        &self.records
    }

    /// Puts a key that is not in the store (one given in the environment) in front as a ring of its
    /// own.
    #[must_use]
    pub fn with_ring(mut self, name: RingName, signer: Arc<dyn Signer>) -> Self {
        let public = signer.public_key().map(|key| PublishedKey {
            jwk: PublicJwk { kid: signer.kid().to_owned(), algorithm: signer.algorithm(), key: key.clone() },
            certificate: None,
        });
        self.rings.insert(name, LoadedRing { active: Some(signer), public: public.into_iter().collect() });
        self
    }

    /// Without the keys that are marked as revoked. `None` if it has none of them.
    pub(crate) fn without(&self, marked: &BTreeSet<String>) -> Option<Self> {
        let mut next = self.clone();
        let mut changed = false;
        for ring in next.rings.values_mut() {
            let before = ring.public.len();
            ring.public.retain(|key| !marked.contains(&key.jwk.kid));
            changed |= ring.public.len() < before;
            if ring.active.as_ref().is_some_and(|signer| marked.contains(signer.kid())) {
                ring.active = None;
                changed = true;
            }
        }
        changed.then_some(next)
    }

    /// The same keys with what else the document says.
    pub(crate) fn with_records(&self, keyring: Keyring, version: Option<Version>) -> Self {
        Self { version, rings: self.rings.clone(), records: Arc::new(keyring) }
    }

    /// Which state of the stored document this is; `None` when nothing is stored.
    pub fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }
}

/// A key that can sign.
pub(crate) enum OpenedKey {
    Local(SigningKey),
    Remote(RemoteSigner),
}

impl OpenedKey {
    /// Opens one key, and checks that what is shown of it is its own.
    pub(crate) fn open(
        ring: &RingName,
        record: &KeyRecord,
        opening: &Opening,
        service: Option<&Arc<dyn KeyService>>,
    ) -> Result<Self, KeyringError> {
        let corrupt = |why: KeyError| KeyringError::Corrupt(format!("key {:?}: {why}", record.kid));
        let key = match &record.private {
            PrivateHalf::Sealed(sealed) => {
                let secret = opening
                    .open(sealed, &context(ring, &record.kid, record.algorithm))
                    .map_err(|why| KeyringError::Seal { kid: record.kid.clone(), why })?;
                let algorithm: Algorithm = record.algorithm;
                let key = match algorithm.key_kind() {
                    KeyKind::Oct { .. } => SigningKey::symmetric(&SymmetricKey::new(secret), algorithm),
                    KeyKind::Rsa | KeyKind::Ec(_) | KeyKind::Ed25519 => {
                        PrivateKey::from_pkcs8_der(&secret).and_then(|key| SigningKey::new(&key, algorithm))
                    }
                };
                Self::Local(key.map_err(corrupt)?)
            }
            PrivateHalf::Remote(name) => {
                let (kid, name) = (record.kid.clone(), name.as_str().to_owned());
                let Some(service) = service else { return Err(KeyringError::NoService { kid, name }) };
                let public = record.public_key().ok_or_else(|| corrupt(KeyError::MissingMember("public")))?;
                let signer = RemoteSigner::new(kid, name, record.algorithm, public, Arc::clone(service));
                Self::Remote(signer.map_err(corrupt)?)
            }
        };
        // What is published must be what signs.
        if key.public_key().cloned() != record.public_key() {
            return Err(KeyringError::Corrupt(format!(
                "key {:?} does not match its public half",
                record.kid
            )));
        }
        let others = |c: &Certificate| !key.public_key().is_some_and(|key| c.certifies(key));
        if record.certificate.as_ref().is_some_and(others) {
            return Err(KeyringError::Corrupt(format!(
                "the certificate of key {:?} is not its own",
                record.kid
            )));
        }
        Ok(key)
    }

    fn public_key(&self) -> Option<&PublicKey> {
        match self {
            Self::Local(key) => key.public_key(),
            Self::Remote(signer) => signer.public_key(),
        }
    }

    fn into_signer(self, kid: &str) -> Arc<dyn Signer> {
        match self {
            Self::Local(key) => Arc::new(LocalSigner::new(kid.to_owned(), key)),
            Self::Remote(signer) => Arc::new(signer),
        }
    }

    /// A signature over bytes that are no token.
    pub(crate) async fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, KeyringError> {
        match self {
            Self::Local(key) => Ok(key.sign_bytes(message)?),
            Self::Remote(signer) => Ok(signer.sign_bytes(message).await?),
        }
    }
}

impl KeyOrigin {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Imported => "imported",
        }
    }
}
