//! The keyring in its store: read, opened, and changed by compare-and-set only.
//!
//! `ensure` makes the first key of a ring: two processes on one empty store make one key, because the loser's write
//! conflicts and it then finds the winner's. Before anything is written, what is there must open under the sealing
//! key at hand, so a wrong one can never add a second, unreadable half to a keyring.

use crate::{
    Activation, CertificateError, KeyOrigin, KeyState, Keyring, LifecycleError, LoadedKeyring, LocalSigner,
    NewKey, RingName, SealError, SealingKey, UnsignedCertificate, loaded::signing_key, record::FORMAT,
};
use countersign_jose::{
    Algorithm, KeyError, KeyKind, KeySize, PrivateKey, PublicJwk, SigningKey, SymmetricKey, Timestamp,
};
use countersign_store::{Expect, Key, Store, StoreError, Version};
use std::sync::Arc;

/// Where the keyring is kept.
const DOCUMENT: &str = "keyring";
/// How often a change is tried again after somebody else's came in between.
const ATTEMPTS: usize = 20;

/// What the configuration wants of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingSpec {
    /// The ring's name.
    pub name: RingName,
    /// The algorithm of keys made for it.
    pub algorithm: Algorithm,
    /// The size of RSA keys made for it.
    pub size: KeySize,
    /// Whether a first key is made when the ring has none. Not so where the consumer names the key (JaaS).
    pub make_first_key: bool,
}

/// A key brought from elsewhere.
#[derive(Debug)]
pub struct ImportedKey {
    /// Its name; the thumbprint of a private key when there is none.
    pub kid: Option<String>,
    /// The algorithm it is to sign with.
    pub algorithm: Algorithm,
    /// The key itself.
    pub material: ImportedMaterial,
}

impl ImportedKey {
    /// The key as the signer it would become.
    pub fn signer(&self) -> Result<LocalSigner, KeyError> {
        let (key, thumbprint) = match &self.material {
            ImportedMaterial::Private(key) => {
                (SigningKey::new(key, self.algorithm)?, Some(key.public_key().thumbprint()))
            }
            ImportedMaterial::Secret(key) => (SigningKey::symmetric(key, self.algorithm)?, None),
        };
        let kid = self.kid.clone().or(thumbprint).ok_or(KeyError::MissingMember("kid"))?;
        Ok(LocalSigner::new(kid, key))
    }
}

/// A private key or a shared secret.
#[derive(Debug)]
pub enum ImportedMaterial {
    /// A private key.
    Private(PrivateKey),
    /// A shared secret.
    Secret(SymmetricKey),
}

/// Why the keyring can not be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key does not open.
    #[error("key {kid:?}: {why}")]
    Seal {
        /// The key's name.
        kid: String,
        /// Why not.
        why: SealError,
    },
    /// Sealing failed.
    #[error(transparent)]
    Sealing(#[from] SealError),
    /// A key can not be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key's certificate can not be made.
    #[error("the certificate of key {kid:?} can not be made: {why}")]
    Certificate {
        /// The key's name.
        kid: String,
        /// Why not.
        why: CertificateError,
    },
    /// The change is refused.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The document is not a keyring this program can read.
    #[error("the stored keyring is damaged: {0}; restore it from a backup")]
    Corrupt(String),
    /// The document was written by a newer version.
    #[error("the stored keyring has format {found}, this version reads {known}; use a newer version", known = FORMAT)]
    NewerFormat {
        /// Its format.
        found: u64,
    },
    /// Others kept changing the keyring at the same time.
    #[error("the keyring kept changing while this change was tried; try again")]
    Contended,
}

impl KeyringError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(why) => why.code(),
            Self::Seal { why: SealError::WrongKey { .. }, .. } => "keyring_wrong_sealing_key",
            Self::Seal { .. } | Self::Sealing(_) => "keyring_sealing",
            Self::Key(why) => why.code(),
            Self::Certificate { why, .. } => why.code(),
            Self::Lifecycle(LifecycleError::KidTaken { .. }) => "keyring_kid_taken",
            Self::Lifecycle(LifecycleError::RingFull { .. }) => "keyring_ring_full",
            Self::Lifecycle(LifecycleError::UnknownKey { .. }) => "keyring_unknown_key",
            Self::Lifecycle(LifecycleError::NotKnown { .. }) => "keyring_key_not_known_yet",
            Self::Lifecycle(LifecycleError::WrongState { .. }) => "keyring_wrong_state",
            Self::Lifecycle(LifecycleError::Kid(why)) => why.code(),
            Self::Corrupt(_) => "keyring_corrupt",
            Self::NewerFormat { .. } => "keyring_newer_format",
            Self::Contended => "keyring_contended",
        }
    }
}

/// The keyring of one store under one sealing key.
#[derive(Debug, Clone)]
pub struct StoredKeyring {
    store: Arc<dyn Store>,
    sealing: Arc<SealingKey>,
}

impl StoredKeyring {
    /// Names the store and the sealing key; reads nothing yet.
    pub fn new(store: Arc<dyn Store>, sealing: Arc<SealingKey>) -> Self {
        Self { store, sealing }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Whether a store holds a keyring at all.
    pub async fn exists(store: &dyn Store) -> Result<bool, KeyringError> {
        Ok(store.get(&document()?).await?.is_some())
    }

    /// The keyring as it is stored, an empty one when there is none.
    pub async fn read(&self) -> Result<(Keyring, Option<Version>), KeyringError> {
        let Some(document) = self.store.get(&document()?).await? else {
            return Ok((Keyring::default(), None));
        };
        let corrupt = |why: serde_json::Error| {
            KeyringError::Corrupt(format!(
                "not a keyring document (line {}, column {})",
                why.line(),
                why.column()
            ))
        };
        let value: serde_json::Value = serde_json::from_slice(&document.bytes).map_err(corrupt)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(found) if found > u64::from(FORMAT) => return Err(KeyringError::NewerFormat { found }),
            _ => {}
        }
        let keyring: Keyring = serde_json::from_value(value).map_err(corrupt)?;
        for (name, ring) in keyring.rings() {
            if ring.keys().iter().filter(|key| key.state == KeyState::Active).count() > 1 {
                return Err(KeyringError::Corrupt(format!("ring {name} has more than one active key")));
            }
        }
        Ok((keyring, Some(document.version)))
    }

    /// The keyring, opened.
    pub async fn load(&self) -> Result<LoadedKeyring, KeyringError> {
        let (keyring, version) = self.read().await?;
        LoadedKeyring::open(&keyring, version, &self.sealing)
    }

    /// The keyring opened anew if it is not the one at hand any more.
    pub async fn reload(&self, known: &LoadedKeyring) -> Result<Option<LoadedKeyring>, KeyringError> {
        let document = self.store.get(&document()?).await?;
        if document.map(|d| d.version).as_ref() == known.version() {
            return Ok(None);
        }
        self.load().await.map(Some)
    }

    /// Makes the first key of each ring that should have one and has none, and opens the keyring.
    pub async fn ensure(&self, rings: &[RingSpec], now: Timestamp) -> Result<LoadedKeyring, KeyringError> {
        for spec in rings.iter().filter(|spec| spec.make_first_key) {
            // Made once: a lost race costs another read, not another key.
            let mut made = None;
            self.change(|keyring| {
                if keyring.ring(&spec.name).is_some_and(|ring| ring.active().is_some()) {
                    return Ok(None);
                }
                let key = match &made {
                    Some(key) => key,
                    None => made.insert(self.generate(spec)?),
                };
                Ok(keyring.with_key(&spec.name, key, Activation::IfRingHasNone, now)?)
            })
            .await?;
        }
        self.load().await
    }

    /// Brings keys from elsewhere into a ring: all of them or, when one is refused, none. Returns for each its name and
    /// whether it changed anything.
    pub async fn import(
        &self,
        ring: &RingName,
        keys: &[ImportedKey],
        activation: Activation,
        now: Timestamp,
    ) -> Result<Vec<(String, bool)>, KeyringError> {
        let new: Vec<NewKey> = keys.iter().map(|key| self.sealed(ring, key)).collect::<Result<_, _>>()?;
        let mut outcome = Vec::new();
        self.change(|keyring| {
            outcome.clear();
            let mut next = None;
            for key in &new {
                let changed = next.as_ref().unwrap_or(keyring).with_key(ring, key, activation, now)?;
                outcome.push((key.kid.clone(), changed.is_some()));
                next = changed.or(next);
            }
            Ok(next)
        })
        .await?;
        Ok(outcome)
    }

    fn sealed(&self, ring: &RingName, key: &ImportedKey) -> Result<NewKey, KeyringError> {
        let algorithm = key.algorithm;
        let (public, secret) = match &key.material {
            ImportedMaterial::Private(key) => {
                SigningKey::new(key, algorithm)?;
                (Some(key.public_key()), key.to_pkcs8_der()?)
            }
            ImportedMaterial::Secret(key) => {
                SigningKey::symmetric(key, algorithm)?;
                (None, zeroize::Zeroizing::new(key.expose_secret().to_vec()))
            }
        };
        let kid = match (&key.kid, &public) {
            (Some(kid), _) => kid.clone(),
            (None, Some(public)) => public.thumbprint(),
            (None, None) => return Err(KeyError::MissingMember("kid").into()),
        };
        Ok(NewKey {
            private: self.sealing.seal(&secret, &context(ring, &kid, algorithm))?,
            public: public.map(|key| PublicJwk { kid: kid.clone(), algorithm, key }),
            origin: KeyOrigin::Imported,
            algorithm,
            kid,
        })
    }

    /// Applies a pure change by compare-and-set, again on the newer document when somebody else was first.
    pub(crate) async fn change(
        &self,
        mut step: impl FnMut(&Keyring) -> Result<Option<Keyring>, KeyringError>,
    ) -> Result<bool, KeyringError> {
        for _ in 0..ATTEMPTS {
            let (keyring, version) = self.read().await?;
            LoadedKeyring::open(&keyring, None, &self.sealing)?;
            let Some(mut next) = step(&keyring)? else { return Ok(false) };
            self.certify(&mut next)?;
            next.format = FORMAT;
            let bytes = serde_json::to_vec(&next).map_err(|why| KeyringError::Corrupt(why.to_string()))?;
            let expect = version.map_or(Expect::Absent, Expect::Version);
            match self.store.put(&document()?, &bytes, expect, None).await {
                Ok(_) => return Ok(true),
                Err(StoreError::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(KeyringError::Contended)
    }

    /// Gives every key that has none its certificate: new keys, and those of older documents. It is kept from then on.
    fn certify(&self, keyring: &mut Keyring) -> Result<(), KeyringError> {
        for (name, ring) in &mut keyring.rings {
            for record in &mut ring.keys {
                if record.certificate.is_some() || record.state == KeyState::Revoked {
                    continue;
                }
                let Some(public) = record.public_jwk() else { continue };
                let key = signing_key(name, record, &self.sealing)?;
                let mut random = [0; 16];
                aws_lc_rs::rand::fill(&mut random).map_err(|_| KeyError::Crypto)?;
                let made = UnsignedCertificate::new(&public, record.created_at, random);
                let made = made.and_then(|certificate| certificate.sign(&key));
                let certificate =
                    made.map_err(|why| KeyringError::Certificate { kid: record.kid.clone(), why })?;
                record.certificate = Some(certificate);
            }
        }
        Ok(())
    }

    pub(crate) fn generate(&self, spec: &RingSpec) -> Result<NewKey, KeyringError> {
        let algorithm = spec.algorithm;
        let (kid, public, secret) = match algorithm.key_kind() {
            KeyKind::Oct { .. } => {
                let key = SymmetricKey::generate(algorithm)?;
                // A secret has no public thumbprint; its name must tell nothing about it.
                let kid = SymmetricKey::generate(Algorithm::HS256)?;
                let kid = countersign_jose::base64url::encode(kid.expose_secret());
                (kid, None, zeroize::Zeroizing::new(key.expose_secret().to_vec()))
            }
            KeyKind::Rsa | KeyKind::Ec(_) | KeyKind::Ed25519 => {
                let key = PrivateKey::generate(algorithm, spec.size)?;
                let public = key.public_key();
                (public.thumbprint(), Some(public), key.to_pkcs8_der()?)
            }
        };
        Ok(NewKey {
            private: self.sealing.seal(&secret, &context(&spec.name, &kid, algorithm))?,
            public: public.map(|key| PublicJwk { kid: kid.clone(), algorithm, key }),
            origin: KeyOrigin::Generated,
            algorithm,
            kid,
        })
    }
}

fn document() -> Result<Key, StoreError> {
    Key::parse(DOCUMENT)
        .map_err(|why| StoreError::Misconfigured { place: "the keyring".to_owned(), reason: why.to_string() })
}

/// What a sealed key is bound to.
pub(crate) fn context(ring: &RingName, kid: &str, algorithm: Algorithm) -> String {
    format!("{ring}\n{kid}\n{algorithm}")
}
