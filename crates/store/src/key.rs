//! `Key`: the name of a document, checked before any engine sees it.
//!
//! Part of a key may come from a request (a client id, the hash of a token). The alphabet has no
//! meaning in SQL patterns, file systems, S3 prefixes or URLs, and segments cannot climb out of a
//! directory, so a hostile key fails here and not in an engine. Keys are compared byte by byte,
//! case-sensitively.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// 1 to 512 bytes of `A-Z a-z 0-9 . _ / ~ = -`, as segments separated by single slashes, none
/// empty, `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Why a text is not a [`Key`]. The text itself is not repeated: it may be anything a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// There is no text.
    #[error("a document key cannot be empty")]
    Empty,
    /// Longer than [`Key::MAX_BYTES`].
    #[error("a document key of {length} bytes is too long: at most {max} are allowed", max = Key::MAX_BYTES)]
    TooLong {
        /// The length that was refused, in bytes.
        length: usize,
    },
    /// A character outside the alphabet.
    #[error("a document key cannot hold the byte at offset {offset}: use only A-Z a-z 0-9 . _ / ~ = -")]
    Character {
        /// Where the first such character starts, in bytes.
        offset: usize,
    },
    /// A segment between slashes that is empty, `.` or `..`; also a leading or trailing slash.
    #[error(
        "a document key cannot have the segment at offset {offset}: segments may not be empty, `.` or `..`"
    )]
    Segment {
        /// Where the first such segment starts, in bytes.
        offset: usize,
    },
}

impl KeyError {
    /// A stable name for logs, metrics and `--json`; never changes once released.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "store_key_empty",
            Self::TooLong { .. } => "store_key_too_long",
            Self::Character { .. } => "store_key_character",
            Self::Segment { .. } => "store_key_segment",
        }
    }
}

impl Key {
    /// The longest key, in bytes. DynamoDB would take 2,048 and S3 1,024; the rest is room for a
    /// prefix.
    pub const MAX_BYTES: usize = 512;

    /// Checks `text` and makes it a key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(KeyError::TooLong { length: text.len() });
        }
        if let Some(offset) = text.bytes().position(|byte| !is_allowed(byte)) {
            return Err(KeyError::Character { offset });
        }
        let mut offset = 0;
        for segment in text.split('/') {
            if matches!(segment, "" | "." | "..") {
                return Err(KeyError::Segment { offset });
            }
            offset += segment.len() + 1;
        }
        Ok(Self(text.to_owned()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether some key could start with `prefix`; engines answer `list` with nothing when none
    /// could.
    pub(crate) fn may_start_with(prefix: &str) -> bool {
        prefix.len() <= Self::MAX_BYTES && prefix.bytes().all(is_allowed)
    }
}

const fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'~' | b'=' | b'-')
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_the_keys_this_program_uses() {
        for text in ["keyring", "refresh/9f86d081=", "a", "a/b/c", "jti/x~y_z-1.0", "...", "a..b", ".hidden"]
        {
            assert_eq!(Key::parse(text).map(|key| key.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn rejects_hostile_keys_and_says_where() {
        let long = "k".repeat(513);
        for (text, reason) in [
            ("", KeyError::Empty),
            (long.as_str(), KeyError::TooLong { length: 513 }),
            ("a b", KeyError::Character { offset: 1 }),
            ("a\0", KeyError::Character { offset: 1 }),
            ("a\n", KeyError::Character { offset: 1 }),
            ("kéy", KeyError::Character { offset: 1 }),
            ("50%", KeyError::Character { offset: 2 }),
            ("a'b", KeyError::Character { offset: 1 }),
            ("a\\b", KeyError::Character { offset: 1 }),
            ("a*?", KeyError::Character { offset: 1 }),
            ("/a", KeyError::Segment { offset: 0 }),
            ("a/", KeyError::Segment { offset: 2 }),
            ("a//b", KeyError::Segment { offset: 2 }),
            ("/", KeyError::Segment { offset: 0 }),
            ("..", KeyError::Segment { offset: 0 }),
            ("a/../b", KeyError::Segment { offset: 2 }),
            ("a/.", KeyError::Segment { offset: 2 }),
        ] {
            assert_eq!(Key::parse(text), Err(reason), "{text:?}");
        }
        assert!(Key::parse(&long[..512]).is_ok());
    }

    proptest! {
        #[test]
        fn never_lets_a_segment_climb_out_of_a_directory(text in "[a.%/\\\\é]{0,12}") {
            if let Ok(key) = Key::parse(&text) {
                let path = std::path::Path::new(key.as_str());
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
                prop_assert_eq!(path.components().count(), key.as_str().split('/').count());
            }
        }

        #[test]
        fn every_start_of_a_key_is_a_possible_prefix(text in "[a-zA-Z0-9._/~=-]{1,40}", cut in 0_usize..40) {
            if Key::parse(&text).is_ok() {
                prop_assert!(Key::may_start_with(&text[..cut.min(text.len())]));
            }
        }
    }
}
