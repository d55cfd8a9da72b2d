//! The MongoDB engine keeps the contract of every store, and what is its own about that.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use countersign_jose::Timestamp;
use countersign_store::{Clock, Expect, ManualClock, MongoStore, Store, StoreError, conformance};
use mongodb::bson::{DateTime, doc};

use super::{
    key,
    world::{self, Database},
};

fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_mongodb_engine_conforms() {
    let database = Database::new().await;
    let cases = AtomicU32::new(0);
    conformance::run(|clock| {
        let collection = format!("&collection=case_{}", cases.fetch_add(1, Ordering::Relaxed));
        let config = world::config(&database.url(&collection));
        async move { Arc::new(MongoStore::open(config, clock).await.unwrap()) as Arc<dyn Store> }
    })
    .await;
    assert!(cases.into_inner() > 20);
}

/// A server that stands alone: no numbers for retried writes, no linearizable reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms_on_a_server_that_nobody_here_wrote() {
    let database = Database::real().await;
    let cases = AtomicU32::new(0);
    conformance::run(|clock| {
        let collection = format!("&collection=case_{}", cases.fetch_add(1, Ordering::Relaxed));
        let config = world::config(&database.url(&collection));
        async move { Arc::new(MongoStore::open(config, clock).await.unwrap()) as Arc<dyn Store> }
    })
    .await;
    assert!(cases.into_inner() > 20);
}

#[tokio::test]
async fn a_server_that_stands_alone_is_sent_no_numbers_for_retried_writes() {
    let server = countersign_testbed::start_mongo(&["--standalone"]);
    let database = Database::on(server.port()).await;
    let store = database.open().await.unwrap();
    let version = store.put(&key("k"), b"1", Expect::Absent, None).await.unwrap();
    let version = store.put(&key("k"), b"2", Expect::Version(version), None).await.unwrap();
    store.get(&key("k")).await.unwrap();
    store.list("k").await.unwrap();
    store.delete(&key("k"), &version).await.unwrap();
    for (command, count) in [("createIndexes", 1), ("update", 2), ("find", 2), ("delete", 1)] {
        assert!(database.seen(command).await.len() >= count, "{command}");
    }
    for sent in database.all_seen().await {
        assert!(!sent.contains_key("txnNumber"), "{sent}");
    }
}

#[tokio::test]
async fn a_collection_that_goes_back_takes_no_key_from_a_server() {
    let database = Database::real().await;
    let count = AtomicU32::new(0);
    countersign_keyring::conformance::run(async || {
        let collection = format!("&collection=back_{}", count.fetch_add(1, Ordering::Relaxed));
        Arc::new(world::open(&database.url(&collection)).await.unwrap()) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn families_of_refresh_tokens_keep_their_promises() {
    let (database, count) = (Database::real().await, AtomicU32::new(0));
    let figures = countersign_grants::refresh::conformance::run(20, async |clock: Arc<dyn Clock>| {
        let collection = format!("&collection=refresh_{}", count.fetch_add(1, Ordering::Relaxed));
        let open = async || {
            let config = world::config(&database.url(&collection));
            Arc::new(MongoStore::open(config, Arc::clone(&clock)).await.unwrap()) as Arc<dyn Store>
        };
        [open().await, open().await]
    })
    .await;
    assert!(figures.histories == 20 && figures.uses > 500, "{figures:?}");
    println!("{figures:?}");
}

#[tokio::test]
async fn opens_by_url_and_finds_the_servers_of_a_replica_set_by_itself() {
    let database = Database::new().await;
    let clock: Arc<dyn Clock> = manual_clock();
    let mut version = None;
    for url in [
        database.url(""),
        database.url("").replace("mongodb:", "MONGODB:"),
        format!("mongodb://127.0.0.1:{}/{}?replicaSet=rs0", database.port, database.name),
        format!("mongodb://127.0.0.1:{}/{}", database.port, database.name),
    ] {
        let store = countersign_store::open(&url, "/".as_ref(), Arc::clone(&clock)).await.unwrap();
        let expect = version.take().map_or(Expect::Absent, Expect::Version);
        version = Some(store.put(&key("k"), b"content", expect, None).await.unwrap());
        assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"content");
    }
}

#[tokio::test]
async fn a_store_that_has_to_be_there_is_not_made() {
    let database = Database::new().await;
    let open = || async {
        countersign_store::open_existing(
            &database.url(""),
            "/".as_ref(),
            Arc::new(ManualClock::at(Timestamp::from_unix_seconds(0))),
        )
        .await
    };
    world::is(&open().await.unwrap_err(), "store_missing", "there is no store in its collection");
    assert_eq!(database.seen("createIndexes").await.len(), 0, "nothing was made");
    let store = database.open().await.unwrap();
    open().await.unwrap();
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    open().await.unwrap();
    assert_eq!(database.seen("createIndexes").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_stores_on_one_collection_are_one_and_two_collections_are_two() {
    let database = Database::real().await;
    let mut stores = Vec::new();
    for _ in 0..5 {
        stores.push(Arc::new(database.open().await.unwrap()) as Arc<dyn Store>);
    }
    conformance::run_shared(&stores).await;
    let staging = world::open(&database.url("&collection=staging")).await.unwrap();
    staging.put(&key("k"), b"staging", Expect::Absent, None).await.unwrap();
    assert_eq!(stores[0].get(&key("k")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_tasks_that_open_an_empty_database_at_once_all_succeed_and_one_creates_the_document() {
    let database = Database::real().await;
    for round in 0..4 {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let url = database.url(&format!("&collection=round_{round}"));
            tasks.spawn(async move {
                let store = world::open(&url).await?;
                store.put(&key("k"), b"x", Expect::Absent, None).await
            });
        }
        let (won, lost): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}: {lost:?}");
        let conflicts = lost.iter().all(|lost| matches!(lost, Err(StoreError::Conflict { .. })));
        assert!(conflicts, "{round}: {lost:?}");
    }
}

/// Documents are judged by the clock of the program alone; the server's removes them, an hour late.
#[tokio::test]
async fn the_servers_clock_does_not_count() {
    let database = Database::real().await;
    let clock = manual_clock();
    let store = MongoStore::open(world::config(&database.url("")), clock.clone()).await.unwrap();
    for start in [10, 4_000_000_000, 253_402_300_000] {
        clock.set(Timestamp::from_unix_seconds(start));
        let name = key(&format!("k/{start}"));
        let end = clock.now().plus(std::time::Duration::from_secs(5));
        store.put(&name, b"x", Expect::Absent, Some(end)).await.unwrap();
        clock.set(Timestamp::from_unix_seconds(start + 4));
        assert_eq!(store.get(&name).await.unwrap().unwrap().expires_at, Some(end), "{start}");
        assert_eq!(store.list("k/").await.unwrap(), std::slice::from_ref(&name), "{start}");
        clock.set(Timestamp::from_unix_seconds(start + 5));
        assert_eq!(store.get(&name).await.unwrap(), None, "{start}");
        assert_eq!(store.list("k/").await.unwrap(), [], "{start}");
    }
}

/// More than one batch of a cursor.
#[tokio::test]
async fn a_thousand_keys_are_listed_in_order() {
    let database = Database::real().await;
    let store = database.open().await.unwrap();
    let bytes =
        mongodb::bson::Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes: vec![1] };
    let names: Vec<String> = (0..1000).map(|number| format!("k/{number:04}")).collect();
    let all = names.iter().rev().map(|name| doc! { "_id": name, "version": "v", "bytes": bytes.clone() });
    database.documents().insert_many(all).await.unwrap();
    let past =
        doc! { "_id": "k/00000", "version": "v", "bytes": bytes, "expires_at": DateTime::from_millis(0) };
    database.documents().insert_one(past).await.unwrap();
    let listed: Vec<_> = store.list("k/").await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(listed, names);
}

#[tokio::test]
async fn what_something_else_wrote_is_reported_and_not_skipped_and_nothing_of_it_repeated() {
    let database = Database::real().await;
    let store = database.open().await.unwrap();
    let version = store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    for (name, change) in [
        ("version", doc! { "$set": { "version": 7 } }),
        ("version", doc! { "$unset": { "version": 1 } }),
        ("bytes", doc! { "$set": { "bytes": "SECRET" } }),
        ("bytes", doc! { "$unset": { "bytes": 1 } }),
        ("expires_at", doc! { "$set": { "expires_at": "SECRET" } }),
    ] {
        let k = key(&format!("bad/{name}"));
        let version = store.put(&k, b"x", Expect::Absent, None).await.unwrap();
        database.documents().update_one(doc! { "_id": k.as_str() }, change).await.unwrap();
        world::is(&store.get(&k).await.unwrap_err(), "store_corrupt", name);
        let _ = store.delete(&k, &version).await;
        database.documents().delete_one(doc! { "_id": k.as_str() }).await.unwrap();
    }
    for foreign in [doc! { "_id": "k/../SECRET" }, doc! { "_id": 7 }, doc! { "x": "SECRET" }] {
        database.documents().insert_one(&foreign).await.unwrap();
        world::is(&store.list("").await.unwrap_err(), "store_corrupt", "written by something else");
        let found = store.get(&key("k")).await.unwrap().unwrap();
        assert_eq!((found.bytes.as_slice(), &found.version), (&b"x"[..], &version), "the others can be read");
        database.documents().delete_many(doc! { "version": { "$exists": false } }).await.unwrap();
    }
}

#[tokio::test]
async fn a_document_without_content_is_corrupt() {
    let database = Database::real().await;
    let store = Arc::new(database.open().await.unwrap());
    conformance::run_damaged(store, async |key| {
        let without = doc! { "$unset": { "bytes": 1 } };
        database.documents().update_one(doc! { "_id": key.as_str() }, without).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn opening_for_reading_writes_nothing() {
    let database = Database::new().await;
    let store = database.open().await.unwrap();
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    // Nor where the index was lost: that is repaired by the next write.
    database.run(doc! { "dropIndexes": "countersign_documents", "index": "*" }).await;
    let writes = async || {
        let mut count = 0;
        for command in ["update", "insert", "delete", "create", "createIndexes", "findAndModify"] {
            count += database.seen(command).await.len();
        }
        count
    };
    let before = writes().await;
    let clock: Arc<dyn Clock> = manual_clock();
    let store = countersign_store::open_existing(&database.url(""), "/".as_ref(), clock).await.unwrap();
    assert_eq!(store.list("").await.unwrap(), [key("k")]);
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"x");
    assert_eq!(writes().await, before);
}
