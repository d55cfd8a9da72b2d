//! One name has one reading at every place where settings name a claim: rules, context, principal,
//! usage key, identity headers, and what a trusted issuer's tokens must have.
//!
//! The readings themselves are in `crates/jose/tests/claim_names.rs`. A token may have any claim at
//! the top, with any name.

use crate::support::{AUDIENCE, ISSUER, NOW, authorize, event, jwks, shown, token};
use countersign_gateway::settings::{GateConfig, RawGate, RawTrust, SettingError, Surroundings, resolve};
use countersign_settings::Environment;
use http::Request;
use serde_json::{Value, json};
use std::path::Path;

/// Names, the claims of a token, and what each finds in them.
fn readings() -> Vec<(&'static str, Value, Option<&'static str>)> {
    let literal = json!({ "/realm_access/roles": "literal" });
    let nested = json!({ "realm_access": { "roles": "nested" } });
    let both = json!({ "/realm_access/roles": "literal", "realm_access": { "roles": "nested" } });
    vec![
        ("/realm_access/roles", literal.clone(), None),
        ("/realm_access/roles", nested.clone(), Some("nested")),
        ("/realm_access/roles", both.clone(), Some("nested")),
        ("/~1realm_access~1roles", literal, Some("literal")),
        ("/~1realm_access~1roles", nested, None),
        ("/~1realm_access~1roles", both.clone(), Some("literal")),
        ("realm_access/roles", both, None),
        ("/sub", json!({ "/sub": "other" }), Some("alice")),
        ("/list/1", json!({ "list": ["zero", "one"], "/list/1": "literal" }), Some("one")),
        ("cognito:groups", json!({ "cognito:groups": "plain" }), Some("plain")),
    ]
}

fn config(trust: Value, gate: Value) -> Result<GateConfig, SettingError> {
    let mut entry =
        json!({ "issuer": ISSUER, "jwks": jwks(0), "algorithms": ["ES256"], "audiences": [AUDIENCE] });
    entry.as_object_mut().unwrap().extend(trust.as_object().unwrap().clone());
    let (trust, gate): (RawTrust, RawGate) =
        (serde_json::from_value(entry).unwrap(), serde_json::from_value(gate).unwrap());
    let environment = Environment::of(&[]);
    resolve(
        &[trust],
        &gate,
        Surroundings { folder: Path::new("."), environment: &environment, key_cache: None },
    )
}

/// The reply to a REST event.
async fn reply(gate: Value, token: &str) -> Value {
    let authorizer = config(json!({}), gate).unwrap().into_authorizer();
    shown(&authorize(&authorizer, &event("rest-request", token)).await.reply)
}

fn lets_in(reply: &Value) -> bool {
    reply["policyDocument"]["Statement"][0]["Effect"] == "Allow"
}

#[tokio::test]
async fn a_name_means_the_same_claim_at_every_place_that_takes_one() {
    for (name, claims, expected) in readings() {
        let found = token(claims.clone());
        let what = format!("{name} in {claims}");
        for value in ["nested", "literal", "alice", "one", "plain"] {
            let is = expected == Some(value);
            let rule = json!({ "routes": [{ "path": "/**", "claims": { name: value } }] });
            assert_eq!(lets_in(&reply(rule, &found).await), is, "rule: {what} is {value}");
            let trust = config(json!({ "claims": { name: value } }), json!({})).unwrap().into_authorizer();
            let verified = trust.gate().verifier().verify(&found, NOW).await;
            assert_eq!(verified.is_ok(), is, "trust.claims: {what} is {value}");
        }
        let required = config(json!({ "require": [name] }), json!({})).unwrap().into_authorizer();
        let verified = required.gate().verifier().verify(&found, NOW).await;
        assert_eq!(verified.is_ok(), expected.is_some(), "trust.require: {what}");

        let shown = reply(json!({ "context": { "key": name } }), &found).await;
        assert_eq!(shown["context"]["key"].as_str(), expected, "context: {what}");
        let shown = reply(json!({ "usage_identifier_claim": name }), &found).await;
        assert_eq!(shown["usageIdentifierKey"].as_str(), expected, "usage: {what}");
        let shown = reply(json!({ "principal_claim": name }), &found).await;
        assert_eq!(shown["principalId"], expected.unwrap_or("anonymous"), "principal: {what}");
        assert_eq!(lets_in(&shown), expected.is_some(), "principal: {what}");

        let proxies = json!([{ "kind": "nginx", "networks": ["127.0.0.1/32"] }]);
        let gate = json!({ "proxies": proxies, "identity_headers": { "X-Auth-It": name } });
        let forward_auth = config(json!({}), gate).unwrap().into_forward_auth().unwrap();
        let request = Request::get("/gate")
            .header("Authorization", format!("Bearer {found}"))
            .header("X-Original-Method", "GET")
            .header("X-Original-URI", "/x");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let answer = forward_auth.answer(&parts, "", "127.0.0.1".parse().unwrap(), NOW).await;
        let header = answer.response.headers().get("X-Auth-It").unwrap();
        assert_eq!(header, expected.unwrap_or(""), "identity header: {what}");
    }
}

#[test]
fn a_text_that_names_no_claim_is_refused_at_every_place_with_its_key() {
    let gates = |bad: &str| {
        let proxies = json!([{ "kind": "nginx", "networks": ["127.0.0.1/32"] }]);
        [
            (json!({ "routes": [{ "path": "/**", "claims": { bad: 1 } }] }), "gate.routes[0].claims"),
            (json!({ "context": { "key": bad } }), "gate.context.key"),
            (json!({ "principal_claim": bad }), "gate.principal_claim"),
            (json!({ "usage_identifier_claim": bad }), "gate.usage_identifier_claim"),
            (json!({ "proxies": proxies, "identity_headers": { "X-A": bad } }), "gate.identity_headers.X-A"),
        ]
    };
    for bad in ["", "/a~", "/~2"] {
        for (gate, key) in gates(bad) {
            assert_eq!(config(json!({}), gate).unwrap_err().key, key, "{bad:?}");
        }
        for trust in [json!({ "require": [bad] }), json!({ "claims": { bad: 1 } })] {
            assert_eq!(config(trust, json!({})).unwrap_err().key, "trust[0]", "{bad:?}");
        }
    }
    // 2^65 was rounded when it was read.
    let rounded: Value = serde_json::from_str("36893488147419103232").unwrap();
    let rule = json!({ "routes": [{ "path": "/**", "claims": { "n": rounded } }] });
    assert!(config(json!({}), rule).unwrap_err().why.contains("beyond 2^53"));
    assert!(
        config(json!({ "claims": { "n": rounded } }), json!({})).unwrap_err().why.contains("beyond 2^53")
    );
}
