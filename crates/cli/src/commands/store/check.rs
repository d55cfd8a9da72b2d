//! `countersign store check`: reads every document, and opens every key with the sealing key of the
//! configuration.
//!
//! Changes nothing. What is damaged ends it with exit code 1, and so does a store without a
//! keyring, which is what is left of a copy that went wrong; a store that cannot be read is another
//! matter and has the exit codes of every command.

use super::{super::Context, clock};
use crate::{
    authority,
    failure::{Outcome, configuration, refused},
    output::{self, counted},
    stores,
};
use countersign_keyring::{KeyringError, StoredKeyring};
use countersign_store::{Store, StoreError};
use std::{collections::BTreeMap, sync::Arc};

/// The keys.
const KEYRING: &str = "keyring";

/// What was found.
#[derive(Default)]
struct Found {
    documents: usize,
    keyrings: usize,
    keys: usize,
    /// How many of them are under which sealing key.
    sealed_by: BTreeMap<String, usize>,
    /// How many are kept by KMS.
    remote: usize,
    /// The encrypted sealing keys.
    data_keys: usize,
    /// Documents of a kind this version does not know: read whole, and no more can be said.
    others: usize,
    /// Why those that are damaged are.
    damaged: Vec<String>,
    /// What a person should put right in the keyring.
    remarks: Vec<String>,
}

pub(super) async fn run(context: &Context<'_>, url: Option<&str>, empty_ok: bool) -> Outcome {
    // With a URL a configuration is only needed for its sealing key.
    let config =
        if url.is_none() || context.has_configuration() { Some(context.load().await?) } else { None };
    let (url, folder) = match (url, &config) {
        (Some(url), _) => (url, &context.environment.folder),
        (None, Some(config)) => (config.raw.store.url.as_str(), &config.folder),
        (None, None) => return Err(configuration("name a store, or the configuration that has one")),
    };
    let url = stores::url(url, folder, context.environment).await?;
    // Looked at first: opening it changes that.
    let mut remarks = countersign_store::remarks_of_files(&url, folder);
    let store = countersign_store::open_existing(&url, folder, clock()?).await?;
    let keyring = match &config {
        Some(config) => {
            let sealing = authority::sealing(config, context.environment)?;
            Some(authority::keyring(config, Arc::clone(&store), sealing))
        }
        None => None,
    };
    let found = look_through(&store, keyring.as_ref()).await?;
    if !found.damaged.is_empty() {
        let (count, why) = (found.damaged.len(), found.damaged.join("; "));
        return Err(refused(
            "store_damaged",
            format!("{count} of {} damaged: {why}", counted(found.documents, "document")),
        ));
    }
    if found.keyrings == 0 && !empty_ok {
        let documents = counted(found.documents, "document");
        let why = format!(
            "there is no keyring in its {documents}: as a backup it is worthless. Make another copy, or say --empty-ok if \
             it is not to have one"
        );
        return Err(refused("store_empty", why));
    }
    remarks.extend(countersign_store::remarks(&url).await?);
    remarks.extend(found.remarks.iter().cloned());
    report(context.json, &found, config.is_some(), &remarks);
    Ok(())
}

async fn look_through(store: &Arc<dyn Store>, keyring: Option<&StoredKeyring>) -> Outcome<Found> {
    let mut found = Found::default();
    let keys = match store.list("").await {
        Err(why @ StoreError::Corrupt { .. }) => return Err(refused("store_damaged", why)),
        keys => keys?,
    };
    for key in keys {
        match store.get(&key).await {
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
        let looked = match key.as_str() {
            KEYRING => {
                found.keyrings += 1;
                look_at_keys(store.as_ref(), keyring, &mut found).await
            }
            _ => {
                found.others += 1;
                Ok(())
            }
        };
        match looked {
            Ok(()) => {}
            Err(KeyringError::Store(why)) if !matches!(why, StoreError::Corrupt { .. }) => {
                return Err(why.into());
            }
            // Nothing can be said of what another key seals.
            Err(why @ KeyringError::WrongSealingKey { .. }) => return Err(why.into()),
            Err(why) => found.damaged.push(format!("{key}: {why}")),
        }
    }
    Ok(found)
}

/// Counts the keys. With a sealing key the document is verified first, and all of them are opened.
async fn look_at_keys(
    store: &dyn Store,
    keyring: Option<&StoredKeyring>,
    found: &mut Found,
) -> Result<(), KeyringError> {
    let keyring = match keyring {
        Some(keyring) => keyring.load().await?.records().clone(),
        None => match StoredKeyring::unverified(store).await? {
            Some(unverified) => unverified.keyring,
            None => return Ok(()), // it has been deleted since
        },
    };
    found.data_keys += keyring.data_keys().len();
    found.remarks.extend(keyring.remarks().iter().map(ToString::to_string));
    for key in keyring.rings().flat_map(|(_, ring)| ring.keys()) {
        found.keys += 1;
        match key.sealed_by() {
            Some(id) => *found.sealed_by.entry(id.to_owned()).or_default() += 1,
            None => found.remote += 1,
        }
    }
    Ok(())
}

/// Remarks are about the engine and not about what is in it, so the store is good all the same.
fn report(json: bool, found: &Found, opened: bool, remarks: &[String]) {
    let Found { documents, keyrings, keys, sealed_by, remote, data_keys, others, damaged: _, remarks: _ } =
        found;
    if json {
        let mut body = serde_json::json!({
            "documents": documents, "keyrings": keyrings, "keys": keys, "keys_opened": opened, "others": others,
            "sealed_by": sealed_by, "kms": remote, "data_keys": data_keys,
        });
        if let (Some(body), false) = (body.as_object_mut(), remarks.is_empty()) {
            body.insert("remarks".to_owned(), remarks.into());
        }
        output::line(&body.to_string());
        return;
    }
    let opened = if opened {
        "every key opens"
    } else {
        "no configuration, so nothing was verified and no key was opened"
    };
    output::line(&format!(
        "good: {}; {} with {} ({opened}), {}",
        counted(*documents, "document"),
        counted(*keyrings, "keyring"),
        counted(*keys, "key"),
        counted(*others, "other"),
    ));
    for (id, count) in sealed_by {
        output::line(&format!("sealed by {id}: {}", counted(*count, "key")));
    }
    if *remote > 0 {
        output::line(&format!("in KMS, and not asked for: {}", counted(*remote, "key")));
    }
    if *data_keys > 0 {
        output::line(&format!("data keys, encrypted under a key of KMS: {data_keys}"));
    }
    for remark in remarks {
        output::line(&format!("  {remark}"));
    }
}
