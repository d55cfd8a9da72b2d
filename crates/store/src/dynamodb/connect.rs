//! `Connection`: AWS's client for one table, and how many requests it is sent at once.
//!
//! The client itself has no limit: a hundred tasks would open a hundred connections. Time-outs and retries are its own
//! (`countersign_aws`). [`Attempts`] notes what it does not say at the end: whether a write that was refused may have
//! been done by an earlier attempt whose answer got lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aws_sdk_dynamodb::{
    Client,
    config::{ConfigBag, Intercept, Region, RuntimeComponents, interceptors::FinalizerInterceptorContextRef},
    error::BoxError,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{config::DynamoDbConfig, error};
use crate::StoreError;

/// A way to one table.
pub(super) struct Connection {
    pub(super) config: DynamoDbConfig,
    pub(super) client: Client,
    turns: Semaphore,
}

impl Connection {
    /// Asks for nothing yet.
    pub(super) async fn new(config: DynamoDbConfig) -> Result<Self, StoreError> {
        let aws = match config.aws.clone() {
            Some(aws) => aws,
            None => countersign_aws::configuration_in(config.region.as_deref())
                .await
                .map_err(|why| error::no_region(&config.place, why))?,
        };
        let mut builder = aws_sdk_dynamodb::config::Builder::from(&aws);
        if let Some(region) = &config.region {
            builder = builder.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &config.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        let turns = Semaphore::new(config.in_flight);
        Ok(Self { client: Client::from_conf(builder.build()), config, turns })
    }

    pub(super) fn place(&self) -> &str {
        &self.config.place
    }

    /// To be held while a request is under way.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        match tokio::time::timeout(self.config.turn_timeout, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(error::all_busy(self.place())),
        }
    }
}

/// Watches the attempts of one write.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts {
    unanswered: Arc<AtomicBool>,
}

impl Attempts {
    /// Whether an attempt may have taken effect without saying so: it was not answered, or with an error of the server.
    /// One that is refused for what was asked, or for the rate, changes nothing.
    pub(super) fn may_have_taken_effect(&self) -> bool {
        self.unanswered.load(Ordering::SeqCst)
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let status = context.response().map_or(0, |response| response.status().as_u16());
        if !(200..500).contains(&status) {
            self.unanswered.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
}
