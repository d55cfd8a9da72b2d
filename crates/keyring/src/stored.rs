//! The keyring in its store: read, opened, and changed by compare-and-set only.
//!
//! `ensure` makes the first key of a ring: two processes on one empty store make one key, because the loser's write
//! conflicts and it then finds the winner's. Before anything is written, what is there must open under the sealing
//! key at hand, so a wrong one can never add a second, unreadable half to a keyring.

use crate::{
    Activation, Certificate, ImportedKey, KeyService, KeyState, Keyring, KeyringError, LoadedKeyring, NewKey,
    RingName, Sealing, SealingKey, UnsignedCertificate,
    loaded::OpenedKey,
    material::Material,
    record::FORMAT,
    sealing::{DataKeys, Opening},
};
use countersign_jose::{Algorithm, KeyError, KeySize, Timestamp};
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
    /// Where its keys are made.
    pub place: KeyPlace,
}

/// Where a key is made, and then signs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyPlace {
    /// Here; its private half is sealed in the keyring.
    #[default]
    Here,
    /// With the service that keeps keys; its private half never leaves it.
    Service,
}

/// One attempt at a change: the document it is to be applied to, and what there is to do it with.
pub(crate) struct Attempt<'a> {
    pub(crate) keyring: &'a Keyring,
    /// What new keys are sealed with.
    pub(crate) sealing: &'a Arc<SealingKey>,
    /// What opens the keys that are there.
    pub(crate) opening: &'a Opening,
    /// The key that an earlier attempt said it needs.
    pub(crate) made: Option<&'a NewKey>,
}

/// What a change comes to.
pub(crate) enum Next {
    /// Nothing is to be done.
    Unchanged,
    /// This is to be written.
    To(Keyring),
    /// A new key is needed first; the change is then attempted again.
    Needs(RingSpec),
}

impl From<Option<Keyring>> for Next {
    fn from(next: Option<Keyring>) -> Self {
        next.map_or(Self::Unchanged, Self::To)
    }
}

/// What became of the document.
enum Written {
    /// It is as it was before.
    No,
    /// It is this one.
    Yes(Keyring),
    /// The store failed while it was written.
    Unknown,
}

/// The keyring of one store, the sealing keys it is under, and the service that keeps keys, if there is one.
#[derive(Debug, Clone)]
pub struct StoredKeyring {
    store: Arc<dyn Store>,
    sealing: Arc<Sealing>,
    service: Option<Arc<dyn KeyService>>,
}

impl StoredKeyring {
    /// Names the store and what seals; reads nothing yet.
    pub fn new(store: Arc<dyn Store>, sealing: impl Into<Sealing>) -> Self {
        Self { store, sealing: Arc::new(sealing.into()), service: None }
    }

    /// Adds the service that keeps keys. Without it a keyring that has such keys does not open.
    #[must_use]
    pub fn with_service(mut self, service: Arc<dyn KeyService>) -> Self {
        self.service = Some(service);
        self
    }

    /// What seals and opens.
    pub fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub(crate) fn service(&self) -> Option<&Arc<dyn KeyService>> {
        self.service.as_ref()
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
            Some(found) if found > u64::from(FORMAT) => {
                return Err(KeyringError::NewerFormat { found, known: FORMAT });
            }
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

    /// The data keys that are kept with it, oldest first: the fingerprint of each, and the full name of the key it is under.
    pub async fn data_keys(&self) -> Result<Vec<(String, String)>, KeyringError> {
        let (keys, _) = DataKeys::read(self.store()).await?;
        Ok(keys.entries().iter().map(|entry| (entry.id.clone(), entry.under.clone())).collect())
    }

    /// The keyring, opened.
    pub async fn load(&self) -> Result<LoadedKeyring, KeyringError> {
        let (keyring, version) = self.read().await?;
        let opening = self.sealing.opening(self.store(), &keyring).await?;
        LoadedKeyring::open(&keyring, version, &opening, self.service())
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
            self.change(|attempt| {
                if attempt.keyring.ring(&spec.name).is_some_and(|ring| ring.active().is_some()) {
                    return Ok(Next::Unchanged);
                }
                let Some(key) = attempt.made else { return Ok(Next::Needs(spec.clone())) };
                Ok(attempt.keyring.with_key(&spec.name, key, Activation::IfRingHasNone, now)?.into())
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
        let new: Vec<Material> = keys.iter().map(Material::imported).collect::<Result<_, _>>()?;
        let mut outcome = Vec::new();
        self.change(|attempt| {
            outcome.clear();
            let mut next = None;
            for key in &new {
                let key = key.sealed(ring, attempt.sealing)?;
                let before = next.as_ref().unwrap_or(attempt.keyring);
                let changed = before.with_key(ring, &key, activation, now)?;
                outcome.push((key.kid, changed.is_some()));
                next = changed.or(next);
            }
            Ok(next.into())
        })
        .await?;
        Ok(outcome)
    }

    /// Applies a pure change by compare-and-set, again on the newer document when somebody else was first. A key that the change
    /// needs is made once, however often it is tried.
    pub(crate) async fn change(
        &self,
        step: impl FnMut(Attempt<'_>) -> Result<Next, KeyringError>,
    ) -> Result<bool, KeyringError> {
        let (mut made, mut written) = (None, Written::No);
        let outcome = self.attempts(step, &mut made, &mut written).await;
        let unused = made.as_ref().filter(|made| match &written {
            Written::No => true,
            Written::Yes(keyring) => keyring.find(&made.kid).is_none(),
            // It may be in use.
            Written::Unknown => false,
        });
        if let (Some(name), Some(service)) = (unused.and_then(Material::remote_name), self.service()) {
            // Somebody else made the key that was needed, or nobody could. What can not be given up is the
            // service's to tell; the change is what it is.
            let _ = service.discard(name).await;
        }
        outcome
    }

    async fn attempts(
        &self,
        mut step: impl FnMut(Attempt<'_>) -> Result<Next, KeyringError>,
        made: &mut Option<Material>,
        written: &mut Written,
    ) -> Result<bool, KeyringError> {
        let mut ring = None;
        for _ in 0..ATTEMPTS {
            let (keyring, version) = self.read().await?;
            let opening = self.sealing.opening(self.store(), &keyring).await?;
            LoadedKeyring::open(&keyring, None, &opening, self.service())?;
            let sealing = self.sealing.sealing(self.store()).await?;
            let new = match (&made, &ring) {
                (Some(made), Some(ring)) => Some(made.sealed(ring, &sealing)?),
                _ => None,
            };
            let attempt =
                Attempt { keyring: &keyring, sealing: &sealing, opening: &opening, made: new.as_ref() };
            let mut next = match step(attempt)? {
                Next::Unchanged => return Ok(false),
                Next::To(next) => next,
                Next::Needs(spec) => {
                    *made = Some(self.make(&spec).await?);
                    ring = Some(spec.name);
                    continue;
                }
            };
            self.certify(&mut next, &opening.with(&sealing)).await?;
            next.format = FORMAT;
            let bytes = serde_json::to_vec(&next).map_err(|why| KeyringError::Corrupt(why.to_string()))?;
            let expect = version.map_or(Expect::Absent, Expect::Version);
            match self.store.put(&document()?, &bytes, expect, None).await {
                Ok(_) => {
                    *written = Written::Yes(next);
                    return Ok(true);
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(other) => {
                    *written = Written::Unknown;
                    return Err(other.into());
                }
            }
        }
        Err(KeyringError::Contended)
    }

    async fn make(&self, spec: &RingSpec) -> Result<Material, KeyringError> {
        match (spec.place, self.service()) {
            (KeyPlace::Here, _) => Material::generated(spec),
            (KeyPlace::Service, Some(service)) => Material::created(spec, service.as_ref()).await,
            (KeyPlace::Service, None) => {
                Err(KeyringError::Service(crate::ServiceError::Misconfigured(format!(
                    "ring {} is to have its keys there, and this program was built without it",
                    spec.name
                ))))
            }
        }
    }

    /// Gives every key that has none its certificate: new keys, and those of older documents. It is kept from then on.
    async fn certify(&self, keyring: &mut Keyring, opening: &Opening) -> Result<(), KeyringError> {
        for (name, ring) in &mut keyring.rings {
            for record in &mut ring.keys {
                if record.certificate.is_some() || record.state == KeyState::Revoked {
                    continue;
                }
                let Some(public) = record.public_jwk() else { continue };
                let key = OpenedKey::open(name, record, opening, self.service())?;
                let mut random = [0; 16];
                aws_lc_rs::rand::fill(&mut random).map_err(|_| KeyError::Crypto)?;
                let about = |why| KeyringError::Certificate { kid: record.kid.clone(), why };
                let unsigned = UnsignedCertificate::new(&public, record.created_at, random).map_err(about)?;
                let signature = key.sign_bytes(unsigned.to_be_signed()).await?;
                let certificate: Certificate = unsigned.finish(&signature).map_err(about)?;
                record.certificate = Some(certificate);
            }
        }
        Ok(())
    }
}

fn document() -> Result<Key, StoreError> {
    Key::parse(DOCUMENT)
        .map_err(|why| StoreError::Misconfigured { place: "the keyring".to_owned(), reason: why.to_string() })
}
