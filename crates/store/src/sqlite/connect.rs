//! From a path to connections: makes the file, waits for other processes that are opening it,
//! checks what is inside.
//!
//! A file is only ever created or left alone: nothing here truncates, renames or removes one. This
//! code never opens an existing file itself, because closing any descriptor of a file drops all
//! POSIX locks this process has on it, including SQLite's (sqlite.org, "How To Corrupt An SQLite
//! Database File", 2.2).

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

use super::{error, schema};
use crate::{Missing, StoreError};

/// Reading is quick and rare (keys are cached above); each connection is a thread and its page
/// cache.
pub(super) const READERS: u8 = 3;
/// What a connection may cache, in KiB (SQLite's own default is 2,000).
const PAGE_CACHE_KIB: &str = "-512";
/// Pause between two attempts to open a file that others are opening too.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// The writing and the reading pool for the file at `path`, which is ready for use then.
pub(super) async fn connect(
    path: &Path,
    busy_timeout: Duration,
    missing: Missing,
) -> Result<(SqlitePool, SqlitePool), StoreError> {
    prepare_file(path, missing)?;
    let options = options(path, busy_timeout);
    // Many processes that open an empty file at the same moment are in each other's way, and where
    // waiting could deadlock SQLite says so at once instead of waiting. All come through by trying
    // again.
    let patience = busy_timeout * 2;
    let prepared = tokio::time::timeout(patience, async {
        loop {
            match prepare_database(path, &options).await {
                Err(schema::Problem::Engine(problem)) if error::is_busy(&problem) => {
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                Err(schema::Problem::Engine(problem)) => return Err(error::while_opening(path, &problem)),
                Err(schema::Problem::Refused(refusal)) => return Err(refusal),
                Ok(()) => return Ok(()),
            }
        }
    });
    prepared.await.map_err(|_| error::locked(path))??;

    let pool = SqlitePoolOptions::new()
        .min_connections(0)
        .max_lifetime(None)
        .acquire_timeout(patience)
        .test_before_acquire(false); // there is no network in between that could have gone away
    let writer = pool.clone().max_connections(1).idle_timeout(None).connect_lazy_with(options.clone());
    let readers =
        pool.max_connections(READERS.into()).idle_timeout(Duration::from_secs(60)).connect_lazy_with(options);
    let opened = tokio::time::timeout(patience, stay_open(path, &writer)).await;
    opened.map_err(|_| error::locked(path))??;
    Ok((writer, readers))
}

/// Opens the connection of a pool that never closes it. As long as it is open, nobody else who
/// closes theirs removes the log: another log at its place is then a sign that somebody has
/// restored a backup under this process.
async fn stay_open(path: &Path, writer: &SqlitePool) -> Result<(), StoreError> {
    loop {
        match sqlx::query("SELECT count(*) FROM sqlite_schema").execute(writer).await {
            Err(problem) if error::is_busy(&problem) => tokio::time::sleep(RETRY_AFTER).await,
            Err(problem) => return Err(error::while_opening(path, &problem)),
            Ok(_) => return Ok(()),
        }
    }
}

fn options(path: &Path, busy_timeout: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(busy_timeout)
        .synchronous(SqliteSynchronous::Full)
        // On macOS alone: its `fsync` leaves data in the drive's cache.
        .pragma("fullfsync", "ON")
        .pragma("checkpoint_fullfsync", "ON")
        .pragma("cache_size", PAGE_CACHE_KIB)
        .statement_cache_capacity(8)
        .disable_statement_logging()
}

async fn prepare_database(path: &Path, options: &SqliteConnectOptions) -> Result<(), schema::Problem> {
    let mut connection = options.connect().await?;
    schema::prepare(path, &mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Sees to it that there is a file, or says in plain words why there cannot be one.
fn prepare_file(path: &Path, missing: Missing) -> Result<(), StoreError> {
    let has_wal = fs::metadata(wal(path)).is_ok_and(|found| found.len() > 0); // looked at first, see below
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(error::is_directory(path)),
        Ok(found) if !found.is_file() => Err(error::is_no_file(path)),
        // An empty file without a log is a new database too.
        Ok(found) if missing != Missing::Make && found.len() == 0 && !wal(path).exists() => {
            Err(error::not_there(path))
        }
        // SQLite takes these two for a new database and throws the log away. A file that others are
        // just making never looks so: it has its first page before it has a log.
        Ok(found) if found.len() == 1 || (found.len() == 0 && has_wal) => Err(error::is_cut_off(path)),
        Ok(_) => Ok(()),
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(error::file(path, &problem)),
        Err(_) if missing != Missing::Make => Err(error::not_there(path)),
        Err(_) => create_file(path),
    }
}

/// Whether the database at `path` has no log beside it. So it is once every program has closed it,
/// and for a copy that was made with SQLite; a plain copy of a file that is in use looks the same,
/// and lacks what its log had.
pub(super) fn is_without_log(path: &Path) -> bool {
    path.is_file() && !wal(path).exists()
}

/// What tells a database from another that has its name: its file and its log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DatabaseIdentity {
    file: FileIdentity,
    wal: Option<FileIdentity>,
}

impl DatabaseIdentity {
    /// That of the database at `path`; `None` when none exists.
    pub(super) fn at(path: &Path) -> Option<Self> {
        Some(Self { file: identity(path)?, wal: identity(&wal(path)) })
    }
}

/// What tells a file from another that has its name.
#[derive(Debug, PartialEq, Eq)]
struct FileIdentity(u64, u64);

/// The identity of the file at `path`; `None` when none exists.
fn identity(path: &Path) -> Option<FileIdentity> {
    let found = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let identity = {
        use std::os::unix::fs::MetadataExt;
        FileIdentity(found.dev(), found.ino())
    };
    #[cfg(not(unix))]
    let identity = FileIdentity(u64::from(found.is_file()), 0);
    Some(identity)
}

/// SQLite's write-ahead log of the database at `path`.
fn wal(path: &Path) -> PathBuf {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

/// Makes the empty file, readable by its owner only; `-wal` and `-shm` get the same mode from
/// SQLite.
///
/// The lock covers making and closing it. Another task of this process that finds the file existing
/// goes on to SQLite only after that close, so the close cannot drop the locks SQLite takes for
/// that task.
fn create_file(path: &Path) -> Result<(), StoreError> {
    static CREATING: Mutex<()> = Mutex::new(());
    let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path).map_err(|problem| (problem.kind(), problem)) {
        Ok(_) => Ok(()),
        // Somebody else was first, or there is a link to nothing.
        Err((io::ErrorKind::AlreadyExists, _)) if path.exists() => Ok(()),
        Err((io::ErrorKind::AlreadyExists, _)) => Err(error::is_dangling_link(path)),
        Err((io::ErrorKind::NotFound, _)) => Err(error::no_folder(path)),
        Err((_, problem)) => Err(error::file(path, &problem)),
    }
}
