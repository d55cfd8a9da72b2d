//! A bucket that is served itself or by a CDN: objects that bring their `Content-Type` and
//! `Cache-Control` along.
//!
//! An object takes the place of exactly what was found there (`If-Match`, `If-None-Match: *`), so
//! that of two runs at once the slower one notices. A service that knows no such conditions is
//! written to all the same.

use super::{ASAP, Found, MARK};
use crate::failure::Outcome;
use countersign_issuer::Document;
use countersign_store::{Bucket, Condition, Part, S3Config, ServedAs, StoreError, StoreUrl};
use std::fmt;

/// What is larger is not a document of ours, and is replaced unread.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// For those who find the mark.
const MARK_SAYS: &str = "What was published here may not have left CloudFront's caches yet. The next `countersign publish --cloudfront` \
                         sees to it and removes this.\n";

#[derive(Debug)]
pub(in super::super) struct Published {
    bucket: Bucket,
    shown: String,
}

/// Whether the URL is one of a bucket. Nobody is asked.
pub(super) fn check(url: &str) -> Outcome {
    S3Config::parse(&StoreUrl::parse(url)?)?;
    Ok(())
}

impl Published {
    /// Reads the URL and finds out whom to ask for credentials.
    pub(super) async fn connect(url: &str) -> Outcome<Self> {
        let url = StoreUrl::parse(url)?;
        let mut config = S3Config::parse(&url)?;
        config.place = format!("the bucket {url}");
        Ok(Self { bucket: Bucket::connect(config).await?, shown: url.to_string() })
    }

    pub(super) async fn look(&self, path: &str) -> Outcome<Option<Found>> {
        let found = match self.bucket.read(name(path), Part::Whole { at_most: MAX_BYTES }).await {
            Err(StoreError::Corrupt { .. }) => return Ok(Some(Found::default())),
            found => found?,
        };
        Ok(found.map(|found| Found {
            bytes: Some(found.bytes),
            served_as: Some((found.content_type, found.cache_control)),
            tag: found.etag,
        }))
    }

    /// Returns whether `found` was still there and gave way.
    pub(super) async fn write(
        &self,
        path: &str,
        document: &Document,
        found: Option<&Found>,
    ) -> Outcome<bool> {
        let Document { body, content_type, cache_control, .. } = document;
        let condition = match found {
            None => Some(Condition::Absent),
            Some(found) => found.tag.clone().map(Condition::Unchanged),
        };
        let served_as = ServedAs { content_type, cache_control };
        Ok(self.bucket.replace(name(path), body, served_as, condition.as_ref()).await?)
    }

    /// The names below the prefix of single keys.
    pub(super) async fn names(&self) -> Outcome<Vec<String>> {
        let folder = name(ASAP);
        let listed = self.bucket.list(folder).await?;
        Ok(listed.iter().filter_map(|listed| Some(listed.name.strip_prefix(folder)?.to_owned())).collect())
    }

    pub(super) async fn remove(&self, path: &str) -> Outcome {
        Ok(self.bucket.remove(name(path)).await?)
    }

    /// Leaves the mark. Returns whether it was there before.
    pub(super) async fn mark(&self) -> Outcome<bool> {
        if self.look(&mark()).await?.is_some() {
            return Ok(true);
        }
        let served_as = ServedAs { content_type: "text/plain; charset=utf-8", cache_control: "no-store" };
        self.bucket.replace(&mark(), MARK_SAYS.as_bytes(), served_as, None).await?;
        Ok(false)
    }

    pub(super) async fn unmark(&self) -> Outcome {
        Ok(self.bucket.remove(&mark()).await?)
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn name(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn mark() -> String {
    format!("{}{MARK}", name(ASAP))
}
