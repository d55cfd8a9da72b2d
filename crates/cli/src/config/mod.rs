//! The configuration: raw (as typed, unknown keys refused) → resolved (typed, validated, secrets loaded).
//!
//! A file in TOML, each value overridable by an environment variable, secrets by reference. JSON Schema and reference
//! page are generated from the raw types, so they can not say anything else than the program does.

mod overrides;
mod raw;
mod reference;
mod resolve;

pub(crate) use raw::RawConfig;
pub(crate) use reference::{json_schema, markdown};
pub(crate) use resolve::{Config, JaasKey, Limits};

use crate::{
    failure::{Outcome, configuration},
    files,
};
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
    let shown = path.display();
    let text = files::read_text(path).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound => configuration(format!(
            "there is no configuration at {shown}; make one with `countersign init`, or name another with --config"
        )),
        _ => configuration(format!("{shown} can not be read: {why}")),
    })?;
    // The file by itself first, for errors with line and column.
    toml::from_str::<RawConfig>(&text).map_err(|why| {
        let place = why.span().map_or(String::new(), |span| {
            let before = text.get(..span.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!(" line {line}, column {column}")
        });
        configuration(format!("{shown}{place}: {}", why.message()))
    })?;
    let raw = overrides::apply(&text, environment)?;
    let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
    resolve::resolve(raw, folder, environment, http).map_err(|why| why.about(shown))
}
