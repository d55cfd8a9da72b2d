//! What holds along chains of exchange, delegation and refresh, whatever the rules are and whatever
//! is shown and asked: the subject stays, scopes only shrink, no exchange outlives what was shown
//! for it, actors only add up and never beyond the rule's depth, and nobody has a token without an
//! actor where the rule does not say so.

use crate::support::{self, Entry, NOW, SECRET, claims, route, scope_names, send, signed};
use axum::http::StatusCode;
use countersign_grants::{
    Delegation, ExchangeRule, Expression, Impersonation, Once, OwnTokens, Refreshes, RuleSettings,
    RuleSource, Terms, TokenRoute,
};
use countersign_issuer::{GrantType, Issuer};
use countersign_jose::{Algorithm, KeySize, Policy, SigningKey, Unverified};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

static LOGIN: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());
static BOTS: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());

/// What the two rules for subjects say, and the one for actors.
#[derive(Debug, Clone)]
struct Said {
    scopes: [Vec<String>; 3],
    longest: [Option<u64>; 3],
    impersonate: [bool; 2],
    depth: [Option<usize>; 2],
}

fn said() -> impl Strategy<Value = Said> {
    let longest = || proptest::option::of(100_u64..8000);
    let depth = || proptest::option::weighted(0.9, 1_usize..4);
    (
        (scope_names(), scope_names(), scope_names()),
        (longest(), longest(), longest()),
        any::<[bool; 2]>(),
        (depth(), depth()),
    )
        .prop_map(|(scopes, longest, impersonate, depth)| Said {
            scopes: [scopes.0, scopes.1, scopes.2],
            longest: [longest.0, longest.1, longest.2],
            impersonate,
            depth: [depth.0, depth.1],
        })
}

fn rules(said: &Said) -> Vec<ExchangeRule> {
    let login = support::source("https://login.example", &LOGIN, "api://theirs", Once::GivenUp);
    let bots = support::source("https://bots.example", &BOTS, "api://theirs", Once::GivenUp);
    let own = OwnTokens { audiences: BTreeSet::from(["x:a".to_owned()]), clients: BTreeSet::new() };
    let own = RuleSource::Own(own);
    let rule = |at: usize, name: &str, source| RuleSettings {
        scopes: said.scopes[at].iter().cloned().collect(),
        longest: said.longest[at].map(Duration::from_secs),
        ..support::rule(name, source)
    };
    let acting = |at: usize, settings: RuleSettings| RuleSettings {
        impersonation: if said.impersonate[at] { Impersonation::Allowed } else { Impersonation::Refused },
        delegation: said.depth[at].map(|depth| Delegation { actors: vec!["bots".to_owned()], depth }),
        ..settings
    };
    let named = Terms {
        claims: [("name".to_owned(), Expression::compile("claims.name").unwrap())].into(),
        when: None,
    };
    let login = acting(0, rule(0, "login", login));
    let login = RuleSettings { refresh: Refreshes::ByClients, terms: named, ..login };
    let none = BTreeSet::new();
    let bots = RuleSettings { clients: none.clone(), grants: BTreeSet::new(), ..rule(2, "bots", bots) };
    [login, acting(1, rule(1, "own", own)), bots].map(|settings| ExchangeRule::new(settings).unwrap()).into()
}

/// One hop: with an actor that has this long left and these scopes, or without; and what is asked
/// for.
#[derive(Debug, Clone)]
struct Hop {
    refresh: bool,
    actor: Option<(i64, Option<Vec<String>>)>,
    scope: Option<String>,
}

fn hop() -> impl Strategy<Value = Hop> {
    let actor = proptest::option::of((60_i64..5000, proptest::option::of(scope_names())));
    let scope = proptest::option::of("(a|b|ab|a:b)( (a|b|ab)){0,1}");
    (prop::bool::weighted(0.2), actor, scope).prop_map(|(refresh, actor, scope)| Hop {
        refresh,
        actor,
        scope,
    })
}

fn ask(route: &Arc<TokenRoute>, token: &str, hop: &Hop) -> (StatusCode, Value) {
    let mut body = format!(
        "grant_type={}&subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:jwt",
        GrantType::TokenExchange.name()
    );
    if let Some((left, scopes)) = &hop.actor {
        let mut actor = json!({
            "iss": "https://bots.example", "aud": "api://theirs", "exp": NOW.unix_seconds() + left, "sub": "bot",
        });
        if let Some(scopes) = scopes {
            actor.as_object_mut().unwrap().insert("scope".to_owned(), json!(scopes));
        }
        let actor = signed(&BOTS, &actor);
        body.push_str(&format!("&actor_token={actor}&actor_token_type=urn:ietf:params:oauth:token-type:jwt"));
    }
    if let Some(scope) = &hop.scope {
        body.push_str(&format!("&scope={}", scope.replace(' ', "+")));
    }
    send(route, &format!("mine:{}", SECRET.expose()), body)
}

fn read(issuer: &Issuer, answer: &Value) -> Map<String, Value> {
    let token = Unverified::parse(answer.get("access_token").and_then(Value::as_str).unwrap()).unwrap();
    claims(issuer, token, &Policy::new().typ("at+jwt").subject("login:alice").audiences(["x:a"]))
}

fn scopes(claims: &Map<String, Value>) -> Vec<String> {
    let scope = claims.get("scope").and_then(Value::as_str).unwrap_or_default();
    scope.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn actors(claims: &Map<String, Value>) -> Vec<String> {
    let mut chain = Vec::new();
    let mut next = claims.get("act");
    while let Some(act) = next {
        assert!(act.as_object().unwrap().keys().all(|name| name == "sub" || name == "act"), "{act}");
        chain.push(act.get("sub").and_then(Value::as_str).unwrap().to_owned());
        next = act.get("act");
    }
    chain
}

fn has(list: &[String], name: &String) -> bool {
    list.iter().any(|own| own == name || own == "*")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn along_a_chain_of_exchange_delegation_and_refresh_nothing_grows(
        own_scopes in scope_names(),
        longest in 100_u64..8000,
        said in said(),
        shown_scope in proptest::option::of(scope_names()),
        left in 60_i64..9000,
        before in proptest::option::weighted(0.3, Just("app")),
        hops in proptest::collection::vec(hop(), 1..6),
    ) {
        let mut entry = Entry::plain(GrantType::TokenExchange, own_scopes, longest);
        entry.refresh = true;
        let (issuer, route) = route(&[("mine", &entry)], rules(&said));
        let route = route.unwrap();
        let mut shown = json!({
            "iss": "https://login.example", "aud": "api://theirs", "exp": NOW.unix_seconds() + left, "sub": "alice",
            "name": "Alice",
        });
        let members = shown.as_object_mut().unwrap();
        if let Some(scope) = &shown_scope {
            members.insert("scope".to_owned(), json!(scope));
        }
        if let Some(before) = before {
            members.insert("act".to_owned(), json!({ "sub": before, "role": "admin" }));
        }
        let mut token = signed(&LOGIN, &shown);
        let mut may = shown_scope.clone();
        let mut ends = NOW.unix_seconds() + left;
        let mut chain: Vec<String> = before.into_iter().map(|sub| format!("login:{sub}")).collect();
        let mut family: Option<(String, Map<String, Value>)> = None;
        let mut rule = 0;
        for hop in &hops {
            if hop.refresh && let Some((held, granted)) = family.clone() {
                let body = format!("grant_type=refresh_token&refresh_token={held}");
                let (status, answer) = send(&route, &format!("mine:{}", SECRET.expose()), body);
                prop_assert_eq!(status, StatusCode::OK, "{}", answer);
                let claims = read(&issuer, &answer);
                prop_assert_eq!(scopes(&claims), scopes(&granted));
                prop_assert_eq!(actors(&claims), actors(&granted));
                prop_assert_eq!(claims.get("name"), granted.get("name"));
                let next = answer.get("refresh_token").and_then(Value::as_str).unwrap().to_owned();
                family = Some((next, granted));
                continue;
            }
            let (status, answer) = ask(&route, &token, hop);
            if status != StatusCode::OK {
                let error = answer.get("error").and_then(Value::as_str).unwrap();
                prop_assert!(["invalid_request", "invalid_scope"].contains(&error), "{}", answer);
                continue;
            }
            let claims = read(&issuer, &answer);
            match &hop.actor {
                Some((left, _)) => {
                    chain.insert(0, "bots:bot".to_owned());
                    prop_assert!(chain.len() <= said.depth[rule].unwrap_or(0));
                    ends = ends.min(NOW.unix_seconds() + left);
                }
                None => prop_assert!(said.impersonate[rule]),
            }
            prop_assert_eq!(actors(&claims), chain.clone());
            let at = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap();
            prop_assert!(at("exp") <= ends, "not beyond what was shown");
            let actor_longest = hop.actor.as_ref().and(said.longest[2]);
            let most = [said.longest[rule], actor_longest].into_iter().flatten().fold(longest.min(3600), u64::min);
            prop_assert!(at("exp") - at("iat") <= i64::try_from(most).unwrap());
            for name in scopes(&claims) {
                prop_assert!(has(&entry.scopes, &name) && has(&said.scopes[rule], &name), "{}", name);
                prop_assert!(may.as_ref().is_none_or(|may| may.contains(&name)), "{} was not shown", name);
                if let Some((_, scopes)) = &hop.actor {
                    prop_assert!(has(&said.scopes[2], &name), "{} is more than the actor may", name);
                    prop_assert!(scopes.as_ref().is_none_or(|own| own.contains(&name)), "{}", name);
                }
            }
            prop_assert_eq!(claims.contains_key("name"), rule == 0, "claims of a rule are those of its tokens");
            if rule == 0 {
                let held = answer.get("refresh_token").and_then(Value::as_str).unwrap().to_owned();
                family = Some((held, claims.clone()));
            }
            (may, ends, rule) = (Some(scopes(&claims)), at("exp"), 1);
            token = answer.get("access_token").and_then(Value::as_str).unwrap().to_owned();
        }
    }
}
