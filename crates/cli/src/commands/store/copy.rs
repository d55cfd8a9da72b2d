//! `countersign store copy`: every live document of one store into another, with its expiry.
//!
//! The target is empty, or has nothing that the source has not: then it is an earlier copy that was interrupted, and this
//! one finishes it. Nothing is overwritten, and nothing is written before all of the target was looked at. At the end
//! both are read again and compared, because somebody may have changed the source meanwhile. Documents get new
//! versions; nobody remembers those across stores. Private keys stay sealed on the way.

use super::{super::Context, clock, existing};
use crate::{
    failure::{Failure, Outcome, refused, usage},
    output, stores,
};
use countersign_store::{Document, Expect, Key, Store, StoreError};
use std::{collections::BTreeSet, fmt::Display};

/// How a document stands in the target.
enum Standing {
    /// Not there.
    Missing,
    /// There, as in the source.
    Same,
    /// There, but otherwise.
    Different,
}

pub(super) async fn run(context: &Context<'_>, from: &str, to: &str) -> Outcome {
    let source = existing(context, from).await.map_err(|why| why.about("FROM"))?;
    let target_url = stores::url(to, &context.environment.folder, context.environment)?;
    if target_url.trim_end().eq_ignore_ascii_case("memory:") {
        return Err(usage("TO: what is in `memory:` is gone when this command ends"));
    }
    let target = countersign_store::open(&target_url, &context.environment.folder, clock()?)
        .await
        .map_err(|why| Failure::from(why).about("TO"))?;
    let (source, target) = (source.as_ref(), target.as_ref());

    let keys = source.list("").await?;
    refuse_what_is_not_a_copy(source, target, &keys).await?;
    let (mut copied, mut already_there) = (0_usize, 0_usize);
    for key in &keys {
        let Some(document) = source.get(key).await? else { continue }; // it has expired since
        match put(target, key, &document).await? {
            Standing::Missing => copied += 1,
            Standing::Same => already_there += 1,
            Standing::Different => return Err(not_a_copy(key)),
        }
    }
    let verified = verify(source, target).await?;
    if context.json {
        let body =
            serde_json::json!({ "copied": copied, "already_there": already_there, "verified": verified });
        output::line(&body.to_string());
    } else {
        output::line(&format!(
            "copied {copied} documents, {already_there} were there already; both stores hold the same {verified}"
        ));
    }
    Ok(())
}

async fn refuse_what_is_not_a_copy(source: &dyn Store, target: &dyn Store, keys: &[Key]) -> Outcome {
    let known: BTreeSet<&Key> = keys.iter().collect();
    if let Some(foreign) = target.list("").await?.iter().find(|key| !known.contains(key)) {
        let why = "TO has a document that FROM has not";
        return Err(refused(
            "store_not_empty",
            format!("{why}: {foreign}; nothing was written, name an empty store"),
        ));
    }
    for key in keys {
        let Some(document) = source.get(key).await? else { continue };
        if let Standing::Different = standing(target, key, &document).await? {
            return Err(not_a_copy(key));
        }
    }
    Ok(())
}

/// Writes a document where there is none, and says what was there before.
async fn put(target: &dyn Store, key: &Key, document: &Document) -> Outcome<Standing> {
    match standing(target, key, document).await? {
        Standing::Missing => {}
        other => return Ok(other),
    }
    match target.put(key, &document.bytes, Expect::Absent, document.expires_at).await {
        Ok(_) => Ok(Standing::Missing),
        // Another copy is running.
        Err(StoreError::Conflict { .. }) => standing(target, key, document).await,
        Err(why) => Err(why.into()),
    }
}

async fn standing(target: &dyn Store, key: &Key, document: &Document) -> Outcome<Standing> {
    Ok(match target.get(key).await? {
        None => Standing::Missing,
        Some(found) if is_same(&found, document) => Standing::Same,
        Some(_) => Standing::Different,
    })
}

fn is_same(one: &Document, other: &Document) -> bool {
    one.bytes == other.bytes && one.expires_at == other.expires_at
}

/// How many documents both stores hold, after another look at both.
async fn verify(source: &dyn Store, target: &dyn Store) -> Outcome<usize> {
    let mut same = 0;
    let keys: BTreeSet<Key> = source.list("").await?.into_iter().chain(target.list("").await?).collect();
    for key in keys {
        match (source.get(&key).await?, target.get(&key).await?) {
            (Some(one), Some(other)) if is_same(&one, &other) => same += 1,
            (None, None) => {} // it has expired since
            _ => {
                let why = "FROM or TO was changed while it was copied; stop what uses them, empty TO and copy again";
                return Err(refused("store_changed", format!("{why}: {key}")));
            }
        }
    }
    Ok(same)
}

fn not_a_copy(key: &impl Display) -> Failure {
    let why = "TO has this document with another content, and nothing is overwritten; name an empty store";
    refused("store_not_empty", format!("{key}: {why}"))
}
