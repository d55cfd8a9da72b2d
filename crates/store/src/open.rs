//! `open`: from the line in the configuration to a store.
//!
//! The only place that knows all engines; everything above sees `Arc<dyn Store>`. Refuses an engine
//! that this build does not contain, and says which ones it does.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Clock, Engine, MemoryStore, Store, StoreError, StoreUrl};

/// What to do where there is no store yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make one.
    Make,
    /// Refuse; a store that is there is put right as by `Make`.
    Mend,
    /// Refuse, and leave everything as it is.
    Refuse,
}

/// Opens the store at `url`, making it if it does not exist yet.
///
/// Relative paths start at `base_dir`, which is the folder of the configuration file and not
/// wherever the program was started. Expiry is judged by `clock`.
///
/// # Errors
///
/// [`StoreError::Misconfigured`] for a URL that is malformed or names an engine that is not built
/// in; otherwise whatever the engine meets. No message contains credentials of the URL.
pub async fn open(url: &str, base_dir: &Path, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, StoreError> {
    open_or(Missing::Make, url, base_dir, clock).await
}

/// The same for a store that was made before: a mistyped URL, or a place that is not mounted, is
/// told from an empty store.
///
/// # Errors
///
/// As [`open`], and [`StoreError::Missing`] where none exists. What is in `memory:` is made anew
/// for each process.
pub async fn reopen(url: &str, base_dir: &Path, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, StoreError> {
    let is_memory = StoreUrl::parse(url)?.engine() == Engine::Memory;
    open_or(if is_memory { Missing::Make } else { Missing::Mend }, url, base_dir, clock).await
}

/// The same as [`reopen`] for who only looks: nothing is put right.
///
/// # Errors
///
/// As [`open`], and [`StoreError::Missing`] where none exists. `memory:` is always such a place.
pub async fn open_existing(
    url: &str,
    base_dir: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Store>, StoreError> {
    open_or(Missing::Refuse, url, base_dir, clock).await
}

/// What [`create`] found or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Whether there was no store before.
    pub made: bool,
    /// What else was changed, and what could not be, for a person to read.
    pub notes: Vec<String>,
}

/// Makes the store at `url` if it does not exist yet, with everything that opening it does not make
/// for reasons of rights and cost: a DynamoDB table is made here alone. Done again, or by many at
/// once, it makes nothing twice. `progress` is told while something takes long.
///
/// # Errors
///
/// As [`open`], and [`StoreError::Misconfigured`] for `memory:`, of which nothing would be left.
#[cfg_attr(
    not(feature = "dynamodb"),
    expect(unused_variables, reason = "nothing takes long where there is no DynamoDB")
)]
pub async fn create(
    url: &str,
    base_dir: &Path,
    clock: Arc<dyn Clock>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Created, StoreError> {
    let parsed = StoreUrl::parse(url)?;
    match parsed.engine() {
        Engine::Memory => Err(StoreError::Misconfigured {
            place: format!("the store {parsed}"),
            reason: "what is in `memory:` is gone when a program ends; there is nothing to make".to_owned(),
        }),
        #[cfg(feature = "dynamodb")]
        Engine::DynamoDb => {
            crate::DynamoDbStore::create(crate::DynamoDbConfig::parse(&parsed)?, progress).await
        }
        _ => {
            let made = was_missing(open_existing(url, base_dir, Arc::clone(&clock)).await)?;
            open(url, base_dir, clock).await?;
            Ok(Created { made, notes: Vec::new() })
        }
    }
}

/// Whether there was no store, by what opening it came to. A failure of any other kind says nothing
/// about what is there, so nothing may be made because of it.
fn was_missing<T>(opened: Result<T, StoreError>) -> Result<bool, StoreError> {
    match opened {
        Ok(_) => Ok(false),
        Err(StoreError::Missing { .. }) => Ok(true),
        Err(why) => Err(why),
    }
}

/// What a person should know about the store at `url` that keeps nobody from using it.
///
/// # Errors
///
/// Whatever the engine meets.
pub async fn remarks(url: &str) -> Result<Vec<String>, StoreError> {
    let url = StoreUrl::parse(url)?;
    match url.engine() {
        #[cfg(feature = "dynamodb")]
        Engine::DynamoDb => crate::DynamoDbStore::remarks(crate::DynamoDbConfig::parse(&url)?).await,
        _ => Ok(Vec::new()),
    }
}

/// What the files of the store at `url` say about it before it is opened, which changes them. An
/// address that is wrong says nothing here.
#[cfg_attr(not(feature = "sqlite"), expect(unused_variables, reason = "no other engine has files"))]
pub fn remarks_of_files(url: &str, base_dir: &Path) -> Vec<String> {
    #[cfg(feature = "sqlite")]
    if let Ok(url) = StoreUrl::parse(url)
        && url.engine() == Engine::Sqlite
        && let Ok(path) = url.sqlite_path()
    {
        return crate::SqliteStore::remarks_of_files(&base_dir.join(path));
    }
    Vec::new()
}

/// The file of the store at `url`, where it is one on this machine.
pub fn file_of(url: &str, base_dir: &Path) -> Option<PathBuf> {
    let url = StoreUrl::parse(url).ok().filter(|url| url.engine() == Engine::Sqlite)?;
    url.sqlite_path().ok().map(|path| base_dir.join(path))
}

/// As much of a SQLite file as [`is_sqlite_store`] looks at.
pub const SQLITE_HEAD: usize = 72;

/// Whether a file that begins so is a store of this program (SQLite, "Database File Format", 1.3:
/// the application id).
pub fn is_sqlite_store(head: &[u8; SQLITE_HEAD]) -> bool {
    head.starts_with(b"SQLite format 3\0") && head.ends_with(b"CSgn")
}

/// The name of the object that a store in S3 has at its prefix, and nothing else has.
pub const S3_MARK: &str = "!countersign";

/// Whether [`open`] could understand `url`: its form, the engine, and the files it names. Nothing
/// is opened or asked.
///
/// # Errors
///
/// [`StoreError::Misconfigured`] for everything that would be wrong before the store itself is
/// looked at.
#[cfg_attr(
    not(any(feature = "postgres", feature = "mongodb")),
    expect(unused_variables, reason = "the other engines look at no file before they are opened")
)]
pub fn check_url(url: &str, base_dir: &Path) -> Result<(), StoreError> {
    let url = StoreUrl::parse(url)?;
    match url.engine() {
        Engine::Memory => {}
        #[cfg(feature = "sqlite")]
        Engine::Sqlite => {
            url.sqlite_path()?;
        }
        #[cfg(feature = "postgres")]
        Engine::Postgres => drop(crate::PostgresConfig::parse(&url, base_dir)?),
        #[cfg(feature = "dynamodb")]
        Engine::DynamoDb => drop(crate::DynamoDbConfig::parse(&url)?),
        #[cfg(feature = "mongodb")]
        Engine::MongoDb => drop(crate::MongoConfig::parse(&url, base_dir)?),
        #[cfg(feature = "s3")]
        Engine::S3 => drop(crate::S3Config::parse(&url)?),
        #[cfg(not(all(
            feature = "sqlite",
            feature = "postgres",
            feature = "dynamodb",
            feature = "mongodb",
            feature = "s3"
        )))]
        _ => return Err(not_built_in(&url)),
    }
    Ok(())
}

#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres", feature = "mongodb")),
    expect(unused_variables, reason = "the other engines know no paths")
)]
async fn open_or(
    missing: Missing,
    url: &str,
    base_dir: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Store>, StoreError> {
    let url = StoreUrl::parse(url)?;
    // What this finds is a decision of the engine; "not there" is never guessed from another
    // failure.
    Ok(match url.engine() {
        Engine::Memory if missing != Missing::Make => return Err(not_there(&url)),
        Engine::Memory => Arc::new(MemoryStore::new(clock)),
        #[cfg(feature = "sqlite")]
        Engine::Sqlite => {
            let mut config = crate::SqliteConfig::new(base_dir.join(url.sqlite_path()?));
            config.missing = missing;
            Arc::new(crate::SqliteStore::open(config, clock).await?)
        }
        #[cfg(feature = "postgres")]
        Engine::Postgres => {
            let mut config = crate::PostgresConfig::parse(&url, base_dir)?;
            config.missing = missing;
            Arc::new(crate::PostgresStore::open(config, clock).await?)
        }
        // A table that is missing is never made here.
        #[cfg(feature = "dynamodb")]
        Engine::DynamoDb => {
            Arc::new(crate::DynamoDbStore::open(crate::DynamoDbConfig::parse(&url)?, clock).await?)
        }
        #[cfg(feature = "mongodb")]
        Engine::MongoDb => {
            let mut config = crate::MongoConfig::parse(&url, base_dir)?;
            config.missing = missing;
            Arc::new(crate::MongoStore::open(config, clock).await?)
        }
        #[cfg(feature = "s3")]
        Engine::S3 => {
            let mut config = crate::S3Config::parse(&url)?;
            config.missing = missing;
            Arc::new(crate::S3Store::open(config, clock).await?)
        }
        #[cfg(not(all(
            feature = "sqlite",
            feature = "postgres",
            feature = "dynamodb",
            feature = "mongodb",
            feature = "s3"
        )))]
        _ => return Err(not_built_in(&url)),
    })
}

fn not_there(url: &StoreUrl) -> StoreError {
    StoreError::Missing {
        place: format!("the store {url}"),
        reason: "there is no such store; correct the URL".to_owned(),
    }
}

#[cfg(not(all(
    feature = "sqlite",
    feature = "postgres",
    feature = "dynamodb",
    feature = "mongodb",
    feature = "s3"
)))]
fn not_built_in(url: &StoreUrl) -> StoreError {
    let engine = url.engine().scheme();
    StoreError::Misconfigured {
        place: format!("the store {url}"),
        reason: format!(
            "this build does not contain the {engine} engine; it contains {}: choose one of these, or build it with --features {engine}",
            Engine::built_in()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_made_where_none_is_and_for_no_other_reason() {
        let (place, reason) = (String::from("the store"), String::from("why"));
        let key: crate::Key = "keys/a".parse().unwrap();
        assert_eq!(was_missing(Ok(())), Ok(false));
        assert_eq!(
            was_missing::<()>(Err(StoreError::Missing { place: place.clone(), reason: reason.clone() })),
            Ok(true)
        );
        for other in [
            StoreError::Conflict { key: key.clone() },
            StoreError::Denied { place: place.clone(), reason: reason.clone() },
            StoreError::Unavailable { place: place.clone(), reason: reason.clone() },
            StoreError::Corrupt { place: place.clone(), reason: reason.clone() },
            StoreError::Misconfigured { place, reason },
            StoreError::TooLarge { key, size: 1 },
        ] {
            assert_eq!(was_missing::<()>(Err(other.clone())), Err(other));
        }
    }
}
