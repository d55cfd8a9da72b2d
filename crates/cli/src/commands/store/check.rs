//! `countersign store check`: reads every document, and opens every key with the sealing key of the configuration.
//!
//! Changes nothing. What is damaged ends it with exit code 1; a store that can not be read is another matter and has the
//! exit codes of every command.

use super::{super::Context, clock};
use crate::{
    config::Config,
    failure::{Outcome, configuration, refused},
    output, stores,
};
use countersign_keyring::{KeyringError, Observations, SealingKey, StoredKeyring};
use countersign_store::{Store, StoreError};
use std::sync::Arc;

/// The keys.
const KEYRING: &str = "keyring";
/// What was seen of them in public.
const OBSERVATIONS: &str = "keyring-observations";

/// What was found.
#[derive(Default)]
struct Found {
    documents: usize,
    keyrings: usize,
    keys: usize,
    /// Documents of a kind this version does not know: read whole, and no more can be said.
    others: usize,
    /// Why those that are damaged are.
    damaged: Vec<String>,
}

pub(super) async fn run(context: &Context<'_>, url: Option<&str>) -> Outcome {
    // With a URL a configuration is only needed for its sealing key.
    let config = if url.is_none() || context.file().exists() { Some(context.load()?) } else { None };
    let (url, folder) = match (url, &config) {
        (Some(url), _) => (url, &context.environment.folder),
        (None, Some(config)) => (config.raw.store.url.as_str(), &config.folder),
        (None, None) => return Err(configuration("name a store, or the configuration that has one")),
    };
    let url = stores::url(url, folder, context.environment)?;
    let store = countersign_store::open_existing(&url, folder, clock()?).await?;
    let sealing = match &config {
        Some(config) => Some(Arc::new(sealing_key(config, context)?)),
        None => None,
    };
    let found = look_through(&store, sealing.as_ref()).await?;
    if !found.damaged.is_empty() {
        let (count, why) = (found.damaged.len(), found.damaged.join("; "));
        return Err(refused(
            "store_damaged",
            format!("{count} of {} documents damaged: {why}", found.documents),
        ));
    }
    let remarks = countersign_store::remarks(&url).await?;
    report(context.json, &found, sealing.is_some(), &remarks);
    Ok(())
}

fn sealing_key(config: &Config, context: &Context<'_>) -> Outcome<SealingKey> {
    let about = |why: String| configuration(why).about(format!("sealing.key {}", config.sealing));
    let text =
        config.sealing.read(&config.folder, context.environment).map_err(|why| about(why.to_string()))?;
    SealingKey::from_text(&text).map_err(|why| about(why.to_string()))
}

async fn look_through(store: &Arc<dyn Store>, sealing: Option<&Arc<SealingKey>>) -> Outcome<Found> {
    let mut found = Found::default();
    let keys = match store.list("").await {
        Err(why @ StoreError::Corrupt { .. }) => return Err(refused("store_damaged", why)),
        keys => keys?,
    };
    for key in keys {
        match store.get(&key).await {
            Ok(Some(document)) if key.as_str() == OBSERVATIONS => {
                found.documents += 1;
                if let Err(why) = serde_json::from_slice::<Observations>(&document.bytes) {
                    found.damaged.push(format!(
                        "{key}: not observations (line {}, column {}); a rotator will make them anew",
                        why.line(),
                        why.column()
                    ));
                }
                continue;
            }
            Ok(Some(_)) => {}
            Ok(None) => continue, // it has expired since
            Err(why @ StoreError::Corrupt { .. }) => {
                found.documents += 1;
                found.damaged.push(format!("{key}: {why}"));
                continue;
            }
            Err(why) => return Err(why.into()),
        }
        found.documents += 1;
        if key.as_str() != KEYRING {
            found.others += 1;
            continue;
        }
        found.keyrings += 1;
        match keyring(store, sealing).await {
            Ok(keys) => found.keys += keys,
            Err(KeyringError::Store(why)) if !matches!(why, StoreError::Corrupt { .. }) => {
                return Err(why.into());
            }
            Err(why) => found.damaged.push(format!("{key}: {why}")),
        }
    }
    Ok(found)
}

/// How many keys there are; all of them were opened if there is a sealing key.
async fn keyring(store: &Arc<dyn Store>, sealing: Option<&Arc<SealingKey>>) -> Result<usize, KeyringError> {
    let (keyring, opens) = match sealing {
        Some(sealing) => (StoredKeyring::new(Arc::clone(store), Arc::clone(sealing)), true),
        // Reading needs none; this one opens nothing.
        None => (StoredKeyring::new(Arc::clone(store), Arc::new(SealingKey::generate()?.0)), false),
    };
    if opens {
        keyring.load().await?;
    }
    let (keyring, _) = keyring.read().await?;
    Ok(keyring.rings().map(|(_, ring)| ring.keys().len()).sum())
}

/// Remarks are about the engine and not about what is in it, so the store is good all the same.
fn report(json: bool, found: &Found, opened: bool, remarks: &[String]) {
    let Found { documents, keyrings, keys, others, damaged: _ } = found;
    if json {
        let mut body = serde_json::json!({
            "documents": documents, "keyrings": keyrings, "keys": keys, "keys_opened": opened, "others": others,
        });
        if let (Some(body), false) = (body.as_object_mut(), remarks.is_empty()) {
            body.insert("remarks".to_owned(), remarks.into());
        }
        output::line(&body.to_string());
        return;
    }
    let opened = if opened { "every key opens" } else { "no configuration, so no key was opened" };
    output::line(&format!(
        "good: {documents} documents; keyrings {keyrings} with {keys} keys ({opened}), others {others}"
    ));
    for remark in remarks {
        output::line(&format!("  {remark}"));
    }
}
