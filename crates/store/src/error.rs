//! `StoreError`: each variant is a decision the caller can make, not an engine's code.
//!
//! A missing document is `Ok(None)`, never an error. Messages are one line: what was wrong, where,
//! what to do. They may name keys, files and hosts; document contents and credentials never enter
//! one. Engines translate their own errors in their `error.rs`; the retrying, refusing and
//! reporting happens in the callers.

use thiserror::Error;

use crate::{Key, MAX_DOCUMENT_BYTES};

/// Why an operation did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The expectation did not hold and nothing was changed. Read again and decide anew.
    #[error("the document `{key}` is not in the expected state: another writer was first; read it again")]
    Conflict {
        /// The document.
        key: Key,
    },

    /// The engine refuses this user. Retrying does not help until somebody changes permissions.
    #[error("{place}: access denied: {reason}")]
    Denied {
        /// Which store.
        place: String,
        /// What was refused, and what to do.
        reason: String,
    },

    /// The engine cannot answer now; whether a write took effect is unknown. Retry later, after a
    /// new read.
    #[error("{place} is not available: {reason}")]
    Unavailable {
        /// Which store.
        place: String,
        /// What happened, and what to do.
        reason: String,
    },

    /// What is stored is not what this program wrote. Nothing was changed; a person has to look.
    #[error("{place} is damaged: {reason}")]
    Corrupt {
        /// Which store.
        place: String,
        /// What was found, and what to do.
        reason: String,
    },

    /// The configuration cannot work as it stands. Start-up should stop with this message.
    #[error("{place} cannot be used: {reason}")]
    Misconfigured {
        /// Which store.
        place: String,
        /// What clashes, and what to change.
        reason: String,
    },

    /// There is no store at the place that was named, and none was to be made;
    /// [`create`](crate::create) makes one.
    #[error("{place} cannot be used: {reason}")]
    Missing {
        /// Which store.
        place: String,
        /// What was looked for, and what to do.
        reason: String,
    },

    /// The document is above the size that all engines can hold. Nothing was changed.
    #[error(
        "the document `{key}` would be {size} bytes long; a store holds at most {MAX_DOCUMENT_BYTES} per \
         document: split it or remove old entries"
    )]
    TooLarge {
        /// The document.
        key: Key,
        /// The length that was refused, in bytes.
        size: usize,
    },
}

impl StoreError {
    /// A stable name for logs, metrics and `--json`; never changes once released.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "store_conflict",
            Self::Denied { .. } => "store_denied",
            Self::Unavailable { .. } => "store_unavailable",
            Self::Corrupt { .. } => "store_corrupt",
            Self::Misconfigured { .. } => "store_misconfigured",
            Self::Missing { .. } => "store_missing",
            Self::TooLarge { .. } => "store_too_large",
        }
    }
}
