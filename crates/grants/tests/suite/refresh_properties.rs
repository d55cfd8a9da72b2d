//! What holds along every chain of refreshes, whatever is asked on the way: subject and client
//! stay, scope and audience are within what was granted first, within the rule and within the
//! client's entry, and no token lives longer than these say.

use crate::support::{self, Entry, ISSUER, NOW, SECRET, claims, route, scope_names, send};
use axum::http::StatusCode;
use countersign_grants::{ExchangeRule, Once, Refreshes, RuleSettings};
use countersign_issuer::GrantType;
use countersign_jose::{Algorithm, KeySize, Policy, SigningKey, Unverified};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::{sync::LazyLock, time::Duration};

static LOGIN: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());

fn rule(scopes: &[String], longest: Option<u64>) -> ExchangeRule {
    let source = support::source("https://login.example", &LOGIN, ISSUER, Once::Required);
    let scopes = scopes.iter().cloned().collect();
    let longest = longest.map(Duration::from_secs);
    let settings =
        RuleSettings { scopes, longest, refresh: Refreshes::ByClients, ..support::rule("login", source) };
    ExchangeRule::new(settings).unwrap()
}

fn assertion() -> String {
    let ends = NOW.unix_seconds() + 60;
    support::signed(
        &LOGIN,
        &json!({ "iss": "https://login.example", "aud": ISSUER, "exp": ends, "jti": "1", "sub": "alice" }),
    )
}

fn scopes(claims: &Map<String, Value>) -> Vec<String> {
    let scope = claims.get("scope").and_then(Value::as_str).unwrap_or_default();
    scope.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn audiences(claims: &Map<String, Value>) -> Vec<String> {
    match claims.get("aud") {
        Some(Value::Array(many)) => many.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
        one => vec![one.and_then(Value::as_str).unwrap().to_owned()],
    }
}

/// What one request asks for.
fn asked() -> impl Strategy<Value = (Option<String>, Vec<&'static str>)> {
    let audience = proptest::collection::vec(proptest::sample::select(vec!["x:a", "x:b", "x:c"]), 0..3);
    (proptest::option::of("(a|b|ab|a:b|\\*)( (a|b|ab|a:b)){0,2}"), audience)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn along_a_chain_of_refreshes_nothing_grows(
        own_scopes in scope_names(),
        rule_scopes in scope_names(),
        longest in 10_u64..8000,
        rule_longest in proptest::option::of(10_u64..8000),
        first in asked(),
        later in proptest::collection::vec(asked(), 1..5),
    ) {
        let mut entry = Entry::plain(GrantType::JwtBearer, own_scopes, longest);
        entry.audiences = vec!["x:a".to_owned(), "x:b".to_owned()];
        entry.refresh = true;
        let (issuer, route) = route(&[("mine", &entry)], vec![rule(&rule_scopes, rule_longest)]);
        let (route, credentials) = (route.unwrap(), format!("mine:{}", SECRET.expose()));
        let ask = |mut body: String, (scope, audience): &(Option<String>, Vec<&str>)| {
            if let Some(scope) = scope {
                body.push_str(&format!("&scope={}", scope.replace(' ', "+")));
            }
            audience.iter().for_each(|name| body.push_str(&format!("&audience={name}")));
            send(&route, &credentials, body)
        };
        let read = |answer: &Value| {
            let token = Unverified::parse(answer.get("access_token").and_then(Value::as_str).unwrap()).unwrap();
            let policy = Policy::new().typ("at+jwt").subject("login:alice").audiences(["x:a", "x:b"]);
            claims(&issuer, token, &policy)
        };
        let begin = format!("grant_type={}&assertion={}", GrantType::JwtBearer.name(), assertion());
        let (status, answer) = ask(begin, &first);
        if status != StatusCode::OK {
            return Ok(());
        }
        let granted = read(&answer);
        let (granted_scopes, granted_audiences) = (scopes(&granted), audiences(&granted));
        let mut held = answer.get("refresh_token").and_then(Value::as_str).unwrap().to_owned();
        for asked in &later {
            let (status, answer) = ask(format!("grant_type=refresh_token&refresh_token={held}"), asked);
            if status != StatusCode::OK {
                let error = answer.get("error").and_then(Value::as_str).unwrap();
                prop_assert!(["invalid_scope", "invalid_target"].contains(&error), "{}", answer);
                let within = |name: &str| granted_scopes.iter().any(|own| own == name);
                let fits = asked.0.as_ref().is_none_or(|scope| scope.split(' ').all(within))
                    && asked.1.iter().all(|name| granted_audiences.iter().any(|own| own == name));
                prop_assert!(!fits, "what was granted is not refused: {} {:?}", answer, asked);
                continue;
            }
            let claims = read(&answer);
            prop_assert_eq!(claims.get("client_id"), Some(&json!("mine")));
            let within = |list: &[String], name: &String| list.iter().any(|own| own == name || own == "*");
            for name in scopes(&claims) {
                prop_assert!(granted_scopes.contains(&name), "{} was not granted", name);
                prop_assert!(within(&entry.scopes, &name) && within(&rule_scopes, &name), "{}", name);
            }
            prop_assert!(audiences(&claims).iter().all(|name| granted_audiences.contains(name)));
            if asked.0.is_none() {
                prop_assert_eq!(scopes(&claims), granted_scopes.clone(), "all of it, where nothing else is asked");
            }
            let at = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap();
            let most = longest.min(rule_longest.unwrap_or(3600)).min(3600);
            prop_assert!(at("exp") - at("iat") <= i64::try_from(most).unwrap());
            let next = answer.get("refresh_token").and_then(Value::as_str).unwrap().to_owned();
            prop_assert!(next != held);
            held = next;
        }
    }
}
