//! `HttpUri`: the URL of a request without query and fragment, in the one form that equal URLs
//! have.
//!
//! Normalised as RFC 9449 §4.3 asks: by syntax and by scheme (RFC 3986 §6.2.2 and §6.2.3): casing
//! of scheme, host and escapes, escapes of what needs none, dot segments, the default port, an
//! empty path. A slash at the end counts, and so does a doubled one.

use std::fmt;
use url::Url;

/// An `http` or `https` URL, normalised.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUri(String);

/// Why a text is not such a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an absolute http or https URL without user name")]
pub struct HttpUriError;

impl fmt::Debug for HttpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl HttpUri {
    /// Normalises a URL; what follows its path does not count.
    ///
    /// # Errors
    ///
    /// If it is not one as RFC 3986 §4.3 has it: what a browser would mend is not mended.
    pub fn parse(text: &str) -> Result<Self, HttpUriError> {
        let text = text.split(['?', '#']).next().unwrap_or_default();
        if !text.bytes().all(is_uri) {
            return Err(HttpUriError);
        }
        let (scheme, rest) = text.split_once("://").ok_or(HttpUriError)?;
        let is_http = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
        let authority = rest.split('/').next().unwrap_or_default();
        if !is_http || authority.is_empty() || authority.contains('@') || authority.contains('%') {
            return Err(HttpUriError);
        }
        let url = Url::parse(text).map_err(|_| HttpUriError)?;
        let origin = url.origin();
        if !origin.is_tuple() {
            return Err(HttpUriError);
        }
        let path = normal_escapes(url.path()).ok_or(HttpUriError)?;
        Ok(Self(format!("{}{path}", origin.ascii_serialization())))
    }

    /// This URL with a path behind it, as a server was sent it or has decoded it.
    ///
    /// # Errors
    ///
    /// If the two are no URL.
    pub fn join(&self, path: &str) -> Result<Self, HttpUriError> {
        let mut text = self.0.strip_suffix('/').unwrap_or(&self.0).to_owned();
        if !path.starts_with('/') {
            text.push('/');
        }
        let mut buffer = [0; 4];
        for (at, c) in path.char_indices() {
            let is_escape = || path.get(at + 1..at + 3).is_some_and(is_hex);
            if c == '%' && is_escape() || c != '%' && c.is_ascii() && is_path(c as u8) {
                text.push(c);
            } else {
                c.encode_utf8(&mut buffer).bytes().for_each(|byte| push_escape(&mut text, byte));
            }
        }
        Self::parse(&text)
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What may be in a URL (RFC 3986 §2).
fn is_uri(byte: u8) -> bool {
    is_path(byte) || matches!(byte, b'%' | b'[' | b']' | b'?' | b'#')
}

/// What a path may hold as it is (RFC 3986 §3.3).
fn is_path(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte)
}

/// What needs no escape anywhere (RFC 3986 §2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn push_escape(text: &mut String, byte: u8) {
    text.push_str(&format!("%{byte:02X}"));
}

/// Escapes in capitals, and none of what needs none; `None` where a `%` begins no escape.
fn normal_escapes(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut normal = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escape, rest) = part.split_at_checked(2).filter(|(escape, _)| is_hex(escape))?;
        match u8::from_str_radix(escape, 16).ok()? {
            byte if is_unreserved(byte) => normal.push(byte.into()),
            byte => push_escape(&mut normal, byte),
        }
        normal.push_str(rest);
    }
    Some(normal)
}
