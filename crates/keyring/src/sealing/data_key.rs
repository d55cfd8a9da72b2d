//! Data keys: sealing keys that are kept in the keyring, each encrypted under a key that never
//! leaves its service.
//!
//! Envelope encryption: the service makes 256 random bits and gives them in clear and encrypted;
//! the encrypted form is kept with the keys and changed in the same compare-and-set, and the clear
//! one in memory alone. A data key that the service opens must have the fingerprint it is filed
//! under. The newest one that the service holds seals and authenticates; older ones stay as long as
//! a record names them, and the newest four in any case.

use super::{SealError, SealingKey};
use crate::{KeyringError, ServiceError};
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt::Debug, sync::Arc};
use zeroize::Zeroizing;

/// How many of the newest data keys are kept, whether or not a record names them: a process may be
/// about to use one.
const KEPT: usize = 4;

/// A service that encrypts data keys under one key of its own.
#[async_trait]
pub trait DataKeyService: Debug + Send + Sync {
    /// What messages call it, as the configuration does: `kms:alias/tokens`.
    fn name(&self) -> String {
        "a key of a service".to_owned()
    }
    /// Makes a data key: 256 random bits, in clear and encrypted.
    async fn generate(&self) -> Result<(Zeroizing<Vec<u8>>, WrappedKey), ServiceError>;
    /// Opens one that was made before. [`ServiceError::OtherKey`] if it is under another key than
    /// this service's.
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

/// A data key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataKeyRecord {
    /// Its fingerprint, which sealed records name.
    pub id: String,
    /// The full name of the key it is encrypted under.
    pub under: String,
    /// Base64url.
    ciphertext: String,
}

/// A data key that was just made and is in no keyring yet.
#[derive(Debug, Clone)]
pub(crate) struct MadeDataKey {
    pub(crate) key: Arc<SealingKey>,
    pub(crate) record: DataKeyRecord,
}

impl DataKeyRecord {
    /// The key; `None` if it is under another key than the service's.
    pub(crate) async fn decrypt(
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

impl MadeDataKey {
    pub(crate) async fn new(service: &dyn DataKeyService) -> Result<Self, KeyringError> {
        let (bytes, wrapped) = service.generate().await?;
        let key = SealingKey::from_bytes(&bytes).map_err(|_| KeyringError::Sealing(SealError::Crypto))?;
        let ciphertext = URL_SAFE_NO_PAD.encode(&wrapped.ciphertext);
        let record = DataKeyRecord { id: key.id().to_owned(), under: wrapped.under, ciphertext };
        Ok(Self { key: Arc::new(key), record })
    }
}

/// Forgets old data keys that no record names.
pub(crate) fn prune(keys: &mut Vec<DataKeyRecord>, named: &BTreeSet<String>) {
    let old = keys.len().saturating_sub(KEPT);
    let mut at = 0;
    keys.retain(|key| {
        at += 1;
        at > old || named.contains(&key.id)
    });
}
