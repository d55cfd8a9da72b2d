//! The gate through its public API: decisions, events and their replies, forward-auth, settings.
//!
//! One binary, so that it links once. Keys are inline; nothing is fetched.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod cached_policies;
mod claim_names;
mod credentials;
mod decisions;
mod dpop;
mod dpop_events;
mod dpop_properties;
mod events;
mod forward_auth;
mod hostile_events;
#[path = "../properties/mod.rs"]
mod properties;
mod resource;
mod settings;
mod support;
mod unavailable;
