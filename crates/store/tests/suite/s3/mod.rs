//! The S3 engine on versitygw, which heeds conditions as S3 does: the contract of every store
//! (`contract`), networks and services in a bad state (`networks`), answers that get lost
//! (`lost_answers`), and services that take conditions and ignore them (`liars`), which no emulator
//! does on demand.
#![expect(clippy::unwrap_used, reason = "functions of these files that are no tests serve only tests")]

mod contract;
mod liars;
mod lost_answers;
mod networks;

use std::{sync::Arc, time::Duration};

use countersign_jose::Timestamp;
use countersign_store::{Clock, Key, ManualClock, S3Config, S3Store, StoreError, StoreUrl};
use countersign_testbed::s3;
use object_store::{
    ObjectStore, ObjectStoreExt, PutPayload,
    aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider},
    client::StaticCredentialProvider,
    path::Path,
};

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)))
}

/// A configuration for part of a bucket behind some port of this machine.
fn config(bucket: &str, prefix: &str, port: u16) -> S3Config {
    let url = format!("s3://{bucket}/{prefix}?region=us-east-1&endpoint=http://127.0.0.1:{port}");
    let mut config = S3Config::parse(&StoreUrl::parse(&url).unwrap()).unwrap();
    // Longer than anything takes on a busy machine; tests of timeouts set their own.
    config.attempt_timeout = Duration::from_secs(60);
    config.operation_timeout = Duration::from_secs(300);
    config.turn_timeout = Duration::from_secs(300);
    config.credentials = Some(credentials(None));
    config
}

/// Those that versitygw knows; it refuses any with a token.
fn credentials(token: Option<&str>) -> AwsCredentialProvider {
    Arc::new(StaticCredentialProvider::new(AwsCredential {
        key_id: s3().key_id.to_owned(),
        secret_key: s3().secret.to_owned(),
        token: token.map(str::to_owned),
    }))
}

async fn open(bucket: &str, prefix: &str, port: u16) -> Result<S3Store, StoreError> {
    let clock: Arc<dyn Clock> = clock();
    S3Store::open(config(bucket, prefix, port), clock).await
}

/// The same with less patience.
async fn open_impatiently(bucket: &str, prefix: &str, port: u16) -> Result<S3Store, StoreError> {
    let mut config = config(bucket, prefix, port);
    config.attempt_timeout = Duration::from_secs(3);
    config.operation_timeout = Duration::from_secs(20);
    S3Store::open(config, clock()).await
}

/// The bucket as somebody else sees it.
fn raw(bucket: &str) -> impl ObjectStore {
    AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region("us-east-1")
        .with_endpoint(s3().url())
        .with_allow_http(true)
        .with_access_key_id(s3().key_id)
        .with_secret_access_key(s3().secret)
        .build()
        .unwrap()
}

async fn put_raw(bucket: &str, name: &str, content: &[u8]) {
    raw(bucket).put(&Path::parse(name).unwrap(), PutPayload::from(content.to_vec())).await.unwrap();
}

async fn get_raw(bucket: &str, name: &str) -> Option<Vec<u8>> {
    let found = raw(bucket).get(&Path::parse(name).unwrap()).await.ok()?;
    Some(found.bytes().await.unwrap().to_vec())
}

/// That an error shows nothing of who asked.
fn shows_no_secret(error: &StoreError) {
    let text = format!("{error} {error:?}");
    assert!(!text.contains("SECRET") && !text.contains('\n'), "{text}");
}
