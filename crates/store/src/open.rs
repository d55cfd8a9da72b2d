//! `open`: from the line in the configuration to a store.
//!
//! The only place that knows all engines; everything above sees `Arc<dyn Store>`. Refuses an engine that this
//! build does not contain, and says which ones it does.

use std::{path::Path, sync::Arc};

use crate::{Clock, Engine, MemoryStore, Store, StoreError, StoreUrl};

/// What to do where there is no store yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make one.
    Make,
    /// Refuse, and leave everything as it is.
    Refuse,
}

/// Opens the store at `url`, making it if it does not exist yet.
///
/// Relative paths start at `base_dir`, which is the folder of the configuration file and not wherever the
/// program was started. Expiry is judged by `clock`.
///
/// # Errors
///
/// [`StoreError::Misconfigured`] for a URL that is malformed or names an engine that is not built in; otherwise
/// whatever the engine meets. No message contains credentials of the URL.
pub async fn open(url: &str, base_dir: &Path, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, StoreError> {
    open_or(Missing::Make, url, base_dir, clock).await
}

/// The same for a store that has to be there: a mistyped URL is told from an empty store.
///
/// # Errors
///
/// As [`open`], and [`StoreError::Misconfigured`] where there is none. `memory:` is always such a place.
pub async fn open_existing(
    url: &str,
    base_dir: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Store>, StoreError> {
    open_or(Missing::Refuse, url, base_dir, clock).await
}

async fn open_or(
    missing: Missing,
    url: &str,
    base_dir: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Store>, StoreError> {
    let url = StoreUrl::parse(url)?;
    match url.engine() {
        Engine::Memory if missing == Missing::Refuse => Err(not_there(&url)),
        Engine::Memory => Ok(Arc::new(MemoryStore::new(clock))),
        Engine::Sqlite => open_sqlite(&url, base_dir, clock, missing).await,
        Engine::Postgres => open_postgres(&url, base_dir, clock, missing).await,
        Engine::MongoDb => open_mongodb(&url, base_dir, clock, missing).await,
        Engine::DynamoDb | Engine::S3 => Err(not_built_in(&url)),
    }
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(
    url: &StoreUrl,
    base_dir: &Path,
    clock: Arc<dyn Clock>,
    missing: Missing,
) -> Result<Arc<dyn Store>, StoreError> {
    let config = crate::SqliteConfig::new(base_dir.join(url.sqlite_path()?));
    if missing == Missing::Refuse && !config.path.exists() {
        return Err(not_there(url));
    }
    Ok(Arc::new(crate::SqliteStore::open(config, clock).await?))
}

#[cfg(not(feature = "sqlite"))]
async fn open_sqlite(
    url: &StoreUrl,
    _: &Path,
    _: Arc<dyn Clock>,
    _: Missing,
) -> Result<Arc<dyn Store>, StoreError> {
    Err(not_built_in(url))
}

#[cfg(feature = "postgres")]
async fn open_postgres(
    url: &StoreUrl,
    base_dir: &Path,
    clock: Arc<dyn Clock>,
    missing: Missing,
) -> Result<Arc<dyn Store>, StoreError> {
    let mut config = crate::PostgresConfig::parse(url, base_dir)?;
    config.missing = missing;
    Ok(Arc::new(crate::PostgresStore::open(config, clock).await?))
}

#[cfg(not(feature = "postgres"))]
async fn open_postgres(
    url: &StoreUrl,
    _: &Path,
    _: Arc<dyn Clock>,
    _: Missing,
) -> Result<Arc<dyn Store>, StoreError> {
    Err(not_built_in(url))
}

#[cfg(feature = "mongodb")]
async fn open_mongodb(
    url: &StoreUrl,
    base_dir: &Path,
    clock: Arc<dyn Clock>,
    missing: Missing,
) -> Result<Arc<dyn Store>, StoreError> {
    let mut config = crate::MongoConfig::parse(url, base_dir)?;
    config.missing = missing;
    Ok(Arc::new(crate::MongoStore::open(config, clock).await?))
}

#[cfg(not(feature = "mongodb"))]
async fn open_mongodb(
    url: &StoreUrl,
    _: &Path,
    _: Arc<dyn Clock>,
    _: Missing,
) -> Result<Arc<dyn Store>, StoreError> {
    Err(not_built_in(url))
}

fn not_there(url: &StoreUrl) -> StoreError {
    StoreError::Misconfigured {
        place: format!("the store {url}"),
        reason: "there is no such store; correct the URL".to_owned(),
    }
}

fn not_built_in(url: &StoreUrl) -> StoreError {
    let engine = url.engine().scheme();
    let remedy = match url.engine() {
        Engine::Memory | Engine::Sqlite | Engine::Postgres | Engine::MongoDb => {
            format!("choose one of these, or build it with --features {engine}")
        }
        Engine::DynamoDb | Engine::S3 => "choose one of these".to_owned(),
    };
    StoreError::Misconfigured {
        place: format!("the store {url}"),
        reason: format!(
            "this build does not contain the {engine} engine; it contains {}: {remedy}",
            Engine::built_in()
        ),
    }
}
