//! `Signer`: one key that signs. Async, because a key in a KMS is a network call away; a key in
//! memory signs inline.
//!
//! What a service signed is verified with the public key of the keyring before it is released: a
//! broken or hostile answer becomes an error, never a token.

use crate::{KeyService, ServiceError};
use async_trait::async_trait;
use countersign_jose::{Algorithm, KeyError, PublicKey, SigningInput, SigningKey, VerifyingKey};
use std::{fmt::Debug, sync::Arc};

/// One key that signs with one algorithm.
#[async_trait]
pub trait Signer: Send + Sync + Debug {
    /// The key's name.
    fn kid(&self) -> &str;
    /// The algorithm it signs with.
    fn algorithm(&self) -> Algorithm;
    /// Its public half; `None` for a shared secret.
    fn public_key(&self) -> Option<&PublicKey>;
    /// Whether [`Signer::sign`] computes the signature on this processor, and waits for nothing.
    fn signs_here(&self) -> bool {
        false
    }
    /// The JWS signature over `input`.
    async fn sign(&self, input: &SigningInput) -> Result<Vec<u8>, SignError>;
}

/// Why a signature could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key or the crypto library failed.
    #[error("signing failed: {0}")]
    Key(#[from] KeyError),
    /// The service that keeps the key did not sign.
    #[error("signing failed: {name}: {why}")]
    Service {
        /// The service's name for the key.
        name: String,
        /// Why not.
        why: ServiceError,
    },
}

/// A key in memory, parsed once.
#[derive(Debug)]
pub struct LocalSigner {
    kid: String,
    key: SigningKey,
}

impl LocalSigner {
    /// Names a key.
    pub fn new(kid: String, key: SigningKey) -> Self {
        Self { kid, key }
    }
}

#[async_trait]
impl Signer for LocalSigner {
    fn kid(&self) -> &str {
        &self.kid
    }

    fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    fn public_key(&self) -> Option<&PublicKey> {
        self.key.public_key()
    }

    fn signs_here(&self) -> bool {
        true
    }

    async fn sign(&self, input: &SigningInput) -> Result<Vec<u8>, SignError> {
        Ok(self.key.sign(input)?)
    }
}

/// A key that a service keeps.
#[derive(Debug)]
pub struct RemoteSigner {
    kid: String,
    name: String,
    public: PublicKey,
    verifying: VerifyingKey,
    service: Arc<dyn KeyService>,
}

impl RemoteSigner {
    /// Names a key of `service`. Asks nothing of it.
    ///
    /// # Errors
    ///
    /// If the public key does not fit the algorithm.
    pub fn new(
        kid: String,
        name: String,
        algorithm: Algorithm,
        public: PublicKey,
        service: Arc<dyn KeyService>,
    ) -> Result<Self, KeyError> {
        let verifying = VerifyingKey::new(&public, algorithm, Some(kid.clone()))?;
        Ok(Self { kid, name, public, verifying, service })
    }

    /// A signature over any bytes, verified.
    pub(crate) async fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let about = |why| SignError::Service { name: self.name.clone(), why };
        let signature =
            self.service.sign(&self.name, self.verifying.algorithm(), message).await.map_err(about)?;
        if !self.verifying.verifies(message, &signature) {
            return Err(about(ServiceError::WrongSignature));
        }
        Ok(signature)
    }
}

#[async_trait]
impl Signer for RemoteSigner {
    fn kid(&self) -> &str {
        &self.kid
    }

    fn algorithm(&self) -> Algorithm {
        self.verifying.algorithm()
    }

    fn public_key(&self) -> Option<&PublicKey> {
        Some(&self.public)
    }

    async fn sign(&self, input: &SigningInput) -> Result<Vec<u8>, SignError> {
        self.sign_bytes(input.as_bytes()).await
    }
}
