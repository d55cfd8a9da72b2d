//! `Signer`: one key that signs. Async, because a key in a KMS is a network call away; a key in memory signs inline.

use async_trait::async_trait;
use countersign_jose::{Algorithm, KeyError, PublicKey, SigningInput, SigningKey};
use std::fmt::Debug;

/// One key that signs with one algorithm.
#[async_trait]
pub trait Signer: Send + Sync + Debug {
    /// The key's name.
    fn kid(&self) -> &str;
    /// The algorithm it signs with.
    fn algorithm(&self) -> Algorithm;
    /// Its public half; `None` for a shared secret.
    fn public_key(&self) -> Option<&PublicKey>;
    /// The JWS signature over `input`.
    async fn sign(&self, input: &SigningInput) -> Result<Vec<u8>, SignError>;
}

/// Why a signature could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key or the crypto library failed.
    #[error("signing failed: {0}")]
    Key(#[from] KeyError),
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

    async fn sign(&self, input: &SigningInput) -> Result<Vec<u8>, SignError> {
        Ok(self.key.sign(input)?)
    }
}
