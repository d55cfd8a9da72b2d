//! `countersign publish`: the public documents in a folder or a bucket, the same bytes that the server answers.
//!
//! Keys are written before what refers to them, each document whole or not at all, and only where it differs, so that it can be
//! run again after it was cut off, by two at once, or every minute. Documents of keys that are gone are removed last. What was
//! changed, even by a run that failed on the way, is then taken out of CloudFront's caches if there is one.
//!
//! `target` is where documents go, `cloudfront` the caches. Pinned by tests/e2e/test_publish.py and test_publish_bucket.py.

mod cloudfront;
mod older;
mod target;

use self::target::Target;
use super::Context;
use crate::{
    args::PublishArgs,
    authority::{self, Authority},
    failure::{Outcome, configuration, refused, usage},
    output,
};
#[cfg(feature = "lambda")]
use crate::{config::RawPublish, remote};
use countersign_issuer::{Document, Issuer, JWKS_PATH, PublicDocuments};
use countersign_verifier::{Fetch, FetchLimits, HttpsFetch, KeyUrl};
use std::sync::Arc;

/// The paths that were changed.
#[derive(Debug, Default)]
struct Changes {
    written: Vec<String>,
    removed: Vec<String>,
}

impl Changes {
    fn paths(&self) -> impl Iterator<Item = &str> {
        self.written.iter().chain(&self.removed).map(String::as_str)
    }
}

pub(super) async fn run(context: &Context<'_>, args: &PublishArgs) -> Outcome {
    // What cannot be done is told before anything is opened.
    let target = match &args.target {
        Some(typed) => Some(Target::parse(typed).await?),
        None => None,
    };
    let caches = match &args.cloudfront {
        Some(_) if !target.as_ref().is_some_and(Target::is_bucket) => {
            return Err(usage("--cloudfront goes with a bucket: `publish s3://BUCKET/PREFIX`"));
        }
        Some(distribution) => Some(cloudfront::Distribution::connect(distribution, args.wait).await?),
        None => None,
    };
    let config = context.load().await?;
    let authority = Authority::open(&config, context.environment).await?;
    let keyring = authority.load(&config).await?;
    let issuer = authority::issuer(config, keyring, Arc::clone(&authority.clock))?;
    let Some(target) = target else { return check(context, &issuer).await };
    let documents = in_order(&issuer.documents());
    let newer = if args.replace_newer_keys { NewerKeys::Replace } else { NewerKeys::Refuse };
    let (changes, invalidation) = bring(&issuer, &documents, &target, caches.as_ref(), newer).await?;
    report(context, &target, &documents, &changes, invalidation.as_deref());
    Ok(())
}

/// Publishes as the configuration says. Returns how many documents were written.
#[cfg(feature = "lambda")]
pub(crate) async fn as_configured(publish: &RawPublish, issuer: &Issuer) -> Outcome<usize> {
    let target = Target::parse(publish.target.as_ref()).await?;
    let caches = match &publish.cloudfront {
        Some(distribution) => Some(cloudfront::Distribution::connect(distribution, false).await?),
        None => None,
    };
    let documents = in_order(&issuer.documents());
    let (changes, _) = bring(issuer, &documents, &target, caches.as_ref(), NewerKeys::Refuse).await?;
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

/// Brings documents to their target, and tells the caches in front of it.
async fn bring(
    issuer: &Issuer,
    documents: &[(String, Document)],
    target: &Target,
    caches: Option<&cloudfront::Distribution>,
    newer: NewerKeys,
) -> Outcome<(Changes, Option<String>)> {
    if newer == NewerKeys::Refuse {
        older::refuse(issuer.documents().get(JWKS_PATH), target).await?;
    }
    let mut changes = Changes::default();
    let outcome = publish(documents, target, &mut changes).await;
    let invalidation = match caches {
        Some(caches) => {
            let prefix = issuer.settings().issuer.path();
            caches.forget(changes.paths().map(|path| format!("{prefix}{path}")).collect()).await
        }
        None => Ok(None),
    };
    // What could not be written goes before what could not be forgotten.
    outcome?;
    Ok((changes, invalidation?))
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

async fn publish(documents: &[(String, Document)], target: &Target, changes: &mut Changes) -> Outcome {
    for (path, document) in documents {
        if !target.holds(path, document).await? {
            target.write(path, document).await?;
            changes.written.push(path.clone());
        }
    }
    for path in target.key_documents().await? {
        if !documents.iter().any(|(known, _)| *known == path) {
            target.remove(&path).await?;
            changes.removed.push(path);
        }
    }
    Ok(())
}

fn report(
    context: &Context<'_>,
    target: &Target,
    documents: &[(String, Document)],
    changes: &Changes,
    invalidation: Option<&str>,
) {
    if context.json {
        let rows = documents.iter().map(|(path, document)| {
            serde_json::json!({
                "path": path, "content_type": document.content_type, "cache_control": document.cache_control,
                "written": changes.written.contains(path),
            })
        });
        let report = serde_json::json!({
            "documents": rows.collect::<Vec<_>>(), "removed": changes.removed, "invalidation": invalidation,
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
    if let Some(id) = invalidation {
        output::line(&format!(
            "{} paths leave CloudFront's caches: invalidation {id}",
            changes.paths().count()
        ));
    }
}

/// What may be wrong with a document in public.
const DIFFERS: &str = "differs";
const NEWER: &str = "newer";
const UNREACHABLE: &str = "unreachable";

/// Compares what the world is served with what it should be.
async fn check(context: &Context<'_>, issuer: &Issuer) -> Outcome {
    let fetch = HttpsFetch::new(FetchLimits::default());
    let mut wrong = Vec::new();
    let documents = issuer.documents();
    for (path, document) in documents.iter() {
        let url = issuer.settings().issuer.join(path);
        let parsed = KeyUrl::parse(&url).map_err(|why| configuration(format!("{url}: {why}")))?;
        let problem = match fetch.fetch(&parsed).await {
            Ok(answer) if answer.body == document.body => None,
            Ok(answer) => match older::objection(&answer.body, document) {
                Some(why) if path == JWKS_PATH => {
                    let why =
                        format!("is newer than the keyring: {why}; the store went back or is another one");
                    Some((NEWER, why))
                }
                _ => Some((DIFFERS, "is not what it should be".to_owned())),
            },
            Err(why) => Some((UNREACHABLE, why.to_string())),
        };
        if let Some((problem, why)) = problem {
            wrong.push((problem, url, why));
        }
    }
    if !wrong.is_empty() {
        // What cannot be had at all is another case than what is wrong.
        let nothing = wrong.iter().all(|(problem, ..)| *problem == UNREACHABLE);
        let code = if nothing { "published_unreachable" } else { "published_differs" };
        let lines: Vec<_> = wrong.iter().map(|(_, url, why)| format!("{url}: {why}")).collect();
        let rows = wrong
            .iter()
            .map(|(problem, url, why)| serde_json::json!({ "url": url, "problem": problem, "why": why }));
        return Err(refused(code, lines.join("; ")).with("documents", rows.collect::<Vec<_>>()));
    }
    let count = documents.iter().count();
    if context.json {
        output::line(&serde_json::json!({ "checked": count }).to_string());
    } else {
        output::line(&format!("{count} documents at {} are what they should be", issuer.settings().issuer));
    }
    Ok(())
}
