//! Watches the store for keys that were changed by another process, and notes when the store last answered.

use crate::config::JaasKey;
use countersign_issuer::Issuer;
use countersign_keyring::StoredKeyring;
use std::{sync::Arc, time::Duration};

/// Runs until it is aborted. A store that does not answer leaves the keys last read in use.
pub(super) async fn run(
    issuer: Arc<Issuer>,
    keyring: StoredKeyring,
    every: Duration,
    jaas_key: Option<JaasKey>,
) {
    let mut failing = false;
    loop {
        tokio::time::sleep(every).await;
        match keyring.reload(&issuer.keyring()).await {
            Ok(None) => {}
            Ok(Some(mut changed)) => {
                if let Some(key) = &jaas_key {
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
    }
}
