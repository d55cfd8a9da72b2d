//! Grants through their public API: what holds whatever is sent and shown, what is recorded, and
//! the families of refresh tokens.
//!
//! One binary, so that it links once.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say what they expect by failing")]

mod chain_properties;
mod exchange_properties;
mod explain_agrees;
mod hung_up;
mod meeting_properties;
mod recorded;
mod refresh;
mod refresh_properties;
mod revoked_until;
mod support;
mod token_properties;
