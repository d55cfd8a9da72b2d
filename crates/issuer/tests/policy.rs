//! Policy over HTTP: one place applies it to every profile, and a refusal names what was refused to
//! a caller that proved who it is.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say what they expect by failing")]

#[expect(dead_code, reason = "each of the test files uses a part of it")]
mod support;

use axum::http::{StatusCode, header};
use countersign_issuer::{ClaimRules, MeetingGrant, MintPolicy, Names};
use countersign_jose::base64url;
use serde_json::{Value, json, value::to_raw_value};
use std::time::Duration;
use support::{Answer, House, basic, request};

async fn sign(house: &House, body: &Value) -> Answer {
    house
        .send(
            request("POST", "/sign").header(header::AUTHORIZATION, basic("app", &house.secret)),
            body.to_string(),
        )
        .await
}

/// The claims of a minted token, which was verified elsewhere.
fn payload(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let body = answer.json();
    let payload = body["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url::decode(payload).unwrap()).unwrap()
}

fn meetings(jaas: MeetingGrant, claims: ClaimRules) -> House {
    House::with_policy(MintPolicy {
        max_lifetime: Duration::from_secs(7200),
        profiles: Names::Listed(vec!["jaas".into()]),
        claims,
        jaas,
        ..MintPolicy::default()
    })
}

fn rooms(patterns: &[&str]) -> MeetingGrant {
    MeetingGrant { rooms: patterns.iter().map(|p| p.parse().unwrap()).collect(), ..MeetingGrant::default() }
}

#[tokio::test]
async fn each_rule_refuses_by_its_own_name_and_says_what_it_refused() {
    let house = House::new("https://tokens.example");
    for (body, rule, what) in [
        (json!({ "data": {}, "metadata": { "audience": "api://x" } }), "audiences", "the audience 'api://x'"),
        (json!({ "data": {}, "metadata": { "audience": "api://on" } }), "audiences", "'api://on'"),
        (json!({ "data": {}, "metadata": { "audience": "api://one/" } }), "audiences", "'api://one/'"),
        (json!({ "data": {}, "metadata": { "audience": ["api://one", "x"] } }), "audiences", "audience 'x'"),
        (
            json!({ "data": {}, "metadata": { "duration": 7201 } }),
            "max_lifetime",
            "7201 s; the longest is 7200 s",
        ),
        (json!({ "data": { "secret": "VALUE" } }), "claims.allow", "the claim 'secret'"),
        (json!({ "data": { "é\u{202e}": "VALUE" } }), "claims.allow", "the claim '??u202e'"),
        (json!({ "data": { "admin": "VALUE" } }), "claims.deny", "the claim 'admin'"),
        (
            json!({ "data": { "tenant": "VALUE" } }),
            "claims.fixed",
            "another value of the fixed claim 'tenant'",
        ),
        (json!({ "data": { "scope": "read all" } }), "scopes", "the scope 'all'"),
        (json!({ "data": { "scp": ["all"] } }), "scopes", "the scope 'all'"),
        (json!({ "data": { "scope": { "VALUE": 1 } } }), "scopes", "the claim `scope`"),
        (json!({ "data": { "room": "VALUE" }, "profile": "jaas" }), "profiles", "the profile 'jaas'"),
    ] {
        let answer = sign(&house, &body).await;
        answer.assert_error(StatusCode::FORBIDDEN, "access_denied", &format!("rule: {rule})"));
        answer.assert_error(StatusCode::FORBIDDEN, "access_denied", what);
        assert!(!answer.body.contains("VALUE"), "{}", answer.body);
    }
    let allowed = json!({ "data": { "scope": "read write", "tenant": "acme" } });
    assert_eq!(payload(&sign(&house, &allowed).await)["tenant"], "acme");
    assert_eq!(payload(&sign(&house, &json!({ "data": {} })).await)["tenant"], "acme");
}

#[tokio::test]
async fn what_a_refusal_repeats_is_cut() {
    let house = House::new("https://tokens.example");
    let long = "x".repeat(9_000);
    for body in [
        json!({ "data": { long.as_str(): 1 } }),
        json!({ "data": {}, "metadata": { "audience": long } }),
        json!({ "data": { "scope": long } }),
        json!({ "data": { format!("/{long}"): 1 } }),
    ] {
        let answer = sign(&house, &body).await;
        assert!(answer.status.is_client_error());
        assert!(answer.body.len() < 500, "{} bytes", answer.body.len());
    }
}

#[tokio::test]
async fn a_caller_that_did_not_prove_who_it_is_is_told_nothing_of_what_it_sent() {
    let house = House::new("https://tokens.example");
    for body in [
        json!({ "data": { "ECHO": 1 }, "metadata": { "audience": "ECHO" }, "profile": "ECHO" }).to_string(),
        json!({ "data": { "sub": { "ECHO": 1 } } }).to_string(),
        json!({ "data": {}, "ECHO": 1 }).to_string(),
        json!({ "data": {}, "metadata": { "ECHO": 1 } }).to_string(),
        "{\"data\":{\"ECHO\":".to_owned(),
    ] {
        for authorization in [None, Some(basic("app", "wrong")), Some(basic("ECHO", "ECHO"))] {
            let mut attempt = request("POST", "/sign");
            if let Some(value) = authorization {
                attempt = attempt.header(header::AUTHORIZATION, value);
            }
            let answer = house.send(attempt, body.clone()).await;
            assert!(answer.status.is_client_error() && answer.status != StatusCode::FORBIDDEN);
            assert!(!answer.body.contains("ECHO"), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_client_with_nothing_declared_gets_nothing() {
    let house = House::with_policy(MintPolicy::default());
    for profile in ["jwt", "jaas"] {
        let answer = sign(&house, &json!({ "data": {}, "profile": profile })).await;
        answer.assert_error(StatusCode::FORBIDDEN, "access_denied", "rule: profiles)");
    }
}

#[tokio::test]
async fn registered_claims_that_a_verifier_would_refuse_are_refused_with_what_was_found() {
    let house = House::new("https://tokens.example");
    for (sub, found) in [
        (json!(123), "a number"),
        (json!(null), "null"),
        (json!(true), "a boolean"),
        (json!(["a"]), "an array"),
        (json!({ "id": "a" }), "an object"),
    ] {
        let answer = sign(&house, &json!({ "data": { "sub": sub } })).await;
        let says = format!("`sub` must be a string; found {found}");
        answer.assert_error(StatusCode::BAD_REQUEST, "invalid_request", &says);
    }
    for audience in [json!(""), json!([]), json!([""]), json!(["api://one", ""])] {
        let answer = sign(&house, &json!({ "data": {}, "metadata": { "audience": audience } })).await;
        answer.assert_error(StatusCode::BAD_REQUEST, "invalid_request", "`metadata.audience` must be");
    }
}

#[tokio::test]
async fn a_claim_whose_name_reads_like_a_pointer_is_not_minted_however_it_is_spelled() {
    let policy = MintPolicy {
        audiences: ["api://one"].into_iter().collect(),
        max_lifetime: Duration::from_secs(60),
        profiles: Names::Any,
        claims: ClaimRules {
            allow: Names::Any,
            deny: vec!["realm_access".parse().unwrap(), "roles".parse().unwrap()],
            ..ClaimRules::default()
        },
        ..MintPolicy::default()
    };
    let house = House::with_policy(policy);
    for name in ["/realm_access/roles", "\\/roles", "\\u002frealm_access\\u002froles", "/", "//roles"] {
        let answer = house
            .send(
                request("POST", "/sign").header(header::AUTHORIZATION, basic("app", &house.secret)),
                format!("{{\"data\":{{\"{name}\":[\"admin\"]}}}}"),
            )
            .await;
        answer.assert_error(StatusCode::BAD_REQUEST, "invalid_request", "begins with `/`");
    }
    for name in ["https://hasura.io/jwt/claims", "a/b", "~1roles"] {
        let answer = sign(&house, &json!({ "data": { name: 1 } })).await;
        assert_eq!(payload(&answer)[name], 1);
    }
}

#[tokio::test]
async fn a_client_has_the_rooms_and_the_user_claims_of_its_entry_and_no_other() {
    let grant = MeetingGrant { user: ["name"].into_iter().collect(), ..rooms(&["standup", "team-*"]) };
    let house = meetings(grant, ClaimRules::default());
    for (data, rule, what) in [
        (json!({ "room": "board" }), "jaas.rooms", "the room 'board'"),
        (json!({ "room": "Standup" }), "jaas.rooms", "'Standup'"),
        (json!({ "room": "standup2" }), "jaas.rooms", "'standup2'"),
        (json!({ "room": "x-team-a" }), "jaas.rooms", "'x-team-a'"),
        (json!({ "room": "*" }), "jaas.any_room", "every room"),
        (json!({ "room": "standup", "user": { "id": "ceo" } }), "jaas.user", "`user.id`"),
        (json!({ "room": "standup", "user": { "name": "A", "email": "a@x" } }), "jaas.user", "`user.email`"),
        (json!({ "room": "standup", "user": { "avatar": "" } }), "jaas.user", "`user.avatar`"),
        (json!({ "room": "standup", "moderator": true }), "jaas.moderator", "moderators"),
        (json!({ "room": "standup", "features": { "recording": true } }), "jaas.features", "'recording'"),
    ] {
        let answer = sign(&house, &json!({ "data": data, "profile": "jaas" })).await;
        answer.assert_error(StatusCode::FORBIDDEN, "access_denied", &format!("rule: {rule})"));
        answer.assert_error(StatusCode::FORBIDDEN, "access_denied", what);
    }
    for data in [
        json!({ "room": "standup" }),
        json!({ "room": "team-eu", "user": {} }),
        json!({ "room": "team-eu", "user": { "name": "Zoë" } }),
    ] {
        let claims = payload(&sign(&house, &json!({ "data": data, "profile": "jaas" })).await);
        assert_eq!(claims["room"], data["room"]);
        assert_eq!(claims["context"]["room"], json!({ "regex": "false" }));
        assert_eq!(claims["context"]["user"].get("name"), data.pointer("/user/name"));
        assert_eq!(
            (&claims["iat"], claims["exp"].as_i64()),
            (&claims["nbf"], claims["iat"].as_i64().map(|t| t + 3600))
        );
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_and_a_name_is_never_a_pattern() {
    let house = meetings(
        MeetingGrant { any_room: true, user: Names::Any, ..MeetingGrant::default() },
        ClaimRules::default(),
    );
    for (data, says) in [
        (json!({ "room": "a", "context": { "room": { "regex": true } } }), "unknown member 'context'"),
        (json!({ "room": { "regex": true } }), "`data.room` must be a string"),
        (json!({ "room": "team-*" }), "no asterisk"),
        (json!({ "room": "**" }), "no asterisk"),
        (json!({ "room": "a", "user": ["1", "2", "3", "4"] }), "`data.user` must be an object"),
        (json!({ "room": "a", "user": [] }), "`data.user` must be an object"),
        (json!({ "room": "a", "user": null }), "`data.user` must be an object"),
        (json!({ "room": "a", "user": { "id": null } }), "`data.user.id` must be a string; found null"),
        (json!({ "room": "a", "user": { "id": 7 } }), "`data.user.id` must be a string; found a number"),
        (json!({ "room": "a", "user": { "id": "\n" } }), "`data.user.id` must have at most 1024 characters"),
        (json!({ "room": "a", "user": { "avatar": "javascript:x" } }), "`data.user.avatar` must be the URL"),
        (
            json!({ "room": "a", "user": { "Name": "A" } }),
            "unknown member 'Name' in `data.user`; profile jaas takes",
        ),
        (
            json!({ "room": "a", "user": { "moderator": true } }),
            "has its place beside `user`, as `data.moderator`",
        ),
        (
            json!({ "room": "a", "user": { "hidden-from-recorder": 1 } }),
            "`data.user.hidden-from-recorder` must be true or false; found a number",
        ),
        (
            json!({ "room": "a", "moderator": "yes" }),
            "`data.moderator` must be true or false; found another string",
        ),
        (json!({ "room": "a", "features": { "flip2": false } }), "unknown feature 'flip2'"),
        (
            json!({ "room": "a", "features": { "flip": 1 } }),
            "'flip' in `data.features` must be true or false",
        ),
        (json!({ "room": "*", "regex": true }), "every room and no pattern"),
    ] {
        let answer = sign(&house, &json!({ "data": data, "profile": "jaas" })).await;
        answer.assert_error(StatusCode::BAD_REQUEST, "invalid_request", says);
    }
    for room in ["*", "standup"] {
        let answer = sign(&house, &json!({ "data": { "room": room }, "profile": "jaas" })).await;
        assert_eq!(payload(&answer)["room"], room);
    }
}

#[tokio::test]
async fn deny_fixed_and_allow_mean_the_same_in_a_profile_with_typed_input() {
    let claims = ClaimRules {
        deny: vec!["moderator".parse().unwrap()],
        fixed: vec![
            ("room".into(), to_raw_value("standup").unwrap()),
            ("user".into(), to_raw_value(&json!({ "id": "kiosk" })).unwrap()),
        ],
        ..ClaimRules::default()
    };
    let grant = MeetingGrant { user: Names::Any, moderator: true, ..rooms(&["standup"]) };
    let house = meetings(grant, claims);
    let claims = payload(&sign(&house, &json!({ "data": {}, "profile": "jaas" })).await);
    assert_eq!((&claims["room"], &claims["context"]["user"]["id"]), (&json!("standup"), &json!("kiosk")));
    for (data, rule) in [
        (json!({ "room": "other" }), "claims.fixed"),
        (json!({ "user": { "id": "ceo" } }), "claims.fixed"),
        (json!({ "moderator": false }), "claims.deny"),
    ] {
        let answer = sign(&house, &json!({ "data": data, "profile": "jaas" })).await;
        answer.assert_error(StatusCode::FORBIDDEN, "access_denied", &format!("rule: {rule})"));
    }
}

#[cfg(feature = "json-schema")]
#[tokio::test]
async fn a_schema_judges_every_profile_and_the_numbers_that_leave() {
    let schema = |schema: &Value| Some(countersign_issuer::Schema::compile(&schema.to_string()).unwrap());
    let mail =
        json!({ "properties": { "user": { "properties": { "email": { "pattern": "@acme\\.example$" } } } } });
    let house = meetings(
        MeetingGrant { any_room: true, user: Names::Any, ..MeetingGrant::default() },
        ClaimRules { schema: schema(&mail), ..ClaimRules::default() },
    );
    for (email, status) in [("a@acme.example", StatusCode::OK), ("a@evil.example", StatusCode::FORBIDDEN)] {
        let data = json!({ "room": "a", "user": { "email": email } });
        let answer = sign(&house, &json!({ "data": data, "profile": "jaas" })).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(!answer.body.contains("evil"), "{}", answer.body);
    }

    let level = json!({ "properties": { "level": { "type": "integer", "maximum": 3 } } });
    let house = House::with_policy(MintPolicy {
        audiences: ["api://one"].into_iter().collect(),
        max_lifetime: Duration::from_secs(60),
        profiles: Names::Any,
        claims: ClaimRules { allow: Names::Any, schema: schema(&level), ..ClaimRules::default() },
        ..MintPolicy::default()
    });
    for (level, says) in [
        ("3", None),
        ("3.0", None),
        ("4", Some("the value at '/level'")),
        ("3.0000000000000000001", Some("the claim 'level': a number in it cannot be compared exactly")),
    ] {
        let answer = house
            .send(
                request("POST", "/sign").header(header::AUTHORIZATION, basic("app", &house.secret)),
                format!("{{\"data\":{{\"level\":{level}}}}}"),
            )
            .await;
        match says {
            None => assert_eq!(answer.status, StatusCode::OK, "{}", answer.body),
            Some(says) => answer.assert_error(StatusCode::FORBIDDEN, "access_denied", says),
        }
    }
}
