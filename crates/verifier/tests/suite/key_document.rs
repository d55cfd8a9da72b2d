//! `KeyDocument`: an address at which either form of a key document may be, told apart by the
//! document.

use crate::support::{FakeFetch, Signer, at, certified, claims_with, code, issuer, jwks, today};
use countersign_jose::Algorithm;
use countersign_verifier::{DirectorySnapshots, KeySource, Verifier};
use serde_json::json;
use std::sync::Arc;

const URL: &str = "https://issuer.example/keys";
const EC: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

fn verifier(fetch: &Arc<FakeFetch>) -> Verifier {
    let trusted = issuer(KeySource::KeyDocument(URL.into())).build().unwrap();
    Verifier::builder().trust(trusted).fetch(fetch.clone()).build().unwrap()
}

#[tokio::test]
async fn a_key_set_and_a_map_of_certificates_verify_and_one_may_become_the_other() {
    let (signer, certificate) = certified("k1", Algorithm::ES256, EC);
    let (other, now) = (Signer::new("k2"), today());
    let until = json!({ "iat": null, "exp": now.unix_seconds() + 60 });
    let token = |signer: &Signer| signer.token(&claims_with(until.clone()));
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&other]), None);
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&token(&other), now).await), "ok");
    fetch.on(URL, &json!({ "k1": certificate }).to_string(), None);
    assert_eq!(code(&verifier.verify(&token(&signer), now).await), "ok");
    assert_eq!(code(&verifier.verify(&token(&other), now).await), "token_no_key");
}

#[tokio::test]
async fn a_certificate_may_be_named_keys() {
    let (signer, certificate) = certified("keys", Algorithm::ES256, EC);
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &json!({ "keys": certificate }).to_string(), None);
    let now = today();
    let token = signer.token(&claims_with(json!({ "iat": null, "exp": now.unix_seconds() + 60 })));
    assert_eq!(code(&verifier(&fetch).verify(&token, now).await), "ok");
}

#[tokio::test]
async fn what_is_neither_is_no_keys() {
    let signer = Signer::new("k1");
    for (document, expected) in [
        ("<html>".to_owned(), "fetch_not_json"),
        ("[]".to_owned(), "fetch_not_json"),
        (String::new(), "fetch_not_json"),
        (format!(r#"{{"keys":[],{}"#, &jwks(&[&signer])[1..]), "fetch_not_json"),
        ("{}".to_owned(), "fetch_no_usable_key"),
        (json!({ "keys": [] }).to_string(), "fetch_no_usable_key"),
        (json!({ "keys": { "k1": signer.jwk() } }).to_string(), "fetch_no_usable_key"),
        (
            json!({ "k1": signer.key.public_key().unwrap().to_pem().unwrap() }).to_string(),
            "fetch_no_usable_key",
        ),
        (
            json!({ "keys": [{ "kty": "oct", "kid": "k1", "alg": "HS256", "k": "AAAA" }] }).to_string(),
            "fetch_no_usable_key",
        ),
        (json!({ "error": "forbidden" }).to_string(), "fetch_error_document"),
    ] {
        let fetch = Arc::new(FakeFetch::default());
        fetch.on(URL, &document, None);
        let verifier = verifier(&fetch);
        assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "keys_unavailable", "{document}");
        assert_eq!(verifier.status(at(0)).remove(0).failure.unwrap().code(), expected, "{document}");
    }
}

#[tokio::test]
async fn snapshots_keep_either_form_and_are_not_those_of_a_source_of_one_form() {
    let (signer, certificate) = certified("k1", Algorithm::ES256, EC);
    let now = today();
    let token = signer.token(&claims_with(json!({ "iat": null, "exp": now.unix_seconds() + 60 })));
    for document in [jwks(&[&signer]), json!({ "k1": certificate }).to_string()] {
        let folder = tempfile::tempdir().unwrap();
        let start = |source: KeySource| {
            let fetch = Arc::new(FakeFetch::default());
            let builder = Verifier::builder().trust(issuer(source).build().unwrap()).fetch(fetch.clone());
            let snapshots = Arc::new(DirectorySnapshots::new(folder.path()));
            (fetch, builder.snapshots(snapshots).build().unwrap())
        };
        let (fetch, verifier) = start(KeySource::KeyDocument(URL.into()));
        fetch.on(URL, &document, None);
        assert_eq!((code(&verifier.verify(&token, now).await), fetch.count()), ("ok", 1));
        let (fetch, verifier) = start(KeySource::KeyDocument(URL.into()));
        assert_eq!((code(&verifier.verify(&token, now).await), fetch.count()), ("ok", 0));
        let (fetch, verifier) = start(KeySource::JwksUrl(URL.into()));
        assert_eq!((code(&verifier.verify(&token, now).await), fetch.count()), ("keys_unavailable", 1));
    }
}
