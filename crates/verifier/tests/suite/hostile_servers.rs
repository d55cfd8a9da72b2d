//! Key servers that misbehave, on a real socket: every one of them fails closed, in bounded time
//! and memory, and none takes good keys away that were there before.

use crate::support::{Reply, Server, Signer, at, claims, code, issuer, jwks, until};
use countersign_jose::Algorithm;
use countersign_verifier::{FetchError, FetchLimits, KeySource, Verifier, VerifyError};
use serde_json::json;
use std::time::{Duration, Instant};

/// Limits that no machine is too busy to keep.
fn patient() -> FetchLimits {
    let long = Duration::from_secs(30);
    FetchLimits { connect_time: long, total_time: long, ..FetchLimits::default() }
}

fn verifier(url: String) -> Verifier {
    verifier_within(patient(), url)
}

fn verifier_within(limits: FetchLimits, url: String) -> Verifier {
    let issuer = issuer(KeySource::JwksUrl(url)).build().unwrap();
    Verifier::builder().trust(issuer).fetch_limits(limits).build().unwrap()
}

/// What verifying a good token says when the key server replies so.
async fn failure(reply: Reply) -> FetchError {
    failure_within(patient(), reply).await
}

async fn failure_within(limits: FetchLimits, reply: Reply) -> FetchError {
    let signer = Signer::new("k1");
    let server = Server::start().await;
    server.on("/jwks", reply);
    let verifier = verifier_within(limits, server.url("/jwks"));
    match verifier.verify(&signer.good(), at(0)).await {
        Err(VerifyError::KeysUnavailable { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "measures that a limit in real time holds")]
async fn a_server_that_drips_is_cut_off_at_the_total_time() {
    let started = Instant::now();
    let long = jwks(&[&Signer::new("k1")]) + &" ".repeat(1000);
    let Reply::Bytes(bytes) = Reply::json(&long) else { panic!() };
    let limits = FetchLimits { total_time: Duration::from_millis(700), ..patient() };
    for reply in [Reply::Drip(bytes), Reply::Silence] {
        assert_eq!(failure_within(limits, reply).await, FetchError::Timeout(limits.total_time));
    }
    assert!(started.elapsed() < Duration::from_secs(100), "not forever");
}

#[tokio::test]
async fn an_endless_body_is_cut_off_at_the_size_cap() {
    assert_eq!(failure(Reply::Endless).await, FetchError::TooLarge(150_000));
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_whatever_its_content_length_says() {
    let large = " ".repeat(150_001);
    assert_eq!(failure(Reply::json(&large)).await, FetchError::TooLarge(150_000));
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    assert_eq!(failure(Reply::Bytes(chunked.into_bytes())).await, FetchError::TooLarge(150_000));
}

#[tokio::test]
async fn a_key_set_just_under_the_cap_is_taken_and_the_cap_cannot_be_raised_beyond_512_kib() {
    let signer = Signer::new("k1");
    let set = jwks(&[&signer]);
    let padded = |size: usize| set.clone() + &" ".repeat(size - set.len());
    let server = Server::with_jwks(&padded(150_000)).await;
    let outcome = verifier(server.url("/jwks")).verify(&signer.good(), at(0)).await;
    assert_eq!(code(&outcome), "ok");

    server.on("/jwks", Reply::json(&padded(512 * 1024 + 1)));
    let wide = FetchLimits { max_bytes: usize::MAX, ..patient() };
    let trusted = issuer(KeySource::JwksUrl(server.url("/jwks"))).build().unwrap();
    let wide = Verifier::builder().trust(trusted).fetch_limits(wide).build().unwrap();
    assert_eq!(code(&wide.verify(&signer.good(), at(0)).await), "keys_unavailable");
}

#[tokio::test]
async fn error_statuses_html_and_empty_sets_fail_closed() {
    assert_eq!(failure(Reply::new("500 Internal Server Error", &[], "{}")).await, FetchError::Status(500));
    // A good key set under a bad status is not one.
    let set = jwks(&[&Signer::new("k1")]);
    assert_eq!(failure(Reply::new("404 Not Found", &[], &set)).await, FetchError::Status(404));
    assert_eq!(failure(Reply::new("206 Partial Content", &[], &set)).await, FetchError::Status(206));
    let html = "<!doctype html><title>Sign in</title>";
    assert_eq!(failure(Reply::json(html)).await.code(), "fetch_not_json");
    assert_eq!(failure(Reply::json(&set[..set.len() - 3])).await.code(), "fetch_not_json");
    assert_eq!(failure(Reply::json("")).await.code(), "fetch_not_json");
    assert_eq!(failure(Reply::json(r#"{"keys":[]}"#)).await, FetchError::NoUsableKey);
    assert_eq!(failure(Reply::json("{}")).await, FetchError::NoUsableKey);
    assert_eq!(failure(Reply::json(r#"{"keys":{}}"#)).await.code(), "fetch_not_a_key_set");
    assert_eq!(failure(Reply::json("[]")).await.code(), "fetch_not_json");
}

#[tokio::test]
async fn a_set_whose_only_keys_are_of_other_algorithms_or_secrets_is_no_key_set() {
    let other = Signer::with("k1", Algorithm::ES384);
    assert_eq!(failure(Reply::json(&jwks(&[&other]))).await, FetchError::NoUsableKey);
    let secret = json!({"keys":[{"kty":"oct","kid":"k1","alg":"HS256","k":"A".repeat(64)}]});
    assert_eq!(failure(Reply::json(&secret.to_string())).await, FetchError::NoUsableKey);
}

#[tokio::test]
async fn one_bad_key_is_skipped_and_the_good_ones_kept() {
    let signer = Signer::new("good");
    let bad = [
        json!({"kty":"EC","crv":"P-256","kid":"bad","x":"AAAA","y":"AAAA"}),
        json!({"kty":"RSA","kid":"small","n":"AQAB","e":"AQAB"}),
        json!({"kty":"??"}),
        json!(7),
        json!({"kty":"EC","crv":"P-256","kid":"point","x":"A".repeat(43),"y":"A".repeat(43)}),
    ];
    let mut keys = bad.to_vec();
    keys.insert(2, signer.jwk());
    let server = Server::with_jwks(&json!({ "keys": keys }).to_string()).await;
    let verifier = verifier(server.url("/jwks"));
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
    for kid in ["bad", "small", "point"] {
        assert_eq!(code(&verifier.verify(&signer.good_as(kid), at(0)).await), "token_no_key", "{kid}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_its_target_hears_nothing() {
    let signer = Signer::new("k1");
    let target = Server::with_jwks(&jwks(&[&signer])).await;
    for status in
        ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let location = format!("Location: {}", target.url("/jwks"));
        assert_eq!(failure(Reply::new(status, &[&location], "")).await, FetchError::Redirect, "{status}");
    }
    // Not on the same host either: what is configured is what is asked.
    let server = Server::with_jwks(&jwks(&[&signer])).await;
    server.on("/old", Reply::new("302 Found", &["Location: /jwks"], ""));
    let outcome = verifier(server.url("/old")).verify(&signer.good(), at(0)).await;
    assert_eq!(code(&outcome), "keys_unavailable");
    assert_eq!((target.all_hits(), server.hits("/jwks")), (0, 0));
}

#[tokio::test]
async fn the_content_type_decides_nothing() {
    let signer = Signer::new("k1");
    let server = Server::start().await;
    for content_type in ["Content-Type: text/html", "X-None: 1", "Content-Type: image/png; charset=x"] {
        server.on("/jwks", Reply::new("200 OK", &[content_type], &jwks(&[&signer])));
        let outcome = verifier(server.url("/jwks")).verify(&signer.good(), at(0)).await;
        assert_eq!(code(&outcome), "ok", "{content_type}");
    }
}

#[tokio::test]
async fn nobody_listening_fails_closed() {
    let gone = Server::start().await.url("/jwks");
    // The server was dropped with the statement above; its port refuses once the task has ended.
    let address = gone.trim_start_matches("http://").trim_end_matches("/jwks").to_owned();
    while tokio::net::TcpStream::connect(&address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let outcome = verifier(gone).verify(&Signer::new("k1").good(), at(0)).await;
    match outcome {
        Err(VerifyError::KeysUnavailable { why, .. }) => assert_eq!(why.code(), "fetch_connection"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_that_breaks_off_or_is_no_http_fails_closed() {
    let set = jwks(&[&Signer::new("k1")]);
    let short = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{set}", set.len() + 1);
    assert_eq!(failure(Reply::Bytes(short.into_bytes())).await.code(), "fetch_connection");
    assert_eq!(failure(Reply::Bytes(b"SSH-2.0-OpenSSH_9\r\n".to_vec())).await.code(), "fetch_connection");
}

#[tokio::test]
async fn extremes_of_cache_control_stay_between_floor_and_ceiling() {
    let signer = Signer::new("k1");
    for (header, fetches_at) in [
        ("Cache-Control: max-age=0", [(59, 1), (61, 2)]),
        ("Cache-Control: no-store", [(59, 1), (61, 2)]),
        ("Cache-Control: max-age=-5", [(59, 1), (61, 2)]),
        ("Cache-Control: max-age=99999999999999999999", [(60_000, 1), (86_401, 2)]),
        ("X-None: 1", [(440, 1), (601, 2)]),
    ] {
        let server = Server::start().await;
        server.on("/jwks", Reply::new("200 OK", &[header], &jwks(&[&signer])));
        // Three quarters into their life keys are renewed in the background; these instants avoid
        // that, or are past it.
        let fetches_at = fetches_at.map(|(when, hits)| (if when == 59 { 44 } else { when }, hits));
        let verifier = verifier(server.url("/jwks"));
        for (when, hits) in [(0, 1)].into_iter().chain(fetches_at) {
            let outcome = verifier.verify(&signer.token(&claims()), at(when)).await;
            server.is_asked("/jwks", hits).await;
            assert_eq!((code(&outcome), server.hits("/jwks")), ("ok", hits), "{header} at {when}");
        }
    }
}

#[tokio::test]
async fn a_server_that_turns_bad_does_not_take_the_good_keys_away_at_once() {
    let signer = Signer::new("k1");
    let server = Server::with_jwks(&jwks(&[&signer])).await;
    let verifier = verifier(server.url("/jwks"));
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
    for (step, reply, why) in [
        (0, Reply::new("500 Internal Server Error", &[], ""), FetchError::Status(500).code()),
        (1, Reply::json("<html>"), "fetch_not_json"),
        (2, Reply::Endless, FetchError::TooLarge(0).code()),
    ] {
        server.on("/jwks", reply);
        let when = at(601 + 100 * step);
        assert_eq!(code(&verifier.verify(&signer.good(), when).await), "ok", "step {step}");
        let failure = || verifier.status(when).remove(0).failure.map(|why| why.code());
        until(why, || failure() == Some(why)).await;
        assert_eq!(code(&verifier.verify(&signer.good(), when).await), "ok", "step {step}");
    }
    // One hour after their end they are too old to believe.
    assert_eq!(code(&verifier.verify(&signer.good(), at(600 + 3600)).await), "keys_unavailable");
}
