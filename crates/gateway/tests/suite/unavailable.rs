//! "Cannot be told now" is an error of the invocation, which nothing remembers: never a no, and
//! never somebody else's policy.
//!
//! The keys of a trusted issuer cannot be had: its server is on a port of this machine where nobody
//! listens.

use crate::support::{AUDIENCE, ISSUER, authorize, event, events, jwks, other_token, shown, token};
use countersign_gateway::{
    Decision, RefusalKind,
    lambda::{Authorizer, Reply},
    settings::{RawGate, RawTrust, Surroundings, resolve},
};
use countersign_settings::Environment;
use serde_json::{Value, json};
use std::{net::TcpListener, path::Path};

/// A gate whose usual issuer's keys cannot be had, and whose other issuer's can.
fn gate(mut settings: Value) -> Authorizer {
    // Bound and given back: nobody answers there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let entry = |issuer: &str, keys: Value| {
        let mut entry = json!({ "issuer": issuer, "algorithms": ["ES256"], "audiences": [AUDIENCE] });
        entry.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        serde_json::from_value(entry).unwrap()
    };
    let away = json!({ "keys_url": format!("http://127.0.0.1:{port}/jwks") });
    let trust: Vec<RawTrust> =
        vec![entry(ISSUER, away), entry("https://other.example", json!({ "jwks": jwks(1) }))];
    settings["credentials"] = json!({ "cookie": "session" });
    let gate: RawGate = serde_json::from_value(settings).unwrap();
    let environment = Environment::of(&[]);
    let around = Surroundings { folder: Path::new("."), environment: &environment, key_cache: None };
    resolve(&trust, &gate, around).unwrap().into_authorizer()
}

#[tokio::test]
async fn every_event_that_could_be_remembered_is_answered_with_an_error_that_is_not_unauthorized() {
    let public = json!({ "routes": [{ "path": "/**", "public": true }, { "path": "$connect" }] });
    let odd = json!({ "routes": [{ "path": "/other/**" }] });
    for (form, rules) in [("simple", json!({})), ("policy", json!({})), ("policy", public), ("policy", odd)] {
        let mut settings = rules.clone();
        settings["http_api_response"] = json!(form);
        let authorizer = gate(settings);
        for name in events() {
            let outcome = authorize(&authorizer, &event(&name, &token(json!({})))).await;
            let Decision::Deny(denial) = &outcome.decision else {
                assert_eq!(rules["routes"][0]["public"], true, "{name}");
                assert!(name.starts_with("appsync"), "{name}: nothing but an answer without a policy");
                continue;
            };
            assert_eq!(denial.refusal.kind(), RefusalKind::Unavailable, "{name}");
            let expected = match name.starts_with("appsync") {
                true => json!({ "isAuthorized": false, "ttlOverride": 0 }),
                false => json!("Unavailable"),
            };
            assert_eq!(shown(&outcome.reply), expected, "{name} {form} {rules}");
        }
    }
    assert!(Reply::UNAVAILABLE != Reply::UNAUTHORIZED);
}

#[tokio::test]
async fn a_path_that_is_refused_anyway_is_not_judged_without_the_caller_either() {
    let authorizer = gate(json!({ "routes": [{ "path": "/public/**", "public": true }, { "path": "/**" }] }));
    for path in ["/a//b", "/a;b", "/public/%2e%2e/b"] {
        let mut asked = event("rest-request", &token(json!({})));
        asked["methodArn"] =
            json!(format!("arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET{path}"));
        assert_eq!(authorize(&authorizer, &asked).await.reply, Reply::Unavailable, "{path}");
    }
}

#[tokio::test]
async fn callers_of_an_issuer_whose_keys_are_at_hand_notice_nothing() {
    let authorizer = gate(json!({}));
    for name in events() {
        let outcome = authorize(&authorizer, &event(&name, &other_token(json!({})))).await;
        assert!(matches!(outcome.decision, Decision::Allow(_)), "{name}");
    }
}
