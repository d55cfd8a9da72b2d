//! Rotation that no verifier notices: when a ring's next key is made, published, made active, and
//! the old one removed.
//!
//! A key may become active only after it has been *seen* at the public address for as long as the
//! slowest consumer may go on with keys it read before (`observation`), or where nothing is
//! published, as long ago as its consumers need to be given it; a retired key stays until the last
//! token it signed has expired. Everything here is a pure function of keyring, policy, observations
//! and a time that is passed in (`plan`); `stored` applies one step at a time by compare-and-set.
//! Pinned by `tests/rotation.rs` and the simulation in `tests/simulation.rs`.

mod observation;
mod plan;
mod policy;

pub use observation::{Look, Observations, Sighting};
pub use plan::{Obstacle, Planned, Step};
pub use policy::{Distribution, PolicyError, RotationPolicy};
