//! Path patterns of route rules: `/orders/*/items`, `/files/**`, `/users/{id}`, `/{proxy+}`,
//! `$connect`.
//!
//! `*` and `{name}` stand for one segment, `**` and `{name+}` (only at the end) for any number of
//! them, none included. The rest is compared to the letter with the decoded path. Called by
//! `route`; `lambda/policy` turns patterns into resources.

use crate::path::Target;
use std::{fmt, str::FromStr};

/// Which paths a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Connect,
    Segments(Vec<Segment>),
}

/// One part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    /// One segment, whatever it is.
    Any,
    /// All that follows.
    Rest,
}

/// Why a text is not a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a path pattern: {why}; write /orders/*, /files/**, /users/{{id}}, /{{proxy+}} or $connect"
)]
pub struct PatternError {
    text: String,
    why: &'static str,
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let bad = |why| PatternError { text: text.to_owned(), why };
        if text == Target::CONNECT {
            return Ok(Self::connect());
        }
        let rest = text.strip_prefix('/').ok_or_else(|| bad("it does not begin with a slash"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut segments = Vec::new();
        if text != "/" {
            for part in rest.split('/') {
                if segments.last() == Some(&Segment::Rest) {
                    return Err(bad("`**` can only be at the end"));
                }
                segments.push(segment(part).map_err(bad)?);
            }
        }
        Ok(Self { text: text.to_owned(), shape: Shape::Segments(segments) })
    }
}

fn segment(part: &str) -> Result<Segment, &'static str> {
    // Only what is the same to every reader, encoded or not, so that a policy can name it too.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:@!&'()+,=".contains(c);
    match part {
        "" => Err("it has an empty segment"),
        "." | ".." => Err("it has a dot segment"),
        "*" => Ok(Segment::Any),
        "**" => Ok(Segment::Rest),
        _ => match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) if name.ends_with('+') => Ok(Segment::Rest),
            Some(_) => Ok(Segment::Any),
            // The gate refuses such paths.
            None if part.ends_with('.') => Err("a segment ends in a dot"),
            None if part.contains('*') => Err("`*` stands for a whole segment"),
            None if part.chars().all(plain) => Ok(Segment::Literal(part.to_owned())),
            None => {
                Err("a segment may have letters and digits of ASCII and -._~:@!&'()+,= (use `*` for others)")
            }
        },
    }
}

impl PathPattern {
    /// Every path, but not `$connect`.
    pub fn everything() -> Self {
        Self { text: "/**".to_owned(), shape: Shape::Segments(vec![Segment::Rest]) }
    }

    /// The handshake of a WebSocket API.
    pub fn connect() -> Self {
        Self { text: Target::CONNECT.to_owned(), shape: Shape::Connect }
    }

    pub(crate) fn matches(&self, target: &Target<'_>) -> bool {
        match (&self.shape, target) {
            (Shape::Connect, Target::Connect) => true,
            (Shape::Segments(pattern), Target::Path(path)) => {
                let mut path = path.iter();
                for segment in pattern {
                    match (segment, path.next()) {
                        (Segment::Rest, _) => return true,
                        (Segment::Any, Some(_)) => {}
                        (Segment::Literal(literal), Some(found)) if literal == found => {}
                        _ => return false,
                    }
                }
                path.next().is_none()
            }
            (Shape::Connect, Target::Path(_)) | (Shape::Segments(_), Target::Connect) => false,
        }
    }

    /// Whether it matches every path that `other` matches.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let (own, others) = match (&self.shape, &other.shape) {
            (Shape::Connect, Shape::Connect) => return true,
            (Shape::Segments(own), Shape::Segments(others)) => (own, others),
            (Shape::Connect, Shape::Segments(_)) | (Shape::Segments(_), Shape::Connect) => return false,
        };
        let mut others = others.iter();
        for segment in own {
            match (segment, others.next()) {
                (Segment::Rest, _) => return true,
                (Segment::Any, Some(Segment::Any | Segment::Literal(_))) => {}
                (Segment::Literal(literal), Some(Segment::Literal(other))) if literal == other => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }

    /// The parts, where it is about paths.
    pub(crate) fn segments(&self) -> Option<&[Segment]> {
        match &self.shape {
            Shape::Connect => None,
            Shape::Segments(segments) => Some(segments),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        pattern.parse::<PathPattern>().unwrap().matches(&Target::parse(path).unwrap())
    }

    #[test]
    fn a_pattern_covers_another_when_it_matches_all_of_its_paths() {
        let patterns =
            ["/", "/a", "/b", "/*", "/a/b", "/a/*", "/*/b", "/*/*", "/a/**", "/a/*/**", "/**", "$connect"];
        let paths = ["/", "/a", "/b", "/c", "/a/b", "/a/c", "/c/b", "/c/c", "/a/b/c", "/c/c/c", "$connect"];
        for one in patterns {
            for other in patterns {
                let is_covered = paths.iter().all(|path| matches(one, path) || !matches(other, path));
                let covers = one.parse::<PathPattern>().unwrap().covers(&other.parse().unwrap());
                assert_eq!(covers, is_covered, "{one} {other}");
            }
        }
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_the_rest() {
        for (pattern, path) in [
            ("/", "/"),
            ("/a", "/a"),
            ("/a", "/a/"),
            ("/a/", "/a"),
            ("/a", "/%61"),
            ("/a/*", "/a/b"),
            ("/a/*/c", "/a/b/c"),
            ("/a/{id}/c", "/a/b%20b/c"),
            ("/a/**", "/a"),
            ("/a/**", "/a/b/c/d"),
            ("/**", "/"),
            ("/{proxy+}", "/a/b"),
            ("$connect", "$connect"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/", "/a"),
            ("/a", "/A"),
            ("/a", "/a/b"),
            ("/a", "/ab"),
            ("/a/*", "/a"),
            ("/a/*", "/a/b/c"),
            ("/a/**", "/ab"),
            ("/**", "$connect"),
            ("$connect", "/connect"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_that_could_be_read_in_two_ways_is_refused() {
        for text in [
            "", "a", "//", "/a//b", "/a/../b", "/a*", "/**/b", "/a?", "/a%20b", "/é", "/a b", "/${x}",
            "$default",
        ] {
            let why = text.parse::<PathPattern>().unwrap_err().to_string();
            assert!(why.contains("is not a path pattern"), "{why}");
        }
    }
}
