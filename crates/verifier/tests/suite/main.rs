//! The verifier as its users meet it: through the public API, with key servers on loopback that
//! behave and misbehave.
//!
//! One binary, so that it links once. Servers listen on 127.0.0.1 and stop with their test. A fake
//! fetch is used only where time is virtual or where a preset's address must not be asked.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod discovery;
mod dpop;
mod explanations;
mod flood;
mod hostile_servers;
mod key_document;
mod key_server;
mod load_balancer;
mod presets;
mod remote_keys;
mod security_cases;
mod snapshots;
mod standstill;
mod support;
mod tls;
mod token_cache;
#[cfg(feature = "tower")]
mod tower_layer;
mod trust;
mod withdrawn_keys;
mod x509_map;
