//! The MongoDB engine: one collection of a database, shared by processes of many machines.
//!
//! Every change is one command on one document whose filter carries the expectation, so the server
//! makes it a compare-and-set; it is acknowledged when a majority has it in its journals, and
//! documents are read linearizably (see `connect`). A change whose answer is lost is sent again by
//! the driver under the same number, which the server does not do twice; where that cannot be, it
//! is `Unavailable`, and only the caller can tell its own change from another's. A change that says
//! it met another state is believed only after a look: what is there may be its own version. What
//! the server puts off because of too many requests is asked again, later each time.
//!
//! `schema` is the shape of the documents, `error` translates, `foreign` reads collections of
//! others. Pinned by `tests/mongodb/`, on a stand-in for a server: see tests/servers/mongo.py for
//! what that does not show.

mod config;
mod connect;
mod error;
mod foreign;
mod schema;

use std::{sync::Arc, time::Duration};

use ::mongodb::{
    Collection, Database,
    bson::{Document as BsonDocument, doc},
};
use async_trait::async_trait;
use countersign_jose::Timestamp;

pub use self::{
    config::MongoConfig,
    foreign::{ForeignLimits, read_foreign_collection},
};
use self::{
    connect::{Connection, Failed},
    schema::State,
};
use crate::{
    Clock, Document, Expect, Key, Store, StoreError, Version,
    uninterrupted::{Engine, Permits, Uninterrupted},
};

/// How often is asked what the server puts off.
const ATTEMPTS: u32 = 5;
/// The pause before the second time; twice that before the third, and so on.
const PAUSE: Duration = Duration::from_millis(50);

/// Documents in one collection of a MongoDB database.
pub type MongoStore = Uninterrupted<MongoEngine>;

/// The engine itself.
pub struct MongoEngine {
    connection: Connection,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for MongoEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MongoStore").field("config", &self.connection.config).finish_non_exhaustive()
    }
}

impl MongoStore {
    /// Connects, and makes the collection where none exists and [`MongoConfig::missing`] says so.
    /// Any number of processes may do so at once.
    ///
    /// # Errors
    ///
    /// `Misconfigured`: a certificate that proves nothing, a collection of another program or of a
    /// newer version. `Denied`: the login or the user's rights. `Unavailable`: no server that takes
    /// writes, or none that answers in time.
    pub async fn open(config: MongoConfig, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let connection = Connection::new(config).await?;
        schema::prepare(&connection).await?;
        let (count, patience) = (connection.config.connections, connect::patience(&connection.config));
        // As many as the driver has connections: nobody ever waits in its pool.
        let permits = Permits::shared(usize::try_from(count).unwrap_or(usize::MAX), patience);
        Ok(Self::new(MongoEngine { connection, clock }, permits))
    }
}

impl MongoEngine {
    fn place(&self) -> &str {
        &self.connection.config.place
    }

    fn patience(&self) -> Duration {
        self.connection.config.operation_timeout
    }

    /// Asks, and asks again what is put off.
    async fn ask<T, Q>(&self, question: impl Fn(Collection<BsonDocument>) -> Q) -> Result<T, Failed>
    where
        Q: Future<Output = ::mongodb::error::Result<T>>,
    {
        let asked = |database: Database| async move {
            let documents = schema::documents(&self.connection.config, &database);
            let mut attempt = 1;
            loop {
                match question(documents.clone()).await {
                    Err(problem) if error::is_put_off(&problem) && attempt < ATTEMPTS => {
                        tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
                        attempt += 1;
                    }
                    outcome => return outcome,
                }
            }
        };
        self.connection.wait(asked).await
    }

    fn failed(&self, failed: &Failed) -> StoreError {
        error::failed(self.place(), failed)
    }

    /// What is under a key, expired or not, with these members; with all of them for an empty
    /// `members`. By its name alone: what is read linearizably must be one document.
    async fn find(&self, key: &Key, members: BsonDocument) -> Result<Option<BsonDocument>, StoreError> {
        let found = self.ask(|documents| {
            let members = members.clone();
            async move {
                let query = documents.find_one(schema::named(key)).projection(members);
                query.read_concern(self.connection.exact.clone()).max_time(self.patience()).await
            }
        });
        found.await.map_err(|failed| self.failed(&failed))
    }

    /// The same without the content.
    async fn state(&self, key: &Key) -> Result<Option<State>, StoreError> {
        let found = self.find(key, schema::state_members()).await?;
        found.map(|found| schema::read_state(self.place(), &found)).transpose()
    }
}

#[async_trait]
impl Engine for MongoEngine {
    fn place(&self) -> String {
        self.connection.config.place.clone()
    }
}

#[async_trait]
impl Store for MongoEngine {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let found = self.find(key, doc! {}).await?;
        let found = found.map(|found| schema::read(self.place(), &found)).transpose()?;
        Ok(found.filter(|document| document.is_live(self.clock.now())))
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        let version = Version::fresh(self.place())?;
        let new = schema::document(key, &version, bytes, expires_at);
        let done = self
            .ask(|documents| {
                let (new, now) = (&new, self.clock.now());
                let (question, upsert) = match &expect {
                    // Where none exists it is inserted. If a live one is there, that fails: names
                    // are unique.
                    Expect::Absent => (schema::expired(key, now), true),
                    Expect::Version(expected) => (schema::live_at(key, expected, now), false),
                };
                async move { documents.replace_one(question, new).upsert(upsert).await }
            })
            .await;
        let is_done = match done {
            Ok(done) => done.matched_count > 0 || done.upserted_id.is_some(),
            Err(Failed::Engine(problem)) if error::is_duplicate(&problem) => false,
            Err(failed) => return Err(self.failed(&failed)),
        };
        // It may have been sent twice and have met itself.
        if is_done || self.state(key).await?.is_some_and(|found| found.version == version) {
            return Ok(version);
        }
        Err(StoreError::Conflict { key: key.clone() })
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        let delete =
            |documents: Collection<_>| async move { documents.delete_one(schema::at(key, version)).await };
        if self.ask(delete).await.map_err(|failed| self.failed(&failed))?.deleted_count > 0 {
            return Ok(());
        }
        // Nothing was there at that version, and versions do not come back: whatever is found now
        // is the answer.
        match self.state(key).await? {
            Some(found) if found.is_live(self.clock.now()) => Err(StoreError::Conflict { key: key.clone() }),
            _ => Ok(()),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        let question = schema::live_below(prefix, self.clock.now());
        let cursor = self.ask(|documents| {
            let question = question.clone();
            async move {
                let found = documents.find(question).projection(doc! { "_id": 1 });
                found.sort(doc! { "_id": 1 }).max_time(self.patience()).await
            }
        });
        let mut cursor = cursor.await.map_err(|failed| self.failed(&failed))?;
        let mut keys = Vec::new();
        // Each step by itself may take its time; the server ends a cursor that is not asked.
        while self.connection.wait(|_| cursor.advance()).await.map_err(|failed| self.failed(&failed))? {
            let found =
                cursor.deserialize_current().map_err(|_| error::foreign(self.place(), "it is not BSON"))?;
            keys.push(schema::key(self.place(), &found)?);
        }
        Ok(keys)
    }
}
