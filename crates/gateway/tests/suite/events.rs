//! Every event shape as AWS documents it, and every reply field by field.

use crate::support::{ISSUER, NOW, authorize, authorizer, event, events, forged_token, shown, token};
use countersign_gateway::{
    Decision, Denial, Refusal,
    lambda::{Reply, Shape},
};
use serde_json::{Value, json};

/// Two issuers are trusted.
const ALICE: &str = "https://issuer.example#alice";
const API: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef123";

fn with_cookie() -> Value {
    json!({ "credentials": { "cookie": "session" } })
}

fn shape(name: &str) -> Shape {
    match name {
        _ if name.starts_with("rest-token") => Shape::RestToken,
        _ if name.starts_with("rest-request") => Shape::RestRequest,
        _ if name.starts_with("http-v1") => Shape::HttpV1,
        _ if name.starts_with("http-v2") => Shape::HttpV2,
        _ if name.starts_with("unversioned") => Shape::Unversioned,
        _ if name.starts_with("websocket") => Shape::WebSocket,
        _ if name.starts_with("appsync") => Shape::AppSync,
        other => panic!("{other}"),
    }
}

/// What every policy denies, whomever it is for: the spellings of docs/decisions/0026, below a
/// stage.
fn refused(stage: &str) -> Vec<String> {
    let spellings = "*//* *./* *. *%20/* *%20 *;* *\\* *#* *%2F* *%2f* *%5C* *%5c* *%2E* *%2e* *%3B* *%3b* *%25* \
                     *%3F* *%3f* *%23* *%2A* *%2a* *%0?* *%1?* *%7F* *%7f* *%C0* *%c0* *%C1* *%c1*";
    spellings.split_whitespace().map(|spelling| format!("{stage}/{spelling}")).collect()
}

fn allowing(resource: &str) -> Value {
    let mut policy = policy("Allow", resource);
    if let Some(stage) = resource.strip_suffix("/*/*") {
        let deny = json!({ "Action": "execute-api:Invoke", "Effect": "Deny", "Resource": refused(stage) });
        policy["Statement"].as_array_mut().unwrap().push(deny);
    }
    policy
}

fn policy(effect: &str, resource: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Action": "execute-api:Invoke", "Effect": effect, "Resource": [resource] }]
    })
}

fn context() -> Value {
    json!({ "sub": "alice", "iss": ISSUER, "scope": "a b", "exp": NOW.unix_seconds() + 600 })
}

#[tokio::test]
async fn every_event_lets_a_good_token_in_in_the_form_of_its_shape() {
    let authorizer = authorizer(with_cookie());
    let good = token(json!({ "scope": "a b" }));
    let mut seen = Vec::new();
    for name in events() {
        let outcome = authorize(&authorizer, &event(&name, &good)).await;
        assert_eq!(outcome.shape, Some(shape(&name)), "{name}");
        let resource = match name.as_str() {
            "rest-token-china" => {
                "arn:aws-cn:execute-api:cn-north-1:123456789012:abcdef123/prod/*/*".to_owned()
            }
            "rest-token-govcloud" => {
                "arn:aws-us-gov:execute-api:us-gov-west-1:123456789012:abcdef123/prod/*/*".to_owned()
            }
            "rest-token-console-test" => format!("{API}/ESTestInvoke-stage/*/*"),
            _ if name.starts_with("websocket") => format!("{API}/default/$connect"),
            _ => format!("{API}/test/*/*"),
        };
        let expected = match shape(&name) {
            Shape::HttpV2 => json!({ "isAuthorized": true, "context": context() }),
            Shape::AppSync => {
                json!({ "isAuthorized": true, "resolverContext": context(), "ttlOverride": 300 })
            }
            _ => json!({
                "principalId": ALICE, "policyDocument": allowing(&resource), "context": context()
            }),
        };
        assert_eq!(shown(&outcome.reply), expected, "{name}");
        seen.push(shape(&name));
    }
    for shape in [
        Shape::RestToken,
        Shape::RestRequest,
        Shape::HttpV1,
        Shape::Unversioned,
        Shape::HttpV2,
        Shape::WebSocket,
        Shape::AppSync,
    ] {
        assert!(seen.iter().filter(|s| **s == shape).count() >= 2, "{shape:?}");
    }
}

#[tokio::test]
async fn every_event_keeps_a_bad_token_out_in_the_form_of_its_shape() {
    let authorizer = authorizer(with_cookie());
    let expired = token(json!({ "exp": NOW.unix_seconds() - 60 }));
    for name in events() {
        for bad in [expired.as_str(), &forged_token(), "not.a.token", ""] {
            let outcome = authorize(&authorizer, &event(&name, bad)).await;
            let expected = match shape(&name) {
                Shape::HttpV2 => json!({ "isAuthorized": false }),
                Shape::AppSync => json!({ "isAuthorized": false, "ttlOverride": 0 }),
                // An error would be 500 on an HTTP API, and nothing says that this is not one.
                Shape::HttpV1 | Shape::Unversioned => json!({
                    "principalId": "anonymous", "policyDocument": policy("Deny", &format!("{API}/test/*"))
                }),
                Shape::RestToken | Shape::RestRequest | Shape::WebSocket => json!("Unauthorized"),
            };
            // A shape without the token's member is another one, and lets nobody in either.
            assert_eq!(shown(&outcome.reply), expected, "{name} {bad}");
        }
    }
}

#[tokio::test]
async fn a_known_caller_who_may_not_gets_a_denial_and_not_a_401() {
    let authorizer = authorizer(json!({
        "credentials": { "cookie": "session" }, "routes": [{ "path": "/elsewhere/**" }]
    }));
    let good = token(json!({ "scope": "a b" }));
    for name in events() {
        let reply = shown(&authorize(&authorizer, &event(&name, &good)).await.reply);
        match shape(&name) {
            Shape::HttpV2 => assert_eq!(reply, json!({ "isAuthorized": false }), "{name}"),
            Shape::AppSync => assert_eq!(reply, json!({ "isAuthorized": false, "ttlOverride": 0 }), "{name}"),
            _ => {
                assert_eq!(reply["principalId"], ALICE, "{name}");
                // API Gateway lets in by a remembered policy what it allows, with this context.
                assert_eq!(reply["context"], context(), "{name}");
                assert_ne!(reply["policyDocument"]["Statement"][0], Value::Null, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn an_http_api_with_policies_is_answered_with_policies() {
    let authorizer = authorizer(json!({ "http_api_response": "policy" }));
    let event = |token: &str| event("http-v2", token);
    let reply = shown(&authorize(&authorizer, &event(&token(json!({})))).await.reply);
    assert_eq!(reply["policyDocument"], allowing(&format!("{API}/test/*/*")));
    let reply = shown(&authorize(&authorizer, &event("x")).await.reply);
    assert_eq!(reply["policyDocument"], policy("Deny", &format!("{API}/test/*")));
}

#[tokio::test]
async fn what_is_handed_on_as_scope_is_what_the_routes_were_judged_by() {
    let authorizer = authorizer(json!({}));
    for (claims, expected) in [
        (json!({ "scope": "a b" }), json!("a b")),
        (json!({ "scp": "a b" }), json!("a b")),
        (json!({ "scp": ["a", "b"] }), json!("a b")),
        (json!({ "scope": null, "scp": ["a"] }), json!("a")),
        (json!({ "scope": "a", "scp": ["b"] }), json!("a b")),
        // No route takes these for `a`.
        (json!({ "scp": ["a b", "c\td", "", "e"] }), json!("e")),
        (json!({ "scp": { "a": 1 } }), json!("")),
        (json!({ "scp": null }), Value::Null),
        (json!({}), Value::Null),
    ] {
        let token = token(claims.clone());
        for name in ["rest-request", "http-v2"] {
            let reply = shown(&authorize(&authorizer, &event(name, &token)).await.reply);
            assert_eq!(reply["context"]["scope"], expected, "{name} {claims}");
        }
    }
}

#[tokio::test]
async fn context_is_flat_where_it_must_be_and_never_null() {
    let gate = json!({ "context": {
        "text": "text", "number": "number", "yes": "yes", "list": "list", "map": "map", "none": "none",
        "absent": "absent", "deep": "deep", "big": "big", "real": "real", "role": "/realm/roles/0", "inner": "/map/a",
        "first": "/list/0", "third": "/list/2",
    } });
    let authorizer = authorizer(gate);
    let good = token(json!({
        "text": "ä\"\n", "number": 7, "yes": true, "list": ["a b", "c"], "map": { "a": 1 }, "none": null,
        "deep": { "a": [null] }, "big": 12_345_678_901_234_567_890_u64, "real": 1.5,
    }));
    let flat = shown(&authorize(&authorizer, &event("rest-request", &good)).await.reply);
    assert_eq!(
        flat["context"],
        json!({
            "text": "ä\"\n", "number": 7, "yes": true, "list": r#"["a b","c"]"#, "map": r#"{"a":1}"#, "inner": 1, "first": "a b",
            "deep": r#"{"a":[null]}"#, "big": "12345678901234567890", "real": "1.5",
        })
    );
    let nested = shown(&authorize(&authorizer, &event("http-v2", &good)).await.reply);
    assert_eq!(nested["context"]["list"], json!(["a b", "c"]));
    assert_eq!(nested["context"]["map"], json!({ "a": 1 }));
    assert_eq!(nested["context"]["deep"], r#"{"a":[null]}"#);
    assert_eq!(nested["context"].get("none"), None);
}

#[tokio::test]
async fn a_reply_is_never_larger_than_aws_takes() {
    let gate = json!({ "context": { "a": "a", "b": "b", "c": "c" } });
    let authorizer = authorizer(gate);
    for size in [10, 1000, 1700, 3000, 9000] {
        for text in ["x".repeat(size), "\"".repeat(size / 2), "\u{1}".repeat(size / 6)] {
            let big = token(json!({ "a": "first", "b": text, "c": "last" }));
            for name in ["rest-request", "http-v2", "websocket-header", "appsync"] {
                let outcome = authorize(&authorizer, &event(name, &big)).await;
                let Reply::Json(json) = &outcome.reply else { panic!("{name} {size}") };
                assert!(json.len() <= 8192, "{name} {size}: {}", json.len());
                assert!(json.contains("first"), "{name} {size}");
            }
        }
    }
}

#[tokio::test]
async fn a_caller_without_a_usable_name_is_kept_out_where_a_name_is_needed() {
    let authorizer = authorizer(json!({}));
    for sub in [Value::Null, json!(""), json!("x".repeat(513)), json!("a\nb")] {
        let nameless = token(json!({ "sub": sub }));
        let outcome = authorize(&authorizer, &event("rest-request", &nameless)).await;
        let reply = shown(&outcome.reply);
        assert_eq!(reply["principalId"], "anonymous");
        assert_eq!(reply["policyDocument"]["Statement"][0]["Effect"], "Deny", "{reply}");
    }
    let by_client = crate::support::authorizer(json!({ "principal_claim": "client_id" }));
    let named = token(json!({ "sub": null, "client_id": "app-7" }));
    let reply = shown(&authorize(&by_client, &event("rest-request", &named)).await.reply);
    assert_eq!(reply["principalId"], "https://issuer.example#app-7");
}

#[tokio::test]
async fn the_key_of_a_usage_plan_comes_from_a_claim() {
    let authorizer = authorizer(json!({ "usage_identifier_claim": "plan_key" }));
    let key = "a-key-of-more-than-20-characters";
    let reply = |claims: Value| {
        let authorizer = &authorizer;
        async move { shown(&authorize(authorizer, &event("rest-request", &token(claims))).await.reply) }
    };
    assert_eq!(reply(json!({ "plan_key": key })).await["usageIdentifierKey"], key);
    for other in [
        json!({}),
        json!({ "plan_key": 7 }),
        json!({ "plan_key": "x".repeat(200) }),
        json!({ "plan_key": "" }),
    ] {
        assert_eq!(reply(other).await.get("usageIdentifierKey"), None);
    }
}

#[tokio::test]
async fn appsync_never_remembers_an_answer_past_the_end_of_the_token() {
    let ttl = |gate: Value, left: i64| async move {
        let short = token(json!({ "exp": NOW.unix_seconds() + left }));
        shown(&authorize(&authorizer(gate), &event("appsync", &short)).await.reply)["ttlOverride"].clone()
    };
    assert_eq!(ttl(json!({}), 600).await, 300);
    assert_eq!(ttl(json!({}), 42).await, 42);
    // Within the leeway of 10 s, but over.
    assert_eq!(ttl(json!({}), -5).await, 0);
    assert_eq!(ttl(json!({ "appsync_ttl": "1h" }), 600).await, 600);
    assert_eq!(ttl(json!({ "appsync_ttl": "0s" }), 600).await, 0);
}

#[tokio::test]
async fn authorized_apis_are_what_the_policy_names_and_all_that_is_let_in() {
    let ours = format!("{API}/test/*/request");
    let gate = json!({ "authorized_apis": [ours, format!("{API}/default/$connect")] });
    let authorizer = authorizer(gate);
    let good = token(json!({}));
    let reply = shown(&authorize(&authorizer, &event("rest-request", &good)).await.reply);
    let resources = json!([ours, format!("{API}/default/$connect")]);
    assert_eq!(reply["policyDocument"]["Statement"][0]["Resource"], resources);
    assert_eq!(reply["policyDocument"]["Statement"][0]["Effect"], "Allow");
    let reply = shown(&authorize(&authorizer, &event("websocket-query", &good)).await.reply);
    assert_eq!(reply["policyDocument"]["Statement"][0]["Effect"], "Allow");
    assert_eq!(reply["policyDocument"]["Statement"][0]["Resource"], resources);
    assert_eq!(shown(&authorize(&authorizer, &event("http-v2", &good)).await.reply)["isAuthorized"], true);
    // Another resource of the stage: the caller's own policy, which has it not.
    let outcome = authorize(&authorizer, &event("rest-token", &good)).await;
    assert!(matches!(outcome.decision, Decision::Deny(Denial { refusal: Refusal::OtherApi, .. })));
    assert_eq!(shown(&outcome.reply)["policyDocument"]["Statement"][0]["Resource"], resources);
    let mut elsewhere = event("http-v2", &good);
    elsewhere["routeArn"] = json!(format!("{API}/test/GET/other"));
    assert_eq!(shown(&authorize(&authorizer, &elsewhere).await.reply)["isAuthorized"], false);
}

#[tokio::test]
async fn the_stage_in_front_of_a_path_on_the_domain_of_aws_is_not_part_of_it() {
    let authorizer = authorizer(json!({ "routes": [{ "methods": ["GET"], "path": "/request" }] }));
    let good = token(json!({}));
    let admitted = |event: Value| {
        let authorizer = &authorizer;
        async move { shown(&authorize(authorizer, &event).await.reply)["isAuthorized"].clone() }
    };
    assert_eq!(admitted(event("http-v2", &good)).await, true);
    assert_eq!(admitted(event("http-v2-named-stage", &good)).await, true);
    let mut custom = event("http-v2-named-stage", &good);
    custom["requestContext"]["domainName"] = json!("api.example.com");
    assert_eq!(admitted(custom).await, false);
    let mut other = event("http-v2", &good);
    other["rawPath"] = json!("/testing/request");
    assert_eq!(admitted(other).await, false);
}

#[tokio::test]
async fn an_event_that_is_none_gets_the_error_unauthorized_and_a_reason() {
    let authorizer = authorizer(json!({}));
    let good = token(json!({}));
    for event in [
        json!({}),
        json!([]),
        json!(null),
        json!("ping"),
        json!({ "Records": [{ "s3": {} }] }),
        json!({ "source": "aws.events", "detail-type": "Scheduled Event" }),
        json!({ "type": "TOKEN" }),
        json!({ "type": "TOKEN", "authorizationToken": format!("Bearer {good}") }),
        json!({ "type": "REQUEST", "headers": { "Authorization": format!("Bearer {good}") } }),
        json!({ "type": "REQUEST", "version": "3.0", "methodArn": format!("{API}/s/GET/") }),
        json!({ "type": "OTHER", "methodArn": format!("{API}/s/GET/"), "authorizationToken": good }),
        json!({ "authorizationToken": good }),
        json!({ "httpMethod": "GET", "path": "/", "headers": {} }),
    ] {
        let outcome = authorize(&authorizer, &event).await;
        assert_eq!(outcome.reply, Reply::Unauthorized, "{event}");
        assert_eq!(outcome.shape, None, "{event}");
    }
    for bytes in [&b""[..], b"{", b"\xff", b"{\"type\":\"TOKEN\"}x"] {
        assert_eq!(authorizer.authorize(bytes, NOW).await.reply, Reply::Unauthorized);
    }
    for arn in ["", "*", "arn:aws:execute-api:us-east-1:123456789012:*/*/GET/x", "arn:aws:s3:::bucket/key/x"]
    {
        let mut damaged = event("rest-request", &good);
        damaged["methodArn"] = json!(arn);
        assert_eq!(authorize(&authorizer, &damaged).await.reply, Reply::Unauthorized, "{arn}");
        let mut damaged = event("http-v1", &good);
        damaged["methodArn"] = json!(arn);
        let reply = shown(&authorize(&authorizer, &damaged).await.reply);
        assert_eq!(reply["policyDocument"], policy("Deny", "*"), "{arn}");
    }
}
