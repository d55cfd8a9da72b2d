//! The life of a fetched key set on virtual time: renewal, replacement, staleness, pauses after
//! failures.

use crate::support::{FakeFetch, Signer, at, code, issuer, jwks};
use countersign_verifier::{Fault, FetchError, KeySource, RefreshPolicy, Verifier};
use std::{sync::Arc, time::Duration};

const URL: &str = "https://issuer.example/jwks";

fn verifier(fetch: &Arc<FakeFetch>) -> Arc<Verifier> {
    let issuer = issuer(KeySource::JwksUrl(URL.into())).build().unwrap();
    Arc::new(Verifier::builder().trust(issuer).fetch(fetch.clone()).build().unwrap())
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_rotated_key_is_picked_up_with_its_first_token() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&old]), None);
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&old.good(), at(0)).await), "ok");
    fetch.on(URL, &jwks(&[&old, &new]), None);
    assert_eq!(code(&verifier.verify(&new.good(), at(1)).await), "ok");
    assert_eq!(code(&verifier.verify(&old.good(), at(1)).await), "ok");
    assert_eq!(fetch.count(), 2);
}

#[tokio::test]
async fn a_removed_key_stops_verifying_after_the_time_to_live_because_a_refresh_replaces() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&old, &new]), Some(300));
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&old.good(), at(0)).await), "ok");
    fetch.on(URL, &jwks(&[&new]), Some(300));
    assert_eq!(code(&verifier.verify(&old.good(), at(200)).await), "ok");
    assert_eq!(code(&verifier.verify(&old.good(), at(300)).await), "token_no_key");
    assert_eq!(code(&verifier.verify(&new.good(), at(300)).await), "ok");
}

#[tokio::test]
async fn a_key_removed_while_another_is_added_stops_verifying_with_the_refetch() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&old]), Some(86_400));
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&old.good(), at(0)).await), "ok");
    fetch.on(URL, &jwks(&[&new]), Some(86_400));
    assert_eq!(code(&verifier.verify(&new.good(), at(10)).await), "ok");
    assert_eq!(code(&verifier.verify(&old.good(), at(10)).await), "token_no_key");
}

#[tokio::test]
async fn keys_in_use_are_renewed_in_the_background_before_they_end() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), Some(400));
    let verifier = verifier(&fetch);
    for (when, fetches) in [(0, 1), (299, 1), (300, 2), (301, 2), (599, 2), (600, 3)] {
        assert_eq!(code(&verifier.verify(&signer.good(), at(when)).await), "ok");
        settle().await;
        assert_eq!(fetch.count(), fetches, "at {when}");
    }
}

#[tokio::test(start_paused = true)]
async fn fresh_keys_never_wait_for_the_renewal() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), Some(400));
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
    fetch.wait(Duration::from_secs(100));
    let before = tokio::time::Instant::now();
    assert_eq!(code(&verifier.verify(&signer.good(), at(350)).await), "ok");
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn stale_keys_are_used_for_a_bounded_time_while_the_issuer_is_down() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), Some(600));
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
    fetch.fail(URL);
    for when in [600, 1000, 4199] {
        assert_eq!(code(&verifier.verify(&signer.good(), at(when)).await), "ok", "at {when}");
        settle().await;
    }
    let status = verifier.status(at(4199)).remove(0);
    assert_eq!((status.keys, status.fresh, status.failure), (1, false, Some(FetchError::Status(500))));
    let refused = verifier.verify(&signer.good(), at(4200)).await;
    assert_eq!(code(&refused), "keys_unavailable");
    assert_eq!(refused.unwrap_err().fault(), Fault::Keys);
    assert_eq!(verifier.status(at(4200)).remove(0).keys, 0);
    fetch.on(URL, &jwks(&[&signer]), None);
    assert_eq!(code(&verifier.verify(&signer.good(), at(4300)).await), "ok");
}

#[tokio::test(start_paused = true)]
async fn with_stale_keys_at_hand_only_the_first_try_is_waited_for() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), Some(600));
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
    fetch.fail(URL);
    fetch.wait(Duration::from_secs(5));
    assert_eq!(code(&verifier.verify(&signer.good(), at(600)).await), "ok");
    let before = tokio::time::Instant::now();
    for when in [601, 700, 800] {
        assert_eq!(code(&verifier.verify(&signer.good(), at(when)).await), "ok");
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn while_stale_keys_are_used_the_pauses_after_failures_grow() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), Some(600));
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
    fetch.fail(URL);
    // Pauses of 2, 4 and 8 seconds.
    for (when, fetches) in [(600, 2), (601, 2), (602, 3), (605, 3), (606, 4), (613, 4), (614, 5)] {
        assert_eq!(code(&verifier.verify(&signer.good(), at(when)).await), "ok");
        // Virtual time: it passes when nothing else is left to do.
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(fetch.count(), fetches, "at {when}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_nobody_is_asked_until_the_pause_is_over() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.fail(URL);
    let verifier = verifier(&fetch);
    // Pauses of 2 seconds, which do not grow while everybody waits for a first answer.
    for (when, fetches) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)] {
        assert_eq!(code(&verifier.verify(&signer.good(), at(when)).await), "keys_unavailable");
        assert_eq!(fetch.count(), fetches, "at {when}");
    }
    fetch.on(URL, &jwks(&[&signer]), None);
    assert_eq!(code(&verifier.verify(&signer.good(), at(100)).await), "ok");
    // A success forgets the failures.
    fetch.fail(URL);
    for (when, fetches) in [(100 + 4200, 6), (100 + 4201, 6), (100 + 4202, 7)] {
        assert_eq!(code(&verifier.verify(&signer.good(), at(when)).await), "keys_unavailable");
        assert_eq!(fetch.count(), fetches, "at {when}");
    }
}

#[tokio::test]
async fn a_clock_set_back_does_not_make_keys_last_longer() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), None);
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&signer.good(), at(10_000)).await), "ok");
    // Callers overtaking each other are no reason to ask again, an hour is.
    assert_eq!(code(&verifier.verify(&signer.good(), at(9_990)).await), "ok");
    assert_eq!(fetch.count(), 1);
    assert_eq!(code(&verifier.verify(&signer.good(), at(6_400)).await), "ok");
    assert_eq!(fetch.count(), 2);
}

#[tokio::test]
async fn the_times_of_an_issuer_can_be_set() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), Some(86_400));
    let policy = RefreshPolicy {
        ceiling: Duration::from_secs(700),
        stale: Duration::ZERO,
        ..RefreshPolicy::default()
    };
    let issuer = issuer(KeySource::JwksUrl(URL.into())).refresh(policy).build().unwrap();
    let verifier = Verifier::builder().trust(issuer).fetch(fetch.clone()).build().unwrap();
    assert_eq!(code(&verifier.verify(&signer.good(), at(0)).await), "ok");
    fetch.fail(URL);
    assert_eq!(code(&verifier.verify(&signer.good(), at(699)).await), "ok");
    settle().await;
    assert_eq!(code(&verifier.verify(&signer.good(), at(700)).await), "keys_unavailable");
}

#[tokio::test]
async fn a_token_of_a_new_key_is_not_refused_while_nobody_can_tell_whether_there_is_one() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&old]), Some(86_400));
    let verifier = verifier(&fetch);
    assert_eq!(code(&verifier.verify(&old.good(), at(0)).await), "ok");
    fetch.fail(URL);
    // The fetch that fails, the pause after it, and what is left of the window.
    for when in [1, 2, 10, 30] {
        let outcome = verifier.verify(&new.good(), at(when)).await;
        assert_eq!(code(&outcome), "keys_unavailable", "at {when}");
        assert_eq!(outcome.unwrap_err().fault(), Fault::Keys);
        assert_eq!(code(&verifier.verify(&old.good(), at(when)).await), "ok", "known keys go on");
        assert_eq!(fetch.count(), 2, "one fetch in the window");
    }
    fetch.on(URL, &jwks(&[&old, &new]), Some(86_400));
    assert_eq!(code(&verifier.verify(&new.good(), at(31)).await), "ok");
    // The issuer has answered, so that a name nobody knows is one that is not there.
    for when in [31, 62, 63] {
        assert_eq!(
            code(&verifier.verify(&new.good_as("other"), at(when)).await),
            "token_no_key",
            "at {when}"
        );
    }
    assert_eq!(fetch.count(), 4);
}

#[tokio::test]
async fn warming_fetches_every_issuers_keys_and_reports_on_each() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), None);
    let down = countersign_verifier::TrustedIssuer::builder("https://down.example")
        .keys(KeySource::JwksUrl("https://down.example/jwks".into()))
        .algorithms([countersign_jose::Algorithm::RS256])
        .audiences(["a"]);
    let verifier = Verifier::builder()
        .trust(issuer(KeySource::JwksUrl(URL.into())).build().unwrap())
        .trust(down.build().unwrap())
        .fetch(fetch.clone())
        .build()
        .unwrap();
    assert_eq!(verifier.status(at(0)).iter().map(|s| s.keys).collect::<Vec<_>>(), [0, 0]);
    let status = verifier.warm(at(0)).await;
    assert_eq!((status[0].keys, status[0].fetched_at, &status[0].failure), (1, Some(at(0)), &None));
    assert_eq!((status[1].keys, &status[1].failure), (0, &Some(FetchError::Status(404))));
    assert_eq!(fetch.count(), 2);
}
