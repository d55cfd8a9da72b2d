//! The configuration: raw (as typed, unknown keys refused) → resolved (typed, validated, secrets loaded).
//!
//! A file in TOML, each value overridable by an environment variable, secrets by reference. JSON Schema and reference
//! page are generated from the raw types, so they cannot say anything else than the program does.

mod clients;
mod grants;
mod raw;
mod reference;
mod resolve;
mod rotation;
mod sealing;

pub(crate) use raw::RawConfig;
pub(crate) use reference::{json_schema, markdown};
pub(crate) use resolve::{Config, JaasKey, Limits, RingConfig};
pub(crate) use sealing::SealingRef;

use crate::{
    failure::{Outcome, configuration},
    files, stores,
};
use countersign_issuer::HttpIssuer;
use countersign_settings::Environment;
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The file used when none is named.
pub(crate) const DEFAULT_FILE: &str = "countersign/countersign.toml";

/// Where the configuration is, whether or not it is there yet.
pub(crate) fn locate(named: Option<&Path>, environment: &Environment) -> PathBuf {
    let path = named
        .map(Path::to_owned)
        .or_else(|| environment.get("COUNTERSIGN_CONFIG").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    environment.folder.join(path)
}

/// Reads and resolves a configuration file.
pub(crate) fn load(path: &Path, environment: &Environment, http: HttpIssuer) -> Outcome<Config> {
    let raw = countersign_settings::load(path, environment)?;
    let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
    let config = resolve::resolve(raw, folder, environment, http).map_err(|why| why.about(path.display()))?;
    if environment.get("COUNTERSIGN_STORE__URL").is_none() && stores::holds_secret(&config.raw.store.url) {
        check_private(path)?;
    }
    Ok(config)
}

/// The file itself holds a secret, and so is one.
fn check_private(path: &Path) -> Outcome {
    let metadata = std::fs::metadata(path).map_err(|why| configuration(why).about(path.display()))?;
    if files::is_readable_by_others(&metadata) {
        let mode = metadata.mode() & 0o7777;
        let why = format!(
            "{0} can be read by other users (mode {mode:04o}), and the URL in store.url has a password in it; run: chmod 600 {0}; or write store.url = \"env:NAME\"",
            path.display()
        );
        return Err(configuration(why));
    }
    Ok(())
}
