//! The cache of verified tokens: it never lets in what verifying anew would refuse.

use crate::support::{FakeFetch, Signer, at, certified, claims_with, code, issuer, jwks, today};
use countersign_jose::Algorithm;
use countersign_verifier::{KeySource, Verifier};
use serde_json::json;
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

const URL: &str = "https://issuer.example/jwks";

fn caching(fetch: &Arc<FakeFetch>) -> Verifier {
    let issuer = issuer(KeySource::JwksUrl(URL.into())).leeway(Duration::from_secs(60)).build().unwrap();
    let entries = NonZeroUsize::new(100).unwrap();
    Verifier::builder().trust(issuer).fetch(fetch.clone()).cache_verified_tokens(entries).build().unwrap()
}

#[tokio::test]
async fn a_token_verified_before_is_found_and_its_variants_are_not() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), None);
    let verifier = caching(&fetch);
    let token = signer.good();
    let first = verifier.verify(&token, at(0)).await.unwrap();
    let second = verifier.verify(&token, at(1)).await.unwrap();
    // The very same value: it was not verified again.
    assert!(std::ptr::eq(first.verified(), second.verified()));
    let mut forged = token.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    assert_ne!(code(&verifier.verify(&forged, at(1)).await), "ok");
}

#[tokio::test]
async fn a_cached_token_ends_with_its_keys() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&old, &new]), Some(300));
    let verifier = caching(&fetch);
    let token = old.good();
    assert_eq!(code(&verifier.verify(&token, at(0)).await), "ok");
    assert_eq!(code(&verifier.verify(&token, at(100)).await), "ok");
    fetch.on(URL, &jwks(&[&new]), Some(300));
    assert_eq!(code(&verifier.verify(&token, at(301)).await), "token_no_key");
    // And with keys too old to be used.
    let token = new.good();
    assert_eq!(code(&verifier.verify(&token, at(302)).await), "ok");
    fetch.fail(URL);
    assert_eq!(code(&verifier.verify(&token, at(301 + 300 + 3600)).await), "keys_unavailable");
}

#[tokio::test]
async fn an_unchanged_key_set_keeps_the_cache() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), Some(300));
    let verifier = caching(&fetch);
    let token = signer.good();
    let first = verifier.verify(&token, at(0)).await.unwrap();
    let later = verifier.verify(&token, at(400)).await.unwrap();
    assert_eq!(fetch.count(), 2);
    assert!(std::ptr::eq(first.verified(), later.verified()));
}

#[tokio::test]
async fn a_cached_token_never_outlives_its_exp() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), None);
    let verifier = caching(&fetch);
    let token = signer.token(&claims_with(json!({ "exp": at(50).unix_seconds() })));
    assert_eq!(code(&verifier.verify(&token, at(0)).await), "ok");
    assert_eq!(code(&verifier.verify(&token, at(49)).await), "ok");
    // Within the leeway it is verified anew each time.
    let again = verifier.verify(&token, at(51)).await.unwrap();
    assert!(!std::ptr::eq(again.verified(), verifier.verify(&token, at(51)).await.unwrap().verified()));
    assert_eq!(code(&verifier.verify(&token, at(110)).await), "token_expired");
}

#[tokio::test]
async fn a_cached_token_never_outlives_the_certificate_of_the_key_that_verified_it() {
    let (signer, certificate) =
        certified("k1", Algorithm::ES256, &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &json!({ "k1": certificate }).to_string(), Some(86_400));
    let day = Duration::from_secs(86_400);
    let now = today();
    let life = json!({ "iat": null, "exp": now.plus(day * 100).unix_seconds() });
    let token = |kid| signer.token_named(kid, None, &claims_with(life.clone()));
    // A certificate is found by the key's name, and not by what the token calls it.
    for (source, kid) in [
        (KeySource::X509Map(URL.into()), Some("k1")),
        (KeySource::X509Map(URL.into()), None),
        (KeySource::InlinePem(certificate.clone()), Some("k1")),
        (KeySource::InlinePem(certificate.clone()), None),
    ] {
        let trust = issuer(source).build().unwrap();
        let entries = NonZeroUsize::new(4).unwrap();
        let verifier = Verifier::builder().trust(trust).fetch(fetch.clone()).cache_verified_tokens(entries);
        let (verifier, token) = (verifier.build().unwrap(), token(kid));
        assert_eq!(code(&verifier.verify(&token, now).await), "ok", "{kid:?}");
        assert_eq!(code(&verifier.verify(&token, now.plus(day * 29)).await), "ok", "{kid:?}");
        let after = verifier.verify(&token, now.plus(day * 31)).await;
        assert_eq!(code(&after), "certificate_not_valid", "{kid:?}");
    }
}

#[tokio::test]
async fn without_being_asked_for_nothing_is_cached() {
    let signer = Signer::new("k1");
    let verifier = crate::support::trusting(issuer(crate::support::inline(&[&signer])));
    let token = signer.good();
    let first = verifier.verify(&token, at(0)).await.unwrap();
    let second = verifier.verify(&token, at(0)).await.unwrap();
    assert_eq!(first, second);
    assert!(!std::ptr::eq(first.verified(), second.verified()));
}

#[tokio::test]
async fn refused_tokens_are_not_remembered_as_accepted_and_giants_are_not_even_hashed() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), None);
    let verifier = caching(&fetch);
    let early = signer.token(&claims_with(json!({ "nbf": at(200).unix_seconds() })));
    assert_eq!(code(&verifier.verify(&early, at(0)).await), "token_not_yet_valid");
    assert_eq!(code(&verifier.verify(&early, at(200)).await), "ok");
    // A clock set back does not meet what was verified later.
    assert_eq!(code(&verifier.verify(&early, at(0)).await), "token_not_yet_valid");
    assert_eq!(code(&verifier.verify(&"x".repeat(1 << 20), at(0)).await), "token_too_long");
}
