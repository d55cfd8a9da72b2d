//! How long an answer says it may be kept, `Cache-Control` and `Age` (RFC 9111 §4.2, §5.1, §5.2.2),
//! and when it was made, `Date` (RFC 9110 §6.6.1).
//!
//! Hostile and broken values cannot do harm: the caller clamps the result between a floor and a
//! ceiling, a number too large to hold counts as the largest, and what is not a number counts as
//! zero (RFC 9111 §4.2.1 suggests "stale").

use countersign_jose::Timestamp;
use hyper::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderMap};
use std::time::{Duration, UNIX_EPOCH};

/// What an answer says of its type and of caches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// `Content-Type`, if it is text and not longer than one can be.
    pub content_type: Option<String>,
    /// The longest time that any cache may keep it, shared or not (`max-age`, `s-maxage`); `None`
    /// if nothing is said of it.
    pub kept_for: Option<Duration>,
    /// How long a cache on the way has kept it (`Age`).
    pub age: Duration,
    /// When it was made, by the clock of who made it (`Date`); a cache may say the time at which it
    /// passed it on.
    pub date: Option<Timestamp>,
}

/// The longest `Content-Type` that is repeated.
const LONGEST_TYPE: usize = 200;

impl Stated {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |value: &hyper::header::HeaderValue| Some(value.to_str().ok()?.to_owned());
        let content_type = headers.get(CONTENT_TYPE).and_then(text).filter(|text| text.len() <= LONGEST_TYPE);
        let kept_for = directives(headers).filter_map(|(name, value)| match name.as_str() {
            "no-store" | "no-cache" => Some(0),
            "max-age" | "s-maxage" => Some(delta_seconds(value)),
            _ => None,
        });
        let kept_for = kept_for.max().map(Duration::from_secs);
        Self { content_type, kept_for, age: Duration::from_secs(age(headers)), date: date(headers) }
    }
}

/// The freshness an answer states; `None` if it does not say.
pub(super) fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let mut seconds: Option<u64> = None;
    for (name, value) in directives(headers) {
        let stated = match name.as_str() {
            "no-store" | "no-cache" => 0,
            "max-age" => delta_seconds(value),
            _ => continue,
        };
        seconds = Some(seconds.map_or(stated, |s| s.min(stated)));
    }
    seconds.map(|s| Duration::from_secs(s.saturating_sub(age(headers))))
}

/// The directives of `Cache-Control`, their names in lower case.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = (String, &str)> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'))
    })
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?.trim()).ok()?;
    let seconds = date.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(Timestamp::from_unix_seconds(seconds.try_into().ok()?))
}

fn age(headers: &HeaderMap) -> u64 {
    headers.get(AGE).and_then(|v| v.to_str().ok()).map_or(0, |v| delta_seconds(v.trim()))
}

fn delta_seconds(text: &str) -> u64 {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    text.parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(cache_control: &[&str], age: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in cache_control {
            headers.append(CACHE_CONTROL, value.parse().unwrap());
        }
        if let Some(age) = age {
            headers.insert(AGE, age.parse().unwrap());
        }
        fresh_for(&headers).map(|d| d.as_secs())
    }

    #[test]
    fn reads_max_age_in_every_spelling_and_takes_the_smallest() {
        assert_eq!(stated(&["public, max-age=300, must-revalidate"], None), Some(300));
        assert_eq!(stated(&["Max-Age=\"7\""], None), Some(7));
        assert_eq!(stated(&["max-age=300", "max-age=20"], None), Some(20));
        assert_eq!(stated(&["s-maxage=5"], None), None);
        assert_eq!(stated(&[], None), None);
    }

    #[test]
    fn when_an_answer_was_made_is_read_as_http_writes_it_and_nothing_else_is() {
        let date = |text: &str| {
            let mut map = HeaderMap::new();
            map.append(DATE, text.parse().unwrap());
            Stated::of(&map).date
        };
        assert_eq!(date("Fri, 15 Jan 2027 08:00:00 GMT"), Some(Timestamp::from_unix_seconds(1_800_000_000)));
        for wrong in ["", "yesterday", "1800000000", "Fri, 15 Jan 2027 08:00:00", "2027-01-15T08:00:00Z"] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
        assert_eq!(Stated::of(&HeaderMap::new()).date, None);
    }

    #[test]
    fn what_is_stated_is_the_longest_that_any_cache_may_keep_it() {
        let stated = |headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            Stated::of(&map)
        };
        for (value, seconds) in [
            ("max-age=300", 300),
            ("s-maxage=86400, max-age=300", 86_400),
            ("public, max-age=300, s-maxage=60", 300),
            ("no-store", 0),
        ] {
            assert_eq!(
                stated(&[("cache-control", value)]).kept_for,
                Some(Duration::from_secs(seconds)),
                "{value}"
            );
        }
        assert_eq!(stated(&[("cache-control", "public")]), Stated::default());
        let all = stated(&[("content-type", "text/html; charset=utf-8"), ("age", "17")]);
        assert_eq!(all.content_type.as_deref(), Some("text/html; charset=utf-8"));
        assert_eq!((all.age, all.kept_for), (Duration::from_secs(17), None));
        assert_eq!(stated(&[("content-type", &"x".repeat(201))]), Stated::default());
    }

    #[test]
    fn extremes_and_nonsense_neither_overflow_nor_keep_keys_for_ever() {
        assert_eq!(stated(&["max-age=99999999999999999999999999"], None), Some(u64::MAX));
        for nonsense in
            ["max-age=-1", "max-age=1e9", "max-age=", "max-age", "no-store", "no-cache, max-age=600"]
        {
            assert_eq!(stated(&[nonsense], None), Some(0), "{nonsense}");
        }
        assert_eq!(stated(&["max-age=300"], Some("100")), Some(200));
        assert_eq!(stated(&["max-age=300"], Some("9999999999999999999999")), Some(0));
    }
}
