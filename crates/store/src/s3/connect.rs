//! `Bucket`: what this program asks of S3, one request at a time, and how long it waits.
//!
//! The client's own retries are switched off: it sends a conditional write again without a word, and then a refusal may be
//! due to one's own first attempt. Here every attempt is seen. Reads and removals are tried again as `countersign_aws` has it
//! for every AWS service (time-outs, attempts, back-off with jitter); who writes under a condition decides by reading.
//! The store is made of it, and `publish` writes with it.

use std::{future::Future, sync::Arc, time::Duration};

use countersign_aws::{ATTEMPT, ATTEMPTS, BACKOFF, CONNECT, OPERATION, is_endpoint};
use object_store::{
    Attribute, Attributes, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, RetryConfig, UpdateVersion,
    aws::{AmazonS3, AmazonS3Builder},
    list::{PaginatedListOptions, PaginatedListStore},
    path::Path,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{config::S3Config, credentials::AwsCredentials, error};
use crate::StoreError;

/// The first pause; twice that before the next, and so on. Half of it is left to chance.
const PAUSE: Duration = Duration::from_millis(50);
/// How many requests of this process are under way at most.
const IN_FLIGHT: usize = 32;

/// A part of a bucket, and who asks it.
pub struct Bucket {
    place: String,
    name: String,
    prefix: String,
    client: AmazonS3,
    credentials: Option<Arc<AwsCredentials>>,
    turns: Semaphore,
}

/// An object as it was read.
#[derive(Debug)]
pub struct Object {
    /// Its content, or the part that was asked for.
    pub bytes: Vec<u8>,
    /// What S3 calls this state of it.
    pub etag: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
}

/// How much of an object is read.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// All of it; one with more bytes is refused unread.
    Whole {
        /// In bytes.
        at_most: u64,
    },
    /// Its beginning.
    Start {
        /// In bytes. The object must not be empty.
        length: u64,
    },
}

/// When a write may happen.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// There is no object of that name.
    Absent,
    /// The object has this ETag.
    Unchanged(String),
}

/// A name below the prefix, and the size of the object in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Without the prefix.
    pub name: String,
    /// In bytes.
    pub size: u64,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Bucket {
    /// Finds out region, endpoint and whom to ask for credentials; asks S3 for nothing yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`]: no region, or an endpoint in the environment that is not on this machine and not protected.
    pub async fn connect(config: S3Config) -> Result<Self, StoreError> {
        let S3Config { place, bucket, prefix, mut region, mut endpoint, credentials, .. } = config;
        let mut chain = None;
        let credentials = match credentials {
            Some(given) => given,
            None => {
                let aws = countersign_aws::configuration_in(region.as_deref()).await;
                let aws = aws.map_err(|why| error::no_region(&place, why))?;
                region = region.or_else(|| aws.region().map(ToString::to_string));
                endpoint = endpoint.or_else(|| aws.endpoint_url().map(str::to_owned));
                let found = Arc::new(AwsCredentials::new(aws));
                chain = Some(Arc::clone(&found));
                found
            }
        };
        if endpoint.as_deref().is_some_and(|endpoint| !is_endpoint(endpoint)) {
            return Err(error::unprotected(&place));
        }
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let options = ClientOptions::new().with_timeout(ATTEMPT).with_connect_timeout(CONNECT);
        let never = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&bucket)
            .with_credentials(credentials)
            .with_retry(never)
            // For names that `DeleteObjects` is not asked about by every service.
            .with_disable_bulk_delete(true)
            // A certificate covers one label: a bucket with a dot in its name goes into the path.
            .with_virtual_hosted_style_request(endpoint.is_none() && !bucket.contains('.'))
            .with_client_options(options.with_allow_http(endpoint.is_some()));
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        } else if region.starts_with("cn-") {
            let endpoint = format!("https://s3.{region}.amazonaws.com.cn");
            builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
        }
        let client =
            builder.with_region(region).build().map_err(|why| error::translate(&place, &bucket, &why))?;
        Ok(Self { place, name: bucket, prefix, client, credentials: chain, turns: Semaphore::new(IN_FLIGHT) })
    }

    /// How errors call it.
    pub fn place(&self) -> &str {
        &self.place
    }

    fn error(&self, why: &object_store::Error) -> StoreError {
        let error = error::translate(&self.place, &self.name, why);
        if let (StoreError::Denied { .. }, Some(credentials)) = (&error, &self.credentials) {
            credentials.give_up();
        }
        error
    }

    fn path(&self, name: &str) -> Result<Path, StoreError> {
        Path::parse(format!("{}{name}", self.prefix)).map_err(|_| error::foreign_name(&self.place))
    }

    /// To be held while a request is under way. The semaphore is never closed.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// The object called `name`.
    ///
    /// # Errors
    ///
    /// `Corrupt` for one that is larger than was asked for; otherwise whatever S3 and the network meet.
    pub async fn read(&self, name: &str, part: Part) -> Result<Option<Object>, StoreError> {
        self.tried(|| self.read_once(name, part)).await
    }

    async fn read_once(&self, name: &str, part: Part) -> Result<Option<Object>, StoreError> {
        let path = self.path(name)?;
        let _turn = self.turn().await;
        let range = match part {
            Part::Whole { .. } => None,
            Part::Start { length } => Some(GetRange::Bounded(0..length)),
        };
        let found = match self.client.get_opts(&path, GetOptions { range, ..GetOptions::default() }).await {
            Ok(found) => found,
            Err(why) if error::is_no_object(&why) => return Ok(None),
            Err(why) => return Err(self.error(&why)),
        };
        if let Part::Whole { at_most } = part
            && found.meta.size > at_most
        {
            return Err(error::foreign(&self.place, name, "it is too large"));
        }
        let etag = found.meta.e_tag.clone();
        let attribute = |name| found.attributes.get(&name).map(|value| value.as_ref().to_owned());
        let (content_type, cache_control) =
            (attribute(Attribute::ContentType), attribute(Attribute::CacheControl));
        let bytes = found.bytes().await.map_err(|why| self.error(&why))?.to_vec();
        Ok(Some(Object { bytes, etag, content_type, cache_control }))
    }

    /// One attempt to write an object under a condition: its new ETag, or `None` when the condition did not hold.
    ///
    /// # Errors
    ///
    /// After `Unavailable` it may have been written, or may yet be.
    pub(super) async fn write(
        &self,
        name: &str,
        bytes: Vec<u8>,
        condition: Condition,
    ) -> Result<Option<String>, StoreError> {
        let mode = match condition {
            Condition::Absent => PutMode::Create,
            Condition::Unchanged(etag) => PutMode::Update(UpdateVersion { e_tag: Some(etag), version: None }),
        };
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, "application/octet-stream".into());
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        let path = self.path(name)?;
        let _turn = self.turn().await;
        match self.client.put_opts(&path, bytes.into(), options).await {
            Ok(done) => Ok(Some(done.e_tag.unwrap_or_default())),
            Err(why) if error::is_condition(&why) => Ok(None),
            Err(why) => Err(self.error(&why)),
        }
    }

    /// Writes an object whatever is there.
    ///
    /// # Errors
    ///
    /// Whatever S3 and the network meet.
    pub async fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        content_type: &str,
        cache_control: &str,
    ) -> Result<(), StoreError> {
        let path = self.path(name)?;
        let write = || async {
            let mut attributes = Attributes::new();
            attributes.insert(Attribute::ContentType, content_type.to_owned().into());
            attributes.insert(Attribute::CacheControl, cache_control.to_owned().into());
            let options = PutOptions { attributes, ..PutOptions::default() };
            let _turn = self.turn().await;
            self.client.put_opts(&path, bytes.to_vec().into(), options).await.map_err(|why| self.error(&why))
        };
        self.tried(write).await.map(|_| ())
    }

    /// Removes an object; one that is not there is removed already.
    ///
    /// # Errors
    ///
    /// Whatever S3 and the network meet.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        let remove = || async {
            let _turn = self.turn().await;
            match self.client.delete(&path).await {
                Err(why) if !error::is_no_object(&why) => Err(self.error(&why)),
                _ => Ok(()),
            }
        };
        self.tried(remove).await
    }

    /// The objects whose names begin with `start`, which is plain text.
    ///
    /// # Errors
    ///
    /// Whatever S3 and the network meet.
    pub async fn list(&self, start: &str) -> Result<Vec<Listed>, StoreError> {
        let prefix = format!("{}{start}", self.prefix);
        let (mut all, mut next) = (Vec::new(), None);
        loop {
            let ask = || async {
                let page =
                    PaginatedListOptions { page_token: next.clone(), ..PaginatedListOptions::default() };
                let _turn = self.turn().await;
                self.client.list_paginated(Some(&prefix), page).await.map_err(|why| self.error(&why))
            };
            let page = self.tried(ask).await?;
            all.extend(page.result.objects.iter().filter_map(|object| {
                // The folders that consoles show are objects with a slash at the end, which the client takes away.
                let name = object.location.as_ref().strip_prefix(&self.prefix)?.to_owned();
                Some(Listed { name, size: object.size })
            }));
            next = page.page_token;
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// Makes an attempt, and more of them while S3 is not available.
    pub(super) async fn tried<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.in_time(async {
            let mut attempts = 1;
            loop {
                match attempt().await {
                    Err(StoreError::Unavailable { .. }) if attempts < ATTEMPTS => {}
                    outcome => return outcome,
                }
                pause(attempts).await;
                attempts += 1;
            }
        })
        .await
    }

    /// Gives an operation up that takes too long in all its attempts.
    pub(super) async fn in_time<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let outcome = tokio::time::timeout(OPERATION, operation).await;
        outcome.unwrap_or_else(|_| Err(error::no_answer(&self.place)))
    }
}

/// The pause after attempt number `attempts`: twice as long each time, and the second half of it by chance, so that many who
/// were refused together do not come back together.
pub(super) async fn pause(attempts: u32) {
    let longest = PAUSE.saturating_mul(1 << attempts.min(10)).min(BACKOFF);
    let mut chance = [0];
    // Without chance the pause is a full one.
    let chance = getrandom::fill(&mut chance).map_or(255, |()| u32::from(chance[0]));
    tokio::time::sleep(longest / 2 + longest / 2 * chance / 255).await;
}
