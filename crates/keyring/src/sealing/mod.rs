//! Sealing: private keys at rest under AES-256-GCM, with a set of sealing keys of which one seals
//! and all open.
//!
//! `key` is one sealing key: what it seals, and what it authenticates. `set` is what a process has
//! of them, so that the key can be changed while others still use the old one. `data_key` is a
//! sealing key that is kept in the keyring itself, encrypted under a key that never leaves its
//! service.

mod data_key;
mod key;
mod set;

pub use data_key::{DataKeyRecord, DataKeyService, WrappedKey};
pub(crate) use data_key::{MadeDataKey, prune};
pub(crate) use key::Parts;
pub use key::{SealError, SealedKey, SealingKey};
pub use set::Sealing;
pub(crate) use set::{Opening, Sealer, named};
