//! Strict base64url without padding (RFC 7515 §2): one text for one byte string, and no other.
//!
//! Padding, line breaks, the `+/` alphabet and non-zero trailing bits are refused, so a token's
//! text cannot be varied without changing what it says. What is refused is told apart, because each
//! is another mistake of those who wrote or copied the text.

use base64::{
    Engine,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};

/// Why a text is not canonical base64url without padding. Says where, and repeats nothing of the
/// text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBase64Url {
    /// It ends in `=`.
    #[error("it ends in padding (`=`), which base64url of a JWT has none of")]
    Padding,
    /// `+` or `/`: the alphabet of standard base64.
    #[error("it is standard base64 and not base64url: character {at} is `+` or `/`")]
    StandardAlphabet {
        /// Which character, from 1.
        at: usize,
    },
    /// A blank or a line break.
    #[error("there is a blank or a line break at character {at}")]
    WhiteSpace {
        /// Which character, from 1.
        at: usize,
    },
    /// A quotation mark.
    #[error("there is a quotation mark at character {at}")]
    Quote {
        /// Which character, from 1.
        at: usize,
    },
    /// `Bearer ` or another scheme of the header `Authorization`.
    #[error("a scheme like `Bearer ` stands in front of it; send the token alone")]
    Scheme,
    /// A name, as in a file of variables or in JSON.
    #[error("a name with `:` or `=` stands in front of it, up to character {at}; send the token alone")]
    Name {
        /// Which character, from 1.
        at: usize,
    },
    /// JSON.
    #[error("it begins with a brace, so it is JSON and not a token; send what is in it")]
    Json,
    /// Something else that is not in the alphabet.
    #[error("character {at} is not in the alphabet of base64url")]
    Character {
        /// Which character, from 1.
        at: usize,
    },
    /// Its padding is not what belongs to it.
    #[error("it does not end in the padding (`=`) that belongs to it")]
    NotPadded,
    /// Every character is right, and together they are no whole bytes.
    #[error("it is cut short, or its last character is wrong")]
    Cut,
}

/// Encodes bytes as base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends the encoding of `bytes` to `out`.
pub fn encode_into(bytes: &[u8], out: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, out);
}

/// Decodes canonical base64url without padding.
///
/// # Errors
///
/// What makes it something else, and where.
pub fn decode(text: &str) -> Result<Vec<u8>, InvalidBase64Url> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| reason(text))
}

/// Decodes canonical base64url with its padding, as one sender has it against RFC 7515
/// (`LoadBalancerToken`).
pub(crate) fn decode_padded(text: &str) -> Result<Vec<u8>, InvalidBase64Url> {
    URL_SAFE.decode(text).map_err(|_| match reason(text.trim_end_matches('=')) {
        InvalidBase64Url::Cut if decode(text.trim_end_matches('=')).is_ok() => InvalidBase64Url::NotPadded,
        why => why,
    })
}

fn reason(text: &str) -> InvalidBase64Url {
    let scheme = |name: &str| text.get(..name.len()).is_some_and(|front| front.eq_ignore_ascii_case(name));
    if ["Bearer ", "DPoP ", "JWT "].into_iter().any(scheme) {
        return InvalidBase64Url::Scheme;
    }
    let inner = text.trim_end_matches('=');
    let in_alphabet = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match inner.chars().enumerate().find(|(_, c)| !in_alphabet(*c)) {
        Some((at, '+' | '/')) => InvalidBase64Url::StandardAlphabet { at: at + 1 },
        Some((at, '"' | '\'' | '\u{201c}' | '\u{201d}')) => InvalidBase64Url::Quote { at: at + 1 },
        Some((0, '{')) => InvalidBase64Url::Json,
        // `{` in base64url is `ey` or `ew`: what begins so is a token, with padding in its middle.
        Some((at, ':' | '=')) if at >= 3 && !inner.starts_with("ey") => InvalidBase64Url::Name { at: at + 1 },
        Some((at, c)) if c.is_whitespace() => InvalidBase64Url::WhiteSpace { at: at + 1 },
        Some((at, _)) => InvalidBase64Url::Character { at: at + 1 },
        None if inner.len() < text.len() => InvalidBase64Url::Padding,
        None => InvalidBase64Url::Cut,
    }
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
        assert_eq!(decode("AQB"), Err(InvalidBase64Url::Cut));
    }

    #[test]
    fn padded_texts_have_exactly_the_padding_that_belongs_to_them() {
        assert_eq!(decode_padded("AQAB"), Ok(vec![1, 0, 1]));
        assert_eq!(decode_padded("AQ=="), Ok(vec![1]));
        for text in ["AQ", "AQ=", "AQ===", "AQAB=", "AQA", "AQA=="] {
            assert_eq!(decode_padded(text), Err(InvalidBase64Url::NotPadded), "{text}");
        }
        assert_eq!(decode_padded("AR=="), Err(InvalidBase64Url::Cut));
        assert_eq!(decode_padded("A=Q="), Err(InvalidBase64Url::Character { at: 2 }));
        assert_eq!(decode_padded("+/8="), Err(InvalidBase64Url::StandardAlphabet { at: 1 }));
    }

    #[test]
    fn each_mistake_has_its_own_reason_and_place() {
        use InvalidBase64Url::{
            Character, Cut, Json, Name, Padding, Quote, Scheme, StandardAlphabet, WhiteSpace,
        };
        for (text, why) in [
            ("AQ==", Padding),
            ("AQ+B", StandardAlphabet { at: 3 }),
            ("/QAB", StandardAlphabet { at: 1 }),
            ("AQ\nAB", WhiteSpace { at: 3 }),
            ("AQAB ", WhiteSpace { at: 5 }),
            ("\"AQAB", Quote { at: 1 }),
            ("AQ\u{e4}B", Character { at: 3 }),
            ("A=QB", Character { at: 2 }),
            ("A", Cut),
            ("Bearer eyJh", Scheme),
            ("dpop eyJh", Scheme),
            ("Authorization: Bearer eyJh", Name { at: 14 }),
            ("TOKEN=eyJh", Name { at: 6 }),
            ("eyJh=AQ", Character { at: 5 }),
            ("{\"a\":1}", Json),
        ] {
            assert_eq!(decode(text), Err(why), "{text:?}");
        }
    }
}
