//! The path of a request in the one form that rules are matched against; what two readers could
//! read differently is refused.
//!
//! A gate that reads a path in another way than the service behind it can be walked around. So
//! nothing is guessed: empty segments, dot segments, path parameters (`;`), backslashes, control
//! characters, and percent-encodings of a slash, a dot, a percent sign or anything not UTF-8 are
//! refused, and so are segments that Windows shortens (a dot or blank at the end) and characters
//! that become ASCII ones where text is normalised. What remains is decoded, and a slash at the end
//! does not count. Letters of the other case are other letters. RFC 3986 §3.3, §6.2.2. Called by
//! `gate`; pinned by the tests below and by `tests/spoofing.rs`.

use icu_normalizer::ComposingNormalizerBorrowed;
use std::borrow::Cow;

/// The longest path that is looked at, in bytes. API Gateway passes at most 1,600 bytes of ARN.
const MAX_PATH_BYTES: usize = 8192;

/// What a request is for, as rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// The decoded segments of a path; none for `/`.
    Path(Vec<Cow<'a, str>>),
    /// The `$connect` route of an API Gateway WebSocket API, which has no path.
    Connect,
}

/// Why a path is not matched against anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// Longer than any path this gate looks at.
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// Two slashes in a row, which some services merge and others do not.
    #[error("the path has an empty segment (`//`)")]
    EmptySegment,
    /// `.` or `..`, which some services resolve and others do not.
    #[error("the path has a dot segment (`.` or `..`)")]
    DotSegment,
    /// `;`, behind which some services see parameters that are not part of the path.
    #[error("the path has a path parameter (`;`)")]
    PathParameter,
    /// A backslash, a control character, `?`, `#` or `*`.
    #[error("the path has a character that does not belong into one")]
    Character,
    /// A percent sign without two hexadecimal digits.
    #[error("the path has a malformed percent-encoding")]
    Encoding,
    /// A segment that ends in a dot or a blank, which Windows leaves out.
    #[error("a segment of the path ends in a dot or a blank")]
    TrailingDotOrBlank,
    /// A character that is not ASCII and becomes so under NFKC (UAX #15), such as a full-width
    /// letter or an ellipsis.
    #[error("the path has a character that becomes another one when text is normalised (NFKC)")]
    Compatibility,
    /// An encoded slash, backslash, dot, semicolon, percent sign or control character, or bytes
    /// that are not UTF-8.
    #[error("the path has an ambiguous percent-encoding")]
    AmbiguousEncoding,
}

impl PathError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAbsolute => "path_not_absolute",
            Self::TooLong => "path_too_long",
            Self::EmptySegment => "path_empty_segment",
            Self::DotSegment => "path_dot_segment",
            Self::PathParameter => "path_parameter",
            Self::Character => "path_character",
            Self::Encoding => "path_encoding",
            Self::TrailingDotOrBlank => "path_trailing_dot_or_blank",
            Self::Compatibility => "path_compatibility_character",
            Self::AmbiguousEncoding => "path_ambiguous_encoding",
        }
    }
}

impl<'a> Target<'a> {
    /// What API Gateway calls the route of a WebSocket handshake.
    pub const CONNECT: &'static str = "$connect";

    /// Reads the path of a request, without its query; or `$connect`.
    pub fn parse(path: &'a str) -> Result<Self, PathError> {
        if path == Self::CONNECT {
            return Ok(Self::Connect);
        }
        let rest = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
        if path.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() {
            // `/` itself; `//` has lost one slash to each end.
            return if path.len() > 1 { Err(PathError::EmptySegment) } else { Ok(Self::Path(Vec::new())) };
        }
        rest.split('/').map(segment).collect::<Result<_, _>>().map(Self::Path)
    }
}

fn segment(raw: &str) -> Result<Cow<'_, str>, PathError> {
    match raw {
        "" => return Err(PathError::EmptySegment),
        "." | ".." => return Err(PathError::DotSegment),
        _ => {}
    }
    for c in raw.chars() {
        match c {
            ';' => return Err(PathError::PathParameter),
            // A star is a wildcard in the policies of API Gateway.
            '\\' | '?' | '#' | '*' => return Err(PathError::Character),
            c if c.is_control() => return Err(PathError::Character),
            _ => {}
        }
    }
    let read = if raw.contains('%') { Cow::Owned(decode(raw)?) } else { Cow::Borrowed(raw) };
    if read.ends_with(['.', ' ']) {
        return Err(PathError::TrailingDotOrBlank);
    }
    if read.chars().any(becomes_ascii) { Err(PathError::Compatibility) } else { Ok(read) }
}

/// Whether a character that is not ASCII has some ASCII in its compatibility form. Letters with
/// accents have none: they stay composed.
fn becomes_ascii(c: char) -> bool {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    !c.is_ascii() && nfkc.normalize_iter(std::iter::once(c)).any(|c| c.is_ascii())
}

fn decode(raw: &str) -> Result<String, PathError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or(PathError::Encoding);
        let byte = u8::try_from(digit()? * 16 + digit()?).map_err(|_| PathError::Encoding)?;
        if matches!(byte, b'/' | b'\\' | b'.' | b';' | b'%' | b'?' | b'#' | b'*') || byte.is_ascii_control() {
            return Err(PathError::AmbiguousEncoding);
        }
        decoded.push(byte);
    }
    let decoded = String::from_utf8(decoded).map_err(|_| PathError::AmbiguousEncoding)?;
    // C1 controls come as two bytes.
    if decoded.chars().any(char::is_control) {
        return Err(PathError::AmbiguousEncoding);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        match Target::parse(path) {
            Ok(Target::Path(segments)) => segments.into_iter().map(Cow::into_owned).collect(),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn plain_paths_are_their_decoded_segments_and_a_slash_at_the_end_does_not_count() {
        assert_eq!(segments("/"), Vec::<String>::new());
        assert_eq!(segments("/a/b"), ["a", "b"]);
        assert_eq!(segments("/a/b/"), ["a", "b"]);
        assert_eq!(segments("/%61/b%20c/%C3%A9"), ["a", "b c", "é"]);
        assert_eq!(segments("/.well-known/a..b/...:@!$&'()+,="), [".well-known", "a..b", "...:@!$&'()+,="]);
        assert_eq!(segments("/Åé/e\u{301}/日本語/Привет/%20a"), ["Åé", "e\u{301}", "日本語", "Привет", " a"]);
        assert_eq!(Target::parse("$connect"), Ok(Target::Connect));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        use PathError::*;
        for (path, why) in [
            ("", NotAbsolute),
            ("a", NotAbsolute),
            ("http://a/b", NotAbsolute),
            ("$default", NotAbsolute),
            ("//", EmptySegment),
            ("///", EmptySegment),
            ("//a", EmptySegment),
            ("/a//b", EmptySegment),
            ("/a//", EmptySegment),
            ("/a/./b", DotSegment),
            ("/a/../b", DotSegment),
            ("/..", DotSegment),
            ("/a/..;/b", PathParameter),
            ("/a;x=1/b", PathParameter),
            ("/a\\b", Character),
            ("/a\u{0}b", Character),
            ("/a\u{85}b", Character),
            ("/a\nb", Character),
            ("/a?b", Character),
            ("/a#b", Character),
            ("/a*", Character),
            ("/a%", Encoding),
            ("/a%2", Encoding),
            ("/a%zz", Encoding),
            ("/a%+2f", Encoding),
            ("/a%2fb", AmbiguousEncoding),
            ("/a%2Fb", AmbiguousEncoding),
            ("/%2e%2e/b", AmbiguousEncoding),
            ("/%2E/b", AmbiguousEncoding),
            ("/a%5cb", AmbiguousEncoding),
            ("/a%3bb", AmbiguousEncoding),
            ("/a%252fb", AmbiguousEncoding),
            ("/a%00", AmbiguousEncoding),
            ("/a%c2%85", AmbiguousEncoding),
            ("/a%2a", AmbiguousEncoding),
            ("/a%3fb", AmbiguousEncoding),
            ("/a%c0%af", AmbiguousEncoding),
            ("/a%ff", AmbiguousEncoding),
            ("/admin.", TrailingDotOrBlank),
            ("/admin ", TrailingDotOrBlank),
            ("/admin%20", TrailingDotOrBlank),
            ("/admin%20/x", TrailingDotOrBlank),
            ("/.../x", TrailingDotOrBlank),
            ("/%EF%BD%81dmin", Compatibility),
            ("/\u{ff41}dmin", Compatibility),
            ("/a\u{2025}/b", Compatibility),
            ("/a\u{ff0f}b", Compatibility),
            ("/a\u{ff05}2fb", Compatibility),
            ("/\u{212a}ey", Compatibility),
            ("/o\u{fb03}ce", Compatibility),
            ("/a\u{a0}b", Compatibility),
            ("/a\u{37e}b", Compatibility),
        ] {
            assert_eq!(Target::parse(path), Err(why), "{path:?}");
        }
        assert_eq!(Target::parse(&format!("/{}", "a".repeat(MAX_PATH_BYTES))), Err(TooLong));
    }
}
