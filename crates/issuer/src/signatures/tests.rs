//! Turns under contention, on one thread, where order and fairness are exact.

use super::*;
use std::sync::{Arc, Mutex};

fn turns(at_once: usize, waiting: usize) -> Arc<Turns> {
    Arc::new(Turns::new(SignatureLimits { at_once, waiting }))
}

#[test]
fn a_core_is_left_to_the_rest_where_there_are_several() {
    for (cores, at_once) in [(0, 1), (1, 1), (2, 1), (4, 3), (64, 63)] {
        assert_eq!(SignatureLimits::on_cores(cores, 9), SignatureLimits { at_once, waiting: 9 });
    }
}

#[tokio::test]
async fn between_any_two_signatures_on_one_core_what_is_ready_runs() {
    for algorithm in [Algorithm::RS256, Algorithm::PS512] {
        let (turns, log) = (turns(1, 1000), Arc::new(Mutex::new(Vec::new())));
        let signers = (0..300).map(|_| {
            let (turns, log) = (Arc::clone(&turns), Arc::clone(&log));
            tokio::spawn(async move {
                let _turn = turns.next(algorithm).await.unwrap();
                log.lock().unwrap().push("sign");
            })
        });
        let signers: Vec<_> = signers.collect();
        // A health check that arrives behind all of them.
        let log_of_health = Arc::clone(&log);
        let health = tokio::spawn(async move { log_of_health.lock().unwrap().push("health") });
        for task in signers {
            task.await.unwrap();
        }
        health.await.unwrap();
        let log = log.lock().unwrap();
        let before = log.iter().take_while(|entry| **entry == "sign").count();
        assert!(before <= 1, "{before} signatures came before it");
        assert_eq!(log.len(), 301);
    }
}

#[tokio::test]
async fn quick_signatures_let_others_run_now_and_then() {
    let (turns, log) = (turns(1, 1000), Arc::new(Mutex::new(Vec::new())));
    let signers = (0..300).map(|_| {
        let (turns, log) = (Arc::clone(&turns), Arc::clone(&log));
        tokio::spawn(async move {
            let _turn = turns.next(Algorithm::ES256).await.unwrap();
            log.lock().unwrap().push("sign");
        })
    });
    let signers: Vec<_> = signers.collect();
    let log_of_health = Arc::clone(&log);
    let health = tokio::spawn(async move { log_of_health.lock().unwrap().push("health") });
    for task in signers {
        task.await.unwrap();
    }
    health.await.unwrap();
    let before = log.lock().unwrap().iter().take_while(|entry| **entry == "sign").count();
    assert!(before <= 16, "{before} signatures came before it");
}

#[tokio::test]
async fn beyond_the_limit_nobody_waits_and_whoever_hangs_up_gives_the_place_back() {
    let turns = turns(1, 2);
    let held = turns.next(Algorithm::ES256).await.unwrap();
    let wait = || {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move { turns.next(Algorithm::ES256).await.is_ok() })
    };
    // At once: a task that would wait is not refused.
    let is_refused = async || {
        tokio::select! {
            biased;
            turn = turns.next(Algorithm::ES256) => turn.is_err(),
            () = tokio::task::yield_now() => false,
        }
    };
    let (first, second) = (wait(), wait());
    tokio::task::yield_now().await;
    assert!(is_refused().await, "two wait already");
    assert!(is_refused().await, "a refused one takes no place");
    second.abort();
    assert!(second.await.is_err());
    let third = wait();
    tokio::task::yield_now().await;
    assert!(is_refused().await, "two wait again");
    drop(held);
    assert!(first.await.unwrap() && third.await.unwrap());
    assert!(turns.next(Algorithm::ES256).await.is_ok());
    assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
}
