//! The type of a file: one exact media type, as S3 compares it byte for byte.
//!
//! `image/` as a beginning would let `image/png,text/html` pass (a comma makes two of one header),
//! so there are no patterns and no parameters, and lower case only: `type/subtype` (RFC 6838 §4.2).

use std::{fmt, str::FromStr};

/// The longest one, in bytes (RFC 6838 §4.2: 127 for each half).
const MAX: usize = 255;

/// One media type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentType(String);

/// Why a text is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write one exact type like image/png, in lower case: no `*`, no comma, no parameters")]
pub struct ContentTypeError;

/// Types that a browser runs or renders as a page where it is given one as such.
const ACTIVE: [&str; 18] = [
    "application/ecmascript",
    "application/javascript",
    // Browsers look into this and the last one to see what they are (WHATWG MIME Sniffing Standard,
    // section 7).
    "application/unknown",
    "application/x-ecmascript",
    "application/x-javascript",
    "application/x-shockwave-flash",
    "application/xhtml+xml",
    "application/xml",
    "image/svg+xml",
    "message/rfc822",
    "text/ecmascript",
    "text/html",
    "text/javascript",
    "text/x-ecmascript",
    "text/x-javascript",
    "text/xml",
    "text/xsl",
    "unknown/unknown",
];

impl ContentType {
    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a browser that is given such a file by a site may run scripts in it, in that site's
    /// name.
    pub fn is_active(&self) -> bool {
        ACTIVE.contains(&self.0.as_str()) || self.0.ends_with("+xml") || self.0.starts_with("multipart/")
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContentType {
    type Err = ContentTypeError;

    fn from_str(text: &str) -> Result<Self, ContentTypeError> {
        // RFC 6838 §4.2 `restricted-name`, without capital letters.
        let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let inner = |b: u8| first(b) || b"!#$&-^_.+".contains(&b);
        let is_name = |name: &str| name.bytes().next().is_some_and(first) && name.bytes().all(inner);
        match text.split_once('/') {
            Some((kind, name)) if text.len() <= MAX && is_name(kind) && is_name(name) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(ContentTypeError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_exact_and_one() {
        for text in
            ["image/png", "application/vnd.api+json", "video/mp4", "a/b", "application/x-7z-compressed"]
        {
            assert_eq!(text.parse::<ContentType>().unwrap().as_str(), text);
        }
        let long = format!("image/{}", "a".repeat(250));
        for text in [
            "",
            "/",
            "image",
            "image/",
            "/png",
            "image/*",
            "*/*",
            "image/png,text/html",
            "image/png,gif",
            "image/png, image/png",
            "image/png;charset=utf-8",
            "image/png ",
            " image/png",
            "Image/png",
            "image/png/x",
            "image/p\"ng",
            "image/png\r\n",
            "image/png\0",
            "image/pñg",
            "${filename}/png",
            "image/.png",
            &long,
        ] {
            assert_eq!(text.parse::<ContentType>(), Err(ContentTypeError), "{text:?}");
        }
    }

    #[test]
    fn what_a_browser_would_run_is_known() {
        for text in [
            "text/html",
            "image/svg+xml",
            "application/atom+xml",
            "text/x-javascript",
            "unknown/unknown",
            "multipart/related",
        ] {
            assert!(text.parse::<ContentType>().unwrap().is_active(), "{text}");
        }
        for text in ["image/png", "text/plain", "application/pdf", "application/json"] {
            assert!(!text.parse::<ContentType>().unwrap().is_active(), "{text}");
        }
    }
}
