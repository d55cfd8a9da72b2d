//! What holds of every exchange by a rule, whatever is shown and asked: a token is about the
//! provider's subject, lives no longer than what was shown for it, and its scope is within the rule
//! and the client's entry. Nothing of what was shown is taken over.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod support;

use axum::http::StatusCode;
use countersign_grants::{ExchangeRule, Once, RuleSettings};
use countersign_issuer::GrantType;
use countersign_jose::{Algorithm, Header, KeySize, Policy, SigningInput, SigningKey, Unverified};
use countersign_verifier::{KeySource, TrustedIssuer};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::LazyLock, time::Duration};
use support::{Entry, ISSUER, NOW, SECRET, claims, route, scope_names, send};

static LOGIN: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());

fn rule(scopes: &[String], longest: Option<u64>) -> ExchangeRule {
    let key = LOGIN.public_key().unwrap().to_pem().unwrap();
    let issuer = TrustedIssuer::builder("https://login.example")
        .keys(KeySource::InlinePem(key))
        .algorithms([Algorithm::ES256])
        .audiences([ISSUER])
        .build()
        .unwrap();
    ExchangeRule::new(RuleSettings {
        clients: BTreeSet::from(["mine".to_owned()]),
        grants: BTreeSet::from([GrantType::JwtBearer, GrantType::TokenExchange]),
        provider: "login".parse().unwrap(),
        issuer,
        scopes: scopes.iter().cloned().collect(),
        longest: longest.map(Duration::from_secs),
        once: Once::Required,
    })
    .unwrap()
}

fn assertion(claims: &Value) -> String {
    let header = Header { alg: LOGIN.algorithm(), kid: None, typ: Some("JWT") }.encode();
    let input = SigningInput::new(&header, claims.to_string().as_bytes());
    let signature = LOGIN.sign(&input).unwrap();
    input.finish(&signature)
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
        longest in 1_u64..8000,
        rule_longest in proptest::option::of(1_u64..8000),
        left in -20_i64..100_000,
        asked in proptest::option::of("[ab*:]{1,2}( [ab]{1,2}){0,2}"),
        subject in prop_oneof![Just(json!("alice")), Just(json!("mine")), Just(json!("")), Just(json!(1)), "\\PC{1,8}".prop_map(Value::from)],
        extra in prop_oneof![Just("act"), Just("client_id"), Just("tenant"), Just("sub2"), Just("exp2")],
    ) {
        let grant = if is_exchange { GrantType::TokenExchange } else { GrantType::JwtBearer };
        let mut entry = Entry::plain(grant, own_scopes, longest);
        if !default {
            entry.default_scope = None;
        }
        let (issuer, route) = route(&[("mine", &entry)], vec![rule(&rule_scopes, rule_longest)]);
        let ends = NOW.unix_seconds() + left;
        let mut shown = json!({
            "iss": "https://login.example", "aud": ISSUER, "exp": ends, "jti": "1", "sub": subject,
        });
        shown.as_object_mut().unwrap().insert(extra.to_owned(), json!("a b admin"));
        if let Some(scope) = &shown_scope {
            shown.as_object_mut().unwrap().insert("scope".to_owned(), json!(scope.join(" ")));
        }
        let (token, grant_type) = (assertion(&shown), grant.name());
        let mut body = if is_exchange {
            let kind = "urn:ietf:params:oauth:token-type:jwt";
            format!("grant_type={grant_type}&subject_token={token}&subject_token_type={kind}")
        } else {
            format!("grant_type={grant_type}&assertion={token}")
        };
        if let Some(asked) = &asked {
            body.push_str(&format!("&scope={}", asked.replace(' ', "+")));
        }
        let (status, answer) = send(&route.unwrap(), &format!("mine:{}", SECRET.expose()), body);
        if status != StatusCode::OK {
            let error = answer.get("error").and_then(Value::as_str).unwrap();
            // A rule or client may leave less time than a token is backdated by: that is malformed for the mint.
            let known = ["invalid_grant", "invalid_scope", "invalid_request"].contains(&error);
            prop_assert!(known && status == StatusCode::BAD_REQUEST, "{}", answer);
            return Ok(());
        }
        let subject = subject.as_str().unwrap();
        let policy = Policy::new().typ("at+jwt").subject(format!("login:{subject}")).audiences(["x:a"]);
        let token = Unverified::parse(answer.get("access_token").and_then(Value::as_str).unwrap()).unwrap();
        let claims = claims(&issuer, token, &policy);
        let at = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap();
        prop_assert!(at("exp") <= ends, "not beyond what was shown");
        let most = longest.min(rule_longest.unwrap_or(3600)).min(3600);
        prop_assert!(at("exp") - at("iat") <= i64::try_from(most).unwrap());
        prop_assert_eq!(claims.get("client_id"), Some(&json!("mine")));
        if let Some(scope) = claims.get("scope") {
            let within = |list: &[String], name: &str| list.iter().any(|own| own == name || own == "*");
            for name in scope.as_str().unwrap().split(' ') {
                prop_assert!(within(&entry.scopes, name) && within(&rule_scopes, name), "{}", name);
                let shown = shown_scope.as_ref().filter(|_| is_exchange);
                prop_assert!(shown.is_none_or(|shown| shown.iter().any(|own| own == name)), "{}", name);
            }
        }
        let known = ["iss", "sub", "client_id", "aud", "iat", "nbf", "exp", "jti", "scope"];
        prop_assert!(claims.keys().all(|name| known.contains(&name.as_str())), "{:?}", claims);
    }
}
