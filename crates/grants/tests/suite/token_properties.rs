//! What holds of every answer of `POST /token` whatever is sent: a token is within the policy of
//! the client that proved who it is, in audience, scope, lifetime and claims, and everything else
//! is an error of RFC 6749 that mints nothing.

use crate::support::{Entry, SECRET, claims, route, scope_names, send};
use axum::http::StatusCode;
use countersign_issuer::{GrantType, MeetingGrant, Names};
use countersign_jose::{Policy, Unverified};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;

fn entries() -> impl Strategy<Value = Entry> {
    let audiences = proptest::collection::vec(proptest::sample::select(vec!["x:a", "x:b", "c"]), 0..3);
    let profiles = proptest::sample::subsequence(vec!["jwt", "access_token", "*"], 0..3);
    (any::<bool>(), audiences, scope_names(), any::<bool>(), 1_u64..10_000, any::<bool>(), profiles).prop_map(
        |(grant, audiences, scopes, has_default, longest, fixed, profiles)| {
            let own: Vec<String> = scopes.iter().filter(|scope| *scope != "*").cloned().collect();
            Entry {
                grant: grant.then_some(GrantType::ClientCredentials),
                audiences: audiences.into_iter().map(str::to_owned).collect(),
                default_scope: (has_default && !own.is_empty()).then(|| own.join(" ")),
                scopes,
                longest,
                fixed,
                refresh: false,
                allow: Names::Any,
                meetings: MeetingGrant::default(),
                introspect: Names::default(),
                profiles: profiles.into_iter().map(str::to_owned).collect(),
            }
        },
    )
}

/// Parameters as clients and attackers send them, already encoded.
fn parameters() -> impl Strategy<Value = String> {
    let names = prop_oneof![
        6 => proptest::sample::select(vec!["scope", "resource", "audience"]).prop_map(str::to_owned),
        2 => proptest::sample::select(vec![
            "sub", "client_id", "act", "aud", "exp", "iss", "jti", "lifetime", "expires_in", "duration", "profile",
            "data", "claims", "requested_token_type", "subject_token", "username", "sc%6fpe", "grant_type",
            "client_secret", "client_assertion", "client_assertion_type",
        ]).prop_map(str::to_owned),
        1 => "[a-z%&=+]{0,6}",
    ];
    let values = prop_oneof![
        4 => proptest::sample::select(vec![
            "a", "b", "a+b", "a%20ab", "b+b", "a++b", "*", "a%3Ab", "x%3Aa", "x:b", "c", "client_credentials",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,8}",
        1 => "(%[0-9A-Fa-f]{2}){0,4}",
    ];
    let one = (names, values).prop_map(|(name, value)| format!("{name}={value}"));
    proptest::collection::vec(one, 0..4).prop_map(|all| all.join("&"))
}

const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_token_is_never_more_than_its_clients_entry_allows(
        mine in entries(),
        other in entries(),
        parameters in parameters(),
        id in proptest::sample::select(vec!["mine", "other", "nobody"]),
        is_right in prop::bool::weighted(0.9),
        grant in prop::bool::weighted(0.9),
    ) {
        let (issuer, route) = route(&[("mine", &mine), ("other", &other)], vec![]);
        let Some(route) = route else { return Ok(()) };
        let entry = if id == "mine" { &mine } else { &other };
        let secret = if is_right { SECRET.expose() } else { "cssec_wrong" };
        let body = if grant { format!("grant_type=client_credentials&{parameters}") } else { parameters };
        let (status, answer) = send(&route, &format!("{id}:{secret}"), body.clone());
        if status != StatusCode::OK {
            let error = answer["error"].as_str().unwrap();
            prop_assert!(ERRORS.contains(&error), "{}", answer);
            let expected = if error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
            prop_assert_eq!(status, expected);
            prop_assert!(answer.get("access_token").is_none());
            return Ok(());
        }
        prop_assert!(is_right && id != "nobody" && entry.grant.is_some());
        let may_use = |name: &str| entry.profiles.iter().any(|profile| profile == name || profile == "*");
        prop_assert!(may_use("access_token"));

        let token = Unverified::parse(answer["access_token"].as_str().unwrap()).unwrap();
        let policy = Policy::new().typ("at+jwt").subject(id).audiences(&entry.audiences);
        let claims = claims(&issuer, token, &policy);
        let audiences = match &claims["aud"] {
            Value::String(one) => vec![one.clone()],
            many => serde_json::from_value(many.clone()).unwrap(),
        };
        prop_assert!(!audiences.is_empty());
        prop_assert!(audiences.iter().all(|audience| entry.audiences.contains(audience)), "{:?}", audiences);
        let at = |name: &str| claims[name].as_u64().unwrap();
        let lifetime = at("exp") - at("iat");
        prop_assert!(lifetime <= entry.longest.min(3600));
        prop_assert_eq!(answer["expires_in"].as_u64(), Some(lifetime - 5));
        prop_assert_eq!(&claims["client_id"], id);
        prop_assert_eq!(claims.get("scope"), answer.get("scope"), "what was granted is told");
        if let Some(scope) = claims.get("scope") {
            let any = entry.scopes.iter().any(|scope| scope == "*");
            let names: Vec<&str> = scope.as_str().unwrap().split(' ').collect();
            prop_assert!(names.iter().all(|name| any || entry.scopes.iter().any(|own| own == name)), "{:?}", names);
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        }
        let known = ["iss", "sub", "client_id", "aud", "iat", "nbf", "exp", "jti", "scope"];
        let own = |name: &String| known.contains(&name.as_str()) || entry.fixed && name == "tenant";
        prop_assert!(claims.keys().all(own), "{:?}", claims);
        prop_assert_eq!(claims.contains_key("tenant"), entry.fixed);
    }
}
