//! The store going back under a process that has read it: each way is noticed, no key is dropped, and what was revoked stays so.
#![expect(clippy::unwrap_used, reason = "functions of this file that are no tests serve only tests")]

use countersign_jose::{Algorithm, KeySize, Timestamp};
use countersign_keyring::{
    Force, KeyPlace, KeyringError, LoadedKeyring, Needs, Reloaded, RingName, RingSpec, RotationPolicy,
    SealingKey, StoredKeyring,
};
use countersign_store::{Document, Expect, Key, ManualClock, MemoryStore, SqliteConfig, SqliteStore, Store};
use std::{sync::Arc, time::Duration};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

struct World {
    store: Arc<dyn Store>,
    sealing: Arc<SealingKey>,
    _folder: tempfile::TempDir,
}

fn name() -> RingName {
    "default".parse().unwrap()
}

fn spec() -> RingSpec {
    RingSpec {
        name: name(),
        algorithm: Algorithm::EdDSA,
        size: KeySize::default(),
        make_first_key: true,
        place: KeyPlace::Here,
    }
}

fn policy() -> RotationPolicy {
    let policy = RotationPolicy {
        rotate_every: None,
        propagation: Duration::ZERO,
        longest_token: HOUR,
        skew: Duration::from_secs(60),
        signer_lag: HOUR,
        keep_retired: Duration::ZERO,
        observe_every: Duration::from_secs(60),
    };
    RotationPolicy { keep_retired: policy.least_keep_retired(), ..policy }
}

fn needs() -> Needs {
    [(name(), policy().least_keep_retired())].into_iter().collect()
}

impl World {
    async fn new(on_disk: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let store: Arc<dyn Store> = if on_disk {
            Arc::new(
                SqliteStore::open(SqliteConfig::new(folder.path().join("keys.db")), clock).await.unwrap(),
            )
        } else {
            Arc::new(MemoryStore::new(clock))
        };
        Self { store, sealing: Arc::new(SealingKey::generate().unwrap().0), _folder: folder }
    }

    /// Another process on the same store.
    fn keyring(&self) -> StoredKeyring {
        StoredKeyring::new(Arc::clone(&self.store), Arc::clone(&self.sealing))
    }

    async fn document(&self) -> Option<Document> {
        self.store.get(&Key::parse("keyring").unwrap()).await.unwrap()
    }

    /// Puts a document there, or takes away what is.
    async fn put(&self, bytes: Option<&[u8]>) {
        let key = Key::parse("keyring").unwrap();
        if let Some(found) = self.document().await {
            self.store.delete(&key, &found.version).await.unwrap();
        }
        if let Some(bytes) = bytes {
            self.store.put(&key, bytes, Expect::Absent, None).await.unwrap();
        }
    }

    async fn bytes(&self) -> Vec<u8> {
        self.document().await.unwrap().bytes
    }
}

/// A server that has seen a key sign, another one take over, and a third that waits.
async fn server(world: &World) -> (StoredKeyring, LoadedKeyring, Vec<u8>) {
    let keyring = world.keyring();
    keyring.ensure(&[spec()], NOW).await.unwrap();
    let older = world.bytes().await;
    keyring.load_to_mint(&needs(), NOW).await.unwrap();
    let next = keyring.prepare(&spec(), NOW).await.unwrap().kid;
    keyring.activate(&next, &policy(), Force::Yes, NOW).await.unwrap();
    let waiting = keyring.prepare(&spec(), NOW).await.unwrap().kid;
    keyring.publish(&waiting, NOW).await.unwrap();
    let loaded = keyring.load_to_mint(&needs(), NOW).await.unwrap();
    (keyring, loaded, older)
}

fn shown(keyring: &LoadedKeyring) -> Vec<String> {
    let keys = keyring.ring(&name()).unwrap().public_keys();
    keys.iter().map(|key| key.jwk.kid.clone()).collect()
}

fn signs(keyring: &LoadedKeyring) -> String {
    keyring.ring(&name()).unwrap().active().unwrap().kid().to_owned()
}

/// A keyring of the same sealing key that somebody else makes in an empty store.
async fn another_authority(world: &World, changes: usize) -> Vec<u8> {
    world.put(None).await;
    let other = world.keyring();
    other.ensure(&[spec()], NOW).await.unwrap();
    for _ in 0..changes {
        let made = other.prepare(&spec(), NOW).await.unwrap().kid;
        other.remove(&made, Duration::ZERO, NOW).await.unwrap();
    }
    world.bytes().await
}

#[tokio::test]
async fn a_store_that_goes_back_in_any_way_takes_no_key_away_and_is_noticed() {
    for on_disk in [false, true] {
        let ways =
            ["gone", "older", "older and changed since", "another authority", "another authority, newer"];
        for way in ways {
            let world = World::new(on_disk).await;
            let (keyring, known, older) = server(&world).await;
            let newest = world.bytes().await;
            match way {
                "gone" => world.put(None).await,
                "older" => world.put(Some(&older)).await,
                "older and changed since" => {
                    world.put(Some(&older)).await;
                    let other = world.keyring();
                    for _ in 0..5 {
                        let made = other.prepare(&spec(), NOW).await.unwrap().kid;
                        other.remove(&made, Duration::ZERO, NOW).await.unwrap();
                    }
                }
                "another authority" => drop(another_authority(&world, 0).await),
                _ => drop(another_authority(&world, 10).await),
            }
            for _ in 0..2 {
                let Reloaded { keys, problem, .. } = keyring.reload_since(&known, &needs(), NOW, NOW).await;
                assert!(matches!(problem, Some(KeyringError::WentBack(_))), "{on_disk} {way}: {problem:?}");
                let keys = keys.unwrap();
                assert_eq!(signs(&keys), signs(&known), "{way}");
                let together = shown(&keys);
                assert!(shown(&known).iter().all(|kid| together.contains(kid)), "{way}: {together:?}");
                let is_other = way.starts_with("another");
                assert_eq!(together.len(), 3 + usize::from(is_other), "{way}: what is new is shown too");
            }
            // Put right, it is as if nothing had been.
            world.put(Some(&newest)).await;
            let Reloaded { keys, problem, .. } = keyring.reload_since(&known, &needs(), NOW, NOW).await;
            assert!(problem.is_none(), "{way}: {problem:?}");
            assert_eq!(shown(&keys.unwrap()), shown(&known), "{way}");
        }
    }
}

#[tokio::test]
async fn a_loss_is_accepted_by_name_and_with_a_higher_number_only() {
    for others in [0, 10] {
        let world = World::new(false).await;
        let (keyring, known, _) = server(&world).await;
        another_authority(&world, others).await;
        let signed: Vec<String> = known.records().to_accept().into_iter().map(str::to_owned).collect();
        assert_eq!(signed.len(), 2);
        let went_back = async || keyring.reload_since(&known, &needs(), NOW, NOW).await.problem.is_some();
        let other = world.keyring();
        other.accept_losses(&signed[..1], keyring.known_sequence(), NOW).await.unwrap();
        assert!(went_back().await, "one of two");
        other.accept_losses(&signed, keyring.known_sequence(), NOW).await.unwrap();
        let Reloaded { keys, problem, .. } = keyring.reload_since(&known, &needs(), NOW, NOW).await;
        assert!(problem.is_none(), "{problem:?}");
        assert_eq!(shown(&keys.unwrap()).len(), 1);
    }
}

#[tokio::test]
async fn a_key_that_was_revoked_never_comes_back_with_an_older_store() {
    let world = World::new(false).await;
    let (keyring, before, _) = server(&world).await;
    let with_it = world.bytes().await;
    let revoked = signs(&before);
    world.keyring().revoke(&revoked, NOW).await.unwrap();
    let Reloaded { keys, problem, .. } = keyring.reload_since(&before, &needs(), NOW, NOW).await;
    assert!(problem.is_none(), "a revocation is no loss: {problem:?}");
    let known = keys.unwrap();
    assert!(!shown(&known).contains(&revoked));
    world.put(Some(&with_it)).await;
    let Reloaded { keys, problem, .. } = keyring.reload_since(&known, &needs(), NOW, NOW).await;
    assert!(matches!(problem, Some(KeyringError::WentBack(_))));
    assert!(!shown(&keys.unwrap()).contains(&revoked));
}

#[tokio::test]
async fn what_is_explained_is_no_loss() {
    let world = World::new(false).await;
    let (keyring, known, _) = server(&world).await;
    let other = world.keyring();
    let all = known.ring(&name()).unwrap().public_keys().len();
    // One that waits is removed after it was given up, and the retired one when nobody needs it.
    let late = NOW.plus(policy().keep_retired * 2);
    other.advance(&spec(), &policy(), late, &mut Vec::new()).await.unwrap();
    let Reloaded { keys, problem, .. } = keyring.reload_since(&known, &needs(), NOW, late).await;
    assert!(problem.is_none(), "{problem:?}");
    assert!(shown(&keys.unwrap()).len() < all);
}

#[tokio::test]
async fn a_ring_whose_successor_waits_takes_it_and_makes_no_other_key() {
    let world = World::new(false).await;
    let keyring = world.keyring();
    keyring.ensure(&[spec()], NOW).await.unwrap();
    let active = signs(&keyring.load().await.unwrap());
    keyring.revoke(&active, NOW).await.unwrap();
    assert!(keyring.load().await.unwrap().ring(&name()).is_none_or(|ring| ring.active().is_none()));
    let waiting = keyring.prepare(&spec(), NOW).await.unwrap().kid;
    let loaded = keyring.ensure(&[spec()], NOW).await.unwrap();
    assert_eq!(signs(&loaded), waiting);
    assert_eq!(loaded.records().rings().flat_map(|(_, ring)| ring.keys()).count(), 1);
}
