//! Strict JSON against serde_json: the same objects, the same values, no name twice, no deeper than
//! asked.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::jose::json(data));
