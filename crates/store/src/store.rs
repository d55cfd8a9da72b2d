//! `Store`: the four operations everything in Countersign that must be remembered is built on.
//!
//! Two rotators cannot both win, two cold starts cannot create two keys, one refresh token cannot
//! be spent twice: each of these is one `put` with an expectation. Engines implement this trait in
//! their own module folder; `conformance` pins what they must have in common.

use std::fmt::Debug;

use async_trait::async_trait;
use countersign_jose::Timestamp;

use crate::{Document, Expect, Key, StoreError, Version};

/// Versioned documents, changed only by compare-and-set.
///
/// Operations on one key are linearizable: they act as if they happened one after the other, across
/// tasks, processes and machines that use the same store.
///
/// An operation that fails with [`StoreError::Unavailable`], or whose future is dropped, may or may
/// not have taken effect. Read the document again before deciding anything; a blind retry with the
/// same expectation is safe (it takes effect at most once) but may report a `Conflict` with the
/// caller's own first attempt.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// The live document under `key`, or `None` when none exists or it has expired.
    ///
    /// Sees every `put` and `delete` that returned before this was called. The document says when
    /// it expires.
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError>;

    /// Writes `bytes` under `key` if `expect` holds and returns the new version; the document is
    /// durable then.
    ///
    /// From `expires_at` on, the document is absent; `None` keeps it forever. An `expires_at` that
    /// is not after the store's clock is accepted and makes a document that nobody will see.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when `expect` does not hold: nothing was changed.
    /// [`StoreError::TooLarge`] when `bytes` is longer than
    /// [`MAX_DOCUMENT_BYTES`](crate::MAX_DOCUMENT_BYTES).
    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError>;

    /// Removes the document under `key` if it still is at `version`.
    ///
    /// Takes a version and not an [`Expect`]: deleting what is expected to be absent means nothing,
    /// and deleting what one has not read is how another's change gets lost. Idempotent: when the
    /// document is absent or expired, no matter who removed it, the wish is fulfilled and the
    /// answer is `Ok`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when a live document of another version is there: nothing was
    /// changed.
    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError>;

    /// The keys of live documents that start with `prefix`, in byte order; all of them for the
    /// empty prefix.
    ///
    /// The prefix is plain text: no character is a wildcard, and it need not end at a `/`. One that
    /// no key can start with matches nothing. For people and clean-up, not for hot paths: engines
    /// may read everything, and the answer need not be one moment's picture.
    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError>;

    /// Closes the store; no operation may follow. A store that is a file is then complete in that
    /// one file, unless another process has it open.
    async fn close(&self) {}
}
