//! The Postgres engine: one database, shared by processes of many machines.
//!
//! Every change is one statement of [`crate::sql`] in a transaction of its own, at READ COMMITTED;
//! when it returns, the commit is on the server's disk. A connection that breaks, or does not
//! answer in time, leaves it open whether a statement took effect: that is `Unavailable` and is not
//! tried again here, because only the caller can tell its own change from another's. It reads the
//! document and compares versions; a version is made by the writer and never twice, so a statement
//! that takes effect later than anybody waited for either meets the state it expected or does
//! nothing. Only what the server itself took back (serialization, deadlock) is sent again.
//!
//! `connect` makes and lends connections, `schema` is the shape of the tables, `error` translates.
//! Pinned by `tests/postgres/`.

mod config;
mod connect;
mod error;
mod schema;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use countersign_jose::Timestamp;
use sqlx::{
    Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};

pub use self::config::{PostgresConfig, TlsMode};
use self::connect::{Connections, Failed};
use crate::{
    Clock, Document, Expect, Key, Store, StoreError, Version, sql, sweep,
    sweep::Sweep,
    uninterrupted::{Engine, Permits, Uninterrupted},
};

/// How often a change is sent that the server takes back.
const ATTEMPTS: u32 = 5;
/// The pause before the second time; twice that before the third, and so on.
const PAUSE: Duration = Duration::from_millis(10);

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Documents in one schema of a Postgres database.
pub type PostgresStore = Uninterrupted<PostgresEngine>;

/// The engine itself.
pub struct PostgresEngine {
    connections: Connections,
    clock: Arc<dyn Clock>,
    sweep: Sweep,
}

impl std::fmt::Debug for PostgresEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("config", &self.connections.config).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects, and makes the tables where there are none and [`PostgresConfig::missing`] says so.
    /// Any number of processes may do so at once.
    ///
    /// # Errors
    ///
    /// `Misconfigured`: no such database, a certificate that proves nothing, tables of another
    /// program or of a newer version. `Denied`: the login or the user's rights. `Unavailable`: no
    /// server, or none that answers in time.
    pub async fn open(config: PostgresConfig, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let connections = Connections::new(config)?;
        let config = &connections.config;
        let mut lease = connections.lease().await?;
        let prepared = lease.wait(async |connection| {
            Ok(match schema::prepare(config, connection).await {
                Err(schema::Problem::Engine(problem)) => return Err(problem),
                Err(schema::Problem::Refused(refusal)) => Err(refusal),
                Ok(()) => Ok(()),
            })
        });
        prepared.await.map_err(|failed| error::failed(&config.place, &failed))??;
        lease.hand_back();
        let permits = Permits::shared(config.connections, config.acquire_timeout);
        Ok(Self::new(PostgresEngine { connections, clock, sweep: Sweep::default() }, permits))
    }
}

impl PostgresEngine {
    fn place(&self) -> &str {
        &self.connections.config.place
    }

    /// What a statement reads.
    async fn rows(&self, statement: Statement<'_>) -> Result<Vec<PgRow>, StoreError> {
        let mut lease = self.connections.lease().await?;
        let rows = lease.wait(async |connection| statement.fetch_all(connection).await).await;
        let rows = rows.map_err(|failed| error::failed(self.place(), &failed))?;
        lease.hand_back();
        Ok(rows)
    }

    /// How many rows a statement changes.
    async fn change<'q>(&self, statement: impl Fn() -> Statement<'q>) -> Result<u64, StoreError> {
        let mut attempt = 1;
        loop {
            let mut lease = self.connections.lease().await?;
            let statement = statement();
            match lease.wait(async |connection| statement.execute(connection).await).await {
                Ok(done) => {
                    lease.hand_back();
                    return Ok(done.rows_affected());
                }
                Err(Failed::Engine(problem)) if error::is_rolled_back(&problem) && attempt < ATTEMPTS => {
                    lease.hand_back();
                    tokio::time::sleep(PAUSE * attempt).await;
                    attempt += 1;
                }
                Err(failed) => return Err(error::failed(self.place(), &failed)),
            }
        }
    }

    fn column<'r, T>(&self, row: &'r PgRow, index: usize) -> Result<T, StoreError>
    where
        T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
    {
        sqlx::Row::try_get(row, index).map_err(|problem| error::translate(self.place(), &problem))
    }
}

#[async_trait]
impl Engine for PostgresEngine {
    fn place(&self) -> String {
        self.connections.config.place.clone()
    }

    /// Gives space back. What fails is tried again in the next round.
    async fn tidy(&self) {
        if let Some(cutoff) = self.sweep.due(self.clock.now()) {
            let round = || sqlx::query(sql::SWEEP).bind(cutoff.unix_seconds()).bind(i64::from(sweep::BATCH));
            let _ = self.change(round).await;
        }
    }
}

#[async_trait]
impl Store for PostgresEngine {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let now = self.clock.now().unix_seconds();
        let rows = self.rows(sqlx::query(sql::GET).bind(key.as_str()).bind(now)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Document {
            version: Version::from_engine(self.column::<String>(row, 0)?),
            bytes: self.column(row, 1)?,
            expires_at: self.column::<Option<i64>>(row, 2)?.map(Timestamp::from_unix_seconds),
        }))
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        let version = Version::fresh(self.place())?;
        let done = self.change(|| {
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
            match &expect {
                Expect::Absent => statement,
                Expect::Version(expected) => statement.bind(expected.as_str()),
            }
        });
        if done.await? == 0 {
            return Err(StoreError::Conflict { key: key.clone() });
        }
        Ok(version)
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        let delete = || sqlx::query(sql::DELETE).bind(key.as_str()).bind(version.as_str());
        if self.change(delete).await? > 0 {
            return Ok(());
        }
        // Nothing was there at that version, and versions do not come back: whatever is found now
        // is the answer.
        let now = self.clock.now().unix_seconds();
        let live = self.rows(sqlx::query(sql::IS_LIVE).bind(key.as_str()).bind(now)).await?;
        if live.is_empty() { Ok(()) } else { Err(StoreError::Conflict { key: key.clone() }) }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        let now = self.clock.now().unix_seconds();
        let statement = sqlx::query(sql::LIST).bind(prefix).bind(sql::end_of(prefix)).bind(now);
        let rows = self.rows(statement).await?;
        rows.iter()
            .map(|row| {
                let key: String = self.column(row, 0)?;
                Key::parse(&key).map_err(|reason| error::foreign_key(self.place(), reason))
            })
            .collect()
    }
}
