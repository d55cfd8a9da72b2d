//! `Bucket`: what this program asks of S3, one request at a time, and how long it waits.
//!
//! The client's own retries are switched off: it sends a conditional write again without a word,
//! and then a refusal may be due to one's own first attempt. Here every attempt is seen. Reads and
//! removals are tried again as `countersign_aws` has it for every AWS service (time-outs, attempts,
//! back-off with jitter); who writes under a condition decides by reading. The store is made of it,
//! and `publish` writes with it.

use std::{future::Future, sync::Arc, time::Duration};

use countersign_aws::{ATTEMPTS, BACKOFF, CONNECT, DNS_SUFFIX, Named, Service, dns_suffix};
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
    /// The endpoint that is asked; what the mark remembers.
    service: String,
    operation_timeout: Duration,
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
pub enum Condition {
    /// There is no object of that name.
    Absent,
    /// The object has this ETag.
    Unchanged(String),
}

impl Condition {
    fn mode(self) -> PutMode {
        match self {
            Self::Absent => PutMode::Create,
            Self::Unchanged(etag) => PutMode::Update(UpdateVersion { e_tag: Some(etag), version: None }),
        }
    }
}

/// What S3 tells the readers of an object beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct ServedAs<'a> {
    /// `Content-Type`.
    pub content_type: &'a str,
    /// `Cache-Control`.
    pub cache_control: &'a str,
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
    /// [`StoreError::Misconfigured`]: no region, or an endpoint in the environment that cannot be
    /// used.
    pub async fn connect(config: S3Config) -> Result<Self, StoreError> {
        let S3Config { place, bucket, prefix, mut region, mut endpoint, credentials, .. } = config;
        let mut chain = None;
        let mut variant = Variant::default();
        let credentials = match credentials {
            Some(given) => given,
            None => {
                let named = Named { region: region.as_deref(), endpoint: endpoint.as_deref() };
                let aws = countersign_aws::configuration(Service::S3, named).await;
                let aws = aws.map_err(|why| error::unusable(&place, &why))?;
                region = aws.region().map(ToString::to_string);
                endpoint = aws.endpoint_url().map(str::to_owned);
                variant.fips = aws.use_fips() == Some(true);
                variant.dual_stack = aws.use_dual_stack() == Some(true);
                let found = Arc::new(AwsCredentials::new(aws));
                chain = Some(Arc::clone(&found));
                found
            }
        };
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let is_amazon = endpoint.is_none();
        let endpoint = endpoint.or_else(|| variant.endpoint(&region));
        let service = endpoint.clone().unwrap_or_else(|| format!("https://s3.{region}.{DNS_SUFFIX}"));
        let options = ClientOptions::new().with_timeout(config.attempt_timeout).with_connect_timeout(CONNECT);
        let never = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&bucket)
            .with_credentials(credentials)
            .with_retry(never)
            // For names that `DeleteObjects` is not asked about by every service.
            .with_disable_bulk_delete(true)
            // A certificate covers one label: a bucket with a dot in its name goes into the path.
            .with_virtual_hosted_style_request(endpoint.is_none() && !bucket.contains('.'))
            .with_client_options(options.with_allow_http(!is_amazon));
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let client =
            builder.with_region(region).build().map_err(|why| error::translate(&place, &bucket, &why))?;
        Ok(Self {
            place,
            name: bucket,
            prefix,
            service,
            operation_timeout: config.operation_timeout,
            client,
            credentials: chain,
            turns: Semaphore::new(IN_FLIGHT),
        })
    }

    /// How errors call it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The bucket's name, without the prefix.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The endpoint that is asked.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    fn error(&self, why: &object_store::Error) -> StoreError {
        // Not for every refusal: a role without some right would ask for new credentials with each
        // request.
        if let (true, Some(credentials)) = (error::refuses_credentials(why), &self.credentials) {
            credentials.give_up();
        }
        error::translate(&self.place, &self.name, why)
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
    /// `Corrupt` for one that is larger than was asked for; otherwise whatever S3 and the network
    /// meet.
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

    /// One attempt to write an object under a condition: its new ETag, or `None` when the condition
    /// did not hold.
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
        let mode = condition.mode();
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

    /// Writes an object that is served in place of what is there: whatever that is, or only if
    /// `condition` still holds. Returns whether it was written. A service that knows no such
    /// conditions takes the place of what is there.
    ///
    /// # Errors
    ///
    /// Whatever S3 and the network meet. Where an answer was lost, a condition may have ceased to
    /// hold by this write itself.
    pub async fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        served_as: ServedAs<'_>,
        condition: Option<&Condition>,
    ) -> Result<bool, StoreError> {
        let path = self.path(name)?;
        let write = || async {
            let mode = condition.cloned().map_or(PutMode::Overwrite, Condition::mode);
            let done = match self.put(&path, bytes, served_as, mode).await {
                Err(why) if condition.is_some() && error::is_condition(&why) => return Ok(false),
                Err(why) if condition.is_some() && error::is_not_implemented(&why) => {
                    self.put(&path, bytes, served_as, PutMode::Overwrite).await
                }
                done => done,
            };
            done.map(|()| true).map_err(|why| self.error(&why))
        };
        self.tried(write).await
    }

    async fn put(
        &self,
        path: &Path,
        bytes: &[u8],
        served_as: ServedAs<'_>,
        mode: PutMode,
    ) -> object_store::Result<()> {
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, served_as.content_type.to_owned().into());
        attributes.insert(Attribute::CacheControl, served_as.cache_control.to_owned().into());
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        let _turn = self.turn().await;
        self.client.put_opts(path, bytes.to_vec().into(), options).await.map(|_| ())
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
        let (mut all, mut next) = self.page(start, None).await?;
        while next.is_some() {
            let (more, after) = self.page(start, next).await?;
            all.extend(more);
            next = after;
        }
        Ok(all)
    }

    /// Some of these objects, and where the others begin.
    pub(super) async fn page(
        &self,
        start: &str,
        from: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), StoreError> {
        let prefix = format!("{}{start}", self.prefix);
        let ask = || async {
            let page = PaginatedListOptions { page_token: from.clone(), ..PaginatedListOptions::default() };
            let _turn = self.turn().await;
            self.client.list_paginated(Some(&prefix), page).await.map_err(|why| self.error(&why))
        };
        let page = self.tried(ask).await?;
        let listed = page.result.objects.iter().filter_map(|object| {
            // The folders that consoles show are objects with a slash at the end, which the client
            // takes away.
            let name = object.location.as_ref().strip_prefix(&self.prefix)?.to_owned();
            Some(Listed { name, size: object.size })
        });
        Ok((listed.collect(), page.page_token))
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
        let outcome = tokio::time::timeout(self.operation_timeout, operation).await;
        outcome.unwrap_or_else(|_| Err(error::no_answer(&self.place)))
    }
}

/// The pause after attempt number `attempts`: twice as long each time, and the second half of it by
/// chance, so that many who were refused together do not come back together.
pub(super) async fn pause(attempts: u32) {
    let longest = PAUSE.saturating_mul(1 << attempts.min(10)).min(BACKOFF);
    let mut chance = [0];
    // Without chance the pause is a full one.
    let chance = getrandom::fill(&mut chance).map_or(255, |()| u32::from(chance[0]));
    tokio::time::sleep(longest / 2 + longest / 2 * chance / 255).await;
}

/// Which of AWS' own endpoints the environment asks for.
#[derive(Debug, Clone, Copy, Default)]
struct Variant {
    fips: bool,
    dual_stack: bool,
}

impl Variant {
    /// The endpoint, where it is not the one that the client makes of the region (Amazon S3
    /// endpoints and quotas, AWS General Reference). The bucket goes into the path.
    fn endpoint(self, region: &str) -> Option<String> {
        let suffix = dns_suffix(region);
        let host = match (self.fips, self.dual_stack) {
            (true, true) => "s3-fips.dualstack",
            (true, false) => "s3-fips",
            (false, true) => "s3.dualstack",
            // The client knows no other.
            (false, false) if suffix == DNS_SUFFIX => return None,
            (false, false) => "s3",
        };
        Some(format!("https://{host}.{region}.{suffix}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fips_dual_stack_and_the_partition_of_the_region_are_honoured() {
        for (fips, dual_stack, region, endpoint) in [
            (false, false, "eu-central-1", None),
            (false, false, "cn-north-1", Some("https://s3.cn-north-1.amazonaws.com.cn")),
            (false, true, "cn-north-1", Some("https://s3.dualstack.cn-north-1.amazonaws.com.cn")),
            (false, false, "eusc-de-east-1", Some("https://s3.eusc-de-east-1.amazonaws.eu")),
            (false, false, "us-iso-east-1", Some("https://s3.us-iso-east-1.c2s.ic.gov")),
            (true, true, "eusc-de-east-1", Some("https://s3-fips.dualstack.eusc-de-east-1.amazonaws.eu")),
            (false, true, "eu-central-1", Some("https://s3.dualstack.eu-central-1.amazonaws.com")),
            (true, false, "us-east-1", Some("https://s3-fips.us-east-1.amazonaws.com")),
            (true, true, "us-gov-west-1", Some("https://s3-fips.dualstack.us-gov-west-1.amazonaws.com")),
        ] {
            assert_eq!(Variant { fips, dual_stack }.endpoint(region).as_deref(), endpoint, "{region}");
        }
    }
}
