//! The SQLite engine: one file, shared by all processes of one machine. The embedded default.
//!
//! Every change is one statement of [`crate::sql`], which SQLite's write lock makes a
//! compare-and-set across processes; with `synchronous=FULL`, and `fullfsync` where macOS needs it,
//! the system has been told to put it on the disk when it returns, and a disk that lies about that
//! is the one thing nothing here can see. One connection writes, so tasks of this process queue
//! here instead of polling for the file's lock; up to three read.
//!
//! `connect` opens and checks the file, `schema` is its shape, `error` translates. Pinned by
//! `tests/sqlite.rs`, `tests/sqlite_files.rs` and `tests/sqlite_processes.rs`.

mod config;
mod connect;
mod error;
mod schema;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use countersign_jose::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};

pub use self::config::SqliteConfig;
use crate::{
    Clock, Document, Expect, Key, Store, StoreError, Version, sql, sweep,
    sweep::Sweep,
    uninterrupted::{Engine, Permits, Uninterrupted},
};

/// How much longer than a locked file an operation waits for others of this process.
const QUEUE: Duration = Duration::from_secs(5);

/// Documents in one SQLite file.
pub type SqliteStore = Uninterrupted<SqliteEngine>;

/// The engine itself.
pub struct SqliteEngine {
    path: PathBuf,
    identity: connect::DatabaseIdentity,
    busy_timeout: Duration,
    writer: SqlitePool,
    readers: SqlitePool,
    clock: Arc<dyn Clock>,
    sweep: Sweep,
}

impl std::fmt::Debug for SqliteEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// What a person should know about the files at `path` before anybody opens them.
    pub fn remarks_of_files(path: &Path) -> Vec<String> {
        let remark = "there is no write-ahead log beside this file. It is whole if every program had closed it, or if it was made by \
                      `countersign store copy` or SQLite's .backup; a plain copy (cp) of a store in use has the keys, and may lack what else was written last";
        connect::is_without_log(path).then(|| remark.to_owned()).into_iter().collect()
    }

    /// Opens the file, making it with mode 0600 where none exists and [`SqliteConfig::missing`]
    /// says so. Any number of processes may do so at once.
    ///
    /// # Errors
    ///
    /// `Missing`: no such file, and none is to be made. `Misconfigured`: no such folder, a
    /// directory, another program's database, or one made by a newer version. `Corrupt`: not a
    /// database, or damaged; the file is left as it is. `Denied`: permissions. `Unavailable`:
    /// locked for too long, or the disk fails.
    pub async fn open(config: SqliteConfig, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let path = std::path::absolute(&config.path).unwrap_or_else(|_| config.path.clone());
        let (writer, readers) = connect::connect(&path, config.busy_timeout, config.missing).await?;
        let identity = connect::DatabaseIdentity::at(&path).ok_or_else(|| error::is_gone(&path))?;
        let engine = SqliteEngine {
            path,
            identity,
            busy_timeout: config.busy_timeout,
            writer,
            readers,
            clock,
            sweep: Sweep::default(),
        };
        // A task that waits for the file's lock must not keep readers away.
        let permits = Permits::apart(connect::READERS.into(), 1, config.busy_timeout * 2 + QUEUE);
        Ok(Self::new(engine, permits))
    }
}

impl SqliteEngine {
    fn error(&self, error: sqlx::Error) -> StoreError {
        error::in_use(&self.path, &error)
    }

    /// SQLite goes on with a file, or a log, that was removed or replaced, and nobody else would
    /// ever see what it writes.
    fn check_file(&self) -> Result<(), StoreError> {
        if connect::DatabaseIdentity::at(&self.path).as_ref() == Some(&self.identity) {
            return Ok(());
        }
        Err(error::is_gone(&self.path))
    }

    /// Moves the log into the file, so that a copy of the file alone has what was written. Its
    /// failure is not the caller's: the put has succeeded, and the next one tries again. Anyone who
    /// reads meanwhile is not waited for.
    async fn checkpoint(&self, connection: &mut SqliteConnection) {
        let _ = sqlx::raw_sql("PRAGMA busy_timeout = 0; PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut *connection)
            .await;
        let wait = format!("PRAGMA busy_timeout = {}", self.busy_timeout.as_millis());
        let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(wait)).execute(connection).await;
    }
}

#[async_trait]
impl Engine for SqliteEngine {
    fn place(&self) -> String {
        error::place(&self.path)
    }

    /// Gives space back. What fails is tried again in the next round.
    async fn tidy(&self) {
        if let Some(cutoff) = self.sweep.due(self.clock.now()) {
            let round = sqlx::query(sql::SWEEP).bind(cutoff.unix_seconds()).bind(sweep::BATCH);
            let _ = round.execute(&self.writer).await;
        }
    }
}

#[async_trait]
impl Store for SqliteEngine {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.check_file()?;
        // The driver takes a missing value for an empty one where none is expected.
        let row: Option<(Option<String>, Option<Vec<u8>>, Option<i64>)> = sqlx::query_as(sql::GET)
            .bind(key.as_str())
            .bind(self.clock.now().unix_seconds())
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.error(error))?;
        let Some((version, bytes, expires_at)) = row else { return Ok(None) };
        let (Some(version), Some(bytes)) = (version, bytes) else {
            return Err(error::no_content(&self.path, key));
        };
        let expires_at = expires_at.map(Timestamp::from_unix_seconds);
        Ok(Some(Document { bytes, version: Version::from_engine(version), expires_at }))
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        self.check_file()?;
        let version = Version::fresh(&error::place(&self.path))?;
        let mut writer = self.writer.acquire().await.map_err(|error| self.error(error))?;
        let statement = sqlx::query(match &expect {
            Expect::Absent => sql::CREATE,
            Expect::Version(_) => sql::REPLACE,
        });
        let statement = statement
            .bind(key.as_str())
            .bind(version.as_str())
            .bind(bytes)
            .bind(expires_at.map(Timestamp::unix_seconds))
            .bind(self.clock.now().unix_seconds());
        let statement = match &expect {
            Expect::Absent => statement,
            Expect::Version(expected) => statement.bind(expected.as_str()),
        };
        let done = statement.execute(&mut *writer).await.map_err(|error| self.error(error))?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Conflict { key: key.clone() });
        }
        if expires_at.is_none() {
            // What is kept forever is rare, and what people make copies for.
            self.checkpoint(&mut writer).await;
        }
        Ok(version)
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        self.check_file()?;
        let mut writer = self.writer.acquire().await.map_err(|error| self.error(error))?;
        let done = sqlx::query(sql::DELETE)
            .bind(key.as_str())
            .bind(version.as_str())
            .execute(&mut *writer)
            .await
            .map_err(|error| self.error(error))?;
        if done.rows_affected() > 0 {
            return Ok(());
        }
        // Nothing was there at that version, and versions do not come back: whatever is found now
        // is the answer.
        let live: Option<(i64,)> = sqlx::query_as(sql::IS_LIVE)
            .bind(key.as_str())
            .bind(self.clock.now().unix_seconds())
            .fetch_optional(&mut *writer)
            .await
            .map_err(|error| self.error(error))?;
        live.map_or(Ok(()), |_| Err(StoreError::Conflict { key: key.clone() }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        self.check_file()?;
        let rows: Vec<(String,)> = sqlx::query_as(sql::LIST)
            .bind(prefix)
            .bind(sql::end_of(prefix))
            .bind(self.clock.now().unix_seconds())
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.error(error))?;
        rows.iter()
            .map(|(key,)| Key::parse(key).map_err(|reason| error::foreign_key(&self.path, reason)))
            .collect()
    }

    /// Closing the last connection moves the write-ahead log into the file, which read-only
    /// connections cannot do; so the writer is the last.
    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_writer_waits_for_the_disk_on_every_commit() {
        let dir = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(dir.path().join("store.db"));
        let store = SqliteStore::open(config, Arc::new(crate::SystemClock)).await.unwrap();
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(&store.engine().writer).await.unwrap();
        assert_eq!(synchronous, 2, "2 is FULL");
        for pragma in ["PRAGMA fullfsync", "PRAGMA checkpoint_fullfsync"] {
            let is_on: i64 = sqlx::query_scalar(pragma).fetch_one(&store.engine().writer).await.unwrap();
            assert_eq!(is_on, 1, "{pragma}: macOS' fsync alone is no barrier");
        }
    }
}
