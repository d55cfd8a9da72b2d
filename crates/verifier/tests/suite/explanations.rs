//! `explain` says what `verify` says, of every token; and what it lists when a proof ends early.

use crate::support::{
    AUDIENCE, FakeFetch, ISSUER, Signer, at, certified, claims_with, code, explained, inline, issuer, jwks,
    today, trusting,
};
use countersign_jose::{Algorithm, KeySet, SymmetricKey};
use countersign_verifier::{AudienceFallback, Check, KeySource, TrustedIssuer, Verdict, Verifier};
use serde_json::{Value, json};
use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc};

const URL: &str = "https://issuer.example/jwks";

fn mark(check: &Check) -> char {
    match check.verdict {
        Verdict::Passed => '+',
        Verdict::Failed { .. } => '!',
        Verdict::NotReached => '-',
    }
}

/// The names of the checks, each with its mark.
fn outline(checks: &[Check]) -> String {
    checks.iter().map(|check| format!("{}{}", mark(check), check.name)).collect::<Vec<_>>().join(" ")
}

fn line(checks: &[Check], name: &str) -> String {
    let check = checks.iter().find(|check| check.name == name).unwrap();
    format!("{} {} | {}", mark(check), check.expected, check.found)
}

fn verifiers(signer: &Signer) -> Vec<Verifier> {
    let fetch = |answers: bool| {
        let fetch = Arc::new(FakeFetch::default());
        if answers {
            fetch.on(URL, &jwks(&[signer]), None);
        }
        fetch
    };
    let remote = || issuer(KeySource::JwksUrl(URL.into())).build().unwrap();
    let other = TrustedIssuer::builder("https://b.example").also_known_as("b").keys(inline(&[signer]));
    let any = TrustedIssuer::dangerously_of_any_issuer("anybody").keys(inline(&[signer]));
    let set = KeySet::parse(jwks(&[signer]).as_bytes(), None).unwrap();
    let inline = || issuer(inline(&[signer])).build().unwrap();
    let strict = issuer(KeySource::Keys(set))
        .typ("JWT")
        .require("jti")
        .require_value("roles", json!(["a"]))
        .audience_fallback(AudienceFallback::ClientId)
        .max_subject_chars(10);
    let pem = signer.key.public_key().unwrap().to_pem().unwrap();
    [
        Verifier::builder().trust(inline()),
        Verifier::builder().trust(inline()).cache_verified_tokens(NonZeroUsize::new(8).unwrap()),
        Verifier::builder()
            .trust(inline())
            .trust(other.algorithms([Algorithm::RS256, Algorithm::ES256]).audiences(["b"]).build().unwrap()),
        Verifier::builder().trust(any.algorithms([Algorithm::ES256]).audiences([AUDIENCE]).build().unwrap()),
        Verifier::builder().trust(strict.build().unwrap()),
        Verifier::builder().trust(issuer(KeySource::InlinePem(pem)).build().unwrap()),
        Verifier::builder().trust(remote()).fetch(fetch(true)),
        Verifier::builder().trust(remote()).fetch(fetch(false)),
    ]
    .map(|builder| builder.build().unwrap())
    .into()
}

fn tokens(signer: &Signer) -> Vec<String> {
    let (foreign, rsa) = (Signer::new("k1"), Signer::with("k1", Algorithm::RS256));
    let good = signer.good();
    let (input, signature) = good.rsplit_once('.').unwrap();
    let mut tokens: Vec<String> =
        ["", ".", "..", "...", "a.b.c", "e30.e30.", "e30.e30.e30", "{}", "\u{1b}[2J", input, signature]
            .map(str::to_owned)
            .into();
    tokens.extend([
        format!("{input}."),
        format!("{input}.AAAA"),
        format!("{input}.{signature}="),
        format!("{good}.x"),
        "x".repeat(20_000),
        good.clone(),
        signer.good_as("k2"),
        signer.token_named(None, None, &claims_with(json!({}))),
        signer.token_named(Some("k1"), Some("at+jwt"), &claims_with(json!({}))),
        foreign.good(),
        rsa.good(),
        // Headers nobody takes: no signature, an extension.
        good.replacen(good.split('.').next().unwrap(), "eyJhbGciOiJub25lIn0", 1),
        good.replacen(good.split('.').next().unwrap(), "eyJhbGciOiJFUzI1NiIsImNyaXQiOlsiYiJdfQ", 1),
        // Payloads that are not claims.
        signer.token(&json!([])),
        signer.token(&json!("text")),
    ]);
    let strict = json!({ "jti": "1", "roles": ["a"] });
    for changes in [
        json!({}),
        json!({ "iss": null }),
        json!({ "iss": 7 }),
        json!({ "iss": "https://b.example", "aud": "b" }),
        json!({ "iss": "b", "aud": "b" }),
        json!({ "iss": "https://else.example" }),
        json!({ "aud": null }),
        json!({ "aud": [] }),
        json!({ "aud": ["x", AUDIENCE] }),
        json!({ "aud": { "a": 1 } }),
        json!({ "aud": "else" }),
        json!({ "aud": null, "client_id": AUDIENCE }),
        json!({ "aud": null, "client_id": "else" }),
        json!({ "aud": null, "client_id": [AUDIENCE] }),
        json!({ "exp": null }),
        json!({ "exp": "soon" }),
        json!({ "exp": 1 }),
        json!({ "exp": 1, "aud": "else" }),
        json!({ "nbf": at(60).unix_seconds() }),
        json!({ "iat": at(60).unix_seconds() }),
        json!({ "iat": -1 }),
        json!({ "sub": "" }),
        json!({ "sub": "somebody with a long name" }),
        json!({ "sub": null }),
        json!({ "sub": 7 }),
        json!({ "jti": 7 }),
        json!({ "roles": ["b"] }),
    ] {
        let mut claims = claims_with(changes);
        tokens.push(signer.token(&claims));
        for (name, value) in strict.as_object().unwrap() {
            claims.as_object_mut().unwrap().entry(name).or_insert(value.clone());
        }
        tokens.push(signer.token(&claims));
        tokens.push(foreign.token(&claims));
    }
    tokens
}

#[tokio::test]
async fn explain_says_of_every_token_what_verify_says() {
    let signer = Signer::new("k1");
    let tokens = tokens(&signer);
    let (mut codes, mut accepted) = (BTreeSet::new(), 0);
    for verifier in verifiers(&signer) {
        for token in &tokens {
            let explanation = explained(&verifier, token, at(0)).await;
            codes.insert(code(&explanation.outcome));
            accepted += usize::from(explanation.outcome.is_ok());
        }
    }
    assert!(accepted > 20, "{accepted}");
    for expected in [
        "ok",
        "token_not_compact",
        "token_too_long",
        "token_unsigned",
        "token_critical_header",
        "token_no_key",
        "token_unsupported_algorithm",
        "token_bad_signature",
        "token_claims_malformed",
        "issuer_missing",
        "issuer_unknown",
        "algorithm_not_allowed",
        "keys_unavailable",
        "claim_missing",
        "claim_mismatch",
        "claim_wrong_type",
        "claim_wrong_typ",
        "token_expired",
        "token_not_yet_valid",
        "token_issued_in_the_future",
        "subject_unacceptable",
    ] {
        assert!(codes.contains(expected), "no token was refused for {expected}: {codes:?}");
    }
}

#[tokio::test]
async fn a_good_token_passes_every_check_in_the_order_of_the_proof() {
    let signer = Signer::new("k1");
    let explanation = explained(&trusting(issuer(inline(&[&signer]))), &signer.good(), at(0)).await;
    let checks = explanation.checks;
    assert_eq!(outline(&checks), "+form +issuer +alg +keys +kid +signature +exp +nbf +iat +iss +aud");
    assert_eq!(line(&checks, "form"), r#"+ a compact JWS with a readable header | ES256, `kid` "k1""#);
    assert_eq!(line(&checks, "issuer"), format!("+ \"{ISSUER}\" | \"{ISSUER}\""));
    assert_eq!(line(&checks, "keys"), format!("+ the keys of {ISSUER} | 1 key"));
    assert_eq!(line(&checks, "kid"), r#"+ "k1" | "k1""#);
    assert_eq!(line(&checks, "signature"), r#"+ ES256 by the key "k1" | ES256, verifies"#);
}

#[tokio::test]
async fn what_comes_after_a_failure_is_listed_as_not_reached() {
    let signer = Signer::new("k1");
    let verifier = trusting(issuer(inline(&[&signer])).require("roles").max_subject_chars(9));
    let claims = "-exp -nbf -iat -iss -aud -claim roles -sub length";
    for (token, expected) in [
        ("garbage".to_owned(), "!form -issuer -alg -keys -kid -signature"),
        (signer.token(&claims_with(json!({ "iss": "x" }))), "+form !issuer -alg -keys -kid -signature"),
        (Signer::with("k1", Algorithm::RS256).good(), "+form +issuer !alg -keys -kid -signature"),
        (signer.good_as("k2"), "+form +issuer +alg +keys !kid -signature"),
        (Signer::new("k1").good(), "+form +issuer +alg +keys +kid !signature"),
    ] {
        let checks = explained(&verifier, &token, at(0)).await.checks;
        assert_eq!(outline(&checks), format!("{expected} {claims}"));
        let unread = |check: &&Check| check.verdict == Verdict::NotReached;
        assert!(checks.iter().filter(unread).all(|check| check.found.is_empty()));
    }
    let fetch = Arc::new(FakeFetch::default());
    let down = issuer(KeySource::JwksUrl(URL.into())).build().unwrap();
    let down = Verifier::builder().trust(down).fetch(fetch).build().unwrap();
    let checks = explained(&down, &signer.good(), at(0)).await.checks;
    assert_eq!(outline(&checks), "+form +issuer +alg !keys -kid -signature -exp -nbf -iat -iss -aud");
    // Before one of several issuers is selected, nobody knows what its claims should say.
    let two = &verifiers(&signer)[2];
    let checks = explained(two, "garbage", at(0)).await.checks;
    assert_eq!(outline(&checks), "!form -issuer -alg -keys -kid -signature -claims");
    let checks = explained(two, &Signer::new("k1").good(), at(0)).await.checks;
    assert_eq!(outline(&checks), "+form +issuer +alg +keys +kid !signature -exp -nbf -iat -iss -aud");
}

#[tokio::test]
async fn claims_that_may_be_read_are_all_reported() {
    let signer = Signer::new("k1");
    let verifier = trusting(issuer(inline(&[&signer])).require("roles").max_subject_chars(4));
    let bad = signer.token(&claims_with(json!({ "exp": 1, "aud": "else", "nbf": at(60).unix_seconds() })));
    let explanation = explained(&verifier, &bad, at(0)).await;
    assert_eq!(code(&explanation.outcome), "token_expired");
    let steps = "+form +issuer +alg +keys +kid +signature";
    let claims = "!exp !nbf +iat +iss !aud !claim roles !sub length";
    assert_eq!(outline(&explanation.checks), format!("{steps} {claims}"));
}

#[tokio::test]
async fn nothing_in_a_token_is_shown_before_its_signature_but_what_selects_issuer_and_key() {
    let signer = Signer::new("k1");
    let verifier = trusting(issuer(inline(&[&signer])).require("marker"));
    let forged = Signer::new("k1").token(&claims_with(json!({ "marker": "MARKER", "sub": "MARKER" })));
    let explanation = explained(&verifier, &forged, at(0)).await;
    assert!(!format!("{explanation:?}").contains("MARKER"));
    let any =
        TrustedIssuer::dangerously_of_any_issuer("i").keys(inline(&[&signer])).algorithms([Algorithm::ES256]);
    let forged = Signer::new("k1").token(&claims_with(json!({ "iss": "MARKER" })));
    let explanation = explained(&trusting(any.audiences(["a"])), &forged, at(0)).await;
    assert!(!format!("{explanation:?}").contains("MARKER"));
}

#[tokio::test]
async fn a_key_in_a_certificate_is_explained_with_its_dates() {
    let (signer, certificate) =
        certified("e", Algorithm::ES256, &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &json!({ "e": certificate }).to_string(), None);
    let now = today();
    let token = |exp: i64| -> String {
        let claims: Value = json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": exp });
        signer.token(&claims)
    };
    for (later, expected) in [(0, '+'), (31 * 86_400, '!')] {
        let trusted = issuer(KeySource::X509Map(URL.into())).build().unwrap();
        let verifier = Verifier::builder().trust(trusted).fetch(fetch.clone()).build().unwrap();
        let when = now.plus(std::time::Duration::from_secs(later));
        let checks = explained(&verifier, &token(when.unix_seconds() + 60), when).await.checks;
        let certificate = checks.iter().find(|check| check.name == "certificate").unwrap();
        assert_eq!((mark(certificate), certificate.expected.as_str()), (expected, "valid now"));
        assert!(certificate.found.starts_with("from 20") && certificate.found.contains("Z to 20"));
    }
}

#[tokio::test]
async fn keys_read_elsewhere_may_mix_secrets_and_public_keys_and_each_keeps_its_algorithm() {
    let signer = Signer::new("k1");
    let secret = SymmetricKey::new(vec![7; 32].into());
    let oct = json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc" });
    let document = json!({ "keys": [oct, signer.jwk()] }).to_string();
    let keys = || KeySource::Keys(KeySet::parse(document.as_bytes(), None).unwrap());
    let both = || issuer(keys()).algorithms([Algorithm::ES256, Algorithm::HS256]);
    let hmac = |key: &SymmetricKey, kid: &str| {
        let key = countersign_jose::SigningKey::symmetric(key, Algorithm::HS256).unwrap();
        Signer { kid: kid.into(), key }.good()
    };
    let verifier = trusting(both());
    for (token, expected) in [
        (signer.good(), "ok"),
        (hmac(&secret, "s"), "ok"),
        (hmac(&secret, "k1"), "token_algorithm_mismatch"),
        (signer.good_as("s"), "token_algorithm_mismatch"),
    ] {
        assert_eq!(code(&explained(&verifier, &token, at(0)).await.outcome), expected);
    }
    // What the issuer may not use is not used, and a set without anything to use does not build.
    let public = trusting(both().algorithms([Algorithm::ES256]));
    assert_eq!(code(&explained(&public, &hmac(&secret, "s"), at(0)).await.outcome), "algorithm_not_allowed");
    assert!(both().algorithms([Algorithm::RS256]).build().is_err());
    assert!(issuer(KeySource::Keys(KeySet::default())).build().is_err());
}
