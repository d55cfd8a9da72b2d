//! The body of `POST /sign`: read or refused, and every claim kept as the text it was.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::issuer::sign_body(data));
