//! The DynamoDB engine: one table, shared by processes and functions of many machines.
//!
//! Every change is one `PutItem` or `DeleteItem` whose condition carries the whole expectation,
//! judged by the store's own clock; reads are strongly consistent. The SDK tries again what was
//! throttled or not answered, and a second attempt of a write that took effect is refused by its
//! own condition: such a write is known by its version, which its writer made and nobody else has.
//! Where an attempt was not answered and another's version is found, the outcome is unknown and
//! `Unavailable`. Expired items go by DynamoDB's time to live, when it comes to them, and are
//! absent at once.
//!
//! `connect` has the client, `schema` is the shape of table and items, `create` makes the table,
//! `error` translates. Pinned by `tests/dynamodb/`.

mod config;
mod connect;
mod create;
mod error;
mod schema;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    operation::{delete_item::DeleteItemError, put_item::PutItemError},
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure::AllOld},
};
use countersign_jose::Timestamp;

pub use self::config::DynamoDbConfig;
use self::{
    connect::{Attempts, Connection},
    schema::Item,
};
use crate::{
    Clock, Created, Document, Expect, Key, Store, StoreError, Version,
    uninterrupted::{Engine, Permits, Uninterrupted},
};

/// Documents in one DynamoDB table.
pub type DynamoDbStore = Uninterrupted<DynamoDbEngine>;

/// The engine itself.
pub struct DynamoDbEngine {
    connection: Connection,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for DynamoDbEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoDbStore").field("config", &self.connection.config).finish_non_exhaustive()
    }
}

impl DynamoDbStore {
    /// Looks for the mark in the table, and at the table where none exists. It has to be there: a
    /// server should neither need the right to make one nor make one by a typing error.
    /// [`create`](Self::create) makes it. Writes nothing.
    ///
    /// # Errors
    ///
    /// `Misconfigured`: no region, no such table, or one of another shape or with items of others.
    /// `Denied`: credentials or rights. `Unavailable`: no answer in time, throttled throughout, or
    /// the table is still being made.
    pub async fn open(config: DynamoDbConfig, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let connection = Connection::new(config).await?;
        let permits = Permits::shared(connection.config.in_flight, connection.config.turn_timeout);
        if !connection.is_marked().await? {
            // Why that is says the table itself, where it is not only the mark that is missing.
            match schema::inspect(&connection).await? {
                None => return Err(error::no_table(connection.place())),
                Some(table) if !schema::is_usable(&table) => {
                    return Err(error::not_ready(connection.place(), schema::status(&table)));
                }
                Some(_) => schema::check_items(&connection).await?,
            }
        }
        Ok(Self::new(DynamoDbEngine { connection, clock }, permits))
    }

    /// Makes the table where none exists, waits until it can be used, and switches its time to
    /// live on. Done again, or by many at once, it makes nothing twice. `progress` is told while it
    /// waits.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and `Unavailable` when the table is not ready within
    /// [`DynamoDbConfig::ready_timeout`].
    pub async fn create(
        config: DynamoDbConfig,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Created, StoreError> {
        create::create(&Connection::new(config).await?, progress).await
    }

    /// What a person should know about the table that keeps nobody from using it.
    ///
    /// # Errors
    ///
    /// `Unavailable`: no answer in time.
    pub async fn remarks(config: DynamoDbConfig) -> Result<Vec<String>, StoreError> {
        create::remarks(&Connection::new(config).await?).await
    }
}

impl DynamoDbEngine {
    fn place(&self) -> &str {
        self.connection.place()
    }

    /// The document under `key`, expired or not.
    async fn read(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let request = self.connection.client.get_item().table_name(&self.connection.config.table);
        let request = request.key(schema::KEY, AttributeValue::S(key.as_str().to_owned()));
        let answer = request.consistent_read(true).send().await;
        let item = answer.map_err(|problem| error::translate(self.place(), &problem))?.item;
        item.map(|item| schema::document(self.place(), key, &item)).transpose()
    }

    /// What is there instead of what was expected. Not every server that speaks as DynamoDB does
    /// hands it back.
    async fn found_instead(&self, key: &Key, item: Option<&Item>) -> Result<Option<Document>, StoreError> {
        match item {
            Some(item) if !item.is_empty() => schema::document(self.place(), key, item).map(Some),
            _ => self.read(key).await,
        }
    }

    /// Why a write whose condition did not hold was not done.
    fn refusal(&self, key: &Key, attempts: &Attempts) -> StoreError {
        if attempts.may_have_taken_effect() {
            error::unknown_outcome(self.place())
        } else {
            StoreError::Conflict { key: key.clone() }
        }
    }
}

#[async_trait]
impl Engine for DynamoDbEngine {
    fn place(&self) -> String {
        self.connection.place().to_owned()
    }
}

#[async_trait]
impl Store for DynamoDbEngine {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let found = self.read(key).await?;
        let now = self.clock.now();
        Ok(found.filter(|document| document.is_live(now)))
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        let version = Version::fresh(self.place())?;
        let attempts = Attempts::default();
        let request = self.connection.client.put_item().table_name(&self.connection.config.table);
        let request = request
            .set_item(Some(schema::item(key, bytes, &version, expires_at)))
            .expression_attribute_names("#expires_at", schema::EXPIRES_AT)
            .expression_attribute_values(":now", schema::number(self.clock.now()));
        let request = match &expect {
            Expect::Absent => request
                .condition_expression(schema::IS_ABSENT)
                .expression_attribute_names("#key", schema::KEY),
            Expect::Version(expected) => request
                .condition_expression(schema::IS_AT_VERSION)
                .expression_attribute_names("#version", schema::VERSION)
                .expression_attribute_values(":version", schema::text(expected)),
        };
        let request = request.return_values_on_condition_check_failure(AllOld).customize();
        let Err(problem) = request.interceptor(attempts.clone()).send().await else { return Ok(version) };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = problem.as_service_error() else {
            return Err(error::translate(self.place(), &problem));
        };
        match self.found_instead(key, failed.item()).await? {
            // An attempt before this one did it, and its answer got lost.
            Some(found) if found.version == version => Ok(version),
            _ => Err(self.refusal(key, &attempts)),
        }
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        let attempts = Attempts::default();
        let request = self.connection.client.delete_item().table_name(&self.connection.config.table);
        let request = request
            .key(schema::KEY, AttributeValue::S(key.as_str().to_owned()))
            .condition_expression(schema::HAS_VERSION)
            .expression_attribute_names("#version", schema::VERSION)
            .expression_attribute_values(":version", schema::text(version))
            .return_values_on_condition_check_failure(AllOld)
            .customize();
        let Err(problem) = request.interceptor(attempts.clone()).send().await else { return Ok(()) };
        let Some(DeleteItemError::ConditionalCheckFailedException(failed)) = problem.as_service_error()
        else {
            return Err(error::translate(self.place(), &problem));
        };
        // Nothing was there at that version, and versions do not come back: whatever is found now
        // is the answer.
        let found = self.found_instead(key, failed.item()).await?;
        match found.filter(|document| document.is_live(self.clock.now())) {
            None => Ok(()),
            Some(_) => Err(self.refusal(key, &attempts)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        let request = self.connection.client.scan().table_name(&self.connection.config.table);
        let mut request = request
            .consistent_read(true)
            .projection_expression("#key, #expires_at")
            .expression_attribute_names("#key", schema::KEY)
            .expression_attribute_names("#expires_at", schema::EXPIRES_AT);
        if !prefix.is_empty() {
            request = request
                .filter_expression("begins_with(#key, :prefix)")
                .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()));
        }
        let mut pages = request.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|problem| error::translate(self.place(), &problem))?;
            let now = self.clock.now();
            for item in page.items() {
                let Some(AttributeValue::S(key)) = item.get(schema::KEY) else {
                    return Err(error::no_key(self.place()));
                };
                if key == schema::MARK {
                    continue;
                }
                let key = Key::parse(key).map_err(|reason| error::foreign_key(self.place(), reason))?;
                // An invalid expiry is reported by the reader of the document.
                if schema::expiry(item).is_ok_and(|end| end.is_some_and(|end| end <= now)) {
                    continue;
                }
                keys.push(key);
            }
        }
        keys.sort();
        Ok(keys)
    }
}
