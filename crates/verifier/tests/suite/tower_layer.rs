//! The tower layer in front of a real axum router.

use crate::support::{FakeFetch, Signer, at, claims_with, inline, issuer, trusting};
use axum::{Extension, Router, body::Body, routing::get};
use countersign_verifier::{Accepted, KeySource, Verifier, tower::RequireBearer};
use serde_json::json;
use std::sync::Arc;
use tower::ServiceExt;

fn app(verifier: Arc<Verifier>) -> Router {
    let subject = async |Extension(accepted): Extension<Accepted>| {
        accepted.verified().registered().sub.clone().unwrap_or_default()
    };
    Router::new().route("/", get(subject)).layer(RequireBearer::new(verifier, || at(0)))
}

/// Status, challenge and body of `GET /` with these Authorization headers.
async fn ask(app: Router, authorizations: &[&str]) -> (u16, Option<String>, String) {
    let mut request = axum::http::Request::get("/");
    for value in authorizations {
        request = request.header("Authorization", *value);
    }
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let challenge = response.headers().get("WWW-Authenticate").map(|v| v.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    (status, challenge, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn lets_in_a_verified_token_and_hands_it_on() {
    let signer = Signer::new("k1");
    let verifier = trusting(issuer(inline(&[&signer])));
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let outcome = ask(app(verifier.clone()), &[&format!("{scheme} {}", signer.good())]).await;
        assert_eq!(outcome, (200, None, "someone".into()));
    }
}

#[tokio::test]
async fn refuses_with_the_standard_challenge_and_no_reason() {
    let signer = Signer::new("k1");
    let verifier = trusting(issuer(inline(&[&signer])));
    let good = format!("Bearer {}", signer.good());
    let expired = signer.token(&claims_with(json!({ "exp": 1 })));
    let invalid = "Bearer error=\"invalid_token\"";
    let malformed = "Bearer error=\"invalid_request\"";
    for (authorizations, status, challenge) in [
        (vec![], 401, "Bearer"),
        (vec!["Basic eDp5"], 401, "Bearer"),
        (vec!["Bearer x"], 401, invalid),
        (vec!["Bearer "], 401, invalid),
        (vec!["Bearer"], 400, malformed),
        (vec![&*good, &*good], 400, malformed),
        (vec![&*format!("Bearer {expired}")], 401, invalid),
    ] {
        let outcome = ask(app(verifier.clone()), &authorizations).await;
        assert_eq!(outcome, (status, Some(challenge.into()), String::new()), "{authorizations:?}");
    }
}

#[tokio::test]
async fn says_503_when_the_keys_cannot_be_had() {
    let trusted = issuer(KeySource::JwksUrl("https://issuer.example/jwks".into())).build().unwrap();
    let fetch = Arc::new(FakeFetch::default());
    let verifier = Arc::new(Verifier::builder().trust(trusted).fetch(fetch).build().unwrap());
    let outcome = ask(app(verifier), &[&format!("Bearer {}", Signer::new("k1").good())]).await;
    assert_eq!(outcome, (503, None, String::new()));
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_not_taken_as_a_bearer_token() {
    let signer = Signer::new("k1");
    let verifier = trusting(issuer(inline(&[&signer])));
    for cnf in
        [json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }), json!({ "x5t#S256": "AAAA" })]
    {
        let token = signer.token(&claims_with(json!({ "cnf": cnf })));
        for scheme in ["Bearer", "DPoP"] {
            let (status, _, body) = ask(app(verifier.clone()), &[&format!("{scheme} {token}")]).await;
            assert_eq!((status, body), (401, String::new()), "{scheme} {cnf}");
        }
    }
}
