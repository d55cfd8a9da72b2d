//! The configuration: raw (as typed, unknown keys refused) → resolved (typed, validated, secrets loaded).
//!
//! A file in TOML (or a parameter or object on AWS), each value overridable by an environment
//! variable, secrets by reference. JSON Schema and reference page are generated from the raw types,
//! so they cannot say anything else than the program does.

mod clients;
mod consumers;
mod exchange;
mod grants;
mod id_jags;
mod location;
mod meetings;
mod place;
mod raw;
mod reference;
mod resolve;
mod rotation;
mod sealing;
mod subjects;
mod uploads;
mod upstream;
mod webhooks;
mod workloads;

pub(crate) use location::Location;
#[cfg(feature = "lambda")]
pub(crate) use raw::RawPublish;
pub(crate) use raw::{RawClient, RawConfig, RawJitsiProfile};
pub(crate) use reference::{json_schema, markdown};
pub(crate) use resolve::{Config, JaasKey, Limits, OutsideKey, RingConfig};
pub(crate) use sealing::SealingRef;

use crate::{
    failure::{Outcome, configuration},
    files, remote, stores,
};
use countersign_issuer::HttpIssuer;
use countersign_settings::{Environment, SettingsError};
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Reads and resolves the configuration. What it refers to on AWS is fetched with it.
pub(crate) async fn load(
    location: &Location,
    environment: &Environment,
    http: HttpIssuer,
) -> Outcome<Config> {
    location.check()?;
    if location.is_environment() {
        return from_environment(environment, http).await;
    }
    load_at(location, location.file(), environment, http).await
}

/// The same from a file that is not yet in its place.
pub(crate) async fn load_draft(path: &Path, environment: &Environment, http: HttpIssuer) -> Outcome<Config> {
    load_at(&Location::find(Some(path), environment), path, environment, http).await
}

async fn load_at(
    location: &Location,
    path: &Path,
    environment: &Environment,
    http: HttpIssuer,
) -> Outcome<Config> {
    let is_remote = remote::is_remote(path);
    let raw = read(location, path, environment).await?;
    let folder = if is_remote { environment.folder.clone() } else { folder_of(path) };
    let config = resolve(raw, folder, environment, http).await;
    let config = config.map_err(|why| place::of(why, &path.display().to_string(), environment))?;
    if !is_remote
        && environment.get("COUNTERSIGN_STORE__URL").is_none()
        && stores::holds_secret(&config.raw.store.url)
    {
        check_private(path)?;
    }
    Ok(config)
}

async fn read(location: &Location, path: &Path, environment: &Environment) -> Outcome<RawConfig> {
    if remote::is_remote(path) {
        let text = remote::configuration_text(path, environment).await?;
        return Ok(countersign_settings::load_text(path, &text, environment)?);
    }
    countersign_settings::load(path, environment).map_err(|why| match why {
        SettingsError::Missing { .. } => location.missing(),
        why => why.into(),
    })
}

/// Only what says whose tokens are accepted, as the authorizer on Lambda has it: without an issuer of one's own. With the
/// folder that relative paths in it begin in; `None` where the configuration has an issuer.
pub(crate) async fn gate_alone(
    location: &Location,
    environment: &Environment,
) -> Outcome<Option<(RawConfig, PathBuf)>> {
    location.check()?;
    let (raw, folder): (RawConfig, _) = if location.has_file() {
        (read(location, location.file(), environment).await?, folder_of(location.file()))
    } else {
        (countersign_settings::from_environment(environment)?, environment.folder.clone())
    };
    Ok(raw.issuer.is_empty().then_some((raw, folder)))
}

/// The same for a file that refers to nothing on AWS.
#[cfg(test)]
pub(crate) fn load_file(path: &Path, environment: &Environment, http: HttpIssuer) -> Outcome<Config> {
    resolve::resolve(countersign_settings::load(path, environment)?, folder_of(path), environment, http)
}

/// The same from variables alone.
pub(crate) async fn from_environment(environment: &Environment, http: HttpIssuer) -> Outcome<Config> {
    let raw = countersign_settings::from_environment(environment)?;
    let config = resolve(raw, environment.folder.clone(), environment, http).await;
    config.map_err(|why| place::of(why, "the variables COUNTERSIGN_…", environment))
}

/// Checks entries to paste, of clients and rules, as far as nothing has to be read for it.
pub(crate) fn check_entry(text: &str) -> Outcome {
    let text = format!("issuer = \"https://issuer.example\"\n\n{text}");
    let raw: RawConfig = toml::from_str(&text).map_err(configuration)?;
    grants::check(&raw)?;
    workloads::check(&raw)
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).to_owned()
}

async fn resolve(
    raw: RawConfig,
    folder: PathBuf,
    environment: &Environment,
    http: HttpIssuer,
) -> Outcome<Config> {
    remote::fetch_references(&raw, environment).await;
    resolve::resolve(raw, folder, environment, http)
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
