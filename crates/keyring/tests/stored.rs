//! The keyring in its store: one first key however many start at once, wrong sealing keys, damaged documents, imports.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use countersign_jose::{Algorithm, KeySize, PrivateKey, SymmetricKey, Timestamp};
use countersign_keyring::{
    Activation, Certificate, ImportedKey, ImportedMaterial, KeyOrigin, KeyPlace, KeyState, KeyringError,
    LifecycleError, LoadedKeyring, RingName, RingSpec, SealError, SealingKey, StoredKeyring,
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
    RingSpec {
        name: ring(name),
        algorithm,
        size: KeySize::Rsa2048,
        make_first_key: true,
        place: KeyPlace::Here,
    }
}

fn private(algorithm: Algorithm, kid: Option<&str>) -> ImportedKey {
    let key = PrivateKey::generate(algorithm, KeySize::default()).unwrap();
    ImportedKey { kid: kid.map(str::to_owned), algorithm, material: ImportedMaterial::Private(key) }
}

fn secret(bytes: &[u8], kid: &str) -> ImportedKey {
    let material = ImportedMaterial::Secret(SymmetricKey::new(bytes.to_vec().into()));
    ImportedKey { kid: Some(kid.to_owned()), algorithm: Algorithm::HS256, material }
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
    let key = private(Algorithm::EdDSA, None);
    let attempts = [
        wrong.load().await.map(|_| ()),
        wrong
            .ensure(&[spec("default", Algorithm::EdDSA), spec("other", Algorithm::EdDSA)], NOW)
            .await
            .map(|_| ()),
        wrong.import(&ring("default"), &[key], Activation::Now, NOW).await.map(|_| ()),
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
    damage(store.as_ref(), b"{\"format\":5,\"surprise\":true}").await;
    let why = keyring.load().await.unwrap_err();
    assert!(matches!(why, KeyringError::NewerFormat { found: 5, .. }), "{why}");
}

#[tokio::test]
async fn two_active_keys_in_a_document_are_refused() {
    let store = store();
    let keyring = StoredKeyring::new(Arc::clone(&store), sealing());
    keyring.ensure(&[spec("default", Algorithm::EdDSA)], NOW).await.unwrap();
    let other = [private(Algorithm::EdDSA, None)];
    keyring.import(&ring("default"), &other, Activation::IfRingHasNone, NOW).await.unwrap();
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
    let name = ring("default");
    let keys = [0, 1, 2].map(|_| [private(Algorithm::ES256, None)]);
    let [first, second, third] = &keys;
    let import = |key, activation| keyring.import(&name, key, activation, NOW);
    let changed =
        |outcome: &[(String, bool)]| outcome.iter().map(|(_, changed)| *changed).collect::<Vec<_>>();

    let one = import(first, Activation::IfRingHasNone).await.unwrap();
    let two = import(second, Activation::IfRingHasNone).await.unwrap();
    let three = import(third, Activation::Now).await.unwrap();
    assert_eq!([changed(&one), changed(&two), changed(&three)], [[true], [true], [true]]);
    // Doing it again changes nothing.
    assert_eq!(changed(&import(second, Activation::IfRingHasNone).await.unwrap()), [false]);
    assert_eq!(changed(&import(third, Activation::Now).await.unwrap()), [false]);

    let (stored, _) = keyring.read().await.unwrap();
    let state = |outcome: &[(String, bool)]| stored.find(&outcome[0].0).unwrap().1.state;
    assert_eq!(
        [state(&one), state(&two), state(&three)],
        [KeyState::Retired, KeyState::Published, KeyState::Active]
    );
    assert_eq!(stored.find(&one[0].0).unwrap().1.origin, KeyOrigin::Imported);
    let loaded = keyring.load().await.unwrap();
    assert_eq!(loaded.ring(&name).unwrap().public_keys().len(), 3);
    assert_eq!(loaded.ring(&name).unwrap().active().unwrap().kid(), three[0].0);
}

#[tokio::test]
async fn several_keys_are_imported_all_or_none() {
    let keyring = StoredKeyring::new(store(), sealing());
    let (a, b) = (ring("a"), ring("b"));
    let [taken, good] = ["taken", "good"].map(|kid| private(Algorithm::ES256, Some(kid)));
    let again = private(Algorithm::ES256, Some("taken"));
    keyring.import(&a, &[taken], Activation::IfRingHasNone, NOW).await.unwrap();
    let before = keyring.read().await.unwrap();
    let keys = [good, again];
    let why = keyring.import(&b, &keys, Activation::IfRingHasNone, NOW).await.unwrap_err();
    assert!(matches!(why, KeyringError::Lifecycle(LifecycleError::KidTaken { .. })));
    assert_eq!(keyring.read().await.unwrap(), before);
    let outcome = keyring.import(&b, &keys[..1], Activation::IfRingHasNone, NOW).await.unwrap();
    assert_eq!(outcome, [("good".to_owned(), true)]);
}

#[tokio::test]
async fn a_kid_names_one_key_in_the_whole_keyring() {
    let keyring = StoredKeyring::new(store(), sealing());
    let (a, b) = (ring("a"), ring("b"));
    let first = [private(Algorithm::ES256, Some("k1"))];
    keyring.import(&a, &first, Activation::Now, NOW).await.unwrap();
    let other = [private(Algorithm::ES256, Some("k1"))];
    for (ring, keys) in [(&a, &other), (&b, &other), (&b, &first)] {
        let why = keyring.import(ring, keys, Activation::Now, NOW).await;
        assert!(matches!(why, Err(KeyringError::Lifecycle(LifecycleError::KidTaken { .. }))));
    }
    for kid in ["", "a\nb", "ä", &"k".repeat(257)] {
        let key = [private(Algorithm::ES256, Some(kid))];
        assert!(keyring.import(&a, &key, Activation::Now, NOW).await.is_err(), "{kid:?}");
    }
}

#[tokio::test]
async fn a_key_that_does_not_fit_its_algorithm_is_not_imported() {
    let keyring = StoredKeyring::new(store(), sealing());
    for algorithm in [Algorithm::RS256, Algorithm::ES384, Algorithm::HS256] {
        let key = ImportedKey { algorithm, ..private(Algorithm::ES256, None) };
        let why = keyring.import(&ring("default"), &[key], Activation::Now, NOW).await;
        assert!(matches!(why, Err(KeyringError::Key(_))), "{algorithm}");
    }
    let why = keyring.import(&ring("default"), &[secret(&[7; 31], "s")], Activation::Now, NOW).await;
    assert!(matches!(why, Err(KeyringError::Key(_))));
    assert_eq!(keyring.read().await.unwrap().1, None);
}

#[tokio::test]
async fn a_full_ring_takes_no_more_keys() {
    let keyring = StoredKeyring::new(store(), sealing());
    let name = ring("default");
    let keys: Vec<_> = (0..51).map(|_| private(Algorithm::EdDSA, None)).collect();
    keyring.import(&name, &keys[..50], Activation::IfRingHasNone, NOW).await.unwrap();
    let why = keyring.import(&name, &keys[50..], Activation::IfRingHasNone, NOW).await;
    assert!(matches!(why, Err(KeyringError::Lifecycle(LifecycleError::RingFull { .. }))));
    assert_eq!(keyring.read().await.unwrap().0.ring(&name).unwrap().keys().len(), 50);
}

#[tokio::test]
async fn reload_sees_a_change_by_another_and_nothing_otherwise() {
    let (store, sealing) = (store(), sealing());
    let (mine, other) =
        (StoredKeyring::new(Arc::clone(&store), Arc::clone(&sealing)), StoredKeyring::new(store, sealing));
    let loaded = mine.ensure(&[spec("default", Algorithm::EdDSA)], NOW).await.unwrap();
    assert!(mine.reload(&loaded).await.unwrap().is_none());
    let key = [private(Algorithm::EdDSA, None)];
    other.import(&ring("default"), &key, Activation::Now, NOW).await.unwrap();
    let changed = mine.reload(&loaded).await.unwrap().unwrap();
    assert_eq!(changed.ring(&ring("default")).unwrap().public_keys().len(), 2);
}

#[tokio::test]
async fn neither_the_stored_document_nor_debug_shows_a_private_key() {
    let store = store();
    let keyring = StoredKeyring::new(Arc::clone(&store), sealing());
    let key = [secret(b"a secret that is long enough to sign HS256", "hs")];
    keyring.import(&ring("hs"), &key, Activation::Now, NOW).await.unwrap();
    let document = store.get(&Key::parse("keyring").unwrap()).await.unwrap().unwrap();
    let text = String::from_utf8(document.bytes).unwrap();
    let loaded = keyring.load().await.unwrap();
    let shown = format!("{text}{loaded:?}{keyring:?}{key:?}{:?}", keyring.read().await.unwrap());
    for form in ["a secret that", "YSBzZWNyZXQgdGhhd"] {
        assert!(!shown.contains(form));
    }
    assert!(!text.contains("\"d\""));
}

/// The stored document, changed.
async fn edit(store: &dyn Store, change: impl FnOnce(&mut serde_json::Value)) {
    let stored = store.get(&Key::parse("keyring").unwrap()).await.unwrap().unwrap();
    let mut document = serde_json::from_slice(&stored.bytes).unwrap();
    change(&mut document);
    damage(store, &serde_json::to_vec(&document).unwrap()).await;
}

fn certificates(keyring: &LoadedKeyring, name: &str) -> Vec<Option<Certificate>> {
    keyring.ring(&ring(name)).unwrap().public_keys().iter().map(|key| key.certificate.clone()).collect()
}

#[tokio::test]
async fn a_key_gets_its_certificate_when_it_comes_and_keeps_it() {
    let (store, sealing) = (store(), sealing());
    let keyring = StoredKeyring::new(Arc::clone(&store), Arc::clone(&sealing));
    let made = keyring.ensure(&[spec("default", Algorithm::ES256)], NOW).await.unwrap();
    let first = certificates(&made, "default");
    let [Some(certificate)] = first.as_slice() else { panic!("{first:?}") };
    assert!(certificate.certifies(&made.ring(&ring("default")).unwrap().public_keys()[0].jwk.key));

    let other = StoredKeyring::new(store, sealing);
    assert_eq!(certificates(&other.load().await.unwrap(), "default"), first);
    let imported = [private(Algorithm::ES384, Some("k1")), secret(&[7; 32], "k2")];
    other.import(&ring("default"), &imported, Activation::Now, NOW).await.unwrap();
    let both = certificates(&keyring.load().await.unwrap(), "default");
    assert!(both.len() == 2 && both[0] == first[0] && both[1].is_some(), "{both:?}");
}

#[tokio::test]
async fn a_keyring_of_an_older_format_works_as_it_is_and_gets_its_certificates_when_it_changes() {
    for format in [1, 2] {
        let store = store();
        let keyring = StoredKeyring::new(Arc::clone(&store), sealing());
        let specs = [spec("default", Algorithm::ES256)];
        keyring.ensure(&specs, NOW).await.unwrap();
        edit(store.as_ref(), |document| {
            document["format"] = format.into();
            let key = document["rings"]["default"]["keys"][0].as_object_mut().unwrap();
            assert!(key.remove("certificate").is_some());
        })
        .await;
        let before = store.get(&Key::parse("keyring").unwrap()).await.unwrap();
        let loaded = keyring.ensure(&specs, NOW).await.unwrap();
        assert!(loaded.ring(&ring("default")).unwrap().active().is_some());
        assert_eq!(certificates(&loaded, "default"), [None]);
        assert_eq!(store.get(&Key::parse("keyring").unwrap()).await.unwrap(), before);

        keyring.prepare(&specs[0], NOW).await.unwrap();
        let loaded = keyring.load().await.unwrap();
        assert!(certificates(&loaded, "default")[0].is_some());
        assert!(loaded.records().rings().flat_map(|(_, r)| r.keys()).all(|k| k.certificate().is_some()));
    }
}

#[tokio::test]
async fn a_certificate_of_another_key_is_refused() {
    let store = store();
    let keyring = StoredKeyring::new(Arc::clone(&store), sealing());
    keyring.ensure(&[spec("a", Algorithm::EdDSA), spec("b", Algorithm::EdDSA)], NOW).await.unwrap();
    edit(store.as_ref(), |document| {
        let other = document["rings"]["b"]["keys"][0]["certificate"].clone();
        document["rings"]["a"]["keys"][0]["certificate"] = other;
    })
    .await;
    let why = keyring.load().await.unwrap_err();
    assert!(matches!(&why, KeyringError::Corrupt(text) if text.contains("is not its own")), "{why}");
}
