//! Rings whose keys nobody can see in public: shared secrets, and key pairs with `publish = false`.
//!
//! Somebody gives each key to its consumers, who need up to `propagation` for that. Rules: a shared
//! secret is given out at its making and never again; a key signs only when its consumers have had
//! that time, and none is waited for longer; no token is refused and one key signs at every
//! instant, over ten years in which an operator is late, instances read the keys late, and clocks
//! differ. The same world shows refused tokens when the time is not kept.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say what they expect by failing")]

use countersign_jose::{Algorithm, Header, KeySize, SigningInput, SigningKey, SymmetricKey, Timestamp};
use countersign_keyring::{
    Activation, Change, Distribution, Done, Force, ImportedKey, ImportedMaterial, KeyPlace, KeyState,
    KeyringError, LifecycleError, LoadedKeyring, MadeSecret, RingName, RingSpec, RotationPolicy, SealingKey,
    Step, StoredKeyring,
};
use countersign_store::{Key, ManualClock, MemoryStore, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// How far any clock may be off, and how late an instance may read the keys.
const SKEW: u64 = MINUTE;
const LATE: u64 = 30 * MINUTE;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))))
}

fn keyring() -> StoredKeyring {
    StoredKeyring::new(store(), Arc::new(SealingKey::generate().unwrap().0))
}

fn ring() -> RingName {
    "given".parse().unwrap()
}

fn spec(algorithm: Algorithm) -> RingSpec {
    let make_first_key = !algorithm.is_symmetric();
    RingSpec { name: ring(), algorithm, size: KeySize::default(), make_first_key, place: KeyPlace::Here }
}

fn policy() -> RotationPolicy {
    let policy = RotationPolicy {
        distribution: Distribution::ByHand,
        rotate_every: None,
        propagation: seconds(2 * DAY),
        longest_token: seconds(DAY),
        skew: seconds(2 * SKEW),
        signer_lag: seconds(LATE),
        keep_retired: Duration::ZERO,
        observe_every: seconds(5 * MINUTE),
    };
    RotationPolicy { keep_retired: policy.least_keep_retired(), ..policy }
}

async fn states(keyring: &StoredKeyring) -> Vec<KeyState> {
    let keyring = keyring.read().await.unwrap();
    keyring.ring(&ring()).map(|ring| ring.keys().iter().map(|key| key.state).collect()).unwrap_or_default()
}

#[tokio::test]
async fn a_shared_secret_is_given_out_once_and_is_the_one_that_signs() {
    for (algorithm, bytes) in [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)] {
        let store = store();
        let sealing = Arc::new(SealingKey::generate().unwrap().0);
        let keyring = StoredKeyring::new(store.clone(), Arc::clone(&sealing));
        let made = keyring.make_secret(&spec(algorithm), NOW).await.unwrap();
        let secret = made.secret.unwrap();
        let text = std::str::from_utf8(secret.expose_secret()).unwrap();
        assert!(
            text.len() * 3 / 4 >= bytes
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        );
        // Nothing signed before it, so it signs.
        assert_eq!(states(&keyring).await, [KeyState::Active]);
        let loaded = keyring.load().await.unwrap();
        let signer = Arc::clone(loaded.ring(&ring()).unwrap().active().unwrap());
        let given = SigningKey::symmetric(&secret, algorithm).unwrap();
        let header = Header { alg: algorithm, kid: None, typ: None }.encode();
        let input = SigningInput::new(&header, b"{}");
        assert_eq!(signer.sign(&input).await.unwrap(), given.sign(&input).unwrap());

        // The next one waits, and is given out once.
        let next = keyring.make_secret(&spec(algorithm), NOW).await.unwrap();
        assert!(next.secret.is_some() && next.kid != made.kid);
        let again = keyring.make_secret(&spec(algorithm), NOW).await.unwrap();
        assert!(matches!(again, MadeSecret { kid, secret: None } if kid == next.kid));
        assert_eq!(states(&keyring).await, [KeyState::Active, KeyState::Published]);
        assert!(loaded.ring(&ring()).unwrap().public_keys().is_empty());
        let stored = store.get(&Key::parse("keyring").unwrap()).await.unwrap().unwrap().bytes;
        let debug = format!("{:?} {:?}", keyring.read().await.unwrap(), secret);
        assert!(!String::from_utf8(stored).unwrap().contains(text) && !debug.contains(text));
    }
    assert!(
        keyring().make_secret(&spec(Algorithm::ES256), NOW).await.is_err(),
        "a private key is given to nobody"
    );
}

#[tokio::test]
async fn the_same_secret_brought_again_changes_nothing_and_another_one_is_refused() {
    let (keyring, algorithm) = (keyring(), Algorithm::HS256);
    let secret = |byte| ImportedKey {
        kid: Some("k1".to_owned()),
        algorithm,
        material: ImportedMaterial::Secret(SymmetricKey::new(vec![byte; 32].into())),
    };
    let bring = async |byte, activation| {
        let imported = keyring.import(&ring(), &[secret(byte)], activation, NOW).await?;
        Ok::<_, KeyringError>(imported.first().is_some_and(|key| key.changed))
    };
    keyring.make_secret(&spec(algorithm), NOW).await.unwrap();
    assert!(bring(1, Activation::IfRingHasNone).await.unwrap());
    let before = keyring.read().await.unwrap();
    assert!(!bring(1, Activation::IfRingHasNone).await.unwrap());
    assert_eq!(keyring.read().await.unwrap(), before);
    assert!(bring(1, Activation::Now).await.unwrap(), "it signs at once, as a key pair would");
    assert!(!bring(1, Activation::Now).await.unwrap());
    for activation in [Activation::IfRingHasNone, Activation::Now] {
        let why = bring(2, activation).await.unwrap_err();
        assert!(matches!(why, KeyringError::Lifecycle(LifecycleError::KidTaken { .. })), "{why}");
    }
    let elsewhere = keyring.import(&"other".parse().unwrap(), &[secret(1)], Activation::Now, NOW).await;
    let why = elsewhere.unwrap_err();
    assert!(matches!(why, KeyringError::Lifecycle(LifecycleError::InAnotherRing { .. })), "{why}");
}

#[tokio::test]
async fn a_key_that_is_given_by_hand_waits_for_its_consumers_and_not_to_be_seen() {
    for algorithm in [Algorithm::HS256, Algorithm::ES256] {
        let (keyring, spec, policy) = (keyring(), spec(algorithm), policy());
        for _ in 0..2 {
            match algorithm.is_symmetric() {
                true => drop(keyring.make_secret(&spec, NOW).await.unwrap()),
                false => drop(keyring.prepare(&spec, policy.distribution, NOW).await.unwrap()),
            }
        }
        let stored = keyring.read().await.unwrap();
        let next = stored.ring(&ring()).unwrap().successor().unwrap();
        assert_eq!(
            (next.state, next.state.name_in(next.distribution(&policy))),
            (KeyState::Published, "handed-out")
        );
        // A secret is so whatever its ring says.
        let published = RotationPolicy { distribution: Distribution::Published, ..policy };
        let expected = if algorithm.is_symmetric() { "handed-out" } else { "published" };
        assert_eq!(next.state.name_in(next.distribution(&published)), expected);

        let known = NOW.plus(policy.propagation + policy.skew);
        let kid = next.kid.clone();
        let early = keyring.activate(&kid, &policy, Force::No, known.minus(seconds(1))).await;
        let why =
            KeyringError::Lifecycle(LifecycleError::NotKnown { kid: kid.clone(), known_at: Some(known) });
        assert_eq!(early.unwrap_err().to_string(), why.to_string());
        assert_eq!(keyring.activate(&kid, &policy, Force::No, known).await.unwrap(), Change::Made);
        assert_eq!(states(&keyring).await, [KeyState::Retired, KeyState::Active]);
    }
}

#[tokio::test]
async fn where_nobody_needs_time_to_be_given_a_key_nothing_is_waited_for() {
    let (keyring, spec) = (keyring(), spec(Algorithm::ES256));
    let at_once = RotationPolicy { propagation: Duration::ZERO, ..policy() };
    for _ in 0..2 {
        keyring.prepare(&spec, at_once.distribution, NOW.plus(seconds(SKEW))).await.unwrap();
    }
    let kid = keyring.read().await.unwrap().ring(&ring()).unwrap().successor().unwrap().kid.clone();
    // By a clock that is behind the other.
    assert_eq!(keyring.activate(&kid, &at_once, Force::No, NOW).await.unwrap(), Change::Made);
}

#[tokio::test]
async fn no_secret_is_made_that_nobody_was_given() {
    let (keyring, spec) = (keyring(), spec(Algorithm::HS256));
    let always = RotationPolicy { rotate_every: Some(seconds(30 * DAY)), ..policy() };
    assert!(keyring.ensure(std::slice::from_ref(&spec), NOW).await.unwrap().ring(&ring()).is_none());
    assert!(keyring.read().await.unwrap().is_stored(), "it is a keyring all the same");
    let mut done = Vec::new();
    keyring.advance(&spec, &always, NOW, &mut done).await.unwrap();
    let first = keyring.make_secret(&spec, NOW).await.unwrap().kid;
    keyring.advance(&spec, &always, NOW.plus(seconds(300 * DAY)), &mut done).await.unwrap();
    assert_eq!((done, states(&keyring).await), (vec![], vec![KeyState::Active]));
    let revoked = keyring.revoke(&first, NOW).await.unwrap();
    assert_eq!((revoked.counts(), revoked.active), (true, None));
}

/// A small generator: the same seed is the same world.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn skewed(&mut self, now: Timestamp) -> Timestamp {
        now.plus(seconds(self.below(2 * SKEW + 1))).minus(seconds(SKEW))
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    rotations: u64,
    refused: u64,
    verified: u64,
    without_one_active_key: u64,
}

/// A ring of key pairs that rotates by itself while an operator gives out its keys within
/// `promised`, and takes from the consumers those that the keyring has no more.
async fn live(seed: u64, policy: RotationPolicy, promised: u64, years: u64) -> Tally {
    let (mut dice, keyring, spec) = (Dice(seed), keyring(), spec(Algorithm::Ed25519));
    let mut now = NOW;
    let mut instances: [LoadedKeyring; 2] =
        [keyring.ensure(std::slice::from_ref(&spec), now).await.unwrap(), keyring.load().await.unwrap()];
    let mut read_at = [now; 2];
    // When the operator, who looks now and then, gives each key to the consumers.
    let mut given: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut tokens: Vec<(String, Timestamp)> = Vec::new();
    let (mut tally, mut signs) = (Tally::default(), None);
    while now < NOW.plus(seconds(years * 365 * DAY)) {
        for index in 0..2 {
            let mut done: Vec<Done> = Vec::new();
            let at = dice.skewed(now);
            keyring.advance(&spec, &policy, at, &mut done).await.unwrap();
            assert!(done.iter().all(|done| !matches!(done.step, Step::Publish(_))));
            if dice.below(3) > 0 || now.since(read_at[index]) > seconds(LATE / 2) {
                let newest = keyring.read().await.unwrap().keys_sequence();
                if newest != instances[index].records().keys_sequence() {
                    instances[index] = keyring.load().await.unwrap();
                }
                read_at[index] = now;
            }
        }
        let stored = keyring.read().await.unwrap();
        tally.without_one_active_key += u64::from(!stored.has_one_active_key_per_ring());
        let kids: BTreeSet<_> =
            stored.ring(&ring()).unwrap().keys().iter().map(|key| key.kid.clone()).collect();
        for kid in &kids {
            let first = given.is_empty();
            let when = now.plus(seconds(if first { 0 } else { dice.below(promised) }));
            given.entry(kid.clone()).or_insert(when);
        }
        given.retain(|kid, _| kids.contains(kid));
        let active = stored.ring(&ring()).unwrap().active().unwrap().kid.clone();
        tally.rotations += u64::from(signs.replace(active.clone()).is_some_and(|before| before != active));
        for (instance, at) in instances.iter().zip(read_at) {
            let Some(signer) = instance.ring(&ring()).and_then(|ring| ring.active()) else { continue };
            if now.since(at) <= seconds(LATE) {
                let lifetime = MINUTE + dice.below(policy.longest_token.as_secs() - MINUTE);
                tokens.push((signer.kid().to_owned(), dice.skewed(now).plus(seconds(lifetime))));
            }
        }
        tokens.retain(|(_, expires_at)| *expires_at > now.plus(seconds(SKEW)));
        for (kid, _) in &tokens {
            tally.verified += 1;
            tally.refused += u64::from(given.get(kid).is_none_or(|since| *since > now));
        }
        now = now.plus(seconds(10 * MINUTE + dice.below(6 * HOUR)));
    }
    tally
}

fn by_itself() -> RotationPolicy {
    let policy = RotationPolicy { rotate_every: Some(seconds(30 * DAY)), ..policy() };
    policy.check().unwrap();
    policy
}

#[tokio::test]
async fn in_ten_years_of_giving_keys_out_no_token_is_refused_and_one_key_signs_at_every_instant() {
    for seed in [7, 42] {
        let tally = live(seed, by_itself(), 2 * DAY, 10).await;
        assert_eq!((tally.refused, tally.without_one_active_key), (0, 0), "{tally:?}");
        assert!(tally.rotations > 100 && tally.verified > 50_000, "{tally:?}");
    }
}

#[tokio::test]
async fn when_keys_are_given_later_than_the_ring_says_tokens_are_refused() {
    let tally = live(7, by_itself(), 5 * DAY, 2).await;
    assert!(tally.refused > 0 && tally.rotations > 10, "{tally:?}");
}

#[tokio::test]
async fn a_ring_that_waited_to_be_seen_would_never_rotate() {
    let policy = RotationPolicy { distribution: Distribution::Published, ..by_itself() };
    assert_eq!(live(7, policy, 2 * DAY, 1).await.rotations, 0);
}
