//! A process that stands still with a fetch in the air, as a function does between its answers:
//! what it finds when it runs on.
//!
//! Time is virtual: `advance` is what the process does not notice.

use crate::support::{FakeFetch, Signer, at, code, issuer, jwks};
use countersign_verifier::{FetchError, KeySource, RefreshPolicy, Verifier};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, advance};

const URL: &str = "https://issuer.example/jwks";

/// Keys for eight seconds, that are renewed in the background from the sixth on.
fn verifier(fetch: &Arc<FakeFetch>) -> Verifier {
    let policy = RefreshPolicy { floor: Duration::from_secs(1), ..RefreshPolicy::default() };
    let issuer = issuer(KeySource::JwksUrl(URL.into())).refresh(policy).build().unwrap();
    Verifier::builder().trust(issuer).fetch(fetch.clone()).build().unwrap()
}

/// One whose renewal is in the air, and the issuer has another key by now.
async fn renewing(fetch: &Arc<FakeFetch>, old: &Signer, new: &Signer, takes: Duration) -> Verifier {
    fetch.on(URL, &jwks(&[old]), Some(8));
    let verifier = verifier(fetch);
    assert_eq!(code(&verifier.verify(&old.good(), at(0)).await), "ok");
    fetch.on(URL, &jwks(&[new]), Some(8));
    fetch.wait(takes);
    assert_eq!(code(&verifier.verify(&old.good(), at(6)).await), "ok");
    tokio::task::yield_now().await;
    assert_eq!(fetch.count(), 2, "the renewal has begun");
    verifier
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_ends_long_after_its_limit_is_no_failure_and_is_made_again() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fetch = Arc::new(FakeFetch::default());
    let verifier = renewing(&fetch, &old, &new, Duration::from_secs(3600)).await;
    fetch.wait(Duration::ZERO);
    advance(Duration::from_secs(600)).await;
    // The issuer is well: the first caller waits for its answer, and a withdrawn key verifies
    // nothing.
    assert_eq!(code(&verifier.verify(&old.good(), at(606)).await), "token_no_key");
    assert_eq!(code(&verifier.verify(&new.good(), at(606)).await), "ok");
    let status = verifier.status(at(606)).remove(0);
    assert_eq!((status.failure, status.fetched_at, status.fresh), (None, Some(at(606)), true));
}

#[tokio::test(start_paused = true)]
async fn stale_keys_that_are_over_after_a_standstill_do_not_make_its_fetch_one_that_is_over_too() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fetch = Arc::new(FakeFetch::default());
    let verifier = renewing(&fetch, &old, &new, Duration::from_secs(100_000)).await;
    fetch.wait(Duration::ZERO);
    advance(Duration::from_secs(50_000)).await;
    assert_eq!(code(&verifier.verify(&new.good(), at(50_006)).await), "ok");
}

#[tokio::test(start_paused = true)]
async fn expired_keys_wait_for_a_renewal_however_long_ago_it_began() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fetch = Arc::new(FakeFetch::default());
    let verifier = renewing(&fetch, &old, &new, Duration::from_millis(10_100)).await;
    advance(Duration::from_secs(10)).await;
    assert_eq!(code(&verifier.verify(&old.good(), at(16)).await), "token_no_key");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_failed_long_ago_is_not_one_that_is_down() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&old]), Some(8));
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&old.good(), at(0)).await), "ok");
    fetch.fail(URL);
    assert_eq!(code(&verifier.verify(&old.good(), at(10)).await), "ok", "stale keys");
    fetch.on(URL, &jwks(&[&new]), Some(8));
    assert_eq!(code(&verifier.verify(&old.good(), at(600)).await), "token_no_key");
}

#[tokio::test(start_paused = true)]
async fn a_failure_within_its_limit_is_one_however_long_the_quiet_before_it() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fetch = Arc::new(FakeFetch::default());
    let verifier = renewing(&fetch, &old, &new, Duration::from_secs(3600)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let failure = verifier.status(at(66)).remove(0).failure;
    assert_eq!(failure, Some(FetchError::Timeout(Duration::from_secs(30))));
    assert_eq!(fetch.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_frozen_afterwards_waits_for_what_is_in_the_air_and_once_for_what_hangs() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let leisure = Duration::from_millis(500);
    let fetch = Arc::new(FakeFetch::default());
    let verifier = renewing(&fetch, &old, &new, Duration::from_millis(400)).await;
    verifier.settled_within(leisure).await;
    assert_eq!(verifier.status(at(6)).remove(0).fetched_at, Some(at(6)));
    assert_eq!(code(&verifier.verify(&old.good(), at(7)).await), "token_no_key");

    let fetch = Arc::new(FakeFetch::default());
    let verifier = renewing(&fetch, &old, &new, Duration::from_secs(20)).await;
    let before = Instant::now();
    for _ in 0..3 {
        verifier.settled_within(leisure).await;
    }
    assert_eq!(before.elapsed(), leisure);
}
