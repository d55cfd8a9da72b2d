//! A policy that API Gateway uses again from its cache is never wider than the caller's rights, and
//! right for the request at hand.
//!
//! IAM's evaluation is written here once more, as its documentation has it, so that the gate is not
//! judged by its own.

use crate::support::{authorize, authorizer, event, request, shown, token};
use countersign_gateway::{Decision, Gate, lambda::Reply};
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
async fn an_answer_says_the_same_of_its_caller_whatever_it_was_asked_about() {
    let authorizer = authorizer(json!({
        "usage_identifier_claim": "plan", "routes": [{ "path": "/orders/**" }]
    }));
    let token = token(json!({ "plan": "the-key-of-a-usage-plan" }));
    let admitted = shown(&authorize(&authorizer, &ask("GET", "/orders/7", &token)).await.reply);
    let refused = shown(&authorize(&authorizer, &ask("GET", "/admin", &token)).await.reply);
    assert!(!iam_allows(&refused, &format!("{STAGE}/GET/admin")));
    assert!(iam_allows(&refused, &format!("{STAGE}/GET/orders/7")));
    assert_eq!(refused["context"]["sub"], "alice");
    assert_eq!(refused["usageIdentifierKey"], "the-key-of-a-usage-plan");
    assert_eq!(refused, admitted);
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
        for other in ["/secret/x", "/a/x", "/b"] {
            let right = gate_allows(authorizer.gate(), "GET", other, &token).await;
            if right {
                continue;
            }
            assert!(!iam_allows(&reply, &format!("{STAGE}/GET{other}")), "{path} {reply}");
        }
        assert!(!reply.to_string().contains("${"), "{reply}");
    }
}

#[tokio::test]
async fn what_a_policy_cannot_say_is_allowed_by_its_name_beside_what_it_can() {
    // The Deny that keeps the first star from taking slashes would deny the second rule.
    let authorizer = authorizer(json!({ "routes": [
        { "methods": ["GET"], "path": "/users/{id}" },
        { "methods": ["GET"], "path": "/users/{id}/items" },
        { "methods": ["GET"], "path": "/files/secret", "any_scope": ["x"] },
        { "methods": ["GET"], "path": "/files/**" },
    ] }));
    let good = token(json!({}));
    let reply = shown(&authorize(&authorizer, &ask("GET", "/users/7/items", &good)).await.reply);
    // A Deny stands against the name, so the request is allowed alone.
    for path in ["/users/7/items", "/users/8/items", "/users/7", "/files/x", "/files/secret"] {
        let allowed = path == "/users/7/items";
        assert_eq!(iam_allows(&reply, &format!("{STAGE}/GET{path}")), allowed, "{path} {reply}");
    }
    let reply = shown(&authorize(&authorizer, &ask("GET", "/files/a%40b", &good)).await.reply);
    assert_eq!(
        reply["policyDocument"]["Statement"][0]["Resource"],
        json!([format!("{STAGE}/GET/files/a%40b")])
    );
    // Nothing stands against this one: it is allowed, and so is what can be said.
    let beside = crate::support::authorizer(json!({ "routes": [
        { "methods": ["GET"], "path": "/a/*/c/**" }, { "methods": ["GET"], "path": "/b" },
    ] }));
    let reply = shown(&authorize(&beside, &ask("GET", "/a/x/c/d", &good)).await.reply);
    for (path, allowed) in [("/a/x/c/d", true), ("/b", true), ("/a/y/c/d", false), ("/a/x/c", false)] {
        assert_eq!(iam_allows(&reply, &format!("{STAGE}/GET{path}")), allowed, "{path} {reply}");
    }
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

#[tokio::test]
async fn a_refused_path_is_answered_with_the_callers_own_policy() {
    for rules in [
        json!({}),
        json!({ "routes": [{ "path": "/pub/**", "public": true }, { "path": "/orders/**" }] }),
        json!({ "routes": [{ "path": "/orders/{id}" }, { "path": "/pub", "public": true }] }),
        json!({ "routes": [{ "path": "/admin/**", "any_scope": ["admin"] }, { "path": "/**" }] }),
        json!({ "authorized_apis": [format!("{STAGE}/*/orders/*")] }),
    ] {
        let (authorizer, good) = (authorizer(rules.clone()), token(json!({})));
        let own = shown(&authorize(&authorizer, &ask("GET", "/orders/5", &good)).await.reply);
        for odd in ["/orders//5", "/files/a%2Fb", "/x;v=1", "/orders/../x", "/a#b", "/orders/5%", "/\u{ff41}"]
        {
            let outcome = authorize(&authorizer, &ask("GET", odd, &good)).await;
            let Decision::Deny(denial) = &outcome.decision else { panic!("{odd}") };
            assert!(denial.caller.is_some(), "{odd}");
            let reply = shown(&outcome.reply);
            assert_eq!(reply["principalId"], own["principalId"], "{rules} {odd}");
            assert!(!iam_allows(&reply, &format!("{STAGE}/GET{odd}")), "{rules} {odd}");
            assert!(iam_allows(&reply, &format!("{STAGE}/GET/orders/5")), "{rules} {odd}: {reply}");
            assert!(iam_allows(&reply, &format!("{STAGE}/GET/orders/6")), "{rules} {odd}: {reply}");
        }
    }
}

#[tokio::test]
async fn a_refused_path_with_a_bad_token_or_none_is_answered_as_any_other() {
    let authorizer =
        authorizer(json!({ "routes": [{ "path": "/pub/**", "public": true }, { "path": "/**" }] }));
    for bad in ["", "x", &crate::support::forged_token()] {
        for path in ["/a//b", "/pub/a;b", "/orders"] {
            let outcome = authorize(&authorizer, &ask("GET", path, bad)).await;
            assert_eq!(outcome.reply, Reply::Unauthorized, "{path} {bad}");
        }
        // An HTTP API: what everybody may do.
        let mut asked = event("http-v1", bad);
        asked["methodArn"] = json!(format!("{STAGE}/GET/a//b"));
        let reply = shown(&authorize(&authorizer, &asked).await.reply);
        assert!(iam_allows(&reply, &format!("{STAGE}/GET/pub/x")), "{reply}");
        assert!(!iam_allows(&reply, &format!("{STAGE}/GET/orders")), "{reply}");
    }
}

#[tokio::test]
async fn a_denial_leaves_the_routes_of_a_star_open_and_closes_what_lies_below() {
    let authorizer = authorizer(json!({ "routes": [{ "methods": ["GET"], "path": "/orders/{id}" }] }));
    let reply = shown(&authorize(&authorizer, &ask("GET", "/nope", &token(json!({})))).await.reply);
    for (path, allowed) in [
        ("/nope", false),
        ("/orders", false),
        ("/orders/", false),
        ("/orders/5", true),
        ("/orders/5/", true),
        ("/orders/5/items", false),
        ("/orders/5/a/b", false),
        ("/orders//5", false),
    ] {
        assert_eq!(iam_allows(&reply, &format!("{STAGE}/GET{path}")), allowed, "{path} {reply}");
    }
}

#[tokio::test]
async fn an_encoded_path_is_allowed_with_the_others_where_no_rule_stands_before() {
    let good = token(json!({}));
    let asked = |rules: Value, path: &'static str| {
        let good = &good;
        async move {
            shown(&authorize(&authorizer(json!({ "routes": rules })), &ask("GET", path, good)).await.reply)
        }
    };
    let files = json!([{ "methods": ["GET"], "path": "/files/**" }]);
    for first in ["/files/a%20b", "/files/b", "/nope", "/files//b"] {
        let reply = asked(files.clone(), first).await;
        for path in ["/files/a%20b", "/files/b", "/files/%C3%A9/x"] {
            assert!(iam_allows(&reply, &format!("{STAGE}/GET{path}")), "{first}, then {path}: {reply}");
        }
        for path in ["/files/a%2Fb", "/files/%2e%2e/x", "/files/a%00", "/%66iles/a%5cb"] {
            assert!(!iam_allows(&reply, &format!("{STAGE}/GET{path}")), "{first}, then {path}: {reply}");
        }
    }
    // A rule that keeps the caller out could be meant by an encoding of its name.
    let secret = json!([{ "path": "/files/secret", "any_scope": ["x"] }, { "path": "/files/**" }]);
    let reply = asked(secret, "/files/b").await;
    assert!(!iam_allows(&reply, &format!("{STAGE}/GET/files/%73ecret")), "{reply}");
}

#[tokio::test]
async fn a_method_that_only_a_rule_names_is_kept_out_like_the_others() {
    let authorizer = authorizer(json!({ "routes": [
        { "path": "/admin/**", "any_scope": ["admin"] }, { "methods": ["GET", "LINK"], "path": "/**" },
    ] }));
    let reply = shown(&authorize(&authorizer, &ask("LINK", "/x", &token(json!({})))).await.reply);
    assert!(iam_allows(&reply, &format!("{STAGE}/LINK/x")), "{reply}");
    assert!(!iam_allows(&reply, &format!("{STAGE}/LINK/admin/x")), "{reply}");
}

#[tokio::test]
async fn what_no_policy_can_name_is_refused_and_the_outcome_says_so() {
    let authorizer = authorizer(json!({ "routes": [
        { "path": "/orders/{id}/x" }, { "path": "/orders/*/*", "any_scope": ["x"] }, { "path": "/**" }
    ] }));
    let long = format!("/orders/{}/x", "y".repeat(600));
    for path in ["/orders/${aws:username}/x", "/orders/$%7Bx%7D/x", long.as_str()] {
        let outcome = authorize(&authorizer, &ask("GET", path, &token(json!({})))).await;
        let allowed = iam_allows(&shown(&outcome.reply), &format!("{STAGE}/GET{path}"));
        assert_eq!(allowed, matches!(outcome.decision, Decision::Allow(_)), "{path} {:?}", outcome.reply);
        assert!(!outcome.reply.eq(&Reply::Unauthorized), "{path}");
    }
}

#[tokio::test]
async fn a_request_that_no_policy_can_name_keeps_its_caller_out_of_nothing_else() {
    let long = format!("/{}", "y".repeat(600));
    let mut unnameable = 0;
    for rules in [
        json!([{ "path": "/**", "public": true }, { "path": "/", "any_scope": ["x"] }]),
        json!([{ "path": "/b" }, { "path": "/a/b", "any_scope": ["x"] }, { "path": "/**" }]),
        json!([{ "path": "/a/*/c/**" }, { "path": "/*" }, { "path": "/b" }]),
        json!([{ "methods": ["GET"], "path": "/b" }, { "methods": ["GET", "LINK"], "path": "/*" }]),
    ] {
        let (authorizer, good) = (authorizer(json!({ "routes": rules })), token(json!({})));
        let own = shown(&authorize(&authorizer, &ask("GET", "/b", &good)).await.reply);
        // Nothing says PURGE or LINK unless a rule does, and nothing at all says the paths.
        for first in ["/${x}", "/$%7Bx}/${y}", "/a/${x}/c/d", long.as_str()] {
            for method in ["GET", "LINK", "PURGE"] {
                let outcome = authorize(&authorizer, &ask(method, first, &good)).await;
                let reply = shown(&outcome.reply);
                assert_eq!(reply["principalId"], own["principalId"], "{method} {first}");
                assert!(iam_allows(&reply, &format!("{STAGE}/GET/b")), "{rules}: {method} {first}: {reply}");
                // What is said of it is what the policy says.
                let allowed = iam_allows(&reply, &format!("{STAGE}/{method}{first}"));
                assert_eq!(
                    allowed,
                    matches!(outcome.decision, Decision::Allow(_)),
                    "{rules}: {method} {first}"
                );
                let Decision::Deny(denial) = outcome.decision else { continue };
                unnameable += u32::from(denial.refusal.code() == "path_unnameable");
            }
        }
    }
    assert!(unnameable > 10, "{unnameable}");
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
    let methods = prop::sample::subsequence(vec!["GET", "POST", "LINK"], 0..3);
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

/// Paths, many of them refused: for those IAM has names, so that no policy may allow them.
fn path() -> impl Strategy<Value = String> {
    let odd = vec![
        "%61", "..", ".", "", "b;x", "%2e%2e", "d%20e", "a%2Fb", "a%5cb", "a\\b", "a#b", "a.", "a%20", "%00",
        "%25", "a%3B",
    ];
    let part = prop_oneof![9 => segment(), 5 => prop::sample::select(odd).prop_map(str::to_owned)];
    (prop::collection::vec(part, 0..5), any::<bool>()).prop_map(|(parts, slash)| {
        let slash = if slash && !parts.is_empty() { "/" } else { "" };
        format!("/{}{slash}", parts.join("/"))
    })
}

/// Paths that are refused though IAM has no name for them: they are denied when they are asked for.
fn first_path() -> impl Strategy<Value = String> {
    let unnameable =
        vec!["/a*", "/*", "/a/b*c", "/100%", "/a%zz", "/\u{ff41}", "/a\u{85}", "/${x}", "/a/${x}"];
    prop_oneof![6 => path(), 1 => prop::sample::select(unnameable).prop_map(str::to_owned)]
}

fn method() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "POST", "PUT", "LINK"])
}

/// Whether a policy allows one request by its own name and nothing else.
fn names_only(reply: &Value, arn: &str) -> bool {
    let statement = &reply["policyDocument"]["Statement"][0];
    statement["Effect"] == "Allow" && statement["Resource"] == json!([arn])
}

/// Whether a request is among what a policy allows by its own name.
fn names(reply: &Value, arn: &str) -> bool {
    let statement = &reply["policyDocument"]["Statement"][0];
    statement["Effect"] == "Allow" && statement["Resource"].as_array().unwrap().contains(&json!(arn))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cached_policy_is_never_wider_than_the_rules_and_locks_a_known_caller_out_of_nothing_that_iam_can_say(
        routes in prop::collection::vec(route(), 1..6),
        scope in prop::sample::select(vec!["", "x", "y", "x y"]),
        first in (method(), first_path()),
        later in prop::collection::vec((method(), path()), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let authorizer = authorizer(json!({ "routes": routes }));
            let token = token(json!({ "scope": scope }));
            let (method, path) = &first;
            let arn = format!("{STAGE}/{method}{path}");
            let outcome = authorize(&authorizer, &ask(method, path, &token)).await;
            let reply = shown(&outcome.reply);
            let right = gate_allows(authorizer.gate(), method, path, &token).await;
            // A path with `${` has no name in IAM; then the answer and what is said of it are both
            // no.
            let said = matches!(outcome.decision, Decision::Allow(_));
            prop_assert!(said == right || right && path.contains("${"), "{}", reply);
            prop_assert_eq!(iam_allows(&reply, &arn), said, "{}", reply);
            for (method, path) in &later {
                let later_arn = format!("{STAGE}/{method}{path}");
                let cached = iam_allows(&reply, &later_arn);
                let right = gate_allows(authorizer.gate(), method, path, &token).await;
                prop_assert!(!cached || right, "then {} {}: {}", method, path, reply);
                // Whatever was asked first, refused or not, only what IAM cannot say is missing.
                if right && !cached && !names_only(&reply, &arn) {
                    let own = shown(&authorize(&authorizer, &ask(method, path, &token)).await.reply);
                    let like_the_first = path.len() == first.1.len() && first.1.contains(['*', '$']);
                    prop_assert!(names(&own, &later_arn) || like_the_first, "then {} {}: {}", method, path, reply);
                }
            }
            Ok(())
        })?;
    }
}
