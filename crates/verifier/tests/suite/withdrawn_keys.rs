//! Keys that their issuer has taken back or exchanged, and a key server that hangs: what holds, and
//! for how long.
//!
//! Withdrawn: a well-formed answer without a usable key. Anything else that is not a key set is an
//! issuer that is down.

use crate::support::{FakeFetch, Signer, at, code, explained, issuer, jwks};
use countersign_jose::Algorithm;
use countersign_verifier::{DirectorySnapshots, FetchError, KeySource, RefreshPolicy, Verifier};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const URL: &str = "https://issuer.example/keys";

fn builder(source: KeySource) -> countersign_verifier::TrustedIssuerBuilder {
    let second = Duration::from_secs(1);
    issuer(source).refresh(RefreshPolicy { floor: second, ..RefreshPolicy::default() })
}

fn verifier(fetch: &Arc<FakeFetch>) -> Verifier {
    let issuer = builder(KeySource::KeyDocument(URL.into())).build().unwrap();
    Verifier::builder().trust(issuer).fetch(fetch.clone()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_well_formed_set_without_a_usable_key_withdraws_all_and_the_next_good_one_is_noticed_at_once() {
    let signer = Signer::new("k1");
    let other_kind = Signer::with("k1", Algorithm::EdDSA);
    let secret = json!({ "keys": [{ "kty": "oct", "kid": "k1", "alg": "HS256", "k": "A".repeat(43) }] });
    for withdrawal in [
        json!({ "keys": [] }).to_string(),
        json!({}).to_string(),
        jwks(&[&other_kind]),
        secret.to_string(),
        json!({ "keys": [{ "kty": "unheard-of" }, 7, null] }).to_string(),
    ] {
        let fetch = Arc::new(FakeFetch::default());
        fetch.on(URL, &jwks(&[&signer]), Some(1));
        let verifier = verifier(&fetch);
        assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
        fetch.on(URL, &withdrawal, Some(3600));
        // It was the last answer that said for how long; this one is asked for when that is over.
        assert_ne!(code(&verifier.verify(&signer.good(), at(1)).await), "ok", "{withdrawal}");
        for when in 2..30 {
            assert_eq!(
                code(&verifier.verify(&signer.good(), at(when)).await),
                "keys_unavailable",
                "{withdrawal}"
            );
        }
        let status = verifier.status(at(30)).remove(0);
        assert_eq!((status.keys, status.failure), (0, Some(FetchError::NoUsableKey)), "{withdrawal}");
        // However long it lasted, the keys that come back are found within the shortest pause.
        let next = Signer::new("k2");
        fetch.on(URL, &jwks(&[&next]), Some(3600));
        assert_eq!(code(&verifier.verify(&next.good(), at(32)).await), "ok", "{withdrawal}");
        assert_eq!(code(&verifier.verify(&signer.good(), at(32)).await), "token_no_key", "{withdrawal}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_key_set_withdraws_nothing() {
    let signer = Signer::new("k1");
    for nonsense in [
        r#"{"error":"try again"}"#,
        r#"{"message":"Internal Server Error"}"#,
        r#"{"keys":{"k1":1}}"#,
        r#"{"keys":"none"}"#,
        "<html>",
        "[]",
        "",
    ] {
        let fetch = Arc::new(FakeFetch::default());
        fetch.on(URL, &jwks(&[&signer]), Some(1));
        let verifier = verifier(&fetch);
        assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
        fetch.on(URL, nonsense, Some(3600));
        for when in [1, 2, 60, 3600] {
            assert_eq!(code(&verifier.verify(&signer.good(), at(when)).await), "ok", "{nonsense} at {when}");
        }
        assert_eq!(code(&verifier.verify(&signer.good(), at(3601)).await), "keys_unavailable", "{nonsense}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_bring_withdrawn_keys_back() {
    let signer = Signer::new("k1");
    let folder = tempfile::tempdir().unwrap();
    let start = |fetch: &Arc<FakeFetch>| {
        let issuer = builder(KeySource::JwksUrl(URL.into())).build().unwrap();
        let snapshots = Arc::new(DirectorySnapshots::new(folder.path().join("keys")));
        Verifier::builder().trust(issuer).fetch(fetch.clone()).snapshots(snapshots).build().unwrap()
    };
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), Some(600));
    assert_eq!(code(&start(&fetch).verify(&signer.good(), at(0)).await), "ok");
    fetch.on(URL, r#"{"keys":[]}"#, None);
    let running = start(&fetch);
    assert_eq!(code(&running.verify(&signer.good(), at(600)).await), "keys_unavailable");
    // The issuer is down when the next one starts, and the keys of before would still be fresh
    // enough.
    fetch.fail(URL);
    assert_eq!(code(&start(&fetch).verify(&signer.good(), at(601)).await), "keys_unavailable");
}

#[tokio::test(start_paused = true)]
async fn another_key_under_the_same_name_is_noticed_by_a_signature_that_does_not_verify() {
    let (old, new) = (Signer::new("k1"), Signer::new("k1"));
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&old]), Some(86_400));
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&old.good(), at(0)).await), "ok");
    fetch.on(URL, &jwks(&[&new]), Some(86_400));
    assert_eq!(code(&verifier.verify(&new.good(), at(1)).await), "ok");
    assert_eq!(fetch.count(), 2);
    // Now it is the old key's tokens that do not verify, and the window is used.
    for when in 1..31 {
        assert_eq!(code(&verifier.verify(&old.good(), at(when)).await), "token_bad_signature");
    }
    assert_eq!(fetch.count(), 2);
    // An explanation takes the same steps, and tells of the last ones only.
    fetch.on(URL, &jwks(&[&old]), Some(86_400));
    let explanation = explained(&verifier, &old.good(), at(40)).await;
    assert!(explanation.outcome.is_ok(), "{:?}", explanation.outcome);
    let names: Vec<&str> = explanation.checks.iter().map(|check| check.name.as_ref()).collect();
    assert_eq!(names.iter().filter(|name| **name == "keys" || **name == "signature").count(), 2, "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn no_mixture_of_hostile_tokens_causes_more_than_one_fetch_in_a_window() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), Some(86_400));
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
    let forger = Signer::new("k1");
    for when in 0..90 {
        for hostile in [forger.good(), forger.good_as(&format!("k{when}")), forger.good()] {
            assert_ne!(code(&verifier.verify(&hostile, at(when)).await), "ok");
        }
        assert_eq!(code(&verifier.verify(&signer.good(), at(when)).await), "ok");
    }
    // At 0, 30 and 60, after the first one.
    assert_eq!(fetch.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_key_server_holds_nobody_up_while_stale_keys_are_allowed() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), Some(600));
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
    fetch.wait(Duration::from_secs(20));
    // The clock of tokio is virtual here: what is measured is what was waited for, and nothing
    // else.
    let before = Instant::now();
    assert_eq!(code(&verifier.verify(&signer.good(), at(600)).await), "ok");
    assert!(before.elapsed() <= Duration::from_millis(250), "{:?}", before.elapsed());
    let before = Instant::now();
    for when in 600..620 {
        assert_eq!(code(&verifier.verify(&signer.good(), at(when)).await), "ok");
    }
    assert_eq!(before.elapsed(), Duration::ZERO, "only the first one waits at all");
}

#[tokio::test(start_paused = true)]
async fn without_keys_at_hand_a_server_that_comes_back_is_found_after_the_shortest_pause() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.fail(URL);
    let verifier = verifier(&fetch);
    for when in 0..600 {
        assert_eq!(code(&verifier.verify(&signer.good(), at(when)).await), "keys_unavailable");
    }
    fetch.on(URL, &jwks(&[&signer]), None);
    assert_eq!(code(&verifier.verify(&signer.good(), at(602)).await), "ok");
}
