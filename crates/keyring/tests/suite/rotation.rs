//! Rotation step by step: what is due when, what stands in the way, and what people may do by hand.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use async_trait::async_trait;
use countersign_jose::{Algorithm, KeySize, Timestamp};
use countersign_keyring::{
    Change, Distribution, Done, Force, KeyPlace, KeyService, KeyState, KeyringError, LifecycleError, Look,
    Needs, Obstacle, PolicyError, Prepared, RemoteKey, RingName, RingSpec, RotationPolicy, SealingKey,
    ServiceError, Step, StoredKeyring,
};
use countersign_store::{ManualClock, MemoryStore};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

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
        keep_retired: HOUR * 2,
        observe_every: MINUTE * 5,
    }
}

fn of(kids: &[&str]) -> BTreeSet<String> {
    kids.iter().map(|kid| (*kid).to_owned()).collect()
}

async fn states(keyring: &StoredKeyring) -> Vec<KeyState> {
    let keyring = keyring.read().await.unwrap();
    keyring.ring(&ring()).map(|ring| ring.keys().iter().map(|key| key.state).collect()).unwrap_or_default()
}

async fn advance(keyring: &StoredKeyring, now: Timestamp) -> Vec<Done> {
    let mut done = Vec::new();
    keyring.advance(&spec(), &policy(), now, &mut done).await.unwrap();
    let stored = keyring.read().await.unwrap();
    assert!(stored.has_one_active_key_per_ring());
    done
}

/// Looks every five minutes from `from` until `until`, and finds these keys.
async fn look(keyring: &StoredKeyring, kids: &[&str], from: Timestamp, until: Timestamp) {
    let mut now = from;
    while now <= until {
        keyring.observe(&Look::at(now, of(kids)), policy().longest_gap(), policy().skew).await.unwrap();
        now = now.plus(MINUTE * 5);
    }
}

#[tokio::test]
async fn a_ring_lives_by_itself_from_its_first_key_to_the_removal_of_that_key() {
    let keyring = keyring();
    let first = advance(&keyring, NOW).await;
    assert!(matches!(first.as_slice(), [Done { step: Step::Make, .. }]), "{first:?}");
    assert_eq!(states(&keyring).await, [KeyState::Active]);
    let first = first[0].kid.clone();

    // Nothing to do for a long time; the next key comes before its turn, by the time it takes to
    // become known.
    let due = NOW.plus(DAY * 30);
    let publish = due.minus(policy().lead());
    assert_eq!(advance(&keyring, publish.minus(MINUTE)).await, []);
    let second = advance(&keyring, publish).await;
    assert!(matches!(second.as_slice(), [Done { step: Step::Make, .. }]), "{second:?}");
    assert_eq!(states(&keyring).await, [KeyState::Active, KeyState::Published]);
    let second = second[0].kid.clone();

    // It waits for its turn although it is known, and would wait longer if it were not.
    look(&keyring, &[&first, &second], publish, due).await;
    assert_eq!(advance(&keyring, due.minus(MINUTE)).await, []);
    let turn = advance(&keyring, due).await;
    assert_eq!(turn, [Done { ring: ring(), step: Step::Activate(second.clone()), kid: second.clone() }]);
    assert_eq!(states(&keyring).await, [KeyState::Retired, KeyState::Active]);

    assert_eq!(advance(&keyring, due.plus(HOUR * 2).minus(MINUTE)).await, []);
    let removed = advance(&keyring, due.plus(HOUR * 2)).await;
    assert_eq!(removed, [Done { ring: ring(), step: Step::Remove(first.clone()), kid: first }]);
    assert_eq!(states(&keyring).await, [KeyState::Active]);
}

#[tokio::test]
async fn a_key_that_is_not_seen_without_a_break_never_takes_over() {
    let keyring = keyring();
    let first = advance(&keyring, NOW).await[0].kid.clone();
    let publish = NOW.plus(DAY * 30).minus(policy().lead());
    let second = advance(&keyring, publish).await[0].kid.clone();
    let far = NOW.plus(DAY * 40);
    let stored = keyring.read().await.unwrap();

    // Never seen.
    assert_eq!(advance(&keyring, far).await, []);
    let plan = stored.ring(&ring()).unwrap().plan(&policy(), stored.observations(), far);
    assert_eq!(plan[0].obstacle, Some(Obstacle::NotSeen));
    // Seen for a while, then missing once.
    look(&keyring, &[&first, &second], far, far.plus(HOUR)).await;
    look(&keyring, &[&first], far.plus(HOUR + MINUTE), far.plus(HOUR + MINUTE)).await;
    look(&keyring, &[&first, &second], far.plus(HOUR + MINUTE * 2), far.plus(HOUR * 2)).await;
    assert_eq!(advance(&keyring, far.plus(HOUR * 2)).await, []);
    // Seen again, but nobody looked for a while.
    let later = far.plus(HOUR * 3);
    let known = later.plus(HOUR * 2 + policy().skew);
    look(&keyring, &[&first, &second], later, known).await;
    assert_eq!(advance(&keyring, known.plus(MINUTE * 16)).await, [], "nobody has looked for 16 minutes");
    assert_eq!(advance(&keyring, known).await.len(), 1);
}

#[tokio::test]
async fn a_clock_that_was_set_back_proves_nothing() {
    let keyring = keyring();
    let first = advance(&keyring, NOW).await[0].kid.clone();
    let publish = NOW.plus(DAY * 30).minus(policy().lead());
    let second = advance(&keyring, publish).await[0].kid.clone();
    look(&keyring, &[&first, &second], publish.plus(DAY), publish.plus(DAY + HOUR * 3)).await;
    look(&keyring, &[&first, &second], publish, publish).await;
    assert_eq!(advance(&keyring, NOW.plus(DAY * 30)).await, []);
}

#[tokio::test]
async fn looks_on_clocks_that_differ_by_the_skew_add_up() {
    let keyring = keyring();
    let first = advance(&keyring, NOW).await[0].kid.clone();
    let due = NOW.plus(DAY * 30);
    let publish = due.minus(policy().lead());
    let second = advance(&keyring, publish).await[0].kid.clone();
    // One who is ahead looks, and a moment later one who is not.
    let mut now = publish;
    while now <= due {
        look(&keyring, &[&first, &second], now.plus(policy().skew), now.plus(policy().skew)).await;
        look(&keyring, &[&first, &second], now, now).await;
        now = now.plus(MINUTE * 5);
    }
    let turn = advance(&keyring, due).await;
    assert_eq!(turn, [Done { ring: ring(), step: Step::Activate(second.clone()), kid: second }]);
}

#[tokio::test]
async fn by_hand_a_key_is_prepared_published_and_activated_and_twice_is_once() {
    let keyring = keyring();
    let first = advance(&keyring, NOW).await[0].kid.clone();
    let Prepared { kid: second, made } =
        keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap();
    assert!(made);
    let again = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap();
    assert_eq!(again, Prepared { kid: second.clone(), made: false });
    assert_eq!(states(&keyring).await, [KeyState::Active, KeyState::Prepared]);
    assert!(
        keyring
            .load()
            .await
            .unwrap()
            .ring(&ring())
            .unwrap()
            .public_keys()
            .iter()
            .all(|key| key.jwk.kid != second)
    );
    for expected in [Change::Made, Change::AlreadySo] {
        assert_eq!(keyring.publish(&second, NOW).await.unwrap(), expected);
    }

    let too_early = keyring.activate(&second, &policy(), Force::No, NOW).await.unwrap_err();
    let KeyringError::Lifecycle(LifecycleError::NotKnown { known_at: None, .. }) = &too_early else {
        panic!("{too_early}")
    };
    look(&keyring, &[&first, &second], NOW, NOW.plus(HOUR)).await;
    let early = keyring.activate(&second, &policy(), Force::No, NOW.plus(HOUR)).await.unwrap_err();
    assert!(early.to_string().contains("may not be known to all verifiers before"), "{early}");
    // The process that saw it first may have had a clock that was behind.
    let known = NOW.plus(HOUR * 2 + policy().skew);
    look(&keyring, &[&first, &second], NOW.plus(HOUR), known).await;
    let early = keyring.activate(&second, &policy(), Force::No, known.minus(MINUTE)).await.unwrap_err();
    assert!(early.to_string().contains("may not be known to all verifiers before"), "{early}");
    assert_eq!(keyring.activate(&second, &policy(), Force::No, known).await.unwrap(), Change::Made);
    assert_eq!(keyring.activate(&second, &policy(), Force::No, known).await.unwrap(), Change::AlreadySo);
    let back = keyring.activate(&first, &policy(), Force::Yes, NOW.plus(HOUR * 2)).await;
    assert_eq!(back.unwrap(), Change::Made);
    assert_eq!(states(&keyring).await, [KeyState::Active, KeyState::Retired]);
}

/// A service that keeps keys and does not answer.
#[derive(Debug)]
struct Away;

#[async_trait]
impl KeyService for Away {
    async fn create(&self, _: &RingName, _: Algorithm, _: KeySize) -> Result<RemoteKey, ServiceError> {
        Err(ServiceError::Unavailable("away".to_owned()))
    }
    async fn describe(&self, _: &str, _: Algorithm) -> Result<RemoteKey, ServiceError> {
        Err(ServiceError::Unavailable("away".to_owned()))
    }
    async fn sign(&self, _: &str, _: Algorithm, _: &[u8]) -> Result<Vec<u8>, ServiceError> {
        Err(ServiceError::Unavailable("away".to_owned()))
    }
    async fn discard(&self, _: &str) -> Result<(), ServiceError> {
        Err(ServiceError::Unavailable("away".to_owned()))
    }
}

#[tokio::test]
async fn a_key_is_revoked_even_when_the_service_that_would_make_the_next_one_is_away() {
    let keyring = keyring().with_service(Arc::new(Away));
    let first = advance(&keyring, NOW).await[0].kid.clone();
    let in_the_service = RingSpec { place: KeyPlace::Service, ..spec() };
    let revocation = keyring.revoke(&first, NOW).await.unwrap();
    assert!(revocation.counts() && revocation.record.is_ok() && revocation.active.is_none());
    let why = keyring.replace(&in_the_service, NOW).await.unwrap_err();
    assert!(matches!(why, KeyringError::Service(_)), "{why}");
    assert_eq!(states(&keyring).await, []);
    // It is no reason to revoke what is not there.
    let unknown = keyring.revoke("nobody", NOW).await.unwrap_err();
    assert!(matches!(unknown, KeyringError::Lifecycle(LifecycleError::UnknownKey { .. })));
}

#[tokio::test]
async fn a_key_that_cannot_be_made_keeps_no_other_step_away() {
    let keyring = keyring().with_service(Arc::new(Away));
    let policy = RotationPolicy { keep_retired: DAY * 60, ..policy() };
    let first = advance(&keyring, NOW).await[0].kid.clone();
    let second = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
    keyring.activate(&second, &policy, Force::Yes, NOW).await.unwrap();
    // Both are due, the next key for longer.
    let in_the_service = RingSpec { place: KeyPlace::Service, ..spec() };
    let mut done = Vec::new();
    let outcome = keyring.advance(&in_the_service, &policy, NOW.plus(DAY * 60), &mut done).await;
    assert!(matches!(outcome, Err(KeyringError::Service(_))), "{outcome:?}");
    assert_eq!(done, [Done { ring: ring(), step: Step::Remove(first.clone()), kid: first }]);
}

#[tokio::test]
async fn revoking_is_at_once_and_the_next_key_signs_at_once() {
    let keyring = keyring();
    let first = advance(&keyring, NOW).await[0].kid.clone();
    assert!(keyring.revoke(&first, NOW).await.unwrap().record.is_ok());
    let second = keyring.replace(&spec(), NOW).await.unwrap().unwrap();
    assert!(second != first);
    assert_eq!(states(&keyring).await, [KeyState::Active]);
    let loaded = keyring.load().await.unwrap();
    let public: Vec<_> =
        loaded.ring(&ring()).unwrap().public_keys().iter().map(|key| key.jwk.kid.clone()).collect();
    assert_eq!(public, std::slice::from_ref(&second));
    let again = keyring.revoke(&first, NOW).await.unwrap();
    assert!(again.was_revoked() && again.active.as_ref() == Some(&second), "{again:?}");
    assert_eq!(keyring.replace(&spec(), NOW).await.unwrap(), Some(second.clone()), "it has one that signs");

    // With one waiting, that one takes over.
    let third = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
    assert_eq!(keyring.revoke(&second, NOW).await.unwrap().active, Some(third));
    for refused in [
        keyring.activate(&first, &policy(), Force::Yes, NOW).await,
        keyring.publish(&first, NOW).await,
        keyring.retire(&first, NOW).await,
    ] {
        assert!(matches!(refused, Err(KeyringError::Lifecycle(LifecycleError::Revoked { .. }))));
    }
    // Its name is remembered, however much time passes.
    advance(&keyring, NOW.plus(DAY * 1000)).await;
    assert!(keyring.read().await.unwrap().revocation(&first).is_some());
}

#[tokio::test]
async fn the_active_key_is_never_retired_or_removed_without_a_successor() {
    let keyring = keyring();
    let first = advance(&keyring, NOW).await[0].kid.clone();
    let why = keyring.retire(&first, NOW).await.unwrap_err().to_string();
    assert!(why.contains("a ring always has one active key"), "{why}");
    let stored = keyring.read().await.unwrap();
    assert!(stored.without(&first, policy().keep_retired, policy().skew, NOW.plus(DAY * 1000)).is_err());
    let unknown = keyring.activate("nobody", &policy(), Force::Yes, NOW).await.unwrap_err();
    assert!(matches!(unknown, KeyringError::Lifecycle(LifecycleError::UnknownKey { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_rotators_at_once_one_makes_the_next_key() {
    let keyring = keyring();
    advance(&keyring, NOW).await;
    let publish = NOW.plus(DAY * 30).minus(policy().lead());
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let keyring = keyring.clone();
            tokio::spawn(async move {
                let mut done = Vec::new();
                keyring.advance(&spec(), &policy(), publish, &mut done).await.unwrap();
                done.len()
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += task.await.unwrap();
    }
    assert_eq!((made, states(&keyring).await.len()), (1, 2));
}

#[tokio::test]
async fn a_ring_whose_keys_come_from_outside_never_makes_one() {
    let keyring = keyring();
    let imported = RingSpec { make_first_key: false, ..spec() };
    let mut done = Vec::new();
    keyring.advance(&imported, &policy(), NOW, &mut done).await.unwrap();
    assert_eq!(done, []);
    assert_eq!(states(&keyring).await, []);
}

#[test]
fn times_that_do_not_fit_together_are_refused_with_their_numbers() {
    let good = policy();
    assert_eq!(good.check(), Ok(()));
    let short = RotationPolicy { keep_retired: HOUR, ..good };
    let why = short.check().unwrap_err();
    assert!(matches!(why, PolicyError::RetiredTooShort { .. }));
    assert!(why.to_string().contains("keep_retired 1h ") && why.to_string().contains("skew 1m "), "{why}");
    let often = RotationPolicy { rotate_every: Some(HOUR), ..good };
    assert!(matches!(often.check(), Err(PolicyError::RotatesTooOften { .. })));
    let crowded = RotationPolicy { rotate_every: Some(HOUR * 6), keep_retired: DAY * 3, ..good };
    assert!(matches!(crowded.check(), Err(PolicyError::TooManyKeys { keys: 14, .. })));
    let blind = RotationPolicy { observe_every: HOUR * 2, ..good };
    assert!(matches!(blind.check(), Err(PolicyError::ObservesTooSeldom { .. })));
    assert_eq!(RotationPolicy { rotate_every: None, ..good }.check(), Ok(()));
}

fn needs(keep_after: Duration) -> Needs {
    Needs::from([(ring(), keep_after)])
}

#[tokio::test]
async fn no_change_of_the_configuration_removes_a_key_while_its_tokens_live() {
    let long = RotationPolicy { longest_token: DAY * 7, keep_retired: DAY * 7 + HOUR, ..policy() };
    let short = policy();
    for (first, then, kept) in [
        // Lowered after it signed, raised while it signs, and raised after it has retired.
        (&long, &short, long.least_keep_retired()),
        (&short, &long, long.keep_retired),
        (&short, &short, short.keep_retired),
    ] {
        let keyring = keyring();
        let old = advance(&keyring, NOW).await[0].kid.clone();
        keyring.load_to_mint(&needs(first.least_keep_retired()), NOW).await.unwrap();
        let new = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
        keyring.activate(&new, &short, Force::Yes, NOW).await.unwrap();
        // A server with the other configuration starts.
        keyring.load_to_mint(&needs(then.least_keep_retired()), NOW).await.unwrap();
        let removed = async |now| {
            let mut done = Vec::new();
            keyring.advance(&spec(), then, now, &mut done).await.unwrap();
            done.iter().any(|done| done.step == Step::Remove(old.clone()))
        };
        assert!(!removed(NOW.plus(kept - MINUTE)).await, "{kept:?}");
        let why =
            keyring.remove(&old, then.keep_retired, then.skew, NOW.plus(kept - MINUTE)).await.unwrap_err();
        assert!(matches!(why, KeyringError::Lifecycle(LifecycleError::Needed { .. })), "{why}");
        assert!(removed(NOW.plus(kept)).await, "{kept:?}");
    }
}

#[tokio::test]
async fn a_longer_need_is_noted_before_the_keys_are_handed_out_and_never_shortened() {
    let keyring = keyring();
    let kid = advance(&keyring, NOW).await[0].kid.clone();
    let noted = async || keyring.read().await.unwrap().find(&kid).unwrap().1.keep_after;
    assert_eq!(noted().await, policy().least_keep_retired());
    for (asked, expected) in [
        (DAY * 7, DAY * 7),
        (HOUR, DAY * 7),
        (DAY * 8 + Duration::from_millis(1), DAY * 8 + Duration::from_secs(1)),
    ] {
        let loaded = keyring.load_to_mint(&needs(asked), NOW).await.unwrap();
        let (_, record) = loaded.records().find(&kid).unwrap();
        assert_eq!((record.keep_after, noted().await), (expected, expected));
    }
    // Another key became active meanwhile: who reloads notes it for that one, before it is used.
    let known = keyring.load().await.unwrap();
    let next = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
    keyring.activate(&next, &policy(), Force::Yes, NOW).await.unwrap();
    let reloaded = keyring.reload(&known, &needs(DAY * 9), NOW).await.keys.unwrap();
    assert_eq!(reloaded.records().find(&next).unwrap().1.keep_after, DAY * 9);
}

#[tokio::test]
async fn how_long_a_token_lives_at_most_is_known_while_a_key_is_there_that_signed_for_so_long() {
    let keyring = keyring();
    let old = advance(&keyring, NOW).await[0].kid.clone();
    let longest = async || keyring.read().await.unwrap().longest_signed();
    assert_eq!(longest().await, policy().least_keep_retired());
    keyring.load_to_mint(&needs(DAY * 7), NOW).await.unwrap();
    assert_eq!(longest().await, DAY * 7);
    // Neither a shorter policy nor another key ends what was signed.
    let loaded = keyring.load_to_mint(&needs(HOUR), NOW).await.unwrap();
    assert_eq!((loaded.records().longest_signed(), longest().await), (DAY * 7, DAY * 7));
    let next = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
    keyring.activate(&next, &policy(), Force::Yes, NOW).await.unwrap();
    assert_eq!(longest().await, DAY * 7);
    keyring.remove(&old, HOUR, Duration::ZERO, NOW.plus(DAY * 7)).await.unwrap();
    assert_eq!(longest().await, policy().least_keep_retired());
}

#[tokio::test]
async fn when_a_key_first_signed_is_kept_and_its_turn_counts_from_the_last_time() {
    let keyring = keyring();
    let first = advance(&keyring, NOW).await[0].kid.clone();
    let second = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
    keyring.activate(&second, &policy(), Force::Yes, NOW.plus(HOUR)).await.unwrap();
    keyring.activate(&first, &policy(), Force::Yes, NOW.plus(DAY)).await.unwrap();
    let stored = keyring.read().await.unwrap();
    let (_, record) = stored.find(&first).unwrap();
    assert_eq!((record.activated_at, record.signing_since), (Some(NOW), Some(NOW.plus(DAY))));
    let (_, record) = stored.find(&second).unwrap();
    assert_eq!(record.needed_until, Some(NOW.plus(DAY + policy().least_keep_retired())));
    assert!(stored.ring(&ring()).unwrap().next_change(&policy(), NOW.plus(DAY)).is_some());
}

#[tokio::test]
async fn a_look_counts_from_its_end_and_until_its_beginning() {
    let keyring = keyring();
    let first = advance(&keyring, NOW).await[0].kid.clone();
    let look = |began, ended| Look { found: of(&[&first]), began, ended };
    let at = |seconds| NOW.plus(Duration::from_secs(seconds));
    for (began, ended) in [(at(0), at(5)), (at(60), at(65))] {
        keyring.observe(&look(began, ended), policy().longest_gap(), policy().skew).await.unwrap();
    }
    let seen = keyring.read().await.unwrap().observations().of(&first).unwrap();
    assert_eq!((seen.first_seen, seen.last_seen), (at(5), at(60)));
}
