//! Every change of a key is told, with what it was and what it is, by whichever way it is made.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use async_trait::async_trait;
use countersign_jose::{Algorithm, KeySize, PrivateKey, Timestamp};
use countersign_keyring::{
    Activation, DataKey, Distribution, Force, ImportedKey, ImportedMaterial, Journal, KeyChange, KeyPlace,
    KeyringError, Look, Needs, Outcome, RingName, RingSpec, RotationPolicy, Sealing, SealingKey,
    StoredKeyring, What,
};
use countersign_store::{Document, Expect, Key, ManualClock, MemoryStore, Store, StoreError, Version};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// Keeps what it is told.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<(KeyChange, Outcome)>>);

impl Journal for Notes {
    fn changed(&self, change: &KeyChange, outcome: Outcome) {
        self.0.lock().unwrap().push((change.clone(), outcome));
    }
}

impl Notes {
    /// What was told since the last time, as `what kid from to`.
    fn told(&self) -> Vec<String> {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        let line = |(change, outcome): (KeyChange, Outcome)| {
            let KeyChange { kid, what, from, to, .. } = change;
            let doubt = if outcome == Outcome::Unknown { " perhaps" } else { "" };
            format!("{} {kid} {} {}{doubt}", what.name(), from.unwrap_or("-"), to.unwrap_or("-"))
        };
        all.into_iter().map(line).collect()
    }
}

/// A store that stores what it is given and then fails, if it is told to.
#[derive(Debug)]
struct Losing {
    inner: MemoryStore,
    fails: AtomicBool,
}

#[async_trait]
impl Store for Losing {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.inner.get(key).await
    }
    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        let version = self.inner.put(key, bytes, expect, expires_at).await?;
        if self.fails.load(Ordering::SeqCst) && key.as_str() == "keyring" {
            return Err(StoreError::Unavailable { place: "test".into(), reason: "lost".into() });
        }
        Ok(version)
    }
    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        self.inner.delete(key, version).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        self.inner.list(prefix).await
    }
}

fn ring() -> RingName {
    "default".parse().unwrap()
}

fn spec() -> RingSpec {
    let size = KeySize::default();
    RingSpec { name: ring(), algorithm: Algorithm::ES256, size, make_first_key: true, place: KeyPlace::Here }
}

fn key(kid: &str) -> ImportedKey {
    let key = PrivateKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
    ImportedKey {
        kid: Some(kid.to_owned()),
        algorithm: Algorithm::ES256,
        material: ImportedMaterial::Private(key),
    }
}

fn sealing_key() -> Arc<SealingKey> {
    Arc::new(SealingKey::generate().unwrap().0)
}

fn world() -> (Arc<Losing>, Arc<SealingKey>, Arc<Notes>, StoredKeyring) {
    let inner = MemoryStore::new(Arc::new(ManualClock::at(NOW)));
    let store = Arc::new(Losing { inner, fails: AtomicBool::new(false) });
    let (sealing, notes) = (sealing_key(), Arc::new(Notes::default()));
    let keyring = StoredKeyring::new(Arc::clone(&store) as _, Sealing::new(Arc::clone(&sealing)))
        .with_journal(Arc::clone(&notes) as _);
    (store, sealing, notes, keyring)
}

fn policy() -> RotationPolicy {
    RotationPolicy {
        distribution: Distribution::Published,
        rotate_every: Some(24 * HOUR),
        propagation: HOUR,
        keep_retired: HOUR,
        skew: Duration::from_secs(60),
        signer_lag: Duration::ZERO,
        observe_every: Duration::from_secs(300),
        longest_token: Duration::ZERO,
    }
}

#[tokio::test]
async fn everything_that_people_do_to_keys_is_told_once_for_each_key() {
    let (store, sealing, notes, keyring) = world();
    let keys = [key("a"), key("b")];
    keyring.import(&ring(), &keys, Activation::IfRingHasNone, NOW).await.unwrap();
    assert_eq!(notes.told(), ["added a - active", "added b - published"]);
    keyring.import(&ring(), &keys, Activation::IfRingHasNone, NOW).await.unwrap();
    assert!(notes.told().is_empty(), "nothing was done");

    keyring.activate("b", &policy(), Force::Yes, NOW).await.unwrap();
    assert_eq!(notes.told(), ["state a active retired", "state b published active"]);

    let made = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
    assert_eq!(notes.told(), [format!("added {made} - prepared")]);
    keyring.publish(&made, NOW).await.unwrap();
    assert_eq!(notes.told(), [format!("state {made} prepared published")]);
    keyring.retire(&made, NOW).await.unwrap();
    assert_eq!(notes.told(), [format!("state {made} published retired")]);
    keyring.remove(&made, Duration::ZERO, Duration::ZERO, NOW.plus(48 * HOUR)).await.unwrap();
    assert_eq!(notes.told(), [format!("removed {made} retired -")]);

    keyring.revoke("b", NOW).await.unwrap();
    let told = notes.told();
    assert_eq!(told.first().map(String::as_str), Some("revoked b active revoked"), "{told:?}");

    let next = Sealing::new(sealing_key()).also(sealing);
    let resealing = StoredKeyring::new(store, next).with_journal(Arc::clone(&notes) as _);
    resealing.reseal(DataKey::Same, NOW).await.unwrap();
    assert_eq!(notes.told().iter().filter(|line| line.starts_with("resealed ")).count(), 1, "a is left");
    resealing.accept_losses(&["z".to_owned()], 0, NOW).await.unwrap();
    assert_eq!(notes.told(), ["loss_accepted z - -"]);
}

#[tokio::test]
async fn the_first_key_and_the_steps_of_a_rotation_are_told_and_looks_and_needs_are_not() {
    let (_, _, notes, keyring) = world();
    let first = keyring.ensure(&[spec()], NOW).await.unwrap();
    let first = first.ring(&ring()).unwrap().active().unwrap().kid().to_owned();
    assert_eq!(notes.told(), [format!("added {first} - active")]);
    keyring.load_to_mint(&Needs::from([(ring(), 5 * HOUR)]), NOW).await.unwrap();
    let look = Look::at(NOW, BTreeSet::from([first.clone()]));
    keyring.observe(&look, HOUR, Duration::ZERO).await.unwrap();
    assert!(notes.told().is_empty(), "no key was changed");

    let mut done = Vec::new();
    keyring.advance(&spec(), &policy(), NOW.plus(48 * HOUR), &mut done).await.unwrap();
    let next = &done.first().unwrap().kid;
    assert_eq!(notes.told(), [format!("added {next} - published")]);
}

#[tokio::test]
async fn an_import_that_is_taken_back_is_told_as_removed_and_not_as_a_loss() {
    let (_, _, notes, keyring) = world();
    keyring.import(&ring(), &[key("a"), key("b")], Activation::IfRingHasNone, NOW).await.unwrap();
    notes.told();
    keyring.undo_import("a", NOW).await.unwrap();
    assert_eq!(notes.told(), ["removed a active -", "state b published active"]);
}

#[tokio::test]
async fn times_that_are_corrected_are_told() {
    let (_, _, notes, keyring) = world();
    keyring.import(&ring(), &[key("a")], Activation::Now, NOW.plus(48 * HOUR)).await.unwrap();
    notes.told();
    keyring.correct_times(Duration::ZERO, NOW).await.unwrap();
    assert_eq!(notes.told(), ["times_corrected a active active"]);
}

#[tokio::test]
async fn a_change_whose_write_was_lost_is_told_with_that_doubt() {
    let (store, _, notes, keyring) = world();
    keyring.import(&ring(), &[key("a")], Activation::Now, NOW).await.unwrap();
    notes.told();
    store.fails.store(true, Ordering::SeqCst);
    let failed = keyring.import(&ring(), &[key("b")], Activation::IfRingHasNone, NOW).await;
    assert!(matches!(failed, Err(KeyringError::Store(StoreError::Unavailable { .. }))));
    assert_eq!(notes.told(), ["added b - published perhaps"]);
}

#[tokio::test]
async fn a_revocation_that_is_only_a_mark_is_told() {
    let (store, _, notes, keyring) = world();
    keyring.import(&ring(), &[key("a")], Activation::Now, NOW).await.unwrap();
    notes.told();
    // Somebody without the sealing key.
    let other = StoredKeyring::new(store, Sealing::new(sealing_key())).with_journal(Arc::clone(&notes) as _);
    assert!(other.revoke("a", NOW).await.unwrap().counts());
    assert_eq!(notes.told(), ["revoked a - revoked"]);
    // The same is recorded in the keyring.
    keyring.absorb(NOW).await.unwrap();
    assert_eq!(notes.told(), ["revoked a active revoked"]);
}

#[tokio::test]
async fn a_key_says_what_it_is_and_nothing_of_its_secret() {
    let (_, _, notes, keyring) = world();
    keyring.import(&ring(), &[key("a")], Activation::Now, NOW).await.unwrap();
    let told = notes.0.lock().unwrap();
    let (change, outcome) = told.first().unwrap();
    assert_eq!(
        (change.place.clone(), &change.what, *outcome),
        (Some((ring(), Algorithm::ES256)), &What::Added, Outcome::Made)
    );
}
