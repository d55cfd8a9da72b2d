//! Throttling, servers that hang, that are away or are something else: an end within a bound, and a
//! reason.

use std::{sync::Arc, time::Duration};

use countersign_store::{DynamoDbStore, Expect, Store, StoreError};
use countersign_testbed::{Relay, free_port, ministack, until};

use super::{
    key,
    tables::{self, ATTEMPTS, FIRST_PAUSE, JSON, Pauses, count, refusal},
};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// Far more than any bound here, so that only a wait without one is caught.
const HANGS: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_is_throttled_is_asked_again_until_it_is_let_through() {
    let (_, store, relay) = tables::relayed(|_| {}).await;
    let k = key("k");
    for (times, code) in [(1, THROTTLED), (3, "RequestLimitExceeded"), (2, "ThrottlingException")] {
        let before = count(&relay, "PutItem");
        relay.answer(times, "400 Bad Request", JSON, &refusal(code));
        let version = store.put(&k, b"x", Expect::Absent, None).await.unwrap();
        assert_eq!(count(&relay, "PutItem") - before, times + 1, "{code}");
        relay.answer(times, "400 Bad Request", JSON, &refusal(code));
        assert_eq!(store.get(&k).await.unwrap().unwrap().version, version);
        relay.answer(times, "400 Bad Request", JSON, &refusal(code));
        assert_eq!(store.list("").await.unwrap(), std::slice::from_ref(&k));
        relay.answer(times, "500 Internal Server Error", JSON, &refusal("InternalServerError"));
        store.delete(&k, &version).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_throttled_for_ever_is_unavailable_and_says_so() {
    let (_, store, relay) = tables::relayed(|_| {}).await;
    relay.answer(usize::MAX, "400 Bad Request", JSON, &refusal(THROTTLED));
    let k = key("k");
    let put = store.put(&k, b"x", Expect::Absent, None).await.map(drop);
    let get = store.get(&k).await.map(drop);
    let list = store.list("").await.map(drop);
    for outcome in [put, get, list] {
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), "store_unavailable");
        assert!(
            error.to_string().contains("too many requests (ProvisionedThroughputExceededException)"),
            "{error}"
        );
    }
    assert_eq!(count(&relay, "PutItem"), ATTEMPTS);
    relay.pass();
    assert_eq!(store.get(&k).await, Ok(None), "and is used again when it lets through");
}

/// A global table with strong consistency refuses a write that meets another region's. Once the
/// other is done, its version decides.
#[tokio::test]
async fn a_write_that_meets_one_of_another_region_is_tried_again_and_judged_by_what_that_one_left() {
    const MET: &str = "ReplicatedWriteConflictException";
    let (table, store, relay) = tables::relayed(|_| {}).await;
    let k = key("k");
    relay.answer(2, "400 Bad Request", JSON, &refusal(MET));
    let first = store.put(&k, b"ours", Expect::Absent, None).await.unwrap();
    assert_eq!(count(&relay, "PutItem"), 3);

    let other = tables::open(&table).await;
    other.put(&k, b"theirs", Expect::Version(first.clone()), None).await.unwrap();
    relay.answer(1, "400 Bad Request", JSON, &refusal(MET));
    let late = store.put(&k, b"late", Expect::Version(first.clone()), None).await;
    assert_eq!(late, Err(StoreError::Conflict { key: k.clone() }));
    relay.answer(1, "400 Bad Request", JSON, &refusal(MET));
    assert_eq!(store.delete(&k, &first).await, Err(StoreError::Conflict { key: k.clone() }));

    relay.answer(usize::MAX, "400 Bad Request", JSON, &refusal(MET));
    let met = store.put(&key("new"), b"x", Expect::Absent, None).await.unwrap_err();
    assert_eq!(met.code(), "store_unavailable", "no conflict: nobody's version is there");
    assert!(met.to_string().contains("another region writes the same item"), "{met}");
    relay.pass();
    assert_eq!(store.get(&key("new")).await, Ok(None), "nothing was changed");
}

/// Each pause is random, up to a limit that doubles.
#[tokio::test]
async fn the_pauses_between_attempts_grow() {
    const ROUNDS: usize = 10;
    let pauses = Pauses::timed();
    let aws = pauses.clone().of(&tables::aws());
    let (_, store, relay) = tables::relayed(|config| config.aws = Some(aws)).await;
    relay.answer(usize::MAX, "400 Bad Request", JSON, &refusal(THROTTLED));
    for _ in 0..ROUNDS {
        store.get(&key("k")).await.unwrap_err();
    }
    let seen = pauses.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), ROUNDS * (ATTEMPTS - 1));
    let sum = |nth: usize| seen.iter().skip(nth).step_by(ATTEMPTS - 1).sum::<Duration>();
    assert!(sum(0) < sum(2) && sum(0) > Duration::ZERO, "{seen:?}");
    for (number, pause) in seen.iter().enumerate() {
        let limit = FIRST_PAUSE * 2_u32.pow(u32::try_from(number % (ATTEMPTS - 1)).unwrap());
        assert!(*pause <= limit, "{pause:?} after {limit:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_within_the_time_of_an_operation() {
    let (_, store, relay) = tables::relayed(|config| config.aws = Some(tables::impatient())).await;
    let k = key("k");
    let version = store.put(&k, b"x", Expect::Absent, None).await.unwrap();
    relay.freeze();
    let all = async {
        tokio::join!(
            async { store.put(&k, b"y", Expect::Version(version.clone()), None).await.map(drop) },
            async { store.get(&k).await.map(drop) },
            async { store.list("").await.map(drop) },
            async { store.delete(&k, &version).await },
            async {
                let mut config = tables::config("any-table", &relay.url());
                config.aws = Some(tables::impatient());
                DynamoDbStore::open(config, tables::clock()).await.map(drop)
            },
        )
    };
    let (put, get, list, delete, open) = tokio::time::timeout(HANGS, all).await.unwrap();
    for outcome in [put, get, list, delete, open] {
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), "store_unavailable");
        assert!(error.to_string().contains("did not answer in time"), "{error}");
    }
    relay.pass();
    assert_eq!(store.get(&k).await.unwrap().unwrap().bytes, b"x");
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_used_again_when_it_is_back() {
    let (table, store, relay) = tables::relayed(|_| {}).await;
    relay.refuse();
    let error = store.get(&key("k")).await.unwrap_err();
    assert_eq!(error.code(), "store_unavailable", "{error}");
    relay.pass();
    assert_eq!(store.get(&key("k")).await, Ok(None));
    let nobody = tables::config(&table, &format!("http://127.0.0.1:{}", free_port()));
    let error = DynamoDbStore::open(nobody, tables::clock()).await.unwrap_err();
    assert_eq!(error.code(), "store_unavailable");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn what_does_not_speak_as_dynamodb_does_is_named() {
    let relay = Relay::to_http(ministack().port()).await;
    for (status, body, is) in [
        ("404 Not Found", "<html>not here</html>", "store_misconfigured"),
        ("405 Method Not Allowed", "", "store_misconfigured"),
        ("403 Forbidden", "", "store_misconfigured"),
        ("501 Not Implemented", "", "store_misconfigured"),
        ("502 Bad Gateway", "<html>bad gateway</html>", "store_unavailable"),
        ("408 Request Timeout", "", "store_unavailable"),
        ("429 Too Many Requests", "", "store_unavailable"),
        ("200 OK", "<html>welcome</html>", "store_unavailable"),
    ] {
        relay.answer(usize::MAX, status, &[("content-type", "text/html")], body);
        let config = tables::config("any-table", &relay.url());
        let error = DynamoDbStore::open(config, tables::clock()).await.unwrap_err();
        assert_eq!(error.code(), is, "{error}");
        let (code, _) = status.split_once(' ').unwrap();
        let says = format!("(HTTP {code}) does not speak as DynamoDB does");
        assert!(error.to_string().contains(&says), "{status}: {error}");
        assert!(!error.to_string().contains("html"), "{error}");
    }
}

/// Not Amazon's, and without what the store needs: asking again would not help.
#[tokio::test]
async fn a_service_that_lacks_an_operation_is_misconfigured() {
    let (_, store, relay) = tables::relayed(|_| {}).await;
    for code in ["UnknownOperationException", "NotImplemented", "InvalidAction", "ValidationException"] {
        relay.answer(usize::MAX, "400 Bad Request", JSON, &refusal(code));
        let error = store.get(&key("k")).await.unwrap_err();
        assert_eq!(error.code(), "store_misconfigured", "{code}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_for_their_turn_and_not_for_ever() {
    let (_, store, relay) = tables::relayed(|config| {
        config.aws = Some(tables::impatient());
        config.in_flight = 1;
        config.turn_timeout = Duration::from_millis(100);
    })
    .await;
    relay.freeze();
    let before = count(&relay, "GetItem");
    let store = Arc::new(store);
    let first = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.get(&key("k")).await }
    });
    until("the first is sent", async || count(&relay, "GetItem") > before).await;
    let error = store.get(&key("k")).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable { reason, .. } if reason.contains("timed out waiting for other operations")),
        "{error}"
    );
    assert_eq!(first.await.unwrap().unwrap_err().code(), "store_unavailable");
    relay.pass();
    assert_eq!(store.get(&key("k")).await, Ok(None));
}
