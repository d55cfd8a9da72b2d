//! Revocation with each thing broken in turn, and what somebody with the store alone can do about
//! it: nothing.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use async_trait::async_trait;
use countersign_jose::{Algorithm, KeySize, PrivateKey, SigningKey, Timestamp};
use countersign_keyring::{
    Activation, Change, DataKeyService, Distribution, ImportedKey, ImportedMaterial, KeyPlace, KeyService,
    KeyringError, LifecycleError, LoadedKeyring, Needs, RemoteKey, Replaced, RingName, RingSpec, Sealing,
    SealingKey, ServiceError, StoredKeyring, WrappedKey,
};
use countersign_store::{Document, Expect, Key, ManualClock, MemoryStore, Store, StoreError, Version};
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use zeroize::Zeroizing;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const MARKS: &str = "keyring-revocations";

fn ring() -> RingName {
    "default".parse().unwrap()
}

fn spec() -> RingSpec {
    let size = KeySize::default();
    RingSpec { name: ring(), algorithm: Algorithm::ES256, size, make_first_key: true, place: KeyPlace::Here }
}

fn sealing_key() -> Arc<SealingKey> {
    Arc::new(SealingKey::generate().unwrap().0)
}

fn imported(kid: Option<&str>) -> ImportedKey {
    let key = PrivateKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
    let material = ImportedMaterial::Private(key);
    ImportedKey { kid: kid.map(str::to_owned), algorithm: Algorithm::ES256, material }
}

/// A store whose writes can be refused.
#[derive(Debug)]
struct Fussy {
    inner: MemoryStore,
    /// Writes to this document fail.
    refused: std::sync::Mutex<Option<&'static str>>,
    /// So many writes to the marks conflict.
    conflicts: AtomicUsize,
}

impl Fussy {
    fn new() -> Arc<Self> {
        let inner = MemoryStore::new(Arc::new(ManualClock::at(NOW)));
        Arc::new(Self { inner, refused: std::sync::Mutex::default(), conflicts: AtomicUsize::new(0) })
    }

    fn refuse(&self, document: Option<&'static str>) {
        *self.refused.lock().unwrap() = document;
    }
}

#[async_trait]
impl Store for Fussy {
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
        if *self.refused.lock().unwrap() == Some(key.as_str()) {
            return Err(StoreError::Denied { place: "it".into(), reason: "read-only".into() });
        }
        let conflicts =
            || self.conflicts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if key.as_str() == MARKS && conflicts().is_ok() {
            return Err(StoreError::Conflict { key: key.clone() });
        }
        self.inner.put(key, bytes, expect, expires_at).await
    }
    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        self.inner.delete(key, version).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        self.inner.list(prefix).await
    }
}

/// KMS, which can be away.
#[derive(Debug)]
struct Kms {
    key: SealingKey,
    keys: std::sync::Mutex<Vec<SigningKey>>,
    away: AtomicBool,
}

impl Kms {
    fn new() -> Arc<Self> {
        let (key, _) = SealingKey::generate().unwrap();
        Arc::new(Self { key, keys: std::sync::Mutex::default(), away: AtomicBool::new(false) })
    }

    fn remote(&self, name: &str) -> Result<RemoteKey, ServiceError> {
        let keys = self.keys.lock().unwrap();
        let key = keys.get(number(name)).ok_or_else(|| ServiceError::Unusable("no such key".to_owned()))?;
        Ok(RemoteKey { name: name.to_owned(), public: key.public_key().unwrap().clone() })
    }

    fn ask(&self) -> Result<(), ServiceError> {
        let away = self.away.load(Ordering::SeqCst);
        if away { Err(ServiceError::Unavailable("away".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl DataKeyService for Kms {
    async fn generate(&self) -> Result<(Zeroizing<Vec<u8>>, WrappedKey), ServiceError> {
        self.ask()?;
        let (_, text) = SealingKey::generate().unwrap();
        let bytes = countersign_jose::base64url::decode(&text).unwrap();
        let ciphertext = serde_json::to_vec(&self.key.seal(&bytes, "data key").unwrap()).unwrap();
        Ok((Zeroizing::new(bytes), WrappedKey { under: "arn".to_owned(), ciphertext }))
    }
    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
        self.ask()?;
        let sealed = serde_json::from_slice(&wrapped.ciphertext).map_err(|_| ServiceError::Altered)?;
        self.key.open(&sealed, "data key").map_err(|_| ServiceError::OtherKey)
    }
}

/// The place of a key in the list, which ends its name.
fn number(name: &str) -> usize {
    name.rsplit('/').next().unwrap().parse().unwrap()
}

#[async_trait]
impl KeyService for Kms {
    async fn create(
        &self,
        _: &RingName,
        algorithm: Algorithm,
        size: KeySize,
    ) -> Result<RemoteKey, ServiceError> {
        self.ask()?;
        let name = {
            let mut keys = self.keys.lock().unwrap();
            keys.push(SigningKey::generate(algorithm, size).unwrap());
            format!("arn:aws:kms:eu-central-1:1:key/{}", keys.len() - 1)
        };
        self.remote(&name)
    }
    async fn describe(&self, name: &str, _: Algorithm) -> Result<RemoteKey, ServiceError> {
        self.ask()?;
        self.remote(name)
    }
    async fn sign(&self, name: &str, _: Algorithm, message: &[u8]) -> Result<Vec<u8>, ServiceError> {
        self.ask()?;
        Ok(self.keys.lock().unwrap().get(number(name)).unwrap().sign_bytes(message).unwrap())
    }
    async fn discard(&self, _: &str) -> Result<(), ServiceError> {
        Ok(())
    }
}

/// A server that runs with a key, and one that signs: what a revocation has to reach.
struct Scene {
    store: Arc<Fussy>,
    sealing: Arc<SealingKey>,
    kms: Arc<Kms>,
    server: StoredKeyring,
    loaded: LoadedKeyring,
    kid: String,
}

impl Scene {
    async fn new() -> Self {
        Self::with(spec()).await
    }

    async fn with(spec: RingSpec) -> Self {
        let (store, sealing, kms) = (Fussy::new(), sealing_key(), Kms::new());
        let server = StoredKeyring::new(store.clone(), Arc::clone(&sealing)).with_service(kms.clone());
        let loaded = server.ensure(std::slice::from_ref(&spec), NOW).await.unwrap();
        let kid = loaded.ring(&spec.name).unwrap().active().unwrap().kid().to_owned();
        Self { store, sealing, kms, server, loaded, kid }
    }

    /// The command of an operator, in a process of its own.
    fn command(&self) -> StoredKeyring {
        StoredKeyring::new(self.store.clone(), Arc::clone(&self.sealing)).with_service(self.kms.clone())
    }

    async fn bytes(&self, document: &str) -> Vec<u8> {
        self.store.get(&Key::parse(document).unwrap()).await.unwrap().unwrap().bytes
    }

    async fn put(&self, document: &str, bytes: &[u8]) {
        let key = Key::parse(document).unwrap();
        let found = self.store.inner.get(&key).await.unwrap();
        let expect = found.map_or(Expect::Absent, |found| Expect::Version(found.version));
        self.store.inner.put(&key, bytes, expect, None).await.unwrap();
    }

    /// Whether the server still signs with or shows the key, after one refresh.
    async fn trusts(&mut self) -> bool {
        if let Some(keys) = self.server.reload(&self.loaded, &Needs::new(), NOW).await.keys {
            self.loaded = keys;
        }
        trusts(&self.loaded, &self.kid)
    }
}

fn trusts(loaded: &LoadedKeyring, kid: &str) -> bool {
    loaded.rings().any(|(_, ring)| {
        ring.active().is_some_and(|signer| signer.kid() == kid)
            || ring.public_keys().iter().any(|key| key.jwk.kid == kid)
    })
}

#[tokio::test]
async fn a_key_is_revoked_whatever_else_is_broken() {
    for broken in [
        "nothing",
        "the sealing key is lost",
        "another record is under a sealing key that nobody has",
        "the keyring is damaged",
        "the keyring is altered",
        "the keyring went back to an older format",
        "the keyring cannot be written",
        "the marks cannot be written",
        "the marks are damaged",
        "the marks are too many",
        "others write marks at the same time",
        "the ring is full",
        "the ring is full of keys that were revoked",
        "the ring is not configured any more",
        "the key is with a service that is away",
        "another key is with a service that is away",
        "another key is with a service that this program does not have",
        "the replacement cannot be made",
    ] {
        let with_service = RingSpec { place: KeyPlace::Service, ..spec() };
        let mut scene = match broken {
            "the key is with a service that is away" => Scene::with(with_service.clone()).await,
            "the ring is not configured any more" => {
                Scene::with(RingSpec { name: "former".parse().unwrap(), ..spec() }).await
            }
            _ => Scene::new().await,
        };
        let mut command = scene.command();
        let (mut recorded, mut marked) = (true, Some(Replaced::No));
        match broken {
            "the sealing key is lost" => {
                command = StoredKeyring::new(scene.store.clone(), sealing_key());
                recorded = false;
            }
            "another record is under a sealing key that nobody has" => {
                let lost = sealing_key();
                let with = |sealing: Sealing| StoredKeyring::new(scene.store.clone(), sealing);
                let other = with(Sealing::new(lost.clone()).also(scene.sealing.clone()));
                other.import(&ring(), &[imported(Some("other"))], Activation::Later, NOW).await.unwrap();
                // Written again with the key that the others have.
                let back = with(Sealing::new(scene.sealing.clone()).also(lost));
                back.publish("other", NOW).await.unwrap();
            }
            "the keyring is damaged" => {
                scene.put("keyring", b"{").await;
                recorded = false;
            }
            "the keyring is altered" => {
                let text = String::from_utf8(scene.bytes("keyring").await).unwrap();
                scene.put("keyring", text.replace("\"active\"", "\"retired\"").as_bytes()).await;
                recorded = false;
            }
            "the keyring went back to an older format" => {
                scene.put("keyring", br#"{"format":4,"rings":{}}"#).await;
                recorded = false;
            }
            "the keyring cannot be written" => {
                scene.store.refuse(Some("keyring"));
                recorded = false;
            }
            "the marks cannot be written" => {
                scene.store.refuse(Some(MARKS));
                marked = None;
            }
            "the marks are damaged" => {
                scene.put(MARKS, b"{\"marks\":7}").await;
                marked = Some(Replaced::Yes);
            }
            "the marks are too many" => {
                let marks: Vec<_> =
                    (0..2000).map(|n| serde_json::json!({ "kid": format!("k{n}") })).collect();
                scene.put(MARKS, serde_json::json!({ "marks": marks }).to_string().as_bytes()).await;
                marked = Some(Replaced::Yes);
            }
            "others write marks at the same time" => scene.store.conflicts.store(5, Ordering::SeqCst),
            "the ring is full" => {
                let keys: Vec<_> = (0..49).map(|_| imported(None)).collect();
                command.import(&ring(), &keys, Activation::Later, NOW).await.unwrap();
            }
            "the ring is full of keys that were revoked" => {
                let names: Vec<_> = (0..49).map(|n| format!("k{n}")).collect();
                let keys: Vec<_> = names.iter().map(|name| imported(Some(name))).collect();
                command.import(&ring(), &keys, Activation::Later, NOW).await.unwrap();
                for name in &names {
                    command.revoke(name, NOW).await.unwrap();
                }
            }
            "the key is with a service that is away" => scene.kms.away.store(true, Ordering::SeqCst),
            "another key is with a service that is away"
            | "another key is with a service that this program does not have" => {
                command.prepare(&with_service, Distribution::Published, NOW).await.unwrap();
                scene.kms.away.store(true, Ordering::SeqCst);
                if broken.ends_with("does not have") {
                    command = StoredKeyring::new(scene.store.clone(), Arc::clone(&scene.sealing));
                }
            }
            "the replacement cannot be made" => scene.kms.away.store(true, Ordering::SeqCst),
            _ => {}
        }
        let revocation = command.revoke(&scene.kid, NOW).await.unwrap();
        assert!(revocation.counts(), "{broken}: {revocation:?}");
        assert_eq!(revocation.record.is_ok(), recorded, "{broken}: {revocation:?}");
        let mark = revocation.mark.as_ref().unwrap();
        assert_eq!(mark.as_ref().ok().copied(), marked, "{broken}: {revocation:?}");
        assert!(!scene.trusts().await, "{broken}: the server goes on with it");
        if broken == "the replacement cannot be made" {
            let why = command.replace(&with_service, NOW).await.unwrap_err();
            assert!(matches!(why, KeyringError::Service(_)), "{why}");
        }
        // And a server that starts then does not take it up, where it can start.
        if let Ok(loaded) = scene.command().load().await {
            assert!(!trusts(&loaded, &scene.kid), "{broken}");
        }
        // With whatever was broken mended, it stays revoked, and saying so again is no error.
        scene.store.refuse(None);
        assert!(!scene.trusts().await, "{broken}");
        if recorded {
            let again = scene.command().revoke(&scene.kid, NOW).await.unwrap();
            assert!(again.was_revoked() && again.counts(), "{broken}: {again:?}");
        }
    }
}

#[tokio::test]
async fn with_kms_away_a_key_is_revoked_and_what_takes_over_is_another_matter() {
    // The sealing key is in KMS.
    let (store, kms) = (Fussy::new(), Kms::new());
    let with_kms = || StoredKeyring::new(store.clone(), Sealing::wrapped(kms.clone()));
    let server = with_kms();
    let loaded = server.ensure(&[spec()], NOW).await.unwrap();
    let kid = loaded.ring(&ring()).unwrap().active().unwrap().kid().to_owned();
    kms.away.store(true, Ordering::SeqCst);
    let revocation = with_kms().revoke(&kid, NOW).await.unwrap();
    assert!(revocation.counts() && revocation.record.is_err(), "{revocation:?}");
    let keys = server.reload(&loaded, &Needs::new(), NOW).await.keys.unwrap();
    assert!(!trusts(&keys, &kid));
    // The server has its data key, so it has recorded it, and nobody needs the mark any more.
    assert!(server.read().await.unwrap().revocation(&kid).is_some());
    kms.away.store(false, Ordering::SeqCst);
    assert!(!trusts(&with_kms().load().await.unwrap(), &kid));

    // The next key would be made in KMS.
    let (store, sealing) = (Fussy::new(), sealing_key());
    let keyring = StoredKeyring::new(store, sealing).with_service(kms.clone());
    let loaded = keyring.ensure(&[spec()], NOW).await.unwrap();
    let kid = loaded.ring(&ring()).unwrap().active().unwrap().kid().to_owned();
    kms.away.store(true, Ordering::SeqCst);
    let revocation = keyring.revoke(&kid, NOW).await.unwrap();
    assert!(revocation.record.is_ok() && revocation.active.is_none(), "{revocation:?}");
    let in_kms = RingSpec { place: KeyPlace::Service, ..spec() };
    let why = keyring.replace(&in_kms, NOW).await.unwrap_err();
    assert!(matches!(why, KeyringError::Service(_)), "{why}");
    let made = keyring.replace(&spec(), NOW).await.unwrap();
    assert!(made.is_some_and(|made| made != kid));
}

#[tokio::test]
async fn a_key_that_is_not_there_is_refused_where_the_keyring_can_be_read_and_marked_where_it_cannot() {
    let scene = Scene::new().await;
    let why = scene.command().revoke("nobody", NOW).await.unwrap_err();
    assert!(matches!(why, KeyringError::Lifecycle(LifecycleError::UnknownKey { .. })), "{why}");
    assert!(scene.store.get(&Key::parse(MARKS).unwrap()).await.unwrap().is_none());
    let lost = StoredKeyring::new(scene.store.clone(), sealing_key());
    assert!(lost.revoke("nobody", NOW).await.unwrap().counts());
    // It is of no consequence, and is not taken into the keyring.
    scene.command().absorb(NOW).await.unwrap();
    assert!(scene.server.read().await.unwrap().revoked().is_empty());
}

#[tokio::test]
async fn a_full_ring_is_emptied_and_revoked_keys_do_not_count() {
    let scene = Scene::new().await;
    let command = scene.command();
    let mut kid = scene.kid.clone();
    for _ in 0..60 {
        assert!(command.revoke(&kid, NOW).await.unwrap().record.is_ok());
        kid = command.replace(&spec(), NOW).await.unwrap().unwrap();
    }
    let keyring = command.read().await.unwrap();
    assert_eq!((keyring.revoked().len(), keyring.ring(&ring()).unwrap().keys().len()), (60, 1));
    // 50 that live: one never signed and goes, the one that signs does not.
    let keys: Vec<_> = (0..49).map(|n| imported(Some(&format!("k{n}")))).collect();
    command.import(&ring(), &keys, Activation::Later, NOW).await.unwrap();
    let full = command.import(&ring(), &[imported(None)], Activation::Later, NOW).await.unwrap_err();
    assert!(matches!(full, KeyringError::Lifecycle(LifecycleError::RingFull { .. })), "{full}");
    let keep = Duration::from_secs(3600);
    assert_eq!(command.remove("k0", keep, Duration::ZERO, NOW).await.unwrap(), Change::Made);
    let signs = command.remove(&kid, keep, Duration::ZERO, NOW).await.unwrap_err();
    assert!(matches!(signs, KeyringError::Lifecycle(LifecycleError::WrongState { .. })), "{signs}");
    command.import(&ring(), &[imported(None)], Activation::Now, NOW).await.unwrap();
    let needed = command.remove(&kid, keep, Duration::ZERO, NOW).await.unwrap_err();
    assert!(matches!(needed, KeyringError::Lifecycle(LifecycleError::Needed { .. })), "{needed}");
    assert_eq!(command.remove(&kid, keep, Duration::ZERO, NOW.plus(keep)).await.unwrap(), Change::Made);
}

#[tokio::test]
async fn a_mark_that_was_seen_counts_although_it_is_taken_away_again() {
    let mut scene = Scene::new().await;
    // Nobody can record it: the operator has lost the key, and the keyring cannot be written.
    scene.store.refuse(Some("keyring"));
    StoredKeyring::new(scene.store.clone(), sealing_key()).revoke(&scene.kid, NOW).await.unwrap();
    assert!(!scene.trusts().await);
    let name = Key::parse(MARKS).unwrap();
    let version = scene.store.get(&name).await.unwrap().unwrap().version;
    scene.store.delete(&name, &version).await.unwrap();
    assert!(!scene.trusts().await);
    // It is recorded as soon as that is possible, and then it is for good.
    scene.store.refuse(None);
    assert!(!scene.trusts().await);
    let recorded = scene.command().read().await.unwrap();
    assert!(recorded.revocation(&scene.kid).is_some());
    let why = scene.command().import(&ring(), &[imported(Some(&scene.kid))], Activation::Now, NOW).await;
    assert!(matches!(why, Err(KeyringError::Lifecycle(LifecycleError::Revoked { .. }))));
}

#[tokio::test]
async fn what_waits_takes_over_from_a_revoked_key_in_the_same_change() {
    let mut scene = Scene::new().await;
    let next = scene.command().prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
    let revocation = scene.command().revoke(&scene.kid, NOW).await.unwrap();
    assert_eq!(revocation.active.as_ref(), Some(&next));
    assert!(!scene.trusts().await && trusts(&scene.loaded, &next));
    assert!(scene.bytes(MARKS).await.len() < 20, "the mark is gone once it is recorded");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever stands in the document of marks: no key is trusted that was not before, and nothing
    /// fails.
    #[test]
    fn nothing_in_the_document_of_marks_brings_trust_back(
        junk in prop::collection::vec(any::<u8>(), 0..200),
        kids in prop::collection::vec("[a-z]{0,8}", 0..20),
        at in any::<i64>(),
        marks_the_active_key in any::<bool>(),
        shape in 0_usize..5,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut scene = Scene::new().await;
            scene.command().prepare(&spec(), Distribution::Published, NOW).await.unwrap();
            let leaked = imported(Some("leaked"));
            scene.command().import(&ring(), &[leaked], Activation::IfRingHasNone, NOW).await.unwrap();
            scene.command().revoke("leaked", NOW).await.unwrap();
            let before = scene.command().load().await.unwrap();
            let mut named = kids.clone();
            if marks_the_active_key {
                named.push(scene.kid.clone());
            }
            let marks: Vec<_> = named.iter().map(|kid| serde_json::json!({ "kid": kid, "at": at })).collect();
            let bytes = match shape {
                0 => junk,
                1 => serde_json::json!({ "marks": marks, "revoked": [], "unrevoke": ["leaked"] }).to_string().into(),
                2 => serde_json::json!({ "marks": marks, "rings": { "default": {} } }).to_string().into(),
                3 => serde_json::json!({ "format": at, "marks": marks }).to_string().into(),
                // A list of the members in their order is the same to the reader.
                _ => serde_json::json!([marks]).to_string().into(),
            };
            scene.put(MARKS, &bytes).await;
            let shown = |keyring: &LoadedKeyring| -> BTreeSet<String> {
                let keys = keyring.rings().flat_map(|(_, ring)| ring.public_keys());
                keys.map(|key| key.jwk.kid.clone()).collect()
            };
            let after = scene.command().load().await.unwrap();
            assert!(shown(&after).is_subset(&shown(&before)), "{:?}", shown(&after));
            assert!(!trusts(&after, "leaked"));
            // A key that nobody marked goes on.
            let marked = marks_the_active_key && shape > 0;
            assert_eq!(trusts(&after, &scene.kid), !marked);
            scene.trusts().await;
            assert!(scene.command().read().await.unwrap().revocation("leaked").is_some());
        });
    }
}

/// The mark is written all the same: somebody who can write to the store may have taken the key
/// out.
#[tokio::test]
async fn of_a_keyring_that_cannot_be_verified_it_is_said_that_it_names_no_such_key() {
    let scene = Scene::new().await;
    let command = || StoredKeyring::new(scene.store.clone(), sealing_key());
    let revocation = command().revoke("mistyped", NOW).await.unwrap();
    assert!(revocation.counts());
    assert_eq!(revocation.others, Some(vec![scene.kid.clone()]));
    let marks = String::from_utf8(scene.bytes(MARKS).await).unwrap();
    assert!(marks.contains("mistyped"), "{marks}");
    assert_eq!(command().revoke(&scene.kid, NOW).await.unwrap().others, None);
    // One that is revoked already, and a keyring of which nothing can be said.
    scene.command().revoke(&scene.kid, NOW).await.unwrap();
    assert_eq!(command().revoke(&scene.kid, NOW).await.unwrap().others, None);
    scene.put("keyring", b"{").await;
    assert_eq!(command().revoke("mistyped", NOW).await.unwrap().others, None);
}
