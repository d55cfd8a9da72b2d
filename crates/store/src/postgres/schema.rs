//! The shape of the database: a schema of our own with one table of documents, and a mark that says
//! whose it is.
//!
//! A schema is taken as ours if it carries the mark, made ours if nothing in it is in the way, and
//! refused without a change otherwise; so is one of a newer version, because an old program would
//! not know what it breaks. Many processes may start at once: one makes the tables, under an
//! advisory lock, and the others find them. Where they are there already nothing is written, so a
//! user who may not make tables can use them. Adding a version: append a step to `prepare`, raise
//! [`VERSION`].

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{config::PostgresConfig, error};
use crate::{Missing, StoreError};

/// The shape below.
const VERSION: i32 = 1;
/// The advisory lock under which tables are made: "CSgn" in ASCII.
const LOCK: i64 = 0x4353_676e;

/// Keys in byte order and compared byte by byte, whatever the language of the database.
const CREATE: &str = "
    CREATE TABLE documents (
        key        TEXT COLLATE \"C\" NOT NULL PRIMARY KEY,
        version    TEXT NOT NULL,
        bytes      BYTEA NOT NULL,
        expires_at BIGINT             -- seconds since 1970, absent from then on
    );
    CREATE INDEX documents_by_expiry ON documents (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE countersign_store (version INTEGER NOT NULL);
    INSERT INTO countersign_store (version) VALUES (1);
";

/// Reads the catalog's tables and does not ask `to_regclass`: that one answers from the
/// connection's memory, which may not have heard yet of what was made while this connection waited
/// for the lock.
const INSPECT: &str = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1), \
     count(*) FILTER (WHERE relname = 'countersign_store') > 0, count(*) FILTER (WHERE relname = 'documents') > 0 \
     FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = $1";

/// Why a database is not ready.
pub(super) enum Problem {
    /// Postgres says so.
    Engine(sqlx::Error),
    /// We say so.
    Refused(StoreError),
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::Engine(error)
    }
}

/// What the schema is.
enum Owner {
    /// Nobody's; whether it exists.
    Nobody {
        exists: bool,
    },
    Us,
}

/// Checks the schema and gives an empty one its tables. Done again, it does nothing.
pub(super) async fn prepare(config: &PostgresConfig, connection: &mut PgConnection) -> Result<(), Problem> {
    let (place, schema) = (&config.place, &config.schema);
    match (inspect(place, schema, connection).await?, config.missing) {
        (Owner::Us, _) => return Ok(()),
        (Owner::Nobody { .. }, Missing::Mend | Missing::Refuse) => {
            return Err(Problem::Refused(error::not_there(place, schema)));
        }
        (Owner::Nobody { .. }, Missing::Make) => {}
    }
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    if let Owner::Nobody { exists } = inspect(place, schema, &mut transaction).await? {
        if !exists {
            // The name was checked when the URL was read: letters, digits, underscores.
            let create = format!("CREATE SCHEMA \"{schema}\"");
            sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *transaction).await?;
        }
        sqlx::raw_sql(CREATE).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn inspect(place: &str, schema: &str, connection: &mut PgConnection) -> Result<Owner, Problem> {
    let (exists, is_marked, is_taken): (bool, bool, bool) =
        sqlx::query_as(INSPECT).bind(schema).fetch_one(&mut *connection).await?;
    if !is_marked {
        return if is_taken {
            Err(Problem::Refused(error::not_ours(place, schema)))
        } else {
            Ok(Owner::Nobody { exists })
        };
    }
    // By its full name: one that may not look into the schema is told so, and not that there is no
    // table.
    let mark = format!("SELECT max(version) FROM \"{schema}\".countersign_store");
    let version: Option<i32> = sqlx::query_scalar(AssertSqlSafe(mark)).fetch_one(connection).await?;
    match version {
        Some(VERSION) if is_taken => Ok(Owner::Us),
        Some(newer) if newer > VERSION => Err(Problem::Refused(error::newer(place, newer, VERSION))),
        _ => Err(Problem::Refused(error::not_ours(place, schema))),
    }
}
