//! What holds for any input whatever: the properties that proptest (`oracle.rs`) and the fuzz
//! targets (`fuzz/`) share.
//!
//! Each function takes the input, uses the crate on it, and panics where a promise is broken. JSON
//! and claims are compared with a second reading by serde_json; keys and tokens with themselves
//! after a round trip.

mod claims;
mod json;
mod keys;
mod token;

pub use claims::claims;
pub use json::json;
pub use keys::{der, jwk, pem};
pub use token::{header, token};
