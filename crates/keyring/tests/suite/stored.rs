//! The keyring in its store: one first key however many start at once, wrong sealing keys, damaged
//! documents, imports.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use countersign_jose::{Algorithm, KeySize, PrivateKey, SymmetricKey, Timestamp};
use countersign_keyring::{
    Activation, Certificate, Imported, ImportedKey, ImportedMaterial, KeyOrigin, KeyPlace, KeyState,
    KeyringError, LifecycleError, LoadedKeyring, Needs, RingName, RingSpec, SealingKey, StoredKeyring,
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
    let before = right.read().await.unwrap();

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
        assert!(matches!(why, KeyringError::WrongSealingKey { .. }), "{why}");
        assert_eq!(why.code(), "keyring_wrong_sealing_key");
    }
    assert_eq!(right.read().await.unwrap(), before);
}

#[tokio::test]
async fn a_damaged_or_newer_document_is_refused_and_left_alone() {
    let store = store();
    let keyring = StoredKeyring::new(Arc::clone(&store), sealing());
    for bytes in
        [&b""[..], b"{", b"[]", b"7", b"{\"format\":0}", b"{\"format\":5}", b"{\"rings\":{}}", b"\xff"]
    {
        damage(store.as_ref(), bytes).await;
        let why = keyring.ensure(&[spec("default", Algorithm::EdDSA)], NOW).await.unwrap_err();
        assert!(matches!(why, KeyringError::Corrupt(_)), "{why}");
        let stored = store.get(&Key::parse("keyring").unwrap()).await.unwrap().unwrap();
        assert_eq!(stored.bytes, bytes);
    }
    damage(store.as_ref(), b"{\"format\":6,\"surprise\":true}").await;
    let why = keyring.load().await.unwrap_err();
    assert!(matches!(why, KeyringError::NewerFormat { found: 6, .. }), "{why}");
}

#[tokio::test]
async fn an_imported_key_waits_unless_the_ring_is_empty_or_it_is_to_sign_now() {
    let keyring = StoredKeyring::new(store(), sealing());
    let name = ring("default");
    let keys = [0, 1, 2].map(|_| [private(Algorithm::ES256, None)]);
    let [first, second, third] = &keys;
    let import = |key, activation| keyring.import(&name, key, activation, NOW);
    let changed = |outcome: &[Imported]| outcome.iter().map(|key| key.changed).collect::<Vec<_>>();

    let one = import(first, Activation::IfRingHasNone).await.unwrap();
    let two = import(second, Activation::IfRingHasNone).await.unwrap();
    let three = import(third, Activation::Now).await.unwrap();
    assert_eq!([changed(&one), changed(&two), changed(&three)], [[true], [true], [true]]);
    // Doing it again changes nothing.
    assert_eq!(changed(&import(second, Activation::IfRingHasNone).await.unwrap()), [false]);
    assert_eq!(changed(&import(third, Activation::Now).await.unwrap()), [false]);

    let stored = keyring.read().await.unwrap();
    let state = |outcome: &[Imported]| stored.find(&outcome[0].kid).unwrap().1.state;
    assert_eq!(
        [state(&one), state(&two), state(&three)],
        [KeyState::Retired, KeyState::Published, KeyState::Active]
    );
    assert_eq!(stored.find(&one[0].kid).unwrap().1.origin, KeyOrigin::Imported);
    let loaded = keyring.load().await.unwrap();
    assert_eq!(loaded.ring(&name).unwrap().public_keys().len(), 3);
    assert_eq!(loaded.ring(&name).unwrap().active().unwrap().kid(), three[0].kid);
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
    assert_eq!(outcome, [Imported { kid: "good".to_owned(), changed: true }]);
}

#[tokio::test]
async fn a_kid_names_one_key_in_the_whole_keyring() {
    let keyring = StoredKeyring::new(store(), sealing());
    let (a, b) = (ring("a"), ring("b"));
    let first = [private(Algorithm::ES256, Some("k1"))];
    keyring.import(&a, &first, Activation::Now, NOW).await.unwrap();
    let other = [private(Algorithm::ES256, Some("k1"))];
    for (ring, keys) in [(&a, &other), (&b, &other)] {
        let why = keyring.import(ring, keys, Activation::Now, NOW).await;
        assert!(
            matches!(why, Err(KeyringError::Lifecycle(LifecycleError::KidTaken { ring, .. })) if ring == a)
        );
    }
    // The same key is told apart from another one of its name.
    let why = keyring.import(&b, &first, Activation::Now, NOW).await;
    assert!(
        matches!(why, Err(KeyringError::Lifecycle(LifecycleError::InAnotherRing { ring, .. })) if ring == a)
    );
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
    assert!(!keyring.read().await.unwrap().is_stored());
}

#[tokio::test]
async fn a_full_ring_takes_no_more_keys() {
    let keyring = StoredKeyring::new(store(), sealing());
    let name = ring("default");
    let keys: Vec<_> = (0..51).map(|_| private(Algorithm::EdDSA, None)).collect();
    keyring.import(&name, &keys[..50], Activation::IfRingHasNone, NOW).await.unwrap();
    let why = keyring.import(&name, &keys[50..], Activation::IfRingHasNone, NOW).await;
    assert!(matches!(why, Err(KeyringError::Lifecycle(LifecycleError::RingFull { .. }))));
    assert_eq!(keyring.read().await.unwrap().ring(&name).unwrap().keys().len(), 50);
}

#[tokio::test]
async fn reload_sees_a_change_by_another_and_nothing_otherwise() {
    let (store, sealing) = (store(), sealing());
    let (mine, other) =
        (StoredKeyring::new(Arc::clone(&store), Arc::clone(&sealing)), StoredKeyring::new(store, sealing));
    let loaded = mine.ensure(&[spec("default", Algorithm::EdDSA)], NOW).await.unwrap();
    let unchanged = mine.reload(&loaded, &Needs::new(), NOW).await;
    assert!(unchanged.keys.is_none() && unchanged.problem.is_none(), "{unchanged:?}");
    let key = [private(Algorithm::EdDSA, None)];
    other.import(&ring("default"), &key, Activation::Now, NOW).await.unwrap();
    let changed = mine.reload(&loaded, &Needs::new(), NOW).await.keys.unwrap();
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
