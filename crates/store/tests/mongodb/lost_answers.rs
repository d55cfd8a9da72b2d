//! Commands that take effect and whose answers nobody gets.

use std::time::Duration;

use countersign_store::{Expect, Store, StoreError};
use mongodb::bson::doc;

use crate::{
    key,
    world::{self, Database},
};

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_sent_again_and_done_once() {
    let database = Database::new().await;
    let store = database.open().await.unwrap();
    let k = key("k");
    database.plan("update", doc! { "after": true }).await;
    let version = store.put(&k, b"1", Expect::Absent, None).await.unwrap();
    let twice = database.seen("update").await;
    assert_eq!(twice.len(), 2, "sent again");
    assert_eq!(twice[0].get("txnNumber"), twice[1].get("txnNumber"), "under the same number");
    database.plan("update", doc! { "after": true }).await;
    let version = store.put(&k, b"2", Expect::Version(version), None).await.unwrap();
    assert_eq!(store.get(&k).await.unwrap().unwrap().version, version);
    database.plan("delete", doc! { "after": true }).await;
    assert_eq!(store.delete(&k, &version).await, Ok(()));
    assert_eq!(store.get(&k).await.unwrap(), None);
}

/// A server, or something in between, that takes the second time for another write.
#[tokio::test]
async fn a_write_that_meets_itself_knows_its_own_version() {
    let database = Database::new().await;
    let store = database.open().await.unwrap();
    let k = key("k");
    database.plan("update", doc! { "after": true, "forget": true }).await;
    let version = store.put(&k, b"1", Expect::Absent, None).await.unwrap();
    database.plan("update", doc! { "after": true, "forget": true }).await;
    let version = store.put(&k, b"2", Expect::Version(version), None).await.unwrap();
    let found = store.get(&k).await.unwrap().unwrap();
    assert_eq!((found.bytes.as_slice(), &found.version), (&b"2"[..], &version));
    database.plan("delete", doc! { "after": true, "forget": true }).await;
    assert_eq!(store.delete(&k, &version).await, Ok(()));
    assert_eq!(database.seen("update").await.len(), 4);
}

#[tokio::test]
async fn a_write_whose_answers_are_all_lost_is_unavailable_and_can_not_be_done_twice() {
    let database = Database::new().await;
    for (more, times) in [("", 2), ("&retryWrites=false", 1)] {
        let store = world::open(&database.url(&format!("&collection=lost_{times}{more}"))).await.unwrap();
        let k = key("k");
        let lose = || database.plan("update", doc! { "after": true, "times": times });
        let first = store.put(&k, b"first", Expect::Absent, None).await.unwrap();
        lose().await;
        let lost = store.put(&k, b"second", Expect::Version(first.clone()), None).await.unwrap_err();
        world::is(&lost, "store_unavailable", "is not available");
        // Done or not: the same again finds that out and changes nothing.
        let again = store.put(&k, b"second", Expect::Version(first), None).await;
        assert_eq!(again, Err(StoreError::Conflict { key: k.clone() }));
        let found = store.get(&k).await.unwrap().unwrap();
        assert_eq!(found.bytes, b"second", "it was done");
        database.plan("delete", doc! { "after": true, "times": times }).await;
        world::is(&store.delete(&k, &found.version).await.unwrap_err(), "store_unavailable", "");
        assert_eq!(store.delete(&k, &found.version).await, Ok(()), "it was done, and can be asked for again");
        lose().await;
        world::is(&store.put(&k, b"new", Expect::Absent, None).await.unwrap_err(), "store_unavailable", "");
        assert_eq!(store.get(&k).await.unwrap().unwrap().bytes, b"new");
    }
}

#[tokio::test]
async fn reads_whose_answers_are_lost_are_asked_again() {
    let database = Database::new().await;
    let store = database.open().await.unwrap();
    store.put(&key("k"), b"1", Expect::Absent, None).await.unwrap();
    database.plan("find", doc! {}).await;
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"1");
}

/// Whoever stops waiting leaves nothing behind that the next one could take for an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_that_are_dropped_half_way_do_not_mix_up_answers() {
    let database = Database::new().await;
    let store = database.open().await.unwrap();
    for number in 0..20_u8 {
        store.put(&key(&format!("k/{number}")), &vec![number; 100_000], Expect::Absent, None).await.unwrap();
    }
    for round in 0..200_u64 {
        let number = u8::try_from(round % 20).unwrap();
        let name = key(&format!("k/{number}"));
        if let Ok(found) = tokio::time::timeout(Duration::from_micros(round * 20), store.get(&name)).await {
            assert!(found.unwrap().unwrap().bytes == vec![number; 100_000], "round {round}");
        }
    }
    assert_eq!(store.get(&key("k/7")).await.unwrap().unwrap().bytes[0], 7);
}
