//! What each check expected, what it found and how it ended: the same checks that `verify` stops at
//! the first failure of.
//!
//! A policy runs its checks once, through a [`Sink`]: `FirstFailure` ends at the first that fails
//! and never asks for words, so that accepting a token costs no text; `Every` asks for all of them.
//! Values of claims are in here, so a `Check` is for the holder of the token, and not for logs.
//! Called by `claims`. Pinned by `tests/explain.rs`.

use crate::{Timestamp, claims::ClaimError};
use std::{
    borrow::Cow,
    fmt::{self, Write},
    time::Duration,
};

/// The most bytes of a value that are shown.
const MAX_EXCERPT_BYTES: usize = 200;

/// One check of a token, for people: what was expected, what was found, and the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at: a registered claim, `typ`, or `claim tid` for a claim the policy names
    /// itself.
    pub name: Cow<'static, str>,
    /// What would do.
    pub expected: String,
    /// What was there: JSON text, or an instant and how far away it is. Empty where nothing was
    /// looked at.
    pub found: String,
    /// How it ended.
    pub verdict: Verdict,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Passed,
    /// Not as expected; alone a reason to refuse the token.
    Failed {
        /// The stable name of the reason.
        code: &'static str,
        /// The reason in words.
        why: String,
    },
    /// Not looked at, because of an earlier failure.
    NotReached,
}

impl Check {
    /// Whether this check alone is a reason to refuse the token.
    pub fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }
}

/// A check in words, before its verdict.
pub(crate) struct About {
    name: Cow<'static, str>,
    expected: String,
    found: String,
}

impl About {
    pub(crate) fn new(
        name: impl Into<Cow<'static, str>>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), expected: expected.into(), found: found.into() }
    }

    fn with(self, verdict: Verdict) -> Check {
        Check { name: self.name, expected: self.expected, found: self.found, verdict }
    }
}

/// Takes the outcomes of a policy's checks, in their order. An error ends the run.
pub(crate) trait Sink {
    fn take(
        &mut self,
        outcome: Result<(), ClaimError>,
        about: impl FnOnce() -> About,
    ) -> Result<(), ClaimError>;
}

/// Ends at the first failure.
pub(crate) struct FirstFailure;

impl Sink for FirstFailure {
    #[inline]
    fn take(&mut self, outcome: Result<(), ClaimError>, _: impl FnOnce() -> About) -> Result<(), ClaimError> {
        outcome
    }
}

/// Keeps every check.
#[derive(Default)]
pub(crate) struct Every {
    pub(crate) checks: Vec<Check>,
    /// Claims that are there but not of their type. What else is asked about them has no answer.
    unreadable: Vec<&'static str>,
}

impl Sink for Every {
    fn take(
        &mut self,
        outcome: Result<(), ClaimError>,
        about: impl FnOnce() -> About,
    ) -> Result<(), ClaimError> {
        let about = about();
        if self.unreadable.contains(&about.name.as_ref()) {
            return Ok(());
        }
        let verdict = match outcome {
            Ok(()) => Verdict::Passed,
            Err(ClaimError::Missing(claim)) if self.unreadable.contains(&claim.as_str()) => {
                Verdict::NotReached
            }
            Err(why) => {
                if let ClaimError::WrongType { name, .. } = why {
                    self.unreadable.push(name);
                }
                Verdict::Failed { code: why.code(), why: why.to_string() }
            }
        };
        self.checks.push(about.with(verdict));
        Ok(())
    }
}

/// Lists what would be looked at.
#[derive(Default)]
pub(crate) struct Unreached(pub(crate) Vec<Check>);

impl Sink for Unreached {
    fn take(&mut self, _: Result<(), ClaimError>, about: impl FnOnce() -> About) -> Result<(), ClaimError> {
        let about = About { found: String::new(), ..about() };
        self.0.push(about.with(Verdict::NotReached));
        Ok(())
    }
}

/// At most 200 bytes of a text, fit for a terminal: control characters and those that turn the
/// writing direction or cannot be seen are escaped as in JSON, and an ellipsis stands where it was
/// cut.
pub fn excerpt(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        let escaped = escaped(c);
        if shown.len() + escaped.len() > MAX_EXCERPT_BYTES {
            shown.push('…');
            break;
        }
        shown += &escaped;
    }
    shown
}

/// A JSON text in one line, fit for a terminal and still the same JSON: what [`excerpt`] escapes is
/// escaped in its strings, and line ends and tabs between its values are left out. Not cut.
pub fn shown_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    let (mut in_string, mut after_backslash) = (false, false);
    for c in json.chars() {
        if in_string || !c.is_control() {
            shown += &escaped(c);
        }
        in_string ^= c == '"' && !after_backslash;
        after_backslash = c == '\\' && !after_backslash;
    }
    shown
}

/// A character, or its escape in JSON if it could steer a terminal or not be seen.
fn escaped(c: char) -> String {
    if !c.is_control() && !is_invisible(c) {
        return c.into();
    }
    let mut escaped = String::new();
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a `String` does not fail.
        let _ = write!(escaped, "\\u{unit:04x}");
    }
    escaped
}

/// Format characters, line separators and tags: what can make a text look like another one.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A string as JSON, so that where it begins and ends can be seen.
pub fn quoted(text: &str) -> String {
    excerpt(&serde_json::Value::from(text).to_string())
}

/// So many bytes, in words.
pub fn bytes(count: usize) -> String {
    format!("{count} {}", if count == 1 { "byte" } else { "bytes" })
}

/// An instant and how far it is from `now`.
pub fn shown_instant(at: Timestamp, now: Timestamp) -> String {
    let (ago, ahead) = (now.since(at), at.since(now));
    if !ago.is_zero() {
        format!("{at}, {} ago", Distance(ago))
    } else if !ahead.is_zero() {
        format!("{at}, in {}", Distance(ahead))
    } else {
        format!("{at}, now")
    }
}

/// A duration in its two largest units: `3d 4h`, `5m`, `0s`.
pub(crate) struct Distance(pub(crate) Duration);

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, char); 4] = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
        let mut left = self.0.as_secs();
        let mut shown = 0;
        for (seconds, unit) in UNITS {
            let count = left / seconds;
            left %= seconds;
            if count > 0 && shown < 2 {
                let space = if shown > 0 { " " } else { "" };
                write!(f, "{space}{count}{unit}")?;
                shown += 1;
            } else if shown > 0 {
                break;
            }
        }
        if shown == 0 { f.write_str("0s") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn an_instant_says_how_far_away_it_is() {
        let now = at(1_800_000_000);
        for (seconds, expected) in [
            (0, "2027-01-15T08:00:00Z, now"),
            (-300, "2027-01-15T07:55:00Z, 5m ago"),
            (3661, "2027-01-15T09:01:01Z, in 1h 1m"),
            (-59, "2027-01-15T07:59:01Z, 59s ago"),
            (86_401, "2027-01-16T08:00:01Z, in 1d"),
        ] {
            assert_eq!(shown_instant(at(now.unix_seconds() + seconds), now), expected);
        }
        assert!(shown_instant(at(i64::MIN), at(i64::MAX)).ends_with(" ago"));
        assert_eq!([0, 1, 2].map(bytes), ["0 bytes", "1 byte", "2 bytes"]);
        assert_eq!(Distance(Duration::ZERO).to_string(), "0s");
    }

    #[test]
    fn json_that_is_shown_is_one_line_the_same_json_and_cannot_steer_a_terminal() {
        let signed =
            "{\n\t\"a\u{9b}31m\": [\"\u{202e}\\\\\",\r\n 36893488147419103233, \"\\\"\u{e0041}\n\"]\n}";
        // A line end in a string is not JSON, and shown as what it is all the same.
        let shown = shown_json(signed);
        assert_eq!(shown, r#"{"a\u009b31m": ["\u202e\\", 36893488147419103233, "\"\udb40\udc41\u000a"]}"#);
        let valid = signed.replace("\n\"]", "\"]");
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(&valid).unwrap(), serde_json::from_str(&shown_json(&valid)).unwrap());
        assert_eq!(before, after);
    }

    #[test]
    fn an_excerpt_is_short_and_cannot_steer_a_terminal() {
        assert_eq!(excerpt("{\"a\":\n\u{1b}[31m\u{9b}}"), "{\"a\":\\u000a\\u001b[31m\\u009b}");
        assert_eq!(excerpt("a\u{202e}b\u{e0041}"), "a\\u202eb\\udb40\\udc41");
        let long = excerpt(&"ü".repeat(200));
        assert_eq!(long, format!("{}…", "ü".repeat(100)));
        assert_eq!(excerpt(&"x".repeat(200)), "x".repeat(200));
        assert!(excerpt(&"\u{1b}".repeat(200)).len() <= MAX_EXCERPT_BYTES + '…'.len_utf8());
    }
}
