//! The keyring in its store: one first key however many start at once, wrong sealing keys, damaged documents, imports.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use countersign_jose::{Algorithm, KeySize, PrivateKey, SymmetricKey, Timestamp};
use countersign_keyring::{
    Activation, ImportedKey, KeyOrigin, KeyState, KeyringError, LifecycleError, RingName, RingSpec,
    SealError, SealingKey, StoredKeyring,
};
use countersign_store::{Expect, Key, ManualClock, MemoryStore, Store};
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))))
}

fn sealing() -> Arc<SealingKey> {
    Arc::new(SealingKey::generate().unwrap().0)
}

fn ring(name: &str) -> RingName {
    name.parse().unwrap()
}

fn spec(name: &str, algorithm: Algorithm) -> RingSpec {
    RingSpec { name: ring(name), algorithm, size: KeySize::Rsa2048, make_first_key: true }
}

async fn damage(store: &dyn Store, bytes: &[u8]) {
    let key = Key::parse("keyring").unwrap();
    let expect = store.get(&key).await.unwrap().map_or(Expect::Absent, |d| Expect::Version(d.version));
    store.put(&key, bytes, expect, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_start_at_once_make_one_key() {
    for _ in 0..10 {
        let (store, sealing) = (store(), sealing());
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let keyring = StoredKeyring::new(Arc::clone(&store), Arc::clone(&sealing));
                tokio::spawn(async move {
                    keyring.ensure(&[spec("default", Algorithm::ES256)], NOW).await.unwrap()
                })
            })
            .collect();
        let mut kids = Vec::new();
        for task in tasks {
            let loaded = task.await.unwrap();
            let ring = loaded.ring(&ring("default")).unwrap();
            assert_eq!(ring.public_keys().len(), 1);
            kids.push(ring.active().unwrap().kid().to_owned());
        }
        kids.dedup();
        assert_eq!(kids.len(), 1);
    }
}

#[tokio::test]
async fn every_algorithm_gets_a_first_key_that_signs_and_only_public_ones_are_published() {
    let keyring = StoredKeyring::new(store(), sealing());
    for algorithm in Algorithm::ALL {
        let name = format!("r-{}", algorithm.name().to_ascii_lowercase());
        let loaded = keyring.ensure(&[spec(&name, algorithm)], NOW).await.unwrap();
        let ring = loaded.ring(&ring(&name)).unwrap();
        assert_eq!(ring.active().unwrap().algorithm(), algorithm);
        assert_eq!(ring.public_keys().is_empty(), algorithm.is_symmetric(), "{algorithm}");
    }
}

#[tokio::test]
async fn a_wrong_sealing_key_is_told_apart_and_changes_nothing() {
    let store = store();
    let right = StoredKeyring::new(Arc::clone(&store), sealing());
    right.ensure(&[spec("default", Algorithm::EdDSA)], NOW).await.unwrap();
    let (before, version) = right.read().await.unwrap();

    let wrong = StoredKeyring::new(Arc::clone(&store), sealing());
    let key = ImportedKey::Private(PrivateKey::generate(Algorithm::EdDSA, KeySize::default()).unwrap());
    let attempts = [
        wrong.load().await.map(|_| ()),
        wrong
            .ensure(&[spec("default", Algorithm::EdDSA), spec("other", Algorithm::EdDSA)], NOW)
            .await
            .map(|_| ()),
        wrong.import(&ring("default"), None, &key, Algorithm::EdDSA, Activation::Now, NOW).await.map(|_| ()),
    ];
    for attempt in attempts {
        let why = attempt.unwrap_err();
        assert!(matches!(why, KeyringError::Seal { why: SealError::WrongKey { .. }, .. }), "{why}");
        assert_eq!(why.code(), "keyring_wrong_sealing_key");
    }
    assert_eq!(right.read().await.unwrap(), (before, version));
}

#[tokio::test]
async fn a_damaged_or_newer_document_is_refused_and_left_alone() {
    let store = store();
    let keyring = StoredKeyring::new(Arc::clone(&store), sealing());
    for bytes in
        [&b""[..], b"{", b"[]", b"{\"format\":1}", b"{\"format\":1,\"rings\":{\"A\":{\"keys\":[]}}}", b"\xff"]
    {
        damage(store.as_ref(), bytes).await;
        let why = keyring.ensure(&[spec("default", Algorithm::EdDSA)], NOW).await.unwrap_err();
        assert!(matches!(why, KeyringError::Corrupt(_)), "{why}");
        let stored = store.get(&Key::parse("keyring").unwrap()).await.unwrap().unwrap();
        assert_eq!(stored.bytes, bytes);
    }
    damage(store.as_ref(), b"{\"format\":2,\"surprise\":true}").await;
    let why = keyring.load().await.unwrap_err();
    assert!(matches!(why, KeyringError::NewerFormat { found: 2 }), "{why}");
}

#[tokio::test]
async fn two_active_keys_in_a_document_are_refused() {
    let store = store();
    let keyring = StoredKeyring::new(Arc::clone(&store), sealing());
    keyring.ensure(&[spec("default", Algorithm::EdDSA)], NOW).await.unwrap();
    let other = ImportedKey::Private(PrivateKey::generate(Algorithm::EdDSA, KeySize::default()).unwrap());
    keyring
        .import(&ring("default"), None, &other, Algorithm::EdDSA, Activation::IfRingHasNone, NOW)
        .await
        .unwrap();
    let document = store.get(&Key::parse("keyring").unwrap()).await.unwrap().unwrap();
    let text = String::from_utf8(document.bytes).unwrap().replace("\"published\"", "\"active\"");
    damage(store.as_ref(), text.as_bytes()).await;
    assert!(matches!(keyring.load().await, Err(KeyringError::Corrupt(_))));
}

#[tokio::test]
async fn a_public_half_that_is_not_the_private_ones_is_refused() {
    let store = store();
    let keyring = StoredKeyring::new(Arc::clone(&store), sealing());
    keyring.ensure(&[spec("default", Algorithm::EdDSA)], NOW).await.unwrap();
    let foreign = PrivateKey::generate(Algorithm::EdDSA, KeySize::default()).unwrap().public_key();
    let countersign_jose::PublicKey::Ed25519 { x } = foreign else { panic!("not Ed25519") };
    let document = store.get(&Key::parse("keyring").unwrap()).await.unwrap().unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&document.bytes).unwrap();
    *value.pointer_mut("/rings/default/keys/0/public/x").unwrap() =
        countersign_jose::base64url::encode(&x).into();
    damage(store.as_ref(), value.to_string().as_bytes()).await;
    assert!(matches!(keyring.load().await, Err(KeyringError::Corrupt(_))));
}

#[tokio::test]
async fn an_imported_key_waits_unless_the_ring_is_empty_or_it_is_to_sign_now() {
    let keyring = StoredKeyring::new(store(), sealing());
    let key = |_| ImportedKey::Private(PrivateKey::generate(Algorithm::ES256, KeySize::default()).unwrap());
    let [first, second, third] = [0, 1, 2].map(key);
    let name = ring("default");
    let import = |key, activation| keyring.import(&name, None, key, Algorithm::ES256, activation, NOW);

    let (first_kid, changed) = import(&first, Activation::IfRingHasNone).await.unwrap();
    assert!(changed);
    let (second_kid, _) = import(&second, Activation::IfRingHasNone).await.unwrap();
    let (third_kid, _) = import(&third, Activation::Now).await.unwrap();
    // Doing it again changes nothing.
    assert!(!import(&second, Activation::IfRingHasNone).await.unwrap().1);
    assert!(!import(&third, Activation::Now).await.unwrap().1);

    let (stored, _) = keyring.read().await.unwrap();
    let state = |kid: &str| stored.find(kid).unwrap().1.state;
    assert_eq!(state(&first_kid), KeyState::Retired);
    assert_eq!(state(&second_kid), KeyState::Published);
    assert_eq!(state(&third_kid), KeyState::Active);
    assert_eq!(stored.find(&first_kid).unwrap().1.origin, KeyOrigin::Imported);
    let loaded = keyring.load().await.unwrap();
    assert_eq!(loaded.ring(&name).unwrap().public_keys().len(), 3);
    assert_eq!(loaded.ring(&name).unwrap().active().unwrap().kid(), third_kid);
}

#[tokio::test]
async fn a_kid_names_one_key_in_the_whole_keyring() {
    let keyring = StoredKeyring::new(store(), sealing());
    let key = || ImportedKey::Private(PrivateKey::generate(Algorithm::ES256, KeySize::default()).unwrap());
    let named = Some("k1".to_owned());
    let (a, b) = (ring("a"), ring("b"));
    let first = key();
    keyring.import(&a, named.clone(), &first, Algorithm::ES256, Activation::Now, NOW).await.unwrap();
    for (ring, key) in [(&a, &key()), (&b, &key()), (&b, &first)] {
        let why = keyring.import(ring, named.clone(), key, Algorithm::ES256, Activation::Now, NOW).await;
        assert!(matches!(why, Err(KeyringError::Lifecycle(LifecycleError::KidTaken { .. }))));
    }
    for kid in ["", "a\nb", "ä", &"k".repeat(257)] {
        let why = keyring.import(&a, Some(kid.into()), &key(), Algorithm::ES256, Activation::Now, NOW).await;
        assert!(why.is_err(), "{kid:?}");
    }
}

#[tokio::test]
async fn a_key_that_does_not_fit_its_algorithm_is_not_imported() {
    let keyring = StoredKeyring::new(store(), sealing());
    let ec = ImportedKey::Private(PrivateKey::generate(Algorithm::ES256, KeySize::default()).unwrap());
    let short = ImportedKey::Secret(SymmetricKey::new(vec![7; 31].into()));
    let name = ring("default");
    for (key, algorithm, kid) in [
        (&ec, Algorithm::RS256, None),
        (&ec, Algorithm::ES384, None),
        (&ec, Algorithm::HS256, None),
        (&short, Algorithm::HS256, Some("s".to_owned())),
    ] {
        let why = keyring.import(&name, kid, key, algorithm, Activation::Now, NOW).await;
        assert!(matches!(why, Err(KeyringError::Key(_))), "{algorithm}");
    }
    assert_eq!(keyring.read().await.unwrap().1, None);
}

#[tokio::test]
async fn a_full_ring_takes_no_more_keys() {
    let keyring = StoredKeyring::new(store(), sealing());
    let name = ring("default");
    let mut outcome = Ok(());
    for _ in 0..60 {
        let key = ImportedKey::Private(PrivateKey::generate(Algorithm::EdDSA, KeySize::default()).unwrap());
        let imported =
            keyring.import(&name, None, &key, Algorithm::EdDSA, Activation::IfRingHasNone, NOW).await;
        if let Err(why) = imported {
            outcome = Err(why);
            break;
        }
    }
    assert!(matches!(outcome, Err(KeyringError::Lifecycle(LifecycleError::RingFull { .. }))));
    assert_eq!(keyring.read().await.unwrap().0.ring(&name).unwrap().keys().len(), 50);
}

#[tokio::test]
async fn reload_sees_a_change_by_another_and_nothing_otherwise() {
    let (store, sealing) = (store(), sealing());
    let (mine, other) =
        (StoredKeyring::new(Arc::clone(&store), Arc::clone(&sealing)), StoredKeyring::new(store, sealing));
    let loaded = mine.ensure(&[spec("default", Algorithm::EdDSA)], NOW).await.unwrap();
    assert!(mine.reload(&loaded).await.unwrap().is_none());
    let key = ImportedKey::Private(PrivateKey::generate(Algorithm::EdDSA, KeySize::default()).unwrap());
    other.import(&ring("default"), None, &key, Algorithm::EdDSA, Activation::Now, NOW).await.unwrap();
    let changed = mine.reload(&loaded).await.unwrap().unwrap();
    assert_eq!(changed.ring(&ring("default")).unwrap().public_keys().len(), 2);
}

#[tokio::test]
async fn neither_the_stored_document_nor_debug_shows_a_private_key() {
    let store = store();
    let keyring = StoredKeyring::new(Arc::clone(&store), sealing());
    let secret = SymmetricKey::new(b"a secret that is long enough to sign HS256".to_vec().into());
    let key = ImportedKey::Secret(secret);
    keyring
        .import(&ring("hs"), Some("hs".into()), &key, Algorithm::HS256, Activation::Now, NOW)
        .await
        .unwrap();
    let document = store.get(&Key::parse("keyring").unwrap()).await.unwrap().unwrap();
    let text = String::from_utf8(document.bytes).unwrap();
    let loaded = keyring.load().await.unwrap();
    let shown = format!("{text}{loaded:?}{keyring:?}{key:?}{:?}", keyring.read().await.unwrap());
    for form in ["a secret that", "YSBzZWNyZXQgdGhhd"] {
        assert!(!shown.contains(form));
    }
    assert!(!text.contains("\"d\""));
}
