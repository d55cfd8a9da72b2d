//! A database of a test's own, what a test may do to it past the store, and what it may want to
//! happen.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use countersign_store::{MongoConfig, MongoStore, StoreError, StoreUrl, SystemClock};
use mongodb::{
    Client, Collection,
    bson::{Document, doc},
};

pub(crate) struct Database {
    pub(crate) port: u16,
    pub(crate) name: String,
    client: Client,
}

impl Database {
    /// A new database on the stand-in, which is the primary of a replica set and does what a test
    /// wants.
    pub(crate) async fn new() -> Self {
        Self::on(countersign_testbed::mongo().port()).await
    }

    /// A new database on a server that nobody here wrote; on the stand-in where there is no Java.
    pub(crate) async fn real() -> Self {
        Self::on(countersign_testbed::mongo_java().unwrap_or_else(|| countersign_testbed::mongo().port()))
            .await
    }

    /// One on another server.
    pub(crate) async fn on(port: u16) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // A server that outlives this process has databases of others.
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let url = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
        Self { port, name, client: Client::with_uri_str(url).await.unwrap() }
    }

    /// Its URL, with more options behind it.
    pub(crate) fn url(&self, more: &str) -> String {
        self.url_at(self.port, more)
    }

    /// The same behind another port.
    pub(crate) fn url_at(&self, port: u16, more: &str) -> String {
        format!("mongodb://127.0.0.1:{port}/{}?directConnection=true{more}", self.name)
    }

    pub(crate) async fn open(&self) -> Result<MongoStore, StoreError> {
        open(&self.url("")).await
    }

    /// A collection past the store.
    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.client.database(&self.name).collection(name)
    }

    /// The documents of the store past it.
    pub(crate) fn documents(&self) -> Collection<Document> {
        self.collection("countersign_documents")
    }

    pub(crate) async fn run(&self, command: Document) {
        self.client.database(&self.name).run_command(command).await.unwrap();
    }

    /// See the stand-in's `countersignTest`.
    pub(crate) async fn plan(&self, command: &str, more: Document) {
        let mut plan = doc! { "countersignTest": 1, "command": command, "db": &self.name };
        plan.extend(more);
        self.client.database("admin").run_command(plan).await.unwrap();
    }

    /// Lets the commands go on that a plan holds.
    pub(crate) async fn release(&self) {
        let go_on = doc! { "countersignTest": 1, "db": &self.name, "release": true };
        self.client.database("admin").run_command(go_on).await.unwrap();
    }

    /// The commands of one name that came here so far.
    pub(crate) async fn seen(&self, command: &str) -> Vec<Document> {
        let all = self.all_seen().await.into_iter();
        all.filter(|one| one.keys().next().unwrap() == command).collect()
    }

    /// All commands that came here so far, in order.
    pub(crate) async fn all_seen(&self) -> Vec<Document> {
        let question = doc! { "countersignTest": 1, "db": &self.name, "seen": true };
        let answer = self.client.database("admin").run_command(question).await.unwrap();
        answer.get_array("seen").unwrap().iter().map(|one| one.as_document().unwrap().clone()).collect()
    }
}

/// The configuration of a URL, with more patience than usual: than anything takes on a busy
/// machine.
pub(crate) fn config(url: &str) -> MongoConfig {
    let mut url = url.to_owned();
    for patience in ["serverSelectionTimeoutMS", "connectTimeoutMS"] {
        if !url.contains(patience) {
            let sign = if url.contains('?') { '&' } else { '?' };
            url = format!("{url}{sign}{patience}=60000");
        }
    }
    let mut config = MongoConfig::parse(&StoreUrl::parse(&url).unwrap(), Path::new("/")).unwrap();
    config.operation_timeout = Duration::from_secs(120);
    config
}

pub(crate) async fn open(url: &str) -> Result<MongoStore, StoreError> {
    MongoStore::open(config(url), Arc::new(SystemClock)).await
}

/// Demands a code and a hint of an error, and that nothing is repeated that may be secret.
pub(crate) fn is(error: &StoreError, code: &str, hint: &str) {
    let text = error.to_string();
    assert_eq!(error.code(), code, "{text}");
    assert!(text.contains(hint), "{text}");
    assert!(!text.contains("SECRET") && !text.contains('\n'), "{text}");
}
