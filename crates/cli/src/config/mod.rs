//! The configuration: raw (as typed, unknown keys refused) → resolved (typed, validated, secrets
//! loaded).
//!
//! A file in TOML (or a parameter or object on AWS), each value overridable by an environment
//! variable, secrets by reference. JSON Schema and reference page are generated from the raw types,
//! so they cannot say anything else than the program does.

mod clients;
mod consumers;
mod exchange;
mod grants;
mod id_jags;
mod jaas_key;
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
mod values;
mod webhooks;
mod workloads;

pub(crate) use jaas_key::JaasKey;
pub(crate) use location::Location;
#[cfg(feature = "lambda")]
pub(crate) use raw::RawPublish;
pub(crate) use raw::{RawClient, RawConfig, RawJitsiProfile};
pub(crate) use reference::{json_schema, markdown};
pub(crate) use resolve::{Config, Limits, OutsideKey, RingConfig};
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
    let file = (!location.is_environment()).then(|| location.file());
    read(location, file, environment).await?.resolve(environment, http).await
}

/// The same from a file that is not yet in its place.
pub(crate) async fn load_draft(path: &Path, environment: &Environment, http: HttpIssuer) -> Outcome<Config> {
    let location = Location::find(Some(path), environment);
    read(&location, Some(path), environment).await?.resolve(environment, http).await
}

/// The configuration at hand, of an authority or of a gate alone, as the authorizer on Lambda has
/// it. It is read once.
pub(crate) async fn at_hand(location: &Location, environment: &Environment) -> Outcome<AsRead> {
    location.check()?;
    read(location, location.has_file().then(|| location.file()), environment).await
}

/// A configuration as it was read, and nothing of it resolved.
#[derive(Debug)]
pub(crate) struct AsRead {
    pub(crate) raw: RawConfig,
    /// Where relative paths in it begin.
    pub(crate) folder: PathBuf,
    /// The file it was in; none for variables alone.
    file: Option<PathBuf>,
}

impl AsRead {
    /// Whether it says only whose tokens are accepted: without an issuer of one's own.
    pub(crate) fn is_gate_alone(&self) -> bool {
        self.raw.issuer.is_empty()
    }

    /// Refuses what the authorizer ends with 78 for: it knows nothing of issuers.
    pub(crate) fn check_gate_alone(&self) -> Outcome {
        let Some(path) = self.file.as_ref().filter(|path| !remote::is_remote(path)) else { return Ok(()) };
        let text = files::read_text(path).map_err(|why| configuration(why).about(path.display()))?;
        let table: toml::Table = text.parse().map_err(configuration)?;
        match table.keys().find(|key| !matches!(key.as_str(), "trust" | "gate" | "log")) {
            None => Ok(()),
            Some(key) => Err(configuration(format!(
                "{}: `{key}` is a setting of an issuer, and there is no `issuer`: without one this is a file for the authorizer, \
                 which ends at anything but [[trust]], [gate] and [log]; take `{key}` out, or set issuer",
                path.display()
            ))),
        }
    }

    /// Fetches what it refers to on AWS, and resolves it.
    pub(crate) async fn resolve(self, environment: &Environment, http: HttpIssuer) -> Outcome<Config> {
        let Self { raw, folder, file } = self;
        let shown = file
            .as_ref()
            .map_or("the variables COUNTERSIGN_…".to_owned(), |file| file.display().to_string());
        let config = resolve(raw, folder, environment, http).await;
        let config = config.map_err(|why| place::of(why, &shown, environment))?;
        if let Some(file) = file.filter(|file| !remote::is_remote(file))
            && environment.get("COUNTERSIGN_STORE__URL").is_none()
            && stores::holds_secret(&config.raw.store.url)
        {
            check_private(&file)?;
        }
        Ok(config)
    }
}

/// What a file says, or the variables alone.
async fn read(location: &Location, file: Option<&Path>, environment: &Environment) -> Outcome<AsRead> {
    let Some(path) = file else {
        let raw = countersign_settings::from_environment(environment)?;
        return Ok(AsRead { raw, folder: environment.folder.clone(), file: None });
    };
    let file = Some(path.to_owned());
    if remote::is_remote(path) {
        let text = remote::configuration_text(path, environment).await?;
        let raw = countersign_settings::load_text(path, &text, environment)?;
        return Ok(AsRead { raw, folder: environment.folder.clone(), file });
    }
    let raw = countersign_settings::load(path, environment).map_err(|why| match why {
        SettingsError::Missing { .. } => location.missing(),
        why => why.into(),
    })?;
    Ok(AsRead { raw, folder: folder_of(path), file })
}

/// The same for a file that refers to nothing on AWS.
#[cfg(test)]
pub(crate) fn load_file(path: &Path, environment: &Environment, http: HttpIssuer) -> Outcome<Config> {
    resolve::resolve(countersign_settings::load(path, environment)?, folder_of(path), environment, http)
}

/// The same from variables alone.
#[cfg(feature = "lambda")]
pub(crate) async fn from_environment(environment: &Environment, http: HttpIssuer) -> Outcome<Config> {
    let raw = countersign_settings::from_environment(environment)?;
    AsRead { raw, folder: environment.folder.clone(), file: None }.resolve(environment, http).await
}

/// Checks entries to paste, of clients and rules, as far as nothing has to be read for it.
pub(crate) fn check_entry(text: &str) -> Outcome {
    let text = format!("issuer = \"https://issuer.example\"\n\n{text}");
    let raw: RawConfig = toml::from_str(&text).map_err(configuration)?;
    grants::check(&raw)?;
    workloads::check(&raw)
}

/// The same with the configuration that they are for. A file that they refer to may be made later.
pub(crate) fn check_added(
    config: &Config,
    text: &str,
    environment: &Environment,
    http: HttpIssuer,
) -> Outcome {
    let text = format!("issuer = {:?}\n\n{text}", config.raw.issuer);
    let added: RawConfig = toml::from_str(&text).map_err(configuration)?;
    let is_missing = |reference: &Option<String>| {
        let path = reference.as_ref().and_then(|reference| reference.strip_prefix("file:"));
        path.is_some_and(|path| !config.folder.join(path).exists())
    };
    let mut raw = config.raw.clone();
    for mut client in added.clients {
        if let Some(assertions) =
            client.assertions.as_mut().filter(|a| is_missing(&a.jwks) || is_missing(&a.pem))
        {
            (assertions.jwks, assertions.pem) = (None, None);
            assertions.keys_url = Some("https://keys.example/jwks".to_owned());
        }
        if is_missing(&client.claims.schema) {
            client.claims.schema = None;
        }
        raw.clients.push(client);
    }
    raw.exchange.extend(added.exchange);
    resolve::resolve(raw, config.folder.clone(), environment, http).map(|_| ())
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
