//! Data keys: sealing keys that are kept in the store, each encrypted under a key that never leaves its service.
//!
//! Envelope encryption: the service makes 256 random bits and gives them in clear and encrypted; the encrypted form is
//! kept in a document of its own, changed by compare-and-set, and the clear one in memory alone. A data key that the service opens
//! must have the fingerprint it is filed under. The newest one that the service holds seals; older ones stay as long as a
//! record may name them.

use super::{SealError, SealingKey};
use crate::{KeyringError, ServiceError};
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_store::{Expect, Key, Store, StoreError, Version};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};
use zeroize::Zeroizing;

/// Where they are kept.
const DATA_KEYS: &str = "keyring-data-keys";
/// The format this program reads and writes.
const FORMAT: u32 = 1;
/// How often a change is tried again after somebody else's came in between.
const ATTEMPTS: usize = 20;
/// How many of the newest data keys are kept, whether or not a record names them: a process may be about to use one.
const KEPT: usize = 4;

/// A service that encrypts data keys under one key of its own.
#[async_trait]
pub trait DataKeyService: Debug + Send + Sync {
    /// Makes a data key: 256 random bits, in clear and encrypted.
    async fn generate(&self) -> Result<(Zeroizing<Vec<u8>>, WrappedKey), ServiceError>;
    /// Opens one that was made before. [`ServiceError::OtherKey`] if it is under another key than this service's.
    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<Zeroizing<Vec<u8>>, ServiceError>;
}

/// A data key, encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// The full name of the key it is under.
    pub under: String,
    /// What the service made of it.
    pub ciphertext: Vec<u8>,
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataKeys {
    format: u32,
    /// Oldest first.
    keys: Vec<Entry>,
}

impl Default for DataKeys {
    fn default() -> Self {
        Self { format: FORMAT, keys: Vec::new() }
    }
}

/// One data key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Its fingerprint, which sealed records name.
    pub(crate) id: String,
    /// The full name of the key it is encrypted under.
    pub(crate) under: String,
    /// Base64url.
    ciphertext: String,
}

impl Entry {
    /// The key; `None` if it is under another key than the service's.
    pub(crate) async fn unwrap(
        &self,
        service: &dyn DataKeyService,
    ) -> Result<Option<SealingKey>, KeyringError> {
        let about = |why| KeyringError::DataKey { id: self.id.clone(), under: self.under.clone(), why };
        let ciphertext =
            URL_SAFE_NO_PAD.decode(&self.ciphertext).map_err(|_| about(ServiceError::Altered))?;
        let wrapped = WrappedKey { under: self.under.clone(), ciphertext };
        match service.unwrap(&wrapped).await {
            Ok(bytes) => {
                let key = SealingKey::from_bytes(&bytes)?;
                if key.id() == self.id { Ok(Some(key)) } else { Err(about(ServiceError::Altered)) }
            }
            Err(ServiceError::OtherKey) => Ok(None),
            Err(why) => Err(about(why)),
        }
    }
}

impl DataKeys {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.keys
    }

    /// The document as it is stored, an empty one when there is none.
    pub(crate) async fn read(store: &dyn Store) -> Result<(Self, Option<Version>), KeyringError> {
        let Some(document) = store.get(&document()?).await? else { return Ok((Self::default(), None)) };
        let keys: Self = serde_json::from_slice(&document.bytes).map_err(|why| {
            KeyringError::Corrupt(format!(
                "{DATA_KEYS} is not a document of data keys (line {}, column {})",
                why.line(),
                why.column()
            ))
        })?;
        if keys.format > FORMAT {
            return Err(KeyringError::NewerFormat { found: keys.format.into(), known: FORMAT });
        }
        Ok((keys, Some(document.version)))
    }

    /// The newest key that the service holds; made if there is none. `held` are those that need no asking.
    pub(crate) async fn newest_or_new(
        store: &dyn Store,
        service: &dyn DataKeyService,
        held: &BTreeMap<String, Arc<SealingKey>>,
    ) -> Result<Arc<SealingKey>, KeyringError> {
        Self::found_or_new(store, service, Some(held)).await
    }

    /// A key that was not there before.
    pub(crate) async fn new_key(
        store: &dyn Store,
        service: &dyn DataKeyService,
    ) -> Result<Arc<SealingKey>, KeyringError> {
        Self::found_or_new(store, service, None).await
    }

    async fn found_or_new(
        store: &dyn Store,
        service: &dyn DataKeyService,
        held: Option<&BTreeMap<String, Arc<SealingKey>>>,
    ) -> Result<Arc<SealingKey>, KeyringError> {
        let mut made = None;
        for _ in 0..ATTEMPTS {
            let (mut keys, version) = Self::read(store).await?;
            for entry in keys.keys.iter().rev().filter(|_| held.is_some()) {
                if let Some(key) = held.and_then(|held| held.get(&entry.id)) {
                    return Ok(Arc::clone(key));
                }
                if let Some(key) = entry.unwrap(service).await? {
                    return Ok(Arc::new(key));
                }
            }
            let (key, entry) = match &made {
                Some(made) => made,
                None => made.insert(make(service).await?),
            };
            keys.keys.push(entry.clone());
            match keys.write(store, version).await {
                Ok(()) => return Ok(Arc::clone(key)),
                Err(KeyringError::Store(StoreError::Conflict { .. })) => {}
                Err(other) => return Err(other),
            }
        }
        Err(KeyringError::Contended)
    }

    /// Forgets old data keys that no record names.
    pub(crate) async fn prune(store: &dyn Store, named: &BTreeSet<&str>) -> Result<(), KeyringError> {
        let (mut keys, version) = Self::read(store).await?;
        let Some(old) = keys.keys.len().checked_sub(KEPT).filter(|old| *old > 0) else { return Ok(()) };
        let before = keys.keys.len();
        let mut at = 0;
        keys.keys.retain(|entry| {
            at += 1;
            at > old || named.contains(entry.id.as_str())
        });
        if keys.keys.len() == before {
            return Ok(());
        }
        match keys.write(store, version).await {
            // The next one tidies up.
            Ok(()) | Err(KeyringError::Store(StoreError::Conflict { .. })) => Ok(()),
            Err(other) => Err(other),
        }
    }

    async fn write(&self, store: &dyn Store, version: Option<Version>) -> Result<(), KeyringError> {
        let bytes = serde_json::to_vec(self).map_err(|why| KeyringError::Corrupt(why.to_string()))?;
        let expect = version.map_or(Expect::Absent, Expect::Version);
        store.put(&document()?, &bytes, expect, None).await?;
        Ok(())
    }
}

async fn make(service: &dyn DataKeyService) -> Result<(Arc<SealingKey>, Entry), KeyringError> {
    let (bytes, wrapped) = service.generate().await?;
    let key = SealingKey::from_bytes(&bytes).map_err(|_| KeyringError::Sealing(SealError::Crypto))?;
    let ciphertext = URL_SAFE_NO_PAD.encode(&wrapped.ciphertext);
    let entry = Entry { id: key.id().to_owned(), under: wrapped.under, ciphertext };
    Ok((Arc::new(key), entry))
}

fn document() -> Result<Key, StoreError> {
    Key::parse(DATA_KEYS).map_err(|why| StoreError::Misconfigured {
        place: "the data keys".to_owned(),
        reason: why.to_string(),
    })
}
