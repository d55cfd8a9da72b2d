//! Settings that cannot work, or would let in more than their author meant, are refused with their
//! key.

use crate::support::{AUDIENCE, ISSUER, jwks, resolved, trust};
use countersign_gateway::settings::{DropInError, RawGate, RawTrust, Surroundings, choose, drop_in, resolve};
use countersign_settings::Environment;
use serde_json::{Value, json};
use std::path::Path;

fn of_trust(entry: Value) -> Result<Vec<String>, String> {
    let trust: RawTrust = serde_json::from_value(entry).map_err(|why| why.to_string())?;
    let environment =
        Environment::of(&[("SECRET", "a secret that is long enough for HS256\n"), ("SHORT", "x")]);
    let around = Surroundings { folder: Path::new("."), environment: &environment, key_cache: None };
    resolve(&[trust], &RawGate::default(), around)
        .map(|config| config.warnings)
        .map_err(|why| why.to_string())
}

#[test]
fn every_source_of_keys_and_every_preset_can_be_written() {
    for entry in [
        json!({ "issuer": ISSUER, "audiences": ["a"] }),
        json!({ "issuer": ISSUER, "audiences": ["a"], "discovery_url": "https://a.example/oidc" }),
        json!({ "issuer": ISSUER, "audiences": ["a"], "keys_url": "https://a.example/jwks", "algorithms": ["ES256", "RS256"] }),
        json!({ "issuer": ISSUER, "audiences": ["a"], "jwks": jwks(0), "algorithms": ["ES256"] }),
        json!({ "issuer": ISSUER, "audiences": ["a"], "hmac_secret": "env:SECRET", "algorithms": ["HS256"] }),
        json!({ "preset": "firebase", "id": "my-project" }),
        json!({ "preset": "firebase", "id": "my-project", "keys_url": "http://127.0.0.1:1/x509" }),
        json!({ "preset": "cognito", "id": "eu-west-1_AbCdEf123", "audiences": ["client"], "token_use": "id" }),
        json!({ "preset": "auth0", "id": "tenant.eu.auth0.com", "audiences": ["https://api"] }),
        json!({ "preset": "okta", "id": "https://d.okta.com/oauth2/default", "audiences": ["api://default"] }),
        json!({ "preset": "entra", "id": "common", "audiences": ["c"], "tenants": ["11111111-2222-3333-4444-555555555555"] }),
        json!({ "preset": "google", "id": "c.apps.googleusercontent.com" }),
        json!({ "preset": "github-actions", "id": "1234", "audiences": ["https://github.com/o"] }),
        json!({ "preset": "aws-sts", "id": "https://sts.example/1", "audiences": ["a"] }),
        json!({ "preset": "kubernetes", "id": "https://k8s.example", "audiences": ["a"] }),
        json!({ "preset": "countersign", "id": "http://127.0.0.1:8080", "audiences": ["api://default"] }),
        json!({
            "issuer": ISSUER, "audiences": ["a"], "audience_fallback": "client_id", "typ": "at+jwt", "require": ["sub"],
            "claims": { "tenant": 7 }, "leeway": "30s", "keys_min_age": "5m", "keys_max_age": "1h", "keys_stale": "0s",
        }),
    ] {
        assert_eq!(of_trust(entry.clone()), Ok(vec![]), "{entry}");
    }
}

#[test]
fn what_cannot_work_is_refused_with_its_key() {
    for (entry, says) in [
        (json!({}), "trust[0]: name an issuer"),
        (json!({ "issuer": ISSUER }), "no audiences"),
        (json!({ "preset": "firebase" }), "trust[0].id"),
        (json!({ "preset": "fierbase", "id": "x" }), "there is no preset"),
        (json!({ "preset": "cognito", "id": "x y", "audiences": ["a"] }), "user pool id"),
        (json!({ "id": "x", "issuer": ISSUER, "audiences": ["a"] }), "only a preset has an id"),
        (json!({ "preset": "auth0", "id": "a.b", "issuer": ISSUER, "audiences": ["a"] }), "leave it out"),
        (json!({ "issuer": ISSUER, "audiences": ["a"], "keys_url": "http://a.example/" }), "over https only"),
        (json!({ "issuer": ISSUER, "audiences": ["a"], "jwks": "{}", "pem": "x" }), "two sources"),
        (json!({ "issuer": ISSUER, "audiences": ["a"], "jwks": "file:no-such-file" }), "no-such-file"),
        (json!({ "issuer": ISSUER, "audiences": ["a"], "algorithms": ["none"] }), "trust[0].algorithms"),
        (
            json!({ "issuer": ISSUER, "audiences": ["a"], "algorithms": ["HS256"] }),
            "HMAC is for shared secrets",
        ),
        (
            json!({ "issuer": ISSUER, "audiences": ["a"], "hmac_secret": "a secret", "algorithms": ["HS256"] }),
            "env:NAME",
        ),
        (
            json!({ "issuer": ISSUER, "audiences": ["a"], "hmac_secret": "env:NONE", "algorithms": ["HS256"] }),
            "NONE is not set",
        ),
        (
            json!({ "issuer": ISSUER, "audiences": ["a"], "hmac_secret": "env:SHORT", "algorithms": ["HS256"] }),
            "trust[0]",
        ),
        (
            json!({ "issuer": ISSUER, "audiences": ["a"], "audience_fallback": "sub" }),
            "client_id, cid or azp",
        ),
        (json!({ "issuer": ISSUER, "audiences": ["a"], "leeway": "1h" }), "10 minutes"),
        (json!({ "issuer": ISSUER, "audiences": ["a"], "leeway": "soon" }), "trust[0].leeway"),
        (json!({ "issuer": ISSUER, "audiences": ["a"], "keys_min_age": "2days" }), "key times"),
        (
            json!({ "issuer": "https://login/{tenantid}", "audiences": ["a"], "discovery_url": "https://a.example/" }),
            "tenants",
        ),
        (
            json!({ "issuer": ISSUER, "dangerously_accept_any_issuer": true, "audiences": ["a"] }),
            "choose one",
        ),
        (json!({ "issuer": ISSUER, "audience": ["a"] }), "unknown field"),
    ] {
        let why = of_trust(entry.clone()).unwrap_err();
        assert!(why.contains(says), "{entry}: {why}");
    }
    for (gate, says) in [
        (json!({ "proxies": [{ "kind": "nginx", "networks": ["0.0.0.0/0"] }] }), "name the proxies"),
        (json!({ "proxies": [{ "kind": "nginx", "networks": ["::/0"] }] }), "name the proxies"),
        (json!({ "proxies": [{ "kind": "nginx", "networks": [] }] }), "gate.proxies[0].networks"),
        (
            json!({ "proxies": [{ "kind": "haproxy", "networks": ["::1"] }] }),
            "nginx, traefik, caddy or envoy",
        ),
        (json!({ "proxies": [{ "kind": "nginx", "networks": ["localhost"] }] }), "not a network"),
        (
            json!({ "proxies": [{ "kind": "nginx", "networks": ["10.0.0.0/8"] }, { "kind": "envoy", "networks": ["10.1.0.0/16"] }] }),
            "overlap",
        ),
        (json!({ "routes": [{ "path": "x" }] }), "gate.routes[0].path"),
        (json!({ "routes": [{ "path": "/x", "methods": ["get"] }] }), "in capitals"),
        (json!({ "routes": [{ "path": "/x", "public": true, "any_scope": ["a"] }] }), "choose one"),
        (json!({ "routes": [{ "path": "/x", "issuers": ["https://who.example"] }] }), "not a trusted issuer"),
        (json!({ "routes": [{ "path": "/x", "any_scope": ["a b"] }] }), "not a scope"),
        (json!({ "context": { "claims": "sub" } }), "gate.context"),
        (json!({ "context": { "": "sub" } }), "gate.context"),
        (json!({ "context": { "principalId": "sub" } }), "gate.context"),
        (json!({ "identity_headers": { "X_Auth": "sub" } }), "underscores"),
        (json!({ "identity_headers": { "Host": "sub" } }), "X-"),
        (json!({ "identity_headers": { "X Auth": "sub" } }), "not a header name"),
        (json!({ "identity_headers": { "X-Auth": "" } }), "name is empty"),
        (
            json!({ "identity_headers": { "X-Auth-Subject": "sub", "x-auth-subject": "name" } }),
            "gate.identity_headers.x-auth-subject: is the same header as X-Auth-Subject; keep one",
        ),
        (
            json!({ "identity_headers": { "X-A.B": "sub", "X-A-B": "sub" } }),
            "gate.identity_headers.X-A.B: is the same header as X-A-B; keep one",
        ),
        (json!({ "http_api_response": "maybe" }), "neither simple nor policy"),
        (json!({ "authorized_apis": ["*", "arn:aws:execute-api:a:1:b/*"] }), "one or the other"),
        (json!({ "authorized_apis": ["arn:aws:s3:::bucket"] }), "not an ARN"),
        (
            json!({ "authorized_apis": ["arn:aws:execute-api:a:1:b/*"], "routes": [{ "path": "/" }] }),
            "beside gate.routes",
        ),
        (json!({ "appsync_ttl": "2h" }), "gate.appsync_ttl"),
        (json!({ "principal_claim": "" }), "gate.principal_claim"),
        (json!({ "token_cache": 1_000_001 }), "gate.token_cache"),
        (
            json!({ "credentials": { "authorization": false, "query": "", "websocket_marker": "" } }),
            "a token can be nowhere",
        ),
        (json!({ "credentials": { "cookie": "a;b" } }), "gate.credentials.cookie"),
    ] {
        let why = resolved(gate.clone()).unwrap_err().to_string();
        assert!(why.contains(says), "{gate}: {why}");
    }
}

#[test]
fn what_weakens_a_check_is_said_at_start() {
    let warnings = of_trust(json!({
        "keys_url": "https://a.example/jwks", "dangerously_accept_any_issuer": true,
        "dangerously_accept_any_audience": true, "dangerously_ignore_expiry": true,
    }))
    .unwrap();
    for says in ["whatever their issuer", "whomever they were made for", "after they have expired"] {
        let telling = warnings.iter().filter(|warning| warning.contains(says)).count();
        assert_eq!(telling, 1, "{says}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    let two = [
        trust(),
        vec![serde_json::from_value(json!({
        "keys_url": "https://a.example/jwks", "dangerously_accept_any_issuer": true, "audiences": ["a"],
    })).unwrap()],
    ]
    .concat();
    let environment = Environment::of(&[]);
    let around = Surroundings { folder: Path::new("."), environment: &environment, key_cache: None };
    let why = resolve(&two, &RawGate::default(), around).unwrap_err().to_string();
    assert!(why.contains("cannot stand beside others"), "{why}");
}

#[test]
fn the_four_variables_are_enough_and_mean_what_they_say() {
    let uri = ("JWT_ISSUER_JWKS_URI", "https://keys.example/jwks");
    let audiences = ("JWT_AUTHORIZED_AUDIENCES", " a, b,,");
    let trust = |variables: &[(&str, &str)]| drop_in(&Environment::of(variables));
    assert_eq!(trust(&[audiences]).unwrap().map(|_| ()), None);
    assert_eq!(trust(&[uri]).unwrap_err(), DropInError::NoAudiences);
    assert_eq!(trust(&[uri, ("JWT_AUTHORIZED_AUDIENCES", " , ")]).unwrap_err(), DropInError::NoAudiences);
    let plain = trust(&[uri, audiences]).unwrap().unwrap();
    assert_eq!(plain.audiences, ["a", "b"]);
    assert_eq!(plain.keys_url.as_deref(), Some(uri.1));
    assert_eq!(plain.audience_fallback.as_deref(), Some("client_id"));
    assert!(plain.dangerously_accept_any_issuer && !plain.dangerously_ignore_expiry);
    let pinned = trust(&[uri, audiences, ("JWT_ISSUER", ISSUER)]).unwrap().unwrap();
    assert!(pinned.issuer.as_deref() == Some(ISSUER) && !pinned.dangerously_accept_any_issuer);
    for (text, ignored) in
        [("true", false), ("True", false), ("1", false), ("false", true), ("FALSE", true), ("0", true)]
    {
        let trust = trust(&[uri, audiences, ("JWT_VERIFY_EXPIRATION", text)]).unwrap().unwrap();
        assert_eq!(trust.dangerously_ignore_expiry, ignored, "{text}");
    }
    for text in ["no", "yes", "off", "flase"] {
        let why = trust(&[uri, audiences, ("JWT_VERIFY_EXPIRATION", text)]).unwrap_err();
        assert_eq!(why, DropInError::Expiration, "{text}");
    }
}

#[test]
fn the_configuration_counts_if_it_trusts_anybody_and_else_the_variables() {
    let api = "arn:aws:execute-api:eu-west-1:123456789012:abc/prod/*";
    let environment = Environment::of(&[
        ("JWT_ISSUER_JWKS_URI", "https://keys.example/jwks"),
        ("JWT_AUTHORIZED_AUDIENCES", AUDIENCE),
        ("AUTHORIZED_APIS", api),
    ]);
    let (chosen, gate) = choose(trust(), RawGate::default(), &environment).unwrap();
    assert_eq!((chosen.len(), gate.authorized_apis.len()), (2, 0));
    let (chosen, gate) = choose(Vec::new(), RawGate::default(), &environment).unwrap();
    assert_eq!(chosen[0].keys_url.as_deref(), Some("https://keys.example/jwks"));
    assert_eq!(gate.authorized_apis, [api]);
    let around = Surroundings { folder: Path::new("."), environment: &environment, key_cache: None };
    assert_eq!(resolve(&chosen, &gate, around).unwrap().warnings.len(), 1);
    let nobody = choose(Vec::new(), RawGate::default(), &Environment::of(&[])).unwrap_err();
    assert_eq!(nobody, DropInError::NothingTrusted);
}

#[test]
fn an_issuer_whose_path_is_or_contains_the_gates_does_not_start_where_proxies_ask() {
    let proxies = json!([{ "kind": "nginx", "networks": ["127.0.0.1/32"] }]);
    let (asked, alone) = (resolved(json!({ "proxies": proxies })).unwrap(), resolved(json!({})).unwrap());
    for path in ["/gate", "/gate/tenant", "/tenant/gate", "/a/gate/b"] {
        let why = asked.check_issuer_path(path).unwrap_err();
        assert_eq!(why.key, "issuer");
        assert!(why.why.contains(path) && why.why.contains("gate.proxies"), "{why}");
        assert_eq!(alone.check_issuer_path(path), Ok(()));
    }
    for path in ["", "/authorize", "/gates", "/my-gate", "/tenant/gate.example"] {
        assert_eq!(asked.check_issuer_path(path), Ok(()), "{path}");
    }
}
