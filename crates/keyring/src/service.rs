//! What a service that keeps private keys has to do for a keyring: make, describe, sign, give up.
//!
//! The keyring knows such keys by the service's name for them and keeps their public halves itself,
//! so that nothing is asked of the service before something is to be signed. What comes back is
//! checked before anybody sees it (`RemoteSigner`). AWS KMS is one (`kms`, behind the feature of
//! that name).

use crate::RingName;
use async_trait::async_trait;
use countersign_jose::{Algorithm, KeySize, PublicKey};
use std::fmt::Debug;

/// A service that keeps private keys and signs with them.
#[async_trait]
pub trait KeyService: Debug + Send + Sync {
    /// Makes a key for a ring. Asked twice, it makes two.
    async fn create(
        &self,
        ring: &RingName,
        algorithm: Algorithm,
        size: KeySize,
    ) -> Result<RemoteKey, ServiceError>;
    /// Describes a key that is there, if it can sign with `algorithm`.
    async fn describe(&self, name: &str, algorithm: Algorithm) -> Result<RemoteKey, ServiceError>;
    /// The signature over `message` in the form it has in a JWS. The caller must verify it.
    async fn sign(&self, name: &str, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, ServiceError>;
    /// Gives up a key that was made and is not wanted.
    async fn discard(&self, name: &str) -> Result<(), ServiceError>;
}

/// A key of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteKey {
    /// The service's full name for it: an ARN.
    pub name: String,
    /// Its public half.
    pub public: PublicKey,
}

/// Why a service did not do what was asked. Holds what the service said, which is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// It does not let us.
    #[error("KMS refuses access: {0}")]
    Denied(String),
    /// The key is not there, disabled, about to be deleted, or of another kind than is needed.
    #[error("the KMS key cannot be used: {0}")]
    Unusable(String),
    /// The way to it is not configured.
    #[error("KMS cannot be asked: {0}")]
    Misconfigured(String),
    /// A data key is under another key than the one that was named.
    #[error("it is under another KMS key than those that the configuration names")]
    OtherKey,
    /// What is to be opened is not what was once encrypted, or was encrypted for another purpose.
    #[error("what is stored is not what KMS encrypted for this purpose")]
    Altered,
    /// Too many requests, by its count or by ours.
    #[error("too many requests to KMS at once")]
    Busy,
    /// It does not answer, or says that it cannot at the moment.
    #[error("KMS is not available: {0}")]
    Unavailable(String),
    /// What it returned is not a signature of the key over the message. It was not released.
    #[error("KMS returned something that is not a signature of the key; it was not released")]
    WrongSignature,
    /// Longer than it signs with this algorithm.
    #[error("KMS signs at most {max} bytes with this algorithm, and these are {bytes}")]
    TooLong {
        /// How many were to be signed.
        bytes: usize,
        /// How many may be.
        max: usize,
    },
}

impl ServiceError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(_) => "kms_denied",
            Self::Unusable(_) => "kms_key_unusable",
            Self::Misconfigured(_) => "kms_misconfigured",
            Self::OtherKey => "kms_other_key",
            Self::Altered => "kms_altered",
            Self::Busy => "kms_busy",
            Self::Unavailable(_) => "kms_unavailable",
            Self::WrongSignature => "kms_wrong_signature",
            Self::TooLong { .. } => "kms_too_long",
        }
    }
}
