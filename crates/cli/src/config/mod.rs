//! The configuration: raw (as typed, unknown keys refused) → resolved (typed, validated, secrets loaded).
//!
//! A file in TOML (or a parameter or object on AWS), each value overridable by an environment
//! variable, secrets by reference. JSON Schema and reference page are generated from the raw types,
//! so they cannot say anything else than the program does.

mod clients;
mod grants;
mod raw;
mod reference;
mod resolve;
mod rotation;
mod sealing;

pub(crate) use raw::RawConfig;
#[cfg(feature = "lambda")]
pub(crate) use raw::RawPublish;
pub(crate) use reference::{json_schema, markdown};
pub(crate) use resolve::{Config, JaasKey, Limits, RingConfig};
pub(crate) use sealing::SealingRef;

use crate::{
    failure::{Outcome, configuration},
    files, remote, stores,
};
use countersign_issuer::HttpIssuer;
use countersign_settings::Environment;
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The file used when none is named.
pub(crate) const DEFAULT_FILE: &str = "countersign/countersign.toml";

/// The same in the package of a Lambda function.
const IN_PACKAGE: &str = "countersign.toml";

/// Where the configuration is, whether or not it is there yet.
pub(crate) fn locate(named: Option<&Path>, environment: &Environment) -> PathBuf {
    let path = named
        .map(Path::to_owned)
        .or_else(|| environment.get("COUNTERSIGN_CONFIG").map(PathBuf::from))
        .unwrap_or_else(|| match environment.get("LAMBDA_TASK_ROOT") {
            Some(package) => Path::new(package).join(IN_PACKAGE),
            None => PathBuf::from(DEFAULT_FILE),
        });
    if remote::is_remote(&path) { path } else { environment.folder.join(path) }
}

/// Reads and resolves a configuration. What it refers to on AWS is fetched with it.
pub(crate) async fn load(path: &Path, environment: &Environment, http: HttpIssuer) -> Outcome<Config> {
    let is_remote = remote::is_remote(path);
    let raw: RawConfig = if is_remote {
        let text = remote::configuration_text(path).await?;
        countersign_settings::load_text(path, &text, environment)?
    } else {
        countersign_settings::load(path, environment)?
    };
    let folder = if is_remote { environment.folder.clone() } else { folder_of(path) };
    let config = resolve(raw, folder, environment, http).await.map_err(|why| why.about(path.display()))?;
    if !is_remote
        && environment.get("COUNTERSIGN_STORE__URL").is_none()
        && stores::holds_secret(&config.raw.store.url)
    {
        check_private(path)?;
    }
    Ok(config)
}

/// The same for a file that refers to nothing on AWS.
#[cfg(test)]
pub(crate) fn load_file(path: &Path, environment: &Environment, http: HttpIssuer) -> Outcome<Config> {
    resolve::resolve(countersign_settings::load(path, environment)?, folder_of(path), environment, http)
}

/// The same from variables alone, for a function without any file.
#[cfg(feature = "lambda")]
pub(crate) async fn from_environment(environment: &Environment, http: HttpIssuer) -> Outcome<Config> {
    let raw = countersign_settings::from_environment(environment)?;
    resolve(raw, environment.folder.clone(), environment, http).await
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
