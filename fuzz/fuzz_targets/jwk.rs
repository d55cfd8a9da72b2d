//! Keys as JSON: any bytes as a JWK and as a JWK Set.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::jose::jwk(data));
