//! `Sealing`: the sealing keys of a process. One encrypts and authenticates what is new, all of
//! them open.
//!
//! So a sealing key is changed without a stop: first every process can open with the new one, then
//! it seals, then what is there is sealed again (`StoredKeyring::reseal`), and the old one goes. A
//! data key that is kept in the keyring ([`DataKeyService`]) is fetched when the document or a
//! record names it and then held: its service is not asked again. A key that is named and not held
//! is an error where it is needed, never a silent gap.

use super::{DataKeyRecord, DataKeyService, MadeDataKey, SealError, SealedKey, SealingKey};
use crate::{Keyring, KeyringError, PrivateHalf, ServiceError, document::Envelope};
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
    /// It is in the keyring, under a key of this service.
    Wrapped(Arc<dyn DataKeyService>),
}

/// What has been fetched so far.
#[derive(Debug, Default)]
struct Held {
    /// By fingerprint.
    keys: BTreeMap<String, Arc<SealingKey>>,
    /// Those of them that are of the source that seals.
    own: BTreeSet<String>,
    /// The one that sealed last.
    current: Option<Arc<SealingKey>>,
}

/// The sealing keys as they are at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opening(BTreeMap<String, Arc<SealingKey>>);

/// What a document is written with.
#[derive(Debug, Clone)]
pub(crate) struct Sealer {
    pub(crate) key: Arc<SealingKey>,
    /// The key, encrypted, where it is a data key.
    pub(crate) record: Option<DataKeyRecord>,
}

impl Opening {
    /// Opens what any of the keys has sealed with the same `context`.
    pub(crate) fn open(&self, sealed: &SealedKey, context: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Some(key) = self.0.get(sealed.sealed_by()) else {
            return Err(SealError::WrongKey { needed: sealed.sealed_by().to_owned(), given: self.ids() });
        };
        key.open(sealed, context)
    }

    pub(crate) fn with(mut self, key: &Arc<SealingKey>) -> Self {
        self.0.insert(key.id().to_owned(), Arc::clone(key));
        self
    }

    fn ids(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
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

    /// A data key of the keyring under a key of `service`; made when something is sealed and none
    /// exists.
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
    pub(crate) fn hold_current(&self, key: &Arc<SealingKey>) {
        self.hold(key, |held| {
            held.own.insert(key.id().to_owned());
            held.current = Some(Arc::clone(key));
        });
    }

    /// A held key of the source that seals.
    fn own(&self, id: &str) -> Option<Arc<SealingKey>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.keys.get(id).filter(|_| held.own.contains(id)).cloned()
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

    /// What is at hand, for a message: fingerprints, and services whose keys are in the keyring.
    fn given(&self) -> String {
        let services = self.services().map(|(service, _)| service.name());
        self.ids().into_iter().chain(services).collect::<Vec<_>>().join(", ")
    }

    /// The key that authenticates a document: held, or a data key that goes with it. A data key is
    /// taken only if a configured service opens it and it has the fingerprint that the document
    /// names.
    pub(crate) async fn authenticating(&self, envelope: &Envelope) -> Result<Sealer, KeyringError> {
        let needed = &envelope.sealing_key;
        let record = envelope.data_key.clone().filter(|record| record.id == *needed);
        if let Some(key) = self.held().0.get(needed) {
            return Ok(Sealer { key: Arc::clone(key), record });
        }
        let Some(record) = record.filter(|_| self.services().next().is_some()) else {
            let given = self.given();
            return Err(KeyringError::WrongSealingKey { needed: needed.clone(), given });
        };
        let key = self.fetch(&record).await?;
        Ok(Sealer { key, record: Some(record) })
    }

    /// Everything that opens `keyring`, as far as it can be had.
    pub(crate) async fn opening(&self, keyring: &Keyring) -> Result<Opening, KeyringError> {
        let held = self.held();
        let mut unknown = named(keyring);
        unknown.retain(|id| !held.0.contains_key(id));
        for record in keyring.data_keys().iter().filter(|record| unknown.contains(&record.id)) {
            self.fetch(record).await?;
        }
        Ok(self.held())
    }

    /// The key that authenticates what is new: the one that seals, or while a data key has sealed
    /// nothing here yet, one of those it has.
    pub(crate) fn tagging(&self) -> Option<Arc<SealingKey>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.current.clone().or_else(|| held.own.iter().find_map(|id| held.keys.get(id)).cloned())
    }

    /// A key of this fingerprint, if it is at hand.
    pub(crate) fn holding(&self, id: &str) -> Option<Arc<SealingKey>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).keys.get(id).cloned()
    }

    /// Whether there may be keys that are not at hand yet.
    pub(crate) fn has_services(&self) -> bool {
        self.services().next().is_some()
    }

    /// Opens a data key by the first service that can, and holds it.
    pub(crate) async fn fetch(&self, record: &DataKeyRecord) -> Result<Arc<SealingKey>, KeyringError> {
        for (service, seals) in self.services() {
            let Some(key) = record.decrypt(service.as_ref()).await? else { continue };
            let key = Arc::new(key);
            self.hold(&key, |held| {
                if seals {
                    held.own.insert(record.id.clone());
                }
            });
            return Ok(key);
        }
        let (id, under) = (record.id.clone(), record.under.clone());
        Err(KeyringError::DataKey { id, under, why: ServiceError::OtherKey })
    }

    /// What new keys are sealed with and the document is authenticated by: the newest data key of
    /// the service, or a new one, which `made` keeps for the next attempt. Of several processes
    /// that make the first one at once, all come to use the same, because it is in the keyring that
    /// the first of them writes.
    pub(crate) async fn sealer(
        &self,
        keyring: &Keyring,
        made: &mut Option<MadeDataKey>,
    ) -> Result<Sealer, KeyringError> {
        let service = match &self.seals {
            Source::Key(key) => return Ok(Sealer { key: Arc::clone(key), record: None }),
            Source::Wrapped(service) => service,
        };
        for record in keyring.data_keys().iter().rev() {
            let key = match self.own(&record.id) {
                Some(key) => Some(key),
                None => record.decrypt(service.as_ref()).await?.map(Arc::new),
            };
            if let Some(key) = key {
                self.hold_current(&key);
                return Ok(Sealer { key, record: Some(record.clone()) });
            }
        }
        Self::new_sealer(service.as_ref(), made).await
    }

    /// Whether the key that seals is a data key, so that a new one can be made.
    pub(crate) fn makes_data_keys(&self) -> bool {
        matches!(self.seals, Source::Wrapped(_))
    }

    /// A new data key to seal with from now on. `None` where the sealing key is not one that is
    /// made here.
    pub(crate) async fn renewed(
        &self,
        made: &mut Option<MadeDataKey>,
    ) -> Result<Option<Sealer>, KeyringError> {
        let Source::Wrapped(service) = &self.seals else { return Ok(None) };
        Self::new_sealer(service.as_ref(), made).await.map(Some)
    }

    async fn new_sealer(
        service: &dyn DataKeyService,
        made: &mut Option<MadeDataKey>,
    ) -> Result<Sealer, KeyringError> {
        let made = match made {
            Some(made) => made,
            None => made.insert(MadeDataKey::new(service).await?),
        };
        Ok(Sealer { key: Arc::clone(&made.key), record: Some(made.record.clone()) })
    }

    /// What authenticates a change that needs no key material: what seals if it is at hand, else
    /// what authenticated the document before. No service is asked.
    pub(crate) fn at_hand(&self, keyring: &Keyring, before: &Sealer) -> Sealer {
        if let Source::Key(key) = &self.seals {
            return Sealer { key: Arc::clone(key), record: None };
        }
        for record in keyring.data_keys().iter().rev() {
            if let Some(key) = self.own(&record.id) {
                return Sealer { key, record: Some(record.clone()) };
            }
        }
        before.clone()
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

/// The fingerprints of the sealing keys that the records of a keyring are under.
pub(crate) fn named(keyring: &Keyring) -> BTreeSet<String> {
    let keys = keyring.records().filter_map(|(_, key)| match &key.private {
        PrivateHalf::Sealed(sealed) => Some(sealed.sealed_by().to_owned()),
        PrivateHalf::Remote(_) => None,
    });
    keys.collect()
}
