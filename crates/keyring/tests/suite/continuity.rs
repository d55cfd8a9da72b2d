//! An authentic document that is older than what a process has seen, or of another keyring, does
//! not replace its keys.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use countersign_jose::{Algorithm, KeySize, Timestamp};
use countersign_keyring::{
    Distribution, KeyPlace, KeyringError, LoadedKeyring, Look, Needs, RingSpec, SealingKey, StoredKeyring,
    WentBack,
};
use countersign_store::{Document, Expect, Key, ManualClock, MemoryStore, Store};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn spec() -> RingSpec {
    let (name, size) = ("default".parse().unwrap(), KeySize::default());
    RingSpec { name, algorithm: Algorithm::Ed25519, size, make_first_key: true, place: KeyPlace::Here }
}

fn name() -> Key {
    Key::parse("keyring").unwrap()
}

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))))
}

async fn document(store: &Arc<dyn Store>) -> Document {
    store.get(&name()).await.unwrap().unwrap()
}

async fn put(store: &Arc<dyn Store>, bytes: &[u8]) {
    let expect = store.get(&name()).await.unwrap().map_or(Expect::Absent, |d| Expect::Version(d.version));
    store.put(&name(), bytes, expect, None).await.unwrap();
}

async fn problem(keyring: &StoredKeyring, known: &LoadedKeyring) -> Option<KeyringError> {
    let reloaded = keyring.reload(known, &Needs::new(), NOW).await;
    assert!(reloaded.keys.is_none(), "{reloaded:?}");
    reloaded.problem
}

#[tokio::test]
async fn a_process_that_saw_the_newer_document_keeps_its_keys_when_the_store_goes_back() {
    let (store, sealing) = (store(), Arc::new(SealingKey::generate().unwrap().0));
    let process = || StoredKeyring::new(Arc::clone(&store), Arc::clone(&sealing));
    let running = process();
    running.ensure(&[spec()], NOW).await.unwrap();
    let old = document(&store).await.bytes;
    running.prepare(&spec(), Distribution::Published, NOW).await.unwrap();
    let fork = {
        // Another history of the same keyring: with the same number, other content.
        let newest = document(&store).await.bytes;
        put(&store, &old).await;
        process().prepare(&spec(), Distribution::Published, NOW).await.unwrap();
        let fork = document(&store).await.bytes;
        put(&store, &newest).await;
        fork
    };
    let other = {
        let elsewhere: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))));
        StoredKeyring::new(Arc::clone(&elsewhere), Arc::clone(&sealing))
            .ensure(&[spec()], NOW)
            .await
            .unwrap();
        document(&elsewhere).await.bytes
    };
    let (newest, loaded) = (document(&store).await.bytes, running.load().await.unwrap());

    for (bytes, expected) in
        [(&old, WentBack::Older { known: 2, found: 1 }), (&fork, WentBack::Rewritten { sequence: 2 })]
    {
        put(&store, bytes).await;
        let why = problem(&running, &loaded).await.unwrap();
        assert!(matches!(&why, KeyringError::WentBack(found) if *found == expected), "{why}");
        // It does not build on it either; one that saw nothing cannot know.
        assert_eq!(
            running.prepare(&spec(), Distribution::Published, NOW).await.unwrap_err().code(),
            "keyring_went_back"
        );
        process().load().await.unwrap();
    }
    put(&store, &other).await;
    let why = problem(&running, &loaded).await.unwrap();
    assert!(matches!(&why, KeyringError::WentBack(WentBack::OtherKeyring { .. })), "{why}");
    store.delete(&name(), &document(&store).await.version).await.unwrap();
    let why = problem(&running, &loaded).await.unwrap();
    assert!(matches!(&why, KeyringError::WentBack(WentBack::Gone { known: 2 })), "{why}");
    let why = running.ensure(&[spec()], NOW).await.unwrap_err();
    assert_eq!(why.code(), "keyring_went_back", "no first key is made in place of those that were there");

    put(&store, &newest).await;
    assert!(running.reload(&loaded, &Needs::new(), NOW).await.problem.is_none());
}

#[tokio::test]
async fn a_look_at_the_public_address_is_a_new_sequence_and_not_a_change_of_the_keys() {
    let (store, sealing) = (store(), Arc::new(SealingKey::generate().unwrap().0));
    let running = StoredKeyring::new(Arc::clone(&store), Arc::clone(&sealing));
    let loaded = running.ensure(&[spec()], NOW).await.unwrap();
    let kid = loaded.ring(&spec().name).unwrap().active().unwrap().kid().to_owned();
    let other = StoredKeyring::new(Arc::clone(&store), sealing);
    let look = Look::at(NOW, BTreeSet::from([kid.clone()]));
    other.observe(&look, Duration::from_secs(60), Duration::ZERO).await.unwrap();
    let seen = running.reload(&loaded, &Needs::new(), NOW).await.keys.unwrap();
    assert_eq!((seen.records().sequence(), seen.records().keys_sequence()), (2, 1));
    assert!(seen.records().observations().of(&kid).is_some());
    other.prepare(&spec(), Distribution::Published, NOW).await.unwrap();
    let changed = running.reload(&seen, &Needs::new(), NOW).await.keys.unwrap();
    assert_eq!((changed.records().sequence(), changed.records().keys_sequence()), (3, 3));
    assert_eq!(changed.records().id(), loaded.records().id());
}
