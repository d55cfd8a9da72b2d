//! DPoP at the gate: which token goes with which scheme and proof, for which URL, once; behind each
//! kind of proxy.

use crate::support::{NOW, other_token, request, resolved, token, trust};
use countersign_gateway::{
    Decision, RequestFacts,
    forward_auth::{Answer, ForwardAuth},
    lambda::Authorizer,
    settings::{RawGate, Surroundings, resolve},
};
use countersign_jose::{Algorithm, KeySize, PublicJwk, SigningKey, Timestamp, base64url};
use countersign_settings::Environment;
use countersign_verifier::dpop::ath;
use http::Request;
use serde_json::{Value, json};
use std::{path::Path, sync::LazyLock, time::Duration};

const URL: &str = "https://api.example/orders/7";

static KEYS: LazyLock<[SigningKey; 2]> =
    LazyLock::new(|| [(); 2].map(|()| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap()));

fn jkt(which: usize) -> String {
    KEYS[which].public_key().unwrap().thumbprint()
}

/// A good token that is bound to the first key.
pub(crate) fn bound() -> String {
    token(json!({ "cnf": { "jkt": jkt(0) }, "scope": "read" }))
}

/// A proof by a key, with these changes; null removes a claim.
fn proof_by(which: usize, token: &str, changes: Value) -> String {
    let key = &KEYS[which];
    let public = key.public_key().unwrap().clone();
    let jwk = PublicJwk { kid: "k".into(), algorithm: key.algorithm(), key: public };
    let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
    let mut claims =
        json!({ "jti": "one", "htm": "GET", "htu": URL, "iat": NOW.unix_seconds(), "ath": ath(token) });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    let encode = |value: &Value| base64url::encode(value.to_string().as_bytes());
    let input = format!("{}.{}", encode(&header), encode(&claims));
    let signature = key.sign_bytes(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(&signature))
}

/// A proof by the key of the bound token.
pub(crate) fn proof(token: &str, changes: Value) -> String {
    proof_by(0, token, changes)
}

fn gate_of(settings: Value) -> Authorizer {
    resolved(settings).unwrap().into_authorizer()
}

fn settings() -> Value {
    json!({ "dpop": { "public_urls": ["https://api.example"] } })
}

/// A request with these values of `Authorization` and `DPoP`.
fn facts<'a>(authorization: &str, proofs: &[&str]) -> RequestFacts<'a> {
    let mut facts = request("GET", "/orders/7", None);
    facts.headers.push(("Authorization".into(), authorization.to_owned().into()));
    facts.headers.extend(proofs.iter().map(|proof| ("DPoP".into(), (*proof).to_owned().into())));
    facts
}

async fn code(gate: &Authorizer, facts: &RequestFacts<'_>, now: Timestamp) -> &'static str {
    let decision = gate.gate().decide(facts, now).await;
    let (explained, checks) = gate_of(settings()).gate().explain(facts, now).await;
    let code = |decision: &Decision| match decision {
        Decision::Allow(_) => "allow",
        Decision::Deny(denial) => denial.refusal.code(),
    };
    // A gate of its own has not seen the proof.
    if code(&decision) != "dpop_replayed" {
        assert_eq!(code(&explained), code(&decision), "{checks:?}");
        assert_eq!(
            checks.iter().any(countersign_verifier::Check::failed),
            code(&decision) != "allow",
            "{checks:?}"
        );
    }
    code(&decision)
}

#[tokio::test]
async fn a_bound_token_needs_the_scheme_and_a_proof_and_any_other_has_neither() {
    let (bound, free) = (bound(), token(json!({})));
    let good = proof(&bound, json!({}));
    let other_cnf = token(json!({ "cnf": { "x5t#S256": jkt(0) } }));
    for (name, authorization, proofs, expected) in [
        ("good", format!("DPoP {bound}"), vec![good.clone()], "allow"),
        ("no proof", format!("DPoP {bound}"), vec![], "dpop_proof_missing"),
        ("as a bearer token", format!("Bearer {bound}"), vec![], "dpop_bound_as_bearer"),
        (
            "as a bearer token with a proof",
            format!("Bearer {bound}"),
            vec![good.clone()],
            "dpop_bound_as_bearer",
        ),
        ("bare, as API Gateway takes it", bound.clone(), vec![good.clone()], "dpop_bound_as_bearer"),
        ("not bound", format!("DPoP {free}"), vec![proof(&free, json!({}))], "dpop_not_bound"),
        ("not bound, a bearer token", format!("Bearer {free}"), vec![], "allow"),
        (
            "not bound, with a needless proof",
            format!("Bearer {free}"),
            vec![proof(&free, json!({}))],
            "allow",
        ),
        ("bound by a certificate", format!("Bearer {other_cnf}"), vec![], "binding_unknown"),
        ("bound by a certificate, DPoP", format!("DPoP {other_cnf}"), vec![], "binding_unknown"),
        ("two proofs", format!("DPoP {bound}"), vec![good.clone(), good.clone()], "dpop_proof_several"),
        ("two in one", format!("DPoP {bound}"), vec![format!("{good}, {good}")], "dpop_proof_several"),
        ("another key", format!("DPoP {bound}"), vec![proof_by(1, &bound, json!({}))], "dpop_other_key"),
        ("another token", format!("DPoP {bound}"), vec![proof(&free, json!({}))], "dpop_access_token"),
        (
            "no ath",
            format!("DPoP {bound}"),
            vec![proof(&bound, json!({ "ath": null }))],
            "dpop_claim_missing",
        ),
        (
            "another method",
            format!("DPoP {bound}"),
            vec![proof(&bound, json!({ "htm": "POST" }))],
            "dpop_method",
        ),
        (
            "another path",
            format!("DPoP {bound}"),
            vec![proof(&bound, json!({ "htu": "https://api.example/orders/8" }))],
            "dpop_url",
        ),
        (
            "another host",
            format!("DPoP {bound}"),
            vec![proof(&bound, json!({ "htu": "https://other.example/orders/7" }))],
            "dpop_url",
        ),
        (
            "with a query",
            format!("DPoP {bound}"),
            vec![proof(&bound, json!({ "htu": format!("{URL}?a=b") }))],
            "allow",
        ),
        (
            "too old",
            format!("DPoP {bound}"),
            vec![proof(&bound, json!({ "iat": NOW.unix_seconds() - 61 }))],
            "dpop_time",
        ),
        (
            "a strange nonce",
            format!("DPoP {bound}"),
            vec![proof(&bound, json!({ "nonce": "x" }))],
            "dpop_nonce",
        ),
    ] {
        let gate = gate_of(settings());
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        assert_eq!(code(&gate, &facts(&authorization, &proofs), NOW).await, expected, "{name}");
    }
    // Never from a query.
    let gate = gate_of(settings());
    let mut by_query = facts("", &[&good]);
    by_query.headers.retain(|(name, _)| name == "DPoP");
    by_query.query.push(("authorization".into(), bound.into()));
    assert_eq!(code(&gate, &by_query, NOW).await, "dpop_bound_as_bearer");
}

#[tokio::test]
async fn a_proof_opens_once_and_when_there_is_no_room_nothing() {
    let gate = gate_of(json!({ "dpop": { "public_urls": ["https://api.example"], "proofs": 3 } }));
    let bound = bound();
    let authorization = format!("DPoP {bound}");
    let shown = async |jti: &str, now: Timestamp| {
        let proof = proof(&bound, json!({ "jti": jti, "iat": now.unix_seconds() }));
        code(&gate, &facts(&authorization, &[&proof]), now).await
    };
    assert_eq!(shown("a", NOW).await, "allow");
    assert_eq!(shown("a", NOW).await, "dpop_replayed");
    assert_eq!(shown("b", NOW).await, "allow");
    let full = proof(&bound, json!({ "jti": "c" }));
    let decision = gate.gate().decide(&facts(&authorization, &[&full]), NOW).await;
    let Decision::Deny(denial) = decision else { panic!("{decision:?}") };
    assert_eq!(denial.refusal.code(), "dpop_full");
    // What is refused takes no room, whatever it is; and what has ended gives it back.
    assert_eq!(shown("c", NOW.plus(Duration::from_secs(62))).await, "allow");
}

#[tokio::test]
async fn a_public_route_is_open_to_everybody_and_says_who_it_is_only_with_a_proof() {
    let mut settings = settings();
    settings["routes"] = json!([{ "path": "/orders/**", "public": true }]);
    let bound = bound();
    for (authorization, proofs, known) in [
        (format!("DPoP {bound}"), vec![proof(&bound, json!({}))], true),
        (format!("DPoP {bound}"), vec![], false),
        (format!("Bearer {bound}"), vec![proof(&bound, json!({}))], false),
    ] {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        match gate_of(settings.clone()).gate().decide(&facts(&authorization, &proofs), NOW).await {
            Decision::Allow(grant) => assert_eq!(grant.caller().is_some(), known, "{authorization}"),
            Decision::Deny(denial) => panic!("{denial:?}"),
        }
    }
}

#[tokio::test]
async fn an_issuer_may_be_trusted_for_bound_tokens_alone() {
    let (environment, mut trust) = (Environment::of(&[]), trust());
    trust[0].dpop = true;
    let gate: RawGate = serde_json::from_value(settings()).unwrap();
    let around = Surroundings { folder: Path::new("."), environment: &environment, key_cache: None };
    let gate = resolve(&trust, &gate, around).unwrap().into_authorizer();
    let (bound, free, other) = (bound(), token(json!({})), other_token(json!({})));
    let decide = async |authorization: String, proofs: Vec<String>| {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        match gate.gate().decide(&facts(&authorization, &proofs), NOW).await {
            Decision::Allow(_) => "allow",
            Decision::Deny(denial) => denial.refusal.code(),
        }
    };
    assert_eq!(decide(format!("Bearer {free}"), vec![]).await, "claim_missing");
    assert_eq!(decide(format!("DPoP {bound}"), vec![proof(&bound, json!({}))]).await, "allow");
    assert_eq!(decide(format!("Bearer {other}"), vec![]).await, "allow");
}

#[tokio::test]
async fn a_route_may_want_bound_tokens_alone() {
    let mut settings = settings();
    settings["routes"] = json!([{ "path": "/orders/**", "dpop": true }, { "path": "/**" }]);
    let gate = gate_of(settings);
    let (bound, free) = (bound(), token(json!({})));
    let decide = async |path: &'static str, authorization: String, proofs: Vec<String>| {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        let facts = RequestFacts { path: path.into(), ..facts(&authorization, &proofs) };
        match gate.gate().decide(&facts, NOW).await {
            Decision::Allow(_) => "allow",
            Decision::Deny(denial) => denial.refusal.code(),
        }
    };
    assert_eq!(decide("/orders/7", format!("Bearer {free}"), vec![]).await, "route_dpop");
    assert_eq!(decide("/orders/7", format!("DPoP {bound}"), vec![proof(&bound, json!({}))]).await, "allow");
    assert_eq!(decide("/other", format!("Bearer {free}"), vec![]).await, "allow");
}

fn forward_auth(settings: Value) -> ForwardAuth {
    resolved(settings).unwrap().into_forward_auth().unwrap()
}

async fn ask(gate: &ForwardAuth, kind: &str, headers: &[(&str, &str)], now: Timestamp) -> Answer {
    let (from, uri, rest, mut all) = match kind {
        "nginx" => (
            "127.0.0.1",
            "/gate",
            "",
            vec![("X-Original-Method", "GET"), ("X-Original-URI", "/orders/7?a=b")],
        ),
        "envoy" => ("10.3.0.7", "/gate/orders/7?a=b", "/orders/7", vec![]),
        kind => (
            if kind == "traefik" { "10.1.0.1" } else { "10.2.0.1" },
            "/gate",
            "",
            vec![("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/orders/7?a=b")],
        ),
    };
    all.extend(headers);
    let mut request = Request::builder().method("GET").uri(uri);
    for (name, value) in all {
        request = request.header(name, value);
    }
    let parts = request.body(()).unwrap().into_parts().0;
    gate.answer(&parts, rest, from.parse().unwrap(), now).await
}

fn proxied(dpop: Value) -> Value {
    json!({ "dpop": dpop, "proxies": [
        { "kind": "nginx", "networks": ["127.0.0.1/32"] }, { "kind": "traefik", "networks": ["10.1.0.0/16"] },
        { "kind": "caddy", "networks": ["10.2.0.0/16"] }, { "kind": "envoy", "networks": ["10.3.0.7"] },
    ]})
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn behind_every_proxy_a_proof_is_for_the_configured_url() {
    let bound = bound();
    let authorization = format!("DPoP {bound}");
    for kind in ["nginx", "traefik", "caddy", "envoy"] {
        let gate = forward_auth(proxied(
            json!({ "public_urls": ["https://api.example", "https://www.example/v1"] }),
        ));
        for (number, (url, expected)) in [
            (URL, "allow"),
            ("https://www.example/v1/orders/7", "allow"),
            ("https://www.example/orders/7", "dpop_url"),
            ("https://forwarded.example/orders/7", "dpop_url"),
        ]
        .into_iter()
        .enumerate()
        {
            let proof = proof(&bound, json!({ "htu": url, "jti": format!("{kind}{number}") }));
            // Where URLs are configured, no header counts.
            let headers = [
                ("Authorization", authorization.as_str()),
                ("DPoP", &proof),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Host", "forwarded.example"),
            ];
            let answer = ask(&gate, kind, &headers, NOW).await;
            assert_eq!(answer.code, expected, "{kind} {url}");
            assert!(header(&answer, "DPoP-Nonce").is_some(), "a nonce for the next proof: {kind} {url}");
        }
    }
}

#[tokio::test]
async fn behind_a_proxy_no_header_says_what_the_url_is() {
    let bound = bound();
    let authorization = format!("DPoP {bound}");
    // A proof that was made for another service, which shows it here.
    let proof = proof(&bound, json!({ "htu": "https://evil.example/orders/7" }));
    let headers = [
        ("Authorization", authorization.as_str()),
        ("DPoP", &proof),
        ("Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
    ];
    for kind in ["nginx", "traefik", "caddy", "envoy"] {
        let gate = forward_auth(json!({ "proxies": proxied(json!({}))["proxies"] }));
        let answer = ask(&gate, kind, &headers, NOW).await;
        assert_eq!((answer.code, answer.response.status().as_u16()), ("dpop_url_unknown", 401), "{kind}");
        // A gate that wants bound tokens and could accept none does not start.
        let mut settings = json!({ "routes": [{ "path": "/**", "dpop": true }] });
        settings["proxies"] = json!([{ "kind": kind, "networks": ["127.0.0.1/32"] }]);
        assert_eq!(resolved(settings).unwrap_err().key, "gate.dpop.public_urls", "{kind}");
    }
}

#[tokio::test]
async fn challenges_say_what_is_wrong_with_a_proof_and_hand_out_a_nonce_that_is_taken() {
    let dpop = json!({ "public_urls": ["https://api.example"], "require_nonce": true });
    let gate = forward_auth(proxied(dpop));
    let bound = bound();
    let authorization = format!("DPoP {bound}");
    let algs = "algs=\"ES256 ES384 ES512 EdDSA Ed25519 PS256 PS384 PS512 RS256 RS384 RS512\"";

    let missing = ask(&gate, "nginx", &[], NOW).await;
    assert_eq!(missing.response.status(), 401);
    assert_eq!(header(&missing, "WWW-Authenticate"), Some(&*format!("Bearer, DPoP {algs}")));
    let first = proof(&bound, json!({ "iat": 0 }));
    let refused = ask(&gate, "nginx", &[("Authorization", &authorization), ("DPoP", &first)], NOW).await;
    assert_eq!(
        (refused.response.status().as_u16(), refused.response.body().as_str()),
        (401, r#"{"error":"use_dpop_nonce"}"#)
    );
    let challenge = header(&refused, "WWW-Authenticate").unwrap();
    assert!(challenge.starts_with("DPoP error=\"use_dpop_nonce\", error_description=\""), "{challenge}");
    assert!(challenge.ends_with(algs), "{challenge}");
    let nonce = header(&refused, "DPoP-Nonce").unwrap().to_owned();
    let second = proof(&bound, json!({ "iat": 0, "nonce": nonce }));
    let allowed = ask(&gate, "nginx", &[("Authorization", &authorization), ("DPoP", &second)], NOW).await;
    assert_eq!(allowed.code, "allow");
    assert!(header(&allowed, "DPoP-Nonce").is_some(), "and a new one on success");
    let again = ask(&gate, "nginx", &[("Authorization", &authorization), ("DPoP", &second)], NOW).await;
    assert_eq!(again.code, "dpop_replayed");

    let (free, as_bearer) = (token(json!({})), format!("Bearer {bound}"));
    for (authorization, challenge) in [
        (format!("DPoP {free}"), "Bearer error=\"invalid_token\"".to_owned()),
        (as_bearer, format!("DPoP error=\"invalid_token\", {algs}")),
    ] {
        let answer = ask(&gate, "nginx", &[("Authorization", &authorization)], NOW).await;
        assert_eq!(
            (answer.response.status().as_u16(), header(&answer, "WWW-Authenticate")),
            (401, Some(&*challenge))
        );
    }
    // What else is wrong with a token is told in the scheme it was shown with (RFC 9449 §7.1).
    let forged = format!("{}AAAA", &bound[..bound.len() - 4]);
    for (scheme, rest) in [("Bearer", String::new()), ("DPoP", format!(", {algs}"))] {
        let authorization = format!("{scheme} {forged}");
        let answer = ask(&gate, "nginx", &[("Authorization", &authorization)], NOW).await;
        let challenge = format!("{scheme} error=\"invalid_token\"{rest}");
        assert_eq!(
            (answer.code, header(&answer, "WWW-Authenticate")),
            ("token_bad_signature", Some(&*challenge))
        );
    }
    // A wrong clock is told in what a header may hold.
    let gate = forward_auth(proxied(json!({ "public_urls": ["https://api.example"] })));
    let late = proof(&bound, json!({ "iat": NOW.unix_seconds() - 600 }));
    let answer = ask(&gate, "nginx", &[("Authorization", &authorization), ("DPoP", &late)], NOW).await;
    let challenge = header(&answer, "WWW-Authenticate").unwrap();
    assert!(challenge.contains("1799999400") && challenge.contains("1800000000"), "{challenge}");
    assert_eq!(challenge.matches('"').count(), 6, "{challenge}");
}

#[tokio::test]
async fn gates_that_share_a_secret_take_each_others_nonces_and_others_do_not() {
    let folder = tempfile_with(b"a secret of more than thirty-two bytes\n");
    let secret = format!("shared-file:{}", folder.display());
    let bound = bound();
    let authorization = format!("DPoP {bound}");
    let gate = |secret: Option<&str>| {
        let dpop =
            json!({ "public_urls": ["https://api.example"], "require_nonce": true, "nonce_secret": secret });
        forward_auth(proxied(dpop))
    };
    let (one, other, stranger) = (gate(Some(&secret)), gate(Some(&secret)), gate(None));
    let refused =
        ask(&one, "nginx", &[("Authorization", &authorization), ("DPoP", &proof(&bound, json!({})))], NOW)
            .await;
    let nonce = header(&refused, "DPoP-Nonce").unwrap().to_owned();
    let second = proof(&bound, json!({ "nonce": nonce }));
    let headers = [("Authorization", authorization.as_str()), ("DPoP", second.as_str())];
    assert_eq!(ask(&stranger, "nginx", &headers, NOW).await.code, "dpop_nonce");
    assert_eq!(ask(&other, "nginx", &headers, NOW).await.code, "allow");
    std::fs::remove_file(folder).unwrap();
}

#[tokio::test]
async fn a_gate_that_follows_another_takes_no_proof_again_and_its_nonces() {
    let bound = bound();
    let authorization = format!("DPoP {bound}");
    let settings = |more: Value| proxied(merged(json!({ "public_urls": ["https://api.example"] }), more));
    let before = forward_auth(settings(json!({})));
    let used = proof(&bound, json!({}));
    let headers = [("Authorization", authorization.as_str()), ("DPoP", used.as_str())];
    let answer = ask(&before, "nginx", &headers, NOW).await;
    assert_eq!(answer.code, "allow");
    let mut after = forward_auth(settings(json!({ "window": "2m", "proofs": 3, "require_nonce": true })));
    after.follow(&before);
    let nonce = header(&answer, "DPoP-Nonce").unwrap();
    let next = proof(&bound, json!({ "jti": "two", "nonce": nonce }));
    assert_eq!(ask(&after, "nginx", &[headers[0], ("DPoP", &next)], NOW).await.code, "allow");
    let full = proof(&bound, json!({ "jti": "three", "nonce": nonce }));
    assert_eq!(ask(&after, "nginx", &[headers[0], ("DPoP", &full)], NOW).await.code, "dpop_full");
    let mut last = forward_auth(settings(json!({ "window": "10s" })));
    last.follow(&after);
    for proof in [&used, &next] {
        assert_eq!(ask(&last, "nginx", &[headers[0], ("DPoP", proof)], NOW).await.code, "dpop_replayed");
    }
}

fn tempfile_with(text: &[u8]) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("countersign-nonce-{}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

/// One object with the members of another over it.
pub(crate) fn merged(mut one: Value, other: Value) -> Value {
    for (name, value) in other.as_object().unwrap() {
        one[name] = value.clone();
    }
    one
}
