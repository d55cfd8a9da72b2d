//! AWS KMS: keys that sign and never leave it (`keys`), and a key that the sealing key is kept
//! under (`data_keys`).
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

use crate::{RingName, ServiceError};
use aws_sdk_kms::{Client, config::Builder, config::timeout::TimeoutConfig};
use countersign_aws::{Named, SdkConfig, Service};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{OnceCell, Semaphore};

/// How many signatures are asked for at once. At 20 ms each that is more than the 1000 a second
/// that an account may have.
pub const IN_FLIGHT: usize = 64;
/// How long a signature waits for its turn.
const TURN: Duration = Duration::from_secs(2);
/// How long one attempt at a call may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long a call may take with all its attempts: with `TURN`, less than the ten seconds a request
/// has.
const CALL: Duration = Duration::from_secs(6);

/// The KMS of one account and region, with replicas of its keys in others where that is asked for.
#[derive(Debug, Clone)]
pub struct Kms(Arc<Inner>);

/// Regions that have a replica of each key made for a ring.
pub type Replicas = BTreeMap<RingName, Vec<String>>;

#[derive(Debug)]
struct Inner {
    /// The issuer that keys are made for; it stands in their description and tags.
    issuer: String,
    replicas: Replicas,
    client: OnceCell<Client>,
    turns: Semaphore,
}

impl Kms {
    /// The KMS of this process and machine, for keys of `issuer`. Asks for nothing yet.
    pub fn new(issuer: String, replicas: Replicas) -> Self {
        let turns = Semaphore::new(IN_FLIGHT);
        Self(Arc::new(Inner { issuer, replicas, client: OnceCell::new(), turns }))
    }

    /// The same with a configuration at hand, with its timeouts, and with fewer signatures at once.
    pub fn with(issuer: String, config: &SdkConfig, in_flight: usize) -> Self {
        let client = OnceCell::new_with(Some(Client::new(config)));
        let turns = Semaphore::new(in_flight);
        Self(Arc::new(Inner { issuer, replicas: Replicas::new(), client, turns }))
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

/// The name of a key in this region. A multi-Region key has the same id in every region that has a
/// replica, and another ARN (KMS developer guide, "Multi-Region keys"); every other key is where it
/// was made.
fn in_region<'n>(name: &'n str, region: Option<&str>) -> Cow<'n, str> {
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    match (parts.as_slice(), region) {
        ([arn, partition, "kms", _, account, key], Some(region)) if is_multi_region(name) => {
            Cow::Owned(format!("{arn}:{partition}:kms:{region}:{account}:{key}"))
        }
        _ => Cow::Borrowed(name),
    }
}

/// Whether this is the ARN of a multi-Region key.
fn is_multi_region(name: &str) -> bool {
    name.splitn(6, ':').nth(5).is_some_and(|key| key.starts_with("key/mrk-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_multi_region_key_has_a_name_in_another_region() {
        let mrk = "arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-1234";
        assert_eq!(
            in_region(mrk, Some("cn-northwest-1")),
            "arn:aws-cn:kms:cn-northwest-1:111122223333:key/mrk-1234"
        );
        assert_eq!(in_region(mrk, Some("cn-north-1")), mrk);
        assert_eq!(in_region(mrk, None), mrk);
        for name in [
            "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms:us-east-1:111122223333:alias/mrk-1234",
            "arn:aws:kms:us-east-1:111122223333:alias/key/mrk-1234",
            "arn:aws:s3:us-east-1:111122223333:key/mrk-1234",
            "mrk-1234",
            "alias/mrk-1234",
            "",
        ] {
            assert_eq!(in_region(name, Some("eu-west-1")), name);
        }
    }
}
