//! The rotation policy of each ring: what was typed, and what follows from consumers, clients and
//! the store.

use super::{
    Config,
    raw::{RawConfig, RawRing},
    values::{at, duration},
};
use crate::failure::Outcome;
use countersign_consumers::{Certainty, Consumer};
use countersign_keyring::{Distribution, Needs, RotationPolicy};
use countersign_settings::duration::words;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Config {
    /// How long after it has stopped signing the tokens that this configuration mints need a key of
    /// each ring.
    pub(crate) fn needs(&self) -> Needs {
        let needs =
            self.rings.iter().map(|ring| (ring.spec.name.clone(), ring.rotation.least_keep_retired()));
        needs.collect()
    }
}

/// How verifiers come to the keys of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// By the public documents.
    Published,
    /// They are given them.
    ByHand,
    /// 8x8 has every key that has a name, because it gives it the name.
    Jaas,
}

/// The policy of one ring, checked.
pub(super) fn policy(
    raw: &RawConfig,
    name: &str,
    ring: &RawRing,
    consumers: &[&Consumer],
    reach: Reach,
    warnings: &mut Vec<String>,
) -> Outcome<RotationPolicy> {
    let key = |setting: &str| format!("rings.{name}.{setting}");
    let given = |setting: &str, text: &Option<String>| {
        text.as_ref().map(|text| duration(&key(setting), text)).transpose()
    };
    let rotate_every = given("rotate_every", &ring.rotate_every)?;
    if rotate_every.is_some()
        && let Some(why) = not_by_itself(name, ring, reach)
    {
        return Err(at(&key("rotate_every"), why));
    }
    let slowest = consumers.iter().map(|consumer| consumer.key_cache).max().unwrap_or_default();
    let max_age = duration("jwks.max_age", &raw.jwks.max_age)?;
    let usual = match reach {
        Reach::Published if ring.algorithm.is_symmetric() => slowest,
        Reach::Published => slowest.saturating_add(max_age),
        Reach::ByHand => slowest,
        Reach::Jaas => Duration::ZERO,
    };
    let max_stale = duration("store.max_stale_signing", &raw.store.max_stale_signing)?;
    let refresh = duration("store.refresh", &raw.store.refresh)?;
    let is_fetched = matches!(reach, Reach::Published) && !ring.algorithm.is_symmetric();
    let propagation = given("propagation", &ring.propagation)?;
    if let Some(propagation) = propagation.filter(|_| is_fetched) {
        let caches = Caches { consumers, max_age, usual };
        check_propagation(&key("propagation"), propagation, caches, warnings)?;
    }
    let mut policy = RotationPolicy {
        distribution: match reach {
            Reach::Published => Distribution::Published,
            Reach::ByHand | Reach::Jaas => Distribution::ByHand,
        },
        rotate_every,
        propagation: propagation.unwrap_or(usual),
        longest_token: given("longest_token", &ring.longest_token)?.unwrap_or(longest_token(raw)?),
        skew: duration("rotation.skew", &raw.rotation.skew)?,
        signer_lag: max_stale.saturating_add(refresh),
        keep_retired: Duration::ZERO,
        observe_every: duration("rotation.observe_every", &raw.rotation.observe_every)?,
    };
    policy.keep_retired = given("keep_retired", &ring.keep_retired)?.unwrap_or(policy.least_keep_retired());
    policy.check().map_err(|why| at(&format!("rings.{name}"), why))?;
    for client in &raw.clients {
        let lifetime = duration(&format!("clients.{}.max_lifetime", client.id), &client.max_lifetime)?;
        if lifetime > policy.longest_token {
            let why = format!(
                "tokens of client {:?} may live {}, longer than {}; they would be refused after a rotation",
                client.id,
                words(lifetime),
                words(policy.longest_token)
            );
            return Err(at(&key("longest_token"), why));
        }
    }
    Ok(policy)
}

/// Why the keys of a ring cannot take turns without anybody doing something, and what to do
/// instead.
fn not_by_itself(name: &str, ring: &RawRing, reach: Reach) -> Option<String> {
    let algorithm = ring.algorithm;
    match reach {
        Reach::Jaas => Some(
            "8x8 names the keys of this ring, so none can be made without the JaaS console; leave it out, and rotate by hand \
             (docs/jaas.md)"
                .to_owned(),
        ),
        _ if algorithm.is_symmetric() => Some(format!(
            "keys for {algorithm} are secrets that verifiers have to be given, and nobody would be given one that is made without \
             anybody asking; leave it out, and rotate by hand with `countersign keys prepare --ring {name} --show-secret`"
        )),
        Reach::ByHand if ring.propagation.is_none() => Some(format!(
            "the ring is not published, so nobody can see when verifiers have its next key; say with rings.{name}.propagation how \
             long it takes until all of them were given what `countersign keys export --ring {name}` prints, or leave \
             rotate_every out and rotate by hand"
        )),
        Reach::ByHand | Reach::Published => None,
    }
}

/// How long consumers use keys that they have read.
struct Caches<'a> {
    consumers: &'a [&'a Consumer],
    /// `jwks.max_age`, which some consumers obey.
    max_age: Duration,
    /// The propagation that follows from the consumers where none is configured.
    usual: Duration,
}

/// A key that signs before a consumer reads the keys again is refused by it. Where it is only
/// assumed how long that is, the operator may know better, and is told. One that asks for a key it
/// does not know misses nothing.
fn check_propagation(
    key: &str,
    propagation: Duration,
    caches: Caches<'_>,
    warnings: &mut Vec<String>,
) -> Outcome {
    let late = caches.consumers.iter().filter(|consumer| {
        // Who says `other` says how long those take.
        !consumer.refetches_unknown_kid
            && consumer.keeps(caches.max_age) > propagation
            && consumer.name != "other"
    });
    let Some(slowest) = late.max_by_key(|c| (c.certainty == Certainty::Documented, c.keeps(caches.max_age)))
    else {
        return Ok(());
    };
    let what = format!(
        "{} is shorter than {}, for which {}",
        words(propagation),
        words(slowest.keeps(caches.max_age)),
        slowest.name
    );
    let advice = format!(
        "leave it out ({} then), or take {} out of `consumers` if nobody verifies with it",
        words(caches.usual),
        slowest.name
    );
    match slowest.certainty {
        Certainty::Documented => {
            let why = format!(
                "{what} goes on with the keys that it has read, and would refuse tokens of a new one; {advice}"
            );
            Err(at(key, why))
        }
        Certainty::Assumed => {
            warnings.push(format!(
                "{key}: {what} is assumed to go on with the keys that it has read, and would refuse tokens of a new one; {advice}"
            ));
            Ok(())
        }
    }
}

fn longest_token(raw: &RawConfig) -> Outcome<Duration> {
    let mut longest = DAY;
    for client in &raw.clients {
        longest =
            longest.max(duration(&format!("clients.{}.max_lifetime", client.id), &client.max_lifetime)?);
    }
    Ok(longest)
}
