//! `Signed::explain` against `Signed::check`, over many policies and claims: the same checks, the
//! same first failure. And what an explanation says of each. Rules of the claims themselves are in
//! `claims.rs`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use countersign_jose::{
    Algorithm, Check, ClaimName, ClaimValue, Header, Policy, Signed, SigningInput, SigningKey, SymmetricKey,
    Timestamp, Unverified, Verdict, VerifyingKey,
};
use serde_json::{Value, json};
use std::{collections::HashSet, sync::LazyLock, time::Duration};

const NOW: i64 = 1_795_590_000;

static KEYS: LazyLock<(SigningKey, VerifyingKey)> = LazyLock::new(|| {
    let secret = SymmetricKey::generate(Algorithm::HS256).unwrap();
    let signing = SigningKey::symmetric(&secret, Algorithm::HS256).unwrap();
    (signing, VerifyingKey::symmetric(&secret, Algorithm::HS256, None).unwrap())
});

fn signed(typ: Option<&str>, payload: &[u8]) -> Signed {
    let input = SigningInput::new(&Header { alg: Algorithm::HS256, kid: None, typ }.encode(), payload);
    let signature = KEYS.0.sign(&input).unwrap();
    Unverified::parse(&input.finish(&signature)).unwrap().verify(&KEYS.1).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(NOW)
}

fn explain(claims: &Value, policy: &Policy) -> Vec<Check> {
    signed(Some("JWT"), claims.to_string().as_bytes()).explain(policy, now())
}

fn code(check: &Check) -> Option<&'static str> {
    match check.verdict {
        Verdict::Failed { code, .. } => Some(code),
        Verdict::Passed | Verdict::NotReached => None,
    }
}

/// One check as a line: name, mark, expected, found.
fn line(check: &Check) -> String {
    let mark = match check.verdict {
        Verdict::Passed => "ok",
        Verdict::Failed { .. } => "bad",
        Verdict::NotReached => "--",
    };
    format!("{mark} {}: {} | {}", check.name, check.expected, check.found)
}

fn policies() -> Vec<Policy> {
    let full = || {
        Policy::new()
            .typ("JWT")
            .issuer("https://a.example")
            .subject("alice")
            .audiences(["api", "web"])
            .audience_fallback("client_id")
            .require(ClaimName::member("tenant"))
            .require_value(ClaimName::member("roles"), ClaimValue::of(&json!(["x"])).unwrap())
            .max_subject_chars(8)
            .max_age(Duration::from_secs(600))
            .leeway(Duration::from_secs(10))
    };
    vec![
        Policy::new(),
        full(),
        full().typ("at+jwt"),
        full().allow_missing_expiry(),
        full().dangerously_ignore_expiry(),
        Policy::new().audiences(Vec::<String>::new()),
        Policy::new()
            .require(ClaimName::member("iss"))
            .require(ClaimName::member("exp"))
            .max_subject_chars(3),
    ]
}

fn good() -> Value {
    json!({ "iss": "https://a.example", "sub": "alice", "aud": ["api", "other"], "exp": NOW + 900, "nbf": NOW,
            "iat": NOW - 60, "jti": "1", "tenant": 7, "roles": ["x"] })
}

/// Good claims with up to two of them replaced or removed.
fn many_claims() -> Vec<Value> {
    let mut changes: Vec<(&str, Option<Value>)> = Vec::new();
    for name in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "tenant", "roles"] {
        changes.push((name, None));
        for value in [json!(null), json!(7), json!("api"), json!("someone else"), json!(["x", 1]), json!({})]
        {
            changes.push((name, Some(value)));
        }
    }
    for (name, seconds) in [("exp", -1), ("exp", -10), ("nbf", 11), ("iat", 60), ("iat", -700)] {
        changes.push((name, Some(json!(NOW + seconds))));
    }
    changes.push(("client_id", Some(json!("api"))));
    changes.push(("client_id", Some(json!("theirs"))));
    let mut all = Vec::new();
    for (first, (name, value)) in changes.iter().enumerate() {
        for (other, replaced) in &changes[first..] {
            let mut claims = good();
            for (name, value) in [(name, value), (other, replaced)] {
                match value {
                    Some(value) => claims[*name] = value.clone(),
                    None => drop(claims.as_object_mut().unwrap().remove(*name)),
                }
            }
            all.push(claims);
        }
    }
    all
}

#[test]
fn an_explanation_fails_where_the_check_fails_and_first_for_the_same_reason() {
    let (mut seen, mut accepted) = (HashSet::new(), 0);
    for policy in policies() {
        for claims in many_claims() {
            let signed = signed(Some("JWT"), claims.to_string().as_bytes());
            let explained = signed.explain(&policy, now());
            let first = explained.iter().find_map(code);
            let outcome = signed.check(&policy, now());
            assert_eq!(first, outcome.as_ref().err().map(|why| why.code()), "{claims} {policy:?}");
            seen.extend(first);
            accepted += usize::from(outcome.is_ok());
        }
    }
    let expected = [
        "claim_missing",
        "claim_mismatch",
        "claim_wrong_type",
        "claim_wrong_typ",
        "subject_unacceptable",
        "token_expired",
        "token_issued_in_the_future",
        "token_not_yet_valid",
        "token_too_old",
    ];
    assert_eq!(seen, HashSet::from(expected));
    assert!(accepted > 100, "{accepted}");
}

#[test]
fn what_is_looked_at_depends_on_the_policy_and_not_on_the_token() {
    for policy in policies() {
        let of = |checks: &[Check]| -> Vec<_> {
            checks.iter().map(|check| (check.name.clone(), check.expected.clone())).collect()
        };
        let unreached = policy.unreached();
        assert!(unreached.iter().all(|check| check.verdict == Verdict::NotReached && check.found.is_empty()));
        for claims in [good(), json!({}), json!({ "exp": 1, "iss": "else" })] {
            assert_eq!(of(&explain(&claims, &policy)), of(&unreached), "{claims}");
        }
    }
}

#[test]
fn an_explanation_shows_what_was_expected_and_found() {
    let policy = policies().remove(1);
    let lines = |claims: Value| explain(&claims, &policy).iter().map(line).collect::<Vec<_>>();
    assert_eq!(
        lines(good()),
        [
            r#"ok typ: "JWT" | "JWT""#,
            "ok exp: in the future (leeway 10s) | 2026-11-25T07:15:00Z, in 15m",
            "ok nbf: not in the future, or absent (leeway 10s) | 2026-11-25T07:00:00Z, now",
            "ok iat: not in the future, or absent (leeway 10s) | 2026-11-25T06:59:00Z, 1m ago",
            "ok age: `iat` at most 10m ago (leeway 10s) | 2026-11-25T06:59:00Z, 1m ago",
            r#"ok iss: "https://a.example" | "https://a.example""#,
            r#"ok sub: "alice" | "alice""#,
            r#"ok aud: one of ["api","web"] | ["api","other"]"#,
            "ok claim tenant: any value but null | 7",
            r#"ok claim roles: ["x"] | ["x"]"#,
            "ok sub length: 1 to 8 characters | 5 characters",
        ]
    );
    let bad =
        json!({ "iss": "b\u{1b}[2J", "exp": NOW - 300, "client_id": "theirs", "roles": "x".repeat(300) });
    let bad = lines(bad);
    assert_eq!(bad[1], "bad exp: in the future (leeway 10s) | 2026-11-25T06:55:00Z, 5m ago");
    assert_eq!(bad[2], "ok nbf: not in the future, or absent (leeway 10s) | absent");
    assert_eq!(bad[4], "bad age: `iat` at most 10m ago (leeway 10s) | absent");
    assert_eq!(bad[5], r#"bad iss: "https://a.example" | "b\u001b[2J""#);
    assert_eq!(bad[7], r#"bad aud: one of ["api","web"] | `client_id`: "theirs""#);
    assert_eq!(bad[8], "bad claim tenant: any value but null | absent");
    assert_eq!(bad[9], format!("bad claim roles: [\"x\"] | \"{}…", "x".repeat(199)));
    assert_eq!(bad.iter().filter(|line| line.starts_with("bad")).count(), 8);
}

#[test]
fn a_claim_of_the_wrong_type_is_told_once_and_nothing_is_concluded_from_it() {
    let policy = Policy::new().issuer("a").max_age(Duration::from_secs(60)).require(ClaimName::member("exp"));
    let claims = json!({ "jti": 7, "iat": "yesterday", "iss": null, "exp": NOW + 60 });
    let lines: Vec<_> = explain(&claims, &policy).iter().map(line).collect();
    let seconds = "a whole number of seconds since 1970";
    assert_eq!(
        lines,
        [
            &format!("bad iat: {seconds} | \"yesterday\""),
            "bad iss: a string | null",
            "bad jti: a string | 7",
            "ok exp: in the future | 2026-11-25T07:01:00Z, in 1m",
            "ok nbf: not in the future, or absent | absent",
            "-- age: `iat` at most 1m ago | absent",
            &format!("ok claim exp: any value but null | {}", NOW + 60),
        ]
    );
}

#[test]
fn a_payload_that_is_no_json_object_fails_as_a_whole_and_reaches_nothing_else() {
    let policy = policies().remove(1);
    for payload in ["", "[]", "{\"a\":1,\"a\":2}", "\u{1b}"] {
        let signed = signed(None, payload.as_bytes());
        let checks = signed.explain(&policy, now());
        assert_eq!((checks[0].name.as_ref(), code(&checks[0])), ("claims", Some("token_claims_malformed")));
        assert_eq!(checks[1..], policy.unreached());
        assert_eq!(signed.check(&policy, now()).unwrap_err().code(), "token_claims_malformed");
    }
}

#[test]
fn a_client_stands_in_only_for_an_audience_that_is_not_there() {
    let policy = Policy::new().audiences(["api"]).audience_fallback("client_id");
    for (claims, expected) in [
        (json!({ "client_id": "api" }), "ok"),
        (json!({ "aud": "api", "client_id": "theirs" }), "ok"),
        (json!({ "client_id": "theirs" }), "claim_mismatch"),
        (json!({ "client_id": ["api"] }), "claim_missing"),
        (json!({}), "claim_missing"),
        (json!({ "aud": [], "client_id": "api" }), "claim_missing"),
        (json!({ "aud": "theirs", "client_id": "api" }), "claim_mismatch"),
        (json!({ "aud": null, "client_id": "api" }), "claim_wrong_type"),
    ] {
        let mut claims = claims;
        claims["exp"] = json!(NOW + 60);
        let outcome = signed(None, claims.to_string().as_bytes()).check(&policy, now());
        assert_eq!(outcome.as_ref().map_or_else(|why| why.code(), |_| "ok"), expected, "{claims}");
    }
    // Without a list of audiences nothing is compared.
    let open = Policy::new().audience_fallback("client_id");
    assert!(!explain(&json!({ "exp": NOW + 60 }), &open).iter().any(Check::failed));
}
