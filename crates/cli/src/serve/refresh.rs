//! Watches the store for keys that were changed by another process, and notes when the store last answered.

use crate::{config::JaasKey, rotation::Rotation};
use countersign_issuer::Issuer;
use countersign_keyring::StoredKeyring;
use countersign_store::Clock;
use std::{sync::Arc, time::Duration};

/// What is watched, and what follows from a change.
#[derive(Debug)]
pub(super) struct Refresh {
    pub(super) keyring: StoredKeyring,
    pub(super) every: Duration,
    pub(super) jaas_key: Option<JaasKey>,
    pub(super) rotation: Rotation,
    pub(super) clock: Arc<dyn Clock>,
}

impl Refresh {
    /// Runs until it is aborted. A store that does not answer leaves the keys last read in use.
    pub(super) async fn run(self, issuer: Arc<Issuer>) {
        let mut failing = false;
        loop {
            tokio::time::sleep(self.every).await;
            match self.keyring.reload(&issuer.keyring()).await {
                Ok(None) => {}
                Ok(Some(mut changed)) => {
                    if let Some(key) = &self.jaas_key {
                        changed = changed.with_ring(key.ring.clone(), Arc::clone(&key.signer));
                    }
                    if let Err(why) = issuer.replace_keys(changed) {
                        tracing::error!("the changed keys can not be used, the old ones stay: {why}");
                        continue;
                    }
                    tracing::info!("the keys have changed and are in use");
                }
                Err(why) => {
                    if !failing {
                        tracing::error!("the keys can not be read again, those last read stay in use: {why}");
                    }
                    failing = true;
                    continue;
                }
            }
            if failing {
                tracing::info!("the keys can be read again");
            }
            failing = false;
            issuer.store_answered();
            self.shorten_max_age(&issuer);
        }
    }

    /// Caches must not outlive the next planned change of the documents.
    pub(super) fn shorten_max_age(&self, issuer: &Issuer) {
        let ceiling = issuer.settings().jwks_max_age;
        let max_age = self.rotation.max_age(issuer.keyring().records(), ceiling, self.clock.now());
        if let Err(why) = issuer.set_max_age(max_age) {
            tracing::error!("the public documents can not be rendered anew: {why}");
        }
    }
}
