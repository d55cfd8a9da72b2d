//! Signing keys and the state each is in: one sealed, versioned document per issuer.
//!
//! The keyring is a value (`record`); what may happen to it are pure functions of it and a passed-in time
//! (`lifecycle`); every change is one compare-and-set on the store (`stored`), so of two processes that make the
//! first key at the same moment exactly one wins. Private keys leave memory only sealed (`sealing`) and are used
//! through [`Signer`], which a KMS can be as well as a key in memory. Every key that is published has its certificate
//! (`certificate`).

mod certificate;
mod lifecycle;
mod loaded;
mod record;
mod rotation;
mod rotator;
mod sealing;
mod signer;
mod stored;

pub use certificate::{Certificate, CertificateError, UnsignedCertificate};
pub use lifecycle::{Activation, LifecycleError, NewKey};
pub use loaded::{LoadedKeyring, LoadedRing, PublishedKey};
pub use record::{KeyOrigin, KeyRecord, KeyState, Keyring, Ring, RingName, RingNameError};
pub use rotation::{Observations, Obstacle, Planned, PolicyError, RotationPolicy, Sighting, Step};
pub use rotator::{Done, Force};
pub use sealing::{SealError, SealedKey, SealingKey};
pub use signer::{LocalSigner, SignError, Signer};
pub use stored::{ImportedKey, ImportedMaterial, KeyringError, RingSpec, StoredKeyring};
