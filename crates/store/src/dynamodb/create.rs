//! Making the table, and looking at what about it is a matter of operation.
//!
//! On demand (no capacity to guess), protected against deletion, encrypted as AWS does by itself,
//! with time to live on `ttl`, and with point-in-time recovery where that may be switched on. Done
//! again, or by many at the same time, it finds what is there: a table that exists gets the mark
//! and a time to live, if it has none, unless another program keeps items in it. Interrupted, it is
//! run again.

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata,
    operation::create_table::CreateTableError,
    types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
        ScalarAttributeType, TableDescription, TableStatus, TimeToLiveDescription, TimeToLiveSpecification,
        TimeToLiveStatus,
    },
};

use super::{
    connect::{Attempts, Connection},
    error, schema,
};
use crate::{Created, StoreError};

/// How often point-in-time recovery is asked for: for a moment after it was made, a table cannot
/// have it yet.
const RECOVERY_ATTEMPTS: u32 = 10;

pub(super) async fn create(
    connection: &Connection,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Created, StoreError> {
    let made = schema::inspect(connection).await?.is_none() && make(connection).await?;
    let ready = wait_until_usable(connection, progress);
    match tokio::time::timeout(connection.config.ready_timeout, ready).await {
        Ok(ready) => ready?,
        Err(_) => return Err(error::not_ready(connection.place(), "not ready yet")),
    }
    if !connection.is_marked().await? {
        if !made {
            schema::check_items(connection).await?;
        }
        connection.leave_mark().await?;
    }
    let mut notes = Vec::new();
    notes.extend(switch_time_to_live_on(connection, made).await?);
    if made {
        notes.extend(switch_recovery_on(connection).await);
    }
    Ok(Created { made, notes })
}

/// Whether it was this call that made the table.
async fn make(connection: &Connection) -> Result<bool, StoreError> {
    let place = connection.place();
    let build = |problem| StoreError::Misconfigured { place: place.to_owned(), reason: format!("{problem}") };
    let definition = AttributeDefinition::builder()
        .attribute_name(schema::KEY)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .map_err(build)?;
    let key = KeySchemaElement::builder()
        .attribute_name(schema::KEY)
        .key_type(KeyType::Hash)
        .build()
        .map_err(build)?;
    let attempts = Attempts::default();
    let request = connection.client.create_table().table_name(&connection.config.table);
    let request = request
        .attribute_definitions(definition)
        .key_schema(key)
        .billing_mode(BillingMode::PayPerRequest)
        .deletion_protection_enabled(true)
        .customize();
    match request.interceptor(attempts.clone()).send().await {
        Ok(_) => Ok(true),
        Err(problem) => match problem.as_service_error() {
            // Somebody else was first; or an attempt before this one, whose answer got lost.
            Some(CreateTableError::ResourceInUseException(_)) => Ok(attempts.may_have_taken_effect()),
            _ => Err(error::translate(place, &problem)),
        },
    }
}

async fn wait_until_usable(
    connection: &Connection,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(), StoreError> {
    loop {
        match schema::inspect(connection).await? {
            Some(table) if schema::is_usable(&table) => return Ok(()),
            Some(table) if is_lost(&table) => {
                return Err(error::not_ready(connection.place(), schema::status(&table)));
            }
            Some(table) => progress(&format!("the table is {}", schema::status(&table))),
            // What was just made is not seen everywhere at once.
            None => progress("the table is not there yet"),
        }
        tokio::time::sleep(connection.config.ready_pause).await;
    }
}

/// Waiting would not help.
fn is_lost(table: &TableDescription) -> bool {
    !matches!(table.table_status(), Some(TableStatus::Creating | TableStatus::Updating | TableStatus::Active))
}

/// Switches it on where it is off, and says so where that is news.
async fn switch_time_to_live_on(connection: &Connection, made: bool) -> Result<Option<String>, StoreError> {
    match time_to_live(connection).await? {
        TimeToLive::On => return Ok(None),
        TimeToLive::Unknown(why) => return Ok(Some(why)),
        TimeToLive::Off => {}
    }
    let place = connection.place();
    let specification = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name(schema::TIME_TO_LIVE)
        .build()
        .map_err(|problem| StoreError::Misconfigured {
            place: place.to_owned(),
            reason: problem.to_string(),
        })?;
    let request = connection.client.update_time_to_live().table_name(&connection.config.table);
    match request.time_to_live_specification(specification).send().await {
        Ok(_) if made => Ok(None),
        Ok(_) => Ok(Some("time to live was off and is on now, on the attribute `ttl`".to_owned())),
        // Another one that does the same was faster.
        Err(problem) => match time_to_live(connection).await? {
            TimeToLive::On => Ok(None),
            _ => Err(error::translate(place, &problem)),
        },
    }
}

/// Switched on for a table of our making. The table is good without, so nothing fails for it.
async fn switch_recovery_on(connection: &Connection) -> Option<String> {
    let specification =
        PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build().ok()?;
    let mut attempt = 1;
    loop {
        let request = connection.client.update_continuous_backups().table_name(&connection.config.table);
        let request = request.point_in_time_recovery_specification(specification.clone());
        let Err(problem) = request.send().await else { return None };
        let is_too_early = problem.code() == Some("ContinuousBackupsUnavailableException");
        if !is_too_early || attempt == RECOVERY_ATTEMPTS {
            let why = error::translate(connection.place(), &problem);
            return Some(format!("point-in-time recovery could not be switched on: {why}"));
        }
        attempt += 1;
        tokio::time::sleep(connection.config.ready_pause).await;
    }
}

/// Whether expired documents are removed in the end.
enum TimeToLive {
    On,
    Off,
    /// Why that cannot be said.
    Unknown(String),
}

async fn time_to_live(connection: &Connection) -> Result<TimeToLive, StoreError> {
    let place = connection.place();
    let request = connection.client.describe_time_to_live().table_name(&connection.config.table);
    let description = match request.send().await {
        Ok(answer) => answer.time_to_live_description,
        Err(problem) => {
            return match error::translate(place, &problem) {
                StoreError::Denied { .. } => Ok(TimeToLive::Unknown(
                    "whether time to live is on cannot be seen: dynamodb:DescribeTimeToLive is not allowed"
                        .to_owned(),
                )),
                _ if problem.code() == Some("UnknownOperationException") => Ok(TimeToLive::Unknown(
                    "this server has no time to live: expired documents stay".to_owned(),
                )),
                why => Err(why),
            };
        }
    };
    let description = description.unwrap_or_else(|| TimeToLiveDescription::builder().build());
    match (description.time_to_live_status(), description.attribute_name()) {
        (Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling), Some(schema::TIME_TO_LIVE)) => {
            Ok(TimeToLive::On)
        }
        (Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling), other) => {
            Err(error::other_time_to_live(place, other.unwrap_or_default()))
        }
        (Some(TimeToLiveStatus::Disabling), _) => Err(error::time_to_live_changes(place)),
        _ => Ok(TimeToLive::Off),
    }
}

pub(super) async fn remarks(connection: &Connection) -> Result<Vec<String>, StoreError> {
    Ok(match time_to_live(connection).await {
        Ok(TimeToLive::On) => Vec::new(),
        Ok(TimeToLive::Off) => vec![
            "time to live is off, so expired documents stay and cost; `countersign store create` switches it on"
                .to_owned(),
        ],
        Ok(TimeToLive::Unknown(why)) => vec![why],
        Err(why @ StoreError::Misconfigured { .. }) => vec![why.to_string()],
        Err(why) => return Err(why),
    })
}
