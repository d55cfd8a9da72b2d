//! A store that goes back, on any engine: one suite that the tests of every engine call.
//!
//! Library code behind the feature `conformance`, as the suite of the store is. In each way in
//! which a store may come to hold less than a server has seen there, the server notices it, goes on
//! signing with the key it has, shows every key it knows and none that was revoked, and is as
//! before once the store is put right. A way that is not here is not promised. Called by the
//! contract tests of the engines and by tests/went_back.rs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a suite of tests says what it expects by failing")]

use crate::{
    Activation, Distribution, Force, ImportedKey, ImportedMaterial, KeyPlace, KeyringError, LoadedKeyring,
    Needs, Reloaded, RingName, RingSpec, RotationPolicy, SealingKey, StoredKeyring, document,
};
use countersign_jose::{Algorithm, KeySize, PrivateKey, Timestamp};
use countersign_store::{Expect, Store};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// When everything happens.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);
/// More than any number that the case itself comes to.
const HIGH: u64 = 1000;

/// In which way the store goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The document is deleted.
    Deleted,
    /// The document is a keyring without a key; its number is higher.
    Emptied,
    /// The same of another keyring.
    EmptiedByAnother,
    /// The document is a keyring in which no key signs; its number is higher.
    WithoutActiveKey,
    /// A copy from before a rotation is restored.
    BeforeRotation,
    /// The same, and the copy is changed until its number is higher than any that was seen.
    BeforeRotationAndChanged,
    /// A copy from before a revocation is restored.
    BeforeRevocation,
    /// The same, and the copy is changed until its number is higher than any that was seen.
    BeforeRevocationAndChanged,
    /// A copy is restored and changed until its number is the one that was seen.
    SameNumber,
    /// Another process makes a keyring where there was none.
    AnotherKeyring,
    /// The same, and its number is higher than any that was seen.
    AnotherKeyringAndNewer,
}

impl Way {
    const ALL: [Self; 11] = [
        Self::Deleted,
        Self::Emptied,
        Self::EmptiedByAnother,
        Self::WithoutActiveKey,
        Self::BeforeRotation,
        Self::BeforeRotationAndChanged,
        Self::BeforeRevocation,
        Self::BeforeRevocationAndChanged,
        Self::SameNumber,
        Self::AnotherKeyring,
        Self::AnotherKeyringAndNewer,
    ];
}

/// A store, and what was copied from it on the way.
struct Scene {
    store: Arc<dyn Store>,
    sealing: Arc<SealingKey>,
    empty: Vec<u8>,
    before_rotation: Vec<u8>,
    before_revocation: Vec<u8>,
    newest: Vec<u8>,
    sequence: u64,
    /// The key that was revoked.
    leaked: String,
    /// The key that signed first.
    first: String,
}

fn ring() -> RingName {
    "default".parse().unwrap()
}

fn spec() -> RingSpec {
    let (algorithm, size) = (Algorithm::EdDSA, KeySize::default());
    RingSpec { name: ring(), algorithm, size, make_first_key: true, place: KeyPlace::Here }
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
    Needs::from([(ring(), policy().least_keep_retired())])
}

fn shown(keyring: &LoadedKeyring) -> BTreeSet<String> {
    let keys = keyring.rings().flat_map(|(_, ring)| ring.public_keys());
    keys.map(|key| key.jwk.kid.clone()).collect()
}

fn signs(keyring: &LoadedKeyring) -> Option<String> {
    Some(keyring.ring(&ring())?.active()?.kid().to_owned())
}

impl Scene {
    /// A server that has seen a key sign, another one take over, a third that waits, and a fourth
    /// that was revoked.
    async fn new(store: Arc<dyn Store>) -> (Self, StoredKeyring, LoadedKeyring) {
        let sealing = Arc::new(SealingKey::generate().unwrap().0);
        let server = StoredKeyring::new(Arc::clone(&store), Arc::clone(&sealing));
        let mut scene = Self {
            store,
            sealing,
            empty: Vec::new(),
            before_rotation: Vec::new(),
            before_revocation: Vec::new(),
            newest: Vec::new(),
            sequence: 0,
            leaked: "leaked".to_owned(),
            first: String::new(),
        };
        server.accept_losses(&[], 0, NOW).await.unwrap();
        scene.empty = scene.bytes().await;
        server.ensure(&[spec()], NOW).await.unwrap();
        let loaded = server.load_to_mint(&needs(), NOW).await.unwrap();
        scene.first = signs(&loaded).unwrap();
        scene.before_rotation = scene.bytes().await;
        let next = server.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
        server.activate(&next, &policy(), Force::Yes, NOW).await.unwrap();
        let waiting = server.prepare(&spec(), Distribution::Published, NOW).await.unwrap().kid;
        server.publish(&waiting, NOW).await.unwrap();
        let key = PrivateKey::generate(Algorithm::EdDSA, KeySize::default()).unwrap();
        let leaked = ImportedKey {
            kid: Some(scene.leaked.clone()),
            algorithm: Algorithm::EdDSA,
            material: ImportedMaterial::Private(key),
        };
        server.import(&ring(), &[leaked], Activation::IfRingHasNone, NOW).await.unwrap();
        server.load_to_mint(&needs(), NOW).await.unwrap();
        scene.before_revocation = scene.bytes().await;
        // Marks are gone once they are absorbed, so that nothing but the document says it.
        server.revoke(&scene.leaked, NOW).await.unwrap();
        let loaded = server.load_to_mint(&needs(), NOW).await.unwrap();
        scene.newest = scene.bytes().await;
        scene.sequence = server.known_sequence();
        (scene, server, loaded)
    }

    /// A process that has seen nothing.
    fn process(&self) -> StoredKeyring {
        StoredKeyring::new(Arc::clone(&self.store), Arc::clone(&self.sealing))
    }

    async fn bytes(&self) -> Vec<u8> {
        self.store.get(&document::name().unwrap()).await.unwrap().unwrap().bytes
    }

    async fn delete(&self) {
        let name = document::name().unwrap();
        if let Some(found) = self.store.get(&name).await.unwrap() {
            self.store.delete(&name, &found.version).await.unwrap();
        }
    }

    /// Puts a copy in the place of what is there.
    async fn restore(&self, copy: &[u8]) {
        self.delete().await;
        self.store.put(&document::name().unwrap(), copy, Expect::Absent, None).await.unwrap();
    }

    /// Somebody works on what is there until it has this number.
    async fn change_until(&self, sequence: u64) {
        self.process().accept_losses(&[], sequence - 1, NOW).await.unwrap();
    }

    async fn go_back(&self, way: Way) {
        match way {
            Way::Deleted => self.delete().await,
            Way::Emptied => {
                self.restore(&self.empty).await;
                self.change_until(HIGH).await;
            }
            Way::EmptiedByAnother => {
                self.delete().await;
                self.change_until(HIGH).await;
            }
            Way::WithoutActiveKey => {
                self.restore(&self.before_rotation).await;
                self.process().revoke(&self.first, NOW).await.unwrap();
                self.change_until(HIGH).await;
            }
            Way::BeforeRotation => self.restore(&self.before_rotation).await,
            Way::BeforeRotationAndChanged => {
                self.restore(&self.before_rotation).await;
                self.change_until(HIGH).await;
            }
            Way::BeforeRevocation => self.restore(&self.before_revocation).await,
            Way::BeforeRevocationAndChanged => {
                self.restore(&self.before_revocation).await;
                self.change_until(HIGH).await;
            }
            Way::SameNumber => {
                self.restore(&self.before_rotation).await;
                self.change_until(self.sequence).await;
            }
            Way::AnotherKeyring | Way::AnotherKeyringAndNewer => {
                self.delete().await;
                self.process().ensure(&[spec()], NOW).await.unwrap();
                if way == Way::AnotherKeyringAndNewer {
                    self.change_until(HIGH).await;
                }
            }
        }
    }

    /// One way, from the first key to the store that is put right.
    async fn run(store: Arc<dyn Store>, way: Way) {
        let (scene, server, known) = Self::new(store).await;
        scene.go_back(way).await;
        let mut expected = shown(&known);
        if way == Way::WithoutActiveKey {
            // A revocation counts wherever it is read.
            expected.remove(&scene.first);
        }
        let another = matches!(way, Way::AnotherKeyring | Way::AnotherKeyringAndNewer);
        for look in 0..2 {
            let Reloaded { keys, problem, .. } =
                server.reload_since(&known, &needs(), NOW, policy().skew, NOW).await;
            let is_noticed = matches!(problem, Some(KeyringError::WentBack(_)));
            assert!(is_noticed, "{way:?}, look {look}: {problem:?}");
            let Some(keys) = keys else { panic!("{way:?}, look {look}: there are no keys to go on with") };
            assert_eq!(signs(&keys), signs(&known), "{way:?}, look {look}: what signs goes on signing");
            let together = shown(&keys);
            assert!(together.is_superset(&expected), "{way:?}, look {look}: {together:?}");
            let new = together.difference(&expected).count();
            assert_eq!(new, usize::from(another), "{way:?}, look {look}: {together:?}");
            assert!(!together.contains(&scene.leaked), "{way:?}, look {look}: a revoked key came back");
        }
        scene.restore(&scene.newest).await;
        let Reloaded { keys, problem, .. } =
            server.reload_since(&known, &needs(), NOW, policy().skew, NOW).await;
        assert!(problem.is_none(), "{way:?}, put right: {problem:?}");
        let keys = keys.unwrap_or(known.clone());
        let same = (shown(&keys), signs(&keys)) == (shown(&known), signs(&known));
        assert!(same, "{way:?}, put right: {:?}", shown(&keys));
    }
}

/// Lets a store go back in every way. `open` makes an empty store, each time a new one.
///
/// # Panics
///
/// When a server takes over what it must not; the message names the way.
pub async fn run(open: impl AsyncFn() -> Arc<dyn Store>) {
    for way in Way::ALL {
        Scene::run(open().await, way).await;
    }
}
