//! AWS KMS: keys that sign and never leave it (`keys`), and a key that the sealing key is kept under (`data_keys`).
//!
//! One client for both, made when it is first needed and shared by every clone of [`Kms`], with the
//! credentials, region and retries of `countersign-aws`. Nothing waits forever: each call has a
//! time-out below the one of a request, and no more than [`IN_FLIGHT`] signatures are asked for at
//! once; who waits too long for a turn is told so. KMS API reference; quotas: KMS developer guide,
//! "Request quotas". Pinned by tests/kms.

mod data_keys;
mod errors;
mod keys;

pub use data_keys::KmsDataKeys;

use crate::ServiceError;
use aws_sdk_kms::{Client, config::Builder, config::timeout::TimeoutConfig};
use countersign_aws::{Named, SdkConfig, Service};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OnceCell, Semaphore};

/// How many signatures are asked for at once. At 20 ms each that is more than the 1000 a second that an account may have.
pub const IN_FLIGHT: usize = 64;
/// How long a signature waits for its turn.
const TURN: Duration = Duration::from_secs(2);
/// How long one attempt at a call may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long a call may take with all its attempts: with `TURN`, less than the ten seconds a request has.
const CALL: Duration = Duration::from_secs(6);

/// The KMS of one account and region.
#[derive(Debug, Clone)]
pub struct Kms(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The issuer that keys are made for; it stands in their description and tags.
    issuer: String,
    client: OnceCell<Client>,
    turns: Semaphore,
}

impl Kms {
    /// The KMS of this process and machine, for keys of `issuer`. Asks for nothing yet.
    pub fn new(issuer: String) -> Self {
        Self(Arc::new(Inner { issuer, client: OnceCell::new(), turns: Semaphore::new(IN_FLIGHT) }))
    }

    /// The same with a configuration at hand, with its timeouts, and with fewer signatures at once.
    pub fn with(issuer: String, config: &SdkConfig, in_flight: usize) -> Self {
        let client = OnceCell::new_with(Some(Client::new(config)));
        Self(Arc::new(Inner { issuer, client, turns: Semaphore::new(in_flight) }))
    }

    async fn client(&self) -> Result<&Client, ServiceError> {
        let make = || async {
            let config = countersign_aws::configuration(Service::Kms, Named::default()).await;
            Ok(client(&config.map_err(|why| ServiceError::Misconfigured(why.to_string()))?))
        };
        self.0.client.get_or_try_init(make).await
    }
}

fn client(config: &SdkConfig) -> Client {
    let timeouts = config.timeout_config().map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
    let timeouts = timeouts.operation_attempt_timeout(ATTEMPT).operation_timeout(CALL).build();
    Client::from_conf(Builder::from(config).timeout_config(timeouts).build())
}
