//! Keeps public documents and secrets apart: what is published is read by everybody, so no target
//! is the store, in it or around it.
//!
//! Told by what the configuration says, before anything is asked; and by the mark that a store
//! leaves where it is, for stores of other configurations. Called by `publish` and `config check`.
//! Pinned by tests/e2e/test_publish_apart.py.

use super::target::{Target, bucket_url};
use crate::{
    config::{Config, SealingRef},
    failure::{Outcome, configuration},
};
use countersign_settings::SecretRef;
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// What to do instead.
const ADVICE: &str = "everybody reads what is published: name a place that holds nothing else, like s3://BUCKET-FOR-THE-PUBLIC or ./public";

/// Refuses a target that would publish the store or a sealing key.
pub(super) fn check(typed: &Path, config: &Config, store: &str) -> Outcome {
    match bucket_url(typed) {
        Some(url) if is_of_store(url, store)? => {
            Err(configuration(format!("{} and the store of store.url overlap; {ADVICE}", typed.display())))
        }
        Some(_) => Ok(()),
        None => check_folder(typed, config, store),
    }
}

#[cfg(feature = "s3")]
fn is_of_store(target: &str, store: &str) -> Outcome<bool> {
    use countersign_store::{Engine, S3Config, StoreUrl};
    let store = StoreUrl::parse(store)?;
    if store.engine() != Engine::S3 {
        return Ok(false);
    }
    let target = S3Config::parse(&StoreUrl::parse(target)?)?;
    Ok(target.overlaps(&S3Config::parse(&store)?))
}

#[cfg(not(feature = "s3"))]
fn is_of_store(_: &str, _: &str) -> Outcome<bool> {
    Ok(false)
}

fn check_folder(typed: &Path, config: &Config, store: &str) -> Outcome {
    let folder = real(typed);
    let sealing = [&config.sealing].into_iter().chain(&config.sealing_also).filter_map(|key| match key {
        SealingRef::Secret(SecretRef::File(path) | SecretRef::SharedFile(path)) => {
            Some(("a sealing key", config.folder.join(path)))
        }
        SealingRef::Secret(_) | SealingRef::Kms(_) => None,
    });
    let store = countersign_store::file_of(store, &config.folder).map(|path| ("the store", path));
    for (what, path) in store.into_iter().chain(sealing) {
        if real(&path).starts_with(&folder) {
            let why = format!("{} holds {what}, {}; {ADVICE}", typed.display(), path.display());
            return Err(configuration(why));
        }
    }
    Ok(())
}

/// The path without links and `..`, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let exists = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    match exists {
        Some((above, real)) => real.join(path.strip_prefix(above).unwrap_or(Path::new(""))),
        None => path,
    }
}

/// Refuses a place where some store is.
pub(super) async fn refuse_store(target: &Target) -> Outcome {
    let has_store = match target.folder() {
        Some(folder) => has_database(folder),
        None => target.look(countersign_store::S3_MARK).await?.is_some_and(|found| found.bytes.is_some()),
    };
    if has_store {
        return Err(configuration(format!("{target} holds a store of Countersign; {ADVICE}")));
    }
    Ok(())
}

/// Whether one of its files is a database of this program. What cannot be read is not served by a
/// web server.
fn has_database(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let mut head = [0; countersign_store::SQLITE_HEAD];
        is_file
            && File::open(entry.path()).is_ok_and(|mut file| file.read_exact(&mut head).is_ok())
            && countersign_store::is_sqlite_store(&head)
    })
}
