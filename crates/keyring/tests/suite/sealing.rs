//! Changing what keys are sealed under: several sealing keys at once, sealing again, and data keys
//! of a service.
//!
//! The service here is a stand-in that encrypts under a key of its own; tests/kms has the real
//! calls.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use async_trait::async_trait;
use countersign_jose::{Algorithm, KeySize, SigningInput, Timestamp};
use countersign_keyring::{
    Activation, DataKey, DataKeyService, ImportedKey, ImportedMaterial, KeyPlace, KeyringError,
    LoadedKeyring, RingName, RingSpec, SealError, Sealing, SealingKey, ServiceError, StoredKeyring,
    WrappedKey,
};
use countersign_store::{Document, Expect, Key, ManualClock, MemoryStore, Store, StoreError, Version};
use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;
use zeroize::Zeroizing;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))))
}

fn key() -> Arc<SealingKey> {
    Arc::new(SealingKey::generate().unwrap().0)
}

fn spec() -> RingSpec {
    let (name, size) = ("default".parse().unwrap(), KeySize::default());
    RingSpec { name, algorithm: Algorithm::Ed25519, size, make_first_key: true, place: KeyPlace::Here }
}

fn ring() -> RingName {
    "default".parse().unwrap()
}

async fn add(keyring: &StoredKeyring) -> Result<(), KeyringError> {
    let private = countersign_jose::PrivateKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
    let material = ImportedMaterial::Private(private);
    let key = ImportedKey { kid: None, algorithm: Algorithm::ES256, material };
    keyring.import(&ring(), &[key], Activation::Later, NOW).await.map(|_| ())
}

async fn sealed_by(keyring: &StoredKeyring) -> Vec<String> {
    let records = keyring.read().await.unwrap();
    let keys = records.rings().flat_map(|(_, ring)| ring.keys());
    keys.map(|key| key.sealed_by().unwrap().to_owned()).collect()
}

async fn signs(keyring: &LoadedKeyring) -> bool {
    let signer = keyring.ring(&ring()).unwrap().active().unwrap();
    let header = countersign_jose::Header { alg: signer.algorithm(), kid: None, typ: None }.encode();
    signer.sign(&SigningInput::new(&header, b"{}")).await.is_ok()
}

fn is_wrong_key(why: &KeyringError) -> bool {
    matches!(why, KeyringError::WrongSealingKey { .. })
}

#[tokio::test]
async fn a_sealing_key_is_changed_in_four_steps_and_every_server_reads_the_keyring_after_each() {
    let (store, old, new) = (store(), key(), key());
    let with = |sealing: Sealing| StoredKeyring::new(Arc::clone(&store), sealing);
    let before = with(Sealing::new(old.clone()));
    before.ensure(&[spec()], NOW).await.unwrap();

    // 1: everybody learns the new one.
    let learnt = with(Sealing::new(old.clone()).also(new.clone()));
    add(&learnt).await.unwrap();
    assert_eq!(sealed_by(&learnt).await, [old.id(), old.id()]);
    assert!(signs(&before.load().await.unwrap()).await);
    // 2: it seals; those of step 1 go on.
    let swapped = with(Sealing::new(new.clone()).also(old.clone()));
    add(&swapped).await.unwrap();
    assert_eq!(sealed_by(&swapped).await, [old.id(), old.id(), new.id()]);
    assert!(signs(&learnt.load().await.unwrap()).await);
    assert!(is_wrong_key(&before.load().await.unwrap_err()), "it was left out of step 1");
    // 3: all of it is sealed again.
    let report = swapped.reseal(DataKey::Same, NOW).await.unwrap().unwrap();
    assert_eq!((report.resealed, report.unchanged, report.remote), (2, 1, 0));
    assert_eq!((report.sealing_key.as_str(), report.before.len()), (new.id(), 1));
    assert_eq!(sealed_by(&swapped).await, [new.id(); 3]);
    assert!(signs(&learnt.load().await.unwrap()).await && signs(&swapped.load().await.unwrap()).await);
    // 4: the old one goes.
    assert!(signs(&with(Sealing::new(new)).load().await.unwrap()).await);
}

#[tokio::test]
async fn sealing_again_twice_writes_once_and_changes_nothing_but_the_seal() {
    let (store, old, new) = (store(), key(), key());
    let before = StoredKeyring::new(Arc::clone(&store), old.clone());
    before.ensure(&[spec()], NOW).await.unwrap();
    let swapped = StoredKeyring::new(Arc::clone(&store), Sealing::new(new).also(old));
    let was = before.read().await.unwrap();
    swapped.reseal(DataKey::Same, NOW).await.unwrap();
    let is = swapped.read().await.unwrap();
    let shown = |keyring: &countersign_keyring::Keyring| {
        let (_, key) =
            keyring.rings().flat_map(|(n, r)| r.keys().iter().map(move |k| (n, k))).next().unwrap();
        (key.kid.clone(), key.state, key.created_at, key.public_key(), key.certificate().cloned())
    };
    assert_eq!(shown(&was), shown(&is));
    let again = swapped.reseal(DataKey::Same, NOW).await.unwrap().unwrap();
    assert_eq!((again.resealed, again.unchanged), (0, 1));
    assert_eq!(swapped.read().await.unwrap(), is, "nothing was written");
}

#[tokio::test]
async fn nothing_is_written_when_one_key_does_not_open() {
    let (store, old, new, other) = (store(), key(), key(), key());
    let before = StoredKeyring::new(Arc::clone(&store), old.clone());
    before.ensure(&[spec()], NOW).await.unwrap();
    // One key is under a sealing key that the process which seals again does not have.
    let third = StoredKeyring::new(Arc::clone(&store), Sealing::new(other.clone()).also(old.clone()));
    add(&third).await.unwrap();
    add(&StoredKeyring::new(Arc::clone(&store), Sealing::new(old.clone()).also(other))).await.unwrap();
    let document = Key::parse("keyring").unwrap();
    let bytes = store.get(&document).await.unwrap().unwrap().bytes;
    let swapped = StoredKeyring::new(Arc::clone(&store), Sealing::new(new.clone()).also(old));
    let why = swapped.reseal(DataKey::Same, NOW).await.unwrap_err();
    assert!(matches!(why, KeyringError::Seal { why: SealError::WrongKey { .. }, .. }), "{why}");
    assert_eq!(store.get(&document).await.unwrap().unwrap().bytes, bytes);
    // And without the old key at all.
    let alone = StoredKeyring::new(Arc::clone(&store), new);
    assert!(is_wrong_key(&alone.reseal(DataKey::Same, NOW).await.unwrap_err()));
    assert_eq!(store.get(&document).await.unwrap().unwrap().bytes, bytes);
}

/// A service with one key, that can be away.
#[derive(Debug)]
struct Vault {
    key: SealingKey,
    name: &'static str,
    away: AtomicBool,
    asked: AtomicUsize,
}

impl Vault {
    fn new(name: &'static str) -> Arc<Self> {
        let key = SealingKey::generate().unwrap().0;
        Arc::new(Self { key, name, away: AtomicBool::new(false), asked: AtomicUsize::new(0) })
    }

    fn ask(&self) -> Result<(), ServiceError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let away = self.away.load(Ordering::SeqCst);
        if away { Err(ServiceError::Unavailable("it is away".to_owned())) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_service_that_has_no_key_of_the_document_is_named_in_place_of_a_fingerprint() {
    let (store, old) = (store(), key());
    let before = StoredKeyring::new(Arc::clone(&store), Sealing::new(old.clone()));
    before.ensure(&[spec()], NOW).await.unwrap();
    let after = StoredKeyring::new(store, Sealing::wrapped(Vault::new("alias/tokens")));
    let why = after.read().await.unwrap_err();
    assert!(is_wrong_key(&why), "{why}");
    let expected = format!("authenticated with sealing key {}, but vault:alias/tokens was given", old.id());
    assert!(why.to_string().contains(&expected), "{why}");
}

#[async_trait]
impl DataKeyService for Vault {
    fn name(&self) -> String {
        format!("vault:{}", self.name)
    }

    async fn generate(&self) -> Result<(Zeroizing<Vec<u8>>, WrappedKey), ServiceError> {
        self.ask()?;
        let (_, text) = SealingKey::generate().unwrap();
        let bytes = countersign_jose::base64url::decode(&text).unwrap();
        let sealed = serde_json::to_vec(&self.key.seal(&bytes, "data key").unwrap()).unwrap();
        tokio::task::yield_now().await;
        Ok((Zeroizing::new(bytes), WrappedKey { under: self.name.to_owned(), ciphertext: sealed }))
    }

    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
        self.ask()?;
        let sealed = serde_json::from_slice(&wrapped.ciphertext).map_err(|_| ServiceError::Altered)?;
        match self.key.open(&sealed, "data key") {
            Ok(bytes) => Ok(bytes),
            Err(SealError::WrongKey { .. }) => Err(ServiceError::OtherKey),
            Err(_) => Err(ServiceError::Altered),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_first_starts_at_once_come_to_use_one_data_key() {
    for _ in 0..10 {
        let (store, vault) = (store(), Vault::new("a"));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let keyring = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault.clone()));
                tokio::spawn(async move {
                    keyring.ensure(&[spec()], NOW).await.unwrap();
                    keyring
                })
            })
            .collect();
        for task in tasks {
            let keyring = task.await.unwrap();
            assert_eq!(keyring.read().await.unwrap().data_keys().len(), 1);
            assert_eq!(keyring.sealing().ids(), sealed_by(&keyring).await);
        }
    }
}

#[tokio::test]
async fn a_server_that_has_its_data_key_needs_the_service_no_more() {
    let (store, vault) = (store(), Vault::new("a"));
    let keyring = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault.clone()));
    keyring.ensure(&[spec()], NOW).await.unwrap();
    let started = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault.clone()));
    vault.asked.store(0, Ordering::SeqCst);
    started.ensure(&[spec()], NOW).await.unwrap();
    assert_eq!(vault.asked.load(Ordering::SeqCst), 1, "it is opened once");
    vault.away.store(true, Ordering::SeqCst);
    add(&started).await.unwrap();
    assert!(signs(&started.load().await.unwrap()).await);
    // One that starts now cannot.
    let late = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault));
    let why = late.ensure(&[spec()], NOW).await.unwrap_err();
    assert!(matches!(why, KeyringError::DataKey { why: ServiceError::Unavailable(_), .. }), "{why}");
}

/// Documents of other crates, which are authenticated by the same keys.
#[tokio::test]
async fn a_tag_is_judged_by_every_process_that_can_have_its_key_and_by_no_other() {
    let (store, vault) = (store(), Vault::new("a"));
    let process = || StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault.clone()));
    let running = process();
    running.ensure(&[spec()], NOW).await.unwrap();
    let tag = running.tag("family", 1, b"text").unwrap();
    assert!(
        process().authenticates("family", 1, b"text", &tag).await.unwrap(),
        "by one that has read nothing"
    );
    for (label, format, content) in
        [("families", 1, &b"text"[..]), ("family", 2, b"text"), ("family", 1, b"texts")]
    {
        assert!(!running.authenticates(label, format, content, &tag).await.unwrap(), "{label} {format}");
    }
    // After another data key has taken its place, as long as the keyring has it.
    process().reseal(DataKey::New, NOW).await.unwrap();
    let late = process();
    assert!(late.authenticates("family", 1, b"text", &tag).await.unwrap());
    assert!(
        late.authenticates("family", 1, b"text", &late.tag("family", 1, b"text").unwrap()).await.unwrap()
    );
    vault.away.store(true, Ordering::SeqCst);
    let why = process().authenticates("family", 1, b"text", &tag).await.unwrap_err();
    assert!(matches!(why, KeyringError::DataKey { why: ServiceError::Unavailable(_), .. }), "{why}");
    // A key by hand is at hand, or unknown.
    let (own, other) = (Arc::new(SealingKey::generate().unwrap().0), SealingKey::generate().unwrap().0);
    let by_hand = StoredKeyring::new(Arc::clone(&store), Arc::clone(&own));
    let tag = by_hand.tag("family", 1, b"text").unwrap();
    assert!(by_hand.authenticates("family", 1, b"text", &tag).await.unwrap());
    let stranger = StoredKeyring::new(Arc::clone(&store), Arc::new(other));
    assert!(!stranger.authenticates("family", 1, b"text", &tag).await.unwrap());
    assert!(stranger.tag("family", 1, b"text").unwrap() != tag);
}

#[tokio::test]
async fn a_new_data_key_is_fetched_by_servers_that_run_and_seals_what_they_make() {
    let (store, vault) = (store(), Vault::new("a"));
    let running = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault.clone()));
    running.ensure(&[spec()], NOW).await.unwrap();
    let first = sealed_by(&running).await.remove(0);
    let other = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault.clone()));
    let report = other.reseal(DataKey::New, NOW).await.unwrap().unwrap();
    assert!(report.resealed == 1 && report.sealing_key != first);
    assert!(signs(&running.load().await.unwrap()).await);
    add(&running).await.unwrap();
    assert_eq!(sealed_by(&running).await, [report.sealing_key.clone(), report.sealing_key]);
    // Old ones are forgotten in time, those in use never.
    for _ in 0..6 {
        other.reseal(DataKey::New, NOW).await.unwrap();
    }
    assert_eq!(other.read().await.unwrap().data_keys().len(), 4);
    assert!(signs(&running.load().await.unwrap()).await);
}

#[tokio::test]
async fn a_crash_before_the_write_leaves_neither_a_new_data_key_nor_a_resealed_key() {
    let (store, vault) = (store(), Vault::new("a"));
    let running = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault.clone()));
    running.ensure(&[spec()], NOW).await.unwrap();
    let before = running.read().await.unwrap();
    let reached = Arc::new(Notify::new());
    let dies = Arc::clone(&reached);
    let halting = Meddled::with(&store, async move {
        dies.notify_one();
        std::future::pending().await
    });
    let crashed = StoredKeyring::new(halting, Sealing::wrapped(vault.clone()));
    let task = tokio::spawn(async move { crashed.reseal(DataKey::New, NOW).await.map(|_| ()) });
    reached.notified().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(running.read().await.unwrap(), before);
    let next = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault));
    let report = next.reseal(DataKey::New, NOW).await.unwrap().unwrap();
    let newest = next.read().await.unwrap().data_keys().last().unwrap().id.clone();
    assert_eq!((report.resealed, report.sealing_key), (1, newest));
    assert!(signs(&running.load().await.unwrap()).await);
}

#[tokio::test]
async fn a_key_that_was_made_while_others_sealed_again_is_sealed_under_what_seals_now() {
    let (store, vault) = (store(), Vault::new("a"));
    let running = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault.clone()));
    running.ensure(&[spec()], NOW).await.unwrap();
    let other = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault.clone()));
    // It has read the keyring and made a key; before it writes, all is sealed again under a new
    // data key.
    let faster = other.clone();
    let racing = Meddled::with(&store, async move {
        faster.reseal(DataKey::New, NOW).await.unwrap();
    });
    let slow = StoredKeyring::new(racing, Sealing::wrapped(vault));
    slow.load().await.unwrap();
    add(&slow).await.unwrap();
    let newest = other.read().await.unwrap().data_keys().last().unwrap().id.clone();
    assert_eq!(sealed_by(&other).await, [newest.clone(), newest]);
}

/// A store in which something happens just before the first write of the keyring.
struct Meddled {
    store: Arc<dyn Store>,
    first: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

impl Meddled {
    fn with(store: &Arc<dyn Store>, first: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        Arc::new(Self { store: Arc::clone(store), first: Mutex::new(Some(Box::pin(first))) })
    }
}

impl fmt::Debug for Meddled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meddled")
    }
}

#[async_trait]
impl Store for Meddled {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.store.get(key).await
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        let first = if key.as_str() == "keyring" { self.first.lock().unwrap().take() } else { None };
        if let Some(first) = first {
            first.await;
        }
        self.store.put(key, bytes, expect, expires_at).await
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        self.store.delete(key, version).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        self.store.list(prefix).await
    }
}

#[tokio::test]
async fn from_a_file_to_a_service_to_another_service_and_back_with_servers_that_run() {
    let (store, file, one, two) = (store(), key(), Vault::new("one"), Vault::new("two"));
    let with = |sealing: Sealing| StoredKeyring::new(Arc::clone(&store), sealing);
    with(Sealing::new(file.clone())).ensure(&[spec()], NOW).await.unwrap();
    let moves = [
        (
            Sealing::new(file.clone()).also_wrapped(one.clone()),
            Sealing::wrapped(one.clone()).also(file.clone()),
            Sealing::wrapped(one.clone()),
        ),
        (
            Sealing::wrapped(one.clone()).also_wrapped(two.clone()),
            Sealing::wrapped(two.clone()).also_wrapped(one.clone()),
            Sealing::wrapped(two.clone()),
        ),
        (
            Sealing::wrapped(two.clone()).also(file.clone()),
            Sealing::new(file.clone()).also_wrapped(two.clone()),
            Sealing::new(file.clone()),
        ),
    ];
    for (learnt, swapped, alone) in moves {
        let (learnt, swapped, alone) = (with(learnt), with(swapped), with(alone));
        assert!(signs(&learnt.load().await.unwrap()).await && signs(&swapped.load().await.unwrap()).await);
        let why = alone.load().await.unwrap_err();
        let other_key = matches!(why, KeyringError::DataKey { why: ServiceError::OtherKey, .. });
        assert!(is_wrong_key(&why) || other_key, "not before everything is sealed again: {why}");
        add(&swapped).await.unwrap();
        add(&learnt).await.unwrap();
        let report = swapped.reseal(DataKey::Same, NOW).await.unwrap().unwrap();
        assert!(report.resealed > 0 && sealed_by(&swapped).await.iter().all(|id| *id == report.sealing_key));
        assert!(signs(&learnt.load().await.unwrap()).await);
        assert!(signs(&alone.load().await.unwrap()).await);
    }
}

#[tokio::test]
async fn a_data_key_of_the_envelope_that_is_another_one_altered_or_left_out_is_refused() {
    let (store, vault) = (store(), Vault::new("a"));
    let keyring = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault.clone()));
    keyring.ensure(&[spec()], NOW).await.unwrap();
    keyring.reseal(DataKey::New, NOW).await.unwrap();
    let document = Key::parse("keyring").unwrap();
    let good: serde_json::Value =
        serde_json::from_slice(&store.get(&document).await.unwrap().unwrap().bytes).unwrap();
    let damage = async |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = good.clone();
        change(&mut value);
        let version = store.get(&document).await.unwrap().unwrap().version;
        let bytes = serde_json::to_vec(&value).unwrap();
        store.put(&document, &bytes, Expect::Version(version), None).await.unwrap();
        StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(vault.clone())).load().await.unwrap_err()
    };
    let why = damage(&|value| {
        value["data_key"]["ciphertext"] = value["content"]["data_keys"][0]["ciphertext"].clone();
    });
    let why = why.await;
    assert!(matches!(why, KeyringError::DataKey { why: ServiceError::Altered, .. }), "{why}");
    let why = damage(&|value| value["data_key"]["ciphertext"] = "AAAA".into()).await;
    assert!(matches!(why, KeyringError::DataKey { why: ServiceError::Altered, .. }), "{why}");
    let why = damage(&|value| value["data_key"] = serde_json::Value::Null).await;
    assert!(is_wrong_key(&why), "{why}");
    // An older data key of the same service opens, and did not authenticate this.
    let why = damage(&|value| {
        value["data_key"] = value["content"]["data_keys"][0].clone();
        value["sealing_key"] = value["data_key"]["id"].clone();
    });
    let why = why.await;
    assert!(matches!(why, KeyringError::Altered { .. }), "{why}");
    assert!(!format!("{keyring:?}").contains("ciphertext"));
}

#[tokio::test]
async fn a_sealing_key_that_is_made_by_hand_has_no_new_data_key() {
    let keyring = StoredKeyring::new(store(), key());
    keyring.ensure(&[spec()], NOW).await.unwrap();
    assert_eq!(keyring.reseal(DataKey::New, NOW).await.unwrap(), None);
}
