//! What holds of every token whatever is sent: our own verifier accepts it for its audience, it
//! lives exactly as long as was asked, and what the policy denies or fixes is so under every name.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say what they expect by failing")]

#[expect(dead_code, reason = "each of the test files uses a part of it")]
mod support;

use countersign_issuer::{
    AudienceRequest, Caller, ClaimRules, HttpIssuer, Ids, Issuer, IssuerSettings, IssuerUrl, JaasProfile,
    JwksCertificates, JwtProfile, MeetingGrant, MintPolicy, Names, Patience, RequestLimits, SignRequest,
    SignatureLimits, http::RateLimits,
};
use countersign_jose::{MAX_TOKEN_BYTES, Policy, Unverified, VerifyingKey};
use countersign_store::ManualClock;
use proptest::prelude::*;
use serde_json::{Value, value::to_raw_value};
use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Arc, LazyLock},
    time::Duration,
};
use support::NOW;

const ISSUER: &str = "https://tokens.example";

fn issuer(backdate: u64) -> Issuer {
    static KEYS: LazyLock<countersign_keyring::LoadedKeyring> = LazyLock::new(support::keyring);
    let settings = IssuerSettings {
        issuer: IssuerUrl::parse(ISSUER, HttpIssuer::LoopbackOnly).unwrap(),
        clients: [].into_iter().collect(),
        profiles: vec![
            Arc::new(JwtProfile { ring: "default".parse().unwrap() }),
            Arc::new(JaasProfile { app_id: "app".into(), ring: "jaas".parse().unwrap() }),
        ],
        unpublished_rings: BTreeSet::new(),
        jwks_max_age: Duration::from_secs(300),
        jwks_certificates: JwksCertificates::Left,
        backdate: Duration::from_secs(backdate),
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
    Issuer::new(settings, KEYS.clone(), Arc::new(ManualClock::at(NOW))).unwrap()
}

fn now<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Values of claims: what JSON has, also numbers that no machine type holds and nesting beyond what
/// verifiers read.
fn values() -> impl Strategy<Value = String> {
    let numbers = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has finite numbers", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
        Just("1e400".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("-0.0".to_owned()),
    ];
    let texts = prop_oneof!["\\PC{0,12}", Just(String::new()), Just("api://one".to_owned())];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        numbers,
        texts.prop_map(|text| Value::from(text).to_string()),
        Just("\"\\ud800\"".to_owned()),
        Just("\"\\u0000\"".to_owned()),
        (20_usize..40).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|v| format!("[{}]", v.join(","))),
            ("[a-b]", inner.clone(), "[b-c]", inner)
                .prop_map(|(a, x, b, y)| format!("{{\"{a}\":{x},\"{b}\":{y}}}")),
        ]
    })
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(vec![
            "sub", "iss", "aud", "exp", "nbf", "iat", "jti", "scope", "scp", "typ", "client_id", "tenant", "role",
            "Sub", "/sub", "/tenant", "s\\u0075b", "\\u002frole", "__proto__", "",
        ])
        .prop_map(str::to_owned),
        1 => "[a-zA-Z0-9_:/.]{1,8}",
    ]
}

fn data() -> impl Strategy<Value = String> {
    let member = (names(), values()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    proptest::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")))
}

fn audiences() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(prop_oneof![Just(String::new()), "[a-z]{1,4}"], 0..4)
}

fn policies() -> impl Strategy<Value = MintPolicy> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 1_u64..100_000).prop_map(
        |(any_name, deny, fixed, longest)| MintPolicy {
            audiences: Names::Any,
            max_lifetime: Duration::from_secs(longest),
            scopes: Names::Any,
            claims: ClaimRules {
                allow: if any_name { Names::Any } else { ["sub", "tenant", "role"].into_iter().collect() },
                deny: if deny { vec!["role".parse().unwrap()] } else { vec![] },
                fixed: if fixed { vec![("tenant".into(), to_raw_value("acme").unwrap())] } else { vec![] },
                schema: None,
            },
            profiles: Names::Any,
            uploads: Names::default(),
            jaas: MeetingGrant::default(),
            jitsi: MeetingGrant::default(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn whatever_is_minted_is_accepted_by_our_own_verifier_and_lives_as_long_as_was_asked(
        data in data(),
        audience in audiences(),
        duration in proptest::option::of(prop_oneof![1_u64..200, Just(u64::from(u32::MAX))]),
        backdate in 0_u64..90,
        policy in policies(),
    ) {
        let issuer = issuer(backdate);
        let Ok(mut request) = SignRequest::from_parts(&data, None, None, None, 64) else { return Ok(()) };
        request.duration = duration.map(Duration::from_secs);
        let audience = match audience.as_slice() {
            [one] => AudienceRequest::one(one.clone()),
            many => AudienceRequest::many(many.to_vec()),
        };
        let Ok(audience) = audience else { return Ok(()) };
        request.audience = Some(audience.clone());
        let minted = now(issuer.mint(Caller::Operator(&policy), &request, NOW, &Ids::random().unwrap(), None));
        let Ok(minted) = minted else { return Ok(()) };

        let lifetime = duration.unwrap_or(3600).min(policy.max_lifetime.as_secs());
        let documents = issuer.documents();
        let jwks = documents.iter().find(|(path, _)| *path == countersign_issuer::JWKS_PATH).unwrap().1;
        let keys = countersign_jose::KeySet::parse(&jwks.body, None).unwrap();
        for name in audience.names() {
            let expected = Policy::new().issuer(ISSUER).audiences([name]).typ("JWT");
            let token = Unverified::parse(&minted.token).unwrap();
            let verified = keys.verify(token).unwrap().check(&expected, NOW);
            let verified = verified.map_err(|why| TestCaseError::fail(format!("{data}: {why}")))?;
            let claims = verified.registered();
            let (iat, exp) = (claims.iat.unwrap(), claims.exp.unwrap());
            prop_assert_eq!(claims.nbf, Some(iat));
            prop_assert_eq!(exp.since(iat).as_secs(), lifetime, "exp - iat is the lifetime");
            prop_assert_eq!(NOW.since(iat).as_secs(), backdate);
            prop_assert_eq!(exp.since(NOW), minted.expires_in);
            let all: Value = verified.claims().unwrap();
            let all = all.as_object().unwrap();
            prop_assert!(all.keys().all(|name| !name.starts_with('/')), "{:?}", all);
            if !policy.claims.deny.is_empty() {
                prop_assert!(!all.contains_key("role"));
            }
            if !policy.claims.fixed.is_empty() {
                prop_assert_eq!(all.get("tenant"), Some(&Value::from("acme")));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_meeting_token_has_a_room_that_was_granted_and_is_accepted_as_8x8_checks_it(
        room in "[a-c*]{1,5}",
        duration in 1_u64..40,
        any_room in any::<bool>(),
    ) {
        let issuer = issuer(0);
        let data = format!("{{\"room\":\"{room}\",\"user\":{{\"name\":\"A\"}}}}");
        let mut request =
            SignRequest::from_parts(&data, None, Some("jaas".into()), None, 16).unwrap();
        request.duration = Some(Duration::from_secs(duration));
        let policy = MintPolicy {
            max_lifetime: Duration::from_secs(30),
            profiles: Names::Any,
            jaas: MeetingGrant {
                any_room,
                rooms: vec!["a*".parse().unwrap()],
                user: Names::Any,
                ..MeetingGrant::default()
            },
            ..MintPolicy::default()
        };
        let minted = now(issuer.mint(Caller::Operator(&policy), &request, NOW, &Ids::random().unwrap(), None));
        let is_name = !room.contains('*');
        let granted = if room == "*" { any_room } else { is_name && (any_room || room.starts_with('a')) };
        prop_assert_eq!(minted.is_ok(), granted && (11..=30).contains(&duration), "{} {}: {:?}", room, duration, minted);
        let Ok(minted) = minted else { return Ok(()) };
        let keyring = issuer.keyring();
        let signer = keyring.ring(&"jaas".parse().unwrap()).unwrap().active().unwrap().clone();
        let key = VerifyingKey::new(signer.public_key().unwrap(), signer.algorithm(), None).unwrap();
        let policy = Policy::new().issuer("chat").audiences(["jitsi"]).subject("app");
        let token = Unverified::parse(&minted.token).unwrap().verify(&key).unwrap();
        let verified = token.check(&policy, NOW).unwrap();
        let claims = verified.registered();
        prop_assert_eq!(claims.exp.unwrap().since(claims.nbf.unwrap()).as_secs(), duration);
    }
}
