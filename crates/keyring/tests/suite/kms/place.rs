//! Where the tests take place: MiniStack, a relay in front of it, a keyring in memory.

use aws_sdk_kms::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, SharedCredentialsProvider, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
};
use countersign_aws::SdkConfig;
use countersign_jose::{
    Algorithm, Header, KeySize, SigningInput, Timestamp, Unverified, VerifyingKey, base64url,
};
use countersign_keyring::{
    KeyPlace, KeyService, RemoteKey, RingName, RingSpec, Sealing, SealingKey, SignError, Signer,
    StoredKeyring, kms::Kms,
};
use countersign_store::{ManualClock, MemoryStore, Store};
use countersign_testbed::{Asked, Relay, ministack};
use std::{sync::Arc, time::Duration};

pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
pub(crate) const ISSUER: &str = "https://issuer.example";

/// As the program has it, at another address, with shorter pauses, and with timeouts that are
/// longer than anything takes on a busy machine.
pub(crate) fn config(url: &str) -> SdkConfig {
    config_within(url, Duration::from_secs(60), Duration::from_secs(240))
}

/// The same with the timeouts of the program, for tests of what is never answered.
pub(crate) fn impatient(url: &str) -> SdkConfig {
    config_within(url, Duration::from_secs(2), Duration::from_secs(6))
}

fn config_within(url: &str, attempt: Duration, call: Duration) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "tests");
    let timeouts = TimeoutConfig::builder().connect_timeout(attempt);
    let timeouts = timeouts.operation_attempt_timeout(attempt).operation_timeout(call).build();
    let retries = RetryConfig::standard().with_max_attempts(4);
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(timeouts)
        .retry_config(retries.with_initial_backoff(Duration::from_millis(20)))
        .build()
}

/// A KMS behind a relay.
pub(crate) struct Place {
    pub(crate) relay: Relay,
    pub(crate) kms: Kms,
    /// Past the relay, for what a test has to arrange.
    pub(crate) client: Client,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let server = ministack();
        let relay = Relay::to_http(server.port()).await;
        let kms = Kms::with(ISSUER.to_owned(), &config(&relay.url()), 8);
        Self { kms, client: Client::new(&config(&server.url())), relay }
    }

    pub(crate) fn service(&self) -> Arc<dyn KeyService> {
        Arc::new(self.kms.clone())
    }

    /// What was asked of one operation, as the JSON of each request.
    pub(crate) fn asked(&self, operation: &str) -> Vec<serde_json::Value> {
        asked(&self.relay.asked(), operation)
    }

    pub(crate) async fn create(&self, algorithm: Algorithm, size: KeySize) -> RemoteKey {
        self.kms.create(&ring(), algorithm, size).await.unwrap()
    }

    pub(crate) async fn signer(&self, algorithm: Algorithm) -> Box<dyn Signer> {
        signer(self.create(algorithm, KeySize::Rsa2048).await, algorithm, self.service())
    }
}

/// The bodies of the requests for one operation.
pub(crate) fn asked(all: &[Asked], operation: &str) -> Vec<serde_json::Value> {
    let target = format!("x-amz-target: trentservice.{}", operation.to_lowercase());
    let of = all.iter().filter(|asked| asked.head.to_lowercase().contains(&format!("{target}\r\n")));
    of.map(|asked| serde_json::from_slice(&asked.body).unwrap()).collect()
}

pub(crate) fn signer(key: RemoteKey, algorithm: Algorithm, service: Arc<dyn KeyService>) -> Box<dyn Signer> {
    let (kid, name) = (key.public.thumbprint(), key.name);
    Box::new(countersign_keyring::RemoteSigner::new(kid, name, algorithm, key.public, service).unwrap())
}

pub(crate) fn ring() -> RingName {
    "default".parse().unwrap()
}

pub(crate) fn spec(algorithm: Algorithm) -> RingSpec {
    let size = KeySize::Rsa2048;
    RingSpec { name: ring(), algorithm, size, make_first_key: true, place: KeyPlace::Service }
}

pub(crate) fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))))
}

pub(crate) fn keyring(store: &Arc<dyn Store>, service: Arc<dyn KeyService>) -> StoredKeyring {
    let sealing = Sealing::new(Arc::new(SealingKey::generate().unwrap().0));
    StoredKeyring::new(Arc::clone(store), sealing).with_service(service)
}

pub(crate) fn input(payload: &str, algorithm: Algorithm) -> SigningInput {
    SigningInput::new(
        &Header { alg: algorithm, kid: Some("k"), typ: Some("JWT") }.encode(),
        payload.as_bytes(),
    )
}

/// Signs, and has our own verifier say whether it is a token.
pub(crate) async fn token(signer: &dyn Signer, payload: &str) -> Result<String, SignError> {
    let input = input(payload, signer.algorithm());
    let signature = signer.sign(&input).await?;
    let token = input.finish(&signature);
    let key = VerifyingKey::new(signer.public_key().unwrap(), signer.algorithm(), None).unwrap();
    let signed = Unverified::parse(&token).unwrap().verify(&key).unwrap();
    assert_eq!(signed.payload(), payload.as_bytes());
    Ok(token)
}

/// The bytes of a JSON member in base64, as KMS has them.
pub(crate) fn bytes(value: &serde_json::Value) -> Vec<u8> {
    let text = value.as_str().unwrap().trim_end_matches('=').replace('+', "-").replace('/', "_");
    base64url::decode(&text).unwrap()
}
