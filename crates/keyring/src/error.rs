//! Why a keyring cannot be read, opened or changed.

use crate::{CertificateError, LifecycleError, SealError, ServiceError, SignError, WentBack};
use countersign_jose::KeyError;
use countersign_store::StoreError;

/// Why the keyring cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key does not open.
    #[error("key {kid:?}: {why}")]
    Seal {
        /// The key's name.
        kid: String,
        /// Why not.
        why: SealError,
    },
    /// Sealing failed.
    #[error(transparent)]
    Sealing(#[from] SealError),
    /// A data key does not open.
    #[error("data key {id}, which is under {under}: {why}")]
    DataKey {
        /// Its fingerprint.
        id: String,
        /// What it is encrypted under.
        under: String,
        /// Why not.
        why: ServiceError,
    },
    /// The service that keeps keys did not do what was asked.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A key is kept by a service, and none is configured.
    #[error("key {kid:?} is {name}, and this program cannot use it: it was built without KMS")]
    NoService {
        /// The key's name.
        kid: String,
        /// The service's name for it.
        name: String,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key's certificate cannot be made.
    #[error("the certificate of key {kid:?} cannot be made: {why}")]
    Certificate {
        /// The key's name.
        kid: String,
        /// Why not.
        why: CertificateError,
    },
    /// The change is refused.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The sealing key that authenticates the document is not at hand.
    #[error(
        "the stored keyring is authenticated with sealing key {needed}, but {given} was given; \
         give {needed} as sealing.key or in sealing.also"
    )]
    WrongSealingKey {
        /// The fingerprint that the document names.
        needed: String,
        /// The fingerprints of those at hand.
        given: String,
    },
    /// The document is not what somebody with the sealing key has written.
    #[error(
        "the stored keyring was altered by somebody who does not have sealing key {sealing_key}, or is damaged: \
         its tag is not right; restore it from a backup, and find out who can write to the store"
    )]
    Altered {
        /// The fingerprint that the document names.
        sealing_key: String,
    },
    /// The document is authentic, and older than one that was seen, or of another keyring.
    #[error(
        "the store went back: {0}; the keys read before stay in use; restore the newer keyring from a backup"
    )]
    WentBack(WentBack),
    /// The document is of a format that was not authenticated.
    #[error(
        "the stored keyring has format {found}, which anybody who can write to the store could change; \
         `countersign keys adopt` shows what is in it and takes it over"
    )]
    OldFormat {
        /// Its format.
        found: u64,
    },
    /// What is to be adopted is not what was shown.
    #[error(
        "the stored keyring is not the one with digest {given}; `countersign keys adopt` shows what it is now"
    )]
    OtherDigest {
        /// What was given.
        given: String,
    },
    /// The document is not a keyring this program can read.
    #[error("the stored keyring is damaged: {0}; restore it from a backup")]
    Corrupt(String),
    /// The document was written by a newer version.
    #[error("the stored keyring has format {found}, this version reads {known}; use a newer version")]
    NewerFormat {
        /// Its format.
        found: u64,
        /// What this version reads.
        known: u32,
    },
    /// Others kept changing the keyring at the same time.
    #[error("the keyring kept changing while this change was tried; try again")]
    Contended,
}

impl From<SignError> for KeyringError {
    fn from(why: SignError) -> Self {
        match why {
            SignError::Key(why) => Self::Key(why),
            SignError::Service { why, .. } => Self::Service(why),
        }
    }
}

impl KeyringError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(why) => why.code(),
            Self::Seal { why: SealError::WrongKey { .. }, .. } => "keyring_wrong_sealing_key",
            Self::Seal { .. } | Self::Sealing(_) => "keyring_sealing",
            Self::DataKey { why, .. } | Self::Service(why) => why.code(),
            Self::NoService { .. } => "keyring_without_kms",
            Self::Key(why) => why.code(),
            Self::Certificate { why, .. } => why.code(),
            Self::Lifecycle(LifecycleError::KidTaken { .. }) => "keyring_kid_taken",
            Self::Lifecycle(LifecycleError::InAnotherRing { .. }) => "keyring_in_another_ring",
            Self::Lifecycle(LifecycleError::NotImported { .. }) => "keyring_not_imported",
            Self::Lifecycle(LifecycleError::RingFull { .. }) => "keyring_ring_full",
            Self::Lifecycle(LifecycleError::UnknownKey { .. }) => "keyring_unknown_key",
            Self::Lifecycle(
                LifecycleError::NotKnown { .. }
                | LifecycleError::NotPublished { .. }
                | LifecycleError::GivenInFuture { .. },
            ) => "keyring_key_not_known_yet",
            Self::Lifecycle(LifecycleError::Revoked { .. }) => "keyring_revoked",
            Self::Lifecycle(LifecycleError::Needed { .. }) => "keyring_key_needed",
            Self::Lifecycle(LifecycleError::WrongState { .. }) => "keyring_wrong_state",
            Self::Lifecycle(LifecycleError::Kid(why)) => why.code(),
            Self::WrongSealingKey { .. } => "keyring_wrong_sealing_key",
            Self::Altered { .. } => "keyring_altered",
            Self::WentBack(_) => "keyring_went_back",
            Self::OldFormat { .. } => "keyring_old_format",
            Self::OtherDigest { .. } => "keyring_other_digest",
            Self::Corrupt(_) => "keyring_corrupt",
            Self::NewerFormat { .. } => "keyring_newer_format",
            Self::Contended => "keyring_contended",
        }
    }
}
