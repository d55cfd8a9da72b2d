//! Watches the store for keys that were changed by another process, and notes when the store last answered.
//!
//! A store that does not answer leaves the keys last read in use. Of an outage the log tells each reason once, because the first one
//! need not be the cause.

use crate::{authority, config::JaasKey, rotation::Rotation};
use countersign_issuer::{Issuer, max_age};
use countersign_keyring::{LoadedKeyring, Needs, Reloaded, StoredKeyring};
use countersign_store::Clock;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// How many reasons of one outage are told: some texts never repeat.
const MOST_REASONS: usize = 20;

/// What is watched, and what follows from a change.
#[derive(Debug)]
pub(super) struct Refresh {
    pub(super) keyring: StoredKeyring,
    pub(super) every: Duration,
    /// How long the tokens of this server need keys.
    pub(super) needs: Needs,
    pub(super) jaas_key: Option<JaasKey>,
    pub(super) rotation: Rotation,
    pub(super) clock: Arc<dyn Clock>,
}

impl Refresh {
    /// Runs until it is aborted.
    pub(super) async fn run(self, issuer: Arc<Issuer>) {
        let mut outage = Outage::default();
        loop {
            tokio::time::sleep(self.every).await;
            self.look(&issuer, &mut outage).await;
            // Without the store too: another instance may change the keys meanwhile.
            self.shorten_max_age(&issuer);
        }
    }

    async fn look(&self, issuer: &Issuer, outage: &mut Outage) {
        let known = issuer.keyring();
        let Reloaded { keys, problem } = self.keyring.reload(&known, &self.needs).await;
        match keys {
            None => {}
            Some(mut changed) => {
                let keys_sequence = |keyring: &LoadedKeyring| keyring.records().keys_sequence();
                let only_observed = keys_sequence(&known) == keys_sequence(&changed);
                if let Some(key) = &self.jaas_key {
                    changed = changed.with_ring(key.ring.clone(), Arc::clone(&key.signer));
                }
                if let Err(why) = issuer.replace_keys(changed) {
                    outage.tell(why.to_string(), "the changed keys cannot be used, the old ones stay");
                    return;
                }
                let skew = issuer.settings().patience.skew;
                authority::report_future_times(issuer.keyring().records(), skew, self.clock.now());
                if !only_observed {
                    tracing::info!("the keys have changed and are in use");
                }
            }
        }
        if let Some(why) = problem {
            outage.tell(why.to_string(), "the keys cannot be read again, those last read stay in use");
            return;
        }
        outage.end();
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

/// The reasons why the keys could not be read since they last could.
#[derive(Debug, Default)]
struct Outage(BTreeSet<String>);

impl Outage {
    /// Tells a reason that was not told yet. Returns whether it did.
    fn tell(&mut self, why: String, what: &str) -> bool {
        if self.0.len() >= MOST_REASONS || self.0.contains(&why) {
            return false;
        }
        tracing::error!("{what}: {why}");
        self.0.insert(why)
    }

    fn end(&mut self) {
        if !std::mem::take(&mut self.0).is_empty() {
            tracing::info!("the keys can be read again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_of_an_outage_is_told_once_and_again_in_the_next_one() {
        let mut outage = Outage::default();
        let told = |outage: &mut Outage, why: &str| outage.tell(why.to_owned(), "not read");
        for (why, new) in
            [("starting up", true), ("starting up", false), ("too many files", true), ("starting up", false)]
        {
            assert_eq!(told(&mut outage, why), new, "{why}");
        }
        outage.end();
        assert!(told(&mut outage, "starting up"));
        let many = (0..1000).filter(|n| told(&mut outage, &format!("port {n}"))).count();
        assert_eq!(many, MOST_REASONS - 1, "texts that never repeat are not told for ever");
    }
}
