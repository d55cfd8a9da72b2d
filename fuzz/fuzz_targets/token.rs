//! Tokens: any text as a token, any bytes as a header and as properly signed claims.

#![no_main]

use countersign_fuzz::jose;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    jose::token(data);
    jose::header(data);
    jose::claims(data);
});
