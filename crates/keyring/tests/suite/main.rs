//! Keyrings through their public API, from the first key to ten years of rotation.
//!
//! One binary, so that it links once.

mod adopt;
mod continuity;
mod forgery;
mod handed_out;
mod journal;
#[cfg(feature = "kms")]
mod kms;
mod revocation;
mod rotation;
mod sealing;
mod simulation;
mod stored;
mod times;
mod undo_import;
mod went_back;
