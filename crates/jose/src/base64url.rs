//! Strict base64url without padding (RFC 7515 §2): one text for one byte string, and no other.
//!
//! Padding, line breaks, the `+/` alphabet and non-zero trailing bits are refused, so a token's text cannot be
//! varied without changing what it says.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The text is not canonical base64url without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not canonical base64url without padding")]
pub struct InvalidBase64Url;

/// Encodes bytes as base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends the encoding of `bytes` to `out`.
pub fn encode_into(bytes: &[u8], out: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, out);
}

/// Decodes canonical base64url without padding.
pub fn decode(text: &str) -> Result<Vec<u8>, InvalidBase64Url> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidBase64Url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_every_second_spelling_of_the_same_bytes() {
        assert_eq!(decode("AQAB"), Ok(vec![1, 0, 1]));
        for text in ["AQAB=", "AQ==", "AQA", "AR", "A", "+/8", "A Q", "AQAB\n", "AQ\u{e4}"] {
            assert!(decode(text).is_err() || text == "AQA", "{text:?}");
        }
        // "AQA" is the canonical form of [1, 0]; "AQB" has non-zero trailing bits.
        assert_eq!(decode("AQA"), Ok(vec![1, 0]));
        assert_eq!(decode("AQB"), Err(InvalidBase64Url));
    }
}
