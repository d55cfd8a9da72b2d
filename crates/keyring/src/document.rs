//! The stored document: an envelope with a tag around the JSON text of the keyring.
//!
//! The tag is HMAC-SHA256 under a key that is derived from the sealing key (HKDF, never the AES key
//! itself) over a label, the format, the fingerprint of the sealing key and the exact bytes of the
//! content. Nothing of the content is parsed before the tag was found right, so anyone who can
//! write to the store and has no sealing key cannot add a key, bring a revoked one back, or change
//! a state, a time or a certificate. With a data key of a service the envelope also has its
//! encrypted form. `legacy` reads the older formats, which had no tag. Pinned by tests/forgery.rs.

use crate::{
    Keyring, KeyringError, SealingKey,
    sealing::{DataKeyRecord, Parts},
};
use countersign_jose::base64url;
use countersign_store::{Key, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The format this program reads and writes.
pub(crate) const FORMAT: u32 = 5;
/// What a tag is made over begins with this.
const LABEL: &str = "countersign keyring document";

/// The document as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Envelope {
    format: u32,
    /// The fingerprint of the sealing key that authenticates it.
    pub(crate) sealing_key: String,
    /// That key, encrypted, where it is a data key of a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data_key: Option<DataKeyRecord>,
    /// HMAC-SHA256, base64url.
    tag: String,
    content: Box<RawValue>,
}

impl Envelope {
    /// Reads the envelope alone; its content is not looked at.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, KeyringError> {
        #[derive(Deserialize)]
        struct Head {
            format: Option<u64>,
        }
        let Head { format } = serde_json::from_slice(bytes).map_err(not_a_keyring)?;
        match format {
            Some(found) if found > u64::from(FORMAT) => {
                Err(KeyringError::NewerFormat { found, known: FORMAT })
            }
            Some(found @ 1..=4) => Err(KeyringError::OldFormat { found }),
            _ => serde_json::from_slice(bytes).map_err(not_a_keyring),
        }
    }

    /// The keyring, if `key` authenticates it.
    pub(crate) fn verify(&self, key: &SealingKey) -> Result<Keyring, KeyringError> {
        let altered = || KeyringError::Altered { sealing_key: self.sealing_key.clone() };
        let tag = base64url::decode(&self.tag).map_err(|_| altered())?;
        let content = self.content.get();
        if self.format != FORMAT
            || self.sealing_key != key.id()
            || !key.authenticates(&parts(key.id(), content), &tag)
        {
            return Err(altered());
        }
        let keyring: Keyring = serde_json::from_str(content).map_err(not_a_keyring)?;
        check(&keyring)?;
        Ok(keyring)
    }

    /// What the content says, for counting: anybody may have written it.
    pub(crate) fn unverified(&self) -> Result<Keyring, KeyringError> {
        serde_json::from_str(self.content.get()).map_err(not_a_keyring)
    }

    /// The bytes to store, authenticated by `key`.
    pub(crate) fn write(
        keyring: &Keyring,
        key: &SealingKey,
        data_key: Option<DataKeyRecord>,
    ) -> Result<Written, KeyringError> {
        check(keyring)?;
        let unwritable = |why: serde_json::Error| KeyringError::Corrupt(why.to_string());
        let content = serde_json::value::to_raw_value(keyring).map_err(unwritable)?;
        let tag = base64url::encode(key.authenticate(&parts(key.id(), content.get())).as_ref());
        let sealing_key = key.id().to_owned();
        let envelope = Self { format: FORMAT, sealing_key, data_key, tag, content };
        let bytes = serde_json::to_vec(&envelope).map_err(unwritable)?;
        Ok(Written { bytes, envelope })
    }

    /// The exact text that is authenticated.
    pub(crate) fn content(&self) -> &str {
        self.content.get()
    }
}

/// A document that is to be stored.
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    pub(crate) envelope: Envelope,
}

/// What a tag is made over. No part can run into the next: the fingerprint goes with its length.
fn parts<'a>(sealing_key: &'a str, content: &'a str) -> Parts<'a> {
    Parts::new(LABEL, FORMAT, sealing_key, content.as_bytes())
}

/// What holds in every keyring that is read or written.
fn check(keyring: &Keyring) -> Result<(), KeyringError> {
    keyring.check().map_err(|fault| KeyringError::Corrupt(fault.to_string()))
}

fn not_a_keyring(why: serde_json::Error) -> KeyringError {
    let (line, column) = (why.line(), why.column());
    KeyringError::Corrupt(format!("not a keyring document (line {line}, column {column})"))
}

/// Where the keyring is kept.
pub(crate) fn name() -> Result<Key, StoreError> {
    document_name("keyring")
}

/// The name of one of the keyring's documents.
pub(crate) fn document_name(name: &str) -> Result<Key, StoreError> {
    Key::parse(name)
        .map_err(|why| StoreError::Misconfigured { place: name.to_owned(), reason: why.to_string() })
}
