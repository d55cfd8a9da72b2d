//! Many at once: waiters, strangers' tokens, callers who leave, a fetch that panics.

use crate::support::{FakeFetch, Reply, Server, Signer, at, code, issuer, jwks, trusting};
use countersign_verifier::{FetchLimits, KeySource, Verifier};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

const URL: &str = "https://issuer.example/jwks";

fn on_fake(fetch: &Arc<FakeFetch>) -> Arc<Verifier> {
    let issuer = issuer(KeySource::JwksUrl(URL.into())).build().unwrap();
    Arc::new(Verifier::builder().trust(issuer).fetch(fetch.clone()).build().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_first_verifications_at_once_are_one_fetch() {
    let signer = Signer::new("k1");
    let server = Server::start().await;
    let Reply::Bytes(bytes) = Reply::json(&jwks(&[&signer])) else { panic!() };
    server.on("/jwks", Reply::Late(Duration::from_millis(100), bytes));
    let verifier = trusting(issuer(KeySource::JwksUrl(server.url("/jwks"))));
    let token: Arc<str> = signer.good().into();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (verifier, token) = (verifier.clone(), token.clone());
        all.spawn(async move { code(&verifier.verify(&token, at(0)).await) });
    }
    assert!(all.join_all().await.into_iter().all(|outcome| outcome == "ok"));
    assert_eq!(server.all_hits(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_random_kids_cost_one_fetch_per_window_and_good_tokens_do_not_wait() {
    let signer = Signer::new("k1");
    let server = Server::with_jwks(&jwks(&[&signer])).await;
    let trusted = issuer(KeySource::JwksUrl(server.url("/jwks"))).build().unwrap();
    let limits = FetchLimits { total_time: Duration::from_secs(30), ..FetchLimits::default() };
    let verifier = Arc::new(Verifier::builder().trust(trusted).fetch_limits(limits).build().unwrap());
    let good = signer.good();
    assert_eq!(code(&verifier.verify(&good, at(0)).await), "ok");
    let (_, alone) = verify_until(&verifier, &good, |done| done == 1000).await;

    // From here on the key server answers when it is told to: a caller that waited for it would not
    // get through before.
    let Reply::Bytes(bytes) = Reply::json(&jwks(&[&signer])) else { panic!() };
    let permits = Arc::new(Semaphore::new(0));
    server.on("/jwks", Reply::Held(Arc::clone(&permits), bytes));
    // Any signature will do: the name of the key is what the token is refused for.
    let (_, rest) = good.split_once('.').unwrap();
    let strangers: Vec<String> = (0..10_000)
        .map(|n| {
            let header = format!(r#"{{"alg":"ES256","kid":"random-{n}-{:x}"}}"#, n * 2_654_435_761_u64);
            format!("{}.{rest}", countersign_jose::base64url::encode(header.as_bytes()))
        })
        .collect();
    let flood = tokio::spawn({
        let verifier = verifier.clone();
        async move {
            let mut all = tokio::task::JoinSet::new();
            for stranger in strangers {
                let verifier = verifier.clone();
                all.spawn(async move { code(&verifier.verify(&stranger, at(1)).await) });
            }
            all.join_all().await
        }
    });
    server.is_asked("/jwks", 2).await;
    let (done, during) = verify_until(&verifier, &good, |done| done == 1000).await;
    assert!(!flood.is_finished(), "the fetch is over, so nothing was shown");
    permits.add_permits(100);
    let outcomes = flood.await.unwrap();
    assert_eq!(outcomes.len(), 10_000);
    assert!(outcomes.iter().all(|outcome| *outcome == "token_no_key"));
    assert_eq!(server.hits("/jwks"), 2, "the first fetch, and one for ten thousand unknown names");
    println!(
        "a good token takes {alone:?} alone and {during:?} during the flood ({done} verified meanwhile)"
    );

    // The same window again, and the next one.
    let stranger = signer.good_as("another");
    assert_eq!(code(&verifier.verify(&stranger, at(30)).await), "token_no_key");
    assert_eq!(server.hits("/jwks"), 2);
    assert_eq!(code(&verifier.verify(&stranger, at(31)).await), "token_no_key");
    assert_eq!(server.hits("/jwks"), 3);
}

/// Verifies a good token again and again; how often, and how long the median took.
#[expect(
    clippy::disallowed_methods,
    reason = "measures, for the reader of the output; nothing depends on it"
)]
async fn verify_until(verifier: &Verifier, token: &str, enough: impl Fn(usize) -> bool) -> (usize, Duration) {
    let mut times = Vec::new();
    while !enough(times.len()) {
        let started = Instant::now();
        assert_eq!(code(&verifier.verify(token, at(1)).await), "ok");
        times.push(started.elapsed());
        tokio::task::yield_now().await;
    }
    times.sort_unstable();
    (times.len(), times.get(times.len() / 2).copied().unwrap_or_default())
}

#[tokio::test]
async fn tokens_whose_kid_could_be_no_kid_cause_no_fetch() {
    let (signer, other) = (Signer::new("k1"), Signer::new("k2"));
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer, &other]), None);
    let verifier = on_fake(&fetch);
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
    for kid in [Some("\u{0}"), Some(""), Some("ä"), Some(&*"k".repeat(300)), Some(&*"k".repeat(9_000)), None]
    {
        let token = signer.token_named(kid, None, &crate::support::claims());
        assert_eq!(code(&verifier.verify(&token, at(1)).await), "token_no_key");
    }
    assert_eq!(fetch.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_neither_cancels_nor_spoils_the_fetch() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), None);
    fetch.wait(Duration::from_secs(3));
    let verifier = on_fake(&fetch);
    let token = signer.good();
    // The first caller, who started it, gives up after a second; the second one has been waiting
    // meanwhile.
    let impatient = tokio::time::timeout(Duration::from_secs(1), verifier.verify(&token, at(0)));
    let (left, stayed) = tokio::join!(impatient, verifier.verify(&token, at(0)));
    assert!(left.is_err());
    assert_eq!((code(&stayed), fetch.count()), ("ok", 1));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_whose_only_caller_left_still_lands() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), None);
    fetch.wait(Duration::from_secs(3));
    let verifier = on_fake(&fetch);
    let token = signer.good();
    assert!(tokio::time::timeout(Duration::from_secs(1), verifier.verify(&token, at(0))).await.is_err());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(verifier.status(at(5)).remove(0).keys, 1);
    assert_eq!((code(&verifier.verify(&token, at(5)).await), fetch.count()), ("ok", 1));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_is_a_failure_like_any_other() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), None);
    fetch.panic_next(1);
    let verifier = on_fake(&fetch);
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "keys_unavailable");
    // The pause holds for it too.
    assert_eq!(code(&verifier.verify(&signer.good(), at(1)).await), "keys_unavailable");
    assert_eq!(fetch.count(), 1);
    assert_eq!(code(&verifier.verify(&signer.good(), at(2)).await), "ok");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_never_ends_is_given_up() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), None);
    fetch.wait(Duration::from_secs(1_000_000));
    let verifier = on_fake(&fetch);
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "keys_unavailable");
    fetch.wait(Duration::ZERO);
    assert_eq!(code(&verifier.verify(&signer.good(), at(40)).await), "ok");
}

#[test]
fn a_verifier_outlives_the_runtime_its_fetch_was_started_on() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), None);
    let verifier = on_fake(&fetch);
    let token = signer.good();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(async {
        fetch.wait(Duration::from_secs(60));
        let call = verifier.verify(&token, at(0));
        assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
    });
    fetch.wait(Duration::ZERO);
    assert_eq!(code(&runtime().block_on(verifier.verify(&token, at(0)))), "ok");
}
