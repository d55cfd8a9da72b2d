//! What a configuration refers to on AWS, and a configuration that is itself there.
//!
//! References (`ssm:/NAME`, `secretsmanager:ARN`) are fetched together, all at once, before they
//! are read: [`SecretRef::read`] finds then what they have led to, or why they have not. Nothing is
//! fetched where nothing refers to AWS. A build without the feature `aws-secrets` fetches nothing
//! and says so when a reference is read.

use crate::{
    config::RawConfig,
    failure::{Outcome, configuration},
};
use countersign_settings::{Environment, SecretRef};
use std::{collections::BTreeSet, path::Path};

/// Whether a configuration is on AWS: `ssm:/NAME` or `s3://BUCKET/KEY`.
pub(crate) fn is_remote(file: &Path) -> bool {
    file.to_str().is_some_and(|text| text.starts_with("ssm:") || text.starts_with("s3://"))
}

/// The text of a configuration that is there.
pub(crate) async fn configuration_text(file: &Path, environment: &Environment) -> Outcome<String> {
    let text = file.to_str().unwrap_or_default();
    let read = access::read(text, environment).await.map(|text| text.as_str().to_owned());
    read.map_err(|why| configuration(why).about(text))
}

/// Fetches everything that a configuration refers to.
pub(crate) async fn fetch_references(raw: &RawConfig, environment: &Environment) {
    let mut found = BTreeSet::new();
    if let Ok(value) = serde_json::to_value(raw) {
        collect(&value, &mut found);
    }
    found.extend(environment.get("PRIVATE_KEY").map(str::to_owned));
    fetch(found, environment).await;
}

/// Fetches those of the texts that are references to AWS.
pub(crate) async fn fetch(texts: impl IntoIterator<Item = String>, environment: &Environment) {
    let is_remote = |text: &String| text.parse().is_ok_and(|reference: SecretRef| reference.is_remote());
    let references = texts.into_iter().filter(is_remote).collect::<Vec<_>>();
    if !references.is_empty() {
        access::fetch(references, environment).await;
    }
}

/// Gives a parameter of Systems Manager a text, unless it has it already.
#[cfg(feature = "lambda")]
pub(crate) async fn write_parameter(name: &str, text: &str) -> Outcome<bool> {
    access::write(name, text).await.map_err(|why| configuration(why).about(format!("the parameter {name}")))
}

/// Every text in a value.
fn collect(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => {
            found.insert(text.clone());
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        serde_json::Value::Object(members) => members.values().for_each(|member| collect(member, found)),
        _ => {}
    }
}

#[cfg(not(feature = "aws-secrets"))]
mod access {
    use countersign_settings::Environment;
    use zeroize::Zeroizing;

    const NOT_BUILT_IN: &str = "this program was built without access to secrets on AWS; use one that was built with --features aws-secrets";

    #[expect(clippy::unused_async, reason = "as it is where AWS is asked")]
    pub(super) async fn read(_: &str, _: &Environment) -> Result<Zeroizing<String>, &'static str> {
        Err(NOT_BUILT_IN)
    }

    #[cfg(feature = "lambda")]
    #[expect(clippy::unused_async, reason = "as it is where AWS is asked")]
    pub(super) async fn write(_: &str, _: &str) -> Result<bool, &'static str> {
        Err(NOT_BUILT_IN)
    }

    #[expect(clippy::unused_async, reason = "as it is where AWS is asked")]
    pub(super) async fn fetch(_: Vec<String>, _: &Environment) {}
}

#[cfg(feature = "aws-secrets")]
mod access {
    use countersign_aws::secrets::{Place, Reader, Unreadable};
    use countersign_settings::{Environment, SecretRef};
    use tokio::task::JoinSet;
    use zeroize::Zeroizing;

    /// A configuration.
    pub(super) async fn read(text: &str, environment: &Environment) -> Result<Zeroizing<String>, Unreadable> {
        let place = match text.strip_prefix("ssm:") {
            Some(name) => Place::Parameter(name),
            None => {
                let (bucket, key) = text.trim_start_matches("s3://").split_once('/').unwrap_or_default();
                Place::Object { bucket, key }
            }
        };
        let read = Reader::new()?.read(place).await;
        if read.as_ref().is_err_and(Unreadable::may_pass) {
            environment.note_away(text);
        }
        read
    }

    #[cfg(feature = "lambda")]
    pub(super) async fn write(name: &str, text: &str) -> Result<bool, Unreadable> {
        Reader::new()?.write_parameter(name, text).await
    }

    pub(super) async fn fetch(references: Vec<String>, environment: &Environment) {
        let reader = Reader::new();
        let mut fetches = JoinSet::new();
        for text in references {
            let (reader, environment) = (reader.clone(), environment.clone());
            fetches.spawn(async move {
                let outcome = match (text.parse(), &reader) {
                    (Ok(SecretRef::Parameter(name)), Ok(reader)) => {
                        reader.read(Place::Parameter(&name)).await
                    }
                    (Ok(SecretRef::Secret { id, member }), Ok(reader)) => {
                        reader.read(Place::Secret { id: &id, member: member.as_deref() }).await
                    }
                    (_, Err(why)) => Err(why.clone()),
                    (_, Ok(_)) => return,
                };
                if outcome.as_ref().is_err_and(Unreadable::may_pass) {
                    environment.note_away(&text);
                }
                environment.note_fetched(&text, outcome.map_err(|why| why.to_string()));
            });
        }
        while fetches.join_next().await.is_some() {}
    }
}
