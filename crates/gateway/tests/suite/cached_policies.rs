//! A policy that API Gateway uses again from its cache is never wider than the caller's rights, and right for the request at hand.
//!
//! IAM's evaluation is written here once more, as its documentation has it, so that the gate is not judged by its own.

use crate::support::{authorize, authorizer, event, request, shown, token};
use countersign_gateway::{Decision, Gate};
use proptest::prelude::*;
use serde_json::{Value, json};

const STAGE: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test";

/// `*` is any text, `?` any character (IAM user guide, "IAM JSON policy elements: Resource").
fn covers(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|skip| covers(rest, &text[skip..])),
        Some(('?', rest)) => !text.is_empty() && covers(rest, &text[1..]),
        Some((c, rest)) => text.first() == Some(c) && covers(rest, &text[1..]),
    }
}

/// Explicit deny, then allow, then implicit deny.
fn iam_allows(reply: &Value, arn: &str) -> bool {
    let arn: Vec<char> = arn.chars().collect();
    let some = |effect: &str| {
        let statements = reply["policyDocument"]["Statement"].as_array().unwrap().iter();
        statements.filter(|s| s["Effect"] == effect).any(|s| {
            let resources = s["Resource"].as_array().unwrap().iter();
            resources.map(|r| r.as_str().unwrap().chars().collect::<Vec<_>>()).any(|r| covers(&r, &arn))
        })
    };
    some("Allow") && !some("Deny")
}

fn ask(method: &str, path: &str, token: &str) -> Value {
    let mut asked = event("rest-request", token);
    asked["methodArn"] = json!(format!("{STAGE}/{method}{path}"));
    asked["httpMethod"] = json!(method);
    asked["path"] = json!(path);
    asked
}

async fn gate_allows(gate: &Gate, method: &str, path: &str, token: &str) -> bool {
    let decision = gate.decide(&request(method, path, Some(token)), crate::support::NOW).await;
    matches!(decision, Decision::Allow(_))
}

#[tokio::test]
async fn an_answer_for_one_route_used_again_for_another_is_right_for_it_too() {
    let authorizer = authorizer(json!({ "routes": [
        { "path": "/health", "public": true },
        { "path": "/admin/**", "any_scope": ["admin"] },
        { "methods": ["GET"], "path": "/**" },
        { "methods": ["POST", "PUT"], "path": "/orders", "any_scope": ["write"] },
    ] }));
    let requests = [
        ("GET", "/health"),
        ("GET", "/admin"),
        ("GET", "/admin/"),
        ("GET", "/admin/users"),
        ("GET", "/"),
        ("GET", "/a/b"),
        ("GET", "/administrator"),
        ("POST", "/orders"),
        ("PUT", "/orders"),
        ("POST", "/orders/1"),
        ("DELETE", "/orders"),
        ("POST", "/admin/x"),
    ];
    for scope in ["", "admin", "write", "admin write"] {
        let token = token(json!({ "scope": scope }));
        for (method, path) in requests {
            let reply = shown(&authorize(&authorizer, &ask(method, path, &token)).await.reply);
            for (other_method, other_path) in requests {
                let cached = iam_allows(&reply, &format!("{STAGE}/{other_method}{other_path}"));
                let right = gate_allows(authorizer.gate(), other_method, other_path, &token).await;
                // `/health` stands before the rule for `/**`, so nothing here is beyond a policy.
                assert_eq!(
                    cached, right,
                    "{scope:?}: {method} {path}, then {other_method} {other_path}\n{reply}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_cached_answer_does_not_open_the_ways_around_a_rule() {
    let authorizer =
        authorizer(json!({ "routes": [{ "path": "/admin/**", "any_scope": ["admin"] }, { "path": "/**" }] }));
    let token = token(json!({}));
    let reply = shown(&authorize(&authorizer, &ask("GET", "/orders", &token)).await.reply);
    assert!(iam_allows(&reply, &format!("{STAGE}/GET/orders")));
    for path in [
        "/%61dmin",
        "//admin",
        "/x/../admin",
        "/./admin",
        "/admin;x",
        "/x\\..\\admin",
        "/a/..",
        "/a%2f..%2fadmin/x",
    ] {
        assert!(!iam_allows(&reply, &format!("{STAGE}/GET{path}")), "{path}");
    }
}

#[tokio::test]
async fn a_path_with_wildcards_never_becomes_a_resource() {
    let routes = json!([{ "path": "/a/*", "any_scope": ["x"] }, { "path": "/*" }, { "path": "/b/**" }]);
    let authorizer = authorizer(json!({ "routes": routes }));
    let token = token(json!({}));
    for path in ["/*", "/b/*", "/?", "/b/??", "/${aws:username}", "/${*}", "/%2a", "/b/c*"] {
        let reply = shown(&authorize(&authorizer, &ask("GET", path, &token)).await.reply);
        for other in ["/secret", "/secret/x", "/x", "/a/x"] {
            assert!(!iam_allows(&reply, &format!("{STAGE}/GET{other}")), "{path} {reply}");
        }
        assert!(!reply.to_string().contains("${"), "{reply}");
    }
}

#[tokio::test]
async fn what_a_policy_can_not_say_is_allowed_by_its_exact_name_alone() {
    let authorizer = authorizer(json!({ "routes": [
        { "methods": ["GET"], "path": "/users/{id}" },
        { "path": "/users/*/secret", "any_scope": ["x"] },
    ] }));
    let token = token(json!({}));
    let reply = shown(&authorize(&authorizer, &ask("GET", "/users/7", &token)).await.reply);
    let resource = &reply["policyDocument"]["Statement"][0]["Resource"];
    assert_eq!(resource, &json!([format!("{STAGE}/GET/users/7")]));
    let reply = shown(&authorize(&authorizer, &ask("GET", "/users/a%40b", &token)).await.reply);
    assert!(iam_allows(&reply, &format!("{STAGE}/GET/users/a%40b")));
    assert!(!iam_allows(&reply, &format!("{STAGE}/GET/users/8")));
}

#[tokio::test]
async fn rules_too_many_for_a_policy_still_leave_a_small_reply_that_is_right() {
    let routes: Vec<Value> =
        (0..300).map(|n| json!({ "path": format!("/a-rather-long-name/{n}/**") })).collect();
    let authorizer = authorizer(json!({ "routes": routes }));
    let outcome = authorize(&authorizer, &ask("GET", "/a-rather-long-name/299/x", &token(json!({})))).await;
    let reply = shown(&outcome.reply);
    assert!(reply.to_string().len() < 8192);
    assert!(iam_allows(&reply, &format!("{STAGE}/GET/a-rather-long-name/299/x")));
    assert!(!iam_allows(&reply, &format!("{STAGE}/GET/elsewhere")));
}

fn segment() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![4 => segment(), 1 => Just("*".to_owned())];
    (prop::collection::vec(part, 0..4), any::<bool>()).prop_map(|(mut parts, open)| {
        if open {
            parts.push("**".to_owned());
        }
        format!("/{}", parts.join("/"))
    })
}

fn route() -> impl Strategy<Value = Value> {
    let methods = prop::sample::subsequence(vec!["GET", "POST"], 0..2);
    let access = prop_oneof![
        1 => Just(json!({ "public": true })),
        2 => Just(json!({})),
        2 => Just(json!({ "any_scope": ["x"] })),
        2 => Just(json!({ "any_scope": ["y"] })),
    ];
    (pattern(), methods, access).prop_map(|(path, methods, mut rule)| {
        rule["path"] = json!(path);
        rule["methods"] = json!(methods);
        rule
    })
}

fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => segment(),
        1 => Just("%61".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just(String::new()),
        1 => Just("b;x".to_owned()),
        1 => Just("%2e%2e".to_owned()),
        1 => Just("d%20e".to_owned()),
    ];
    (prop::collection::vec(part, 0..5), any::<bool>()).prop_map(|(parts, slash)| {
        let slash = if slash && !parts.is_empty() { "/" } else { "" };
        format!("/{}{slash}", parts.join("/"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cached_policy_never_allows_what_the_gate_would_refuse_and_always_says_what_it_decided(
        routes in prop::collection::vec(route(), 1..6),
        scope in prop::sample::select(vec!["", "x", "y", "x y"]),
        first in (prop::sample::select(vec!["GET", "POST", "PUT"]), path()),
        later in prop::collection::vec((prop::sample::select(vec!["GET", "POST", "PUT"]), path()), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let authorizer = authorizer(json!({ "routes": routes }));
            let token = token(json!({ "scope": scope }));
            let (method, path) = &first;
            let reply = shown(&authorize(&authorizer, &ask(method, path, &token)).await.reply);
            let right = gate_allows(authorizer.gate(), method, path, &token).await;
            prop_assert_eq!(iam_allows(&reply, &format!("{STAGE}/{method}{path}")), right, "{}", reply);
            let all = routes.iter().all(|r| r["public"] == true || r.get("any_scope").is_none()
                || r["any_scope"].as_array().unwrap().iter().any(|s| scope.contains(s.as_str().unwrap())));
            for (method, path) in &later {
                let cached = iam_allows(&reply, &format!("{STAGE}/{method}{path}"));
                let right = gate_allows(authorizer.gate(), method, path, &token).await;
                // A caller whom every rule admits may do everything: then an odd path is not a way around anything.
                prop_assert!(!cached || right || all, "then {} {}: {}", method, path, reply);
            }
            Ok(())
        })?;
    }
}
