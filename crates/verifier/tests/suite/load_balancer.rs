//! Tokens of AWS load balancers (`x-amzn-oidc-data`): padded, for one signer, with a key at an
//! address for each `kid`; and what nobody else's trust takes of that.

use crate::support::{FakeFetch, Signer, at, code, explained, inline, issuer};
use countersign_jose::{Algorithm, base64url};
use countersign_verifier::{KeySource, Preset, TrustError, TrustedIssuerBuilder, Verifier};
use serde_json::{Value, json};
use std::sync::Arc;

const ARN: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/front/50dc6c495c0c9188";
const ISS: &str = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123";
const KID: &str = "0a1b2c3d-1111-4222-8333-444455556666";
const KEYS: &str = "https://public-keys.auth.elb.eu-west-1.amazonaws.com";

fn described() -> TrustedIssuerBuilder {
    Preset::AwsAlb.builder(ARN).unwrap().load_balancer_issuer(ISS).audiences(["client1"])
}

fn trusting(builder: TrustedIssuerBuilder, fetch: &Arc<FakeFetch>) -> Verifier {
    Verifier::builder().trust(builder.build().unwrap()).fetch(fetch.clone()).build().unwrap()
}

fn url(kid: &str) -> String {
    format!("{KEYS}/{kid}")
}

/// A load balancer whose key is where it should be.
fn signer(fetch: &FakeFetch) -> Signer {
    let signer = Signer::new(KID);
    fetch.on(&url(KID), &signer.key.public_key().unwrap().to_pem().unwrap(), None);
    signer
}

fn header(changes: &Value) -> Value {
    let mut header = json!({ "typ": "JWT", "kid": KID, "alg": "ES256", "iss": ISS, "client": "client1", "signer": ARN,
        "exp": at(0).unix_seconds() + 120 });
    merge(&mut header, changes);
    header
}

fn claims(changes: &Value) -> Value {
    let mut claims = json!({ "sub": "s", "email": "a@b.example", "username": "u", "iss": ISS,
        "exp": at(0).unix_seconds() + 120 });
    merge(&mut claims, changes);
    claims
}

fn merge(into: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(into.as_object_mut().unwrap().remove(name)),
            value => into[name] = value.clone(),
        }
    }
}

fn padded(bytes: &[u8]) -> String {
    let mut text = base64url::encode(bytes);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// As a load balancer makes it: the signature is over the padded text.
fn made(signer: &Signer, header: &Value, claims: &Value) -> String {
    let input =
        format!("{}.{}", padded(header.to_string().as_bytes()), padded(claims.to_string().as_bytes()));
    let signature = signer.key.sign_bytes(input.as_bytes()).unwrap();
    format!("{input}.{}", padded(&signature))
}

fn good(signer: &Signer) -> String {
    made(signer, &header(&json!({})), &claims(&json!({})))
}

#[tokio::test]
async fn what_a_load_balancer_sends_is_accepted_by_its_name_and_near_misses_are_not() {
    let fetch = Arc::new(FakeFetch::default());
    let (signer, verifier) = (signer(&fetch), trusting(described(), &fetch));
    let other_arn = ARN.replace("front", "other");
    let soon = at(0).unix_seconds() - 60;
    for (in_header, in_claims, expected) in [
        (json!({}), json!({}), "ok"),
        (json!({}), json!({ "name": "\u{e4}" }), "ok"),
        (json!({ "signer": other_arn }), json!({}), "signer_unknown"),
        (json!({ "signer": null }), json!({}), "token_header_wrong_type"),
        (json!({ "signer": [ARN] }), json!({}), "token_header_wrong_type"),
        (json!({ "client": "client2" }), json!({}), "claim_mismatch"),
        (json!({ "client": null }), json!({}), "token_header_wrong_type"),
        (json!({ "iss": "https://other.example" }), json!({}), "claim_mismatch"),
        (json!({ "iss": null }), json!({}), "token_header_wrong_type"),
        (json!({ "exp": soon }), json!({}), "token_expired"),
        (json!({ "exp": soon.to_string() }), json!({}), "token_header_wrong_type"),
        (json!({ "exp": null }), json!({}), "token_header_wrong_type"),
        (json!({ "alg": "RS256" }), json!({}), "algorithm_not_allowed"),
        (json!({ "alg": "ES384" }), json!({}), "algorithm_not_allowed"),
        (json!({ "alg": "none" }), json!({}), "token_unsupported_algorithm"),
        (json!({ "crit": ["x"] }), json!({}), "token_critical_header"),
        (json!({}), json!({ "iss": "https://other.example" }), "claim_mismatch"),
        (json!({}), json!({ "iss": null }), "claim_missing"),
        (json!({}), json!({ "exp": soon }), "token_expired"),
        (json!({}), json!({ "exp": null }), "claim_missing"),
        (json!({ "kid": null }), json!({}), "token_no_key"),
    ] {
        let token = made(&signer, &header(&in_header), &claims(&in_claims));
        let found = code(&explained(&verifier, &token, at(0)).await.outcome);
        assert_eq!(found, expected, "{in_header} {in_claims}");
    }
    let stranger = Signer::new(KID);
    assert_eq!(code(&explained(&verifier, &good(&stranger), at(0)).await.outcome), "token_bad_signature");
}

#[tokio::test]
async fn a_token_has_one_text_and_its_padding_is_part_of_what_is_signed() {
    let fetch = Arc::new(FakeFetch::default());
    let (signer, verifier) = (signer(&fetch), trusting(described(), &fetch));
    let token = made(&signer, &header(&json!({})), &claims(&json!({ "x": "12" })));
    assert_eq!(code(&explained(&verifier, &token, at(0)).await.outcome), "ok");
    let parts: Vec<&str> = token.split('.').collect();
    let plain: Vec<&str> = parts.iter().map(|part| part.trim_end_matches('=')).collect();
    for other in [
        // Without padding it is a token like others, of an issuer that is not trusted.
        format!("{}.{}.{}", plain[0], plain[1], plain[2]),
        format!("{}.{}.{}=", parts[0], parts[1], parts[2]),
        format!("{}.{}.{}=", parts[0], parts[1], plain[2]),
        format!("{}.{}=.{}", parts[0], parts[1], parts[2]),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}.{}.{}.{}", parts[0], parts[1], parts[2], parts[2]),
        format!("{}.{}.==", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{token} "),
    ] {
        assert_ne!(code(&explained(&verifier, &other, at(0)).await.outcome), "ok", "{other}");
    }
    let over_plain = format!("{}.{}", plain[0], plain[1]);
    let signature = padded(&signer.key.sign_bytes(over_plain.as_bytes()).unwrap());
    let other = format!("{}.{}.{signature}", parts[0], parts[1]);
    assert_eq!(code(&explained(&verifier, &other, at(0)).await.outcome), "token_bad_signature");
}

#[tokio::test]
async fn nobody_elses_trust_takes_a_padded_token_and_it_is_said_whose_does() {
    let fetch = Arc::new(FakeFetch::default());
    let signer = signer(&fetch);
    let trust = issuer(inline(&[&signer])).also_known_as(ISS);
    let verifier = trusting(trust, &fetch);
    // Header and claims of a length that needs no padding: the signature always has some.
    for n in 0..3 {
        let header = header(&json!({ "x": "y".repeat(n) }));
        for m in 0..3 {
            let token =
                made(&signer, &header, &claims(&json!({ "aud": "https://api.example", "x": "y".repeat(m) })));
            let why = explained(&verifier, &token, at(0)).await.outcome.unwrap_err();
            assert_eq!(why.code(), "token_not_base64url");
            assert!(why.to_string().contains("`=`") && why.to_string().contains("`aws-alb`"), "{why}");
        }
    }
    assert_eq!(fetch.count(), 0);
    // Nor does a load balancer's trust take tokens of other forms for its own.
    let verifier = trusting(described(), &fetch);
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "issuer_unknown");
    assert_eq!(code(&verifier.verify(&signer.token(&claims(&json!({}))), at(0)).await), "issuer_unknown");
}

#[tokio::test]
async fn a_key_name_is_put_into_an_address_only_if_it_has_the_one_shape() {
    let fetch = Arc::new(FakeFetch::default());
    let (signer, verifier) = (signer(&fetch), trusting(described(), &fetch));
    let upper = KID.to_uppercase();
    for kid in [
        "",
        "..",
        ".",
        "../x",
        "a/b",
        "%2e%2e",
        "k1",
        &upper,
        &KID[1..],
        &format!("{KID}/"),
        &format!("{KID}?a"),
        &format!("{KID}#"),
        &format!("/{KID}"),
        &format!("{KID}\u{0}"),
        "http://127.0.0.1/x",
        "{kid}",
        &"a".repeat(36),
        "0a1b2c3d-1111-4222-8333-44445555666g",
        "0a1b2c3d_1111_4222_8333_444455556666",
    ] {
        let token = made(&signer, &header(&json!({ "kid": kid })), &claims(&json!({})));
        assert_eq!(code(&explained(&verifier, &token, at(0)).await.outcome), "token_no_key", "{kid:?}");
    }
    assert_eq!(fetch.count(), 0, "nothing was asked for");
    assert_eq!(code(&verifier.verify(&good(&signer), at(0)).await), "ok");
    assert_eq!(fetch.asked(), [url(KID)]);
}

#[tokio::test]
async fn made_up_names_are_asked_for_a_few_times_and_good_tokens_go_on() {
    let fetch = Arc::new(FakeFetch::default());
    let (signer, verifier) = (signer(&fetch), trusting(described(), &fetch));
    assert_eq!(code(&verifier.verify(&good(&signer), at(0)).await), "ok");
    let stranger = |n: u32| {
        let kid = format!("{n:08x}-1111-4222-8333-444455556666");
        made(&signer, &header(&json!({ "kid": kid })), &claims(&json!({})))
    };
    let mut codes = Vec::new();
    for n in 0..1000 {
        codes.push(code(&verifier.verify(&stranger(n), at(1)).await));
        assert_eq!(code(&verifier.verify(&good(&signer), at(1)).await), "ok");
    }
    assert_eq!(codes.iter().filter(|code| **code == "token_no_key").count(), 8);
    // Nobody has looked for these, so they may be good: an answer to keep for them would be wrong.
    assert_eq!(codes.iter().filter(|code| **code == "keys_unavailable").count(), 992);
    assert_eq!(fetch.count(), 9);
    // Names that were not there are not asked for again soon.
    for when in [2, 30, 200] {
        assert_eq!(code(&verifier.verify(&stranger(7), at(when)).await), "token_no_key");
    }
    assert_eq!(fetch.count(), 9);
    // A new key is found in the next window, in which a few more names may be asked for.
    let next = Signer::new("99999999-1111-4222-8333-444455556666");
    fetch.on(&url(&next.kid), &next.key.public_key().unwrap().to_pem().unwrap(), None);
    let token = made(&next, &header(&json!({ "kid": next.kid })), &claims(&json!({})));
    assert_eq!(code(&verifier.verify(&token, at(30)).await), "keys_unavailable");
    assert_eq!(code(&verifier.verify(&token, at(31)).await), "ok");
    assert_eq!(fetch.count(), 10);
}

#[tokio::test]
async fn what_is_no_public_key_is_none_and_a_key_that_was_replaced_is_looked_for_once_in_a_window() {
    let fetch = Arc::new(FakeFetch::default());
    let signer = signer(&fetch);
    let second = Signer::new(KID);
    let private = "-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n";
    let p384 = Signer::with("x", Algorithm::ES384).key.public_key().unwrap().to_pem().unwrap();
    for body in ["", "<html>", "{\"keys\":[]}", "-----BEGIN PUBLIC KEY-----\n", private, &p384] {
        let fetch = Arc::new(FakeFetch::default());
        fetch.on(&url(KID), body, None);
        let verifier = trusting(described(), &fetch);
        assert_eq!(code(&verifier.verify(&good(&signer), at(0)).await), "keys_unavailable", "{body}");
    }
    let verifier = trusting(described(), &fetch);
    assert_eq!(code(&verifier.verify(&good(&signer), at(0)).await), "ok");
    fetch.on(&url(KID), &second.key.public_key().unwrap().to_pem().unwrap(), None);
    assert_eq!(code(&verifier.verify(&good(&second), at(1)).await), "ok");
    assert_eq!(fetch.count(), 2);
    for when in [2, 30] {
        assert_eq!(code(&verifier.verify(&good(&signer), at(when)).await), "token_bad_signature");
    }
    assert_eq!(fetch.count(), 2);
}

#[tokio::test]
async fn descriptions_that_would_not_work_or_accept_more_are_refused() {
    for arn in [
        "",
        "front",
        ARN.trim_end_matches(|c: char| c != '/'),
        &ARN.replace("app", "net"),
        &ARN.replace("aws:", "other:"),
        &ARN.replace("eu-west-1", "eu/west"),
        &ARN.replace("123456789012", "1234"),
        &ARN.replace("front", "*"),
        &format!("{ARN}/x"),
    ] {
        assert!(matches!(Preset::AwsAlb.builder(arn), Err(TrustError::PresetId { .. })), "{arn}");
    }
    let no_issuer = Preset::AwsAlb.builder(ARN).unwrap().audiences(["client1"]);
    let of = |builder: TrustedIssuerBuilder| builder.build().unwrap_err();
    for builder in [
        no_issuer,
        described().algorithms([Algorithm::ES256, Algorithm::RS256]),
        described().also_known_as("https://other.example"),
        described().keys(KeySource::Discovery),
        described().keys(KeySource::JwksUrl(KEYS.into())),
        issuer(KeySource::PemByKid(KEYS.into())),
    ] {
        assert!(matches!(of(builder), TrustError::LoadBalancer { .. }));
    }
    assert!(matches!(
        of(Preset::AwsAlb.builder(ARN).unwrap().load_balancer_issuer(ISS)),
        TrustError::NoAudiences { .. }
    ));
    assert!(matches!(
        of(described().keys(KeySource::PemByKid("http://keys.example".into()))),
        TrustError::Url { .. }
    ));
    assert!(matches!(
        of(described().keys(KeySource::PemByKid(format!("{KEYS}/?a")))),
        TrustError::Url { .. }
    ));
    let china = ARN.replace("arn:aws:", "arn:aws-cn:").replace("eu-west-1", "cn-north-1");
    let china = Preset::AwsAlb.builder(&china).unwrap().load_balancer_issuer(ISS).audiences(["client1"]);
    assert!(matches!(of(china), TrustError::NoKeySource { .. }));
    let twice =
        Verifier::builder().trust(described().build().unwrap()).trust(described().build().unwrap()).build();
    assert!(matches!(twice.unwrap_err(), TrustError::DuplicateIssuer(_)));
    // The issuer itself may be trusted beside it, for its own tokens.
    let both = Verifier::builder().trust(described().build().unwrap());
    let cognito = Preset::Cognito.builder("eu-west-1_AbCdEf123").unwrap().audiences(["client1"]);
    both.trust(cognito.build().unwrap()).build().unwrap();
}

#[tokio::test]
async fn an_address_of_its_own_and_govclouds_are_asked_below() {
    let arn = ARN.replace("arn:aws:", "arn:aws-us-gov:").replace("eu-west-1", "us-gov-west-1");
    let gov = Preset::AwsAlb.builder(&arn).unwrap().load_balancer_issuer(ISS).audiences(["client1"]);
    for (builder, expected) in [
        (gov, format!("https://s3-us-gov-west-1.amazonaws.com/aws-elb-public-keys-prod-us-gov-west-1/{KID}")),
        (
            described().keys(KeySource::KeyDocument("https://keys.example/a/".into())),
            format!("https://keys.example/a/{KID}"),
        ),
    ] {
        let fetch = Arc::new(FakeFetch::default());
        let signer = Signer::new(KID);
        fetch.on(&expected, &signer.key.public_key().unwrap().to_pem().unwrap(), None);
        let arn = builder.build().unwrap().name().to_owned();
        let trust = Preset::AwsAlb.builder(&arn).unwrap().load_balancer_issuer(ISS).audiences(["client1"]);
        let trust = if expected.contains("keys.example") {
            trust.keys(KeySource::KeyDocument("https://keys.example/a/".into()))
        } else {
            trust
        };
        let verifier = trusting(trust, &fetch);
        let token = made(&signer, &header(&json!({ "signer": arn })), &claims(&json!({})));
        assert_eq!(code(&verifier.verify(&token, at(0)).await), "ok");
        assert_eq!(fetch.asked(), [expected]);
    }
}

#[tokio::test]
async fn remembered_tokens_of_a_load_balancer_end_with_its_key() {
    let fetch = Arc::new(FakeFetch::default());
    let signer = signer(&fetch);
    let entries = std::num::NonZeroUsize::new(4).unwrap();
    let trust = described().build().unwrap();
    let verifier =
        Verifier::builder().trust(trust).fetch(fetch.clone()).cache_verified_tokens(entries).build().unwrap();
    let token = good(&signer);
    let first = verifier.verify(&token, at(0)).await.unwrap();
    assert!(std::ptr::eq(first.verified(), verifier.verify(&token, at(1)).await.unwrap().verified()));
    let second = Signer::new(KID);
    fetch.on(&url(KID), &second.key.public_key().unwrap().to_pem().unwrap(), None);
    assert_eq!(code(&verifier.verify(&good(&second), at(2)).await), "ok");
    assert_eq!(code(&verifier.verify(&token, at(3)).await), "token_bad_signature");
}

#[tokio::test]
async fn a_remembered_token_ends_with_the_exp_of_its_header() {
    let fetch = Arc::new(FakeFetch::default());
    let signer = signer(&fetch);
    let entries = std::num::NonZeroUsize::new(4).unwrap();
    let trust = described().build().unwrap();
    let verifier =
        Verifier::builder().trust(trust).fetch(fetch).cache_verified_tokens(entries).build().unwrap();
    let later = claims(&json!({ "exp": at(3600).unix_seconds() }));
    let token = made(&signer, &header(&json!({})), &later);
    assert_eq!(code(&verifier.verify(&token, at(0)).await), "ok");
    assert_eq!(code(&verifier.verify(&token, at(119)).await), "ok");
    assert_eq!(code(&verifier.verify(&token, at(300)).await), "token_expired");
}
