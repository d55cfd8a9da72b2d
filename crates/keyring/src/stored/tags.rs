//! Tags for documents of other crates: the same key that authenticates the keyring, under labels of
//! their own.
//!
//! Anyone who can write to the store and has no sealing key cannot make a document that is
//! believed. A document that a data key authenticates is read as long as the keyring has that key.
//! Called by the crate `grants`; pinned by its suite `refresh::conformance` and by
//! tests/forgery.rs.

use super::StoredKeyring;
use crate::{KeyringError, SealingKey, sealing::Parts};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use countersign_jose::base64url;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The tag over one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentTag {
    /// The fingerprint of the sealing key.
    sealing_key: String,
    /// HMAC-SHA256, base64url.
    tag: String,
}

impl StoredKeyring {
    /// The tag over a document. `label` says what kind of document it is: the tag of one kind says
    /// nothing about another.
    ///
    /// # Errors
    ///
    /// If no sealing key is at hand.
    pub fn tag(&self, label: &str, format: u32, content: &[u8]) -> Result<DocumentTag, KeyringError> {
        let key = self.sealing().tagging().ok_or_else(|| KeyringError::WrongSealingKey {
            needed: "any".to_owned(),
            given: self.sealing().ids().join(", "),
        })?;
        let tag = key.authenticate(&Parts::new(label, format, key.id(), content));
        Ok(DocumentTag { sealing_key: key.id().to_owned(), tag: base64url::encode(tag.as_ref()) })
    }

    /// Whether that is the tag over this document, in constant time.
    ///
    /// # Errors
    ///
    /// If it cannot be told now: the sealing key is in the keyring, and store or service do not
    /// answer.
    pub async fn authenticates(
        &self,
        label: &str,
        format: u32,
        content: &[u8],
        tag: &DocumentTag,
    ) -> Result<bool, KeyringError> {
        let Some(key) = self.tag_key(&tag.sealing_key).await? else { return Ok(false) };
        let Ok(shown) = base64url::decode(&tag.tag) else { return Ok(false) };
        Ok(key.authenticates(&Parts::new(label, format, key.id(), content), &shown))
    }

    /// The tag over a text that lives for minutes and is in no document, such as a nonce, by the
    /// key that seals; `None` if none is at hand.
    pub fn tag_at_hand(&self, label: &str, content: &[u8]) -> Option<Vec<u8>> {
        let key = self.sealing().tagging()?;
        Some(key.authenticate(&Parts::new(label, 0, key.id(), content)).as_ref().to_vec())
    }

    /// Whether that is the beginning of such a tag, of 16 bytes at least, by any of the keys at
    /// hand; in constant time for each.
    pub fn authenticates_at_hand(&self, label: &str, content: &[u8], tag: &[u8]) -> bool {
        let keys = self.sealing().ids().into_iter().filter_map(|id| self.sealing().holding(&id));
        let mut keys =
            keys.map(|key| key.authenticate(&Parts::new(label, 0, key.id(), content)).as_ref().to_vec());
        keys.any(|expected| {
            let beginning = expected.get(..tag.len()).filter(|beginning| beginning.len() >= 16);
            beginning.is_some_and(|beginning| verify_slices_are_equal(beginning, tag).is_ok())
        })
    }

    async fn tag_key(&self, id: &str) -> Result<Option<Arc<SealingKey>>, KeyringError> {
        if let Some(key) = self.sealing().holding(id) {
            return Ok(Some(key));
        }
        if !self.sealing().has_services() {
            return Ok(None);
        }
        let keyring = self.read().await?;
        match keyring.data_keys().iter().find(|record| record.id == id) {
            Some(record) => self.sealing().fetch(record).await.map(Some),
            None => Ok(None),
        }
    }
}
