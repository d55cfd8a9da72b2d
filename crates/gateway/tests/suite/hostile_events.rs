//! No event, however mutated, yields a panic, a reply AWS would turn into a 500, or an Allow
//! without a verified token.

use crate::{
    properties::{self, allows, check_form},
    support::{NOW, authorize, authorizer, event, events, forged_token, token},
};
use countersign_gateway::{
    Decision, Denial, Refusal,
    lambda::{Authorizer, Reply},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

static GATES: LazyLock<Vec<Authorizer>> = LazyLock::new(|| {
    let cookie = json!({ "cookie": "session" });
    vec![
        authorizer(json!({ "credentials": cookie })),
        authorizer(json!({ "credentials": cookie, "http_api_response": "policy", "routes": [
            { "path": "/health", "public": true },
            { "methods": ["GET"], "path": "/orders/*", "any_scope": ["a"] },
            { "path": "/request/**" },
            { "path": "$connect" },
        ] })),
        authorizer(
            json!({ "credentials": cookie, "authorized_apis": ["arn:aws:execute-api:*:*:abcdef123/*"] }),
        ),
    ]
});

/// Some place in the event, by turns at random.
fn place<'v>(value: &'v mut Value, path: &[prop::sample::Index]) -> &'v mut Value {
    let mut at = value;
    for index in path {
        let inner = match at {
            Value::Object(map) => map.len(),
            Value::Array(list) => list.len(),
            _ => 0,
        };
        if inner == 0 {
            return at;
        }
        at = match at {
            Value::Object(map) => map.values_mut().nth(index.index(inner)).unwrap(),
            Value::Array(list) => &mut list[index.index(inner)],
            _ => unreachable!("it has members"),
        };
    }
    at
}

fn junk() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        Just(json!("TOKEN")),
        Just(json!("REQUEST")),
        Just(json!("2.0")),
        Just(json!("1.0")),
        Just(json!("CONNECT")),
        Just(json!("*")),
        Just(json!("/../*?${aws:x}")),
        Just(json!("arn:aws:execute-api:r:1:a/s/GET/*")),
        Just(json!("arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET/%2e%2e/x")),
        Just(json!("Bearer x,Bearer y")),
        Just(json!("x".repeat(20_000))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,12}", inner), 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

#[derive(Debug, Clone)]
enum Mutation {
    Replace(Value),
    Remove,
    Insert(String, Value),
    Swap(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let names = prop_oneof![
        Just("type".to_owned()),
        Just("version".to_owned()),
        Just("methodArn".to_owned()),
        Just("routeArn".to_owned()),
        Just("authorizationToken".to_owned()),
        Just("cookies".to_owned()),
        Just("Authorization".to_owned()),
        ".{0,12}",
    ];
    prop_oneof![
        junk().prop_map(Mutation::Replace),
        Just(Mutation::Remove),
        (names, junk()).prop_map(|(name, value)| Mutation::Insert(name, value)),
        any::<prop::sample::Index>().prop_map(Mutation::Swap),
    ]
}

fn mutate(event: &mut Value, path: &[prop::sample::Index], mutation: Mutation) {
    let at = place(event, path);
    match (mutation, at) {
        (Mutation::Replace(value), at) => *at = value,
        (Mutation::Remove, Value::Object(map)) => {
            if let Some(name) = map.keys().next().cloned() {
                map.remove(&name);
            }
        }
        (Mutation::Remove, at) => *at = Value::Null,
        (Mutation::Insert(name, value), Value::Object(map)) => {
            map.insert(name, value);
        }
        (Mutation::Insert(_, value), at) => *at = value,
        (Mutation::Swap(index), Value::Object(map)) if map.len() > 1 => {
            let names: Vec<_> = map.keys().cloned().collect();
            let (a, b) = (&names[0], &names[index.index(names.len())]);
            let (x, y) = (map[a].clone(), map[b].clone());
            map.insert(a.clone(), y);
            map.insert(b.clone(), x);
        }
        (Mutation::Swap(_), _) => {}
    }
}

/// The JSON pointers of everything below a value.
fn pointers(value: &Value) -> Vec<String> {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, inner)| (name.clone(), inner)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(at, inner)| (at.to_string(), inner)).collect(),
        _ => Vec::new(),
    };
    let below = members.into_iter().flat_map(|(name, inner)| {
        let here = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let deeper: Vec<_> = pointers(inner).iter().map(|rest| format!("{here}{rest}")).collect();
        std::iter::once(here).chain(deeper)
    });
    below.collect()
}

#[tokio::test]
async fn a_token_in_the_wrong_place_of_an_event_is_never_repeated() {
    const CANARY: &str = "eyJhbGciOiJFUzI1NiJ9.eyJjYW5hcnkiOiJ5ZXMifQ.c2lnbmF0dXJl";
    let long = CANARY.repeat(2000);
    let mut hostile = vec![json!(CANARY), json!([CANARY]), json!({ "cookies": { CANARY: 1 } })];
    for value in [json!(long), json!([long]), json!([[long]]), json!({ "a": long }), json!({ &long: [7] })] {
        for name in
            ["cookies", "headers", "requestContext", "type", "identitySource", "queryStringParameters"]
        {
            hostile.push(json!({ name: value }));
        }
    }
    for name in events() {
        let whole = event(&name, CANARY);
        for pointer in pointers(&whole) {
            for value in [json!(CANARY), json!({ CANARY: [[CANARY]] }), json!([{ CANARY: CANARY }])] {
                let mut misshapen = whole.clone();
                *misshapen.pointer_mut(&pointer).unwrap() = value;
                hostile.push(misshapen);
            }
        }
    }
    let mut misshapen = 0;
    for event in hostile {
        let (outcome, checks) = GATES[0].explain(event.to_string().as_bytes(), NOW).await;
        let Decision::Deny(Denial { refusal: Refusal::Event(why), .. }) = &outcome.decision else { continue };
        misshapen += 1;
        let told = format!("{why} {checks:?} {:?}", outcome.reply);
        assert!(!told.contains("eyJ") && !told.contains("c2lnbmF0dXJl"), "{told:.500}\n{event:.500}");
        assert!(why.len() < 100, "{why}");
    }
    assert!(misshapen > 500, "{misshapen}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_event_never_lets_a_forged_token_in_and_always_gets_a_reply_aws_understands(
        name in prop::sample::select(events()),
        genuine in any::<bool>(),
        gate in any::<prop::sample::Index>(),
        mutations in prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 0..4), mutation()), 1..5),
    ) {
        let text = if genuine { token(json!({ "scope": "a" })) } else { forged_token() };
        let mut mutated = event(&name, &text);
        for (path, mutation) in mutations {
            mutate(&mut mutated, &path, mutation);
        }
        let authorizer = gate.get(&GATES);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcome = runtime.block_on(authorize(authorizer, &mutated));
        check_form(&outcome);
        if let Reply::Json(reply) = &outcome.reply
            && allows(&outcome)
        {
            // `/health` is public, and the gate's own decision has to say so too.
            let public = authorizer.gate().routes().len() == 4;
            prop_assert!(genuine || public, "{mutated}");
            if !genuine {
                let all: Value = serde_json::from_str(reply).unwrap();
                for resource in all["policyDocument"]["Statement"][0]["Resource"].as_array().unwrap() {
                    let resource = resource.as_str().unwrap();
                    prop_assert!(resource.ends_with("/health") || resource.ends_with("/health/"), "{resource}");
                }
            }
        }
    }

    #[test]
    fn any_bytes_at_all_get_a_reply(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        properties::event(&bytes);
    }

    #[test]
    fn a_path_that_is_taken_has_one_reading(path in "(/|/[a-z.%;é0-9*\\\\A-F ]{0,6}){0,5}") {
        properties::path(path.as_bytes());
    }
}
