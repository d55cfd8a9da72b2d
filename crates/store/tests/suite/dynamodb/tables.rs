//! Tables of the tests' own on the one MiniStack, and stores that wait less long than real ones.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    config::{
        AsyncSleep, BehaviorVersion, Credentials, Region, SharedAsyncSleep, SharedCredentialsProvider, Sleep,
        retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use countersign_aws::SdkConfig;
use countersign_jose::Timestamp;
use countersign_store::{DynamoDbConfig, DynamoDbStore, ManualClock, StoreUrl};
use countersign_testbed::{Relay, ministack, until};
use tokio::sync::Semaphore;

/// What no error and no `Debug` may show.
pub(crate) const SECRETS: [&str; 3] = ["AKIANEVERSHOWN", "SECRET-never-shown", "TOKEN-never-shown"];

/// Longer than anything takes on a busy machine.
const ATTEMPT: Duration = Duration::from_secs(60);
/// For tests of what is never answered.
const SHORT_ATTEMPT: Duration = Duration::from_secs(2);
pub(crate) const ATTEMPTS: usize = 4;
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(80);

/// As the program has it, with shorter pauses and longer timeouts.
pub(crate) fn aws() -> SdkConfig {
    aws_within(ATTEMPT)
}

/// The same with less patience.
pub(crate) fn impatient() -> SdkConfig {
    aws_within(SHORT_ATTEMPT)
}

fn aws_within(attempt: Duration) -> SdkConfig {
    let [id, secret, token] = SECRETS;
    let credentials = Credentials::new(id, secret, Some(token.to_owned()), None, "tests");
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt * 3)
        .build();
    let retries = RetryConfig::standard().with_max_attempts(u32::try_from(ATTEMPTS).unwrap());
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(timeouts)
        .retry_config(retries.with_initial_backoff(FIRST_PAUSE))
        .build()
}

/// A pause between attempts that is written down, and that lasts until it is let pass where that
/// was wanted.
#[derive(Debug, Clone)]
pub(crate) struct Pauses {
    pub(crate) seen: Arc<Mutex<Vec<Duration>>>,
    /// `None`: each lasts as long as it should.
    gate: Option<Arc<Semaphore>>,
}

impl Pauses {
    pub(crate) fn timed() -> Self {
        Self { seen: Arc::default(), gate: None }
    }

    pub(crate) fn held() -> Self {
        Self { gate: Some(Arc::new(Semaphore::new(0))), ..Self::timed() }
    }

    pub(crate) fn let_pass(&self) {
        self.gate.as_ref().unwrap().add_permits(1);
    }

    pub(crate) async fn until_one_began(&self) {
        until("a pause", async || !self.seen.lock().unwrap().is_empty()).await;
    }

    pub(crate) fn of(self, aws: &SdkConfig) -> SdkConfig {
        aws.to_builder().sleep_impl(SharedAsyncSleep::new(self)).build()
    }
}

impl AsyncSleep for Pauses {
    fn sleep(&self, duration: Duration) -> Sleep {
        // The SDK's time-outs are sleeps too, all of them longer than these pauses.
        if duration > LAST_PAUSE {
            return Sleep::new(tokio::time::sleep(duration));
        }
        self.seen.lock().unwrap().push(duration);
        match self.gate.clone() {
            None => Sleep::new(tokio::time::sleep(duration)),
            Some(gate) => Sleep::new(async move { gate.acquire().await.unwrap().forget() }),
        }
    }
}

/// A name that no other test has.
pub(crate) fn name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("table-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn config(table: &str, endpoint: &str) -> DynamoDbConfig {
    let url = StoreUrl::parse(&format!("dynamodb://{table}?endpoint={endpoint}")).unwrap();
    let mut config = DynamoDbConfig::parse(&url).unwrap();
    config.aws = Some(aws());
    config.turn_timeout = ATTEMPT;
    config.ready_pause = Duration::from_millis(20);
    config
}

/// DynamoDB as anybody else asks it.
pub(crate) fn client() -> Client {
    let config = aws_sdk_dynamodb::config::Builder::from(&aws()).endpoint_url(ministack().url()).build();
    Client::from_conf(config)
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)))
}

/// The name of a new table that is ready for use.
pub(crate) async fn table() -> String {
    let name = name();
    let created = DynamoDbStore::create(config(&name, &ministack().url()), &|_| {}).await.unwrap();
    assert!(created.made && created.notes.is_empty(), "{created:?}");
    name
}

pub(crate) async fn open(table: &str) -> DynamoDbStore {
    DynamoDbStore::open(config(table, &ministack().url()), clock()).await.unwrap()
}

/// A new table, a store on it that asks by way of a relay, and the relay.
pub(crate) async fn relayed(change: impl FnOnce(&mut DynamoDbConfig)) -> (String, DynamoDbStore, Relay) {
    let table = table().await;
    let relay = Relay::to_http(ministack().port()).await;
    let mut config = config(&table, &relay.url());
    change(&mut config);
    let store = DynamoDbStore::open(config, clock()).await.unwrap();
    (table, store, relay)
}

/// How often `operation` was asked for.
pub(crate) fn count(relay: &Relay, operation: &str) -> usize {
    let target = format!("DynamoDB_20120810.{operation}");
    relay.asked().iter().filter(|asked| asked.head.contains(&target)).count()
}

/// An error as DynamoDB has it.
pub(crate) fn refusal(code: &str) -> String {
    format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"says AWS"}}"#)
}

pub(crate) const JSON: &[(&str, &str)] = &[("content-type", "application/x-amz-json-1.0")];
