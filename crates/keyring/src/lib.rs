//! Signing keys and the state each is in: one sealed, versioned document per issuer.
//!
//! The keyring is a value (`record`); what may happen to it are pure functions of it and a passed-in time
//! (`lifecycle`); every change is one compare-and-set on the store (`stored`), so of two processes that make the
//! first key at the same moment exactly one wins. Private keys leave memory only sealed (`sealing`), or never come here because
//! a service keeps them (`service`, `kms`), and are used through [`Signer`] either way. Every key that is published has its
//! certificate (`certificate`).

mod certificate;
mod ecdsa;
mod error;
#[cfg(feature = "kms")]
pub mod kms;
mod lifecycle;
mod loaded;
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

pub use certificate::{Certificate, CertificateError, UnsignedCertificate};
pub use error::KeyringError;
pub use lifecycle::{Activation, LifecycleError, NewKey};
pub use loaded::{LoadedKeyring, LoadedRing, PublishedKey};
pub use material::{ImportedKey, ImportedMaterial};
pub use record::{
    KeyOrigin, KeyRecord, KeyState, Keyring, PrivateHalf, RemoteName, Ring, RingName, RingNameError,
};
pub use reseal::{DataKey, Resealed};
pub use rotation::{Observations, Obstacle, Planned, PolicyError, RotationPolicy, Sighting, Step};
pub use rotator::{Done, Force};
pub use sealing::{DataKeyService, SealError, SealedKey, Sealing, SealingKey, WrappedKey};
pub use service::{KeyService, RemoteKey, ServiceError};
pub use signer::{LocalSigner, RemoteSigner, SignError, Signer};
pub use stored::{KeyPlace, RingSpec, StoredKeyring};
pub use times::FutureTime;
