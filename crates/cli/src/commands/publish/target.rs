//! Where documents are published: a folder or a bucket, which hold, take and give up one document at a time.
//!
//! A bucket keeps `Content-Type` and `Cache-Control` beside the bytes, so there they count as much as bytes do; in a folder
//! the web server decides. Documents that come and go with keys are told by their names, and no others are ever removed.

#[cfg(feature = "s3")]
mod bucket;
mod folder;

use self::folder::Folder;
use crate::failure::{Failure, Outcome, usage};
use countersign_issuer::Document;
use std::{fmt, path::Path};

/// The folder of the PEM files, whose names come and go with the keys.
const ASAP: &str = "/asap/";

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

    /// Whether `document` is there as it should be.
    pub(super) async fn holds(&self, path: &str, document: &Document) -> Outcome<bool> {
        match self {
            Self::Folder(folder) => Ok(folder.holds(path, document)),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.holds(path, document).await,
        }
    }

    /// What is there at a path, if it can be read and is not too large to be one of ours.
    pub(super) async fn read(&self, path: &str) -> Outcome<Option<Vec<u8>>> {
        match self {
            Self::Folder(folder) => Ok(folder.read(path)),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.read(path).await,
        }
    }

    /// Puts it there, whole or not at all.
    pub(super) async fn write(&self, path: &str, document: &Document) -> Outcome {
        match self {
            Self::Folder(folder) => folder.write(path, document),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.write(path, document).await,
        }
    }

    /// The paths of the documents there that belong to single keys, sorted.
    pub(super) async fn key_documents(&self) -> Outcome<Vec<String>> {
        let names = match self {
            Self::Folder(folder) => folder.names()?,
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.names().await?,
        };
        let mut paths: Vec<_> =
            names.iter().filter(|name| is_ours(name)).map(|name| format!("{ASAP}{name}")).collect();
        paths.sort();
        Ok(paths)
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
