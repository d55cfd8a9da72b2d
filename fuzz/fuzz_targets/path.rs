//! The path of a request: refused, or with one reading.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::gateway::path(data));
