//! Connections over TLS: encrypted when asked for, and the server's name proven unless the URL
//! waives that.

use countersign_store::{StoreError, TlsMode};

use super::cluster::{self, Database, PASSWORD};

impl Database<'_> {
    fn by_name(&self, more: &str) -> String {
        self.url(more).replace("127.0.0.1", "localhost")
    }
}

async fn is_encrypted(database: &Database<'_>) -> bool {
    let query = format!(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE ssl AND application_name = 'countersign' AND datname = '{}'",
        database.name
    );
    database.number(&query).await > 0
}

fn refusal(outcome: Result<impl Sized, StoreError>) -> String {
    let error = outcome.err().expect("it must not connect");
    assert_eq!(error.code(), "store_misconfigured", "{error}");
    let text = error.to_string();
    assert!(text.contains("TLS") && !text.contains(PASSWORD) && !text.contains('\n'), "{text}");
    text
}

#[tokio::test]
async fn a_certificate_is_believed_if_its_authority_and_its_name_are_right() {
    let database = cluster::database().await;
    let root = database.cluster.folder().join("ca.pem").display().to_string();
    let store = cluster::open(&database.by_name(&format!("?sslrootcert={root}"))).await.unwrap();
    assert!(is_encrypted(&database).await);
    drop(store);
    let right = format!("?sslmode=verify-full&sslrootcert={root}");
    cluster::open(&database.by_name(&right)).await.unwrap();

    let other_name = refusal(cluster::open(&database.url(&right)).await);
    assert!(other_name.contains("not valid for name"), "{other_name}");
    let unknown_authority = refusal(cluster::open(&database.by_name("?sslmode=verify-full")).await);
    assert!(unknown_authority.contains("UnknownIssuer"), "{unknown_authority}");
}

#[tokio::test]
async fn require_encrypts_and_disable_does_not() {
    let database = cluster::database().await;
    let store = cluster::open(&database.url("?sslmode=require")).await.unwrap();
    assert!(is_encrypted(&database).await);
    drop(store);

    let database = cluster::database().await;
    let _store = cluster::open(&database.url("?sslmode=disable")).await.unwrap();
    assert!(!is_encrypted(&database).await);
    assert_eq!(cluster::config(&database.url("")).tls(), TlsMode::Off, "on loopback by itself");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_was_asked_for() {
    let cluster = cluster::Cluster::start();
    let database = cluster.database().await;
    database.run("ALTER SYSTEM SET ssl = off").await;
    database.run("SELECT pg_reload_conf()").await;
    let no_tls = loop {
        match cluster::open(&database.url("?sslmode=require")).await {
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            refused => break refusal(refused),
        }
    };
    assert!(no_tls.contains("does not support TLS"), "{no_tls}");
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_named() {
    let database = cluster::database().await;
    let key = database.cluster.folder().join("server.key").display().to_string();
    for (path, why) in [("/nowhere/ca.pem", "No such file"), (key.as_str(), "no certificate")] {
        let error = cluster::open(&database.by_name(&format!("?sslrootcert={path}"))).await.unwrap_err();
        assert_eq!(error.code(), "store_misconfigured");
        assert!(error.to_string().contains(path) && error.to_string().contains(why), "{error}");
    }
}
