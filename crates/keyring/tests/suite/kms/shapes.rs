//! What is asked of KMS, byte for byte, for every kind of key it has; and that what comes back is a
//! token.

use super::place::{ISSUER, Place, asked, bytes, input, signer, token};
use countersign_jose::{Algorithm, KeySize};
use countersign_keyring::{KeyService, RemoteKey, ServiceError, SignError};

#[tokio::test]
async fn every_kind_of_rsa_and_ec_key_signs_a_digest_of_exactly_its_hash() {
    let place = Place::new().await;
    let mut kinds = vec![
        (Algorithm::ES256, KeySize::Rsa2048, "ECC_NIST_P256", "ECDSA_SHA_256", 32, 64),
        (Algorithm::ES384, KeySize::Rsa2048, "ECC_NIST_P384", "ECDSA_SHA_384", 48, 96),
        (Algorithm::ES512, KeySize::Rsa2048, "ECC_NIST_P521", "ECDSA_SHA_512", 64, 132),
    ];
    let rsa = [
        (Algorithm::RS256, "RSASSA_PKCS1_V1_5_SHA_256", 32),
        (Algorithm::RS384, "RSASSA_PKCS1_V1_5_SHA_384", 48),
        (Algorithm::RS512, "RSASSA_PKCS1_V1_5_SHA_512", 64),
        (Algorithm::PS256, "RSASSA_PSS_SHA_256", 32),
        (Algorithm::PS384, "RSASSA_PSS_SHA_384", 48),
        (Algorithm::PS512, "RSASSA_PSS_SHA_512", 64),
    ];
    let sizes = [
        (KeySize::Rsa2048, "RSA_2048", 256),
        (KeySize::Rsa3072, "RSA_3072", 384),
        (KeySize::Rsa4096, "RSA_4096", 512),
    ];
    for (size, spec, length) in sizes {
        kinds.extend(rsa.map(|(algorithm, name, digest)| (algorithm, size, spec, name, digest, length)));
    }
    // One RSA key of each size serves all six algorithms: it is bound to one by the signer.
    let mut rsa_keys: std::collections::BTreeMap<&str, RemoteKey> = Default::default();
    for (algorithm, size, spec, name, digest, length) in kinds {
        let key = match rsa_keys.get(spec) {
            Some(key) => key.clone(),
            None => place.create(algorithm, size).await,
        };
        rsa_keys.insert(spec, key.clone());
        let created = place.asked("CreateKey").pop().unwrap();
        assert_eq!((&created["KeySpec"], &created["KeyUsage"]), (&spec.into(), &"SIGN_VERIFY".into()));

        let (arn, remote) = (key.name.clone(), signer(key, algorithm, place.service()));
        // The payload is much longer than what KMS takes as a message.
        let payload = "x".repeat(5000);
        let signed = token(remote.as_ref(), &payload).await.unwrap();
        let sent = place.asked("Sign").pop().unwrap();
        assert_eq!(sent["KeyId"], arn.as_str());
        assert_eq!(sent["MessageType"], "DIGEST");
        assert_eq!(sent["SigningAlgorithm"], name);
        assert_eq!(sent.as_object().unwrap().len(), 4, "{sent}");
        let message = bytes(&sent["Message"]);
        let expected = algorithm.digest(input(&payload, algorithm).as_bytes()).unwrap();
        assert_eq!((message.len(), &message), (digest, &expected), "{algorithm}");
        assert_eq!(
            countersign_jose::base64url::decode(signed.rsplit('.').next().unwrap()).unwrap().len(),
            length
        );
    }
}

#[tokio::test]
async fn a_new_key_says_whose_it_is_and_is_known_by_its_arn() {
    let place = Place::new().await;
    let key = place.create(Algorithm::ES256, KeySize::Rsa2048).await;
    assert!(key.name.starts_with("arn:aws:kms:us-east-1:000000000000:key/"), "{}", key.name);
    let sent = place.asked("CreateKey").pop().unwrap();
    assert_eq!(sent["Description"], format!("Signing key of ring default of {ISSUER}"));
    assert_eq!(
        sent["Tags"],
        serde_json::json!([
            { "TagKey": "countersign-issuer", "TagValue": ISSUER },
            { "TagKey": "countersign-ring", "TagValue": "default" },
        ])
    );
    assert_eq!(place.asked("GetPublicKey"), [serde_json::json!({ "KeyId": key.name })]);
}

#[tokio::test]
async fn ecdsa_signatures_of_every_length_come_back_at_fixed_width() {
    // Of some hundred signatures, several have an r or s that is a byte or more shorter than its
    // curve, and half of all have a zero in front.
    let place = Place::new().await;
    let remote = place.signer(Algorithm::ES256).await;
    for n in 0..300 {
        let signed = token(remote.as_ref(), &format!("{{\"n\":{n}}}")).await.unwrap();
        assert_eq!(signed.rsplit('.').next().unwrap().len(), 86);
    }
}

#[tokio::test]
async fn ed25519_is_sent_raw_and_no_more_than_4096_bytes_of_it() {
    let place = Place::new().await;
    let key = place.create(Algorithm::EdDSA, KeySize::default()).await;
    let created = place.asked("CreateKey").pop().unwrap();
    assert_eq!(
        (&created["KeySpec"], &created["KeyUsage"]),
        (&"ECC_NIST_EDWARDS25519".into(), &"SIGN_VERIFY".into())
    );
    for algorithm in [Algorithm::EdDSA, Algorithm::Ed25519] {
        let described = place.kms.describe(&key.name, algorithm).await.unwrap();
        assert_eq!(described, key);
        let remote = signer(described, algorithm, place.service());
        let payload = "{\"sub\":\"alice\"}";
        token(remote.as_ref(), payload).await.unwrap();
        let sent = place.asked("Sign").pop().unwrap();
        assert_eq!(
            (&sent["MessageType"], &sent["SigningAlgorithm"]),
            (&"RAW".into(), &"ED25519_SHA_512".into())
        );
        assert_eq!(bytes(&sent["Message"]), input(payload, algorithm).as_bytes());

        let head = input("", algorithm).as_bytes().len();
        let fits = "x".repeat((4096 - head) * 3 / 4);
        token(remote.as_ref(), &fits).await.unwrap();
        let before = place.asked("Sign").len();
        let long = "x".repeat((4096 - head) * 3 / 4 + 3);
        let why = token(remote.as_ref(), &long).await.unwrap_err();
        assert!(
            matches!(&why, SignError::Service { why: ServiceError::TooLong { bytes, max: 4096 }, .. } if *bytes > 4096),
            "{why}"
        );
        // MiniStack would take it; KMS does not.
        assert_eq!(place.asked("Sign").len(), before, "it was not sent");
    }
}

#[tokio::test]
async fn a_key_to_import_must_be_for_signatures_and_of_the_kind_its_algorithm_takes() {
    let place = Place::new().await;
    let key = place.create(Algorithm::ES256, KeySize::Rsa2048).await;
    let id = key.name.rsplit('/').next().unwrap();
    let alias = format!("alias/import-{id}");
    place.client.create_alias().alias_name(&alias).target_key_id(id).send().await.unwrap();
    for name in [key.name.as_str(), id, alias.as_str()] {
        assert_eq!(place.kms.describe(name, Algorithm::ES256).await.unwrap(), key, "{name}");
    }
    let refused = async |name: &str, algorithm, says: &str| {
        let why = place.kms.describe(name, algorithm).await.unwrap_err();
        assert!(matches!(why, ServiceError::Unusable(_)) && why.to_string().contains(says), "{why}");
    };
    refused(id, Algorithm::ES384, "does not sign with ES384").await;
    refused(id, Algorithm::RS256, "does not sign with RS256").await;
    refused("alias/nobody", Algorithm::ES256, "NotFoundException").await;
    refused(&id.replace(|c: char| c.is_ascii_hexdigit(), "0"), Algorithm::ES256, "NotFoundException").await;
    let rsa = place.client.create_key();
    let rsa = rsa.key_usage("ENCRYPT_DECRYPT".into()).key_spec("RSA_2048".into()).send().await.unwrap();
    let rsa = rsa.key_metadata.unwrap().key_id;
    refused(&rsa, Algorithm::RS256, "not for SIGN_VERIFY").await;
    let why = place.kms.describe(id, Algorithm::HS256).await.unwrap_err();
    assert!(matches!(why, ServiceError::Misconfigured(_)), "{why}");
    assert_eq!(asked(&place.relay.asked(), "Sign").len(), 0);
}
