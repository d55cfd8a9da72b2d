//! The SQLite engine keeps the contract of every store, also on one file that all cases share in
//! turn.
#![expect(clippy::unwrap_used, reason = "functions of this file that are no tests serve only tests")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use countersign_jose::Timestamp;
use countersign_store::{
    Expect, Key, ManualClock, SqliteConfig, SqliteStore, Store, StoreError, SystemClock, conformance,
};
use countersign_testbed::until;
use tempfile::tempdir;

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(SqliteConfig::new(path), Arc::new(SystemClock)).await
}

/// Looks into the file past the store.
async fn number(path: &Path, query: &'static str) -> i64 {
    use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_sqlite_engine_conforms() {
    let dir = tempdir().unwrap();
    let cases = AtomicU32::new(0);
    conformance::run(|clock| {
        let path = dir.path().join(format!("{}.db", cases.fetch_add(1, Ordering::Relaxed)));
        // Longer than anything takes on a busy machine.
        let config = SqliteConfig { busy_timeout: Duration::from_secs(60), ..SqliteConfig::new(path) };
        async move { Arc::new(SqliteStore::open(config, clock).await.unwrap()) as Arc<dyn Store> }
    })
    .await;
}

#[tokio::test]
async fn a_document_survives_reopening() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let key = Key::parse("keyring").unwrap();
    let version = open(&path).await.unwrap().put(&key, b"content", Expect::Absent, None).await.unwrap();
    let store = open(&path).await.unwrap();
    let document = store.get(&key).await.unwrap().unwrap();
    assert_eq!((document.bytes.as_slice(), &document.version), (&b"content"[..], &version));
    store.put(&key, b"next", Expect::Version(version), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_stores_on_one_file_are_one() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut stores = Vec::new();
    for _ in 0..5 {
        stores.push(Arc::new(open(&path).await.unwrap()) as Arc<dyn Store>);
    }
    conformance::run_shared(&stores).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_tasks_that_open_a_new_file_at_once_all_succeed_and_one_creates_the_document() {
    let dir = tempdir().unwrap();
    for round in 0..15 {
        let path = dir.path().join(format!("{round}.db"));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let path = path.clone();
            tasks.spawn(async move {
                let store = open(&path).await?;
                store.put(&Key::parse("k").unwrap(), b"x", Expect::Absent, None).await
            });
        }
        let outcomes = tasks.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}");
        assert!(
            lost.iter().all(|lost| matches!(lost, Err(StoreError::Conflict { .. }))),
            "{round}: {lost:?}"
        );
    }
}

#[tokio::test]
async fn sweeping_gives_the_space_of_long_expired_documents_back() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)));
    let store = SqliteStore::open(SqliteConfig::new(&path), clock.clone()).await.unwrap();
    let put = async |name: String, lifetime: Option<u64>| {
        use countersign_store::Clock;
        let expires_at = lifetime.map(|seconds| clock.now().plus(Duration::from_secs(seconds)));
        store.put(&Key::parse(&name).unwrap(), b"x", Expect::Absent, expires_at).await.unwrap();
    };
    for number in 0..100 {
        put(format!("short/{number}"), Some(60)).await;
    }
    clock.advance(Duration::from_secs(30 * 60));
    for number in 0..40 {
        put(format!("a/{number}"), None).await;
    }
    assert_eq!(number(&path, "SELECT count(*) FROM documents").await, 140, "expired, but not for long");
    clock.advance(Duration::from_secs(60 * 60));
    for number in 0..40 {
        put(format!("b/{number}"), None).await;
    }
    // A round runs when its put has been answered.
    let left = async || number(&path, "SELECT count(*) FROM documents").await;
    until("the sweep removes the long expired", async || left().await == 80).await;
}

#[tokio::test]
async fn the_file_is_in_wal_mode_so_that_readers_and_a_writer_do_not_block_each_other() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).await.unwrap();
    store.put(&Key::parse("k").unwrap(), b"x", Expect::Absent, None).await.unwrap();
    assert!(dir.path().join("store.db-wal").exists());
}

/// SQLite before 3.51.3 could damage a WAL database that two connections wrote and checkpointed at
/// the same moment (sqlite.org/wal.html, "The WAL-reset bug"). The driver would accept older ones.
#[tokio::test]
async fn the_compiled_in_sqlite_has_the_wal_reset_fix() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    open(&path).await.unwrap();
    let version: i64 = number(
        &path,
        "SELECT CAST(substr(v, 1, 1) AS INTEGER) * 1000000 + CAST(substr(v, 3, 2) AS INTEGER) * 1000 \
         + CAST(substr(v, 6) AS INTEGER) FROM (SELECT sqlite_version() AS v)",
    )
    .await;
    assert!(version >= 3_051_003, "{version}");
}
