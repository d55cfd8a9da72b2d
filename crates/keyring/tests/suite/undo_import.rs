//! Taking an import back: the key that signed before signs again, and processes that saw the import
//! do not miss it.
#![expect(clippy::unwrap_used, reason = "functions of this file that are no tests serve only tests")]

use countersign_jose::{Algorithm, KeySize, PrivateKey, Timestamp};
use countersign_keyring::{
    Activation, Distribution, Force, ImportedKey, ImportedMaterial, KeyPlace, KeyState, LoadedKeyring, Needs,
    Reloaded, RingName, RingSpec, RotationPolicy, SealingKey, StoredKeyring,
};
use countersign_store::{ManualClock, MemoryStore};
use std::{sync::Arc, time::Duration};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const WRONG: &str = "wrong";

struct World {
    store: Arc<MemoryStore>,
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
    RotationPolicy {
        distribution: Distribution::Published,
        rotate_every: None,
        propagation: HOUR,
        longest_token: HOUR,
        skew: MINUTE,
        signer_lag: MINUTE,
        keep_retired: HOUR * 2,
        observe_every: MINUTE,
    }
}

fn needs() -> Needs {
    Needs::from([(name(), policy().least_keep_retired())])
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))));
        Self { store, sealing: Arc::new(SealingKey::generate().unwrap().0) }
    }

    /// Another process on the same store.
    fn keyring(&self) -> StoredKeyring {
        StoredKeyring::new(Arc::clone(&self.store) as _, Arc::clone(&self.sealing))
    }

    async fn import(&self, activation: Activation, now: Timestamp) {
        let key = PrivateKey::generate(Algorithm::EdDSA, KeySize::default()).unwrap();
        let key = ImportedKey {
            kid: Some(WRONG.to_owned()),
            algorithm: Algorithm::EdDSA,
            material: ImportedMaterial::Private(key),
        };
        self.keyring().import(&name(), &[key], activation, now).await.unwrap();
    }

    async fn prepare(&self) -> String {
        self.keyring().prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid
    }

    async fn state(&self, kid: &str) -> Option<KeyState> {
        self.keyring().read().await.unwrap().find(kid).map(|(_, key)| key.state)
    }
}

fn signs(keyring: &LoadedKeyring) -> String {
    keyring.ring(&name()).unwrap().active().unwrap().kid().to_owned()
}

#[tokio::test]
async fn the_key_that_signed_before_signs_again_whatever_else_waits() {
    for is_published in [false, true] {
        let world = World::new();
        let keyring = world.keyring();
        let first = signs(&keyring.ensure(&[spec()], NOW).await.unwrap());
        let given_up = world.prepare().await;
        keyring.publish(&given_up, NOW).await.unwrap();
        world.import(Activation::Now, NOW).await;
        // It stopped waiting last, and never signed.
        keyring.retire(&given_up, NOW.plus(HOUR)).await.unwrap();
        let waiting = world.prepare().await;
        if is_published {
            keyring.publish(&waiting, NOW).await.unwrap();
        }
        let before = world.state(&waiting).await;
        keyring.undo_import(WRONG, NOW.plus(HOUR * 2)).await.unwrap();
        assert_eq!(world.state(&first).await, Some(KeyState::Active), "is_published {is_published}");
        assert_eq!(world.state(&waiting).await, before, "is_published {is_published}");
        assert_eq!(world.state(WRONG).await, None);
    }
}

#[tokio::test]
async fn of_two_that_signed_the_later_one_signs_again() {
    let world = World::new();
    let keyring = world.keyring();
    keyring.ensure(&[spec()], NOW).await.unwrap();
    let second = world.prepare().await;
    keyring.activate(&second, &policy(), Force::Yes, NOW.plus(MINUTE)).await.unwrap();
    world.import(Activation::Now, NOW.plus(HOUR)).await;
    keyring.undo_import(WRONG, NOW.plus(HOUR)).await.unwrap();
    assert_eq!(world.state(&second).await, Some(KeyState::Active));
}

#[tokio::test]
async fn where_no_key_signed_before_the_one_that_waits_takes_over() {
    let world = World::new();
    world.import(Activation::IfRingHasNone, NOW).await;
    let waiting = world.prepare().await;
    world.keyring().undo_import(WRONG, NOW).await.unwrap();
    assert_eq!(world.state(&waiting).await, Some(KeyState::Active));
}

/// Also when it is retired by then: it has signed, as far as a server can know.
#[tokio::test]
async fn a_server_that_has_seen_it_sign_takes_over_that_it_is_gone() {
    for is_retired in [false, true] {
        let world = World::new();
        let server = world.keyring();
        server.ensure(&[spec()], NOW).await.unwrap();
        world.import(Activation::Now, NOW).await;
        server.load_to_mint(&needs(), NOW).await.unwrap();
        if is_retired {
            let next = world.prepare().await;
            world.keyring().activate(&next, &policy(), Force::Yes, NOW).await.unwrap();
        }
        let known = server.load_to_mint(&needs(), NOW).await.unwrap();
        world.keyring().undo_import(WRONG, NOW).await.unwrap();
        let Reloaded { keys, problem, .. } = server.reload_since(&known, &needs(), NOW, MINUTE, NOW).await;
        assert!(problem.is_none(), "is_retired {is_retired}: {problem:?}");
        let keys = keys.unwrap();
        assert_ne!(signs(&keys), WRONG);
        let shown = keys.ring(&name()).unwrap().public_keys();
        assert!(shown.iter().all(|key| key.jwk.kid != WRONG), "is_retired {is_retired}: {shown:?}");
    }
}

#[tokio::test]
async fn the_loss_of_a_key_that_signed_nothing_is_accepted_until_another_one_has_its_name() {
    let world = World::new();
    world.keyring().ensure(&[spec()], NOW).await.unwrap();
    let accepted = async || -> Vec<String> {
        world.keyring().read().await.unwrap().accepted_losses().map(str::to_owned).collect()
    };
    world.import(Activation::IfRingHasNone, NOW).await;
    world.keyring().undo_import(WRONG, NOW).await.unwrap();
    assert_eq!(accepted().await, [""; 0], "nobody misses one that never could have signed");
    world.import(Activation::Now, NOW).await;
    world.keyring().undo_import(WRONG, NOW).await.unwrap();
    assert_eq!(accepted().await, [WRONG]);
    world.import(Activation::Now, NOW).await;
    assert_eq!(accepted().await, [""; 0]);
}
