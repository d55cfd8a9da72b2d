//! From what is typed to a store: a URL as it is, or a reference to one, so that its password
//! stands in no file and on no command line.

use crate::{
    config::Config,
    failure::{Failure, Outcome, configuration},
    remote,
};
use async_trait::async_trait;
use countersign_issuer::http::{StoreOperation, StoreTimes};
use countersign_jose::Timestamp;
use countersign_settings::{Environment, SecretRef};
use countersign_store::{Clock, Document, Expect, Key, Store, StoreError, Version};
use std::{path::Path, sync::Arc};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// The store of a configuration. `None` where none exists, and none is to be made.
pub(crate) async fn of(
    config: &Config,
    environment: &Environment,
    first_keys: FirstKeys,
    clock: Arc<dyn Clock>,
) -> Outcome<Option<Arc<dyn Store>>> {
    let url = url(&config.raw.store.url, &config.folder, environment)
        .await
        .map_err(|why| why.about("store.url"))?;
    let opened = match first_keys {
        FirstKeys::Create => countersign_store::open(&url, &config.folder, clock).await,
        FirstKeys::Refuse => countersign_store::reopen(&url, &config.folder, clock).await,
    };
    match opened {
        Err(StoreError::Missing { .. }) if first_keys == FirstKeys::Refuse => Ok(None),
        Err(why @ StoreError::Misconfigured { .. }) => Err(Failure::from(why).about("store.url")),
        opened => Ok(Some(opened?)),
    }
}

/// Whether a store and a keyring are made where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstKeys {
    /// No: if there were some, they are lost, mistyped or not mounted.
    Refuse,
    /// Yes: somebody said that there never were any.
    Create,
}

/// The URL that is meant. Relative files of references begin in `folder`; one to AWS is fetched if
/// it was not yet.
pub(crate) async fn url(typed: &str, folder: &Path, environment: &Environment) -> Outcome<Zeroizing<String>> {
    if environment.fetched(typed).is_none() {
        remote::fetch([typed.to_owned()], environment).await;
    }
    fetched_url(typed, folder, environment)
}

/// The same for a reference that was fetched with its configuration.
pub(crate) fn fetched_url(
    typed: &str,
    folder: &Path,
    environment: &Environment,
) -> Outcome<Zeroizing<String>> {
    let Ok(reference) = typed.parse::<SecretRef>() else { return Ok(Zeroizing::new(typed.to_owned())) };
    let url = reference
        .read(folder, environment)
        .map_err(|why| configuration(why).about(format!("the store URL {reference}")))?;
    Ok(Zeroizing::new(url.trim().to_owned()))
}

/// What may be shown of what was typed: a reference as it is, a URL without what is secret in it.
pub(crate) fn shown(typed: &str) -> String {
    if typed.parse::<SecretRef>().is_ok() {
        return typed.to_owned();
    }
    match typed.parse::<countersign_store::StoreUrl>() {
        Ok(url) => url.to_string(),
        Err(_) => "***".to_owned(),
    }
}

/// Whether there is a secret in what was typed itself: a password, or a token.
pub(crate) fn holds_secret(typed: &str) -> bool {
    if typed.parse::<SecretRef>().is_ok() {
        return false;
    }
    let (place, parameters) = typed.split_once('?').unwrap_or((typed, ""));
    let authority = place.split_once("://").map_or("", |(_, rest)| rest);
    let has_password = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    let parameters = parameters.to_ascii_lowercase();
    has_password || ["password", "token", "secret"].iter().any(|name| parameters.contains(name))
}

/// A store that notes how long its operations take.
#[derive(Debug)]
pub(crate) struct TimedStore {
    store: Arc<dyn Store>,
    times: StoreTimes,
}

impl TimedStore {
    /// The same store, and what is noted of it.
    pub(crate) fn over(store: Arc<dyn Store>) -> (Arc<dyn Store>, StoreTimes) {
        let times = StoreTimes::default();
        (Arc::new(Self { store, times: times.clone() }), times)
    }

    async fn timed<T>(&self, operation: StoreOperation, outcome: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let outcome = outcome.await;
        self.times.took(operation, began.elapsed());
        outcome
    }
}

#[async_trait]
impl Store for TimedStore {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.timed(StoreOperation::Get, self.store.get(key)).await
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        self.timed(StoreOperation::Put, self.store.put(key, bytes, expect, expires_at)).await
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        self.timed(StoreOperation::Delete, self.store.delete(key, version)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        self.timed(StoreOperation::List, self.store.list(prefix)).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_is_itself_or_what_a_reference_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        crate::files::create(&folder.path().join("url"), b"postgres://me:SECRET@host/db\n").unwrap();
        let environment = Environment::of(&[("DATABASE_URL", "postgres://me:SECRET@host/db")]);
        for typed in ["postgres://me:SECRET@host/db", "env:DATABASE_URL", "file:url"] {
            let url = url(typed, folder.path(), &environment).await.unwrap();
            assert_eq!(url.as_str(), "postgres://me:SECRET@host/db", "{typed}");
        }
        let why = url("env:OTHER", folder.path(), &environment).await.unwrap_err();
        assert!(why.message().contains("env:OTHER: the environment variable OTHER is not set"), "{why:?}");
    }

    #[test]
    fn what_is_shown_of_a_url_holds_no_secret() {
        for (typed, text) in [
            ("sqlite:countersign.db", "sqlite:countersign.db"),
            ("env:DATABASE_URL", "env:DATABASE_URL"),
            ("file:url", "file:url"),
            ("postgres://me:SECRET@host/db?x=SECRET", "postgres://***@host/db?***"),
            ("postgress://me:SECRET@host/db", "***"),
        ] {
            assert_eq!(shown(typed), text);
        }
    }

    #[test]
    fn a_secret_in_a_url_is_told_from_a_reference_to_one() {
        for typed in [
            "postgres://me:SECRET@host/db",
            "postgres://me:S@CRET@host/db",
            "postgres://host/db?user=me&Password=SECRET",
            "mongodb://me:SECRET@a,b/db",
            "mongodb://host/db?authMechanismProperties=AWS_SESSION_TOKEN:SECRET",
        ] {
            assert!(holds_secret(typed), "{typed}");
        }
        for typed in [
            "sqlite:countersign.db",
            "memory:",
            "env:DATABASE_URL",
            "file:/run/secrets/a:b@c?password",
            "shared-file:url",
            "postgres://me@host/db?sslmode=verify-full",
            "s3://bucket/prefix?region=eu-west-1",
        ] {
            assert!(!holds_secret(typed), "{typed}");
        }
    }
}
