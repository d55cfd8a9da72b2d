//! How long a provider wants to be left alone: `Retry-After` (RFC 9110 §10.2.3) and the headers of
//! X and GitHub.

use countersign_jose::Timestamp;
use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderName, RETRY_AFTER},
};
use std::time::{Duration, SystemTime};

/// The longest pause that is passed on and kept: X counts in windows of this length.
pub(super) const LONGEST: Duration = Duration::from_secs(15 * 60);
/// The pause where the provider names none.
pub(super) const UNSAID: Duration = Duration::from_secs(10);

/// When the window ends, in seconds since 1970: X, then GitHub.
const RESETS: [HeaderName; 2] =
    [HeaderName::from_static("x-rate-limit-reset"), HeaderName::from_static("x-ratelimit-reset")];
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// Whether an answer is a limit and says nothing about the token. GitHub's is a 403 too.
pub(super) fn is_limit(status: StatusCode, headers: &HeaderMap) -> bool {
    let spent = || headers.get(&REMAINING).is_some_and(|left| left.as_bytes() == b"0");
    status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::FORBIDDEN && (headers.contains_key(RETRY_AFTER) || spent()))
}

/// How long the provider says to wait: at least a second, at most [`LONGEST`].
pub(super) fn wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let until = |at: u64| Timestamp::from_unix_seconds(at.try_into().unwrap_or(i64::MAX)).since(now);
    let stated = text(&RETRY_AFTER).and_then(|text| match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| until(since.as_secs()))
        }
    });
    let reset = || RESETS.iter().find_map(|name| text(name)?.parse().ok()).map(until);
    stated.or_else(reset).map(|wait| wait.clamp(Duration::from_secs(1), LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_pause_is_what_the_provider_says_in_any_form_and_is_bounded() {
        let seconds = |all: &[(&'static str, &'static str)]| wait(&headers(all), NOW).map(|w| w.as_secs());
        assert_eq!(seconds(&[("retry-after", "7")]), Some(7));
        assert_eq!(seconds(&[("retry-after", "0")]), Some(1));
        assert_eq!(seconds(&[("retry-after", "99999999")]), Some(900));
        assert_eq!(seconds(&[("retry-after", "99999999999999999999999")]), None);
        assert_eq!(seconds(&[("retry-after", "Tue, 14 Nov 2023 22:14:20 GMT")]), Some(60));
        assert_eq!(seconds(&[("retry-after", "soon"), ("x-rate-limit-reset", "1700000020")]), Some(20));
        assert_eq!(seconds(&[("x-ratelimit-reset", "1700000030")]), Some(30));
        assert_eq!(seconds(&[("x-rate-limit-reset", "1600000000")]), Some(1));
        assert_eq!(seconds(&[("retry-after", "-5")]), None);
        assert_eq!(seconds(&[]), None);
    }

    #[test]
    fn a_403_is_a_limit_only_where_it_says_so() {
        let forbidden = |all: &[(&'static str, &'static str)]| is_limit(StatusCode::FORBIDDEN, &headers(all));
        assert!(is_limit(StatusCode::TOO_MANY_REQUESTS, &headers(&[])));
        assert!(forbidden(&[("retry-after", "7")]) && forbidden(&[("x-ratelimit-remaining", "0")]));
        assert!(!forbidden(&[]) && !forbidden(&[("x-ratelimit-remaining", "10")]));
        assert!(!is_limit(StatusCode::UNAUTHORIZED, &headers(&[("retry-after", "7")])));
    }
}
