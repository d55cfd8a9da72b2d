//! What holds of every meeting token, whatever is sent: nobody is moderator, is in a room, has a
//! pattern for one, a member of `user` or a feature unless the client's entry says so, and
//! everything in a token has the type that its reader demands.
//!
//! Both profiles; the expectation is written here once more, from docs/meetings.md and not from the
//! code.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say what they expect by failing")]

#[expect(dead_code, reason = "each of the test files uses a part of it")]
mod support;

use countersign_issuer::{
    Caller, HttpIssuer, Ids, Issuer, IssuerSettings, IssuerUrl, JaasProfile, JitsiProfile, JwksCertificates,
    MeetingGrant, MintPolicy, Names, Patience, RequestLimits, SignRequest, SignatureLimits, http::RateLimits,
};
use countersign_jose::MAX_TOKEN_BYTES;
use countersign_store::ManualClock;
use proptest::{option::weighted as option, prelude::*};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};
use support::NOW;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());

const FEATURES: [&str; 12] = [
    "livestreaming",
    "recording",
    "transcription",
    "sip-inbound-call",
    "sip-outbound-call",
    "inbound-call",
    "outbound-call",
    "file-upload",
    "list-visitors",
    "send-groupchat",
    "create-polls",
    "flip",
];

fn issuer() -> Issuer {
    let settings = IssuerSettings {
        issuer: IssuerUrl::parse("https://tokens.example", HttpIssuer::LoopbackOnly).unwrap(),
        clients: [].into_iter().collect(),
        profiles: vec![
            Arc::new(JaasProfile { app_id: "app".into(), ring: "jaas".parse().unwrap() }),
            Arc::new(JitsiProfile {
                app_id: "mine".into(),
                audience: "jitsi".into(),
                domain: "meet.example".into(),
                ring: "jaas".parse().unwrap(),
            }),
        ],
        unpublished_rings: BTreeSet::new(),
        jwks_max_age: Duration::from_secs(300),
        jwks_certificates: JwksCertificates::Left,
        backdate: Duration::from_secs(5),
        limits: RequestLimits { body_bytes: 1 << 20, json_depth: 64, token_bytes: MAX_TOKEN_BYTES },
        rates: RateLimits::default(),
        signatures: SignatureLimits { at_once: 1, waiting: 1024 },
        patience: Patience {
            max_stale: Duration::from_secs(300),
            max_stale_signing: Duration::from_secs(3600),
            skew: Duration::from_secs(60),
            clock_settles: Duration::from_secs(86_400),
        },
        token_endpoint: None,
    };
    Issuer::new(settings, support::keyring(), Arc::new(ManualClock::at(NOW))).unwrap()
}

/// What a client may have.
#[derive(Debug, Clone)]
struct Granted {
    moderator: bool,
    any_room: bool,
    rooms: bool,
    regex: Vec<&'static str>,
    user: Vec<&'static str>,
    features: Vec<&'static str>,
}

fn granted() -> impl Strategy<Value = Granted> {
    let some = |names: Vec<&'static str>| {
        let most = names.len();
        proptest::sample::subsequence(names, 0..=most)
    };
    (
        (any::<bool>(), any::<bool>(), any::<bool>()),
        some(vec!["a.*", "b+", "*"]),
        some(vec!["id", "name", "email", "avatar", "hidden-from-recorder", "*"]),
        some(vec!["recording", "flip", "flip2", "*"]),
    )
        .prop_map(|((moderator, any_room, rooms), regex, user, features)| Granted {
            moderator,
            any_room,
            rooms,
            regex,
            user,
            features,
        })
}

impl Granted {
    fn grant(&self) -> MeetingGrant {
        let names = |list: &[&str]| list.iter().copied().collect::<Names>();
        MeetingGrant {
            moderator: self.moderator,
            any_room: self.any_room,
            rooms: if self.rooms { vec!["a*".parse().unwrap()] } else { vec![] },
            regex: names(&self.regex),
            user: names(&self.user),
            features: names(&self.features),
        }
    }

    fn has(list: &[&str], name: &str) -> bool {
        list.iter().any(|own| *own == name || *own == "*")
    }

    fn feature(&self, name: &str) -> bool {
        self.features.contains(&name) || self.features.contains(&"*") && FEATURES.contains(&name)
    }
}

/// Flags as they are sent, and things that are none.
fn flags() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => Just(json!(true)),
        2 => Just(json!(false)),
        2 => Just(json!("true")),
        1 => Just(json!("false")),
        1 => Just(json!("TRUE")),
        1 => Just(json!(1)),
        1 => Just(json!(null)),
        1 => Just(json!(["true"])),
    ]
}

fn texts() -> impl Strategy<Value = Value> {
    prop_oneof![
        5 => "[a-z]{1,5}".prop_map(Value::from),
        1 => "\\PC{0,8}".prop_map(Value::from),
        1 => Just(json!("https://a.example/x.png")),
        1 => Just(json!(null)),
        1 => Just(json!(7)),
        1 => Just(json!({})),
    ]
}

fn data() -> impl Strategy<Value = Value> {
    let rooms = prop_oneof![
        4 => Just("a1".to_owned()),
        2 => Just("A1".to_owned()),
        1 => Just("b".to_owned()),
        2 => Just("*".to_owned()),
        2 => Just("a.*".to_owned()),
        1 => Just("b+".to_owned()),
        1 => "[abA*.+\\]@é]{1,4}",
    ];
    let user = proptest::collection::btree_map(
        proptest::sample::select(vec![
            "id",
            "name",
            "email",
            "avatar",
            "hidden-from-recorder",
            "moderator",
            "affiliation",
        ]),
        prop_oneof![3 => texts(), 1 => flags()],
        0..3,
    );
    let features = proptest::collection::btree_map(
        proptest::sample::select(vec!["recording", "flip", "flip2", "livestreaming", "moderator"]),
        flags(),
        0..3,
    );
    (
        option(0.9, rooms.prop_map(Value::from)),
        option(0.3, flags()),
        option(0.5, user.prop_map(|map| json!(map))),
        option(0.5, flags()),
        option(0.4, features.prop_map(|map| json!(map))),
        option(0.05, Just(json!({ "room": { "regex": true }, "user": { "moderator": true } }))),
    )
        .prop_map(|(room, regex, user, moderator, features, context)| {
            let all = [
                ("room", room),
                ("regex", regex),
                ("user", user),
                ("moderator", moderator),
                ("features", features),
                ("context", context),
            ];
            let set = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            set.collect::<Map<String, Value>>().into()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_is_in_a_token_was_granted_and_has_the_type_that_its_reader_demands(
        is_jaas in any::<bool>(),
        data in data(),
        granted in granted(),
    ) {
        let profile = if is_jaas { "jaas" } else { "jitsi" };
        let text = data.to_string();
        let request = SignRequest::from_parts(&text, None, Some(profile.into()), None, 16).unwrap();
        let mut policy =
            MintPolicy { max_lifetime: Duration::from_secs(600), profiles: Names::Any, ..MintPolicy::default() };
        let own = if is_jaas { &mut policy.jaas } else { &mut policy.jitsi };
        *own = granted.grant();
        let issuer = issuer();
        let ids = Ids::random().unwrap();
        let claims = RUNTIME.block_on(issuer.preview(Caller::Operator(&policy), &request, NOW, &ids));
        let Ok(claims) = claims else { return Ok(()) };
        let claims: Value = serde_json::from_slice(claims.claims()).unwrap();

        let room = claims["room"].as_str().unwrap();
        let regex = claims["context"]["room"]["regex"].as_str();
        if is_jaas {
            prop_assert!(matches!(regex, Some("true" | "false")));
        } else {
            prop_assert_eq!(&claims["context"]["room"], &Value::Null, "Prosody would take a pattern");
            prop_assert_eq!(room, &room.to_lowercase());
            prop_assert!(!room.contains(['[', ']', '@', '/', ' ']), "{}", room);
        }
        if regex == Some("true") {
            prop_assert!(Granted::has(&granted.regex, room), "{}", room);
        } else if room == "*" {
            prop_assert!(granted.any_room);
        } else {
            prop_assert!(!room.contains('*'), "{}", room);
            prop_assert!(granted.any_room || granted.rooms && room.starts_with('a'), "{}", room);
        }
        let asked = |value: &Value| matches!(value, Value::Bool(true)) || value == "true";
        let moderator = &claims["context"]["user"]["moderator"];
        let wants = asked(&data["moderator"]);
        prop_assert_eq!(moderator, if wants { "true" } else { "false" });
        prop_assert!(!wants || granted.moderator);
        let user = claims["context"]["user"].as_object().unwrap();
        for (name, value) in user {
            prop_assert!(value.is_string(), "{} is {}", name, value);
            match name.as_str() {
                "moderator" => {}
                "affiliation" => {
                    prop_assert!(!is_jaas);
                    prop_assert_eq!(value, if wants { "owner" } else { "member" });
                }
                "hidden-from-recorder" => {
                    prop_assert!(is_jaas && (value == "false" || Granted::has(&granted.user, name)));
                }
                // One of its own has everybody.
                "id" if data["user"]["id"].is_null() => prop_assert!(!value.as_str().unwrap().is_empty()),
                name => {
                    prop_assert!(["id", "name", "email", "avatar"].contains(&name), "{}", name);
                    prop_assert!(Granted::has(&granted.user, name), "{}", name);
                    prop_assert_eq!(value, &data["user"][name]);
                }
            }
        }
        for (name, value) in claims["context"]["features"].as_object().unwrap() {
            prop_assert!(value == "true" || value == "false", "{}", value);
            prop_assert_eq!(value == "true", asked(&data["features"][name]));
            prop_assert!(FEATURES.contains(&name.as_str()) || granted.features.contains(&name.as_str()), "{}", name);
            if value == "true" {
                prop_assert!(granted.feature(name), "{}", name);
                prop_assert!(!is_jaas || wants, "8x8 grants features to moderators only");
            }
        }
        let constants = if is_jaas { ("chat", "app") } else { ("mine", "meet.example") };
        prop_assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some(constants.0), Some(constants.1)));
        prop_assert_eq!(&claims["aud"], "jitsi", "a scalar");
        let nbf = claims["nbf"].as_i64().unwrap();
        prop_assert!(nbf <= NOW.unix_seconds() - 10, "the reader has no leeway");
    }
}
