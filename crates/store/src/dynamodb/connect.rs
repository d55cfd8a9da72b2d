//! `Connection`: AWS's client for one table.
//!
//! The client itself has no limit on connections; the store's permits are one. Timeouts and retries
//! are its own (`countersign_aws`). [`Attempts`] notes what it does not say at the end: whether a
//! write that was refused may have been done by an earlier attempt whose answer got lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aws_sdk_dynamodb::{
    Client,
    config::{ConfigBag, Intercept, Region, RuntimeComponents, interceptors::FinalizerInterceptorContextRef},
    error::{BoxError, ProvideErrorMetadata},
    types::AttributeValue,
};
use countersign_aws::{Named, Service};

use super::{config::DynamoDbConfig, error, schema};
use crate::StoreError;

/// A way to one table.
pub(super) struct Connection {
    pub(super) config: DynamoDbConfig,
    pub(super) client: Client,
}

impl Connection {
    /// Asks for nothing yet.
    pub(super) async fn new(config: DynamoDbConfig) -> Result<Self, StoreError> {
        let aws = match config.aws.clone() {
            Some(aws) => aws,
            None => {
                let named = Named { region: config.region.as_deref(), endpoint: config.endpoint.as_deref() };
                let aws = countersign_aws::configuration(Service::DynamoDb, named).await;
                aws.map_err(|why| error::unusable(&config.place, &why))?
            }
        };
        let mut builder = aws_sdk_dynamodb::config::Builder::from(&aws);
        if let Some(region) = &config.region {
            builder = builder.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &config.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Ok(Self { client: Client::from_conf(builder.build()), config })
    }

    pub(super) fn place(&self) -> &str {
        &self.config.place
    }

    /// Whether the table has our mark. `false` also where there is no such table, or one with
    /// another key.
    pub(super) async fn is_marked(&self) -> Result<bool, StoreError> {
        let request = self.client.get_item().table_name(&self.config.table).consistent_read(true);
        let request = request.key(schema::KEY, AttributeValue::S(schema::MARK.to_owned()));
        match request.send().await {
            Ok(answer) => schema::check_mark(self.place(), answer.item.as_ref()),
            Err(problem) => match problem.code() {
                Some("ResourceNotFoundException" | "ValidationException") => Ok(false),
                _ => Err(error::translate(self.place(), &problem)),
            },
        }
    }

    /// Leaves the mark. Done again, or by many at once, it is the same.
    pub(super) async fn leave_mark(&self) -> Result<(), StoreError> {
        let request = self.client.put_item().table_name(&self.config.table);
        let done = request.set_item(Some(schema::mark())).send().await;
        done.map(|_| ()).map_err(|problem| error::translate(self.place(), &problem))
    }
}

/// Watches the attempts of one write.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts {
    unanswered: Arc<AtomicBool>,
}

impl Attempts {
    /// Whether an attempt may have taken effect without saying so: it was not answered, or with an
    /// error of the server. One that is refused for what was asked, or for the rate, changes
    /// nothing.
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
        // A success that counts is never asked about; one whose body was cut off is tried again,
        // though it was done.
        if !(400..500).contains(&status) {
            self.unanswered.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
}
