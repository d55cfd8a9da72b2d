//! The decision: first rule that matches, default deny, and what a rule may ask for.

use crate::support::{
    AUDIENCE, ISSUER, NOW, OTHER_ISSUER, authorizer, forged_token, other_token, request, token, token_of_kind,
};
use countersign_gateway::{Decision, RefusalKind};
use serde_json::{Value, json};

async fn decide(gate: Value, method: &str, path: &str, token: Option<&str>) -> Decision {
    authorizer(gate).gate().decide(&request(method, path, token), NOW).await
}

/// `allow`, or the code of the refusal.
async fn code(gate: &Value, method: &str, path: &str, token: Option<&str>) -> &'static str {
    match decide(gate.clone(), method, path, token).await {
        Decision::Allow(_) => "allow",
        Decision::Deny(denial) => denial.refusal.code(),
    }
}

#[tokio::test]
async fn without_rules_a_verified_token_opens_everything_and_nothing_else_does() {
    let gate = json!({});
    let good = token(json!({}));
    for path in ["/", "/a/b", "$connect"] {
        assert_eq!(code(&gate, "GET", path, Some(&good)).await, "allow");
        assert_eq!(code(&gate, "GET", path, None).await, "credential_missing");
        assert_eq!(code(&gate, "GET", path, Some("x")).await, "token_not_compact");
        assert_eq!(code(&gate, "GET", path, Some(&forged_token())).await, "token_bad_signature");
    }
    for (changes, why) in [
        (json!({ "exp": NOW.unix_seconds() - 60 }), "token_expired"),
        (json!({ "exp": null }), "claim_missing"),
        (json!({ "aud": "https://other-api.example" }), "claim_mismatch"),
        (json!({ "iss": "https://unknown.example" }), "issuer_unknown"),
        (json!({ "iss": OTHER_ISSUER }), "token_bad_signature"),
    ] {
        assert_eq!(code(&gate, "GET", "/", Some(&token(changes))).await, why);
    }
}

#[tokio::test]
async fn a_token_of_a_kind_that_is_for_something_else_opens_nothing() {
    let gate = json!({});
    for typ in ["JWT", "at+jwt", "application/at+jwt", "upload"] {
        assert_eq!(code(&gate, "GET", "/", Some(&token_of_kind(typ))).await, "allow", "{typ}");
    }
    for typ in ["upload+jwt", "Upload+JWT", "application/upload+jwt", "oauth-id-jag+jwt"] {
        let token = token_of_kind(typ);
        assert_ne!(code(&gate, "GET", "/", Some(&token)).await, "allow", "{typ}");
        let (decision, checks) =
            authorizer(gate.clone()).gate().explain(&request("GET", "/", Some(&token)), NOW).await;
        assert!(matches!(decision, Decision::Deny(_)), "{typ}");
        let of_typ = |name: &str| name == "typ";
        assert!(checks.iter().any(|check| of_typ(&check.name)), "{typ}: {checks:?}");
    }
}

#[tokio::test]
async fn the_first_rule_that_matches_decides_and_no_match_is_a_refusal() {
    let gate = json!({ "routes": [
        { "path": "/health", "public": true },
        { "methods": ["GET", "HEAD"], "path": "/orders/**", "any_scope": ["orders:read"] },
        { "path": "/orders/**", "all_scopes": ["orders:read", "orders:write"] },
        { "methods": ["GET"], "path": "/me" },
    ] });
    let reader = token(json!({ "scope": "openid orders:read" }));
    let writer = token(json!({ "scope": "orders:write orders:read" }));
    for (method, path, token, expected) in [
        ("GET", "/health", None, "allow"),
        ("GET", "/health/", None, "allow"),
        ("GET", "/healthx", None, "credential_missing"),
        ("GET", "/orders/7", Some(&reader), "allow"),
        ("GET", "/orders", Some(&reader), "allow"),
        ("HEAD", "/orders/7", Some(&reader), "allow"),
        ("POST", "/orders/7", Some(&reader), "route_scope"),
        ("POST", "/orders/7", Some(&writer), "allow"),
        ("GET", "/orders/7", None, "credential_missing"),
        ("GET", "/me", Some(&reader), "allow"),
        ("POST", "/me", Some(&reader), "route_none"),
        ("GET", "/other", Some(&writer), "route_none"),
        ("get", "/me", Some(&reader), "method_malformed"),
        ("", "/me", Some(&reader), "method_malformed"),
        ("GET", "$connect", Some(&reader), "route_none"),
    ] {
        let token = token.map(String::as_str);
        assert_eq!(code(&gate, method, path, token).await, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn scopes_are_read_in_all_their_forms_and_compared_whole() {
    let gate = json!({ "routes": [{ "path": "/**", "any_scope": ["a:read", "b:read"] }] });
    for claims in [
        json!({ "scope": "x a:read y" }),
        json!({ "scope": ["x", "b:read"] }),
        json!({ "scp": ["a:read"] }),
        json!({ "scp": "b:read x" }),
        json!({ "scope": "x", "scp": "a:read" }),
        json!({ "scope": "\u{61}:read" }),
    ] {
        assert_eq!(code(&gate, "GET", "/", Some(&token(claims.clone()))).await, "allow", "{claims}");
    }
    for claims in [
        json!({}),
        json!({ "scope": "" }),
        json!({ "scope": "a:readx" }),
        json!({ "scope": "A:READ" }),
        json!({ "scope": "a:read,b:read" }),
        json!({ "scope": ["a:read b:read"] }),
        json!({ "scope": [["a:read"]] }),
        json!({ "scope": { "a:read": true } }),
        json!({ "scopes": "a:read" }),
    ] {
        assert_eq!(code(&gate, "GET", "/", Some(&token(claims.clone()))).await, "route_scope", "{claims}");
    }
}

#[tokio::test]
async fn claims_and_issuers_narrow_a_rule() {
    let gate = json!({ "routes": [
        { "path": "/admin/**", "claims": { "cognito:groups": "admin", "/realm_access/level": 3 } },
        { "path": "/partners/**", "issuers": [OTHER_ISSUER] },
    ] });
    let admin = json!({ "cognito:groups": ["dev", "admin"], "realm_access": { "level": 3 } });
    assert_eq!(code(&gate, "GET", "/admin/x", Some(&token(admin))).await, "allow");
    for claims in [
        json!({}),
        json!({ "cognito:groups": ["dev"], "realm_access": { "level": 3 } }),
        json!({ "cognito:groups": "administrator", "realm_access": { "level": 3 } }),
        json!({ "cognito:groups": ["admin"], "realm_access": { "level": "3" } }),
        json!({ "cognito:groups": ["admin"], "realm_access": 3 }),
        json!({ "cognito:groups": ["admin"], "/realm_access/level": 4 }),
    ] {
        assert_eq!(
            code(&gate, "GET", "/admin/x", Some(&token(claims.clone()))).await,
            "route_claim",
            "{claims}"
        );
    }
    assert_eq!(code(&gate, "GET", "/partners/x", Some(&other_token(json!({})))).await, "allow");
    assert_eq!(code(&gate, "GET", "/partners/x", Some(&token(json!({})))).await, "route_issuer");
}

#[tokio::test]
async fn on_a_public_route_a_good_token_says_who_it_is_and_a_bad_one_says_nothing() {
    let gate = json!({ "routes": [{ "path": "/**", "public": true }] });
    let caller = |decision: Decision| match decision {
        Decision::Allow(grant) => grant.caller().map(|c| c.verified().registered().sub.clone().unwrap()),
        Decision::Deny(denial) => panic!("{denial:?}"),
    };
    let good = token(json!({}));
    assert_eq!(caller(decide(gate.clone(), "GET", "/", Some(&good)).await).as_deref(), Some("alice"));
    assert_eq!(caller(decide(gate.clone(), "GET", "/", None).await), None);
    assert_eq!(caller(decide(gate.clone(), "GET", "/", Some(&forged_token())).await), None);
    let mut two = request("GET", "/", Some(&good));
    two.query.push(("authorization".into(), other_token(json!({})).into()));
    assert_eq!(caller(authorizer(gate).gate().decide(&two, NOW).await), None);
}

#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_is_refused_whatever_the_rules() {
    let gate = json!({ "routes": [{ "path": "/public/**", "public": true }, { "path": "/**" }] });
    let good = token(json!({}));
    for path in [
        "/public/../admin",
        "/public/..;/admin",
        "/public/%2e%2e/admin",
        "/public/.%2e/admin",
        "/public%2fadmin",
        "/public/%5c../admin",
        "/public//admin",
        "//admin",
        "/public/admin;x",
        "/public/%252e%252e/admin",
        "/public/\u{0}",
        "/public/*",
        "public/x",
        "",
    ] {
        let decision = decide(gate.clone(), "GET", path, Some(&good)).await;
        let Decision::Deny(denial) = decision else { panic!("{path}: {decision:?}") };
        assert!(denial.refusal.code().starts_with("path_"), "{path}: {}", denial.refusal);
        assert_eq!(denial.refusal.kind(), RefusalKind::Forbidden, "{path}");
    }
    // The same path, differently written, is the same path.
    assert_eq!(code(&gate, "GET", "/%70ublic/x", None).await, "allow");
    let scoped = json!({ "routes": [{ "path": "/admin", "any_scope": ["admin"] }, { "path": "/**" }] });
    for path in ["/admin", "/admin/", "/%61dmin", "/adm%69n/"] {
        assert_eq!(code(&scoped, "GET", path, Some(&good)).await, "route_scope", "{path}");
    }
}

#[tokio::test]
async fn what_a_refusal_shows_holds_nothing_of_the_token() {
    let secret = token(json!({ "sub": "MARKER-SUBJECT", "aud": "MARKER-AUDIENCE" }));
    let decision = decide(json!({}), "GET", "/", Some(&secret)).await;
    let Decision::Deny(denial) = decision else { panic!() };
    let shown = format!("{denial:?} {}", denial.refusal);
    assert!(!shown.contains("MARKER") && !shown.contains(&secret[..20]), "{shown}");
    let mut facts = request("GET", "/", Some(&secret));
    facts.query.push(("authorization".into(), secret.clone().into()));
    assert!(!format!("{facts:?}").contains(&secret[..20]));
    assert!(AUDIENCE != "MARKER-AUDIENCE" && ISSUER != OTHER_ISSUER);
}
