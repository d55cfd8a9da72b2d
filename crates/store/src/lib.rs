//! Versioned documents with an expiry behind one compare-and-set, on any engine.
//!
//! Guarantees, on every engine: a `put` or `delete` takes effect whole or not at all and only if
//! its expectation held; when `put` has returned, the document is durable; a version is never used
//! twice for a key; an expired document is absent at once. Refuses: keys outside the safe alphabet,
//! documents above [`MAX_DOCUMENT_BYTES`], files and tables that are not its own.
//!
//! The keyring, refresh families and replay protection are built on this and on nothing else. The
//! rules are written down as code in the `conformance` module (feature `conformance`), which every
//! engine runs.

mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod document;
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod error;
mod key;
mod memory;
#[cfg(feature = "mongodb")]
mod mongodb;
mod open;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "s3")]
mod s3;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod sweep;
#[cfg(any(
    feature = "sqlite",
    feature = "postgres",
    feature = "dynamodb",
    feature = "mongodb",
    feature = "s3"
))]
mod uninterrupted;
mod url;

pub use clock::{Clock, ClockJump, ClockWatch, ManualClock, Moment, SystemClock};
pub use document::{Document, Expect, MAX_DOCUMENT_BYTES, Version};
#[cfg(feature = "dynamodb")]
pub use dynamodb::{DynamoDbConfig, DynamoDbStore};
pub use error::StoreError;
pub use key::{Key, KeyError};
pub use memory::MemoryStore;
#[cfg(feature = "mongodb")]
pub use mongodb::{ForeignLimits, MongoConfig, MongoStore, read_foreign_collection};
pub use open::{
    Created, Missing, S3_MARK, SQLITE_HEAD, check_url, create, file_of, is_sqlite_store, open, open_existing,
    remarks, remarks_of_files, reopen,
};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresConfig, PostgresStore, TlsMode};
#[cfg(feature = "s3")]
pub use s3::{Bucket, Condition, Listed, Object, Part, S3Config, S3Store, ServedAs};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteConfig, SqliteStore};
pub use store::Store;
pub use url::{Engine, StoreUrl};
