//! An authorizer event: a reply of a known form, and none that lets anybody in.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::gateway::event(data));
