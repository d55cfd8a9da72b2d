//! `SqliteConfig`: what can be chosen about a SQLite store.

use std::{path::PathBuf, time::Duration};

use crate::Missing;

/// Where the file is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The file. Its folder has to exist.
    pub path: PathBuf,
    /// How long an operation waits while another process holds the file, before it reports
    /// `Unavailable`.
    pub busy_timeout: Duration,
    /// Whether the file is made where none exists.
    pub missing: Missing,
}

impl SqliteConfig {
    /// A store in the file at `path`, with the usual patience of five seconds.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), busy_timeout: Duration::from_secs(5), missing: Missing::Make }
    }
}
