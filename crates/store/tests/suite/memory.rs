//! The memory engine keeps the contract of every store.

use std::sync::Arc;

use countersign_store::{MemoryStore, Store, conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_engine_conforms() {
    conformance::run(async |clock| Arc::new(MemoryStore::new(clock)) as Arc<dyn Store>).await;
}
