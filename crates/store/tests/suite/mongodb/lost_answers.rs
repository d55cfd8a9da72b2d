//! Commands that take effect and whose answers nobody gets.

use std::{sync::Arc, time::Duration};

use countersign_store::{Expect, MongoStore, Store, StoreError};
use mongodb::bson::doc;
use tokio::task::JoinSet;

use super::{
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
async fn a_write_whose_answers_are_all_lost_is_unavailable_and_cannot_be_done_twice() {
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

/// Four operations have all connections, others wait and hang up: the driver's pool would offer
/// each connection that becomes free to them first, one every half second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_hang_up_while_all_connections_are_busy_block_nobody() {
    for crowd in [0, 8, 16, 28, 200] {
        let database = Database::new().await;
        // In all forty seconds: far more than an answer takes on a busy machine, and far less than
        // two hundred turns of half a second.
        let mut config = world::config(&database.url("&serverSelectionTimeoutMS=5000"));
        config.operation_timeout = Duration::from_secs(35);
        let clock = Arc::new(countersign_store::SystemClock);
        let store = Arc::new(MongoStore::open(config, clock).await.unwrap());
        store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
        let before = database.seen("find").await.len();
        database.plan("find", doc! { "hold": true, "times": 4 }).await;
        let get = |store: &Arc<MongoStore>| {
            let store = Arc::clone(store);
            async move { store.get(&key("k")).await }
        };
        let mut busy = JoinSet::new();
        for _ in 0..4 {
            busy.spawn(get(&store));
        }
        while database.seen("find").await.len() < before + 4 {
            tokio::task::yield_now().await;
        }
        let mut waiting = JoinSet::new();
        for _ in 0..crowd {
            waiting.spawn(tokio::time::timeout(Duration::from_millis(20), get(&store)));
        }
        assert!(waiting.join_all().await.iter().all(Result::is_err), "all of {crowd} hang up");

        let next = tokio::spawn(get(&store));
        database.release().await;
        assert_eq!(next.await.unwrap().unwrap().unwrap().bytes, b"x", "after {crowd} that hung up");
        for outcome in busy.join_all().await {
            outcome.unwrap().unwrap();
        }
    }
}

/// A caller that stops waiting leaves nothing behind that the next one could take for an answer.
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
