//! What is shown of keys as their lives go on, on a virtual clock.

use super::*;
use countersign_jose::{Algorithm, KeySize};
use countersign_keyring::{
    Distribution, Force, KeyPlace, LoadedKeyring, Look, RingSpec, Sealing, SealingKey, StoredKeyring,
};
use countersign_store::{ManualClock, MemoryStore};
use prometheus_client::encoding::text::encode;
use std::{sync::Arc, time::Duration};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

struct World {
    keyring: StoredKeyring,
    spec: RingSpec,
    plans: BTreeMap<RingName, RingPlan>,
    seen: Sightings,
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))));
        let sealing = Sealing::new(Arc::new(SealingKey::generate().unwrap().0));
        let spec = RingSpec {
            name: "default".parse().unwrap(),
            algorithm: Algorithm::ES256,
            size: KeySize::default(),
            make_first_key: true,
            place: KeyPlace::Here,
        };
        let keyring = StoredKeyring::new(store, sealing);
        keyring.ensure(std::slice::from_ref(&spec), NOW).await.unwrap();
        let policy = RotationPolicy {
            distribution: Distribution::Published,
            rotate_every: Some(24 * HOUR),
            propagation: HOUR,
            longest_token: HOUR,
            skew: Duration::ZERO,
            signer_lag: Duration::ZERO,
            keep_retired: 2 * HOUR,
            observe_every: Duration::from_secs(300),
        };
        let plans = BTreeMap::from([(spec.name.clone(), RingPlan { policy, makes_keys: true })]);
        Self { keyring, spec, plans, seen: Sightings::default() }
    }

    async fn loaded(&self) -> LoadedKeyring {
        self.keyring.load_to_mint(&BTreeMap::new(), NOW).await.unwrap()
    }

    async fn kid(&self) -> String {
        self.loaded().await.ring(&self.spec.name).unwrap().active().unwrap().kid().to_owned()
    }

    /// The samples at a time, without the prefix that all have.
    async fn samples(&self, now: Timestamp, unpublished: &[&str]) -> BTreeSet<String> {
        let unpublished = unpublished.iter().map(|name| name.parse().unwrap()).collect();
        let (keyring, mut text) = (self.loaded().await, String::new());
        let rings =
            Rings { keyring: &keyring, plans: &self.plans, unpublished: &unpublished, seen: &self.seen, now };
        encode(&mut text, &rings.registry()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.trim_start_matches("countersign_ring_").to_owned()).collect()
    }

    async fn has(&self, now: Timestamp, samples: &[&str]) {
        let all = self.samples(now, &[]).await;
        for sample in samples {
            assert!(all.contains(*sample), "{sample} is not in {all:#?}");
        }
    }
}

#[tokio::test]
async fn a_ring_shows_its_keys_by_state_the_age_of_the_one_that_signs_and_the_next_step() {
    let world = World::new().await;
    world
        .has(
            NOW.plus(HOUR),
            &[
                r#"keys{ring="default",state="active"} 1"#,
                r#"keys{ring="default",state="prepared"} 0"#,
                r#"keys{ring="default",state="published"} 0"#,
                r#"keys{ring="default",state="retired"} 0"#,
                r#"keys{ring="default",state="revoked"} 0"#,
                r#"active_key_age_seconds{ring="default"} 3600.0"#,
                r#"rotate_every_seconds{ring="default"} 86400.0"#,
                r#"active_key_seen_timestamp_seconds{ring="default"} 0.0"#,
            ],
        )
        .await;
    let old = world.kid().await;
    let prepared = world.keyring.prepare(&world.spec, Distribution::Published, NOW).await.unwrap().kid;
    world.keyring.publish(&prepared, NOW).await.unwrap();
    world.has(NOW.plus(HOUR), &[r#"next_step_seconds{ring="default",step="activate"} 82800.0"#]).await;
    // Nobody has seen it, so it waits however late it is.
    world.has(NOW.plus(26 * HOUR), &[r#"next_step_seconds{ring="default",step="activate"} -7200.0"#]).await;
    let policy = &world.plans.values().next().unwrap().policy;
    world.keyring.activate(&prepared, policy, Force::Yes, NOW.plus(HOUR)).await.unwrap();
    world.keyring.revoke(&old, NOW.plus(HOUR)).await.unwrap();
    world
        .has(
            NOW.plus(2 * HOUR),
            &[
                r#"keys{ring="default",state="revoked"} 1"#,
                r#"active_key_age_seconds{ring="default"} 3600.0"#,
            ],
        )
        .await;
}

#[tokio::test]
async fn when_the_key_was_seen_is_what_the_store_or_this_process_knows_last() {
    let world = World::new().await;
    let kid = world.kid().await;
    let seen = BTreeSet::from([kid.clone()]);
    world.keyring.observe(&Look::at(NOW, seen.clone()), HOUR, Duration::ZERO).await.unwrap();
    let at = |seconds: u64| NOW.plus(Duration::from_secs(seconds));
    let series = |at: Timestamp| {
        format!(r#"active_key_seen_timestamp_seconds{{ring="default"}} {}.0"#, at.unix_seconds())
    };
    world.has(NOW, &[&series(NOW)]).await;
    world.seen.note(&seen, at(60), |_| true);
    world.has(NOW, &[&series(at(60))]).await;
    // A look that does not find it leaves the time of the last one that did.
    world.seen.note(&BTreeSet::new(), at(120), |_| true);
    world.has(NOW, &[&series(at(60))]).await;
    world.seen.note(&BTreeSet::new(), at(180), |_| false);
    assert_eq!(world.seen.of(&kid), None, "of keys that are no more nothing is remembered");

    let hidden = world.samples(NOW, &["default"]).await;
    assert!(!hidden.iter().any(|line| line.starts_with("active_key_seen")), "{hidden:?}");
}

#[tokio::test]
async fn a_ring_whose_keys_are_brought_in_waits_for_nobody_to_make_one() {
    let mut world = World::new().await;
    let step = |all: &BTreeSet<String>| all.iter().any(|line| line.starts_with("next_step"));
    assert!(step(&world.samples(NOW, &[]).await));
    world.plans.values_mut().for_each(|plan| plan.makes_keys = false);
    assert!(!step(&world.samples(NOW, &[]).await));
}
