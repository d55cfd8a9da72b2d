//! `KmsDataKeys`: data keys under one KMS key (`GenerateDataKey`, `Decrypt`).
//!
//! The encryption context names the purpose, so that nothing else that was encrypted under the same
//! key opens as a data key, and so that a key policy can allow this use alone. `Decrypt` names the
//! key the configuration names, never the one that a document names: anyone who can write to the
//! store must not choose the key. The clear form is wiped when it is dropped.

use super::{Kms, errors::classified};
use crate::{DataKeyService, ServiceError, WrappedKey};
use async_trait::async_trait;
use aws_sdk_kms::{primitives::Blob, types::DataKeySpec};
use zeroize::Zeroizing;

/// The encryption context of every data key.
const CONTEXT: (&str, &str) = ("purpose", "countersign-sealing");

/// The data keys under one KMS key.
#[derive(Debug)]
pub struct KmsDataKeys {
    kms: Kms,
    key: String,
}

impl KmsDataKeys {
    /// `key` is a key id, an ARN, or an alias (`alias/NAME`).
    pub fn new(kms: Kms, key: String) -> Self {
        Self { kms, key }
    }
}

#[async_trait]
impl DataKeyService for KmsDataKeys {
    fn name(&self) -> String {
        format!("kms:{}", self.key)
    }

    async fn generate(&self) -> Result<(Zeroizing<Vec<u8>>, WrappedKey), ServiceError> {
        let request = self.kms.client().await?.generate_data_key();
        let request = request.key_id(&self.key).key_spec(DataKeySpec::Aes256);
        let answer = request.encryption_context(CONTEXT.0, CONTEXT.1).send().await.map_err(classified)?;
        let (plain, ciphertext) = (answer.plaintext.map(clear), answer.ciphertext_blob);
        let (Some(plain), Some(ciphertext)) = (plain, ciphertext) else { return Err(incomplete()) };
        let under = answer.key_id.unwrap_or_else(|| self.key.clone());
        Ok((plain, WrappedKey { under, ciphertext: ciphertext.into_inner() }))
    }

    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
        let request = self.kms.client().await?.decrypt().key_id(&self.key);
        let request = request.ciphertext_blob(Blob::new(wrapped.ciphertext.clone()));
        let answer = request.encryption_context(CONTEXT.0, CONTEXT.1).send().await.map_err(classified)?;
        answer.plaintext.map(clear).ok_or_else(incomplete)
    }
}

/// The bytes of a blob, which are wiped.
fn clear(blob: Blob) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(blob.into_inner())
}

fn incomplete() -> ServiceError {
    ServiceError::Unavailable("the answer has no data key in it".to_owned())
}
