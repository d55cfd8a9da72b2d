//! One turn of rotation: look at the JWKS as the world sees it, note what is there, take the steps that are due.
//!
//! Done by the running server every now and then, and once by `countersign keys rotate --once`. The address is the issuer's own, so
//! that what is seen has come through whatever caches stand in front. A look that fails changes nothing; keys are then known later.

use crate::{
    authority::Authority,
    config::{Config, RingConfig},
};
use countersign_issuer::JWKS_PATH;
use countersign_jose::{Timestamp, json};
use countersign_keyring::{Done, Keyring, KeyringError, Step, StoredKeyring};
use countersign_verifier::{Fetch, FetchLimits, HttpsFetch, KeyUrl};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Everything a turn needs.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    keyring: StoredKeyring,
    rings: Vec<RingConfig>,
    /// Where the world finds the keys.
    pub(crate) address: String,
    fetch: Arc<HttpsFetch>,
}

/// What a turn came to.
#[derive(Debug)]
pub(crate) struct Turn {
    /// How many keys were seen, or why none could be; `None` where no key waits to be seen.
    pub(crate) look: Option<Result<usize, String>>,
    /// The steps that were taken.
    pub(crate) done: Vec<Done>,
}

impl Rotation {
    pub(crate) fn new(config: &Config, authority: &Authority) -> Self {
        Self {
            keyring: authority.keyring.clone(),
            rings: config.rings.clone(),
            address: config.issuer.join(JWKS_PATH),
            fetch: Arc::new(HttpsFetch::new(FetchLimits::default())),
        }
    }

    /// How often a turn is to be taken.
    pub(crate) fn every(&self) -> Duration {
        self.rings.iter().map(|ring| ring.rotation.observe_every).min().unwrap_or(Duration::from_secs(300))
    }

    /// How long it is until the documents will be others, as far as that is planned.
    pub(crate) fn until_change(&self, keyring: &Keyring, now: Timestamp) -> Option<Duration> {
        let changes = self.rings.iter().filter(|ring| ring.spec.make_first_key).filter_map(|ring| {
            keyring.ring(&ring.spec.name)?.next_change(&ring.rotation, now).map(|at| at.since(now))
        });
        changes.min()
    }

    /// Looks, and takes the steps that are due.
    pub(crate) async fn turn(&self, now: Timestamp) -> Result<Turn, KeyringError> {
        let look = if self.somebody_waits().await? { Some(self.look(now).await?) } else { None };
        let mut done = Vec::new();
        for ring in &self.rings {
            done.extend(self.keyring.advance(&ring.spec, &ring.rotation, now).await?);
        }
        for step in &done {
            tracing::info!(
                target: "countersign::audit",
                decision = "rotated", step = name(&step.step), ring = step.ring.as_str(), kid = step.kid
            );
        }
        Ok(Turn { look, done })
    }

    /// Whether a published key waits until verifiers know it.
    async fn somebody_waits(&self) -> Result<bool, KeyringError> {
        let (keyring, _) = self.keyring.read().await?;
        let mut rings = keyring.rings();
        Ok(rings.any(|(_, ring)| ring.successor().is_some_and(|key| key.state.is_public())))
    }

    async fn look(&self, now: Timestamp) -> Result<Result<usize, String>, KeyringError> {
        let found = match self.fetch_kids().await {
            Ok(found) => found,
            Err(why) => {
                tracing::warn!("the keys can not be seen at {}: {why}", self.address);
                return Ok(Err(why));
            }
        };
        let gap = self.every().saturating_mul(3);
        self.keyring.observe(&found, gap, now).await?;
        Ok(Ok(found.len()))
    }

    async fn fetch_kids(&self) -> Result<BTreeSet<String>, String> {
        let url = KeyUrl::parse(&self.address).map_err(|why| why.to_string())?;
        let body = self.fetch.fetch(&url).await.map_err(|why| why.to_string())?.body;
        let set = json::Object::parse(&body, json::DEFAULT_DEPTH).map_err(|why| why.to_string())?;
        let keys = set.get("keys").ok_or("there is no `keys`")?;
        let keys: Vec<serde_json::Value> =
            serde_json::from_str(keys.get()).map_err(|_| "`keys` is not a list")?;
        Ok(keys.iter().filter_map(|key| key.get("kid")?.as_str().map(str::to_owned)).collect())
    }
}

/// The word for a step.
pub(crate) fn name(step: &Step) -> &'static str {
    match step {
        Step::Make => "make",
        Step::Publish(_) => "publish",
        Step::Activate(_) => "activate",
        Step::Remove(_) => "remove",
    }
}
