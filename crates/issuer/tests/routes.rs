//! The routes of the issuer in process: contract of `/sign`, public documents, refusals, audit, all
//! on a fixed clock.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say what they expect by failing")]

#[expect(dead_code, reason = "each of the test files uses a part of it")]
mod support;

use axum::http::{StatusCode, header};
use countersign_issuer::SignatureLimits;
use countersign_jose::{KeySet, Policy, Unverified};
use serde_json::{Value, json};
use std::future::Future;
use support::{Answer, House, NOW, basic, request};

async fn sign(house: &House, body: &Value) -> Answer {
    house
        .send(
            request("POST", "/sign").header(header::AUTHORIZATION, basic("app", &house.secret)),
            body.to_string(),
        )
        .await
}

/// The claims of a minted token, verified with the published keys.
async fn claims(house: &House, answer: &Answer) -> Value {
    let jwks = house.get("/.well-known/jwks.json").await;
    let keys = KeySet::parse(jwks.body.as_bytes(), None).unwrap();
    let body = answer.json();
    let token = Unverified::parse(body["access_token"].as_str().unwrap()).unwrap();
    let policy = Policy::new().issuer(&house.issuer).audiences(["api://one", "api://two"]).typ("JWT");
    let verified = keys.verify(token).unwrap().check(&policy, NOW).unwrap();
    verified.claims().unwrap()
}

#[tokio::test]
async fn a_minted_token_has_the_defaults_and_the_claims_that_were_sent() {
    let house = House::new("https://tokens.example");
    let answer = sign(&house, &json!({ "data": { "sub": "alice", "roles": ["a", { "b": null }] } })).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(3595)));
    let claims = claims(&house, &answer).await;
    let now = NOW.unix_seconds();
    assert_eq!(claims["iss"], "https://tokens.example");
    assert_eq!(claims["aud"], "api://one");
    assert_eq!((&claims["iat"], &claims["nbf"]), (&json!(now - 5), &json!(now - 5)));
    assert_eq!(claims["exp"], now + 3595);
    assert_eq!(claims["jti"].as_str().unwrap().len(), 22);
    assert_eq!((&claims["sub"], &claims["roles"]), (&json!("alice"), &json!(["a", { "b": null }])));
}

#[tokio::test]
async fn audience_and_duration_come_as_they_were_asked_for() {
    let house = House::new("https://tokens.example");
    for (audience, duration) in
        [(json!("api://two"), 60), (json!(["api://two"]), 6), (json!(["api://one", "api://two"]), 7200)]
    {
        let body = json!({ "data": {}, "metadata": { "audience": audience, "duration": duration } });
        let answer = sign(&house, &body).await;
        assert_eq!(answer.json()["expires_in"], duration - 5, "from now on");
        let claims = claims(&house, &answer).await;
        assert_eq!(claims["aud"], audience);
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), duration);
    }
}

#[tokio::test]
async fn every_claim_leaves_as_the_text_it_came_in() {
    let house = House::new("https://tokens.example");
    let data = r#"{"big":123456789012345678901234567890,"exact":1.0,"exp10":1e2,"neg":-0.0,"text":"\u00e4😀\\\"","deep":{"a":[1,2.50,{"z":"ه"}]}}"#;
    let answer = house
        .send(
            request("POST", "/sign").header(header::AUTHORIZATION, basic("app", &house.secret)),
            format!("{{\"data\":{data}}}"),
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let body = answer.json();
    let payload = body["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let payload = String::from_utf8(countersign_jose::base64url::decode(payload).unwrap()).unwrap();
    assert!(payload.ends_with(&data[1..]), "{payload}");
}

#[tokio::test]
async fn a_reserved_claim_is_refused_by_name() {
    let house = House::new("https://tokens.example");
    for name in ["iss", "aud", "iat", "nbf", "exp", "jti"] {
        let answer = sign(&house, &json!({ "data": { name: 1 } })).await;
        answer.assert_error(StatusCode::BAD_REQUEST, "invalid_request", &format!("`{name}`"));
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_with_what_is_wrong() {
    let house = House::new("https://tokens.example");
    let deep = format!("{{\"data\":{{\"a\":{}{}}}}}", "[".repeat(20), "]".repeat(20));
    let long = json!({ "n".repeat(60): 1 }).to_string();
    for (body, says) in [
        ("", "malformed JSON"),
        ("{", "malformed JSON"),
        ("[]", "a JSON object is expected"),
        ("{\"data\":{},\"data\":{}}", "occurs twice"),
        ("{\"data\":{\"a\":1,\"\\u0061\":2}}", "occurs twice"),
        ("{\"data\":{\"x\":{\"a\":1,\"a\":2}}}", "occurs twice"),
        (deep.as_str(), "nested too deeply"),
        ("{}", "`data` is missing"),
        ("{\"data\":1}", "`data` must be a JSON object"),
        ("{\"data\":{},\"metadata\":[]}", "`metadata` must be a JSON object"),
        ("{\"data\":{},\"metadata\":{\"ttl\":1}}", "unknown member 'ttl' in `metadata`; `duration`"),
        ("{\"data\":{},\"extra\":1}", "unknown member 'extra'; claims go into `data`"),
        ("{\"sub\":\"a\"}", "unknown member 'sub'; claims go into `data`"),
        (long.as_str(), &format!("unknown member '{}'...; claims", "n".repeat(24))),
        ("{\"data\":{},\"upload\":{\"sub\":1}}", "unknown member 'sub' in `upload`; `to`"),
        ("{\"data\":{},\"metadata\":{\"duration\":\"60\"}}", "`metadata.duration` must be a whole number"),
        ("{\"data\":{},\"metadata\":{\"duration\":0}}", "`metadata.duration`"),
        ("{\"data\":{},\"metadata\":{\"duration\":-1}}", "`metadata.duration`"),
        ("{\"data\":{},\"metadata\":{\"duration\":1.5}}", "`metadata.duration`"),
        ("{\"data\":{},\"metadata\":{\"duration\":1e400}}", "the number 1e400 is too large"),
        ("{\"data\":{},\"metadata\":{\"audience\":[]}}", "`metadata.audience`"),
        ("{\"data\":{},\"metadata\":{\"audience\":\"\"}}", "`metadata.audience`"),
        ("{\"data\":{},\"metadata\":{\"audience\":[1]}}", "`metadata.audience`"),
        ("{\"data\":{},\"profile\":1}", "`profile` must be a string"),
        ("{\"data\":{},\"profile\":\"other\"}", "unknown profile 'other'; configured are: jwt"),
        ("{\"data\":{},\"profile\":\"jitsi\"}", "profile jitsi needs [profiles.jitsi]"),
        ("{\"data\":{},\"profile\":\"upload\"}", "profile upload needs an entry [uploads.NAME]"),
        ("{\"data\":{},\"profile\":\"access_token\"}", "profile access_token needs a client with `grants`"),
        ("{\"data\":{},\"client_id\":\"app\"}", "belong together"),
    ] {
        let answer = house
            .send(
                request("POST", "/sign").header(header::AUTHORIZATION, basic("app", &house.secret)),
                body.to_owned(),
            )
            .await;
        answer.assert_error(StatusCode::BAD_REQUEST, "invalid_request", says);
    }
}

#[tokio::test]
async fn nobody_gets_a_token_without_proving_who_it_is() {
    let house = House::new("https://tokens.example");
    let body = json!({ "data": {} }).to_string();
    let plain = || request("POST", "/sign");
    let mut bodies = Vec::new();
    for attempt in [
        plain(),
        plain().header(header::AUTHORIZATION, basic("app", "wrong")),
        plain().header(header::AUTHORIZATION, basic("nobody", &house.secret)),
        plain().header(header::AUTHORIZATION, "Bearer abc"),
        plain().header(header::AUTHORIZATION, "Basic ###"),
        plain().header(header::AUTHORIZATION, "Basic"),
    ] {
        let answer = house.send(attempt, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.header("www-authenticate").starts_with("Basic realm="));
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the answers tell attempts apart");
}

#[tokio::test]
async fn credentials_in_the_body_work_in_json_and_form_and_not_twice() {
    let house = House::new("https://tokens.example");
    let in_json = json!({ "data": {}, "client_id": "app", "client_secret": house.secret }).to_string();
    assert_eq!(house.send(request("POST", "/sign"), in_json.clone()).await.status, StatusCode::OK);
    let both = request("POST", "/sign").header(header::AUTHORIZATION, basic("app", &house.secret));
    house.send(both, in_json).await.assert_error(StatusCode::BAD_REQUEST, "invalid_request", "not both");

    let form = |extra: &str| {
        format!("client_id=app&client_secret={}&data=%7B%22sub%22%3A%22a%22%7D{extra}", house.secret)
    };
    let as_form = || {
        request("POST", "/sign")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
    };
    let answer = house.send(as_form(), form("&metadata=%7B%22duration%22%3A60%7D&profile=jwt")).await;
    assert_eq!(claims(&house, &answer).await["sub"], "a");
    for extra in ["&data=%7B%7D", "&unknown=1", "&metadata=1", "&metadata=%FF"] {
        assert_eq!(house.send(as_form(), form(extra)).await.status, StatusCode::BAD_REQUEST, "{extra}");
    }
    let answer =
        house.send(request("POST", "/sign").header(header::CONTENT_TYPE, "text/plain"), String::new()).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn bodies_and_tokens_over_the_limit_are_refused() {
    let house = House::new("https://tokens.example");
    let huge = json!({ "data": { "sub": "x".repeat(20_000) } });
    assert_eq!(sign(&house, &huge).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let long = json!({ "data": { "sub": "x".repeat(7_000) } });
    sign(&house, &long).await.assert_error(StatusCode::BAD_REQUEST, "invalid_request", "the limit is 8192");
}

fn from(address: &str) -> axum::http::request::Builder {
    request("POST", "/sign").extension(countersign_issuer::http::Peer(address.parse().unwrap()))
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let house = House::with_rates("https://tokens.example", 3, 5);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(sign(&house, &json!({ "data": {} })).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429], "three for the client");
    let wrong = || async { house.send(from("192.0.2.1"), "{\"data\":{}}".to_owned()).await };
    for _ in 0..5 {
        assert_eq!(wrong().await.status, StatusCode::UNAUTHORIZED);
    }
    let answer = wrong().await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "five for the address");
    assert!((1..=1200).contains(&answer.header("retry-after").parse::<u64>().unwrap()));
    let other = house.send(from("192.0.2.9"), "{\"data\":{}}".to_owned()).await;
    assert_eq!(other.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn bad_clients_of_an_address_use_up_nothing_of_the_good_ones_there() {
    let house = House::with_rates("https://tokens.example", 10_000, 5);
    let body = "{\"data\":{}}";
    let attempts = [
        from("192.0.2.1").header(header::AUTHORIZATION, basic("app", "wrong")),
        from("192.0.2.1").header(header::AUTHORIZATION, basic("nobody", "wrong")),
        from("192.0.2.1"),
        from("192.0.2.1").header(header::CONTENT_TYPE, "text/plain"),
    ];
    let mut limited = 0;
    for attempt in attempts {
        let (parts, ()) = attempt.body(()).unwrap().into_parts();
        for n in 0..100 {
            let mut bad = from("192.0.2.1");
            *bad.headers_mut().unwrap() = parts.headers.clone();
            let malformed = if n % 2 == 0 { body } else { "{" };
            let status = house.send(bad, malformed.to_owned()).await.status;
            assert!(status.is_client_error());
            limited += usize::from(status == StatusCode::TOO_MANY_REQUESTS);
            let good = from("192.0.2.1").header(header::AUTHORIZATION, basic("app", &house.secret));
            assert_eq!(house.send(good, body.to_owned()).await.status, StatusCode::OK, "after {n}");
        }
    }
    assert_eq!(limited, 395, "all but five");
}

#[tokio::test]
async fn a_client_that_is_refused_uses_up_nothing_of_its_address() {
    let house = House::with_rates("https://tokens.example", 30, 5);
    let good = || from("192.0.2.1").header(header::AUTHORIZATION, basic("app", &house.secret));
    let mut statuses = Vec::new();
    for n in 0..60 {
        // Outside its policy, until its own rate is used up.
        let answer = house.send(good(), format!("{{\"data\":{{\"iss\":\"{n}\"}}}}")).await;
        statuses.push(answer.status);
    }
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert!(count(StatusCode::BAD_REQUEST) >= 30 && count(StatusCode::TOO_MANY_REQUESTS) > 5, "{statuses:?}");
    let mut strangers = Vec::new();
    for _ in 0..5 {
        let bad = from("192.0.2.1").header(header::AUTHORIZATION, basic("app", "wrong"));
        strangers.push(house.send(bad, "{\"data\":{}}".to_owned()).await.status);
    }
    assert_eq!(strangers, [StatusCode::UNAUTHORIZED; 5]);
}

/// Whatever is wrong with the request before its body could be read.
#[tokio::test]
async fn a_client_whose_header_proves_it_uses_up_its_own_rate_with_bodies_that_cannot_be_read() {
    let twice = "{\"data\":{\"a\":1,\"a\":1}}";
    let both = "{\"data\":{},\"client_id\":\"app\",\"client_secret\":\"x\"}";
    let long = "x".repeat(20 * 1024);
    for (kind, body, status) in [
        ("application/json", twice, StatusCode::BAD_REQUEST),
        ("application/json", "{", StatusCode::BAD_REQUEST),
        ("application/json", both, StatusCode::BAD_REQUEST),
        ("application/x-www-form-urlencoded", "data=1&data=2", StatusCode::BAD_REQUEST),
        ("application/json", &long, StatusCode::PAYLOAD_TOO_LARGE),
        ("text/plain", "x", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let house = House::with_rates("https://tokens.example", 9, 5);
        let ask = async |secret: &str| {
            let request = from("192.0.2.1")
                .header(header::AUTHORIZATION, basic("app", secret))
                .header(header::CONTENT_TYPE, kind);
            house.send(request, body.to_owned()).await.status
        };
        for n in 0..9 {
            assert_eq!(ask(&house.secret).await, status, "{kind} {body:.30}: {n}");
        }
        assert_eq!(ask(&house.secret).await, StatusCode::TOO_MANY_REQUESTS, "its own rate");
        // Of the address nothing was used up, and those who prove nothing have its rate.
        for n in 0..5 {
            assert_eq!(ask("wrong").await, status, "{kind} {body:.30}: {n}");
        }
        assert_eq!(ask("wrong").await, StatusCode::TOO_MANY_REQUESTS);
    }
}

#[tokio::test]
async fn a_site_with_many_ipv6_networks_has_one_budget() {
    let house = House::with_rates("https://tokens.example", 10_000, 5);
    let mut refused = 0;
    for network in 0..40 {
        let answer =
            house.send(from(&format!("2001:db8:7:{network:x}::1")), "{\"data\":{}}".to_owned()).await;
        refused += usize::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(refused, 35);
}

#[tokio::test]
async fn signatures_that_wait_are_bounded_and_the_rest_is_told_to_come_back() {
    let house = House::with_signatures(SignatureLimits { at_once: 1, waiting: 3 });
    // Each is polled until it waits; the first has the turn, three wait behind it.
    let body = json!({ "data": {} });
    let answers = futures_of(&house, &body, 8).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 4, "{statuses:?}");
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::OK) {
        answer.assert_error(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "waiting for a signature",
        );
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(sign(&house, &body).await.status, StatusCode::OK);
}

/// So many requests at once, on one thread.
async fn futures_of(house: &House, body: &Value, n: usize) -> Vec<Answer> {
    let mut pending: Vec<_> = (0..n).map(|_| Box::pin(sign(house, body))).collect();
    let mut answers: Vec<Option<Answer>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, answer) in pending.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let std::task::Poll::Ready(found) = future.as_mut().poll(context)
            {
                *answer = Some(found);
            }
        }
        if answers.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}

#[tokio::test]
async fn public_documents_are_the_same_for_every_host_header_and_under_every_path() {
    let house = House::new("https://tokens.example/jwt-server");
    let plain = house.get("/.well-known/openid-configuration").await;
    let document = plain.json();
    assert_eq!(document["issuer"], "https://tokens.example/jwt-server");
    assert_eq!(document["jwks_uri"], "https://tokens.example/jwt-server/.well-known/jwks.json");
    for path in [
        "/jwt-server/.well-known/openid-configuration",
        "/jwt-server/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/jwt-server",
    ] {
        let hostile = request("GET", path)
            .header(header::HOST, "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "gopher")
            .header("forwarded", "host=evil.example");
        let answer = house.send(hostile, String::new()).await;
        assert_eq!((answer.status, &answer.body), (StatusCode::OK, &plain.body), "{path}");
    }
    let jwks = house.get("/jwt-server/public-keys").await;
    assert_eq!(jwks.header("content-type"), "application/jwk-set+json");
    assert_eq!(jwks.body, house.get("/.well-known/jwks.json").await.body);
    for path in [
        "/jwt-server",
        "/jwt-server/",
        "/jwt-server/jwt-server/public-keys",
        "/public-keys/",
        "//public-keys",
        "/public-keys/jwt-server",
    ] {
        assert_eq!(house.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn public_documents_answer_conditional_head_and_preflight_requests() {
    let house = House::new("https://tokens.example");
    for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration"] {
        let full = house.get(path).await;
        let etag = full.header("etag").to_owned();
        assert_eq!(full.header("access-control-allow-origin"), "*");
        for tag in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
            let answer =
                house.send(request("GET", path).header(header::IF_NONE_MATCH, tag), String::new()).await;
            assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
            assert_eq!(answer.header("etag"), etag);
        }
        let other =
            house.send(request("GET", path).header(header::IF_NONE_MATCH, "\"other\""), String::new()).await;
        assert_eq!(other.status, StatusCode::OK);
        let head = house.send(request("HEAD", path), String::new()).await;
        assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
        assert_eq!(head.header("content-length"), full.body.len().to_string());
        let preflight = house.send(request("OPTIONS", path), String::new()).await;
        assert_eq!(preflight.status, StatusCode::NO_CONTENT);
        assert_eq!(preflight.header("access-control-allow-methods"), "GET, HEAD");
        let post = house.send(request("POST", path), String::new()).await;
        assert_eq!(post.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(post.header("allow").contains("GET"));
    }
}

#[tokio::test]
async fn answers_of_one_moment_may_be_kept_for_different_times_and_are_the_same_otherwise() {
    let house = House::new("https://tokens.example");
    let first = house.get("/public-keys").await;
    let mut ages = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let known = request("GET", "/public-keys").header(header::IF_NONE_MATCH, first.header("etag"));
        let known = house.send(known, String::new()).await;
        let again = house.get("/public-keys").await;
        assert_eq!((known.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, first.body.as_str()));
        for answer in [&known, &again] {
            assert_eq!(answer.header("etag"), first.header("etag"));
            let age = answer.header("cache-control").strip_prefix("public, max-age=").unwrap();
            ages.insert(age.parse::<u64>().unwrap());
        }
    }
    assert!(ages.len() > 8 && ages.first() >= Some(&240) && ages.last() == Some(&300), "{ages:?}");
}

#[tokio::test]
async fn the_jwks_has_public_members_only_and_changes_with_the_keys() {
    let house = House::new("https://tokens.example");
    let before = house.get("/public-keys").await;
    let key = &before.json()["keys"][0];
    let mut names: Vec<_> = key.as_object().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    house.replace_keys();
    let after = house.get("/public-keys").await;
    assert_ne!((&before.body, before.header("etag")), (&after.body, after.header("etag")));
    let answer = sign(&house, &json!({ "data": {} })).await;
    assert_eq!(answer.json()["kid"], after.json()["keys"][0]["kid"]);
}

#[tokio::test]
async fn metrics_are_for_the_allowed_addresses_and_count_what_happened() {
    let house = House::new("https://tokens.example");
    sign(&house, &json!({ "data": {} })).await;
    sign(&house, &json!({ "data": { "exp": 1 } })).await;
    let text = house.get("/metrics").await.body;
    assert!(text.contains("countersign_tokens_minted_total{profile=\"jwt\"} 1"), "{text}");
    assert!(text.contains("countersign_tokens_refused_total{reason=\"invalid_request\"} 1"), "{text}");
    assert!(text.contains("countersign_ready 1"), "{text}");
    let outside =
        request("GET", "/metrics").extension(countersign_issuer::http::Peer("192.0.2.9".parse().unwrap()));
    assert_eq!(house.send(outside, String::new()).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn readiness_ends_when_the_store_has_been_silent_for_too_long() {
    let house = House::new("https://tokens.example");
    assert_eq!(house.get("/readyz").await.status, StatusCode::OK);
    house.clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(house.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(house.get("/healthz").await.status, StatusCode::OK);
    house.issuer_handle.store_answered();
    assert_eq!(house.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_has_not_read_the_store_for_too_long_has_nobody_keep_its_documents() {
    let house = House::new("https://tokens.example/a");
    let paths = [
        "/.well-known/jwks.json",
        "/a/.well-known/jwks.json",
        "/public-keys",
        "/.well-known/openid-configuration",
        "/.well-known/x509.json",
    ];
    let is_kept = |value: &str| value.starts_with("public, max-age=") && value != "public, max-age=0";
    for (silent_for, kept) in [(300, true), (301, false)] {
        house.issuer_handle.store_answered();
        house.clock.advance(std::time::Duration::from_secs(silent_for));
        for path in paths {
            for method in ["GET", "HEAD"] {
                let answer = house.send(request(method, path), String::new()).await;
                assert_eq!(answer.status, StatusCode::OK);
                let value = answer.header("cache-control");
                assert_eq!(is_kept(value), kept, "{method} {path} after {silent_for} s: {value}");
            }
            let known = house.get(path).await.header("etag").to_owned();
            let unchanged =
                house.send(request("GET", path).header("if-none-match", known), String::new()).await;
            assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
            assert_eq!(is_kept(unchanged.header("cache-control")), kept, "{path}: 304 renews what is kept");
        }
    }
    house.issuer_handle.store_answered();
    assert!(is_kept(house.get("/public-keys").await.header("cache-control")));
}

#[tokio::test]
async fn a_clock_that_was_set_back_mints_no_token_that_is_expired_already() {
    let house = House::new("https://tokens.example");
    let right = NOW.plus(std::time::Duration::from_secs(7200));
    house.clock.advance(std::time::Duration::from_secs(7200));
    house.issuer_handle.store_answered();
    for back in [61, 3600, 86_400] {
        house.clock.set(right.minus(std::time::Duration::from_secs(back)));
        sign(&house, &json!({ "data": {} })).await.assert_error(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "the clock of this machine shows",
        );
        let ready = house.get("/readyz").await;
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(ready.body.contains("clock_behind: "), "{}", ready.body);
        let text = house.get("/metrics").await.body;
        assert!(text.contains("countersign_concern{concern=\"clock_behind\"} 1"), "{text}");
        assert!(text.contains("countersign_ready 0"), "{text}");
        house.clock.set(right);
        assert_eq!(sign(&house, &json!({ "data": {} })).await.status, StatusCode::OK, "right again");
        assert_eq!(house.get("/readyz").await.body, "ready\n");
    }
    house.clock.set(right.minus(std::time::Duration::from_secs(60)));
    assert_eq!(sign(&house, &json!({ "data": {} })).await.status, StatusCode::OK, "within the skew");
}

#[test]
fn keys_and_cache_times_that_are_changed_at_the_same_moment_both_last() {
    let house = House::new("https://tokens.example");
    let issuer = std::sync::Arc::clone(&house.issuer_handle);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let changed = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let others: Vec<_> = (0..2)
        .map(|_| {
            let (issuer, stop) = (std::sync::Arc::clone(&issuer), std::sync::Arc::clone(&stop));
            let changed = std::sync::Arc::clone(&changed);
            std::thread::spawn(move || {
                for seconds in (20..300).cycle() {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    issuer.set_max_age(std::time::Duration::from_secs(seconds)).unwrap();
                    changed.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            })
        })
        .collect();
    for turn in 0..300 {
        let before = issuer.documents().get("/public-keys").unwrap().body.clone();
        house.replace_keys();
        // Only this thread changes the keys, so those that it replaced do not come back: not with a
        // change that had begun before.
        let begun = changed.load(std::sync::atomic::Ordering::SeqCst);
        while changed.load(std::sync::atomic::Ordering::SeqCst) < begun + 4 {
            assert_ne!(issuer.documents().get("/public-keys").unwrap().body, before, "turn {turn}");
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    others.into_iter().for_each(|thread| thread.join().unwrap());
}
