//! Times as they are typed: `30s`, `15m`, `1h`, `7days`. Every one of them has an upper bound.
//!
//! What is read here is added to instants and multiplied later, so an unbounded time would be an
//! overflow somewhere else. [`LONGEST`] bounds all of them; a setting with a narrower range of its
//! own gives it to [`parse_within`]. Both binaries and the command line read their times here and
//! nowhere else.

use std::{fmt, ops::RangeInclusive, time::Duration};

/// The longest time any setting takes: ten years. A hundred such times still fit wherever times are
/// added up.
pub const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Why a text is not a time that can be used. Repeats the beginning of what was typed, which is
/// never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a time at all.
    #[error("{typed} is not a time; write 30s, 15m, 1h or 7days")]
    Malformed {
        /// What was typed, cut.
        typed: Typed,
    },
    /// A number without its unit.
    #[error("{typed} has no unit; write {0}s for seconds, or 15m, 1h, 7days", typed.0)]
    NoUnit {
        /// What was typed, cut.
        typed: Typed,
    },
    /// A time above the upper bound.
    #[error("{typed} is longer than {}, which is the longest it may be", humantime::format_duration(*most))]
    TooLong {
        /// What was typed, cut.
        typed: Typed,
        /// The upper bound.
        most: Duration,
    },
    /// A time below the lower bound.
    #[error("{typed} is shorter than {}, which is the shortest it may be", humantime::format_duration(*least))]
    TooShort {
        /// What was typed, cut.
        typed: Typed,
        /// The lower bound.
        least: Duration,
    },
}

/// The beginning of a text, quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed(String);

impl Typed {
    const SHOWN: usize = 40;

    fn new(text: &str) -> Self {
        let mut shown: String = text.chars().take(Self::SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self(shown)
    }
}

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A time as a message shows it: `2h 48m 30s`.
pub fn words(time: Duration) -> impl fmt::Display {
    humantime::format_duration(time)
}

/// A time of at most [`LONGEST`].
///
/// # Errors
///
/// [`DurationError`] with what was typed and what may be written instead.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    parse_within(text, Duration::ZERO..=LONGEST)
}

/// A time within a range of its own.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_within(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, DurationError> {
    let typed = || Typed::new(text);
    let (least, most) = (*range.start(), *range.end());
    let duration = match humantime::parse_duration(text) {
        Ok(duration) => duration,
        // A time with more digits than a number can have is a time all the same.
        Err(humantime::DurationError::NumberOverflow) => Duration::MAX,
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(DurationError::NoUnit { typed: typed() });
        }
        Err(_) => return Err(DurationError::Malformed { typed: typed() }),
    };
    if duration > most {
        return Err(DurationError::TooLong { typed: typed(), most });
    }
    if duration < least {
        return Err(DurationError::TooShort { typed: typed(), least });
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSURD: [&str; 5] =
        ["18446744073709551615s", "99999999999999999999999s", "100000y", "6148914691236517206s", "3651days"];

    #[test]
    fn no_time_is_longer_than_the_longest() {
        for text in ABSURD {
            let why = parse(text).unwrap_err();
            assert!(matches!(why, DurationError::TooLong { .. }), "{text}: {why}");
            assert!(why.to_string().contains("is longer than"), "{why}");
        }
        assert_eq!(parse("3650days"), Ok(LONGEST));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_range_of_its_own_is_named_in_the_message() {
        let range = || Duration::from_secs(1)..=Duration::from_secs(3600);
        assert_eq!(parse_within("1h", range()), Ok(Duration::from_secs(3600)));
        for (text, says) in [
            ("2h", "\"2h\" is longer than 1h, which is the longest it may be"),
            ("0s", "\"0s\" is shorter than 1s, which is the shortest it may be"),
            ("999ms", "\"999ms\" is shorter than 1s, which is the shortest it may be"),
            ("soon", "\"soon\" is not a time; write 30s, 15m, 1h or 7days"),
            ("", "\"\" is not a time; write 30s, 15m, 1h or 7days"),
            ("-1s", "\"-1s\" is not a time; write 30s, 15m, 1h or 7days"),
        ] {
            assert_eq!(parse_within(text, range()).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn a_message_repeats_the_beginning_of_what_was_typed() {
        let why = parse(&"x".repeat(100_000)).unwrap_err().to_string();
        assert!(why.len() < 200 && why.contains('…'), "{why}");
    }
}
