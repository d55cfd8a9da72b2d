//! Families of refresh tokens, on the two engines that need no server. The others run the same
//! suite in the crate `store`.

use countersign_grants::refresh::conformance;
use countersign_store::{Clock, MemoryStore, SqliteConfig, SqliteStore, Store};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn families_keep_their_promises_in_memory() {
    let figures = conformance::run(1000, async |clock| {
        let store = Arc::new(MemoryStore::new(clock)) as Arc<dyn Store>;
        [Arc::clone(&store), store]
    })
    .await;
    assert!(figures.histories == 1000 && figures.uses > 10_000, "{figures:?}");
    println!("{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn families_keep_their_promises_on_sqlite() {
    let (folder, count) = (tempfile::tempdir().unwrap(), AtomicU32::new(0));
    let figures = conformance::run(100, async |clock: Arc<dyn Clock>| {
        let file = folder.path().join(format!("{}.db", count.fetch_add(1, Ordering::Relaxed)));
        let open = async || {
            let config = SqliteConfig::new(file.clone());
            Arc::new(SqliteStore::open(config, Arc::clone(&clock)).await.unwrap()) as Arc<dyn Store>
        };
        [open().await, open().await]
    })
    .await;
    assert!(figures.histories == 100 && figures.uses > 1500, "{figures:?}");
    println!("{figures:?}");
}
