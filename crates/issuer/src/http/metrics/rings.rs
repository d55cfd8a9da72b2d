//! What `/metrics` shows of the keys, ring by ring: a pure function of the keyring, the plans, what
//! was seen, and the time.
//!
//! Made anew for each answer, so that a ring or a step that is no more leaves no series behind.

use countersign_jose::Timestamp;
use countersign_keyring::{KeyState, LoadedKeyring, Ring, RingName, RotationPolicy, Step};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

/// What is planned for a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingPlan {
    /// The times of its rotation.
    pub policy: RotationPolicy,
    /// Whether keys are made for it here. Where they are brought in, nobody waits for one to be
    /// made.
    pub makes_keys: bool,
}

/// When keys were last seen in the JWKS as the world sees it, by this process.
#[derive(Debug, Default)]
pub(super) struct Sightings(Mutex<BTreeMap<String, Timestamp>>);

impl Sightings {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a look. Of keys that are not `known` any more nothing is remembered.
    pub(super) fn note(&self, seen: &BTreeSet<String>, at: Timestamp, known: impl Fn(&str) -> bool) {
        let mut all = self.lock();
        all.retain(|kid, _| known(kid));
        all.extend(seen.iter().map(|kid| (kid.clone(), at)));
    }

    fn of(&self, kid: &str) -> Option<Timestamp> {
        self.lock().get(kid).copied()
    }
}

/// What is asked about the keys.
pub(super) struct Rings<'a> {
    pub(super) keyring: &'a LoadedKeyring,
    pub(super) plans: &'a BTreeMap<RingName, RingPlan>,
    /// Rings whose keys are in no JWKS.
    pub(super) unpublished: &'a BTreeSet<RingName>,
    pub(super) seen: &'a Sightings,
    pub(super) now: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RingLabels {
    ring: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    ring: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    ring: String,
    step: &'static str,
}

type Seconds<Labels> = Family<Labels, Gauge<f64, AtomicU64>>;

const STATES: [KeyState; 4] = [KeyState::Prepared, KeyState::Published, KeyState::Active, KeyState::Retired];

impl Rings<'_> {
    /// The series as they are now.
    pub(super) fn registry(&self) -> Registry {
        let keys = Family::<StateLabels, Gauge>::default();
        let (age, every) = (Seconds::<RingLabels>::default(), Seconds::<RingLabels>::default());
        let (next, seen) = (Seconds::<StepLabels>::default(), Seconds::<RingLabels>::default());
        let empty = Ring::default();
        let records = self.keyring.records();
        // A ring whose key is in no store (one of the environment) has neither states nor times.
        let is_outside = |name: &&RingName| {
            records.ring(name).is_none()
                && self.keyring.ring(name).is_some_and(|ring| ring.active().is_some())
        };
        let names: BTreeSet<&RingName> =
            records.rings().map(|(name, _)| name).chain(self.plans.keys()).collect();
        for name in names.into_iter().filter(|name| !is_outside(name)) {
            let (ring, labels) = (records.ring(name).unwrap_or(&empty), || name.as_str().to_owned());
            let count = |state, number: usize| {
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                keys.get_or_create(&StateLabels { ring: labels(), state }).set(number);
            };
            for state in STATES {
                count(state.name(), ring.keys().iter().filter(|key| key.state == state).count());
            }
            count("revoked", records.revoked().iter().filter(|key| key.ring == *name).count());
            let set = |family: &Seconds<RingLabels>, value: f64| {
                family.get_or_create(&RingLabels { ring: labels() }).set(value);
            };
            let plan = self.plans.get(name);
            if let Some(every_so_long) = plan.and_then(|plan| plan.policy.rotate_every) {
                set(&every, every_so_long.as_secs_f64());
            }
            if let Some((step, seconds)) = plan.and_then(|plan| self.next_step(ring, plan)) {
                next.get_or_create(&StepLabels { ring: labels(), step }).set(seconds);
            }
            let Some(active) = ring.active() else { continue };
            let since = active.signing_since.or(active.activated_at).unwrap_or(active.created_at);
            set(&age, self.now.since(since).as_secs_f64());
            if active.public_key().is_some() && !self.unpublished.contains(name) {
                let stored = records.observations().of(&active.kid).map(|sighting| sighting.last_seen);
                let last = stored.max(self.seen.of(&active.kid));
                set(&seen, last.map_or(0.0, as_f64));
            }
        }
        let mut registry = Registry::with_prefix("countersign");
        registry.register("ring_keys", "Keys of a ring by state", keys);
        let help = "How long the active key of a ring has signed";
        registry.register_with_unit("ring_active_key_age", help, Unit::Seconds, age);
        let help = "After how long another key takes over, where a ring rotates by itself";
        registry.register_with_unit("ring_rotate_every", help, Unit::Seconds, every);
        let help = "How long it is until the next planned step of a ring; less than 0 when it is overdue";
        registry.register_with_unit("ring_next_step", help, Unit::Seconds, next);
        let help =
            "When the active key of a ring was last seen in the public JWKS, in Unix time; 0 for never";
        registry.register_with_unit("ring_active_key_seen_timestamp", help, Unit::Seconds, seen);
        registry
    }

    fn next_step(&self, ring: &Ring, plan: &RingPlan) -> Option<(&'static str, f64)> {
        let steps = ring.plan(&plan.policy, self.keyring.records().observations(), self.now);
        let next = steps.into_iter().find(|planned| planned.step != Step::Make || plan.makes_keys)?;
        let step = match next.step {
            Step::Make => "make",
            Step::Publish(_) => "publish",
            Step::Activate(_) => "activate",
            Step::Remove(_) => "remove",
        };
        Some((step, as_f64(next.at) - as_f64(self.now)))
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
fn as_f64(at: Timestamp) -> f64 {
    at.unix_seconds() as f64
}

#[cfg(test)]
mod tests;
