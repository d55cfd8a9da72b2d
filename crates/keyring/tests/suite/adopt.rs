//! Taking over a keyring of a format that was not authenticated: exactly what was shown, if all of
//! it opens and is its own.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say what they expect by failing")]

use async_trait::async_trait;
use countersign_jose::{Algorithm, KeySize, SigningKey, Timestamp};
use countersign_keyring::{
    DataKeyService, Distribution, Force, KeyPlace, KeyService, KeyState, KeyringError, LifecycleError, Needs,
    RemoteKey, RingName, RingSpec, RotationPolicy, Sealing, SealingKey, ServiceError, StoredKeyring,
    WrappedKey,
};
use countersign_store::{Expect, Key, ManualClock, MemoryStore, Store};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use zeroize::Zeroizing;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn ring() -> RingName {
    "default".parse().unwrap()
}

fn spec(place: KeyPlace) -> RingSpec {
    let size = KeySize::default();
    RingSpec { name: ring(), algorithm: Algorithm::ES256, size, make_first_key: true, place }
}

fn policy() -> RotationPolicy {
    RotationPolicy {
        distribution: Distribution::Published,
        rotate_every: None,
        propagation: Duration::ZERO,
        longest_token: HOUR,
        skew: Duration::ZERO,
        signer_lag: Duration::ZERO,
        keep_retired: HOUR,
        observe_every: HOUR,
    }
}

fn needs() -> Needs {
    Needs::from([(ring(), HOUR)])
}

/// A service with keys of its own, and data keys under one of them.
#[derive(Debug)]
struct Service {
    under: SealingKey,
    keys: Mutex<Vec<SigningKey>>,
}

impl Service {
    fn new() -> Arc<Self> {
        Arc::new(Self { under: SealingKey::generate().unwrap().0, keys: Mutex::default() })
    }

    fn named(&self, name: &str) -> RemoteKey {
        let keys = self.keys.lock().unwrap();
        let public =
            keys[name.rsplit('/').next().unwrap().parse::<usize>().unwrap()].public_key().unwrap().clone();
        RemoteKey { name: name.to_owned(), public }
    }
}

#[async_trait]
impl KeyService for Service {
    async fn create(
        &self,
        _: &RingName,
        algorithm: Algorithm,
        size: KeySize,
    ) -> Result<RemoteKey, ServiceError> {
        let name = {
            let mut keys = self.keys.lock().unwrap();
            keys.push(SigningKey::generate(algorithm, size).unwrap());
            format!("arn:aws:kms:eu-central-1:1:key/{}", keys.len() - 1)
        };
        Ok(self.named(&name))
    }
    async fn describe(&self, name: &str, _: Algorithm) -> Result<RemoteKey, ServiceError> {
        Ok(self.named(name))
    }
    async fn sign(&self, name: &str, _: Algorithm, message: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let number: usize = name.rsplit('/').next().unwrap().parse().unwrap();
        Ok(self.keys.lock().unwrap()[number].sign_bytes(message).unwrap())
    }
    async fn discard(&self, _: &str) -> Result<(), ServiceError> {
        Ok(())
    }
}

#[async_trait]
impl DataKeyService for Service {
    async fn generate(&self) -> Result<(Zeroizing<Vec<u8>>, WrappedKey), ServiceError> {
        let (_, text) = SealingKey::generate().unwrap();
        let bytes = countersign_jose::base64url::decode(&text).unwrap();
        let ciphertext = serde_json::to_vec(&self.under.seal(&bytes, "data key").unwrap()).unwrap();
        Ok((Zeroizing::new(bytes), WrappedKey { under: "arn".to_owned(), ciphertext }))
    }
    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
        let sealed = serde_json::from_slice(&wrapped.ciphertext).map_err(|_| ServiceError::Altered)?;
        self.under.open(&sealed, "data key").map_err(|_| ServiceError::OtherKey)
    }
}

/// A store with the documents of an older version in it.
struct Scene {
    store: Arc<dyn Store>,
    sealing: Option<Arc<SealingKey>>,
    service: Arc<Service>,
    /// The keys in their order: retired, active, prepared, and one of the service.
    kids: Vec<String>,
}

impl Scene {
    /// What format 5 writes, written as an older one did.
    async fn new(format: u64, with_data_key: bool) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))));
        let sealing = (!with_data_key).then(|| Arc::new(SealingKey::generate().unwrap().0));
        let mut scene = Self { store, sealing, service: Service::new(), kids: Vec::new() };
        let keyring = scene.keyring();
        keyring.ensure(&[spec(KeyPlace::Here)], NOW).await.unwrap();
        let second = keyring.prepare(&spec(KeyPlace::Here), Distribution::Published, NOW).await.unwrap().kid;
        keyring.activate(&second, &policy(), Force::Yes, NOW).await.unwrap();
        let other = RingSpec { name: "remote".parse().unwrap(), ..spec(KeyPlace::Service) };
        keyring.ensure(&[other], NOW).await.unwrap();
        keyring.prepare(&spec(KeyPlace::Here), Distribution::Published, NOW).await.unwrap();
        let read = keyring.read().await.unwrap();
        scene.kids = read.rings().flat_map(|(_, ring)| ring.keys()).map(|key| key.kid.clone()).collect();
        scene
            .change(|document| {
                let mut rings = document["content"]["rings"].clone();
                for ring in rings.as_object_mut().unwrap().values_mut() {
                    for key in ring["keys"].as_array_mut().unwrap() {
                        let key = key.as_object_mut().unwrap();
                        let new = ["keep_after", "needed_until", "signing_since"];
                        new.iter().for_each(|name| drop(key.remove(*name)));
                        if format < 3 {
                            key.remove("certificate");
                        }
                    }
                }
                *document =
                    json!({ "format": format, "rings": rings, "kept": document["content"]["data_keys"] });
            })
            .await;
        let mut kept = Value::Null;
        scene.change(|document| kept = document.as_object_mut().unwrap().remove("kept").unwrap()).await;
        if with_data_key {
            scene.put("keyring-data-keys", json!({ "format": 1, "keys": kept }).to_string().as_bytes()).await;
        }
        scene.put("keyring-observations", b"{}").await;
        scene
    }

    fn keyring(&self) -> StoredKeyring {
        let sealing: Sealing = match &self.sealing {
            Some(key) => Arc::clone(key).into(),
            None => Sealing::wrapped(Arc::clone(&self.service) as Arc<dyn DataKeyService>),
        };
        StoredKeyring::new(Arc::clone(&self.store), sealing).with_service(Arc::clone(&self.service) as _)
    }

    async fn put(&self, name: &str, bytes: &[u8]) {
        let key = Key::parse(name).unwrap();
        let found = self.store.get(&key).await.unwrap();
        let expect = found.map_or(Expect::Absent, |found| Expect::Version(found.version));
        self.store.put(&key, bytes, expect, None).await.unwrap();
    }

    async fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.store.get(&Key::parse(name).unwrap()).await.unwrap().map(|found| found.bytes)
    }

    /// Changes the keyring's document as somebody does who can write to the store.
    async fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut document = serde_json::from_slice(&self.bytes("keyring").await.unwrap()).unwrap();
        change(&mut document);
        self.put("keyring", document.to_string().as_bytes()).await;
    }

    async fn digest(&self) -> String {
        self.keyring().adoptable().await.unwrap().unwrap().digest
    }
}

fn keys(document: &mut Value) -> &mut Vec<Value> {
    document["rings"]["default"]["keys"].as_array_mut().unwrap()
}

#[tokio::test]
async fn what_was_shown_is_taken_over_whole_and_is_authenticated_from_then_on() {
    for (format, with_data_key) in [(1, false), (2, false), (3, false), (4, false), (3, true), (4, true)] {
        let scene = Scene::new(format, with_data_key).await;
        let keyring = scene.keyring();
        for outcome in [
            keyring.read().await.map(|_| ()),
            keyring.load().await.map(|_| ()),
            keyring.ensure(&[spec(KeyPlace::Here)], NOW).await.map(|_| ()),
            keyring.publish(&scene.kids[2], NOW).await.map(|_| ()),
        ] {
            assert!(
                matches!(outcome, Err(KeyringError::OldFormat { found }) if found == format),
                "{outcome:?}"
            );
        }
        let before = scene.bytes("keyring").await;
        let shown = keyring.adoptable().await.unwrap().unwrap();
        assert_eq!(scene.bytes("keyring").await, before, "looking changes nothing");
        let states: Vec<_> = shown.keys.iter().map(|key| (key.kid.as_str(), key.state)).collect();
        let kids: Vec<&str> = scene.kids.iter().map(String::as_str).collect();
        let expected: Vec<_> = kids.into_iter().zip(["retired", "active", "prepared", "active"]).collect();
        assert_eq!((shown.format, states), (format, expected));
        let remote: Vec<_> =
            shown.keys.iter().map(|key| (key.remote_name.is_some(), key.sealed_by.is_some())).collect();
        assert_eq!(remote, [(false, true), (false, true), (false, true), (true, false)]);
        assert!(shown.keys.iter().all(|key| key.certificate.is_some() == (format >= 3)));

        assert_eq!(keyring.adopt(&shown.digest, &needs(), NOW).await.unwrap(), Some(shown.clone()));
        let loaded = scene.keyring().load().await.unwrap();
        let records: Vec<_> = loaded.records().rings().flat_map(|(_, ring)| ring.keys()).collect();
        let states: Vec<_> = records.iter().map(|key| (key.kid.clone(), key.state)).collect();
        let living = [KeyState::Retired, KeyState::Active, KeyState::Prepared, KeyState::Active];
        assert_eq!(states, scene.kids.iter().cloned().zip(living).collect::<Vec<_>>());
        assert_eq!(
            records[0].needed_until(Duration::ZERO),
            Some(NOW.plus(HOUR)),
            "as the older formats did not say"
        );
        assert!(records.iter().all(|key| key.certificate().is_some()), "each has its certificate then");
        for gone in ["keyring-data-keys", "keyring-observations"] {
            assert_eq!(scene.bytes(gone).await, None, "{gone}");
        }
        assert_eq!(keyring.adoptable().await.unwrap(), None);
        assert_eq!(keyring.adopt(&shown.digest, &needs(), NOW).await.unwrap(), None, "idempotent");
        let text = String::from_utf8(scene.bytes("keyring").await.unwrap()).unwrap();
        scene.put("keyring", text.replace("\"retired\"", "\"published\"").as_bytes()).await;
        assert!(matches!(scene.keyring().read().await, Err(KeyringError::Altered { .. })));
    }
}

#[tokio::test]
async fn what_is_not_sound_is_not_taken_over_and_nothing_is_written() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 10] = [
        ("a private half is altered", |d| keys(d)[0]["private"]["ciphertext"] = "AAAA".into()),
        ("two private halves are exchanged", |d| {
            let first = keys(d)[0]["private"].take();
            let second = std::mem::replace(&mut keys(d)[1]["private"], first);
            keys(d)[0]["private"] = second;
        }),
        ("a public half is another's", |d| keys(d)[0]["public"] = keys(d)[1]["public"].clone()),
        ("a certificate is another's", |d| keys(d)[0]["certificate"] = keys(d)[1]["certificate"].clone()),
        ("two keys are active", |d| {
            keys(d)[0]["state"] = "active".into();
        }),
        ("a name is there twice", |d| {
            let first = keys(d)[0].clone();
            keys(d).push(first);
        }),
        ("a key of the service has another public half than there", |d| {
            let (other, certificate) = (keys(d)[0]["public"].clone(), keys(d)[0]["certificate"].clone());
            let remote = &mut d["rings"]["remote"]["keys"][0];
            // With a certificate for it, so that nothing has to be signed.
            (remote["public"], remote["certificate"]) = (other, certificate);
        }),
        ("a key is published without a time of that", |d| keys(d)[2]["state"] = "published".into()),
        ("a member is not known", |d| keys(d)[0]["trusted"] = true.into()),
        ("there is no ring", |d| *d = json!({ "format": 4 })),
    ];
    for (name, change) in changes {
        let scene = Scene::new(4, false).await;
        scene.change(change).await;
        let before = scene.bytes("keyring").await;
        let keyring = scene.keyring();
        // Some of it cannot even be shown.
        let digest = keyring.adoptable().await.map(|shown| shown.unwrap().digest).unwrap_or_default();
        let refused = keyring.adopt(&digest, &needs(), NOW).await;
        assert!(refused.is_err(), "{name}");
        assert_eq!(scene.bytes("keyring").await, before, "{name}");
    }
    // With another sealing key, and by a program without the service.
    let mut scene = Scene::new(4, false).await;
    let (digest, before) = (scene.digest().await, scene.bytes("keyring").await);
    let without = StoredKeyring::new(Arc::clone(&scene.store), Arc::clone(scene.sealing.as_ref().unwrap()));
    let why = without.adopt(&digest, &needs(), NOW).await.unwrap_err();
    assert!(matches!(why, KeyringError::NoService { .. }), "{why}");
    scene.sealing = Some(Arc::new(SealingKey::generate().unwrap().0));
    let why = scene.keyring().adopt(&digest, &needs(), NOW).await.unwrap_err();
    assert!(matches!(why, KeyringError::Seal { .. }), "{why}");
    assert_eq!(scene.bytes("keyring").await, before);
}

/// What would be taken over if it had been shown.
#[tokio::test]
async fn what_is_sound_and_was_not_shown_is_not_taken_over() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 5] = [
        ("a key is shown to verifiers", |d| {
            keys(d)[2]["state"] = "published".into();
            keys(d)[2]["published_at"] = 1_800_000_000.into();
        }),
        ("a key is removed", |d| drop(keys(d).remove(0))),
        ("a key is older", |d| keys(d)[0]["created_at"] = 1.into()),
        ("a certificate is removed", |d| drop(keys(d)[0].as_object_mut().unwrap().remove("certificate"))),
        ("the format is another", |d| d["format"] = 3.into()),
    ];
    for (name, change) in changes {
        let scene = Scene::new(4, false).await;
        let digest = scene.digest().await;
        scene.change(change).await;
        let why = scene.keyring().adopt(&digest, &needs(), NOW).await.unwrap_err();
        assert!(matches!(why, KeyringError::OtherDigest { .. }), "{name}: {why}");
        let digest = scene.digest().await;
        assert!(
            scene.keyring().adopt(&digest, &needs(), NOW).await.unwrap().is_some(),
            "{name}: shown, it is"
        );
    }
}

/// As an older version may have left it; this one never does.
#[tokio::test]
async fn in_a_ring_without_an_active_key_the_one_that_waits_signs_and_no_other_is_made() {
    for waits in ["prepared", "published"] {
        let scene = Scene::new(4, false).await;
        scene
            .change(|document| {
                keys(document)[1]["state"] = "retired".into();
                keys(document)[1]["retired_at"] = 1_800_000_000.into();
                keys(document)[2]["state"] = waits.into();
                keys(document)[2]["published_at"] = 1_800_000_000.into();
            })
            .await;
        let keyring = scene.keyring();
        keyring.adopt(&scene.digest().await, &needs(), NOW).await.unwrap();
        let loaded = keyring.ensure(&[spec(KeyPlace::Here)], NOW).await.unwrap();
        let ring = loaded.ring(&ring()).unwrap();
        assert_eq!(ring.active().unwrap().kid(), scene.kids[2], "{waits}");
        assert_eq!(loaded.records().rings().flat_map(|(_, ring)| ring.keys()).count(), 4, "{waits}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_remembered_as_revoked_and_does_not_come_back() {
    let scene = Scene::new(4, false).await;
    let kid = scene.kids[0].clone();
    scene
        .change(|document| {
            keys(document)[0]["state"] = "revoked".into();
            keys(document)[0]["revoked_at"] = 1_800_000_000.into();
        })
        .await;
    let keyring = scene.keyring();
    keyring.adopt(&scene.digest().await, &needs(), NOW).await.unwrap();
    let read = keyring.read().await.unwrap();
    assert!(read.revocation(&kid).is_some() && read.find(&kid).is_none());
    let why = keyring.activate(&kid, &policy(), Force::Yes, NOW).await.unwrap_err();
    assert!(matches!(why, KeyringError::Lifecycle(LifecycleError::Revoked { .. })), "{why}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is changed between the look and the taking over, it is noticed, and nothing is
    /// written.
    #[test]
    fn a_document_that_changed_since_it_was_shown_is_not_taken_over(
        of_data_keys in any::<bool>(), index in any::<prop::sample::Index>(), byte in any::<u8>(), kind in 0_usize..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let scene = Scene::new(4, true).await;
            let digest = scene.digest().await;
            let name = if of_data_keys { "keyring-data-keys" } else { "keyring" };
            let before = scene.bytes(name).await.unwrap();
            let (mut bytes, at) = (before.clone(), index.index(before.len()));
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
            scene.put(name, &bytes).await;
            let outcome = scene.keyring().adopt(&digest, &needs(), NOW).await;
            if bytes == before {
                assert!(outcome.unwrap().is_some());
            } else {
                assert!(outcome.is_err(), "{outcome:?}");
                assert_eq!(scene.bytes(name).await.unwrap(), bytes);
            }
        });
    }
}
