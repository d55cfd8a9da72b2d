//! The keyring in its store: read, verified, opened, and changed by compare-and-set only.
//!
//! What is read is authentic and is not older than what this process has seen, or it is an error
//! and nothing is written. There are two kinds of change. `change_states` needs no private key, no
//! service and no new key, so that a key can be revoked or a step of the rotation taken when some
//! of these are away. `add_keys` seals or makes a key: before it writes, everything that is there
//! must open, so that a wrong sealing key never adds a second, unreadable half. Of two processes on
//! one empty store one makes the first key: the loser's write conflicts. Pinned by tests/stored.rs
//! and tests/forgery.rs.

mod changing;
mod reading;
mod reload;
mod tags;

pub(crate) use changing::{Next, SealWith};
pub(crate) use reading::Found;
pub use {changing::Change, reading::UnverifiedKeyring, reload::Reloaded, tags::DocumentTag};

use crate::{
    Activation, ImportedKey, Journal, KeyService, Keyring, KeyringError, Known, LoadedKeyring, RingName,
    Sealing, marks::Remembered, material::Material,
};
use countersign_jose::{Algorithm, KeySize, Timestamp};
use countersign_store::Store;
use reading::Verified;
use std::sync::{Arc, Mutex};

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
    /// Whether keys are made without anybody asking: the first one of a ring that has none, and the
    /// next one. Not so where the consumer names the key (JaaS), nor where somebody has to be given
    /// it (shared secrets).
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

/// A key that was to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its name.
    pub kid: String,
    /// Whether that changed anything.
    pub changed: bool,
}

/// The keyring of one store, the sealing keys it is under, and the service that keeps keys, if
/// there is one.
///
/// Clones share what this process has seen.
#[derive(Debug, Clone)]
pub struct StoredKeyring {
    store: Arc<dyn Store>,
    sealing: Arc<Sealing>,
    service: Option<Arc<dyn KeyService>>,
    /// Who is told of changes.
    journal: Option<Arc<dyn Journal>>,
    /// The newest document that was seen.
    known: Arc<Mutex<Option<Known>>>,
    /// The document that was verified last, with these sealing keys.
    last: Arc<Mutex<Option<Verified>>>,
    /// The marks of revocation that were seen.
    pub(crate) marks: Arc<Mutex<Remembered>>,
}

impl StoredKeyring {
    /// Names the store and what seals; reads nothing yet.
    pub fn new(store: Arc<dyn Store>, sealing: impl Into<Sealing>) -> Self {
        Self {
            store,
            sealing: Arc::new(sealing.into()),
            service: None,
            journal: None,
            known: Arc::default(),
            last: Arc::default(),
            marks: Arc::default(),
        }
    }

    /// Adds the service that keeps keys. Without it a keyring that has such keys does not open.
    #[must_use]
    pub fn with_service(mut self, service: Arc<dyn KeyService>) -> Self {
        self.service = Some(service);
        self
    }

    /// Tells of every change of a key that is made by this one from now on.
    #[must_use]
    pub fn with_journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Goes on with what another of this process has seen, of the same store.
    #[must_use]
    pub fn with_memory_of(mut self, other: &Self) -> Self {
        self.known = Arc::clone(&other.known);
        self.marks = Arc::clone(&other.marks);
        self
    }

    /// The highest sequence number that this process has seen.
    pub fn known_sequence(&self) -> u64 {
        self.known().map_or(0, |known| known.sequence())
    }

    /// What seals and opens.
    pub fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub(crate) fn journal(&self) -> Option<&dyn Journal> {
        self.journal.as_deref()
    }

    pub(crate) fn service(&self) -> Option<&Arc<dyn KeyService>> {
        self.service.as_ref()
    }

    /// Sees to it that a key signs in each ring, and opens the keyring: a successor that waits,
    /// because verifiers may know it, or else a first key where the ring should have one.
    pub async fn ensure(&self, rings: &[RingSpec], now: Timestamp) -> Result<LoadedKeyring, KeyringError> {
        let keyring = self.read().await?;
        let signs = |keyring: &Keyring, spec: &RingSpec| {
            keyring.ring(&spec.name).is_some_and(|ring| ring.active().is_some())
        };
        let waits = |keyring: &Keyring, spec: &RingSpec| {
            keyring.ring(&spec.name)?.successor().map(|key| key.kid.clone())
        };
        for spec in rings.iter().filter(|spec| !signs(&keyring, spec)) {
            if waits(&keyring, spec).is_some() {
                self.change_states(now, |keyring| {
                    let next = waits(keyring, spec).filter(|_| !signs(keyring, spec));
                    Ok(next.and_then(|kid| keyring.with_active_at_once(&spec.name, &kid, now)))
                })
                .await?;
            }
            if !spec.make_first_key {
                continue;
            }
            self.add_keys(SealWith::Current, now, |attempt| {
                if signs(attempt.keyring, spec) {
                    return Ok(Next::Unchanged);
                }
                let Some(key) = attempt.made else { return Ok(Next::Needs(spec.clone())) };
                Ok(attempt.keyring.with_key(&spec.name, key, Activation::IfRingHasNone, now)?.into())
            })
            .await?;
        }
        // A keyring whose keys are all brought or asked for is one, too, and is not missed the next
        // time.
        self.change_states(now, |keyring| Ok((!keyring.is_stored()).then(|| keyring.clone()))).await?;
        self.load().await
    }

    /// Brings keys from elsewhere into a ring: all of them or, when one is refused, none.
    pub async fn import(
        &self,
        ring: &RingName,
        keys: &[ImportedKey],
        activation: Activation,
        now: Timestamp,
    ) -> Result<Vec<Imported>, KeyringError> {
        let new: Vec<Material> = keys.iter().map(Material::imported).collect::<Result<_, _>>()?;
        let mut outcome = Vec::new();
        self.add_keys(SealWith::Current, now, |attempt| {
            outcome.clear();
            let mut next = None;
            for key in &new {
                let mut sealed = key.sealed(ring, attempt.sealing)?;
                let before = next.as_ref().unwrap_or(attempt.keyring);
                if let Some(stored) = key.stored_secret(before, attempt.opening) {
                    sealed.private = stored;
                }
                let changed = before.with_key(ring, &sealed, activation, now)?;
                outcome.push(Imported { kid: sealed.kid, changed: changed.is_some() });
                next = changed.or(next);
            }
            Ok(next.into())
        })
        .await?;
        Ok(outcome)
    }
}
