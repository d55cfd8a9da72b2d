//! From the line in the configuration to a store, and what is said when that cannot be.

use std::{path::Path, sync::Arc};

use countersign_store::{Engine, Expect, Key, Store, StoreError, StoreUrl, SystemClock};
use tempfile::tempdir;

async fn open(url: &str, base: &Path) -> Result<Arc<dyn Store>, StoreError> {
    countersign_store::open(url, base, Arc::new(SystemClock)).await
}

#[tokio::test]
async fn opens_memory_and_relative_and_absolute_files() {
    let dir = tempdir().unwrap();
    let absolute = dir.path().join("c.db").display().to_string();
    for (url, file) in [
        ("memory:", None),
        ("sqlite:a.db", Some("a.db")),
        ("SQLITE:b.db", Some("b.db")),
        (&format!("sqlite:{absolute}"), Some("c.db")),
        (&format!("sqlite://{absolute}"), Some("c.db")),
        ("sqlite:with space & ünïcode @ % # 'quotes'.db", Some("with space & ünïcode @ % # 'quotes'.db")),
        ("sqlite:file:d.db", Some("file:d.db")),
    ] {
        let store = open(url, dir.path()).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        let key = Key::parse("k").unwrap();
        let put = store.put(&key, b"x", Expect::Absent, None).await;
        assert!(put.is_ok() || file == Some("c.db"), "{url}: {put:?}");
        assert!(file.is_none_or(|file| dir.path().join(file).is_file()), "{url}");
    }
}

#[tokio::test]
async fn refuses_urls_that_cannot_be_right_and_says_what_to_write() {
    let dir = tempdir().unwrap();
    for (url, hint) in [
        ("", "known scheme"),
        ("store.db", "known scheme"),
        ("mysql://host/db", "`memory:`, `sqlite:`"),
        ("/var/lib/store.db", "`sqlite:countersign.db`"),
        ("memory:x", "nothing can follow"),
        ("sqlite:", "path is missing"),
        ("sqlite::memory:", "`memory:`"),
        ("sqlite://store.db", "sqlite:///ABSOLUTE/PATH"),
        ("sqlite:store.db?mode=ro", "without `?`"),
    ] {
        let error = open(url, dir.path()).await.unwrap_err();
        assert_eq!(error.code(), "store_misconfigured", "{url}: {error}");
        assert!(error.to_string().contains(hint), "{url}: {error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[cfg(not(feature = "dynamodb"))]
#[tokio::test]
async fn a_build_without_dynamodb_says_which_build_has_it() {
    let error = open("dynamodb://table", Path::new("/")).await.unwrap_err();
    assert_eq!(error.code(), "store_misconfigured");
    let text = error.to_string();
    assert!(
        text.contains("does not contain the dynamodb engine; it contains `memory:`, `sqlite:`"),
        "{text}"
    );
    assert!(text.ends_with("or build it with --features dynamodb"), "{text}");
}

#[cfg(not(feature = "mongodb"))]
#[tokio::test]
async fn a_build_without_mongodb_says_which_build_has_it() {
    let error = open("mongodb+srv://host/db", Path::new("/")).await.unwrap_err();
    assert_eq!(error.code(), "store_misconfigured");
    assert!(error.to_string().ends_with("or build it with --features mongodb"), "{error}");
}

#[cfg(not(feature = "postgres"))]
#[tokio::test]
async fn a_build_without_an_engine_says_which_build_has_it() {
    for url in ["postgres://host/db", "postgresql://host/db"] {
        let error = open(url, Path::new("/")).await.unwrap_err();
        assert_eq!(error.code(), "store_misconfigured");
        assert!(error.to_string().ends_with("or build it with --features postgres"), "{error}");
    }
}

#[cfg(not(feature = "s3"))]
#[tokio::test]
async fn a_build_without_s3_says_which_build_has_it() {
    let error = open("s3://bucket/prefix", Path::new("/")).await.unwrap_err();
    assert_eq!(error.code(), "store_misconfigured");
    assert!(error.to_string().ends_with("or build it with --features s3"), "{error}");
}

#[tokio::test]
async fn a_store_that_has_to_be_there_is_not_made() {
    let dir = tempdir().unwrap();
    let existing = async |url| countersign_store::open_existing(url, dir.path(), Arc::new(SystemClock)).await;
    for url in ["sqlite:a.db", "memory:"] {
        let error = existing(url).await.unwrap_err();
        assert_eq!(error.code(), "store_missing");
        assert!(error.to_string().contains("there is no such store"), "{error}");
    }
    let reopened = async |url| countersign_store::reopen(url, dir.path(), Arc::new(SystemClock)).await;
    for url in ["sqlite:a.db", "sqlite:empty.db"] {
        std::fs::write(dir.path().join("empty.db"), b"").unwrap();
        assert_eq!(reopened(url).await.unwrap_err().code(), "store_missing", "{url}");
        assert_eq!(std::fs::read(dir.path().join("empty.db")).unwrap(), b"", "it was left alone");
        std::fs::remove_file(dir.path().join("empty.db")).unwrap();
    }
    reopened("memory:").await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
    open("sqlite:a.db", dir.path()).await.unwrap();
    existing("sqlite:a.db").await.unwrap();
    reopened("sqlite:a.db").await.unwrap();
}

#[tokio::test]
async fn never_repeats_credentials_of_a_url() {
    let dir = tempdir().unwrap();
    for url in [
        "postgres://me:SECRET@127.0.0.1:1/db",
        "postgres://SECRET@127.0.0.1:1/db",
        "postgres://me:SEC/SECRET@127.0.0.1:1/db",
        "postgres://me:a?SECRET@127.0.0.1:1/db",
        "postgres://me:a#SECRET@127.0.0.1:1/db",
        "postgres://me:a@SECRET@127.0.0.1:1/db",
        "postgres://127.0.0.1:1/db?password=SECRET",
        "postgres://127.0.0.1:1/db?password=a@SECRET",
        "postgres://127.0.0.1:1/db#SECRET",
        "postgres:me:SECRET@127.0.0.1:1/db",
        "mongodb://me:SECRET@host1.invalid,host2.invalid/?authSource=SECRET",
        "mongodb://me:SECRET@127.0.0.1:1/db?authSource=SECRET&serverSelectionTimeoutMS=100",
        "s3://AKIA:SECRET@bucket/prefix",
        "s3://bucket/prefix?secret_access_key=SECRET",
        "dynamodb://table?secret=SECRET",
        "postgress://me:SECRET@127.0.0.1:1/db",
        "SECRET:SECRET",
        "SECRET",
        "memory:SECRET",
        "sqlite://me:SECRET@127.0.0.1:1/db",
    ] {
        let error = open(url, dir.path()).await.unwrap_err();
        let url = StoreUrl::parse(url);
        for text in [
            format!("{error} {error:?}"),
            format!("{url:?}"),
            url.map_or_else(|_| String::new(), |url| url.to_string()),
        ] {
            assert!(!text.contains("SECRET") && !text.contains("SEC/"), "{text}");
        }
    }
}

#[test]
fn a_url_shows_where_it_leads() {
    for (url, shown) in [
        ("memory:", "memory:"),
        ("sqlite:data/store.db", "sqlite:data/store.db"),
        ("postgres://me:pw@host:5432/db?sslmode=require", "postgres://***@host:5432/db?***"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
    ] {
        let url: StoreUrl = url.parse().unwrap();
        assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), format!("StoreUrl({shown})")));
    }
    assert_eq!(StoreUrl::parse("postgresql://host/db").unwrap().engine(), Engine::Postgres);
}
