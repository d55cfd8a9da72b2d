//! What the benchmarks share: how to time contenders against each other, and the contenders themselves.
//!
//! Every figure is a ratio within one run: the contenders take turns, round by round, so that whatever else the machine
//! does hits all of them. Nothing here is a test; `benches/run` runs it and prints the tables.

pub mod contenders;
pub mod measure;
