//! Files that are not what they should be: each is refused with a decision, named, and left as it
//! is.
#![expect(clippy::unwrap_used, reason = "functions of this file that are no tests serve only tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use countersign_store::{
    Clock, Expect, Key, SqliteConfig, SqliteStore, Store, StoreError, SystemClock, conformance,
};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::{TempDir, tempdir};

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(SqliteConfig::new(path), Arc::new(SystemClock)).await
}

/// Runs statements past the store, making the file if need be.
async fn tamper(path: &Path, statements: &'static str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A store of 60 documents of 4,000 bytes, all in the main file.
async fn healthy() -> (TempDir, PathBuf) {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).await.unwrap();
    for number in 0..60 {
        let key = Key::parse(&format!("k/{number}")).unwrap();
        store.put(&key, &[b'x'; 4000], Expect::Absent, None).await.unwrap();
    }
    drop(store);
    tamper(&path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    (dir, path)
}

/// Opening fails with `code`, in one line that names the file and holds `hint`, and changes
/// nothing.
async fn is_refused(path: &Path, code: &str, hint: &str) {
    let before = fs::read(path).ok();
    let error = open(path).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.code(), code, "{text}");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(hint) && text.contains(name) && !text.contains('\n'), "{text}");
    assert_eq!(fs::read(path).ok(), before, "the file was touched");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    for content in [&b"x"[..], b"just some notes\n", &[0xa5; 4096], &[0; 100]] {
        fs::write(&path, content).unwrap();
        is_refused(&path, "store_corrupt", "not a database").await;
    }
}

#[tokio::test]
async fn a_truncated_file_is_corrupt() {
    let (_dir, path) = healthy().await;
    let whole = fs::read(&path).unwrap();
    for length in [1, 15, 16, 99, 100, 511, 512, 4095, 4096, 4097, whole.len() / 2, whole.len() - 4096] {
        fs::write(&path, &whole[..length]).unwrap();
        is_refused(&path, "store_corrupt", "damaged").await;
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(open(&path).await.unwrap().list("").await.unwrap().len(), 60, "the whole file was fine");
}

/// SQLite itself would start anew here and delete the log that holds the documents.
#[tokio::test]
async fn an_emptied_file_whose_log_still_holds_documents_is_corrupt() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).await.unwrap();
    // One that expires stays in the log until SQLite moves it.
    let later = SystemClock.now().plus(std::time::Duration::from_secs(3600));
    store.put(&Key::parse("k").unwrap(), b"x", Expect::Absent, Some(later)).await.unwrap();
    let log = fs::read(dir.path().join("store.db-wal")).unwrap();
    assert!(!log.is_empty());
    let copy = dir.path().join("copy.db");
    fs::write(&copy, b"").unwrap();
    fs::write(dir.path().join("copy.db-wal"), &log).unwrap();
    is_refused(&copy, "store_corrupt", "cut off").await;
    assert!(fs::read(dir.path().join("copy.db-wal")).unwrap() == log, "the log was touched");
}

#[tokio::test]
async fn a_damaged_page_is_corrupt_when_it_is_met_and_is_not_written_over() {
    let (_dir, path) = healthy().await;
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5); // all but the first page, which says what the tables are
    fs::write(&path, &bytes).unwrap();
    let store = open(&path).await.unwrap();
    let key = Key::parse("k/1").unwrap();
    let get = store.get(&key).await.unwrap_err();
    let put = store.put(&key, b"new", Expect::Absent, None).await.unwrap_err();
    let list = store.list("").await.unwrap_err();
    for error in [get, put, list] {
        assert_eq!(error.code(), "store_corrupt", "{error}");
        assert!(error.to_string().contains("store.db"), "{error}");
    }
    drop(store);
    assert!(fs::read(&path).unwrap() == bytes, "the file was touched");
}

#[tokio::test]
async fn a_database_without_its_table_is_corrupt() {
    let (_dir, path) = healthy().await;
    tamper(&path, "DROP TABLE documents").await;
    let error = open(&path).await.unwrap().get(&Key::parse("k").unwrap()).await.unwrap_err();
    assert_eq!(error.code(), "store_corrupt", "{error}");
}

#[tokio::test]
async fn a_row_that_this_program_cannot_have_written_is_corrupt() {
    let (_dir, path) = healthy().await;
    tamper(&path, "INSERT INTO documents VALUES ('../etc/passwd', 'v', x'00', NULL)").await;
    let error = open(&path).await.unwrap().list("").await.unwrap_err();
    assert_eq!(error.code(), "store_corrupt", "{error}");
    assert!(!error.to_string().contains("passwd"), "{error}");
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let (_dir, path) = healthy().await;
    tamper(&path, "PRAGMA user_version = 2; PRAGMA wal_checkpoint(TRUNCATE)").await;
    is_refused(&path, "store_misconfigured", "made by a newer version").await;
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_not_even_switched_to_wal() {
    let dir = tempdir().unwrap();
    for (name, statements) in [
        ("table.db", "CREATE TABLE documents (key TEXT)"),
        ("id.db", "PRAGMA application_id = 7; PRAGMA user_version = 1"),
        ("version.db", "PRAGMA user_version = 1"),
    ] {
        let path = dir.path().join(name);
        tamper(&path, statements).await;
        is_refused(&path, "store_misconfigured", "another program").await;
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_a_file_is_misconfigured() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    is_refused(&dir.path().join("absent/store.db"), "store_misconfigured", "folder does not exist").await;
    is_refused(&file.join("store.db"), "store_misconfigured", "correct the path").await;
    is_refused(&dir.path().join("n".repeat(300)), "store_misconfigured", "correct the path").await;
    assert_eq!(open(dir.path()).await.unwrap_err().code(), "store_misconfigured");
}

#[cfg(unix)]
#[tokio::test]
async fn devices_and_links_to_nothing_are_misconfigured() {
    let dir = tempdir().unwrap();
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(dir.path().join("gone.db"), &link).unwrap();
    is_refused(&link, "store_misconfigured", "symbolic link").await;
    assert!(!dir.path().join("gone.db").exists());
    assert_eq!(open(Path::new("/dev/null")).await.unwrap_err().code(), "store_misconfigured");
    open(&dir.path().join("real.db")).await.unwrap();
    let link = dir.path().join("good.db");
    std::os::unix::fs::symlink(dir.path().join("real.db"), &link).unwrap();
    open(&link).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_what_is_made() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).await.unwrap();
    store.put(&Key::parse("k").unwrap(), b"x", Expect::Absent, None).await.unwrap();
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_file_that_is_removed_or_replaced_while_in_use_is_noticed() {
    for replace in [false, true] {
        let (_dir, path) = healthy().await;
        let store = open(&path).await.unwrap();
        let key = Key::parse("k/1").unwrap();
        let version = store.get(&key).await.unwrap().unwrap().version;
        fs::rename(&path, path.with_extension("moved")).unwrap();
        if replace {
            fs::write(&path, b"").unwrap();
        }
        let attempts = [
            store.get(&key).await.map(|_| ()),
            store.put(&key, b"x", Expect::Version(version.clone()), None).await.map(|_| ()),
            store.delete(&key, &version).await,
            store.list("").await.map(|_| ()),
        ];
        for attempt in attempts {
            assert!(matches!(attempt, Err(StoreError::Unavailable { .. })), "{attempt:?}");
        }
        fs::rename(path.with_extension("moved"), &path).unwrap();
        assert_eq!(store.get(&key).await.unwrap().unwrap().version, version, "and goes on when it is back");
    }
}

/// One document in an open store, and where its file is.
async fn with_a_key() -> (TempDir, PathBuf, SqliteStore, Key) {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let (store, key) = (open(&path).await.unwrap(), Key::parse("keyring").unwrap());
    store.put(&key, b"keys", Expect::Absent, None).await.unwrap();
    (dir, path, store, key)
}

#[tokio::test]
async fn a_copy_of_the_file_alone_has_what_was_put_there_to_stay() {
    let (dir, path, store, key) = with_a_key().await;
    let copy = |name: &str| {
        let copy = dir.path().join(name);
        fs::copy(&path, &copy).unwrap();
        copy
    };
    let first = open(&copy("first.db")).await.unwrap();
    let found = first.get(&key).await.unwrap().unwrap();
    assert_eq!(found.bytes, b"keys");
    store.put(&key, b"new keys", Expect::Version(found.version), None).await.unwrap();
    let second = open(&copy("second.db")).await.unwrap();
    assert_eq!(second.get(&key).await.unwrap().unwrap().bytes, b"new keys");
}

#[tokio::test]
async fn who_reads_for_long_holds_up_no_put() {
    let (_dir, path, store, key) = with_a_key().await;
    let mut reader = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT * FROM documents").execute(&mut reader).await.unwrap();
    let version = store.get(&key).await.unwrap().unwrap().version;
    let version = store.put(&key, b"more keys", Expect::Version(version), None).await.unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    reader.close().await.unwrap();
    store.put(&key, b"most keys", Expect::Version(version), None).await.unwrap();
    let copy = path.with_extension("copy");
    fs::copy(&path, &copy).unwrap();
    assert_eq!(open(&copy).await.unwrap().get(&key).await.unwrap().unwrap().bytes, b"most keys");
}

/// How somebody puts a backup over the database at a path; the last one gives the paths of its
/// other files.
type Restore = fn(&Path, &Path, &dyn Fn(&str) -> PathBuf);

#[tokio::test]
async fn a_database_that_is_replaced_or_removed_under_a_running_store_is_noticed() {
    let beside = |path: &Path, end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let restores: [(&str, Restore); 6] = [
        ("removed", |path, _, _| fs::remove_file(path).unwrap()),
        ("renamed over", |path, backup, _| fs::rename(backup, path).unwrap()),
        ("removed with its log and copied", |path, backup, beside| {
            fs::remove_file(beside("-wal")).unwrap();
            fs::remove_file(beside("-shm")).unwrap();
            fs::copy(backup, path).unwrap();
        }),
        ("log removed", |_, _, beside| fs::remove_file(beside("-wal")).unwrap()),
        ("log replaced", |_, backup, beside| fs::rename(backup, beside("-wal")).unwrap()),
        ("removed and made anew", |path, _, beside| {
            fs::remove_file(path).unwrap();
            let _ = fs::remove_file(beside("-wal"));
            fs::write(path, b"").unwrap();
        }),
    ];
    for (what, restore) in restores {
        let (dir, path, store, key) = with_a_key().await;
        let backup = dir.path().join("backup.db");
        fs::copy(&path, &backup).unwrap();
        let version = store.get(&key).await.unwrap().unwrap().version;
        let version = store.put(&key, b"new", Expect::Version(version), None).await.unwrap();
        restore(&path, &backup, &|end| beside(&path, end));
        for error in [
            store.get(&key).await.unwrap_err(),
            store.put(&key, b"newer", Expect::Version(version.clone()), None).await.unwrap_err(),
            store.delete(&key, &version).await.unwrap_err(),
            store.list("").await.unwrap_err(),
        ] {
            assert_eq!(error.code(), "store_unavailable", "{what}: {error}");
            assert!(
                error.to_string().contains("was removed or replaced while it was in use; stop"),
                "{what}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn stores_that_come_and_go_are_no_replacement() {
    let (_dir, path, store, key) = with_a_key().await;
    for _ in 0..3 {
        let other = open(&path).await.unwrap();
        let version = other.get(&key).await.unwrap().unwrap().version;
        other.put(&key, b"by another", Expect::Version(version), None).await.unwrap();
        drop(other);
        tamper(&path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
        assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, b"by another");
    }
}

/// The column cannot be empty; somebody made another table of it.
#[tokio::test]
async fn a_document_without_content_is_corrupt() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = Arc::new(open(&path).await.unwrap());
    conformance::run_damaged(store, async |key| {
        assert_eq!(key.as_str(), "damaged");
        tamper(
            &path,
            "CREATE TABLE other (key TEXT NOT NULL PRIMARY KEY, version TEXT, bytes BLOB, expires_at INTEGER);
             INSERT INTO other SELECT key, version, CASE key WHEN 'damaged' THEN NULL ELSE bytes END, expires_at
                 FROM documents;
             DROP TABLE documents; ALTER TABLE other RENAME TO documents",
        )
        .await;
    })
    .await;
}

/// Nothing of an existing file changes, and none is made; a folder that may not be looked into is
/// not "not there".
#[tokio::test]
async fn opening_for_reading_writes_nothing() {
    let (dir, path) = healthy().await;
    let existing = async |path: &Path| {
        let url = format!("sqlite:{}", path.display());
        countersign_store::open_existing(&url, "/".as_ref(), Arc::new(SystemClock)).await
    };
    let before = fs::read(&path).unwrap();
    let store = existing(&path).await.unwrap();
    assert_eq!(store.list("").await.unwrap().len(), 60);
    drop(store);
    assert_eq!(fs::read(&path).unwrap(), before);

    let error = existing(&dir.path().join("none.db")).await.unwrap_err();
    assert_eq!(error.code(), "store_missing", "{error}");
    let error = existing(&path.join("below-a-file.db")).await.unwrap_err();
    assert_eq!(error.code(), "store_misconfigured", "{error}");
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| name.to_string_lossy().starts_with("store.db")), "nothing was made");
}
