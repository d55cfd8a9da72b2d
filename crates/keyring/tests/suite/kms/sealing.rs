//! A sealing key that KMS keeps: what is asked, that it opens for its purpose alone, and what goes
//! wrong.

use super::place::{ISSUER, NOW, Place, bytes, config, store};
use aws_sdk_kms::primitives::Blob;
use countersign_jose::{Algorithm, KeySize};
use countersign_keyring::{
    DataKey, DataKeyService, Distribution, KeyPlace, KeyringError, RingSpec, Sealing, SealingKey,
    ServiceError, StoredKeyring, WrappedKey,
    kms::{Kms, KmsDataKeys},
};
use std::sync::Arc;

fn spec() -> RingSpec {
    let (name, size) = ("default".parse().unwrap(), KeySize::default());
    RingSpec { name, algorithm: Algorithm::ES256, size, make_first_key: true, place: KeyPlace::Here }
}

async fn kms_key(place: &Place) -> String {
    place.client.create_key().send().await.unwrap().key_metadata.unwrap().arn.unwrap()
}

fn data_keys(place: &Place, key: &str) -> Arc<dyn DataKeyService> {
    Arc::new(KmsDataKeys::new(place.kms.clone(), key.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_first_starts_make_one_data_key_which_is_opened_at_start_with_its_purpose() {
    let (place, store) = (Place::new().await, store());
    let arn = kms_key(&place).await;
    let alias = format!("alias/seal-{}", arn.rsplit('/').next().unwrap());
    place.client.create_alias().alias_name(&alias).target_key_id(&arn).send().await.unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let keyring = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(data_keys(&place, &alias)));
            tokio::spawn(async move { keyring.ensure(&[spec()], NOW).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for sent in place.asked("GenerateDataKey") {
        let context = serde_json::json!({ "purpose": "countersign-sealing" });
        assert_eq!(
            sent,
            serde_json::json!({ "KeyId": alias, "KeySpec": "AES_256", "EncryptionContext": context })
        );
    }
    let before = place.asked("Decrypt").len();
    let late = StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(data_keys(&place, &alias)));
    late.ensure(&[spec()], NOW).await.unwrap();
    let sent = place.asked("Decrypt");
    assert_eq!(sent.len(), before + 1);
    let sent = sent.last().unwrap();
    assert_eq!(
        (&sent["KeyId"], &sent["EncryptionContext"]["purpose"]),
        (&alias.into(), &"countersign-sealing".into())
    );
    let held = late.read().await.unwrap().data_keys().to_vec();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].under, arn, "the document has the ARN, not the alias");
    // What is stored is what KMS encrypted, and nothing else.
    let document = store.get(&countersign_store::Key::parse("keyring").unwrap()).await.unwrap().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document.bytes).unwrap();
    for stored in [&document["data_key"], &document["content"]["data_keys"][0]] {
        assert_eq!(bytes(&stored["ciphertext"]), bytes(&sent["CiphertextBlob"]));
    }
}

#[tokio::test]
async fn what_was_encrypted_for_another_purpose_or_under_another_key_does_not_open() {
    let place = Place::new().await;
    let (arn, other) = (kms_key(&place).await, kms_key(&place).await);
    let keys = data_keys(&place, &arn);
    let (_, wrapped) = keys.generate().await.unwrap();
    assert_eq!(keys.unwrap(&wrapped).await.unwrap().len(), 32);
    // MiniStack does not look at the key that a request names. KMS does:
    let body = "{\"__type\":\"IncorrectKeyException\",\"message\":\"another key\"}";
    place.relay.answer(1, "400 Bad Request", &[("content-type", "application/x-amz-json-1.1")], body);
    assert_eq!(data_keys(&place, &other).unwrap(&wrapped).await.unwrap_err(), ServiceError::OtherKey);
    assert_eq!(place.asked("Decrypt").pop().unwrap()["KeyId"], other.as_str());
    for context in [None, Some(("purpose", "another"))] {
        let request = place.client.encrypt().key_id(&arn).plaintext(Blob::new([7; 32]));
        let request = match context {
            Some((name, value)) => request.encryption_context(name, value),
            None => request,
        };
        let ciphertext = request.send().await.unwrap().ciphertext_blob.unwrap().into_inner();
        let foreign = WrappedKey { under: arn.clone(), ciphertext };
        assert_eq!(keys.unwrap(&foreign).await.unwrap_err(), ServiceError::Altered, "{context:?}");
    }
    let garbage = WrappedKey { under: arn, ciphertext: vec![1; 100] };
    assert_eq!(keys.unwrap(&garbage).await.unwrap_err(), ServiceError::Altered);
}

#[tokio::test]
async fn a_running_server_needs_kms_no_more_and_one_that_starts_without_it_says_what_is_wrong() {
    let (place, store) = (Place::new().await, store());
    let arn = kms_key(&place).await;
    let start = || StoredKeyring::new(Arc::clone(&store), Sealing::wrapped(data_keys(&place, &arn)));
    let running = start();
    running.ensure(&[spec()], NOW).await.unwrap();
    place.client.disable_key().key_id(&arn).send().await.unwrap();
    running.prepare(&spec(), Distribution::Published, NOW).await.unwrap();
    let why = start().load().await.unwrap_err();
    let said = why.to_string();
    assert!(matches!(&why, KeyringError::DataKey { why: ServiceError::Unusable(_), .. }), "{said}");
    assert!(said.contains("Disabled") && said.contains(&arn), "{said}");
    assert_eq!(why.code(), "kms_key_unusable");
    place.client.enable_key().key_id(&arn).send().await.unwrap();
    start().load().await.unwrap();
    let body =
        "{\"__type\":\"AccessDeniedException\",\"message\":\"not authorized to perform: kms:Decrypt\"}";
    place.relay.answer(1, "400 Bad Request", &[], body);
    let why = start().load().await.unwrap_err();
    assert!(why.code() == "kms_denied" && why.to_string().contains("kms:Decrypt"), "{why}");
    place.relay.refuse();
    assert_eq!(start().load().await.unwrap_err().code(), "kms_unavailable");
    running.load().await.unwrap();
    // A first start without KMS writes nothing.
    let empty = super::place::store();
    let first = StoredKeyring::new(Arc::clone(&empty), Sealing::wrapped(data_keys(&place, &arn)));
    assert_eq!(first.ensure(&[spec()], NOW).await.unwrap_err().code(), "kms_unavailable");
    assert_eq!(empty.list("").await.unwrap(), []);
}

#[tokio::test]
async fn from_a_file_to_kms_and_back_while_two_servers_run() {
    let (place, store) = (Place::new().await, store());
    let (arn, file) = (kms_key(&place).await, Arc::new(SealingKey::generate().unwrap().0));
    let to_file = || Sealing::new(Arc::clone(&file)).also_wrapped(data_keys(&place, &arn));
    let to_kms = || Sealing::wrapped(data_keys(&place, &arn)).also(Arc::clone(&file));
    let with = |sealing: Sealing| StoredKeyring::new(Arc::clone(&store), sealing);
    let (one, two) = (with(to_file()), with(to_kms()));
    one.ensure(&[spec()], NOW).await.unwrap();
    for (mover, key) in [(&two, DataKey::Same), (&two, DataKey::New), (&one, DataKey::Same)] {
        let report = mover.reseal(key, NOW).await.unwrap().unwrap();
        assert_eq!(report.resealed, 1);
        one.load().await.unwrap();
        two.load().await.unwrap();
    }
    with(Sealing::new(file)).load().await.unwrap();
    assert_eq!(two.read().await.unwrap().data_keys().len(), 2);
}

#[tokio::test]
async fn without_an_address_that_answers_the_message_says_so() {
    let kms = Kms::with(ISSUER.to_owned(), &config("http://127.0.0.1:9"), 1);
    let keys = KmsDataKeys::new(kms, "alias/x".to_owned());
    let why = keys.generate().await.unwrap_err();
    assert!(matches!(&why, ServiceError::Unavailable(said) if !said.is_empty()), "{why}");
}
