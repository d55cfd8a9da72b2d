//! Signing keys and the state each is in: one authenticated, versioned document per issuer.
//!
//! The keyring is a value (`record`); what may happen to it are pure functions of it and a
//! passed-in time (`lifecycle`); it is stored with a tag under a key derived from the sealing key
//! (`document`), and every change is one compare-and-set (`stored`), so of two processes that make
//! the first key at the same moment exactly one wins. What a process has seen it does not forget
//! (`continuity`). Private keys leave memory only sealed (`sealing`), or never come here because a
//! service keeps them (`service`, `kms`), and are used through [`Signer`] either way. Every key
//! that is published has its certificate (`certificate`).

mod adopt;
mod by_hand;
mod certificate;
#[cfg(feature = "conformance")]
pub mod conformance;
mod continuity;
mod document;
mod ecdsa;
mod error;
mod guard;
mod invariants;
mod journal;
#[cfg(feature = "kms")]
pub mod kms;
mod lifecycle;
mod loaded;
mod marks;
mod material;
mod record;
mod reseal;
mod rotation;
mod rotator;
mod sealing;
mod service;
mod signer;
mod stored;
mod times;

pub use adopt::{Adoptable, AdoptableKey};
pub use by_hand::{Force, MadeSecret, Prepared, Revocation};
pub use certificate::{Certificate, CertificateError, UnsignedCertificate};
pub use continuity::{Continuity, Known, WentBack};
pub use error::KeyringError;
pub use guard::Losses;
pub use invariants::{Fault, Remark};
pub use journal::{Journal, KeyChange, Outcome, What};
pub use lifecycle::{Activation, LifecycleError, NewKey};
pub use loaded::{LoadedKeyring, LoadedRing, PublishedKey};
pub use marks::Replaced;
pub use material::{ImportedKey, ImportedMaterial};
pub use record::{
    KeyOrigin, KeyRecord, KeyState, Keyring, PrivateHalf, RemoteName, RevokedKey, Ring, RingName,
    RingNameError,
};
pub use reseal::{DataKey, Resealed};
pub use rotation::{
    Distribution, Look, Observations, Obstacle, Planned, PolicyError, RotationPolicy, Sighting, Step,
};
pub use rotator::{Done, Needs};
pub use sealing::{DataKeyRecord, DataKeyService, SealError, SealedKey, Sealing, SealingKey, WrappedKey};
pub use service::{KeyService, RemoteKey, ServiceError};
pub use signer::{LocalSigner, RemoteSigner, SignError, Signer};
pub use stored::{
    Change, DocumentTag, Imported, KeyPlace, Reloaded, RingSpec, StoredKeyring, UnverifiedKeyring,
};
pub use times::FutureTime;
