//! Where documents are published: a folder or a bucket, which show, take and give up one document
//! at a time.
//!
//! A bucket keeps `Content-Type` and `Cache-Control` beside the bytes, so there they count as much
//! as bytes do; in a folder the web server decides. A bucket puts a document in place of exactly
//! what was found; a folder is locked for as long as a run lasts. Documents that come and go with
//! keys are told by their names, and no others are ever removed.

#[cfg(feature = "s3")]
mod bucket;
mod folder;

use self::folder::Folder;
use crate::failure::{Failure, Outcome, usage};
use countersign_issuer::Document;
use std::{fmt, path::Path};

/// The folder of the PEM files, whose names come and go with the keys.
pub(super) const ASAP: &str = "/asap/";
/// What lies beside them while CloudFront has to be told of changes. It is there because what is
/// there may be removed.
const MARK: &str = "invalidation-due";

/// What there is in the folder of the PEM files.
#[derive(Debug)]
pub(super) struct OfKeys {
    /// The paths of PEM files of ours, sorted.
    pub(super) paths: Vec<String>,
    /// Whether a run left the mark of [`Target::mark`].
    pub(super) is_marked: bool,
}

/// What was found at a path.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// `None` for what is too large to be a document of ours.
    pub(super) bytes: Option<Vec<u8>>,
    /// `Content-Type` and `Cache-Control`, where they are kept beside the bytes.
    served_as: Option<(Option<String>, Option<String>)>,
    /// What a bucket calls this state of it.
    #[cfg(feature = "s3")]
    tag: Option<String>,
}

impl Found {
    /// Whether it is `document`, as it should be.
    pub(super) fn is(&self, document: &Document) -> bool {
        self.bytes.as_deref() == Some(&*document.body)
            && self.served_as.as_ref().is_none_or(|(content_type, cache_control)| {
                content_type.as_deref() == Some(document.content_type)
                    && cache_control.as_deref() == Some(&document.cache_control)
            })
    }
}

#[derive(Debug)]
pub(super) enum Target {
    Folder(Folder),
    #[cfg(feature = "s3")]
    Bucket(bucket::Published),
}

impl Target {
    /// Whether what is typed can be a target. Nothing is looked at.
    pub(super) fn check(typed: &Path) -> Outcome {
        match bucket_url(typed) {
            #[cfg(feature = "s3")]
            Some(url) => Ok(bucket::check(url)?),
            #[cfg(not(feature = "s3"))]
            Some(_) => Err(not_built_in()),
            None if has_scheme(typed) => Err(neither(typed)),
            None => Ok(()),
        }
    }

    /// From what is typed. A bucket is not asked for anything yet.
    pub(super) async fn parse(typed: &Path) -> Outcome<Self> {
        match bucket_url(typed) {
            Some(url) => Self::bucket(url).await,
            None if has_scheme(typed) => Err(neither(typed)),
            None => Ok(Self::Folder(Folder::new(typed))),
        }
    }

    #[cfg(feature = "s3")]
    async fn bucket(url: &str) -> Outcome<Self> {
        Ok(Self::Bucket(bucket::Published::connect(url).await?))
    }

    #[cfg(not(feature = "s3"))]
    #[expect(clippy::unused_async, reason = "as it is where buckets are known")]
    async fn bucket(_: &str) -> Outcome<Self> {
        Err(not_built_in())
    }

    /// The folder, where it is one.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder.path()),
            #[cfg(feature = "s3")]
            Self::Bucket(_) => None,
        }
    }

    pub(super) const fn is_bucket(&self) -> bool {
        !matches!(self, Self::Folder(_))
    }

    /// Waits until no other run is at work in a folder that is there already, so that the keys
    /// which are read from now on are not older than those that it published. Buckets know no
    /// locks.
    pub(super) async fn wait_for_others(&self) -> Outcome {
        match self {
            Self::Folder(folder) => folder.lock_if_there().await,
            #[cfg(feature = "s3")]
            Self::Bucket(_) => Ok(()),
        }
    }

    /// Keeps others out of a folder from here on. Makes it where there is none.
    pub(super) async fn lock(&self) -> Outcome {
        match self {
            Self::Folder(folder) => folder.lock().await,
            #[cfg(feature = "s3")]
            Self::Bucket(_) => Ok(()),
        }
    }

    /// What is there at a path, if it can be read.
    pub(super) async fn look(&self, path: &str) -> Outcome<Option<Found>> {
        match self {
            Self::Folder(folder) => Ok(folder.look(path)),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.look(path).await,
        }
    }

    /// Puts a document in place of `found`, whole or not at all. Returns `false` where something
    /// else is there by now.
    pub(super) async fn write(
        &self,
        path: &str,
        document: &Document,
        found: Option<&Found>,
    ) -> Outcome<bool> {
        #[cfg(not(feature = "s3"))]
        let _ = found;
        match self {
            Self::Folder(folder) => folder.write(path, document).map(|()| true),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.write(path, document, found).await,
        }
    }

    /// What is there of single keys.
    pub(super) async fn of_keys(&self) -> Outcome<OfKeys> {
        let names = match self {
            Self::Folder(folder) => folder.names()?,
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.names().await?,
        };
        let mut paths: Vec<_> =
            names.iter().filter(|name| is_ours(name)).map(|name| format!("{ASAP}{name}")).collect();
        paths.sort();
        Ok(OfKeys { paths, is_marked: names.iter().any(|name| name == MARK) })
    }

    /// Leaves a mark until the caches are told of what is about to change ([`Target::unmark`]), so
    /// that another run does it should this one be cut off. Returns whether there was one already.
    /// There are no caches in front of a folder.
    pub(super) async fn mark(&self) -> Outcome<bool> {
        match self {
            Self::Folder(_) => Ok(false),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.mark().await,
        }
    }

    /// Removes the mark.
    pub(super) async fn unmark(&self) -> Outcome {
        match self {
            Self::Folder(_) => Ok(()),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.unmark().await,
        }
    }

    pub(super) async fn remove(&self, path: &str) -> Outcome {
        match self {
            Self::Folder(folder) => folder.remove(path),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.remove(path).await,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.fmt(f),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

/// The URL of a bucket, if that is what was typed.
pub(super) fn bucket_url(typed: &Path) -> Option<&str> {
    typed.to_str().filter(|text| text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("s3://")))
}

fn neither(typed: &Path) -> Failure {
    usage(format!(
        "{} is neither a folder nor a bucket; write s3://BUCKET/PREFIX for a bucket, or ./NAME for a folder that is called so",
        typed.display()
    ))
}

#[cfg(not(feature = "s3"))]
fn not_built_in() -> Failure {
    crate::failure::configuration(
        "this build cannot publish to a bucket; build it with --features s3, or name a folder",
    )
}

/// Whether it begins as a URL does (RFC 3986 §3.1). A colon behind a slash belongs to a name.
fn has_scheme(typed: &Path) -> bool {
    let Some((scheme, _)) = typed.to_str().and_then(|text| text.split_once(':')) else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Whether a name is one that this program gives: a SHA-256 in hexadecimal.
fn is_ours(name: &str) -> bool {
    name.strip_suffix(".pem")
        .is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}
