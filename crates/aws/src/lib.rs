//! How Countersign talks to AWS: one configuration for every service.
//!
//! Credentials, region and endpoint are found where every AWS tool finds them (environment, profile files, container,
//! Lambda, instance), as the AWS SDKs and Tools Reference Guide has it; `AWS_ENDPOINT_URL` leads to another server.
//! Nothing waits for ever: each attempt and each operation has a time-out, and what AWS says may be tried again
//! (throttling, 5xx, a broken connection) is tried again with exponential back-off and jitter, a bounded number of times.
//!
//! Reads nothing of Countersign's own configuration. The store's DynamoDB and S3 engines, KMS and CloudFront use it.

mod names;

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};

pub use aws_config::SdkConfig;
pub use names::{is_endpoint, is_region};

/// Until a connection stands.
pub const CONNECT: Duration = Duration::from_secs(2);
/// Until one attempt is answered.
pub const ATTEMPT: Duration = Duration::from_secs(3);
/// Until an operation with all its attempts is given up.
pub const OPERATION: Duration = Duration::from_secs(10);
/// How often an operation is attempted at most.
pub const ATTEMPTS: u32 = 4;
/// The longest pause between attempts.
pub const BACKOFF: Duration = Duration::from_secs(2);

/// Why AWS can not be asked at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRegion;

impl std::fmt::Display for NoRegion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no AWS region is set; set AWS_REGION, or `region` in the AWS profile")
    }
}

impl std::error::Error for NoRegion {}

/// The configuration of this process and machine. Asks for no credentials yet: the first request does.
///
/// # Errors
///
/// [`NoRegion`] where none is configured: every request would fail with a less helpful message.
pub async fn configuration() -> Result<SdkConfig, NoRegion> {
    configuration_in(None).await
}

/// The same in a `region` that was named, whatever the environment says.
///
/// # Errors
///
/// [`NoRegion`] where none is named and none is configured.
pub async fn configuration_in(region: Option<&str>) -> Result<SdkConfig, NoRegion> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION)
        .build();
    let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(BACKOFF);
    let mut config =
        aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).retry_config(retries);
    if let Some(region) = region {
        config = config.region(Region::new(region.to_owned()));
    }
    let config = config.load().await;
    // A variable that is set to nothing sets nothing, and a name that is none would become part of a host's.
    if config.region().is_some_and(|region| is_region(region.as_ref())) { Ok(config) } else { Err(NoRegion) }
}
