//! The store going back under a process that has read it: each way is noticed, no key is dropped,
//! and what was revoked stays so.
#![expect(clippy::unwrap_used, reason = "functions of this file that are no tests serve only tests")]

use countersign_jose::{Algorithm, KeySize, Timestamp};
use countersign_keyring::{
    Distribution, Force, KeyPlace, LoadedKeyring, Needs, Reloaded, RingName, RingSpec, RotationPolicy,
    SealingKey, StoredKeyring, conformance,
};
use countersign_store::{Document, Expect, Key, ManualClock, MemoryStore, SqliteConfig, SqliteStore, Store};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

struct World {
    store: Arc<dyn Store>,
    sealing: Arc<SealingKey>,
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
        distribution: Distribution::Published,
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
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))));
        Self { store, sealing: Arc::new(SealingKey::generate().unwrap().0) }
    }

    /// Another process on the same store.
    fn keyring(&self) -> StoredKeyring {
        StoredKeyring::new(Arc::clone(&self.store), Arc::clone(&self.sealing))
    }

    async fn document(&self) -> Option<Document> {
        self.store.get(&Key::parse("keyring").unwrap()).await.unwrap()
    }

    async fn delete(&self) {
        if let Some(found) = self.document().await {
            self.store.delete(&Key::parse("keyring").unwrap(), &found.version).await.unwrap();
        }
    }
}

/// A server that has seen a key sign, another one take over, and a third that waits.
async fn server(world: &World) -> (StoredKeyring, LoadedKeyring) {
    let keyring = world.keyring();
    keyring.ensure(&[spec()], NOW).await.unwrap();
    keyring.load_to_mint(&needs(), NOW).await.unwrap();
    let next = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
    keyring.activate(&next, &policy(), Force::Yes, NOW).await.unwrap();
    let waiting = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
    keyring.publish(&waiting, NOW).await.unwrap();
    let loaded = keyring.load_to_mint(&needs(), NOW).await.unwrap();
    (keyring, loaded)
}

fn shown(keyring: &LoadedKeyring) -> Vec<String> {
    let keys = keyring.ring(&name()).unwrap().public_keys();
    keys.iter().map(|key| key.jwk.kid.clone()).collect()
}

/// A keyring of the same sealing key that somebody else makes in an empty store.
async fn another_authority(world: &World, changes: usize) {
    world.delete().await;
    let other = world.keyring();
    other.ensure(&[spec()], NOW).await.unwrap();
    for _ in 0..changes {
        let made = other.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
        other.remove(&made, Duration::ZERO, Duration::ZERO, NOW).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_goes_back_in_any_way_takes_no_key_away_and_is_noticed() {
    let clock = || Arc::new(ManualClock::at(NOW));
    conformance::run(async || Arc::new(MemoryStore::new(clock())) as Arc<dyn Store>).await;
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicU32::new(0);
    conformance::run(async || {
        let file = folder.path().join(format!("{}.db", count.fetch_add(1, Ordering::Relaxed)));
        Arc::new(SqliteStore::open(SqliteConfig::new(file), clock()).await.unwrap()) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn a_loss_is_accepted_by_name_and_with_a_higher_number_only() {
    for others in [0, 10] {
        let world = World::new();
        let (keyring, known) = server(&world).await;
        another_authority(&world, others).await;
        let signed: Vec<String> = known.records().to_accept().into_iter().map(str::to_owned).collect();
        assert_eq!(signed.len(), 2);
        let went_back =
            async || keyring.reload_since(&known, &needs(), NOW, policy().skew, NOW).await.problem.is_some();
        let other = world.keyring();
        other.accept_losses(&signed[..1], keyring.known_sequence(), NOW).await.unwrap();
        assert!(went_back().await, "one of two");
        other.accept_losses(&signed, keyring.known_sequence(), NOW).await.unwrap();
        let Reloaded { keys, problem, .. } =
            keyring.reload_since(&known, &needs(), NOW, policy().skew, NOW).await;
        assert!(problem.is_none(), "{problem:?}");
        assert_eq!(shown(&keys.unwrap()).len(), 1);
    }
}

#[tokio::test]
async fn what_is_explained_is_no_loss() {
    let world = World::new();
    let (keyring, known) = server(&world).await;
    let other = world.keyring();
    let all = known.ring(&name()).unwrap().public_keys().len();
    // One that waits is removed after it was given up, and the retired one when nobody needs it.
    let late = NOW.plus(policy().keep_retired * 2);
    other.advance(&spec(), &policy(), late, &mut Vec::new()).await.unwrap();
    let Reloaded { keys, problem, .. } =
        keyring.reload_since(&known, &needs(), NOW, policy().skew, late).await;
    assert!(problem.is_none(), "{problem:?}");
    assert!(shown(&keys.unwrap()).len() < all);
}

/// A copy from before the revocation was restored and went on from there, so that its number is
/// higher.
#[tokio::test]
async fn a_revoked_key_that_is_back_is_revoked_again_and_then_all_is_well() {
    let world = World::new();
    let (keyring, known) = server(&world).await;
    let before = world.document().await.unwrap().bytes;
    let retired = known.records().rings().flat_map(|(_, ring)| ring.keys()).next().unwrap().kid.clone();
    keyring.revoke(&retired, NOW).await.unwrap();
    let known = keyring.load_to_mint(&needs(), NOW).await.unwrap();
    world.delete().await;
    world.store.put(&Key::parse("keyring").unwrap(), &before, Expect::Absent, None).await.unwrap();
    let other = world.keyring();
    other.accept_losses(&[], 1000, NOW).await.unwrap();
    let Reloaded { keys, problem, .. } =
        keyring.reload_since(&known, &needs(), NOW, policy().skew, NOW).await;
    let problem = problem.unwrap().to_string();
    assert!(problem.contains("revoke them again") && problem.contains(&retired), "{problem}");
    assert!(!shown(&keys.unwrap()).contains(&retired));
    // Accepting it as a loss is not what it takes.
    other.accept_losses(std::slice::from_ref(&retired), 1000, NOW).await.unwrap();
    assert!(keyring.reload_since(&known, &needs(), NOW, policy().skew, NOW).await.problem.is_some());
    other.revoke(&retired, NOW).await.unwrap();
    let Reloaded { keys, problem, .. } =
        keyring.reload_since(&known, &needs(), NOW, policy().skew, NOW).await;
    assert!(problem.is_none(), "{problem:?}");
    assert_eq!(shown(&keys.unwrap()), shown(&known));
}

/// Each of two machines may be off by half of what clocks may differ. The key was active or retired
/// when the server read it.
#[tokio::test]
async fn a_key_that_another_machine_removes_within_the_allowed_skew_is_no_loss() {
    for was_active in [false, true] {
        let world = World::new();
        let keyring = world.keyring();
        keyring.ensure(&[spec()], NOW).await.unwrap();
        let active = keyring.load_to_mint(&needs(), NOW).await.unwrap();
        let first = active.records().to_accept()[0].to_owned();
        let next = keyring.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
        let other = world.keyring();
        other.activate(&next, &policy(), Force::Yes, NOW).await.unwrap();
        let known = if was_active { active } else { keyring.load_to_mint(&needs(), NOW).await.unwrap() };
        let gone = NOW.plus(policy().keep_retired);
        let mut done = Vec::new();
        other.advance(&spec(), &policy(), gone, &mut done).await.unwrap();
        assert!(done.iter().any(|done| done.kid == first), "{done:?}");
        let problem = async |now| {
            let reloaded = keyring.reload_since(&known, &needs(), NOW, policy().skew, now).await;
            reloaded.problem.map(|why| why.to_string())
        };
        let earliest = gone.minus(policy().skew);
        // First what is noticed, because what was taken over is known from then on.
        let why = problem(earliest.minus(Duration::from_secs(1))).await.unwrap();
        assert!(why.contains(&first), "was_active {was_active}: {why}");
        assert_eq!(problem(earliest).await, None, "was_active {was_active}");
    }
}
