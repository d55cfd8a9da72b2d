//! DPoP (RFC 9449): a proof that who shows a token, or asks for one, holds a key.
//!
//! A proof is for one request: method and URL, for a resource the token too, and it is taken once.
//! [`ProofRules::check`] proves everything but the last, which `Proven::name` and `Proven::until`
//! are for: an authorization server notes the name in its store, a resource server in [`Replays`].
//! When it was made is told by a nonce of ours, if the proof has one, and else by the client's
//! clock. Called by `countersign-grants` and `countersign-gateway`; pinned by `tests/suite/dpop`.

mod binding;
mod error;
mod nonce;
mod proof;
mod replays;
mod uri;

pub use binding::{Binding, UnknownBinding};
pub use error::ProofError;
pub use nonce::{NONCE_LIFETIME, NonceAuthenticator, NonceKey, NonceKeyError};
pub use proof::{
    AHEAD, ALGORITHMS, MAX_JTI_BYTES, MAX_PROOF_BYTES, MAX_WINDOW, ProofRules, Proven, ath, single,
};
pub use replays::{ReplayError, Replays};
pub use uri::{HttpUri, HttpUriError};
