//! The Postgres engine keeps the contract of every store, and what is its own about that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use countersign_jose::Timestamp;
use countersign_store::{Clock, Expect, ManualClock, PostgresStore, Store, StoreError, conformance};
use countersign_testbed::until;
use sqlx::Connection;

use super::{cluster, key};

fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_postgres_engine_conforms() {
    let database = cluster::database().await;
    let cases = AtomicU32::new(0);
    conformance::run(|clock| {
        let schema = format!("?schema=case_{}", cases.fetch_add(1, Ordering::Relaxed));
        let config = cluster::config(&database.url(&schema));
        async move { Arc::new(PostgresStore::open(config, clock).await.unwrap()) as Arc<dyn Store> }
    })
    .await;
    assert!(cases.into_inner() > 20);
}

#[tokio::test]
async fn a_database_that_goes_back_takes_no_key_from_a_server() {
    let database = cluster::database().await;
    let count = AtomicU32::new(0);
    countersign_keyring::conformance::run(async || {
        let url = database.url(&format!("?schema=back_{}", count.fetch_add(1, Ordering::Relaxed)));
        Arc::new(cluster::open(&url).await.unwrap()) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn families_of_refresh_tokens_keep_their_promises() {
    let (database, count) = (cluster::database().await, AtomicU32::new(0));
    let figures = countersign_grants::refresh::conformance::run(20, async |clock: Arc<dyn Clock>| {
        let schema = format!("?schema=refresh_{}", count.fetch_add(1, Ordering::Relaxed));
        let open = async || {
            let config = cluster::config(&database.url(&schema));
            Arc::new(PostgresStore::open(config, Arc::clone(&clock)).await.unwrap()) as Arc<dyn Store>
        };
        [open().await, open().await]
    })
    .await;
    assert!(figures.histories == 20 && figures.uses > 500, "{figures:?}");
    println!("{figures:?}");
}

#[tokio::test]
async fn opens_by_url_over_the_network_and_over_the_socket() {
    let database = cluster::database().await;
    let clock: Arc<dyn Clock> = manual_clock();
    let (port, name) = (database.cluster.port(), &database.name);
    let folder = database.cluster.folder().display();
    let mut version = None;
    for url in [
        database.url(""),
        database.url("").replace("postgres:", "POSTGRESQL:"),
        format!("postgres://tester@:{port}/{name}?host={folder}"),
    ] {
        let store = countersign_store::open(&url, "/".as_ref(), Arc::clone(&clock)).await.unwrap();
        let expect = version.take().map_or(Expect::Absent, Expect::Version);
        version = Some(store.put(&key("k"), b"content", expect, None).await.unwrap());
        assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"content");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_stores_on_one_database_are_one() {
    let database = cluster::database().await;
    let mut stores = Vec::new();
    for _ in 0..5 {
        stores.push(Arc::new(database.open().await.unwrap()) as Arc<dyn Store>);
    }
    conformance::run_shared(&stores).await;
}

#[tokio::test]
async fn two_schemas_of_one_database_are_two_stores() {
    let database = cluster::database().await;
    let one = database.open().await.unwrap();
    let other = cluster::open(&database.url("?schema=staging")).await.unwrap();
    one.put(&key("k"), b"1", Expect::Absent, None).await.unwrap();
    assert_eq!(other.get(&key("k")).await.unwrap(), None);
    other.put(&key("k"), b"2", Expect::Absent, None).await.unwrap();
    assert_eq!(one.get(&key("k")).await.unwrap().unwrap().bytes, b"1");
    assert_eq!(database.number("SELECT count(*) FROM countersign.documents").await, 1);
    assert_eq!(database.number("SELECT count(*) FROM staging.documents").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_tasks_that_open_an_empty_database_at_once_all_succeed_and_one_creates_the_document() {
    let database = cluster::database().await;
    for round in 0..6 {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let url = database.url(&format!("?schema=round_{round}"));
            tasks.spawn(async move {
                let store = cluster::open(&url).await?;
                store.put(&key("k"), b"x", Expect::Absent, None).await
            });
        }
        let (won, lost): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}: {lost:?}");
        let conflicts = lost.iter().all(|lost| matches!(lost, Err(StoreError::Conflict { .. })));
        assert!(conflicts, "{round}: {lost:?}");
    }
}

#[tokio::test]
async fn sweeping_gives_the_space_of_long_expired_documents_back() {
    let database = cluster::database().await;
    let clock = manual_clock();
    let store = PostgresStore::open(cluster::config(&database.url("")), clock.clone()).await.unwrap();
    let put = async |name: String, lifetime: Option<u64>| {
        let expires_at = lifetime.map(|seconds| clock.now().plus(Duration::from_secs(seconds)));
        store.put(&key(&name), b"x", Expect::Absent, expires_at).await.unwrap();
    };
    let count = async || database.number("SELECT count(*) FROM countersign.documents").await;
    for number in 0..100 {
        put(format!("short/{number}"), Some(60)).await;
    }
    clock.advance(Duration::from_secs(30 * 60));
    for number in 0..40 {
        put(format!("a/{number}"), None).await;
    }
    assert_eq!(count().await, 140, "expired, but not for long");
    clock.advance(Duration::from_secs(60 * 60));
    for number in 0..40 {
        put(format!("b/{number}"), None).await;
    }
    // A round runs when its put has been answered.
    until("the sweep removes the long expired", async || count().await == 80).await;
}

/// The sweep finds a document expired and then waits for the one who is just replacing it. The put
/// that set it off does not wait with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeping_delays_no_put_and_spares_a_document_that_takes_an_expired_ones_place() {
    let database = cluster::database().await;
    let clock = manual_clock();
    let store = PostgresStore::open(cluster::config(&database.url("")), clock.clone()).await.unwrap();
    store.put(&key("old"), b"old", Expect::Absent, Some(clock.now())).await.unwrap();
    clock.advance(Duration::from_secs(2 * 60 * 60));
    for number in 0..14 {
        store.put(&key(&format!("a/{number}")), b"x", Expect::Absent, None).await.unwrap();
    }
    let mut other = database.connection().await;
    let mut replacing = other.begin().await.unwrap();
    let replace =
        "UPDATE countersign.documents SET bytes = 'new', version = 'v', expires_at = NULL WHERE key = 'old'";
    sqlx::raw_sql(replace).execute(&mut *replacing).await.unwrap();
    store.put(&key("a/15"), b"x", Expect::Absent, None).await.unwrap();
    let sweeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND state = 'active' AND query LIKE 'DELETE FROM documents WHERE expires_at%'";
    let waiting = format!("{sweeping} AND wait_event_type = 'Lock'");
    until("the sweep waits for the row", async || database.number(&waiting).await == 1).await;
    replacing.commit().await.unwrap();
    until("the sweep ends", async || database.number(sweeping).await == 0).await;
    assert_eq!(store.get(&key("old")).await.unwrap().unwrap().bytes, b"new");
}

/// A foreign hand can put into a text column what no [`countersign_store::Key`] is.
#[tokio::test]
async fn a_key_that_is_none_is_reported_and_not_skipped() {
    let database = cluster::database().await;
    let store = database.open().await.unwrap();
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    database.run("INSERT INTO countersign.documents VALUES ('k/../SECRET', 'v', 'x', NULL)").await;
    let error = store.list("").await.unwrap_err();
    assert_eq!(error.code(), "store_corrupt");
    assert!(!error.to_string().contains("SECRET"), "{error}");
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"x", "the others can be read");
}

/// Documents are judged by the clock of the program alone, as on SQLite: the server's plays no
/// part.
#[tokio::test]
async fn the_servers_clock_does_not_count() {
    let database = cluster::database().await;
    let clock = manual_clock();
    let store = PostgresStore::open(cluster::config(&database.url("")), clock.clone()).await.unwrap();
    for start in [10, 4_000_000_000, 253_402_300_000] {
        clock.set(Timestamp::from_unix_seconds(start));
        let name = key(&format!("k/{start}"));
        let end = clock.now().plus(Duration::from_secs(5));
        store.put(&name, b"x", Expect::Absent, Some(end)).await.unwrap();
        clock.advance(Duration::from_secs(4));
        assert_eq!(store.get(&name).await.unwrap().unwrap().expires_at, Some(end), "{start}");
        clock.advance(Duration::from_secs(1));
        assert_eq!(store.get(&name).await.unwrap(), None, "{start}");
    }
}

#[tokio::test]
async fn a_store_keeps_to_its_number_of_connections_and_uses_them_again() {
    let database = cluster::database().await;
    let store = Arc::new(database.open().await.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..60 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.put(&key(&format!("k/{number}")), b"x", Expect::Absent, None).await });
    }
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'countersign' AND datname = ";
    let open = database.number(&format!("{open}'{}'", database.name)).await;
    assert!((1..=4).contains(&open), "{open}");
}

/// The column cannot be empty; somebody changed the table.
#[tokio::test]
async fn a_document_without_content_is_corrupt() {
    let database = cluster::database().await;
    let store = Arc::new(database.open().await.unwrap());
    conformance::run_damaged(store, async |key| {
        let table = "countersign.documents";
        database
            .run(&format!(
                "ALTER TABLE {table} ALTER bytes DROP NOT NULL; UPDATE {table} SET bytes = NULL WHERE key = '{key}'"
            ))
            .await;
    })
    .await;
}

/// The database refuses every write to anyone who does not ask for the right.
#[tokio::test]
async fn opening_for_reading_writes_nothing() {
    let database = cluster::database().await;
    let store = database.open().await.unwrap();
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    drop(store);
    database.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name)).await;
    let clock: Arc<dyn Clock> = manual_clock();
    let store = countersign_store::open_existing(&database.url(""), "/".as_ref(), clock).await.unwrap();
    assert_eq!(store.list("").await.unwrap(), [key("k")]);
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"x");
}
