//! The shape of the table and of its items, and the conditions under which items change.
//!
//! One item per document: `key` (S, the partition key, the table's only key), `version` (S),
//! `bytes` (B) and, when the document expires, `expires_at` (N, seconds since 1970) and `ttl` (N,
//! an hour later, the table's time-to-live attribute: AWS removes items by its own clock, which may
//! be ahead of ours). A table of another shape and an item with an attribute of another type are
//! somebody else's and are refused as they are.
//!
//! `store create` leaves a mark: an item whose name no document has. A table without it, of
//! CloudFormation's making or somebody else's, is ours if it is empty or the first hundred items
//! are like ours; its time to live is not touched otherwise, because that would delete what another
//! program keeps.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::describe_table::DescribeTableError,
    types::{
        AttributeDefinition, AttributeValue, KeySchemaElement, KeyType, ScalarAttributeType,
        TableDescription, TableStatus,
    },
};
use countersign_jose::Timestamp;

use super::{connect::Connection, error};
use crate::{Document, Key, StoreError, Version, sweep::MARGIN};

pub(super) const KEY: &str = "key";
pub(super) const VERSION: &str = "version";
pub(super) const BYTES: &str = "bytes";
pub(super) const EXPIRES_AT: &str = "expires_at";
/// The attribute of the table's time to live. Only ever written.
pub(super) const TIME_TO_LIVE: &str = "ttl";

/// Nothing live is there. `:now`. An expired item counts as absent and is replaced in place.
pub(super) const IS_ABSENT: &str = "attribute_not_exists(#key) OR #expires_at <= :now";
/// The live document is the one that was read. `:version`, `:now`.
pub(super) const IS_AT_VERSION: &str =
    "#version = :version AND (attribute_not_exists(#expires_at) OR #expires_at > :now)";
/// The document is the one that was read, expired or not. `:version`.
pub(super) const HAS_VERSION: &str = "#version = :version";

/// The name of the mark. Documents' names have no `!`.
pub(super) const MARK: &str = "!countersign";
/// The attribute of the mark with the number of the shape.
pub(super) const SHAPE: &str = "shape";
/// The shape of this version.
pub(super) const CURRENT: u32 = 1;
/// How many items say whose a table without the mark is.
const LOOKED_AT: i32 = 100;

/// An item as DynamoDB has it.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The item of a document.
pub(super) fn item(key: &Key, bytes: &[u8], version: &Version, expires_at: Option<Timestamp>) -> Item {
    let mut item = Item::from([
        (KEY.to_owned(), AttributeValue::S(key.as_str().to_owned())),
        (VERSION.to_owned(), text(version)),
        (BYTES.to_owned(), AttributeValue::B(bytes.into())),
    ]);
    if let Some(end) = expires_at {
        item.insert(EXPIRES_AT.to_owned(), number(end));
        item.insert(TIME_TO_LIVE.to_owned(), number(end.plus(MARGIN)));
    }
    item
}

pub(super) fn text(version: &Version) -> AttributeValue {
    AttributeValue::S(version.as_str().to_owned())
}

pub(super) fn number(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.unix_seconds().to_string())
}

/// The document of an item, expired or not.
pub(super) fn document(place: &str, key: &Key, item: &Item) -> Result<Document, StoreError> {
    let foreign = |name: &str, expected: &str| {
        let found = item.get(name).map_or("nothing", kind);
        error::foreign_item(place, key, &format!("its `{name}` should be {expected} and is {found}"))
    };
    let Some(AttributeValue::S(version)) = item.get(VERSION) else {
        return Err(foreign(VERSION, "a string (S)"));
    };
    let Some(AttributeValue::B(bytes)) = item.get(BYTES) else { return Err(foreign(BYTES, "binary (B)")) };
    let expires_at = expiry(item).map_err(|NoExpiry| foreign(EXPIRES_AT, "a whole number (N) or nothing"))?;
    Ok(Document {
        bytes: bytes.as_ref().to_vec(),
        version: Version::from_engine(version.as_str()),
        expires_at,
    })
}

/// The time to live is there but is not a valid instant.
pub(super) struct NoExpiry;

/// From when on the item is absent.
pub(super) fn expiry(item: &Item) -> Result<Option<Timestamp>, NoExpiry> {
    match item.get(EXPIRES_AT) {
        None => Ok(None),
        Some(AttributeValue::N(text)) => {
            text.parse().map(|seconds| Some(Timestamp::from_unix_seconds(seconds))).map_err(|_| NoExpiry)
        }
        Some(_) => Err(NoExpiry),
    }
}

/// What an attribute is, without its value.
fn kind(value: &AttributeValue) -> &'static str {
    match value {
        AttributeValue::B(_) => "binary (B)",
        AttributeValue::Bool(_) => "a boolean (BOOL)",
        AttributeValue::Bs(_) | AttributeValue::Ns(_) | AttributeValue::Ss(_) => "a set (BS, NS or SS)",
        AttributeValue::L(_) => "a list (L)",
        AttributeValue::M(_) => "a map (M)",
        AttributeValue::N(_) => "another number (N)",
        AttributeValue::Null(_) => "null (NULL)",
        AttributeValue::S(_) => "a string (S)",
        _ => "of an unknown type",
    }
}

/// The item that is the mark.
pub(super) fn mark() -> Item {
    Item::from([
        (KEY.to_owned(), AttributeValue::S(MARK.to_owned())),
        (SHAPE.to_owned(), AttributeValue::N(CURRENT.to_string())),
    ])
}

/// Whether the mark is there, and of a version that this one can use.
pub(super) fn check_mark(place: &str, item: Option<&Item>) -> Result<bool, StoreError> {
    let Some(item) = item else { return Ok(false) };
    let shape = match item.get(SHAPE) {
        Some(AttributeValue::N(number)) => number.parse().ok(),
        _ => None,
    };
    match shape {
        Some(CURRENT) => Ok(true),
        Some(newer) if newer > CURRENT => Err(error::newer(place, newer, CURRENT)),
        _ => Err(error::items_of_others(place)),
    }
}

/// Refuses a table without the mark in which another program keeps items.
pub(super) async fn check_items(connection: &Connection) -> Result<(), StoreError> {
    let place = connection.place();
    let request = connection.client.scan().table_name(&connection.config.table).consistent_read(true);
    let some = request.limit(LOOKED_AT).send().await.map_err(|problem| error::translate(place, &problem))?;
    if some.items().iter().all(is_ours) { Ok(()) } else { Err(error::items_of_others(place)) }
}

/// Whether an item has all attributes of ours, each of its type, and no other; or is the mark.
fn is_ours(item: &Item) -> bool {
    let Some(AttributeValue::S(key)) = item.get(KEY) else { return false };
    if key == MARK {
        return true;
    }
    let is_version = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let known = [KEY, VERSION, BYTES, EXPIRES_AT, TIME_TO_LIVE];
    Key::parse(key).is_ok()
        && item.keys().all(|name| known.contains(&name.as_str()))
        && matches!(item.get(VERSION), Some(AttributeValue::S(version)) if is_version(version))
        && matches!(item.get(BYTES), Some(AttributeValue::B(_)))
        && expiry(item).is_ok()
}

/// The table as it is, if it is there and of our shape.
pub(super) async fn inspect(connection: &Connection) -> Result<Option<TableDescription>, StoreError> {
    let place = connection.place();
    let description =
        match connection.client.describe_table().table_name(&connection.config.table).send().await {
            Ok(answer) => answer.table,
            Err(problem) => match problem.as_service_error() {
                Some(DescribeTableError::ResourceNotFoundException(_)) => return Ok(None),
                _ => return Err(error::translate(place, &problem)),
            },
        };
    if let Some(description) = &description {
        check(description).map_err(|what| error::not_ours(place, &what))?;
    }
    Ok(description)
}

/// Whether items can be read and written.
pub(super) fn is_usable(table: &TableDescription) -> bool {
    matches!(table.table_status(), Some(TableStatus::Active | TableStatus::Updating))
}

/// How AWS calls the state of a table.
pub(super) fn status(table: &TableDescription) -> &str {
    table.table_status().map_or("in no state", TableStatus::as_str)
}

/// Says what is different about a table's key.
fn check(table: &TableDescription) -> Result<(), String> {
    let type_of = |name: &str| {
        let of = |definition: &&AttributeDefinition| definition.attribute_name() == name;
        table.attribute_definitions().iter().find(of).map(AttributeDefinition::attribute_type)
    };
    let names: Vec<_> = table.key_schema().iter().map(KeySchemaElement::attribute_name).collect();
    match table.key_schema() {
        [one] if one.attribute_name() == KEY && *one.key_type() == KeyType::Hash => match type_of(KEY) {
            Some(ScalarAttributeType::S) => Ok(()),
            found => Err(format!(
                "its partition key `key` is of type {}",
                found.map_or("none", ScalarAttributeType::as_str)
            )),
        },
        [one] => Err(format!("its partition key is {:?}", one.attribute_name())),
        _ => Err(format!("it has a sort key too: {names:?}")),
    }
}
