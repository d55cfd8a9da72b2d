//! `countersign config`: check the configuration, or describe it.
//!
//! `check` finds what `serve` would end with 78 for: references are followed, secrets read and
//! tried, the store's URL is taken apart. Nothing is asked over a network, made or changed; the
//! store of a file on this machine is looked at, to tell whether a sealing key that is missing is a
//! loss, or another one than its keys are sealed with. With `--online` every store is opened, and
//! its keys.

mod prosody;

use super::{Context, publish};
use crate::{
    args::ConfigCommand,
    authority,
    config::{Config, SealingRef, json_schema, markdown},
    failure::{Failure, Outcome, configuration, internal},
    output, scaffold,
    stores::{self, FirstKeys},
};
use countersign_keyring::{Sealing, StoredKeyring};
use countersign_settings::SecretRef;
use countersign_store::{Clock, Engine, Store, StoreError, StoreUrl, SystemClock};
use std::{path::PathBuf, sync::Arc};

pub(super) async fn run(context: &Context<'_>, command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Check { online } => check(context, *online).await?,
        ConfigCommand::Prosody { asap, muc } => prosody::run(context, *asap, muc.as_deref()).await?,
        ConfigCommand::Schema { markdown: true } if context.json => {
            output::line(&serde_json::json!({ "markdown": markdown() }).to_string());
        }
        ConfigCommand::Schema { markdown: true } => output::line(markdown().trim_end()),
        ConfigCommand::Schema { markdown: false } => {
            output::line(&serde_json::to_string_pretty(&json_schema()).map_err(internal)?);
        }
    }
    Ok(())
}

async fn check(context: &Context<'_>, online: bool) -> Outcome {
    let config = context.load().await?;
    config.raw.log.check()?;
    config.warn();
    config.warn_of_other_port(config.listen);
    config.rings.iter().for_each(|ring| ring.warn_of_refusals(ring.spec.algorithm));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    authority::check_clock(clock.now())?;
    let url = stores::url(&config.raw.store.url, &config.folder, context.environment)
        .await
        .map_err(|why| why.about("store.url"))?;
    let about = |why| Failure::from(why).about("store.url");
    countersign_store::check_url(&url, &config.folder).map_err(about)?;
    let engine = url.parse::<StoreUrl>().map_err(about)?.engine();
    if let Some(publish) = &config.raw.publish {
        publish::check_target(publish.target.as_ref(), &config, &url)
            .map_err(|why| why.in_configuration().about("publish.target"))?;
    }
    let missing = missing_sealing_key(&config);
    // What is on this machine is looked at without being asked to.
    if online || matches!(engine, Engine::Sqlite | Engine::Memory) {
        let store = existing(&url, engine, &config, &clock).await?;
        let has_keyring = match &store {
            Some(store) => StoredKeyring::exists(store.as_ref()).await?,
            None => false,
        };
        match (&missing, has_keyring) {
            (Some(path), true) => {
                let why =
                    "is missing, but the store holds keys sealed with it; put the file back from a backup";
                return Err(configuration(format!(
                    "sealing.key {}: {} {why}",
                    config.sealing,
                    path.display()
                )));
            }
            (_, false) if config.first_keys == FirstKeys::Refuse => {
                return Err(authority::missing_keyring(&config));
            }
            _ => {}
        }
    }
    let sealing = match missing {
        None => Some(authority::sealing(&config, context.environment)?),
        Some(_) => {
            for also in &config.sealing_also {
                if let SealingRef::Secret(secret) = also {
                    authority::sealing_key(&config, context.environment, "sealing.also", secret)?;
                }
            }
            None
        }
    };
    let shown = scaffold::shown(&config.raw)?;
    if let Some(sealing) = sealing {
        // Of a sealing key that is in KMS nothing can be said without asking it.
        let is_here = |key: &SealingRef| matches!(key, SealingRef::Secret(_));
        let all_here = is_here(&config.sealing) && config.sealing_also.iter().all(is_here);
        if online {
            open(config, &url, engine, sealing, clock).await?;
        } else if all_here
            && engine == Engine::Sqlite
            && let Some(store) = existing(&url, engine, &config, &clock).await?
        {
            authority::keyring(&config, store, sealing).read().await?;
        }
    }
    if context.json {
        output::line(&shown.to_string());
    } else {
        let text = toml::to_string(&without_nulls(shown)).map_err(internal)?;
        output::line(&format!("# {} is good; with all defaults it says:\n", context.location.shown()));
        output::line(text.trim_end());
    }
    Ok(())
}

/// The file of the sealing key, where none exists yet.
fn missing_sealing_key(config: &Config) -> Option<PathBuf> {
    let SealingRef::Secret(SecretRef::File(path)) = &config.sealing else { return None };
    Some(config.folder.join(path)).filter(|path| !path.exists())
}

/// The store, where there is one.
async fn existing(
    url: &str,
    engine: Engine,
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Outcome<Option<Arc<dyn Store>>> {
    if engine == Engine::Memory {
        return Ok(None);
    }
    match countersign_store::open_existing(url, &config.folder, Arc::clone(clock)).await {
        Ok(store) => Ok(Some(store)),
        Err(StoreError::Missing { .. }) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// What `serve` does with the store, without making anything.
async fn open(config: Config, url: &str, engine: Engine, sealing: Sealing, clock: Arc<dyn Clock>) -> Outcome {
    if let Some(store) = existing(url, engine, &config, &clock).await? {
        let keyring = authority::keyring(&config, store, sealing).load().await?;
        authority::issuer(config, keyring, clock)?;
    }
    Ok(())
}

/// TOML has no null; what is not set is left out.
fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect()
        }
        serde_json::Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}
