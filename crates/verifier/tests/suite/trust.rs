//! Whom to trust for what: descriptions that are refused, and tokens that do not meet those that
//! are accepted.

use crate::support::{AUDIENCE, ISSUER, Signer, at, claims_with, code, inline, issuer, trusting};
use countersign_jose::{Algorithm, Algorithm::ES256, Header, SigningInput, SigningKey, SymmetricKey};
use countersign_verifier::{AudienceFallback, KeySource, TrustError, TrustedIssuer, Verifier};
use serde_json::{Value, json};
use std::time::Duration;

fn refused(builder: countersign_verifier::TrustedIssuerBuilder) -> TrustError {
    builder.build().expect_err("a description that must be refused")
}

#[test]
fn an_issuer_without_audiences_is_refused_unless_they_are_given_up_by_name() {
    let signer = Signer::new("k1");
    let bare = || TrustedIssuer::builder(ISSUER).keys(inline(&[&signer])).algorithms([ES256]);
    assert_eq!(refused(bare()), TrustError::NoAudiences { issuer: ISSUER.into() });
    let open = bare().dangerously_accept_any_audience().build().unwrap();
    assert_eq!(open.warnings().len(), 1);
    let both = bare().audiences(["a"]).dangerously_accept_any_audience();
    assert_eq!(refused(both), TrustError::AudiencesGivenUp { issuer: ISSUER.into() });
    assert!(bare().audiences(["a"]).build().unwrap().warnings().is_empty());
}

#[test]
fn what_is_missing_empty_or_doubled_is_refused() {
    let signer = Signer::new("k1");
    let good = || issuer(inline(&[&signer]));
    assert!(good().build().is_ok());
    let name = || ISSUER.to_owned();
    let none = TrustedIssuer::builder(ISSUER).algorithms([ES256]).audiences(["a"]);
    assert_eq!(refused(none), TrustError::NoKeySource { issuer: name() });
    assert_eq!(refused(good().algorithms([])), TrustError::NoAlgorithms { issuer: name() });
    assert_eq!(refused(TrustedIssuer::builder("")), TrustError::EmptyIssuer);
    assert_eq!(refused(good().also_known_as("")), TrustError::EmptyIssuer);
    assert!(matches!(refused(good().audiences([AUDIENCE])), TrustError::Duplicate { what: "audience", .. }));
    assert!(matches!(refused(good().audiences([""])), TrustError::Empty { what: "audience", .. }));
    assert!(matches!(refused(good().algorithms([ES256, ES256])), TrustError::Duplicate { .. }));
    assert!(matches!(refused(good().leeway(Duration::from_secs(601))), TrustError::LeewayTooLong { .. }));
    assert_eq!(Verifier::builder().build().unwrap_err(), TrustError::NoIssuers);
}

#[test]
fn sources_that_do_not_fit_are_refused_at_start() {
    let signer = Signer::new("k1");
    let secret = || KeySource::HmacSecret(SymmetricKey::new(vec![7; 64].into()));
    let hmac = issuer(inline(&[&signer])).algorithms([ES256, Algorithm::HS256]);
    assert!(matches!(refused(hmac), TrustError::AlgorithmDoesNotFit { algorithm: Algorithm::HS256, .. }));
    assert!(matches!(refused(issuer(secret())), TrustError::AlgorithmDoesNotFit { .. }));
    let two = issuer(secret()).algorithms([Algorithm::HS256, Algorithm::HS512]);
    assert!(matches!(refused(two), TrustError::OneAlgorithmNeeded { .. }));
    let short = KeySource::HmacSecret(SymmetricKey::new(vec![7; 31].into()));
    assert!(matches!(refused(issuer(short).algorithms([Algorithm::HS256])), TrustError::Keys { .. }));
    assert!(matches!(refused(issuer(KeySource::InlinePem("x".into()))), TrustError::Keys { .. }));
    assert!(matches!(refused(issuer(KeySource::InlineJwks("[]".into()))), TrustError::Keys { .. }));
    let other = issuer(inline(&[&signer])).algorithms([Algorithm::RS256]);
    assert!(matches!(refused(other), TrustError::NoUsableKey { .. }));
    for url in [
        "http://issuer.example/jwks",
        "file:///jwks",
        "jwks",
        "https://u:p@issuer.example/",
        "http://10.0.0.1/jwks",
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/latest/meta-data",
        "https://issuer.example/{tenantid}/jwks",
    ] {
        for source in [KeySource::JwksUrl, KeySource::X509Map, KeySource::KeyDocument, KeySource::DiscoveryAt]
        {
            assert!(matches!(refused(issuer(source(url.into()))), TrustError::Url { .. }), "{url}");
        }
    }
    let nameless = TrustedIssuer::builder("accounts.example").keys(KeySource::Discovery);
    assert!(matches!(refused(nameless.algorithms([ES256]).audiences(["a"])), TrustError::Url { .. }));
}

#[test]
fn one_iss_selects_one_issuer() {
    let signer = Signer::new("k1");
    let one = || issuer(inline(&[&signer]));
    let twice = Verifier::builder().trust(one().build().unwrap()).trust(one().build().unwrap()).build();
    assert_eq!(twice.unwrap_err(), TrustError::DuplicateIssuer(ISSUER.into()));
    let alias = TrustedIssuer::builder("https://other.example").also_known_as(ISSUER);
    let alias = alias.keys(inline(&[&signer])).algorithms([ES256]).audiences(["a"]).build().unwrap();
    let alias = Verifier::builder().trust(one().build().unwrap()).trust(alias).build();
    assert_eq!(alias.unwrap_err(), TrustError::DuplicateIssuer(ISSUER.into()));
    let any = TrustedIssuer::dangerously_of_any_issuer("any").keys(inline(&[&signer]));
    let any = any.algorithms([ES256]).audiences(["a"]).build().unwrap();
    let beside = Verifier::builder().trust(one().build().unwrap()).trust(any).build();
    assert!(matches!(beside.unwrap_err(), TrustError::AnyIssuerBesideOthers { .. }));
}

#[tokio::test]
async fn a_key_of_one_issuer_never_verifies_anothers_token_even_under_the_same_kid() {
    let (a, b) = (Signer::new("k1"), Signer::new("k1"));
    let describe = |iss: &str, signer: &Signer| {
        let builder = TrustedIssuer::builder(iss).keys(inline(&[signer]));
        builder.algorithms([ES256]).audiences([AUDIENCE]).build().unwrap()
    };
    let (first, second) = (describe("https://a.example", &a), describe("https://b.example", &b));
    let verifier = Verifier::builder().trust(first).trust(second).build().unwrap();
    for (signer, iss, expected) in [
        (&a, "https://a.example", "ok"),
        (&b, "https://b.example", "ok"),
        (&a, "https://b.example", "token_bad_signature"),
        (&b, "https://a.example", "token_bad_signature"),
        (&a, "https://c.example", "issuer_unknown"),
        (&a, "https://a.example/", "issuer_unknown"),
        (&a, "https://A.example", "issuer_unknown"),
    ] {
        let outcome = verifier.verify(&signer.token(&claims_with(json!({ "iss": iss }))), at(0)).await;
        assert_eq!(code(&outcome), expected, "{iss}");
        if let Ok(accepted) = outcome {
            assert_eq!(accepted.issuer(), iss);
        }
    }
    // With another name for the key it is not found at all.
    let named = a.token_named(Some("k2"), None, &claims_with(json!({ "iss": "https://a.example" })));
    assert_eq!(code(&verifier.verify(&named, at(0)).await), "token_no_key");
}

#[tokio::test]
async fn audience_token_use_typ_and_required_claims_are_matched_exactly() {
    let signer = Signer::new("k1");
    let verifier = trusting(
        issuer(inline(&[&signer]))
            .audiences(["second"])
            .token_use("access")
            .typ("at+jwt")
            .require("jti")
            .require_value("roles", json!(["a", "b"])),
    );
    let good = json!({ "token_use": "access", "jti": "1", "roles": ["a", "b"] });
    let check = async |typ: &str, changes: Value| {
        let mut claims = claims_with(good.clone());
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = signer.token_named(Some("k1"), Some(typ), &claims);
        code(&verifier.verify(&token, at(0)).await)
    };
    assert_eq!(check("at+jwt", json!({})).await, "ok");
    assert_eq!(check("application/AT+JWT", json!({ "aud": ["x", "second"] })).await, "ok");
    assert_eq!(check("JWT", json!({})).await, "claim_wrong_typ");
    for (changes, expected) in [
        (json!({ "aud": "https://api.example/" }), "claim_mismatch"),
        (json!({ "aud": "https://api" }), "claim_mismatch"),
        (json!({ "aud": [] }), "claim_missing"),
        (json!({ "aud": null }), "claim_wrong_type"),
        (json!({ "aud": ["https://api.example", 7] }), "claim_wrong_type"),
        (json!({ "token_use": "id" }), "claim_mismatch"),
        (json!({ "token_use": ["access"] }), "claim_mismatch"),
        (json!({ "jti": null }), "claim_wrong_type"),
        (json!({ "roles": ["b", "a"] }), "claim_mismatch"),
        (json!({ "roles": "a b" }), "claim_mismatch"),
    ] {
        assert_eq!(check("at+jwt", changes.clone()).await, expected, "{changes}");
    }
}

#[tokio::test]
async fn the_client_stands_in_for_the_audience_only_where_there_is_none_and_it_was_asked_for() {
    let signer = Signer::new("k1");
    let with = |fallback: Option<AudienceFallback>| {
        let builder = issuer(inline(&[&signer]));
        trusting(match fallback {
            Some(claim) => builder.audience_fallback(claim),
            None => builder,
        })
    };
    let token = |changes: Value| signer.token(&claims_with(changes));
    let client = || token(json!({ "aud": null, "client_id": AUDIENCE }));
    assert_eq!(code(&with(None).verify(&client(), at(0)).await), "claim_missing");
    let verifier = with(Some(AudienceFallback::ClientId));
    assert_eq!(code(&verifier.verify(&client(), at(0)).await), "ok");
    for (changes, expected) in [
        (json!({ "aud": null }), "claim_missing"),
        (json!({ "aud": null, "client_id": "other" }), "claim_mismatch"),
        (json!({ "aud": null, "client_id": [AUDIENCE] }), "claim_missing"),
        (json!({ "aud": null, "cid": AUDIENCE, "azp": AUDIENCE }), "claim_missing"),
        (json!({ "aud": "other", "client_id": AUDIENCE }), "claim_mismatch"),
        (json!({ "aud": [], "client_id": AUDIENCE }), "claim_missing"),
    ] {
        assert_eq!(code(&verifier.verify(&token(changes.clone()), at(0)).await), expected, "{changes}");
    }
    // The rest of the policy holds as ever.
    let expired = token(json!({ "aud": null, "client_id": AUDIENCE, "exp": at(-60).unix_seconds() }));
    assert_eq!(code(&verifier.verify(&expired, at(0)).await), "token_expired");
    for (fallback, claim) in [(AudienceFallback::Cid, "cid"), (AudienceFallback::Azp, "azp")] {
        let token = token(json!({ "aud": null, claim: AUDIENCE }));
        assert_eq!(code(&with(Some(fallback)).verify(&token, at(0)).await), "ok", "{claim}");
    }
}

#[tokio::test]
async fn expiry_is_required_and_checked_unless_given_up_by_its_full_name() {
    let signer = Signer::new("k1");
    let exp = |seconds: i64| signer.token(&claims_with(json!({ "exp": at(seconds).unix_seconds() })));
    let never = signer.token(&claims_with(json!({ "exp": null })));
    let strict = trusting(issuer(inline(&[&signer])).leeway(Duration::from_secs(5)));
    for (token, expected) in [
        (exp(1), "ok"),
        (exp(-4), "ok"),
        (exp(-5), "token_expired"),
        (exp(-6), "token_expired"),
        (never.clone(), "claim_missing"),
    ] {
        assert_eq!(code(&strict.verify(&token, at(0)).await), expected);
    }
    let lax = issuer(inline(&[&signer])).dangerously_ignore_expiry();
    assert_eq!(lax.build().unwrap().warnings().len(), 1);
    let lax = trusting(issuer(inline(&[&signer])).dangerously_ignore_expiry());
    for token in [exp(-6000), never] {
        assert_eq!(code(&lax.verify(&token, at(0)).await), "ok");
    }
    let early = signer.token(&claims_with(json!({ "nbf": at(60).unix_seconds() })));
    assert_eq!(code(&lax.verify(&early, at(0)).await), "token_not_yet_valid");
}

#[tokio::test]
async fn a_single_pem_key_or_secret_verifies_its_one_algorithm_whatever_the_kid() {
    let signer = Signer::with("k1", ES256);
    let pem = signer.key.public_key().unwrap().to_pem().unwrap();
    let verifier = trusting(issuer(KeySource::InlinePem(pem)));
    let token = |kid| signer.token_named(kid, None, &claims_with(json!({})));
    for kid in [None, Some("k1"), Some("anything")] {
        assert_eq!(code(&verifier.verify(&token(kid), at(0)).await), "ok");
    }
    assert_eq!(code(&verifier.verify(&Signer::new("k1").good(), at(0)).await), "token_bad_signature");

    let secret = || SymmetricKey::new(vec![7; 64].into());
    let verifier = trusting(issuer(KeySource::HmacSecret(secret())).algorithms([Algorithm::HS384]));
    for (alg, expected) in [(Algorithm::HS384, "ok"), (Algorithm::HS256, "algorithm_not_allowed")] {
        let input = Header { alg, kid: None, typ: None }.encode();
        let input = SigningInput::new(&input, claims_with(json!({})).to_string().as_bytes());
        let signature = SigningKey::symmetric(&secret(), alg).unwrap().sign(&input).unwrap();
        assert_eq!(code(&verifier.verify(&input.finish(&signature), at(0)).await), expected);
    }
}

#[tokio::test]
async fn keys_of_any_issuer_take_tokens_with_any_iss_or_none() {
    let signer = Signer::new("k1");
    let any =
        || TrustedIssuer::dangerously_of_any_issuer("gateway").keys(inline(&[&signer])).algorithms([ES256]);
    let verifier = trusting(any().audiences([AUDIENCE]));
    assert_eq!(verifier.issuers().next().unwrap().warnings().len(), 1);
    for iss in [json!(null), json!("https://anyone.example")] {
        let outcome = verifier.verify(&signer.token(&claims_with(json!({ "iss": iss }))), at(0)).await;
        assert_eq!(code(&outcome), "ok");
        assert_eq!(outcome.unwrap().issuer(), "gateway");
    }
    let foreign = Signer::new("k1").good();
    assert_eq!(code(&verifier.verify(&foreign, at(0)).await), "token_bad_signature");
    let discovered = TrustedIssuer::dangerously_of_any_issuer(ISSUER).keys(KeySource::Discovery);
    let discovered = discovered.algorithms([ES256]).audiences(["a"]).build();
    assert!(matches!(discovered.unwrap_err(), TrustError::DiscoveryOfAnyIssuer { .. }));
}

#[test]
fn no_message_and_no_debug_output_repeats_a_password_in_an_address() {
    use countersign_verifier::{KeySource, Preset, TrustedIssuer};
    let urls = [
        "https://u:SECRET@a.example/keys",
        "https://SECRET@a.example",
        "https://u:SEC/SECRET@a.example",
        "https://u:SECRET@",
        "http://u:SECRET@a.example/{tenantid}",
        "ftp://u:p@SECRET@a.example",
        "https://u:SECRET@a b",
    ];
    let audiences = |builder: countersign_verifier::TrustedIssuerBuilder| builder.audiences(["a"]);
    for url in urls {
        let sources =
            [KeySource::DiscoveryAt, KeySource::JwksUrl, KeySource::X509Map, KeySource::KeyDocument];
        for source in sources {
            let builder = issuer(source(url.to_owned()));
            assert!(!format!("{builder:?}").contains("SECRET"), "{builder:?}");
            let why = builder.build().unwrap_err();
            assert!(!format!("{why} {why:?}").contains("SECRET"), "{why}");
        }
        for builder in [
            audiences(TrustedIssuer::builder(url).keys(KeySource::Discovery)),
            audiences(
                TrustedIssuer::builder("https://a.example").also_known_as(url).keys(KeySource::Discovery),
            ),
            audiences(TrustedIssuer::dangerously_of_any_issuer(url).keys(KeySource::KeyDocument(url.into()))),
            // Whatever else is wrong with it.
            TrustedIssuer::builder(url),
        ] {
            let why = builder.algorithms([Algorithm::RS256]).build().unwrap_err();
            assert!(!format!("{why} {why:?}").contains("SECRET"), "{why}");
        }
        for preset in Preset::ALL {
            let refused = preset.builder(url).err().map(|why| format!("{why} {why:?}"));
            assert!(refused.is_none_or(|why| !why.contains("SECRET")), "{preset:?} {url}");
        }
    }
    // An `iss` that is not a URL may have an @ in it.
    assert!(issuer(inline(&[&Signer::new("k")])).also_known_as("robot@project.example").build().is_ok());
}
