//! What every program of this project starts with: the environment, read once; settings from a file
//! and variables over it; files of reasonable size; secrets by reference; the log.
//!
//! Nothing here knows what a program is for: it links neither issuer nor keyring nor store.
//! Messages may name files and variables, never what is in them.

pub mod duration;
mod environment;
mod error;
mod load;
pub mod log;
mod overrides;
mod secret;
mod suggest;

/// Bounded readers, and files that are whole or not there.
pub use countersign_files as files;
pub use environment::Environment;
pub use error::{Place, SettingsError};
pub use load::{from_environment, load, load_text};
pub use secret::{SecretError, SecretRef};
