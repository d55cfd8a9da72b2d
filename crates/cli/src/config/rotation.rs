//! The rotation policy of each ring: what was typed, and what follows from consumers, clients and the store.

use super::{
    Config,
    raw::{RawConfig, RawRing},
    resolve::{at, duration},
};
use crate::failure::Outcome;
use countersign_consumers::Consumer;
use countersign_keyring::{Needs, RotationPolicy};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Config {
    /// How long after it has stopped signing the tokens that this configuration mints need a key of each ring.
    pub(crate) fn needs(&self) -> Needs {
        let needs =
            self.rings.iter().map(|ring| (ring.spec.name.clone(), ring.rotation.least_keep_retired()));
        needs.collect()
    }
}

/// The policy of one ring, checked.
pub(super) fn policy(
    raw: &RawConfig,
    name: &str,
    ring: &RawRing,
    consumers: &[&Consumer],
    published: bool,
) -> Outcome<RotationPolicy> {
    let key = |setting: &str| format!("rings.{name}.{setting}");
    let given = |setting: &str, text: &Option<String>| {
        text.as_ref().map(|text| duration(&key(setting), text)).transpose()
    };
    let rotate_every = given("rotate_every", &ring.rotate_every)?;
    if rotate_every.is_some() && !published {
        return Err(at(
            &key("rotate_every"),
            "the ring is not published, so nobody can see its keys; rotate it by hand",
        ));
    }
    let slowest = consumers.iter().map(|consumer| consumer.key_cache).max().unwrap_or_default();
    let max_age = duration("jwks.max_age", &raw.jwks.max_age)?;
    let max_stale = duration("store.max_stale_signing", &raw.store.max_stale_signing)?;
    let refresh = duration("store.refresh", &raw.store.refresh)?;
    let mut policy = RotationPolicy {
        rotate_every,
        propagation: given("propagation", &ring.propagation)?.unwrap_or(slowest.saturating_add(max_age)),
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
                "tokens of client {:?} may live {lifetime:?}, longer than {:?}; they would be refused after a rotation",
                client.id, policy.longest_token
            );
            return Err(at(&key("longest_token"), why));
        }
    }
    Ok(policy)
}

fn longest_token(raw: &RawConfig) -> Outcome<Duration> {
    let mut longest = DAY;
    for client in &raw.clients {
        longest =
            longest.max(duration(&format!("clients.{}.max_lifetime", client.id), &client.max_lifetime)?);
    }
    Ok(longest)
}
