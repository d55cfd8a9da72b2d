//! Compact JWS, JWK and the algorithm table.

mod time;

pub use time::Timestamp;
