//! What is stored: a `Document`, the `Version` that identifies its state, and what a writer may
//! `Expect`.
//!
//! A version is 128 random bits made by the writer. It is not a counter that restarts after a
//! delete and not a hash of the content, so "the version I read is still there" always means
//! "nobody touched it since": a document deleted and made again with the same bytes has another
//! version.

use countersign_jose::{Timestamp, hex};

use crate::{Key, StoreError};

/// The longest document, in bytes: 350 KiB.
///
/// The same on every engine, so that a configuration can move between them. Set by the tightest
/// one: a DynamoDB item holds 400 KB including key, names and numbers (Amazon DynamoDB developer
/// guide, "Quotas").
pub const MAX_DOCUMENT_BYTES: usize = 350 * 1024;

/// A document as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// The content, exactly as it was put.
    pub bytes: Vec<u8>,
    /// The state this content belongs to; pass it back to change or delete the document.
    pub version: Version,
    /// From when on it is absent; `None`: never.
    pub expires_at: Option<Timestamp>,
}

impl Document {
    /// Whether it is there: from its expiry on it is absent, whether or not its engine has removed
    /// it.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// Shows the length only: documents hold sealed keys and token hashes, which have no place in a
/// log.
impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document")
            .field("bytes", &format_args!("({} bytes)", self.bytes.len()))
            .field("version", &self.version)
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// Identifies one state of one document. Opaque: compare for equality, nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(String);

impl Version {
    /// A version as an engine, or a file that remembered it, gave it.
    pub fn from_engine(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text to hand to an engine.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A version that was never used before: 128 bits from the operating system.
    pub(crate) fn fresh(place: &str) -> Result<Self, StoreError> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| StoreError::Unavailable {
            place: place.to_owned(),
            reason: format!("the operating system gives no random numbers: {error}"),
        })?;
        Ok(Self(hex(&bits)))
    }
}

/// What a writer believes is stored under a key. The write happens only if that is true at that
/// moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// No live document: there never was one, or it was deleted, or it has expired.
    Absent,
    /// A live document in exactly this state.
    Version(Version),
}

/// Refuses what the contract does not hold, before an engine sees it. Every engine's `put` starts
/// with this.
pub(crate) fn check_size(key: &Key, bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(StoreError::TooLarge { key: key.clone(), size: bytes.len() });
    }
    Ok(())
}
