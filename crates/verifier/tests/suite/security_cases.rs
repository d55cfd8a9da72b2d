//! What has gone wrong in systems like this one, as far as verification and key fetching go: one
//! test for each line. Lines about caches, floods, removed keys and unreachable key sets are in
//! `flood`, `remote_keys`, `hostile_servers`.

use crate::support::{
    AUDIENCE, FakeFetch, ISSUER, Server, Signer, at, claims, claims_with, code, explained, inline, issuer,
    jwks, trusting,
};
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use countersign_jose::{Algorithm, Header, KeySize, PrivateKey, SigningInput, SigningKey, base64url::encode};
use countersign_verifier::{KeySource, TrustedIssuer, Verifier};
use serde_json::{Value, json};
use std::sync::Arc;

fn input(header: &Value, payload: &str) -> String {
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(payload.as_bytes()))
}

fn hs256(input: &str, secret: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", encode(tag.as_ref()))
}

#[tokio::test]
async fn an_hmac_made_with_the_public_key_as_its_secret_is_refused() {
    let signer = Signer::with("k1", Algorithm::RS256);
    let public = signer.key.public_key().unwrap();
    let mut nameless = signer.jwk();
    nameless.as_object_mut().unwrap().remove("alg");
    let set = json!({ "keys": [nameless] }).to_string();
    let jwk_source = issuer(KeySource::InlineJwks(set.clone())).algorithms([Algorithm::RS256]);
    let pem_source = issuer(KeySource::InlinePem(public.to_pem().unwrap())).algorithms([Algorithm::RS256]);
    let pem = public.to_pem().unwrap();
    let secrets = [
        pem.clone().into_bytes(),
        pem.trim_end().as_bytes().to_vec(),
        public.to_spki_der().unwrap(),
        nameless.to_string().into_bytes(),
        set.into_bytes(),
    ];
    for verifier in [trusting(jwk_source), trusting(pem_source)] {
        assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
        for secret in &secrets {
            let input = input(&json!({ "alg": "HS256", "kid": "k1" }), &claims().to_string());
            let outcome = verifier.verify(&hs256(&input, secret), at(0)).await;
            assert_eq!(code(&outcome), "algorithm_not_allowed");
        }
    }
}

#[tokio::test]
async fn alg_none_and_stripped_signatures_are_refused() {
    let signer = Signer::new("k1");
    let verifier = trusting(issuer(inline(&[&signer])));
    let good = signer.good();
    let (signed, _) = good.rsplit_once('.').unwrap();
    for alg in ["none", "None", "NONE", "nOnE"] {
        let input = input(&json!({ "alg": alg, "kid": "k1" }), &claims().to_string());
        for token in [format!("{input}."), input.clone(), format!("{input}.AAAA")] {
            let code = code(&verifier.verify(&token, at(0)).await);
            assert!(
                matches!(code, "token_unsupported_algorithm" | "token_unsigned" | "token_not_compact"),
                "{code}"
            );
        }
    }
    let zeros = encode(&[0; 64]);
    for (token, expected) in [
        (format!("{signed}."), "token_unsigned"),
        (format!("{good}="), "token_not_base64url"),
        (format!("{signed}.{zeros}"), "token_bad_signature"),
        (format!("{signed}.AAAA"), "token_bad_signature"),
    ] {
        assert_eq!(code(&verifier.verify(&token, at(0)).await), expected);
    }
}

#[tokio::test]
async fn keys_and_addresses_in_the_header_are_never_used_nor_fetched() {
    let (signer, attacker) = (Signer::new("k1"), Raw::new("k1"));
    let trap = Server::with_jwks(&jwks(&[&attacker.signer])).await;
    let server = Server::with_jwks(&jwks(&[&signer])).await;
    let verifier = trusting(issuer(KeySource::JwksUrl(server.url("/jwks"))));
    for extra in [
        json!({ "jwk": attacker.signer.jwk() }),
        json!({ "jku": trap.url("/jwks") }),
        json!({ "x5u": trap.url("/jwks") }),
        json!({ "x5c": ["AAAA"] }),
    ] {
        let mut header = json!({ "alg": "ES256", "kid": "k1" });
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let outcome = verifier.verify(&attacker.sign(&header, &claims().to_string()), at(0)).await;
        assert_eq!(code(&outcome), "token_bad_signature", "{extra}");
    }
    // The issuer's own server is asked once more: its key of that name could be another one by now.
    assert_eq!((trap.all_hits(), server.all_hits()), (0, 2));
}

/// A signer of texts whose header this library would not write.
struct Raw {
    signer: Signer,
    pair: EcdsaKeyPair,
}

impl Raw {
    fn new(kid: &str) -> Self {
        let private = PrivateKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
        let key = SigningKey::new(&private, Algorithm::ES256).unwrap();
        let der = private.to_pkcs8_der().unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).unwrap();
        Self { signer: Signer { kid: kid.into(), key }, pair }
    }

    fn sign(&self, header: &Value, payload: &str) -> String {
        let input = input(header, payload);
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", encode(signature.as_ref()))
    }
}

#[tokio::test]
async fn iss_and_kid_make_nobody_fetch_an_address_of_the_callers_choice() {
    let signer = Signer::new("k1");
    let trap = Server::with_jwks(&jwks(&[&signer])).await;
    let fetch = Arc::new(FakeFetch::default());
    let url = "https://issuer.example/jwks";
    fetch.on(url, &jwks(&[&signer]), None);
    let trusted = issuer(KeySource::JwksUrl(url.into())).build().unwrap();
    let verifier = Verifier::builder().trust(trusted).fetch(fetch.clone()).build().unwrap();
    for iss in [trap.url(""), trap.url("/jwks"), "http://169.254.169.254/".into(), format!("{ISSUER}/../x")] {
        let outcome = verifier.verify(&signer.token(&claims_with(json!({ "iss": iss }))), at(0)).await;
        assert_eq!(code(&outcome), "issuer_unknown");
        assert!(!outcome.unwrap_err().to_string().contains(&iss), "nothing is reflected");
    }
    assert_eq!(fetch.count(), 0, "an unknown issuer costs no fetch");
    for kid in [trap.url("/jwks"), "../../etc/passwd".into(), "' OR 1=1 --".into(), r#"{"$ne":1}"#.into()] {
        let outcome = verifier.verify(&signer.good_as(&kid), at(0)).await;
        assert_eq!(code(&outcome), "token_no_key");
        assert!(!outcome.unwrap_err().to_string().contains(&kid), "nothing is reflected");
    }
    assert!(fetch.asked().iter().all(|asked| asked == url), "{:?}", fetch.asked());
    assert_eq!(trap.all_hits(), 0);
}

#[tokio::test]
async fn a_token_refused_by_its_header_or_issuer_causes_no_fetch() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    let trusted = issuer(KeySource::JwksUrl("https://issuer.example/jwks".into())).build().unwrap();
    let verifier = Verifier::builder().trust(trusted).fetch(fetch.clone()).build().unwrap();
    for (token, expected) in [
        (hs256(&input(&json!({ "alg": "HS256" }), &claims().to_string()), b"x"), "algorithm_not_allowed"),
        (signer.token(&claims_with(json!({ "iss": null }))), "issuer_missing"),
        (signer.token(&claims_with(json!({ "iss": [ISSUER] }))), "token_claims_wrong_type"),
        (signer.token(&claims_with(json!({ "iss": "https://other.example" }))), "issuer_unknown"),
        ("a.b.c".into(), "token_not_base64url"),
        (String::new(), "token_not_compact"),
        ("x".repeat(1 << 20), "token_too_long"),
    ] {
        assert_eq!(code(&verifier.verify(&token, at(0)).await), expected);
    }
    assert_eq!(fetch.count(), 0);
}

#[tokio::test]
async fn crit_and_unencoded_payloads_are_refused() {
    let raw = Raw::new("k1");
    let verifier = trusting(issuer(inline(&[&raw.signer])));
    let plain = raw.sign(&json!({ "alg": "ES256", "kid": "k1" }), &claims().to_string());
    assert_eq!(code(&verifier.verify(&plain, at(0)).await), "ok");
    for extra in
        [json!({ "crit": ["exp"] }), json!({ "crit": [] }), json!({ "b64": false }), json!({ "b64": true })]
    {
        let mut header = json!({ "alg": "ES256", "kid": "k1" });
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let outcome = verifier.verify(&raw.sign(&header, &claims().to_string()), at(0)).await;
        assert_eq!(code(&outcome), "token_critical_header", "{extra}");
    }
}

#[tokio::test]
async fn registered_claims_of_a_wrong_type_are_refused_with_a_reason() {
    let raw = Raw::new("k1");
    let verifier = trusting(issuer(inline(&[&raw.signer])));
    let exp = at(100).unix_seconds();
    for (payload, expected) in [
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":"{exp}"}}"#), "claim_wrong_type"),
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{exp}.5}}"#), "claim_wrong_type"),
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":-1}}"#), "claim_wrong_type"),
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":1e400}}"#), "token_claims_malformed"),
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{exp},"nbf":"0"}}"#), "claim_wrong_type"),
        (
            format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{exp},"exp":{exp}}}"#),
            "token_claims_malformed",
        ),
        (format!(r#"{{"iss":["{ISSUER}"],"aud":"{AUDIENCE}","exp":{exp}}}"#), "token_claims_wrong_type"),
        (format!(r#"{{"iss":"{ISSUER}","exp":{exp}}}"#), "claim_missing"),
        (format!(r#"{{"iss":"{ISSUER}","aud":"","exp":{exp}}}"#), "claim_mismatch"),
        (format!(r#"{{"iss":"{ISSUER}","aud":[],"exp":{exp}}}"#), "claim_missing"),
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}"}}"#), "claim_missing"),
    ] {
        let token = raw.sign(&json!({ "alg": "ES256", "kid": "k1" }), &payload);
        let outcome = verifier.verify(&token, at(0)).await;
        assert_eq!(code(&outcome), expected, "{payload}");
    }
}

#[tokio::test]
async fn audiences_are_not_compared_by_prefix_or_pattern() {
    let signer = Signer::new("k1");
    let trusted = TrustedIssuer::builder(ISSUER).keys(inline(&[&signer])).algorithms([Algorithm::ES256]);
    let verifier = trusting(trusted.audiences(["https://api.example", "https://*.example"]));
    for aud in
        ["https://api.example.evil", "https://api.exampl", "https://x.example", "HTTPS://API.EXAMPLE", "*"]
    {
        let outcome = verifier.verify(&signer.token(&claims_with(json!({ "aud": aud }))), at(0)).await;
        assert_eq!(code(&outcome), "claim_mismatch", "{aud}");
    }
}

#[tokio::test]
async fn errors_and_debug_output_hold_no_text_of_the_token() {
    let signer = Signer::new("k1");
    let server = Server::with_jwks(&jwks(&[&signer])).await;
    let verifier = trusting(issuer(KeySource::JwksUrl(server.url("/jwks"))));
    for changes in [json!({ "aud": "MARKER" }), json!({ "iss": "MARKER" }), json!({ "exp": "MARKER" })] {
        let token = signer.token_named(Some("MARKER"), Some("MARKER"), &claims_with(changes.clone()));
        for token in [token, signer.token(&claims_with(changes))] {
            let why = verifier.verify(&token, at(0)).await.unwrap_err();
            assert!(!format!("{why} {why:?}").contains("MARKER"), "{why:?}");
        }
    }
    let accepted =
        verifier.verify(&signer.token(&claims_with(json!({ "sub": "MARKER" }))), at(0)).await.unwrap();
    assert!(!format!("{accepted:?} {verifier:?}").contains("MARKER"));
}

#[tokio::test]
async fn a_token_with_two_issuers_is_refused_whichever_is_read_first() {
    let signer = Signer::new("k1");
    let other = TrustedIssuer::builder("https://b.example").keys(inline(&[&signer]));
    let other = other.algorithms([Algorithm::ES256]).audiences([AUDIENCE]).build().unwrap();
    let both = Verifier::builder().trust(issuer(inline(&[&signer])).build().unwrap()).trust(other);
    let both = both.build().unwrap();
    let rest = format!(r#""aud":"{AUDIENCE}","exp":{}"#, at(60).unix_seconds());
    for (first, second) in [(ISSUER, "https://b.example"), ("https://b.example", ISSUER), (ISSUER, ISSUER)] {
        let payload = format!(r#"{{"iss":"{first}",{rest},"iss":"{second}"}}"#);
        let header = Header { alg: Algorithm::ES256, kid: Some("k1"), typ: None }.encode();
        let input = SigningInput::new(&header, payload.as_bytes());
        let signature = signer.key.sign(&input).unwrap();
        let explanation = explained(&both, &input.finish(&signature), at(0)).await;
        assert_eq!(code(&explanation.outcome), "token_claims_malformed", "{first} {second}");
    }
}
