//! What must hold for any authorizer event and any path. Checked by proptest on every change and by
//! the fuzz targets.

use countersign_gateway::{
    Target,
    lambda::{Authorizer, Outcome, Reply},
    settings::{RawGate, RawTrust, Surroundings, resolve},
};
use countersign_jose::Timestamp;
use countersign_settings::Environment;
use serde_json::{Map, Value, json};
use std::{path::Path, sync::LazyLock};

/// What API Gateway and AppSync demand of a reply; everything else becomes a 500.
#[cfg_attr(test, expect(unreachable_pub, reason = "a test has no outside; the fuzz crate needs it public"))]
pub fn check_form(outcome: &Outcome) {
    let Reply::Json(json) = &outcome.reply else { return };
    assert!(json.len() <= 8192, "{} bytes", json.len());
    let reply: Value = serde_json::from_str(json).expect("a reply is JSON");
    let members: Vec<&str> =
        reply.as_object().expect("a reply is an object").keys().map(String::as_str).collect();
    if let Some(authorized) = reply.get("isAuthorized") {
        assert!(authorized.is_boolean());
        let known = ["isAuthorized", "context", "resolverContext", "ttlOverride"];
        assert!(members.iter().all(|m| known.contains(m)), "{members:?}");
        assert!(reply.get("ttlOverride").is_none_or(Value::is_u64));
    } else {
        let known = ["principalId", "policyDocument", "context", "usageIdentifierKey"];
        assert!(members.iter().all(|m| known.contains(m)), "{members:?}");
        assert!(reply["principalId"].as_str().is_some_and(|name| !name.is_empty()));
        assert_eq!(reply["policyDocument"]["Version"], "2012-10-17");
        let statements = reply["policyDocument"]["Statement"].as_array().expect("statements");
        assert!(!statements.is_empty());
        for statement in statements {
            assert_eq!(statement["Action"], "execute-api:Invoke");
            assert!(statement["Effect"] == "Allow" || statement["Effect"] == "Deny");
            let resources = statement["Resource"].as_array().expect("resources");
            assert!(!resources.is_empty());
            assert!(resources.iter().all(|r| r.as_str().is_some_and(|r| !r.is_empty() && r.len() <= 512)));
        }
        for value in reply.get("context").and_then(Value::as_object).into_iter().flat_map(Map::values) {
            assert!(value.is_string() || value.is_number() || value.is_boolean(), "{value}");
        }
    }
    for context in ["context", "resolverContext"] {
        let context = reply.get(context).and_then(Value::as_object);
        assert!(context.is_none_or(|c| !c.contains_key("claims") && c.values().all(|v| !v.is_null())));
    }
}

/// Whether a reply lets anybody in, anywhere.
#[cfg_attr(test, expect(unreachable_pub, reason = "a test has no outside; the fuzz crate needs it public"))]
pub fn allows(outcome: &Outcome) -> bool {
    let Reply::Json(json) = &outcome.reply else { return false };
    let reply: Value = serde_json::from_str(json).expect("a reply is JSON");
    let statements = reply["policyDocument"]["Statement"].as_array();
    reply["isAuthorized"] == true || statements.is_some_and(|all| all.iter().any(|s| s["Effect"] == "Allow"))
}

/// Gates that trust the key of RFC 7515 A.3, which nobody here can sign with.
static GATES: LazyLock<[Authorizer; 2]> = LazyLock::new(|| {
    let key = json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    }] });
    let trust: RawTrust = serde_json::from_value(json!({
        "issuer": "https://issuer.example", "jwks": key.to_string(), "algorithms": ["ES256"], "audiences": ["a"]
    }))
    .expect("trust");
    ["simple", "policy"].map(|form| {
        let gate: RawGate = serde_json::from_value(json!({
            "http_api_response": form, "credentials": { "cookie": "session" },
            "routes": [{ "path": "/a/*" }, { "path": "/b/**", "any_scope": ["x"] }, { "path": "/**" }, { "path": "$connect" }],
        }))
        .expect("gate");
        let environment = Environment::of(&[]);
        let around = Surroundings { folder: Path::new("."), environment: &environment, key_cache: None };
        resolve(std::slice::from_ref(&trust), &gate, around).expect("settings").into_authorizer()
    })
});

/// Any event gets a reply of a known form, and none that lets anybody in.
#[cfg_attr(test, expect(unreachable_pub, reason = "a test has no outside; the fuzz crate needs it public"))]
pub fn event(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for gate in GATES.iter() {
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let outcome = runtime.block_on(gate.authorize(bytes, now));
        check_form(&outcome);
        assert!(!allows(&outcome), "{:?}", outcome.reply);
        let (explained, checks) = runtime.block_on(gate.explain(bytes, now));
        assert_eq!(explained, outcome);
        assert!(checks.iter().any(countersign_jose::Check::failed));
    }
}

/// A path that is taken has one reading: its segments, encoded again, are the same path.
#[cfg_attr(test, expect(unreachable_pub, reason = "a test has no outside; the fuzz crate needs it public"))]
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(Target::Path(segments)) = Target::parse(text) else { return };
    for segment in &segments {
        assert!(!["", ".", ".."].contains(&segment.as_ref()), "{text:?}");
        assert!(!segment.contains(['/', '\\', ';', '?', '#', '*']), "{text:?}");
        assert!(!segment.chars().any(char::is_control), "{text:?}");
    }
    let encode = |segment: &str| {
        let byte = |byte: u8| match byte {
            b'.' => ".".to_owned(),
            b if b.is_ascii_alphanumeric() || b == b'%' => char::from(b).to_string(),
            b => format!("%{b:02x}"),
        };
        segment.bytes().map(byte).collect::<String>()
    };
    let again = format!("/{}", segments.iter().map(|s| encode(s)).collect::<Vec<_>>().join("/"));
    assert_eq!(Target::parse(&again), Ok(Target::Path(segments)), "{text:?}");
}
