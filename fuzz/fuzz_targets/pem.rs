//! Keys as files: any text as PEM, any bytes as PKCS#8 DER.

#![no_main]

use countersign_fuzz::jose;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    jose::pem(data);
    jose::der(data);
});
