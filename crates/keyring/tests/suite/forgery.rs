//! Somebody who can write to the store and has no sealing key: no change of the keyring's document
//! has any effect.
//!
//! Each byte is altered, and each mutation that somebody who knows the structure would try. A
//! document is refused, or it is read as exactly the keyring that was written. Without the check of
//! the tag in `document` every one of the structured mutations is accepted.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say what they expect by failing")]

use async_trait::async_trait;
use countersign_jose::{Algorithm, KeySize, PrivateKey, PublicJwk, PublicKey, Timestamp};
use countersign_keyring::{
    Distribution, KeyPlace, KeyService, KeyringError, LoadedKeyring, Needs, RemoteKey, RingName, RingSpec,
    SealingKey, ServiceError, StoredKeyring,
};
use countersign_store::{Expect, Key, ManualClock, MemoryStore, Store};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn ring() -> RingName {
    "default".parse().unwrap()
}

fn spec() -> RingSpec {
    let size = KeySize::default();
    RingSpec { name: ring(), algorithm: Algorithm::ES256, size, make_first_key: true, place: KeyPlace::Here }
}

/// A service that would sign with any key it is named.
#[derive(Debug)]
struct Willing;

#[async_trait]
impl KeyService for Willing {
    async fn create(&self, _: &RingName, _: Algorithm, _: KeySize) -> Result<RemoteKey, ServiceError> {
        Err(ServiceError::Unavailable("not here".to_owned()))
    }
    async fn describe(&self, _: &str, _: Algorithm) -> Result<RemoteKey, ServiceError> {
        Err(ServiceError::Unavailable("not here".to_owned()))
    }
    async fn sign(&self, _: &str, _: Algorithm, _: &[u8]) -> Result<Vec<u8>, ServiceError> {
        Ok(Vec::new())
    }
    async fn discard(&self, _: &str) -> Result<(), ServiceError> {
        Ok(())
    }
}

/// A store with a keyring in it, and every document of that keyring from the first to the last.
struct Scene {
    store: Arc<dyn Store>,
    sealing: Arc<SealingKey>,
    history: Vec<Value>,
    bytes: Vec<u8>,
}

type Shown = (BTreeSet<String>, Option<String>);

/// What verifiers are shown and what signs.
fn shown(keyring: &LoadedKeyring) -> Shown {
    let Some(ring) = keyring.ring(&ring()) else { return Default::default() };
    let kids = ring.public_keys().iter().map(|key| key.jwk.kid.clone()).collect();
    (kids, ring.active().map(|signer| signer.kid().to_owned()))
}

impl Scene {
    /// A retired key, an active one, one that waits, a revoked one; `sealing` authenticates.
    async fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))));
        let sealing = Arc::new(SealingKey::generate().unwrap().0);
        let mut scene = Self { store, sealing, history: Vec::new(), bytes: Vec::new() };
        let keyring = scene.process();
        keyring.ensure(&[spec()], NOW).await.unwrap();
        scene.keep().await;
        let leaked = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
        keyring.publish(&leaked, NOW).await.unwrap();
        scene.keep().await;
        keyring.revoke(&leaked, NOW).await.unwrap();
        scene.keep().await;
        keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap();
        scene.keep().await;
        scene
    }

    /// A process that has seen nothing yet.
    fn process(&self) -> StoredKeyring {
        let keyring = StoredKeyring::new(Arc::clone(&self.store), Arc::clone(&self.sealing));
        keyring.with_service(Arc::new(Willing))
    }

    async fn keep(&mut self) {
        self.bytes = self.store.get(&document()).await.unwrap().unwrap().bytes;
        self.history.push(serde_json::from_slice(&self.bytes).unwrap());
    }

    async fn put(&self, bytes: &[u8]) {
        let version = self.store.get(&document()).await.unwrap().unwrap().version;
        self.store.put(&document(), bytes, Expect::Version(version), None).await.unwrap();
    }

    fn latest(&self) -> Value {
        self.history.last().unwrap().clone()
    }
}

fn document() -> Key {
    Key::parse("keyring").unwrap()
}

/// A public key of the attacker.
fn own_key() -> (String, Value) {
    let public: PublicKey = PrivateKey::generate(Algorithm::ES256, KeySize::default()).unwrap().public_key();
    let kid = public.thumbprint();
    let jwk = PublicJwk { kid: kid.clone(), algorithm: Algorithm::ES256, key: public };
    (kid, serde_json::to_value(jwk).unwrap())
}

/// What somebody who knows the structure would try, by name.
fn mutations(scene: &Scene) -> Vec<(&'static str, Value)> {
    let latest = scene.latest();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut value = latest.clone();
        change(&mut value);
        value
    };
    fn keys(value: &mut Value) -> &mut Vec<Value> {
        value["content"]["rings"]["default"]["keys"].as_array_mut().unwrap()
    }
    let (kid, public) = own_key();
    let remote = json!({
        "kid": kid, "algorithm": "ES256", "state": "published", "origin": "imported", "created_at": 1_800_000_000,
        "public": public, "private": { "kms": "arn:aws:kms:eu-central-1:1:key/mine" },
    });
    let mine = SealingKey::generate().unwrap().0;
    let mut sealed = remote.clone();
    sealed["private"] = serde_json::to_value(mine.seal(b"anything", "default").unwrap()).unwrap();
    let revoked_record = scene.history[1]["content"]["rings"]["default"]["keys"][1].clone();
    let old_format = json!({ "format": 4, "rings": latest["content"]["rings"] });
    vec![
        ("a key of a service is added", with(&|v| keys(v).push(remote.clone()))),
        ("a sealed key is added", with(&|v| keys(v).push(sealed.clone()))),
        ("a ring is added", with(&|v| v["content"]["rings"]["other"] = json!({ "keys": [remote] }))),
        (
            "a revoked key comes back",
            with(&|v| {
                v["content"]["revoked"] = json!([]);
                keys(v).push(revoked_record.clone());
            }),
        ),
        ("a revoked name is forgotten", with(&|v| v["content"]["revoked"] = json!([]))),
        ("a state is changed", with(&|v| keys(v)[1]["state"] = "published".into())),
        ("the active key is retired", with(&|v| keys(v)[0]["state"] = "retired".into())),
        (
            "a certificate is another's",
            with(&|v| keys(v)[0]["certificate"] = keys(v)[1]["certificate"].clone()),
        ),
        (
            "a certificate is removed",
            with(&|v| {
                keys(v)[0].as_object_mut().unwrap().remove("certificate");
            }),
        ),
        ("a time is changed", with(&|v| keys(v)[0]["activated_at"] = 1.into())),
        ("a key is needed no more", with(&|v| keys(v)[0]["needed_until"] = 1.into())),
        ("the sequence is changed", with(&|v| v["content"]["sequence"] = 1_000_000.into())),
        ("the id is changed", with(&|v| v["content"]["id"] = "another".into())),
        (
            "a data key is added",
            with(&|v| {
                v["content"]["data_keys"] = json!([{ "id": "0", "under": "arn", "ciphertext": "AAAA" }]);
            }),
        ),
        (
            "a key was seen in public",
            with(&|v| {
                let kid = keys(v)[1]["kid"].as_str().unwrap().to_owned();
                v["content"]["observations"]["keys"][kid] = json!({ "first_seen": 1, "last_seen": 1 });
            }),
        ),
        ("a loss is accepted", with(&|v| v["content"]["accepted_losses"] = json!(["x"]))),
        (
            "a key is removed",
            with(&|v| {
                keys(v).pop();
            }),
        ),
        ("the content is an older one's", with(&|v| v["content"] = scene.history[0]["content"].clone())),
        ("the tag is an older one's", with(&|v| v["tag"] = scene.history[0]["tag"].clone())),
        (
            "there is no tag",
            with(&|v| {
                v.as_object_mut().unwrap().remove("tag");
            }),
        ),
        ("the tag is empty", with(&|v| v["tag"] = "".into())),
        ("the tag is shorter", with(&|v| v["tag"] = v["tag"].as_str().unwrap()[..22].into())),
        ("the sealing key is another", with(&|v| v["sealing_key"] = mine.id().into())),
        (
            "the sealing key is the attacker's data key",
            with(&|v| {
                v["sealing_key"] = mine.id().into();
                v["data_key"] = json!({ "id": mine.id(), "under": "arn", "ciphertext": "AAAA" });
            }),
        ),
        ("the format is an old one", with(&|v| v["format"] = 4.into())),
        ("the whole is of an old format", old_format),
        ("the format is a newer one", with(&|v| v["format"] = 6.into())),
        ("there is a second member", with(&|v| v["rings"] = json!({}))),
    ]
}

#[tokio::test]
async fn nothing_that_the_store_is_given_without_the_sealing_key_reaches_verifiers_or_signs() {
    let scene = Scene::new().await;
    let running = scene.process();
    let loaded = running.load().await.unwrap();
    for (name, value) in mutations(&scene) {
        scene.put(&serde_json::to_vec(&value).unwrap()).await;
        // One that starts now, and one that runs.
        let why = scene.process().load().await.map(|keyring| shown(&keyring));
        let why = why.expect_err(name);
        let reloaded = running.reload(&loaded, &Needs::new(), NOW).await;
        assert!(reloaded.keys.is_none() && reloaded.problem.is_some(), "{name}: {reloaded:?}");
        // Nothing is written over it either.
        for outcome in [
            running.prepare(&spec(), Distribution::Published, NOW).await.map(|_| ()),
            scene.process().ensure(&[spec()], NOW).await.map(|_| ()),
            scene.process().publish("x", NOW).await.map(|_| ()),
        ] {
            assert_eq!(outcome.map_err(|why| why.code()), Err(why.code()), "{name}");
        }
        let expected = [
            "keyring_altered",
            "keyring_wrong_sealing_key",
            "keyring_corrupt",
            "keyring_old_format",
            "keyring_newer_format",
        ];
        assert!(expected.contains(&why.code()) && !why.to_string().contains("ciphertext"), "{name}: {why}");
    }
    scene.put(&scene.bytes.clone()).await;
    assert_eq!(shown(&running.load().await.unwrap()), shown(&loaded));
}

#[tokio::test]
async fn every_altered_byte_is_refused_or_has_no_effect() {
    let scene = Scene::new().await;
    let good = scene.process().read().await.unwrap();
    let mut without_effect = 0;
    for at in 0..scene.bytes.len() {
        let mut bytes = scene.bytes.clone();
        // Another character of base64url and of JSON texts, so that it is not the syntax that is
        // refused.
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        scene.put(&bytes).await;
        match scene.process().read().await {
            Ok(keyring) => {
                assert_eq!(keyring, good, "byte {at}");
                without_effect += 1;
            }
            Err(KeyringError::Store(why)) => panic!("byte {at}: {why}"),
            Err(_) => {}
        }
    }
    assert_eq!(without_effect, 0, "there is nothing in the document that is not authenticated");
}

#[tokio::test]
async fn what_another_sealing_key_has_written_is_not_taken() {
    let (scene, theirs) = (Scene::new().await, Scene::new().await);
    scene.put(&theirs.bytes).await;
    let why = scene.process().load().await.unwrap_err();
    assert!(
        matches!(&why, KeyringError::WrongSealingKey { needed, .. } if needed == theirs.sealing.id()),
        "{why}"
    );
    // With their name on it replaced by ours.
    let mut value = theirs.latest();
    value["sealing_key"] = scene.sealing.id().into();
    scene.put(&serde_json::to_vec(&value).unwrap()).await;
    assert!(matches!(scene.process().load().await, Err(KeyringError::Altered { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes are removed, repeated, moved and replaced at random, several at once.
    #[test]
    fn no_random_change_of_the_bytes_has_an_effect(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..4), 1..6)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let scene = Scene::new().await;
            let good = scene.process().read().await.unwrap();
            let mut bytes = scene.bytes.clone();
            for (index, byte, kind) in changes {
                let at = index.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => { bytes.remove(at); }
                    2 => bytes.insert(at, byte),
                    _ => { let other = bytes.len() - 1 - at; bytes.swap(at, other); }
                }
            }
            scene.put(&bytes).await;
            if let Ok(keyring) = scene.process().read().await {
                assert_eq!(keyring, good);
            }
        });
    }
}
