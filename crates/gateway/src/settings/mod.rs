//! The settings of the gate: raw (as typed) → resolved; or from the four variables of the
//! authorizer it replaces.
//!
//! Whatever cannot work, or would let in more than its author meant, is refused here, with the key
//! that is wrong.

mod dpop;
mod drop_in;
mod raw;
mod resolve;
mod trust;

pub use drop_in::{DropInError, choose, drop_in, resolve_chosen};
pub use raw::{RawCredentials, RawGate, RawGateDpop, RawProxies, RawResource, RawRoute, RawTrust};
pub use resolve::{GateConfig, SettingError, Surroundings, resolve};
pub use trust::trusted;
