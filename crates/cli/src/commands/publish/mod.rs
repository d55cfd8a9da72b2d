//! `countersign publish`: the public documents in a folder or a bucket, the same bytes that the
//! server answers.
//!
//! Keys are written before what refers to them, each document whole or not at all, and only where
//! it differs, so that it can be run again after it was cut off, by two at once, or every minute.
//! Documents of keys that are gone are removed last. What was changed, even by a run that failed on
//! the way, is then taken out of CloudFront's caches if there is one; a mark in the bucket says so
//! from before the first change until that is done, so that the next run sees to it if this one is
//! cut off.
//!
//! `target` is where documents go, `writing` puts them there, `older` compares keys, `cloudfront`
//! is the caches, `check` the look from outside. Pinned by tests/e2e/test_publish.py and
//! test_publish_bucket.py.

mod apart;
mod check;
mod cloudfront;
mod older;
mod target;
mod writing;

use self::{
    check::Report,
    target::{ASAP, Target},
    writing::{Caches, Run},
};
use super::Context;
use crate::{
    args::PublishArgs,
    authority::{self, Authority},
    config::Config,
    failure::{Outcome, usage},
    output, stores,
};
#[cfg(feature = "lambda")]
use crate::{config::RawPublish, remote};
use countersign_issuer::{Document, Issuer, PublicDocuments};
use std::{path::Path, sync::Arc};

/// A document that was written.
#[derive(Debug)]
struct Written {
    path: String,
    /// What was there before, which caches may show a while longer.
    before: Option<Vec<u8>>,
}

/// What was changed.
#[derive(Debug, Default)]
struct Changes {
    written: Vec<Written>,
    removed: Vec<String>,
}

impl Changes {
    fn paths(&self) -> impl Iterator<Item = &str> {
        self.written.iter().map(|written| &written.path).chain(&self.removed).map(String::as_str)
    }

    fn is_empty(&self) -> bool {
        self.written.is_empty() && self.removed.is_empty()
    }

    fn has_written(&self, path: &str) -> bool {
        self.written.iter().any(|written| written.path == path)
    }
}

pub(super) async fn run(context: &Context<'_>, args: &PublishArgs) -> Outcome {
    // What cannot be done is told before anything is opened.
    let site = match &args.target {
        Some(target) => Some(Site::connect(target, args.cloudfront.as_deref(), args.wait).await?),
        None => None,
    };
    let config = context.load().await?;
    if let Some(typed) = &args.target {
        let store = stores::url(&config.raw.store.url, &config.folder, context.environment).await?;
        check_target(typed, &config, &store)?;
    }
    let authority = Authority::open(&config, context.environment).await?;
    let keyring = authority.load(&config).await?;
    let issuer = authority::issuer(config, keyring, Arc::clone(&authority.clock))?;
    let Some(site) = site else { return check::run(context.json, &issuer).await };
    let newer = if args.replace_newer_keys { NewerKeys::Replace } else { NewerKeys::Refuse };
    let (changes, invalidation) = site.bring(&issuer, newer).await?;
    report(context, &site.target, &in_order(&issuer.documents()), &changes, invalidation.as_ref());
    Ok(())
}

/// Whether a target can be one, and is apart from the secrets of the configuration. Nobody is
/// asked. `store` is the URL of its store.
pub(super) fn check_target(typed: &Path, config: &Config, store: &str) -> Outcome {
    Target::check(typed)?;
    apart::check(typed, config, store)
}

/// Where documents go, and the caches in front of it.
#[derive(Debug)]
pub(super) struct Site {
    target: Target,
    caches: Option<cloudfront::Distribution>,
}

/// What CloudFront was told to forget.
#[derive(Debug)]
struct Invalidation {
    id: String,
    /// How many paths.
    of: usize,
}

/// What became of documents that were brought there.
#[derive(Debug)]
pub(super) struct Brought {
    changes: Changes,
    invalidation: Option<Invalidation>,
    to: String,
    of: usize,
}

impl Site {
    /// From what is typed. Nothing is asked for anything yet but who may ask; but where another run
    /// is at work in a folder, it is waited for.
    pub(super) async fn connect(target: &Path, cloudfront: Option<&str>, wait: bool) -> Outcome<Self> {
        let target = Target::parse(target).await?;
        let caches = match cloudfront {
            Some(_) if !target.is_bucket() => {
                return Err(usage("--cloudfront goes with a bucket: s3://BUCKET/PREFIX"));
            }
            Some(distribution) => Some(cloudfront::Distribution::connect(distribution, wait).await?),
            None => None,
        };
        target.wait_for_others().await?;
        Ok(Self { target, caches })
    }

    /// Brings every document there, unless what is there is newer.
    pub(super) async fn publish(&self, issuer: &Issuer) -> Outcome<Brought> {
        let (changes, invalidation) = self.bring(issuer, NewerKeys::Refuse).await?;
        let (to, of) = (self.target.to_string(), issuer.documents().iter().count());
        Ok(Brought { changes, invalidation, to, of })
    }

    /// Brings documents to their target, and tells the caches in front of it.
    async fn bring(&self, issuer: &Issuer, newer: NewerKeys) -> Outcome<(Changes, Option<Invalidation>)> {
        let Self { target, caches } = self;
        let documents = in_order(&issuer.documents());
        apart::refuse_store(target).await?;
        target.lock().await?;
        let told = if caches.is_some() { Caches::Present } else { Caches::Absent };
        let mut run = Run::new(target, &documents, newer, told);
        let outcome = run.write().await;
        let invalidation = match caches {
            Some(caches) => {
                let prefix = issuer.settings().issuer.path();
                // Of a run that was cut off nobody knows what it has changed.
                let paths: Vec<_> = match outcome.is_ok() && run.owes_all {
                    true => all(&documents).map(|path| format!("{prefix}{path}")).collect(),
                    false => run.changes.paths().map(|path| format!("{prefix}{path}")).collect(),
                };
                let of = paths.len();
                caches.forget(paths).await.map(|id| id.map(|id| Invalidation { id, of }))
            }
            None => Ok(None),
        };
        let invalidation = both(outcome, invalidation)?;
        if caches.is_some() && run.is_marked {
            target.unmark().await?;
        }
        Ok((run.changes, invalidation))
    }
}

/// The paths of all documents, and of those that may have been there.
fn all(documents: &[(String, Document)]) -> impl Iterator<Item = String> {
    let paths = documents.iter().map(|(path, _)| path.clone()).filter(|path| !path.starts_with(ASAP));
    paths.chain([format!("{ASAP}*")])
}

/// What could not be written goes before what could not be forgotten, and neither is kept back:
/// each says what to do.
fn both<T>(written: Outcome, forgotten: Outcome<T>) -> Outcome<T> {
    match (written, forgotten) {
        (Ok(()), forgotten) => forgotten,
        (Err(why), Ok(_)) => Err(why),
        (Err(why), Err(more)) => Err(why.and(&format!("; and {}", more.message()))),
    }
}

impl Brought {
    /// For people.
    pub(super) fn text(&self) -> String {
        let Self { changes, invalidation, to, of } = self;
        let invalidation = invalidation
            .as_ref()
            .map_or_else(String::new, |told| format!("; invalidation {} of CloudFront's caches", told.id));
        format!("{} of {of} documents written to {to}{invalidation}", changes.written.len())
    }

    /// For programs.
    pub(super) fn json(&self) -> serde_json::Value {
        let written = self.changes.written.iter().map(|written| &written.path).collect::<Vec<_>>();
        let invalidation = self.invalidation.as_ref().map(|told| &told.id);
        serde_json::json!({ "written": written, "removed": self.changes.removed, "invalidation": invalidation })
    }
}

/// Compares what the world is served with what it should be, after documents may have been brought
/// there.
pub(super) async fn check(issuer: &Issuer, brought: Option<&Brought>) -> Outcome<Report> {
    check::look(issuer, brought.map(|brought| brought.changes.written.as_slice()).unwrap_or_default()).await
}

/// Publishes as the configuration says. Returns how many documents were written.
#[cfg(feature = "lambda")]
pub(crate) async fn as_configured(publish: &RawPublish, issuer: &Issuer) -> Outcome<usize> {
    let site = Site::connect(publish.target.as_ref(), publish.cloudfront.as_deref(), false).await?;
    let (changes, _) = site.bring(issuer, NewerKeys::Refuse).await?;
    if let Some(parameter) = &publish.key_id {
        tell_key_id(parameter, issuer).await?;
    }
    Ok(changes.written.len())
}

/// Which key signs. Verifiers know it by now: it was in public before it signs.
#[cfg(feature = "lambda")]
async fn tell_key_id(parameter: &str, issuer: &Issuer) -> Outcome {
    let keyring = issuer.keyring();
    let default = keyring.rings().find(|(name, _)| name.as_str() == "default");
    if let Some(signer) = default.and_then(|(_, ring)| ring.active()) {
        remote::write_parameter(parameter, signer.kid()).await?;
    }
    Ok(())
}

/// What to do where a target has keys of a later keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewerKeys {
    Refuse,
    Replace,
}

/// Discovery, which refers to the others, comes last.
fn in_order(documents: &PublicDocuments) -> Vec<(String, Document)> {
    let mut all: Vec<_> =
        documents.iter().map(|(path, document)| (path.to_owned(), document.clone())).collect();
    all.sort_by_key(|(path, _)| {
        path.contains("openid-configuration") || path.contains("authorization-server")
    });
    all
}

fn report(
    context: &Context<'_>,
    target: &Target,
    documents: &[(String, Document)],
    changes: &Changes,
    invalidation: Option<&Invalidation>,
) {
    if context.json {
        let rows = documents.iter().map(|(path, document)| {
            serde_json::json!({
                "path": path, "content_type": document.content_type, "cache_control": document.cache_control,
                "written": changes.has_written(path),
            })
        });
        let report = serde_json::json!({
            "documents": rows.collect::<Vec<_>>(), "removed": changes.removed,
            "invalidation": invalidation.map(|told| &told.id),
        });
        return output::line(&report.to_string());
    }
    output::line(&format!("{} of {} documents written to {target}", changes.written.len(), documents.len()));
    for (path, document) in documents {
        output::line(&format!("  {path}  {}; {}", document.content_type, document.cache_control));
    }
    for path in &changes.removed {
        output::line(&format!("  {path}  removed"));
    }
    if let Some(Invalidation { id, of }) = invalidation {
        output::line(&format!("{of} paths leave CloudFront's caches: invalidation {id}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{configuration, internal};

    #[test]
    fn what_could_not_be_forgotten_is_told_beside_what_could_not_be_written() {
        let why =
            both(Err(configuration("access denied")), Err::<(), _>(internal("run `aws …`"))).unwrap_err();
        assert_eq!((why.message(), why.code()), ("access denied; and run `aws …`", "bad_configuration"));
        assert_eq!(both(Ok(()), Err::<(), _>(internal("a"))).unwrap_err().message(), "a");
        assert_eq!(both(Err(internal("b")), Ok(1)).unwrap_err().message(), "b");
        assert_eq!(both(Ok(()), Ok(1)).unwrap(), 1);
    }
}
