//! Watches the store for keys that were changed by another process, and notes when the store last answered.

use crate::{config::JaasKey, rotation::Rotation};
use countersign_issuer::{Issuer, max_age};
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
    /// Runs until it is aborted.
    pub(super) async fn run(self, issuer: Arc<Issuer>) {
        let mut failing = false;
        loop {
            tokio::time::sleep(self.every).await;
            self.look(&issuer, &mut failing).await;
            // Without the store too: another instance may change the keys meanwhile.
            self.shorten_max_age(&issuer);
        }
    }

    /// A store that does not answer leaves the keys last read in use.
    async fn look(&self, issuer: &Issuer, failing: &mut bool) {
        match self.keyring.reload(&issuer.keyring()).await {
            Ok(None) => {}
            Ok(Some(mut changed)) => {
                if let Some(key) = &self.jaas_key {
                    changed = changed.with_ring(key.ring.clone(), Arc::clone(&key.signer));
                }
                if let Err(why) = issuer.replace_keys(changed) {
                    tracing::error!("the changed keys can not be used, the old ones stay: {why}");
                    return;
                }
                tracing::info!("the keys have changed and are in use");
            }
            Err(why) => {
                if !*failing {
                    tracing::error!("the keys can not be read again, those last read stay in use: {why}");
                }
                *failing = true;
                return;
            }
        }
        if *failing {
            tracing::info!("the keys can be read again");
        }
        *failing = false;
        issuer.store_answered();
    }

    /// Caches must not outlive the next planned change of the documents. Answers say the same time until this is done again.
    pub(super) fn shorten_max_age(&self, issuer: &Issuer) {
        let next_look = self.clock.now().plus(self.every.saturating_add(Duration::from_secs(1)));
        let until_change = self.rotation.until_change(issuer.keyring().records(), next_look);
        if let Err(why) = issuer.set_max_age(max_age(until_change, issuer.settings().jwks_max_age)) {
            tracing::error!("the public documents can not be rendered anew: {why}");
        }
    }
}
