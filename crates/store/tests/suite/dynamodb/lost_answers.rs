//! Answers that get lost: what was done is known as one's own, and what cannot be known is said.

use std::sync::Arc;

use countersign_store::{Expect, Store, StoreError};
use countersign_testbed::Relay;

use super::{
    key,
    tables::{self, ATTEMPTS, JSON, Pauses, count, refusal},
};

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_sent_again_and_known_as_ones_own() {
    let (table, store, relay) = tables::relayed(|_| {}).await;
    let k = key("k");
    relay.lose_answers(1);
    let first = store.put(&k, b"first", Expect::Absent, None).await.unwrap();
    assert_eq!(count(&relay, "PutItem"), 2, "the second was refused: the first had taken effect");
    let other = tables::open(&table).await;
    assert_eq!(other.get(&k).await.unwrap().unwrap().version, first);

    relay.lose_answers(2);
    let second = store.put(&k, b"second", Expect::Version(first), None).await.unwrap();
    assert_eq!(other.get(&k).await.unwrap().unwrap().version, second);
    assert_eq!(count(&relay, "PutItem"), 5);

    relay.lose_answers(1);
    store.delete(&k, &second).await.unwrap();
    assert_eq!(count(&relay, "DeleteItem"), 2);
    assert_eq!(other.get(&k).await.unwrap(), None);
}

/// A server in front may not hand back what it found; then it is read.
#[tokio::test]
async fn it_is_known_too_where_the_refusal_does_not_say_what_is_there() {
    let (table, store, relay) = tables::relayed(|_| {}).await;
    let k = key("k");
    relay.answer(1, "400 Bad Request", JSON, &refusal("ConditionalCheckFailedException"));
    let refused = store.put(&k, b"x", Expect::Absent, None).await;
    assert_eq!(refused, Err(StoreError::Conflict { key: k.clone() }));
    let version = tables::open(&table).await.put(&k, b"x", Expect::Absent, None).await.unwrap();
    relay.answer(1, "400 Bad Request", JSON, &refusal("ConditionalCheckFailedException"));
    let refused = store.delete(&k, &version).await;
    assert_eq!(refused, Err(StoreError::Conflict { key: k.clone() }), "a live document is there");
}

#[tokio::test]
async fn a_write_that_is_never_answered_is_unavailable_and_cannot_be_done_twice() {
    let (_, store, relay) = tables::relayed(|_| {}).await;
    let k = key("k");
    relay.lose_answers(ATTEMPTS);
    let lost = store.put(&k, b"first", Expect::Absent, None).await.unwrap_err();
    assert_eq!(lost.code(), "store_unavailable", "{lost}");
    assert_eq!(count(&relay, "PutItem"), ATTEMPTS);
    let again = store.put(&k, b"first", Expect::Absent, None).await;
    assert_eq!(again, Err(StoreError::Conflict { key: k.clone() }));
    let found = store.get(&k).await.unwrap().unwrap();
    assert_eq!(found.bytes, b"first", "it was done");

    relay.lose_answers(ATTEMPTS);
    assert_eq!(store.delete(&k, &found.version).await.unwrap_err().code(), "store_unavailable");
    assert_eq!(store.get(&k).await.unwrap(), None, "it was done");
    assert_eq!(store.delete(&k, &found.version).await, Ok(()), "and can be asked for again");
}

/// To report a conflict here would say that nothing was changed; a counter would count twice. An
/// answer that was cut off is as good as none, though it began with a 200.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_write_that_another_has_built_on_is_unknown_and_no_conflict() {
    for lose in [Relay::lose_answers, Relay::cut_answers] {
        let pauses = Pauses::held();
        let aws = pauses.clone().of(&tables::aws());
        let (table, store, relay) = tables::relayed(|config| config.aws = Some(aws)).await;
        let (store, other, k) = (Arc::new(store), tables::open(&table).await, key("k"));
        lose(&relay, 1);
        let putting = tokio::spawn({
            let (store, k) = (Arc::clone(&store), k.clone());
            async move { store.put(&k, b"1", Expect::Absent, None).await }
        });
        pauses.until_one_began().await;
        let found = other.get(&k).await.unwrap().unwrap();
        let next = other.put(&k, b"2", Expect::Version(found.version), None).await.unwrap();
        pauses.let_pass();
        let error = putting.await.unwrap().unwrap_err();
        assert_eq!(error.code(), "store_unavailable");
        assert!(error.to_string().contains("the answer to a write was lost"), "{error}");

        pauses.seen.lock().unwrap().clear();
        lose(&relay, 1);
        let deleting = tokio::spawn({
            let (store, k) = (Arc::clone(&store), k.clone());
            async move { store.delete(&k, &next).await }
        });
        pauses.until_one_began().await;
        other.put(&k, b"3", Expect::Absent, None).await.unwrap();
        pauses.let_pass();
        assert_eq!(deleting.await.unwrap().unwrap_err().code(), "store_unavailable");
        assert_eq!(other.get(&k).await.unwrap().unwrap().bytes, b"3", "what came after is spared");
    }
}

/// What was throttled did not take effect.
#[tokio::test]
async fn a_conflict_after_throttling_is_a_conflict() {
    let (table, store, relay) = tables::relayed(|_| {}).await;
    let k = key("k");
    let version = tables::open(&table).await.put(&k, b"x", Expect::Absent, None).await.unwrap();
    let other = tables::open(&table).await.put(&key("other"), b"x", Expect::Absent, None).await.unwrap();
    for expect in [Expect::Absent, Expect::Version(other.clone())] {
        relay.answer(2, "400 Bad Request", JSON, &refusal("ProvisionedThroughputExceededException"));
        let refused = store.put(&k, b"y", expect, None).await;
        assert_eq!(refused, Err(StoreError::Conflict { key: k.clone() }));
    }
    relay.answer(1, "400 Bad Request", JSON, &refusal("ThrottlingException"));
    assert_eq!(store.delete(&k, &other).await, Err(StoreError::Conflict { key: k.clone() }));
    assert_eq!(store.get(&k).await.unwrap().unwrap().version, version);
}
