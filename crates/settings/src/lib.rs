//! What every program of this project starts with: the environment, read once; files of reasonable size; secrets by
//! reference.
//!
//! Nothing here knows what a program is for: it links neither issuer nor keyring nor store. Messages may name files and
//! variables, never what is in them.

mod environment;
pub mod files;
mod secret;

pub use environment::Environment;
pub use secret::{SecretError, SecretRef};
