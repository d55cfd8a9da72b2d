//! The properties the fuzz targets check, one module per crate that is fuzzed.
//!
//! They are not written here: each crate keeps them beside its tests, where proptest runs them on
//! every change. A fuzz target only hands its input on. A new target is a module here (or a
//! function of one that exists), a file of three lines in `fuzz_targets/`, a `[[bin]]` in
//! `Cargo.toml`, and its seeds in `run`.

/// `countersign-jose`: tokens, keys and strict JSON.
#[path = "../../crates/jose/tests/properties/mod.rs"]
pub mod jose;

/// `countersign-issuer`: the body of `POST /sign`.
#[path = "../../crates/issuer/tests/properties/mod.rs"]
pub mod issuer;

/// `countersign-gateway`: authorizer events and paths.
#[path = "../../crates/gateway/tests/properties/mod.rs"]
pub mod gateway;
