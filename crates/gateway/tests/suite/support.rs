//! What the tests share: a signer, tokens, gates of settings as people write them, and events with
//! a token in them.

use countersign_gateway::{
    RequestFacts,
    lambda::{Authorizer, Outcome, Reply},
    settings::{GateConfig, RawGate, RawTrust, SettingError, Surroundings, resolve},
};
use countersign_jose::{Algorithm, Header, KeySize, PublicJwk, SigningInput, SigningKey, Timestamp};
use countersign_settings::Environment;
use serde_json::{Value, json};
use std::{path::Path, sync::LazyLock};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const OTHER_ISSUER: &str = "https://other.example";
pub(crate) const AUDIENCE: &str = "https://api.example";

/// The present of the tests.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// Two issuers' keys, under the same name.
static KEYS: LazyLock<[SigningKey; 2]> =
    LazyLock::new(|| [(); 2].map(|()| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap()));

pub(crate) fn jwks(which: usize) -> String {
    let key = &KEYS[which];
    let public = key.public_key().unwrap().clone();
    json!({ "keys": [PublicJwk { kid: "k".into(), algorithm: key.algorithm(), key: public }] }).to_string()
}

fn sign(which: usize, claims: &Value) -> String {
    sign_as(which, claims, "JWT")
}

fn sign_as(which: usize, claims: &Value, typ: &str) -> String {
    let key = &KEYS[which];
    let header = Header { alg: key.algorithm(), kid: Some("k"), typ: Some(typ) }.encode();
    let input = SigningInput::new(&header, claims.to_string().as_bytes());
    let signature = key.sign(&input).unwrap();
    input.finish(&signature)
}

/// A good token of the usual issuer with these claims besides, or instead of, the usual ones; null
/// removes one.
pub(crate) fn token(changes: Value) -> String {
    sign(0, &claims(ISSUER, changes))
}

/// A token that is good but for its `typ`.
pub(crate) fn token_of_kind(typ: &str) -> String {
    sign_as(0, &claims(ISSUER, json!({})), typ)
}

/// A good token of the other issuer.
pub(crate) fn other_token(changes: Value) -> String {
    sign(1, &claims(OTHER_ISSUER, changes))
}

/// A token that says it is the usual issuer's, signed by the other's key of the same name.
pub(crate) fn forged_token() -> String {
    sign(1, &claims(ISSUER, json!({})))
}

fn claims(issuer: &str, changes: Value) -> Value {
    let now = NOW.unix_seconds();
    let mut claims =
        json!({ "iss": issuer, "aud": AUDIENCE, "sub": "alice", "iat": now - 5, "exp": now + 600 });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// Both issuers, as they are written in a configuration.
pub(crate) fn trust() -> Vec<RawTrust> {
    let entry = |issuer: &str, which| {
        serde_json::from_value(json!({
            "issuer": issuer, "jwks": jwks(which), "algorithms": ["ES256"], "audiences": [AUDIENCE]
        }))
        .unwrap()
    };
    vec![entry(ISSUER, 0), entry(OTHER_ISSUER, 1)]
}

pub(crate) fn resolved(gate: Value) -> Result<GateConfig, SettingError> {
    let gate: RawGate = serde_json::from_value(gate).unwrap();
    let environment = Environment::of(&[]);
    resolve(
        &trust(),
        &gate,
        Surroundings { folder: Path::new("."), environment: &environment, key_cache: None },
    )
}

/// An authorizer with these settings of `[gate]`.
pub(crate) fn authorizer(gate: Value) -> Authorizer {
    resolved(gate).unwrap().into_authorizer()
}

/// A request with a bearer token, or without one.
pub(crate) fn request<'a>(method: &'a str, path: &'a str, token: Option<&str>) -> RequestFacts<'a> {
    let mut facts = RequestFacts { method: method.into(), path: path.into(), ..RequestFacts::default() };
    if let Some(token) = token {
        facts.headers.push(("Authorization".into(), format!("Bearer {token}").into()));
    }
    facts
}

/// The event of this name with a token in it.
pub(crate) fn event(name: &str, token: &str) -> Value {
    let path = format!("{}/tests/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    serde_json::from_str(&text.replace("@TOKEN@", token)).expect(name)
}

/// The names of all events.
pub(crate) fn events() -> Vec<String> {
    let folder = std::fs::read_dir(format!("{}/tests/events", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
    names.sort();
    names
}

pub(crate) async fn authorize(authorizer: &Authorizer, event: &Value) -> Outcome {
    authorizer.authorize(event.to_string().as_bytes(), NOW).await
}

/// The reply as JSON; `"Unauthorized"` where it is that error.
pub(crate) fn shown(reply: &Reply) -> Value {
    match reply {
        Reply::Json(json) => serde_json::from_str(json).unwrap(),
        Reply::Unauthorized => Value::from("Unauthorized"),
        Reply::Unavailable => Value::from("Unavailable"),
    }
}
