//! Patterns for room names: a client's `jaas.rooms` and `jitsi.rooms`, and `meeting.rooms` of a
//! rule of exchange.
//!
//! A pattern is compared with the whole name, character by character; `*` stands for any number of
//! characters, also none. There is nothing else: no classes, no escapes, no case folding. Matching
//! looks for the texts between the asterisks from left to right and never goes back, so its time is
//! bounded by the lengths of pattern and name. Documented in docs/meetings.md. Pinned by the tests
//! below, against a matcher that tries everything.

use std::{fmt, str::FromStr};

/// The longest room name, and the longest pattern.
pub(super) const MAX_ROOM_CHARS: usize = 200;

/// Which rooms a client may have tokens for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPattern(String);

/// A text that is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a room pattern has 1 to 200 characters and no control characters; `*` stands for any characters")]
pub struct RoomPatternError;

impl FromStr for RoomPattern {
    type Err = RoomPatternError;

    fn from_str(pattern: &str) -> Result<Self, Self::Err> {
        let fits = (1..=MAX_ROOM_CHARS).contains(&pattern.chars().count());
        let valid = fits && !pattern.chars().any(char::is_control);
        if valid { Ok(Self(pattern.to_owned())) } else { Err(RoomPatternError) }
    }
}

impl fmt::Display for RoomPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RoomPattern {
    /// Whether the whole of `room` fits.
    pub fn matches(&self, room: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == room };
        let Some(mut remaining) = room.strip_prefix(first) else { return false };
        let Some((middle, last)) = rest.rsplit_once('*') else { return remaining.ends_with(rest) };
        for text in middle.split('*') {
            // The leftmost place leaves the most for the texts that follow.
            match remaining.split_once(text) {
                Some((_, behind)) => remaining = behind,
                None => return false,
            }
        }
        remaining.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, room: &str) -> bool {
        pattern.parse::<RoomPattern>().unwrap().matches(room)
    }

    #[test]
    fn a_pattern_is_compared_with_the_whole_name() {
        for (pattern, room, expected) in [
            ("standup", "standup", true),
            ("standup", "standup2", false),
            ("standup", "Standup", false),
            ("standup", "a standup", false),
            ("team-*", "team-a", true),
            ("team-*", "team-", true),
            ("team-*", "my-team-a", false),
            ("*-daily", "eu-daily", true),
            ("*-daily", "eu-daily-2", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*", "anything", true),
            (".*", "standup", false),
            ("[a-z]*", "standup", false),
            ("stand?p", "standup", false),
        ] {
            assert_eq!(matches(pattern, room), expected, "{pattern} {room}");
        }
        for pattern in ["", "a\nb", &"a".repeat(201)] {
            assert!(pattern.parse::<RoomPattern>().is_err(), "{pattern:?}");
        }
    }

    /// Tries every way to match; slow, and plainly right.
    fn oracle(pattern: &[char], room: &[char]) -> bool {
        match pattern.split_first() {
            None => room.is_empty(),
            Some(('*', rest)) => (0..=room.len()).any(|n| oracle(rest, &room[n..])),
            Some((c, rest)) => room.first() == Some(c) && oracle(rest, &room[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_trying_everything_matches(pattern in "[ab*é]{1,8}", room in "[abé]{1,9}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &room), oracle(&chars(&pattern), &chars(&room)));
        }
    }
}
