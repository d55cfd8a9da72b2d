//! What holds of every exchange by a rule, whatever is shown and asked: a token is about the
//! provider's subject, lives no longer than what was shown for it, its scope is within the rule and
//! the client's entry, and so are its claims. Nothing else of what was shown is taken over. The
//! scope of what is minted for a token of our own is within that of the token, by every grant.

use crate::support::{self, Entry, ISSUER, NOW, SECRET, route, scope_names, send};
use axum::http::StatusCode;
use countersign_grants::{
    ExchangeRule, Expression, Once, OwnTokens, RuleSettings, RuleSource, Terms, TokenRoute,
};
use countersign_issuer::{GrantType, Issuer};
use countersign_jose::{Algorithm, KeySize, Policy, SigningKey, Unverified};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

static LOGIN: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());

/// What the rule gives: two claims that are copied, and two that are computed.
const GIVEN: [(&str, &str); 4] = [
    ("name", "claims.name"),
    ("level", "claims.level"),
    ("next", "claims.level + 1"),
    ("kind", "'k:' + claims.name"),
];

fn rule(scopes: &[String], longest: Option<u64>, given: &[(&str, &str)]) -> ExchangeRule {
    let source = support::source("https://login.example", &LOGIN, ISSUER, Once::Required);
    let compiled = |(name, text): &(&str, &str)| ((*name).to_owned(), Expression::compile(text).unwrap());
    let claims = given.iter().map(compiled);
    let terms = Terms { when: None, claims: claims.collect() };
    let (scopes, longest) = (scopes.iter().cloned().collect(), longest.map(Duration::from_secs));
    ExchangeRule::new(RuleSettings { scopes, longest, terms, ..support::rule("login", source) }).unwrap()
}

/// The scopes of what is minted by a grant for a token that is shown, if any is.
fn exchanged(
    (issuer, route): (&Issuer, &Arc<TokenRoute>),
    grant: GrantType,
    token: &str,
    scope: Option<&String>,
) -> Option<(String, Vec<String>)> {
    let shown = match grant {
        GrantType::JwtBearer => format!("assertion={token}"),
        _ => {
            format!("subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:access_token")
        }
    };
    let scope = scope.map(|scope| format!("&scope={}", scope.replace(' ', "+"))).unwrap_or_default();
    let body = format!("grant_type={}&{shown}{scope}", grant.name());
    let (status, answer) = send(route, &format!("mine:{}", SECRET.expose()), body);
    let token = answer.get("access_token").and_then(Value::as_str);
    assert_eq!(token.is_some(), status == StatusCode::OK, "{answer}");
    let token = token?;
    let policy = Policy::new().typ("at+jwt").subject("login:alice").audiences(["x:a"]);
    let claims = support::claims(issuer, Unverified::parse(token).unwrap(), &policy);
    let scope = claims.get("scope").and_then(Value::as_str).unwrap_or_default();
    Some((token.to_owned(), scope.split_whitespace().map(str::to_owned).collect()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_token_of_our_own_is_worth_no_scope_beyond_its_own_by_whichever_grant(
        own_scopes in scope_names(),
        rule_scopes in scope_names(),
        default in any::<bool>(),
        is_exchange in any::<bool>(),
        first in proptest::option::of("(a|b|ab|a:b)( (a|b|ab)){0,1}"),
        second in proptest::option::of("(a|b|ab|a:b)( (a|b|ab)){0,1}"),
    ) {
        let grant = if is_exchange { GrantType::TokenExchange } else { GrantType::JwtBearer };
        let mut entry = Entry::plain(grant, own_scopes, 3600);
        if !default {
            entry.default_scope = None;
        }
        let source = RuleSource::Own(OwnTokens { audiences: ["x:a".to_owned()].into(), clients: [].into() });
        let scopes = rule_scopes.iter().cloned().collect();
        let own = ExchangeRule::new(RuleSettings { scopes, ..support::rule("own", source) }).unwrap();
        let (issuer, route) = route(&[("mine", &entry)], vec![rule(&["*".to_owned()], None, &[]), own]);
        let at = (issuer.as_ref(), &route.unwrap());
        let shown = json!({
            "iss": "https://login.example", "aud": ISSUER, "exp": NOW.unix_seconds() + 3000, "jti": "1", "sub": "alice",
        });
        let Some((token, held)) = exchanged(at, grant, &support::signed(&LOGIN, &shown), first.as_ref()) else {
            return Ok(());
        };
        let has = |list: &[String], name: &String| list.iter().any(|own| own == name || own == "*");
        let Some((_, minted)) = exchanged(at, grant, &token, second.as_ref()) else {
            let mut asked = second.iter().flat_map(|scope| scope.split(' ')).map(str::to_owned);
            prop_assert!(asked.any(|name| !held.contains(&name) || !has(&rule_scopes, &name)), "{:?}", second);
            return Ok(());
        };
        prop_assert!(minted.iter().all(|name| held.contains(name) && has(&rule_scopes, name)), "{:?} {:?}", held, minted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_is_minted_is_less_than_what_was_shown_and_than_rule_and_client_say(
        own_scopes in scope_names(),
        rule_scopes in scope_names(),
        default in any::<bool>(),
        is_exchange in any::<bool>(),
        shown_scope in proptest::option::of(scope_names()),
        name_of_scope in prop_oneof![Just("scope"), Just("scp")],
        scope_is_a_list in any::<bool>(),
        longest in 1_u64..8000,
        rule_longest in proptest::option::of(1_u64..8000),
        left in -20_i64..100_000,
        asked in proptest::option::of("[ab*:]{1,2}( [ab]{1,2}){0,2}"),
        subject in prop_oneof![Just(json!("alice")), Just(json!("mine")), Just(json!("")), Just(json!(1)), "\\PC{1,8}".prop_map(Value::from)],
        given in proptest::sample::subsequence(GIVEN.to_vec(), 0..=4),
        allow in proptest::option::of(proptest::sample::subsequence(vec!["name", "level", "next", "kind"], 0..=4)),
        level in prop_oneof![any::<i64>().prop_map(|n| n.to_string()), "[1-9][0-9]{0,40}", Just("1.50".to_owned()), Just("null".to_owned())],
        audiences in proptest::sample::subsequence(vec!["x:a", "x:b", "x:c"], 1..=3),
        targets in proptest::sample::subsequence(vec!["x:a", "x:b", "x:c", "x:d", "x:", "x:ab"], 0..=3),
        parameter in prop_oneof![Just("audience"), Just("resource")],
        extra in prop_oneof![Just("act"), Just("client_id"), Just("tenant"), Just("sub2"), Just("exp2")],
    ) {
        let grant = if is_exchange { GrantType::TokenExchange } else { GrantType::JwtBearer };
        let mut entry = Entry::plain(grant, own_scopes, longest);
        entry.audiences = audiences.iter().map(|&name| name.to_owned()).collect();
        if !default {
            entry.default_scope = None;
        }
        if let Some(allow) = &allow {
            entry.allow = allow.iter().copied().collect();
        }
        let (issuer, route) = route(&[("mine", &entry)], vec![rule(&rule_scopes, rule_longest, &given)]);
        let ends = NOW.unix_seconds() + left;
        let mut shown = json!({
            "iss": "https://login.example", "aud": ISSUER, "exp": ends, "jti": "1", "sub": subject, "name": "Al",
            "level": 0,
        });
        shown.as_object_mut().unwrap().insert(extra.to_owned(), json!("a b admin"));
        if let Some(scope) = &shown_scope {
            shown.as_object_mut().unwrap().insert(
                name_of_scope.to_owned(),
                if scope_is_a_list { json!(scope) } else { json!(scope.join(" ")) },
            );
        }
        let shown = shown.to_string().replacen("\"level\":0", &format!("\"level\":{level}"), 1);
        let (token, grant_type) = (support::signed_text(&LOGIN, &shown), grant.name());
        let mut body = if is_exchange {
            let kind = "urn:ietf:params:oauth:token-type:jwt";
            format!("grant_type={grant_type}&subject_token={token}&subject_token_type={kind}")
        } else {
            format!("grant_type={grant_type}&assertion={token}")
        };
        if let Some(asked) = &asked {
            body.push_str(&format!("&scope={}", asked.replace(' ', "+")));
        }
        for target in &targets {
            body.push_str(&format!("&{parameter}={target}"));
        }
        let (status, answer) = send(&route.unwrap(), &format!("mine:{}", SECRET.expose()), body);
        if status != StatusCode::OK {
            let error = answer.get("error").and_then(Value::as_str).unwrap();
            // A rule or client may leave less time than a token is backdated by: that is malformed
            // for the mint.
            let known = ["invalid_grant", "invalid_scope", "invalid_request", "invalid_target", "unauthorized_client"].contains(&error);
            prop_assert!(known && status == StatusCode::BAD_REQUEST, "{}", answer);
            return Ok(());
        }
        let subject = subject.as_str().unwrap();
        let policy = Policy::new().typ("at+jwt").subject(format!("login:{subject}")).audiences(["x:a", "x:b", "x:c"]);
        let token = Unverified::parse(answer.get("access_token").and_then(Value::as_str).unwrap()).unwrap();
        let text = support::payload(&issuer, token, &policy);
        // A claim that is copied has the digits that it had.
        if given.contains(&("level", "claims.level")) && level != "null" {
            prop_assert!(text.contains(&format!("\"level\":{level}")), "{}", text);
        }
        let claims: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        let at = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap();
        prop_assert!(at("exp") <= ends, "not beyond what was shown");
        let most = longest.min(rule_longest.unwrap_or(3600)).min(3600);
        prop_assert!(at("exp") - at("iat") <= i64::try_from(most).unwrap());
        prop_assert_eq!(claims.get("client_id"), Some(&json!("mine")));
        let minted: Vec<&str> = match &claims["aud"] {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        prop_assert!(minted.iter().all(|name| audiences.contains(name)), "{:?}", minted);
        prop_assert!(targets.is_empty() || targets.iter().all(|name| minted.contains(name)), "{:?}", minted);
        if let Some(scope) = claims.get("scope") {
            let within = |list: &[String], name: &str| list.iter().any(|own| own == name || own == "*");
            for name in scope.as_str().unwrap().split(' ') {
                prop_assert!(within(&entry.scopes, name) && within(&rule_scopes, name), "{}", name);
                let shown = shown_scope.as_ref().filter(|_| is_exchange);
                prop_assert!(shown.is_none_or(|shown| shown.iter().any(|own| own == name)), "{}", name);
            }
        }
        let known = ["iss", "sub", "client_id", "aud", "iat", "nbf", "exp", "jti", "scope"];
        let may = |name: &&str| allow.as_ref().is_none_or(|allow| allow.contains(name));
        let given: Vec<&str> = given.iter().map(|(name, _)| *name).filter(may).collect();
        prop_assert!(claims.keys().all(|name| known.contains(&name.as_str()) || given.contains(&name.as_str())), "{:?}", claims);
    }
}
