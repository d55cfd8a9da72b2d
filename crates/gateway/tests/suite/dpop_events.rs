//! DPoP in the events of API Gateway and AppSync: which URL they say, how often a header was sent,
//! and that no answer is remembered.

use crate::{
    dpop::{bound, merged, proof},
    support::{ISSUER, NOW, event, resolved},
};
use countersign_gateway::{
    Decision,
    lambda::{Authorizer, Reply},
};
use serde_json::{Value, json};

/// An event with the scheme DPoP and a proof for this URL, in the shape of `name`.
fn with_proof(name: &str, url: &str, changes: Value, change: impl FnOnce(&mut Value)) -> Value {
    let bound = bound();
    let method = if name.starts_with("appsync") { "POST" } else { "GET" };
    let proof = proof(&bound, merged(json!({ "htu": url, "htm": method }), changes));
    let text = event(name, "@TOKEN@").to_string().replace("Bearer @TOKEN@", &format!("DPoP {bound}"));
    let mut event: Value = serde_json::from_str(&text).unwrap();
    for map in ["headers", "requestHeaders"] {
        if event.get(map).is_some_and(Value::is_object) {
            event[map]["DPoP"] = proof.clone().into();
        }
    }
    if event.get("multiValueHeaders").is_some_and(Value::is_object) {
        event["multiValueHeaders"]["DPoP"] = json!([proof]);
    }
    change(&mut event);
    event
}

async fn outcome(authorizer: &Authorizer, event: &Value) -> (&'static str, Reply) {
    let outcome = authorizer.authorize(event.to_string().as_bytes(), NOW).await;
    let code = match &outcome.decision {
        Decision::Allow(_) => "allow",
        Decision::Deny(denial) => denial.refusal.code(),
    };
    (code, outcome.reply)
}

fn uncached() -> Authorizer {
    resolved(json!({ "dpop": { "authorizer_ttl": "0s" } })).unwrap().into_authorizer()
}

fn domain(name: &'static str) -> impl Fn(&mut Value) {
    move |event| event["requestContext"]["domainName"] = name.into()
}

#[tokio::test]
async fn the_event_says_the_public_url_with_its_stage_or_base_path() {
    let path = |path: &'static str| move |event: &mut Value| event["requestContext"]["path"] = path.into();
    let api = "abc.execute-api.eu-west-1.amazonaws.com";
    for (name, url, changes) in [
        (
            "rest-request",
            "https://abc.execute-api.eu-west-1.amazonaws.com/test/request",
            Some("/test/request"),
        ),
        (
            "rest-request",
            "https://abc.execute-api.eu-west-1.amazonaws.com/base/request",
            Some("/base/request"),
        ),
        (
            "rest-request-multi-value",
            "https://abc.execute-api.eu-west-1.amazonaws.com/test/request",
            Some("/test/request"),
        ),
        ("http-v1", "https://abc.execute-api.eu-west-1.amazonaws.com/request", None),
        ("http-v2", "https://abc.execute-api.eu-west-1.amazonaws.com/request", None),
    ] {
        let event = |url: &str| {
            with_proof(name, url, json!({}), |event| {
                domain(api)(event);
                if let Some(to) = changes {
                    path(to)(event);
                }
            })
        };
        assert_eq!(outcome(&uncached(), &event(url)).await.0, "allow", "{name} {url}");
        assert_eq!(outcome(&uncached(), &event(&format!("{url}/x"))).await.0, "dpop_url", "{name} {url}");
        let elsewhere = url.replace("abc.", "xyz.");
        assert_eq!(outcome(&uncached(), &event(&elsewhere)).await.0, "dpop_url", "{name} {url}");
    }
    // Where the event does not say the path of a custom domain, the configuration does.
    let settings = json!({ "dpop": { "authorizer_ttl": "0s", "public_urls": ["https://api.example/v1"] } });
    let authorizer = resolved(settings).unwrap().into_authorizer();
    let mapped = with_proof("http-v2", "https://api.example/v1/request", json!({}), domain("api.example"));
    assert_eq!(outcome(&authorizer, &mapped).await.0, "allow");
}

#[tokio::test]
async fn an_authorizer_whose_answers_may_be_remembered_takes_no_bound_token() {
    let event = || with_proof("http-v2", "https://a.example/request", json!({}), domain("a.example"));
    let remembering =
        resolved(json!({ "dpop": { "public_urls": ["https://a.example"] } })).unwrap().into_authorizer();
    assert_eq!(outcome(&remembering, &event()).await.0, "dpop_not_here");
    assert_eq!(outcome(&uncached(), &event()).await.0, "allow");
    for (value, why) in [("5m", "proof"), ("1s", "proof")] {
        let error = resolved(json!({ "dpop": { "authorizer_ttl": value } })).unwrap_err();
        assert!(error.key == "gate.dpop.authorizer_ttl" && error.why.contains(why), "{error}");
    }
    let error = resolved(json!({ "dpop": { "authorizer_ttl": "0s", "require_nonce": true } })).unwrap_err();
    assert_eq!(error.key, "gate.dpop.require_nonce");
    // What sees no header can see no proof.
    let token = with_proof("rest-token", "https://a.example/request", json!({}), |_| {});
    assert_eq!(outcome(&uncached(), &token).await, ("dpop_not_here", Reply::Unauthorized));
}

#[tokio::test]
async fn the_policy_for_a_proof_is_for_this_request_alone() {
    let event = |path: &str| {
        with_proof("rest-request", &format!("https://a.example/test{path}"), json!({}), |event| {
            domain("a.example")(event);
            event["requestContext"]["path"] = format!("/test{path}").into();
            event["methodArn"] =
                format!("arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET{path}").into();
        })
    };
    let statement = |reply: Reply| match reply {
        Reply::Json(json) => {
            serde_json::from_str::<Value>(&json).unwrap()["policyDocument"]["Statement"].clone()
        }
        other => panic!("{other:?}"),
    };
    let (code, reply) = outcome(&uncached(), &event("/request")).await;
    assert_eq!(code, "allow");
    let arn = "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET/request";
    let allow = json!([{ "Action": "execute-api:Invoke", "Effect": "Allow", "Resource": [arn] }]);
    assert_eq!(statement(reply), allow);
    // And a refusal lets in nothing at all.
    let settings = json!({ "dpop": { "authorizer_ttl": "0s" }, "routes": [{ "path": "/request" }] });
    let authorizer = resolved(settings).unwrap().into_authorizer();
    let (code, reply) = outcome(&authorizer, &event("/other")).await;
    assert_eq!(code, "route_none");
    let statement = statement(reply);
    assert_eq!((statement.as_array().unwrap().len(), &statement[0]["Effect"]), (1, &json!("Deny")));
}

#[tokio::test]
async fn an_api_gateway_that_was_sent_two_proofs_hands_on_two() {
    for (name, twice) in [("rest-request-multi-value", true), ("http-v2", false)] {
        let event = with_proof(name, "https://a.example/request", json!({}), |event| {
            domain("a.example")(event);
            event["requestContext"]["path"] = "/request".into();
            let proof = event["headers"]["DPoP"].as_str().unwrap().to_owned();
            if twice {
                event["multiValueHeaders"]["DPoP"] = json!([proof, proof]);
            } else {
                event["headers"]["DPoP"] = format!("{proof},{proof}").into();
            }
        });
        assert_eq!(outcome(&uncached(), &event).await.0, "dpop_proof_several", "{name}");
    }
}

#[tokio::test]
async fn appsync_is_told_to_forget_the_answer_to_a_proof() {
    let host = |event: &mut Value| event["requestHeaders"]["host"] = "graph.example".into();
    // AppSync remembers as long as it is told, so no setting is needed.
    let urls = json!({ "dpop": { "public_urls": ["https://graph.example"] } });
    let authorizer = resolved(urls).unwrap().into_authorizer();
    let event = with_proof("appsync", "https://graph.example/graphql", json!({}), host);
    let unsaid = resolved(json!({})).unwrap().into_authorizer();
    assert_eq!(outcome(&unsaid, &event).await.0, "dpop_url_unknown", "the header is the client's");
    let (code, reply) = outcome(&authorizer, &event).await;
    assert_eq!(code, "allow");
    let Reply::Json(json) = reply else { panic!("{reply:?}") };
    let reply: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&reply["isAuthorized"], &reply["ttlOverride"]), (&json!(true), &json!(0)));
    assert_eq!(reply["resolverContext"]["iss"], ISSUER);
    assert_eq!(outcome(&authorizer, &event).await.0, "dpop_replayed");
    let without = with_proof("appsync", "https://graph.example/graphql", json!({}), |event| {
        host(event);
        event["requestHeaders"].as_object_mut().unwrap().remove("DPoP");
    });
    assert_eq!(outcome(&authorizer, &without).await.0, "dpop_proof_missing");
}
