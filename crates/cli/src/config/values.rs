//! Texts of settings → what they stand for: times within their ranges, rates, the AppID of 8x8; and
//! the one form in which a value is refused.

use crate::failure::{Failure, Outcome, configuration};
use countersign_issuer::{http::Rate, is_jaas_app_id};
use countersign_settings::duration;
use std::{fmt::Display, num::NonZeroU32, ops::RangeInclusive, time::Duration};

pub(super) fn at(key: &str, why: impl Display) -> Failure {
    configuration(format!("{key}: {why}"))
}

pub(super) fn parse<T: std::str::FromStr<Err: Display>>(key: &str, text: &str) -> Outcome<T> {
    text.parse().map_err(|why| at(key, why))
}

/// A time, within the range of its setting.
pub(super) fn duration(key: &str, text: &str) -> Outcome<Duration> {
    let range = RANGES.iter().find(|(name, _)| *name == key).map(|(_, range)| range.clone());
    duration::parse_within(text, range.unwrap_or(Duration::ZERO..=duration::LONGEST))
        .map_err(|why| at(key, why))
}

/// A time that must not be nothing.
pub(super) fn positive(key: &str, text: &str) -> Outcome<Duration> {
    let time = duration(key, text)?;
    if time.is_zero() { Err(at(key, "must be above 0")) } else { Ok(time) }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const HOUR: Duration = seconds(3600);
const DAY: Duration = seconds(24 * 3600);
const MONTH: Duration = seconds(30 * 24 * 3600);
/// Below it, a client on a slow network could never be served.
const LEAST_LIMIT: Duration = Duration::from_millis(100);

/// Settings with a range of their own; all others may be from 0 to `duration::LONGEST`.
const RANGES: [(&str, RangeInclusive<Duration>); 16] = [
    ("webhooks.jaas.window", seconds(60)..=DAY),
    ("dpop.window", seconds(1)..=countersign_verifier::dpop::MAX_WINDOW),
    ("refresh.grace", Duration::ZERO..=seconds(600)),
    ("refresh.idle", seconds(1)..=seconds(400 * 24 * 3600)),
    ("refresh.absolute", seconds(1)..=seconds(400 * 24 * 3600)),
    ("store.refresh", Duration::ZERO..=DAY),
    ("store.max_stale", Duration::ZERO..=MONTH),
    ("store.max_stale_signing", Duration::ZERO..=MONTH),
    ("tokens.backdate", Duration::ZERO..=HOUR),
    ("jwks.max_age", Duration::ZERO..=MONTH),
    ("rotation.observe_every", Duration::ZERO..=HOUR),
    ("rotation.skew", Duration::ZERO..=DAY),
    ("limits.request_time", LEAST_LIMIT..=HOUR),
    ("limits.idle_time", LEAST_LIMIT..=DAY),
    ("limits.write_time", LEAST_LIMIT..=HOUR),
    ("server.drain", Duration::ZERO..=HOUR),
];

/// So many requests in a time are counted one by one; more would be no limit at all.
const MOST_REQUESTS: u32 = 1_000_000_000;

pub(super) fn rate(key: &str, text: &str) -> Outcome<Option<Rate>> {
    if text == "off" {
        return Ok(None);
    }
    let parsed = text.split_once('/').and_then(|(number, per)| {
        let per = match per {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        let requests = number.parse::<NonZeroU32>().ok().filter(|number| number.get() <= MOST_REQUESTS)?;
        Some(Rate { requests, per: Duration::from_secs(per) })
    });
    parsed.map(Some).ok_or_else(|| {
        at(
            key,
            format!("{text:?} is not a rate; write 100/s, 600/m, 1000/h or off, and at most {MOST_REQUESTS}"),
        )
    })
}

/// An AppID of 8x8. One that was copied from an example or cut by a page would be refused by 8x8
/// alone, later.
pub(super) fn jaas_app_id(key: &str, text: &str) -> Outcome<String> {
    if is_jaas_app_id(text) {
        return Ok(text.to_owned());
    }
    let odd = text.chars().find(|c| !is_jaas_app_id(&c.to_string()));
    let found = match odd {
        Some(c) => format!("found {c:?} in it"),
        None if text.is_empty() => "found nothing".to_owned(),
        None => format!("found {} characters", text.chars().count()),
    };
    // What stands there by mistake may be a key, so the rest of it is not repeated.
    let why =
        "must be the AppID of the JaaS console (API keys), vpaas-magic-cookie- and 32 digits and letters";
    Err(at(key, format!("{why}; {found}")))
}
