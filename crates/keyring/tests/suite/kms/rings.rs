//! Rings whose keys are in KMS: made once, rotated, certified, revoked, imported; and no KMS key
//! that nobody mentions.

use super::place::{ISSUER, NOW, Place, keyring, ring, spec, store, token};
use countersign_jose::{Algorithm, KeySize};
use countersign_keyring::{
    Activation, Distribution, Force, Imported, ImportedKey, ImportedMaterial, Keyring, KeyringError,
    Prepared, RotationPolicy, Sealing, SealingKey, ServiceError, StoredKeyring,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

fn names(keyring: &Keyring) -> BTreeSet<String> {
    let keys = keyring.rings().flat_map(|(_, ring)| ring.keys());
    keys.map(|key| key.remote_name().unwrap().to_owned()).collect()
}

/// The keys of the answers to CreateKey are found by their tags: everything of this test's KMS that
/// is not about to be deleted.
async fn alive(place: &Place, names: &BTreeSet<String>) -> BTreeSet<String> {
    let mut alive = BTreeSet::new();
    for name in names {
        let key = place.client.describe_key().key_id(name).send().await.unwrap().key_metadata.unwrap();
        if key.deletion_date.is_none() {
            alive.insert(name.clone());
        }
    }
    alive
}

/// Every key that was made through the relay, by what was asked about it right after.
fn made(place: &Place) -> BTreeSet<String> {
    place.asked("GetPublicKey").iter().map(|body| body["KeyId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_make_the_first_key_at_once_keep_one_and_the_others_are_given_up() {
    let (place, store) = (Place::new().await, store());
    let sealing = Arc::new(SealingKey::generate().unwrap().0);
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let keyring = StoredKeyring::new(Arc::clone(&store), Sealing::new(Arc::clone(&sealing)));
            let keyring = keyring.with_service(place.service());
            tokio::spawn(async move { keyring.ensure(&[spec(Algorithm::ES256)], NOW).await.unwrap() })
        })
        .collect();
    for task in tasks {
        let loaded = task.await.unwrap();
        token(loaded.ring(&ring()).unwrap().active().unwrap().as_ref(), "{}").await.unwrap();
    }
    let keyring = StoredKeyring::new(store, Sealing::new(sealing));
    let kept = names(&keyring.read().await.unwrap());
    assert_eq!(kept.len(), 1);
    assert_eq!(made(&place).len(), place.asked("CreateKey").len());
    assert_eq!(alive(&place, &made(&place)).await, kept);
    assert!(place.asked("ScheduleKeyDeletion").iter().all(|body| body["PendingWindowInDays"] == 7));
}

#[tokio::test]
async fn a_ring_in_kms_is_rotated_by_new_keys_and_its_certificates_are_signed_once() {
    let (place, store) = (Place::new().await, store());
    let keyring = keyring(&store, place.service());
    let spec = spec(Algorithm::ES256);
    keyring.ensure(std::slice::from_ref(&spec), NOW).await.unwrap();
    assert_eq!(place.asked("Sign").len(), 1, "the certificate");
    let Prepared { kid: next, made: is_new } =
        keyring.prepare(&spec, Distribution::Published, NOW).await.unwrap();
    assert!(is_new);
    let again = keyring.prepare(&spec, Distribution::Published, NOW).await.unwrap();
    assert_eq!(again, Prepared { kid: next.clone(), made: false });
    assert_eq!(place.asked("CreateKey").len(), 2);
    let policy = RotationPolicy {
        distribution: Distribution::Published,
        rotate_every: None,
        propagation: Duration::ZERO,
        longest_token: Duration::from_secs(60),
        skew: Duration::ZERO,
        signer_lag: Duration::ZERO,
        keep_retired: Duration::from_secs(60),
        observe_every: Duration::from_secs(60),
    };
    keyring.publish(&next, NOW).await.unwrap();
    keyring.activate(&next, &policy, Force::Yes, NOW).await.unwrap();
    let loaded = keyring.load().await.unwrap();
    let active = loaded.ring(&ring()).unwrap().active().unwrap();
    assert_eq!(active.kid(), next);
    token(active.as_ref(), "{}").await.unwrap();
    assert_eq!(place.asked("Sign").len(), 3, "two certificates, one token");
    for key in loaded.ring(&ring()).unwrap().public_keys() {
        let certificate = key.certificate.as_ref().unwrap();
        assert!(certificate.certifies(&key.jwk.key));
        assert_eq!(key.jwk.kid, key.jwk.key.thumbprint());
    }
    // The one that signs is revoked: another is made and signs.
    assert!(keyring.revoke(&next, NOW).await.unwrap().record.is_ok());
    assert!(keyring.replace(&spec, NOW).await.unwrap().is_some_and(|kid| kid != next));
    assert_eq!(place.asked("CreateKey").len(), 3);
    let records = keyring.read().await.unwrap();
    let revoked = records.revocation(&next).unwrap().remote_name().unwrap().to_owned();
    let kept: BTreeSet<String> = names(&records).into_iter().chain([revoked]).collect();
    assert_eq!(alive(&place, &made(&place)).await, kept, "what was revoked is still there");
}

#[tokio::test]
async fn starting_asks_nothing_of_kms() {
    let (place, store) = (Place::new().await, store());
    let sealing = Arc::new(SealingKey::generate().unwrap().0);
    let keyring =
        || StoredKeyring::new(Arc::clone(&store), Arc::clone(&sealing)).with_service(place.service());
    keyring().ensure(&[spec(Algorithm::ES256)], NOW).await.unwrap();
    let before = place.relay.asked().len();
    place.relay.refuse();
    let loaded = keyring().ensure(&[spec(Algorithm::ES256)], NOW).await.unwrap();
    assert!(loaded.ring(&ring()).unwrap().active().is_some());
    assert_eq!(place.relay.asked().len(), before);
    // Without KMS in the program it does not open, and says why.
    let without = StoredKeyring::new(Arc::clone(&store), sealing);
    let why = without.load().await.unwrap_err();
    assert!(
        matches!(&why, KeyringError::NoService { name, .. } if name.starts_with("arn:aws:kms:")),
        "{why}"
    );
    assert_eq!(why.code(), "keyring_without_kms");
}

#[tokio::test]
async fn a_key_that_cannot_be_used_in_the_end_is_given_up() {
    let (place, store) = (Place::new().await, store());
    let keyring = keyring(&store, place.service());
    // Its certificate cannot be signed: the first answers pass (CreateKey, GetPublicKey), then
    // there is no KMS.
    let spoiled = Spoiled { inner: place.service() };
    let spoiled =
        StoredKeyring::new(Arc::clone(&store), Sealing::new(Arc::new(SealingKey::generate().unwrap().0)))
            .with_service(Arc::new(spoiled));
    let why = spoiled.ensure(&[spec(Algorithm::ES256)], NOW).await.unwrap_err();
    assert!(matches!(why, KeyringError::Service(ServiceError::Unavailable(_))), "{why}");
    assert_eq!(alive(&place, &made(&place)).await, BTreeSet::new());
    assert!(!keyring.read().await.unwrap().is_stored(), "nothing was written");
    keyring.ensure(&[spec(Algorithm::ES256)], NOW).await.unwrap();
}

/// A service that makes keys and signs nothing.
#[derive(Debug)]
struct Spoiled {
    inner: Arc<dyn countersign_keyring::KeyService>,
}

#[async_trait::async_trait]
impl countersign_keyring::KeyService for Spoiled {
    async fn create(
        &self,
        ring: &countersign_keyring::RingName,
        algorithm: Algorithm,
        size: KeySize,
    ) -> Result<countersign_keyring::RemoteKey, ServiceError> {
        self.inner.create(ring, algorithm, size).await
    }

    async fn describe(
        &self,
        name: &str,
        algorithm: Algorithm,
    ) -> Result<countersign_keyring::RemoteKey, ServiceError> {
        self.inner.describe(name, algorithm).await
    }

    async fn sign(&self, _: &str, _: Algorithm, _: &[u8]) -> Result<Vec<u8>, ServiceError> {
        Err(ServiceError::Unavailable("no".to_owned()))
    }

    async fn discard(&self, name: &str) -> Result<(), ServiceError> {
        self.inner.discard(name).await
    }
}

#[tokio::test]
async fn a_key_of_kms_is_imported_and_importing_it_again_changes_nothing() {
    let (place, store) = (Place::new().await, store());
    let keyring = keyring(&store, place.service());
    let key = place.create(Algorithm::PS384, KeySize::Rsa2048).await;
    let imported = |kid: Option<&str>| ImportedKey {
        kid: kid.map(str::to_owned),
        algorithm: Algorithm::PS384,
        material: ImportedMaterial::Remote { key: key.clone(), service: place.service() },
    };
    let first = keyring.import(&ring(), &[imported(None)], Activation::IfRingHasNone, NOW).await.unwrap();
    assert_eq!(first, [Imported { kid: key.public.thumbprint(), changed: true }]);
    let again = keyring.import(&ring(), &[imported(None)], Activation::IfRingHasNone, NOW).await.unwrap();
    assert_eq!(again, [Imported { kid: key.public.thumbprint(), changed: false }]);
    let records = keyring.read().await.unwrap();
    assert_eq!(names(&records), BTreeSet::from([key.name.clone()]));
    assert_eq!(records.find(&first[0].kid).unwrap().1.sealed_by(), None);
    let loaded = keyring.load().await.unwrap();
    token(loaded.ring(&ring()).unwrap().active().unwrap().as_ref(), "{}").await.unwrap();
    // Sealing again has nothing to do with it.
    let report = keyring.reseal(countersign_keyring::DataKey::Same, NOW).await.unwrap().unwrap();
    assert_eq!((report.resealed, report.remote), (0, 1));
    assert!(!ISSUER.is_empty() && place.asked("ScheduleKeyDeletion").is_empty());
}
