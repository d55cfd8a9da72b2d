//! How Countersign talks to AWS: one configuration for every service.
//!
//! Credentials, region and endpoint are found where every AWS tool finds them (environment, profile
//! files, container, Lambda, instance), as the AWS SDKs and Tools Reference Guide has it.
//! `endpoint` is the one rule about other servers. Nothing waits forever: each attempt and each
//! operation has a time-out, and what AWS says may be tried again (throttling, 5xx, a broken
//! connection) is tried again with exponential back-off and jitter, a bounded number of times.
//!
//! Reads nothing of Countersign's own configuration. The store's DynamoDB and S3 engines and KMS use
//! it. `secrets` (a feature) reads what configurations refer to, `cloudfront` (another) invalidates
//! paths in caches, and `credentials` holds the credentials of the chain for those that sign with
//! them themselves.

#[cfg(feature = "cloudfront")]
pub mod cloudfront;
#[cfg(feature = "credentials")]
pub mod credentials;
mod endpoint;
mod names;
#[cfg(feature = "requests")]
mod request;
#[cfg(feature = "secrets")]
pub mod secrets;

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};

pub use aws_config::SdkConfig;
pub use endpoint::{Named, Service, Unusable};
pub use names::{BUCKET_NAME, DNS_SUFFIX, dns_suffix, is_bucket_name, is_endpoint, is_region};

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

/// The configuration of this process and machine for one service. Asks for no credentials yet: the
/// first request does.
///
/// # Errors
///
/// [`Unusable`]: every request would fail with a less helpful message, or go where it must not.
pub async fn configuration(service: Service, named: Named<'_>) -> Result<SdkConfig, Unusable> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION)
        .build();
    let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(BACKOFF);
    let mut config =
        aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).retry_config(retries);
    if let Some(region) = named.region {
        config = config.region(Region::new(region.to_owned()));
    }
    endpoint::settle(config.load().await, service, named)
}
