//! `Sealing`: the sealing keys of a process. One seals what is new, all of them open.
//!
//! So a sealing key is changed without a stop: first everybody can open with the new one, then it seals, then what is there is
//! sealed again (`StoredKeyring::reseal`), and the old one goes. A key that is kept in the store, encrypted
//! ([`DataKeyService`]), is fetched when a record names it and then held: its service is not asked again.
//! What a record names and nobody has is an error where it is opened, never a silent gap.

use super::{DataKeyService, DataKeys, SealError, SealedKey, SealingKey, data_key::Entry};
use crate::{Keyring, KeyringError, PrivateHalf, ServiceError};
use countersign_store::Store;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};
use zeroize::Zeroizing;

/// What seals, and what else opens.
#[derive(Debug)]
pub struct Sealing {
    seals: Source,
    also: Vec<Source>,
    held: RwLock<Held>,
}

/// Where a sealing key comes from.
#[derive(Debug, Clone)]
enum Source {
    /// It is at hand.
    Key(Arc<SealingKey>),
    /// It is in the store, under a key of this service.
    Wrapped(Arc<dyn DataKeyService>),
}

/// What has been fetched so far.
#[derive(Debug, Default)]
struct Held {
    /// By fingerprint.
    keys: BTreeMap<String, Arc<SealingKey>>,
    /// Those of them that are of the source that seals.
    own: BTreeSet<String>,
    /// The one that seals, once it is known.
    current: Option<Arc<SealingKey>>,
}

/// The sealing keys as they are at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opening(BTreeMap<String, Arc<SealingKey>>);

impl Opening {
    /// Opens what any of the keys has sealed with the same `context`.
    pub(crate) fn open(&self, sealed: &SealedKey, context: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Some(key) = self.0.get(sealed.sealed_by()) else {
            let given = self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(SealError::WrongKey { needed: sealed.sealed_by().to_owned(), given });
        };
        key.open(sealed, context)
    }

    pub(crate) fn with(mut self, key: &Arc<SealingKey>) -> Self {
        self.0.insert(key.id().to_owned(), Arc::clone(key));
        self
    }
}

impl From<Arc<SealingKey>> for Sealing {
    fn from(key: Arc<SealingKey>) -> Self {
        Self::new(key)
    }
}

impl Sealing {
    /// One sealing key, which seals and opens.
    pub fn new(key: Arc<SealingKey>) -> Self {
        Self::of(Source::Key(key))
    }

    /// A data key of the store under a key of `service`; made when something is sealed and there is none.
    pub fn wrapped(service: Arc<dyn DataKeyService>) -> Self {
        Self::of(Source::Wrapped(service))
    }

    /// Adds a key that opens and does not seal.
    #[must_use]
    pub fn also(self, key: Arc<SealingKey>) -> Self {
        self.and(Source::Key(key))
    }

    /// Adds the data keys of another service: they open and do not seal.
    #[must_use]
    pub fn also_wrapped(self, service: Arc<dyn DataKeyService>) -> Self {
        self.and(Source::Wrapped(service))
    }

    fn of(seals: Source) -> Self {
        let mut held = Held::default();
        if let Source::Key(key) = &seals {
            held.keys.insert(key.id().to_owned(), Arc::clone(key));
            held.current = Some(Arc::clone(key));
        }
        Self { seals, also: Vec::new(), held: RwLock::new(held) }
    }

    fn and(mut self, source: Source) -> Self {
        if let Source::Key(key) = &source {
            self.hold(key, |_| {});
        }
        self.also.push(source);
        self
    }

    fn hold(&self, key: &Arc<SealingKey>, and: impl FnOnce(&mut Held)) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.keys.insert(key.id().to_owned(), Arc::clone(key));
        and(&mut held);
    }

    /// Keeps a data key as the one that seals.
    fn hold_current(&self, key: &Arc<SealingKey>) {
        self.hold(key, |held| {
            held.own.insert(key.id().to_owned());
            held.current = Some(Arc::clone(key));
        });
    }

    /// The data keys of the service that seals, as far as they are held.
    fn own(&self) -> BTreeMap<String, Arc<SealingKey>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let own = held.keys.iter().filter(|(id, _)| held.own.contains(*id));
        own.map(|(id, key)| (id.clone(), Arc::clone(key))).collect()
    }

    fn held(&self) -> Opening {
        Opening(self.held.read().unwrap_or_else(PoisonError::into_inner).keys.clone())
    }

    fn current(&self) -> Option<Arc<SealingKey>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    /// The fingerprints of the keys that are held, the one that seals first.
    pub fn ids(&self) -> Vec<String> {
        let current = self.current().map(|key| key.id().to_owned());
        let others = self.held().0.into_keys().filter(|id| Some(id) != current.as_ref());
        current.clone().into_iter().chain(others).collect()
    }

    /// Everything that opens `keyring`, as far as it can be had.
    pub(crate) async fn opening(
        &self,
        store: &dyn Store,
        keyring: &Keyring,
    ) -> Result<Opening, KeyringError> {
        let held = self.held();
        let unknown: BTreeSet<&str> =
            named(keyring).into_iter().filter(|id| !held.0.contains_key(*id)).collect();
        if unknown.is_empty() {
            return Ok(held);
        }
        let (keys, _) = DataKeys::read(store).await?;
        for entry in keys.entries().iter().filter(|entry| unknown.contains(entry.id.as_str())) {
            let (id, under) = (entry.id.clone(), entry.under.clone());
            let Some((key, seals)) = self.unwrap(entry).await? else {
                return Err(KeyringError::DataKey { id, under, why: ServiceError::OtherKey });
            };
            self.hold(&Arc::new(key), |held| {
                if seals {
                    // There is a newer one than was known, so what seals is looked up again.
                    held.own.insert(id);
                    held.current = None;
                }
            });
        }
        Ok(self.held())
    }

    /// Opens a data key by the first service that can, and says whether that one seals.
    async fn unwrap(&self, entry: &Entry) -> Result<Option<(SealingKey, bool)>, KeyringError> {
        for (service, seals) in self.services() {
            if let Some(key) = entry.unwrap(service.as_ref()).await? {
                return Ok(Some((key, seals)));
            }
        }
        Ok(None)
    }

    /// What new keys are sealed with. Makes a data key where there is none yet: of several processes that do so at once, all
    /// come to use the same.
    pub(crate) async fn sealing(&self, store: &dyn Store) -> Result<Arc<SealingKey>, KeyringError> {
        if let Some(key) = self.current() {
            return Ok(key);
        }
        match &self.seals {
            Source::Key(key) => Ok(Arc::clone(key)),
            Source::Wrapped(service) => {
                let key = DataKeys::newest_or_new(store, service.as_ref(), &self.own()).await?;
                self.hold_current(&key);
                Ok(key)
            }
        }
    }

    /// Makes a new data key to seal with from now on. `None` where the sealing key is not one that is made here.
    pub(crate) async fn renew(&self, store: &dyn Store) -> Result<Option<Arc<SealingKey>>, KeyringError> {
        let Source::Wrapped(service) = &self.seals else { return Ok(None) };
        let key = DataKeys::new_key(store, service.as_ref()).await?;
        self.hold_current(&key);
        Ok(Some(key))
    }

    /// The services of data keys; the one that seals first, and whether it does.
    fn services(&self) -> impl Iterator<Item = (&Arc<dyn DataKeyService>, bool)> {
        let sources =
            std::iter::once((&self.seals, true)).chain(self.also.iter().map(|source| (source, false)));
        sources.filter_map(|(source, seals)| match source {
            Source::Key(_) => None,
            Source::Wrapped(service) => Some((service, seals)),
        })
    }
}

/// The fingerprints of the sealing keys that a keyring is under.
pub(crate) fn named(keyring: &Keyring) -> BTreeSet<&str> {
    let keys = keyring.rings().flat_map(|(_, ring)| ring.keys());
    keys.filter_map(|key| match &key.private {
        PrivateHalf::Sealed(sealed) => Some(sealed.sealed_by()),
        PrivateHalf::Remote(_) => None,
    })
    .collect()
}
