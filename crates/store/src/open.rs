//! `open`: from the line in the configuration to a store.
//!
//! The only place that knows all engines; everything above sees `Arc<dyn Store>`. Refuses an engine that this
//! build does not contain, and says which ones it does.

use std::{path::Path, sync::Arc};

use crate::{Clock, Engine, MemoryStore, Store, StoreError, StoreUrl};

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
    let url = StoreUrl::parse(url)?;
    match url.engine() {
        Engine::Memory => Ok(Arc::new(MemoryStore::new(clock))),
        Engine::Sqlite => open_sqlite(&url, base_dir, clock).await,
        Engine::Postgres | Engine::DynamoDb | Engine::MongoDb | Engine::S3 => Err(not_built_in(&url)),
    }
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(
    url: &StoreUrl,
    base_dir: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Store>, StoreError> {
    let config = crate::SqliteConfig::new(base_dir.join(url.sqlite_path()?));
    Ok(Arc::new(crate::SqliteStore::open(config, clock).await?))
}

#[cfg(not(feature = "sqlite"))]
async fn open_sqlite(url: &StoreUrl, _: &Path, _: Arc<dyn Clock>) -> Result<Arc<dyn Store>, StoreError> {
    Err(not_built_in(url))
}

fn not_built_in(url: &StoreUrl) -> StoreError {
    StoreError::Misconfigured {
        place: format!("the store {url}"),
        reason: format!(
            "this build does not contain the {} engine; it contains {}: choose one of these or another build",
            url.engine().scheme(),
            Engine::built_in()
        ),
    }
}
