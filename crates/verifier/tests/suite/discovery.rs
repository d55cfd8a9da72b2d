//! Keys by OpenID Connect discovery, from real servers on loopback and from a fake where the names
//! must be https.

use crate::support::{
    FakeFetch, ISSUER, Reply, Server, Signer, at, claims_with, code, issuer, jwks, trusting, until,
};
use countersign_jose::Algorithm;
use countersign_verifier::{FetchError, KeySource, TrustedIssuer, Verifier, VerifyError};
use serde_json::json;
use std::sync::Arc;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// A server that is its own issuer.
async fn issuer_server(signer: &Signer) -> Server {
    let server = Server::with_jwks(&jwks(&[signer])).await;
    let document = json!({ "issuer": server.url(""), "jwks_uri": server.url("/jwks") });
    server.on(WELL_KNOWN, Reply::json(&document.to_string()));
    server
}

fn trusting_server(server: &Server) -> Arc<Verifier> {
    trusting(
        TrustedIssuer::builder(server.url(""))
            .keys(KeySource::Discovery)
            .algorithms([Algorithm::ES256])
            .audiences(["https://api.example"]),
    )
}

fn why(outcome: Result<countersign_verifier::Accepted, VerifyError>) -> FetchError {
    match outcome {
        Err(VerifyError::KeysUnavailable { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn discovery_leads_to_the_keys_and_is_remembered_for_refetches() {
    let (signer, new) = (Signer::new("k1"), Signer::new("k2"));
    let server = issuer_server(&signer).await;
    let verifier = trusting_server(&server);
    let token = |signer: &Signer| signer.token(&claims_with(json!({ "iss": server.url("") })));
    assert_eq!(code(&verifier.verify(&token(&signer), at(0)).await), "ok");
    server.on("/jwks", Reply::json(&jwks(&[&new])));
    assert_eq!(code(&verifier.verify(&token(&new), at(1)).await), "ok");
    assert_eq!((server.hits(WELL_KNOWN), server.hits("/jwks")), (1, 2));
    // After an hour it is read again.
    assert_eq!(code(&verifier.verify(&token(&new), at(4000)).await), "ok");
    server.is_asked("/jwks", 3).await;
    assert_eq!((server.hits(WELL_KNOWN), server.hits("/jwks")), (2, 3));
}

#[tokio::test]
async fn a_moved_jwks_uri_is_found_after_the_old_one_fails() {
    let signer = Signer::new("k1");
    let server = issuer_server(&signer).await;
    let verifier = trusting_server(&server);
    let token = signer.token(&claims_with(json!({ "iss": server.url("") })));
    assert_eq!(code(&verifier.verify(&token, at(0)).await), "ok");
    server.on("/jwks", Reply::new("410 Gone", &[], ""));
    server.on("/moved", Reply::json(&jwks(&[&signer])));
    let document = json!({ "issuer": server.url(""), "jwks_uri": server.url("/moved") });
    server.on(WELL_KNOWN, Reply::json(&document.to_string()));
    assert_eq!(code(&verifier.verify(&token, at(601)).await), "ok");
    let failure = |when| verifier.status(at(when)).remove(0).failure;
    until("the old address fails", || failure(601).is_some()).await;
    assert_eq!(failure(601), Some(FetchError::Status(410)));
    verifier.verify(&token, at(700)).await.unwrap();
    until("the new one is found", || failure(701).is_none()).await;
    assert!(verifier.status(at(701)).remove(0).fresh);
    assert_eq!(server.hits("/moved"), 1);
}

#[tokio::test]
async fn a_document_of_another_issuer_is_refused_and_its_keys_are_not_asked_for() {
    let signer = Signer::new("k1");
    let server = issuer_server(&signer).await;
    let token = signer.token(&claims_with(json!({ "iss": server.url("") })));
    for named in [format!("{}/", server.url("")), ISSUER.to_owned(), server.url("").to_uppercase()] {
        let document = json!({ "issuer": named, "jwks_uri": server.url("/jwks") });
        server.on(WELL_KNOWN, Reply::json(&document.to_string()));
        let outcome = trusting_server(&server).verify(&token, at(0)).await;
        assert_eq!(why(outcome), FetchError::WrongIssuer, "{named}");
    }
    assert_eq!(server.hits("/jwks"), 0);
}

#[tokio::test]
async fn a_redirected_discovery_is_not_followed() {
    let signer = Signer::new("k1");
    let (server, target) = (issuer_server(&signer).await, issuer_server(&signer).await);
    let location = format!("Location: {}", target.url(WELL_KNOWN));
    server.on(WELL_KNOWN, Reply::new("302 Found", &[&location], ""));
    let token = signer.token(&claims_with(json!({ "iss": server.url("") })));
    assert_eq!(why(trusting_server(&server).verify(&token, at(0)).await), FetchError::Redirect);
    assert_eq!(target.all_hits(), 0);
}

#[tokio::test]
async fn a_remote_document_cannot_point_at_this_machine() {
    let signer = Signer::new("k1");
    let inside = Server::with_jwks(&jwks(&[&signer])).await;
    let fetch = Arc::new(FakeFetch::default());
    let document = json!({ "issuer": ISSUER, "jwks_uri": inside.url("/jwks") });
    fetch.on(&format!("{ISSUER}{WELL_KNOWN}"), &document.to_string(), None);
    let trusted = issuer(KeySource::Discovery).build().unwrap();
    let verifier = Verifier::builder().trust(trusted).fetch(fetch.clone()).build().unwrap();
    let outcome = verifier.verify(&signer.good(), at(0)).await;
    assert_eq!(why(outcome).code(), "discovery_jwks_uri");
    assert_eq!((fetch.count(), inside.all_hits()), (1, 0));
}
