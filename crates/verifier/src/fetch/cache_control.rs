//! How long an answer says it may be kept: `Cache-Control` and `Age` (RFC 9111 §4.2, §5.1, §5.2.2).
//!
//! Hostile and broken values cannot do harm: the caller clamps the result between a floor and a ceiling, a number too
//! large to hold counts as the largest, and what is not a number counts as zero (RFC 9111 §4.2.1 suggests "stale").

use hyper::header::{AGE, CACHE_CONTROL, HeaderMap};
use std::time::Duration;

/// The freshness an answer states; `None` if it does not say.
pub(super) fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let mut seconds: Option<u64> = None;
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let stated = match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => 0,
            "max-age" => delta_seconds(value.trim().trim_matches('"')),
            _ => continue,
        };
        seconds = Some(seconds.map_or(stated, |s| s.min(stated)));
    }
    let age = headers.get(AGE).and_then(|v| v.to_str().ok()).map_or(0, |v| delta_seconds(v.trim()));
    seconds.map(|s| Duration::from_secs(s.saturating_sub(age)))
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
