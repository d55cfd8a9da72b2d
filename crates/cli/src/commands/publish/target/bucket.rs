//! A bucket that is served itself or by a CDN: objects that bring their `Content-Type` and `Cache-Control` along.

use super::ASAP;
use crate::failure::Outcome;
use countersign_issuer::Document;
use countersign_store::{Bucket, Part, S3Config, StoreError, StoreUrl};
use std::fmt;

/// What is larger is not a document of ours, and is replaced unread.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

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

    pub(super) async fn holds(&self, path: &str, document: &Document) -> Outcome<bool> {
        let found = match self.bucket.read(name(path), Part::Whole { at_most: MAX_BYTES }).await {
            Err(StoreError::Corrupt { .. }) => None,
            found => found?,
        };
        Ok(found.is_some_and(|found| {
            found.bytes == document.body
                && found.content_type.as_deref() == Some(document.content_type)
                && found.cache_control.as_deref() == Some(&document.cache_control)
        }))
    }

    pub(super) async fn read(&self, path: &str) -> Outcome<Option<Vec<u8>>> {
        match self.bucket.read(name(path), Part::Whole { at_most: MAX_BYTES }).await {
            Err(StoreError::Corrupt { .. }) => Ok(None),
            found => Ok(found?.map(|found| found.bytes.to_vec())),
        }
    }

    pub(super) async fn write(&self, path: &str, document: &Document) -> Outcome {
        let Document { body, content_type, cache_control, .. } = document;
        Ok(self.bucket.replace(name(path), body, content_type, cache_control).await?)
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
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn name(path: &str) -> &str {
    path.trim_start_matches('/')
}
