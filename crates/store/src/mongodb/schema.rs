//! The shape of the collection: what a document looks like there, the questions about one, and an
//! index that is the mark.
//!
//! `{_id: KEY, version, bytes, expires_at}`, the last one only where there is an expiry. The index
//! on `expires_at` removes documents an hour after they expired, by the server's clock; its name
//! says that the collection is ours and of which shape. Without it, a collection is ours if the
//! first hundred documents have exactly these members: an index that deletes must never be put on
//! the collection of another program. Such a collection, one of a newer version, and one that does
//! not compare names byte by byte are refused without a change. Where the index is there nothing is
//! written. Every value of a query is a typed BSON value, so what a key holds is never an operator.

use ::mongodb::{
    Collection, Database, IndexModel,
    bson::{Binary, Bson, DateTime, Document as BsonDocument, doc, spec::BinarySubtype},
    options::IndexOptions,
};
use countersign_jose::Timestamp;

use super::{
    config::MongoConfig,
    connect::{Connection, Failed},
    error,
};
use crate::{Document, Key, Missing, StoreError, Version, sweep::MARGIN};

/// The mark, without the number of the shape.
const MARK: &str = "countersign_documents_v";
/// The shape below.
const VERSION: u32 = 1;
/// How many documents say whose a collection without the mark is.
const LOOKED_AT: i64 = 100;

/// A document as it is written.
pub(super) fn document(
    key: &Key,
    version: &Version,
    bytes: &[u8],
    expires_at: Option<Timestamp>,
) -> BsonDocument {
    let bytes = Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() };
    let mut document = doc! { "_id": key.as_str(), "version": version.as_str(), "bytes": bytes };
    if let Some(expires_at) = expires_at {
        document.insert("expires_at", date(expires_at));
    }
    document
}

/// A document without its content.
pub(super) struct State {
    pub(super) version: Version,
    expires_at: Option<Timestamp>,
}

impl State {
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// The members that [`read_state`] needs.
pub(super) fn state_members() -> BsonDocument {
    doc! { "version": 1, "expires_at": 1 }
}

/// What was read without the content.
pub(super) fn read_state(place: &str, found: &BsonDocument) -> Result<State, StoreError> {
    let version = found.get_str("version").map_err(|_| foreign(place, "version"))?;
    let expires_at = match found.get("expires_at") {
        None => None,
        Some(Bson::DateTime(at)) => {
            Some(Timestamp::from_unix_seconds(at.timestamp_millis().div_euclid(1000)))
        }
        Some(_) => return Err(foreign(place, "expires_at")),
    };
    Ok(State { version: Version::from_engine(version), expires_at })
}

/// A document that was read whole.
pub(super) fn read(place: &str, found: &BsonDocument) -> Result<Document, StoreError> {
    let State { version, expires_at } = read_state(place, found)?;
    let bytes = content(found).ok_or_else(|| foreign(place, "bytes"))?.to_vec();
    Ok(Document { bytes, version, expires_at })
}

fn content(found: &BsonDocument) -> Option<&[u8]> {
    match found.get("bytes") {
        Some(Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes })) => Some(bytes),
        _ => None,
    }
}

fn foreign(place: &str, member: &str) -> StoreError {
    error::foreign(place, &format!("its `{member}` is not what this program writes"))
}

/// Whether a document has all members of ours, each of its kind, and no other.
fn is_ours(found: &BsonDocument) -> bool {
    let is_version = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let members = 3 + usize::from(matches!(found.get("expires_at"), Some(Bson::DateTime(_))));
    found.len() == members
        && found.get_str("_id").is_ok_and(|text| Key::parse(text).is_ok())
        && found.get_str("version").is_ok_and(is_version)
        && content(found).is_some()
}

/// The key of what was listed.
pub(super) fn key(place: &str, found: &BsonDocument) -> Result<Key, StoreError> {
    let text = found.get_str("_id").map_err(|_| error::foreign(place, "its `_id` is no text"))?;
    Key::parse(text).map_err(|reason| error::foreign(place, &reason.to_string()))
}

/// The document of a key, whatever became of it.
pub(super) fn named(key: &Key) -> BsonDocument {
    doc! { "_id": key.as_str() }
}

/// The document of a key, if it has expired.
pub(super) fn expired(key: &Key, now: Timestamp) -> BsonDocument {
    doc! { "_id": key.as_str(), "expires_at": { "$lte": date(now) } }
}

/// The document of a key, if it is at a version.
pub(super) fn at(key: &Key, version: &Version) -> BsonDocument {
    doc! { "_id": key.as_str(), "version": version.as_str() }
}

/// The same, if it is alive.
pub(super) fn live_at(key: &Key, version: &Version, now: Timestamp) -> BsonDocument {
    let mut question = at(key, version);
    question.insert("expires_at", alive(now));
    question
}

/// Live documents whose keys start with `prefix`. A range and no pattern; for all keys no range, so
/// that names which are none of ours are found.
pub(super) fn live_below(prefix: &str, now: Timestamp) -> BsonDocument {
    let mut question = doc! { "expires_at": alive(now) };
    if !prefix.is_empty() {
        // All bytes of a key are below 0x7F.
        question.insert("_id", doc! { "$gte": prefix, "$lt": format!("{prefix}\u{7f}") });
    }
    question
}

/// No expiry, or a later one.
fn alive(now: Timestamp) -> BsonDocument {
    doc! { "$not": { "$lte": date(now) } }
}

fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.unix_seconds().saturating_mul(1000))
}

/// What a collection is.
enum Owner {
    /// Nobody's: it is not there, or empty.
    Nobody,
    /// Ours, and the index is missing.
    Unmarked,
    Us,
}

/// Checks the collection and gives an empty one its index. Done again, or by many at once, it does
/// nothing.
pub(super) async fn prepare(connection: &Connection) -> Result<(), StoreError> {
    let config = &connection.config;
    match (owner(connection).await?, config.missing) {
        (Owner::Us, _) | (Owner::Unmarked, Missing::Refuse) => return Ok(()),
        (Owner::Nobody, Missing::Mend | Missing::Refuse) => {
            return Err(error::not_there(&config.place, &config.collection));
        }
        (Owner::Nobody | Owner::Unmarked, Missing::Make) | (Owner::Unmarked, Missing::Mend) => {}
    }
    let index = IndexModel::builder()
        .keys(doc! { "expires_at": 1 })
        .options(IndexOptions::builder().name(format!("{MARK}{VERSION}")).expire_after(MARGIN).build());
    let index = index.build();
    let made = async |database| documents(config, &database).create_index(index).await;
    let made = connection.wait(made).await;
    made.map(|_| ()).map_err(|failed| error::failed(&config.place, &failed))
}

/// The collection of a store.
pub(super) fn documents(config: &MongoConfig, database: &Database) -> Collection<BsonDocument> {
    database.collection(&config.collection)
}

async fn owner(connection: &Connection) -> Result<Owner, StoreError> {
    let (place, name) = (&connection.config.place, &connection.config.collection);
    for index in indexes(connection).await.map_err(|failed| error::failed(place, &failed))? {
        let options = index.options.unwrap_or_default();
        let called = options.name.unwrap_or_default();
        if called == "_id_" && options.collation.is_some_and(|collation| collation.locale != "simple") {
            return Err(error::collated(place, name));
        }
        match called.strip_prefix(MARK).map(str::parse::<u32>) {
            Some(Ok(VERSION)) => return Ok(Owner::Us),
            Some(Ok(newer)) if newer > VERSION => return Err(error::newer(place, newer, VERSION)),
            _ => {}
        }
    }
    let config = &connection.config;
    let failed = |failed: Failed| error::failed(place, &failed);
    let some = async |database| {
        let documents = documents(config, &database);
        let query = documents.find(doc! {}).limit(LOOKED_AT).batch_size(16);
        query.max_time(config.operation_timeout).await
    };
    let mut cursor = connection.wait(some).await.map_err(failed)?;
    let mut owner = Owner::Nobody;
    while connection.wait(|_| cursor.advance()).await.map_err(failed)? {
        if !cursor.deserialize_current().is_ok_and(|found| is_ours(&found)) {
            return Err(error::not_ours(place, name));
        }
        owner = Owner::Unmarked;
    }
    Ok(owner)
}

/// The indexes of a collection; none if it is not there.
async fn indexes(connection: &Connection) -> Result<Vec<IndexModel>, Failed> {
    let config = &connection.config;
    let all = async |database| {
        let documents = documents(config, &database);
        let mut cursor = documents.list_indexes().max_time(config.operation_timeout).await?;
        let mut indexes = Vec::new();
        while cursor.advance().await? {
            indexes.push(cursor.deserialize_current()?);
        }
        Ok(indexes)
    };
    match connection.wait(all).await {
        Err(Failed::Engine(problem)) if error::is_no_collection(&problem) => Ok(Vec::new()),
        outcome => outcome,
    }
}
