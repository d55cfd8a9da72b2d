//! What holds of every exchange for a meeting, whatever is shown and asked: the room is one of the
//! rule's or of the token's, and never every room or a pattern; the user is whom the token is
//! about; nobody becomes moderator or has a feature of whom the rule does not say so.

use crate::support::{self, Entry, ISSUER, NOW, SECRET, route, send};
use axum::http::StatusCode;
use countersign_grants::{ExchangeRule, Expression, MeetingTerms, Once, RuleSettings, UserMember};
use countersign_issuer::{GrantType, MeetingGrant, MeetingService, Names};
use countersign_jose::{Algorithm, KeySize, SigningKey, base64url};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

static LOGIN: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());

fn rule(rooms: &[&str], has_room: bool, service: MeetingService) -> ExchangeRule {
    let source = support::source("https://login.example", &LOGIN, ISSUER, Once::Required);
    let compile = |text: &str| Expression::compile(text).unwrap();
    let meeting = MeetingTerms {
        service,
        rooms: rooms.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        room: has_room.then(|| compile("has(claims.rooms) ? claims.rooms : null")),
        user: UserMember::ALL.into_iter().map(|member| (member, None)).collect(),
        moderator: Some(compile("has(claims.role) && claims.role == 'host'")),
        features: [("recording".to_owned(), compile("has(claims.records) && claims.records"))].into(),
    };
    let grants = [GrantType::TokenExchange].into();
    ExchangeRule::new(RuleSettings { grants, meeting: Some(meeting), ..support::rule("login", source) })
        .unwrap()
}

fn rooms() -> impl Strategy<Value = String> {
    let names = vec!["standup", "Standup", "team-a", "team-", "board", "team-*", "", "a\nb"];
    prop_oneof![1 => Just("*"), 3 => proptest::sample::select(names)].prop_map(str::to_owned)
}

fn texts() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => "[a-z]{1,6}".prop_map(Value::from),
        1 => Just(json!("https://a.example/x.png")),
        1 => Just(json!("http://a.example/x.png")),
        1 => Just(json!("javascript:alert(1)")),
        1 => Just(json!("a\u{0}b")),
        1 => Just(json!(7)),
        1 => Just(json!(null)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn a_meeting_token_is_for_whom_and_where_the_rule_says(
        is_jaas in any::<bool>(),
        patterns in proptest::sample::subsequence(vec!["standup", "team-*"], 0..=2),
        asked in proptest::option::weighted(0.8, rooms()),
        own in proptest::option::of(prop_oneof![
            rooms().prop_map(Value::from),
            proptest::collection::vec(rooms(), 0..3).prop_map(Value::from),
            Just(json!(7)),
        ]),
        has_room in any::<bool>(),
        role in proptest::option::of(prop_oneof![Just(json!("host")), Just(json!("guest")), Just(json!(true))]),
        records in proptest::option::of(prop_oneof![Just(json!(true)), Just(json!(false)), Just(json!("true"))]),
        verified in proptest::option::of(prop_oneof![Just(json!(true)), Just(json!(false)), Just(json!("true")), Just(json!(1))]),
        named in proptest::collection::btree_map(
            proptest::sample::select(vec!["name", "email", "picture", "moderator", "context", "room"]), texts(), 0..5),
        any_room in any::<bool>(),
        wants in proptest::option::weighted(0.2, proptest::sample::select(vec!["jaas", "jitsi", "access_token", "none"])),
    ) {
        let service = if is_jaas { MeetingService::Jaas } else { MeetingService::Jitsi };
        let wants = wants.unwrap_or(service.profile());
        let mut entry = Entry::plain(GrantType::TokenExchange, vec![], 3600);
        entry.profiles = vec!["access_token".into(), "jaas".into(), "jitsi".into()];
        // The client may have more than the rule gives: the rule is what holds here.
        entry.meetings = MeetingGrant {
            moderator: true,
            any_room,
            rooms: vec!["*".parse().unwrap()],
            regex: Names::Any,
            user: Names::Any,
            features: Names::Any,
        };
        let (_issuer, route) = route(&[("mine", &entry)], vec![rule(&patterns, has_room, service)]);
        let mut shown = json!({
            "iss": "https://login.example", "aud": ISSUER, "exp": NOW.unix_seconds() + 600, "jti": "1", "sub": "alice",
        });
        let members = shown.as_object_mut().unwrap();
        for (name, value) in [("role", &role), ("records", &records), ("email_verified", &verified), ("rooms", &own)] {
            if let Some(value) = value {
                members.insert(name.to_owned(), value.clone());
            }
        }
        members.extend(named.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let token = support::signed(&LOGIN, &shown);
        let mut body = format!(
            "grant_type={}&subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:jwt",
            GrantType::TokenExchange.name()
        );
        match wants {
            "none" => {}
            "access_token" => body.push_str("&requested_token_type=urn:ietf:params:oauth:token-type:access_token"),
            other => body.push_str(&format!("&requested_token_type=urn:countersign:params:oauth:token-type:{other}")),
        }
        if let Some(asked) = &asked {
            let asked: String = asked.bytes().map(|byte| format!("%{byte:02x}")).collect();
            body.push_str(&format!("&room={asked}"));
        }
        let (status, answer) = send(&route.unwrap(), &format!("mine:{}", SECRET.expose()), body);
        if status != StatusCode::OK {
            let error = answer["error"].as_str().unwrap();
            prop_assert!(["invalid_request", "invalid_target"].contains(&error), "{}", answer);
            return Ok(());
        }
        prop_assert_eq!(wants, service.profile(), "nobody gets what was not asked for");
        prop_assert_eq!(&answer["token_type"], "N_A");
        prop_assert_eq!(
            &answer["issued_token_type"],
            &json!(format!("urn:countersign:params:oauth:token-type:{wants}"))
        );
        let token = answer["access_token"].as_str().unwrap();
        let payload = base64url::decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Map<String, Value> = serde_json::from_slice(&payload).unwrap();
        prop_assert!(claims["exp"].as_i64().unwrap() <= NOW.unix_seconds() + 600, "not beyond what was shown");

        let room = claims["room"].as_str().unwrap();
        prop_assert!(!room.contains('*') && !room.is_empty() && !room.contains('\n'), "{}", room);
        prop_assert!(claims["context"]["room"]["regex"] != json!("true"));
        let same = |one: &str, other: &str| {
            if is_jaas { one == other } else { one.to_lowercase() == other.to_lowercase() }
        };
        // RFC 6749 §3.2: a parameter without a value is one that was not sent.
        if let Some(asked) = asked.as_ref().filter(|asked| !asked.is_empty()) {
            prop_assert!(same(asked, room));
        }
        let of_rule = patterns.contains(&"standup") && room == "standup"
            || patterns.contains(&"team-*") && room.starts_with("team-");
        let list = match own.as_ref().filter(|_| has_room) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().map(|room| room.as_str().unwrap().to_owned()).collect(),
            _ => vec![],
        };
        prop_assert!(of_rule || list.iter().any(|own| same(own, room)), "{} of {:?} and {:?}", room, patterns, list);

        let user = &claims["context"]["user"];
        prop_assert_eq!(&user["id"], "login:alice");
        let is_host = role == Some(json!("host"));
        prop_assert_eq!(user["moderator"] == "true", is_host);
        let records = records == Some(json!(true)) && (is_host || !is_jaas);
        prop_assert_eq!(claims["context"]["features"]["recording"] == "true", records);
        for (member, claim) in [("name", "name"), ("email", "email"), ("avatar", "picture")] {
            if let Some(value) = user.get(member) {
                prop_assert_eq!(Some(value), named.get(claim));
                prop_assert!(value.is_string());
            }
        }
        if user.get("email").is_some() {
            prop_assert!(verified == Some(json!(true)) || verified == Some(json!("true")));
        }
        if let Some(avatar) = user.get("avatar") {
            prop_assert!(avatar.as_str().unwrap().starts_with("https://"));
        }
    }
}
