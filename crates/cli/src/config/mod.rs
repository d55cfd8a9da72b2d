//! The configuration: raw (as typed, unknown keys refused) → resolved (typed, validated, secrets loaded).
//!
//! A file in TOML, each value overridable by an environment variable, secrets by reference. JSON Schema and reference
//! page are generated from the raw types, so they can not say anything else than the program does.

mod clients;
mod raw;
mod reference;
mod resolve;
mod rotation;
mod sealing;

pub(crate) use raw::RawConfig;
pub(crate) use reference::{json_schema, markdown};
pub(crate) use resolve::{Config, JaasKey, Limits, RingConfig};
pub(crate) use sealing::SealingRef;

use crate::failure::Outcome;
use countersign_issuer::HttpIssuer;
use countersign_settings::Environment;
use std::path::{Path, PathBuf};

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
    resolve::resolve(raw, folder, environment, http).map_err(|why| why.about(path.display()))
}
