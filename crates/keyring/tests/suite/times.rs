//! Times that a machine whose clock is ahead wrote: nothing waits for them, nothing is removed
//! early by them, and they can be corrected with all that followed from them.
#![expect(clippy::unwrap_used, reason = "functions of this file that are no tests serve only tests")]

use countersign_jose::{Algorithm, KeySize, Timestamp};
use countersign_keyring::{
    Distribution, Done, Force, FutureTime, KeyPlace, KeyState, KeyringError, LifecycleError, Look, Obstacle,
    RingName, RingSpec, RotationPolicy, SealingKey, Step, StoredKeyring,
};
use countersign_store::{ManualClock, MemoryStore};
use std::{sync::Arc, time::Duration};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const AHEAD: Timestamp = Timestamp::from_unix_seconds(1_800_000_000 + 10 * 365 * 24 * 3600);

fn keyring() -> StoredKeyring {
    let store = MemoryStore::new(Arc::new(ManualClock::at(NOW)));
    StoredKeyring::new(Arc::new(store), Arc::new(SealingKey::generate().unwrap().0))
}

fn ring() -> RingName {
    "default".parse().unwrap()
}

fn spec() -> RingSpec {
    RingSpec {
        name: ring(),
        algorithm: Algorithm::Ed25519,
        size: KeySize::default(),
        make_first_key: true,
        place: KeyPlace::Here,
    }
}

fn policy() -> RotationPolicy {
    RotationPolicy {
        distribution: Distribution::Published,
        rotate_every: Some(DAY * 30),
        propagation: HOUR * 2,
        longest_token: HOUR,
        skew: MINUTE,
        signer_lag: MINUTE * 5,
        keep_retired: DAY,
        observe_every: MINUTE * 5,
    }
}

async fn advance(keyring: &StoredKeyring, now: Timestamp) -> Vec<Done> {
    let mut done = Vec::new();
    keyring.advance(&spec(), &policy(), now, &mut done).await.unwrap();
    done
}

/// The first key, and another one that a machine ten years ahead has made active in its place.
async fn turned_ahead(keyring: &StoredKeyring) -> [String; 2] {
    keyring.ensure(&[spec()], NOW).await.unwrap();
    let needs = [(ring(), policy().least_keep_retired())].into_iter().collect();
    let loaded = keyring.load_to_mint(&needs, NOW).await.unwrap();
    let first = loaded.ring(&ring()).unwrap().active().unwrap().kid().to_owned();
    let second = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
    keyring.activate(&second, &policy(), Force::Yes, AHEAD).await.unwrap();
    [first, second]
}

fn names(times: &[FutureTime], kid: &str) -> Vec<&'static str> {
    times.iter().filter(|time| time.kid == kid).map(|time| time.name).collect()
}

/// A removal that is planned is carried out, and what comes after it, too.
#[tokio::test]
async fn a_ring_goes_on_and_removes_its_keys_though_one_retired_in_the_future() {
    let keyring = keyring();
    let [first, second] = turned_ahead(&keyring).await;
    let made = advance(&keyring, NOW.plus(HOUR)).await;
    let [Done { step: Step::Make, kid: third, .. }] = made.as_slice() else { panic!("{made:?}") };
    let mut now = NOW.plus(HOUR);
    let turned = loop {
        let found = [&second, third].into_iter().cloned().collect();
        keyring.observe(&Look::at(now, found), policy().longest_gap(), policy().skew).await.unwrap();
        if let [Done { step: Step::Activate(kid), .. }] = advance(&keyring, now).await.as_slice() {
            assert_eq!(kid, third);
            break now;
        }
        assert!(now < NOW.plus(DAY), "it never takes its turn");
        now = now.plus(MINUTE * 5);
    };
    assert_eq!(advance(&keyring, turned.plus(DAY - MINUTE)).await, []);
    let removed: Vec<_> =
        advance(&keyring, turned.plus(DAY)).await.into_iter().map(|done| done.step).collect();
    assert_eq!(removed.len(), 2, "{removed:?}");
    assert!(removed.contains(&Step::Remove(first)) && removed.contains(&Step::Remove(second)), "{removed:?}");
}

#[tokio::test]
async fn a_key_that_retired_in_the_future_is_corrected_with_the_time_until_which_it_is_needed() {
    let keyring = keyring();
    let [first, second] = turned_ahead(&keyring).await;
    let now = NOW.plus(HOUR);
    let corrected = keyring.correct_times(policy().skew, now).await.unwrap();
    assert_eq!(names(&corrected, &first), ["retired_at", "needed_until"]);
    assert_eq!(names(&corrected, &second), ["published_at", "activated_at"]);
    let stored = keyring.read().await.unwrap();
    let (_, record) = stored.find(&first).unwrap();
    let needed = now.plus(record.keep_after);
    assert_eq!((record.retired_at, record.needed_until), (Some(now), Some(needed)));
    let told = corrected.iter().find(|time| time.name == "needed_until").unwrap();
    assert_eq!((told.at, told.corrected), (AHEAD.plus(record.keep_after), needed));
    assert_eq!(stored.future_times(policy().skew, now), []);
    let plan = stored.ring(&ring()).unwrap().plan(&policy(), stored.observations(), now);
    let removal = plan.iter().find(|planned| planned.step == Step::Remove(first.clone())).unwrap();
    assert_eq!(removal.at, now.plus(DAY));
}

/// It signed again by a right clock, so that nothing but this time is left of the wrong one.
#[tokio::test]
async fn a_time_that_was_left_over_is_told_and_corrected() {
    let keyring = keyring();
    let [first, _] = turned_ahead(&keyring).await;
    keyring.activate(&first, &policy(), Force::Yes, NOW.plus(HOUR)).await.unwrap();
    let now = NOW.plus(HOUR * 2);
    let stored = keyring.read().await.unwrap();
    assert_eq!(names(&stored.future_times(policy().skew, now), &first), ["needed_until"]);
    keyring.correct_times(policy().skew, now).await.unwrap();
    let stored = keyring.read().await.unwrap();
    let (_, record) = stored.find(&first).unwrap();
    assert_eq!((record.state, record.needed_until), (KeyState::Active, Some(now.plus(record.keep_after))));
}

/// What a key that stopped signing by a right clock is needed for is nothing to correct.
#[tokio::test]
async fn a_key_that_is_needed_for_its_time_stays_as_it_is() {
    let keyring = keyring();
    keyring.ensure(&[spec()], NOW).await.unwrap();
    let needs = [(ring(), policy().least_keep_retired())].into_iter().collect();
    keyring.load_to_mint(&needs, NOW).await.unwrap();
    let second = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
    // By a clock that is as far ahead as it may be.
    keyring.activate(&second, &policy(), Force::Yes, NOW.plus(policy().skew)).await.unwrap();
    assert_eq!(keyring.correct_times(policy().skew, NOW).await.unwrap(), []);
}

#[tokio::test]
async fn a_key_that_was_given_in_the_future_waits_for_a_person_and_not_for_that_time() {
    let keyring = keyring();
    let policy = RotationPolicy { distribution: Distribution::ByHand, ..policy() };
    keyring.ensure(&[spec()], NOW).await.unwrap();
    let waiting = keyring.prepare(&spec(), Distribution::ByHand, AHEAD).await.unwrap().kid;
    let stored = keyring.read().await.unwrap();
    let plan = stored.ring(&ring()).unwrap().plan(&policy, stored.observations(), NOW.plus(DAY * 31));
    assert_eq!(plan[0].step, Step::Activate(waiting.clone()));
    assert_eq!((plan[0].at, plan[0].obstacle), (NOW.plus(DAY * 30), Some(Obstacle::GivenInFuture)));
    let why = keyring.activate(&waiting, &policy, Force::No, NOW.plus(DAY * 31)).await.unwrap_err();
    let is_told =
        matches!(&why, KeyringError::Lifecycle(LifecycleError::GivenInFuture { at, .. }) if *at == AHEAD);
    assert!(is_told && why.to_string().contains("countersign keys correct-times"), "{why}");
    // Then it has the time that it needs.
    let now = NOW.plus(DAY * 31);
    keyring.correct_times(policy.skew, now).await.unwrap();
    let stored = keyring.read().await.unwrap();
    let known_at = now.plus(policy.propagation + policy.skew);
    let plan = stored.ring(&ring()).unwrap().plan(&policy, stored.observations(), now);
    assert_eq!((plan[0].at, plan[0].obstacle), (known_at, None));
    keyring.activate(&waiting, &policy, Force::No, known_at).await.unwrap();
}
