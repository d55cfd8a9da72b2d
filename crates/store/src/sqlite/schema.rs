//! The shape of the file: one table, an owner's mark and a version number.
//!
//! A database is taken as ours if it carries our `application_id`, made ours if it is empty, and
//! refused without a change otherwise. A file made by a newer version is refused too: an old
//! program would not know what it breaks. Adding a version: append a step to `prepare`, raise
//! [`VERSION`].

use std::path::Path;

use sqlx::{Connection, SqliteConnection};

use super::error;
use crate::StoreError;

/// `PRAGMA application_id`: "CSgn" in ASCII.
const APPLICATION_ID: i32 = 0x4353_676e;
/// `PRAGMA user_version` of the shape below.
const VERSION: i32 = 1;

const CREATE: &str = "
    CREATE TABLE documents (
        key        TEXT NOT NULL PRIMARY KEY,
        version    TEXT NOT NULL,
        bytes      BLOB NOT NULL,
        expires_at INTEGER            -- seconds since 1970, absent from then on
    ) STRICT;
    CREATE INDEX documents_by_expiry ON documents (expires_at) WHERE expires_at IS NOT NULL;
    PRAGMA application_id = 0x4353676e;
    PRAGMA user_version = 1;
";

/// Why a file is not ready.
pub(super) enum Problem {
    /// SQLite says so; trying again may help.
    Engine(sqlx::Error),
    /// We say so.
    Refused(StoreError),
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::Engine(error)
    }
}

/// What the file is.
enum Owner {
    Nobody,
    Us,
}

/// Checks the database, switches it to WAL and gives an empty one its tables. Done again, it does
/// nothing.
pub(super) async fn prepare(path: &Path, connection: &mut SqliteConnection) -> Result<(), Problem> {
    let owner = inspect(path, connection).await?; // before the first change: the next statement is one
    let (mode,): (String,) = sqlx::query_as("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await?;
    if mode != "wal" {
        return Err(Problem::Refused(error::no_wal(path)));
    }
    if matches!(owner, Owner::Us) {
        return Ok(()); // no write lock needed: opening does not wait for a writer
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if matches!(inspect(path, &mut transaction).await?, Owner::Nobody) {
        sqlx::raw_sql(CREATE).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn inspect(path: &Path, connection: &mut SqliteConnection) -> Result<Owner, Problem> {
    let (application, version, tables): (i32, i32, i32) = sqlx::query_as(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM \
         pragma_user_version), (SELECT count(*) FROM sqlite_schema)",
    )
    .fetch_one(connection)
    .await?;
    match (application, version) {
        (0, 0) if tables == 0 => Ok(Owner::Nobody),
        (APPLICATION_ID, VERSION) => Ok(Owner::Us),
        (APPLICATION_ID, newer) if newer > VERSION => {
            Err(Problem::Refused(error::newer(path, newer, VERSION)))
        }
        _ => Err(Problem::Refused(error::not_ours(path))),
    }
}
