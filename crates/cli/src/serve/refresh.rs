//! Watches the store for keys that were changed by another process, and notes when the store last
//! answered.
//!
//! A store that does not answer leaves the keys last read in use. Of an outage the log tells each
//! reason once, because the first one need not be the cause. A store that went back does not make
//! the server forget what it knows (docs/decisions/0024).

use crate::{
    authority::{self, Authority},
    config::{Config, OutsideKey},
    hints, journal,
    rotation::{Rotation, Witness},
};
use countersign_issuer::{Issuer, max_age};
use countersign_jose::Timestamp;
use countersign_keyring::{
    KeyringError, LoadedKeyring, LoadedRing, Needs, Reloaded, RingName, StoredKeyring,
};
use countersign_store::Clock;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// How many reasons of one outage are told: some texts never repeat.
const MOST_REASONS: usize = 20;

/// What is watched, and what follows from a change.
#[derive(Debug)]
pub(super) struct Refresh {
    pub(super) keyring: StoredKeyring,
    /// The keys that were read at the start.
    pub(super) loaded: LoadedKeyring,
    pub(super) every: Duration,
    /// How long the tokens of this server need keys.
    pub(super) needs: Needs,
    pub(super) outside_keys: Vec<OutsideKey>,
    pub(super) rotation: Rotation,
    pub(super) clock: Arc<dyn Clock>,
}

impl Refresh {
    pub(super) fn new(
        config: &Config,
        authority: &Authority,
        loaded: LoadedKeyring,
        rotation: Rotation,
    ) -> Self {
        Self {
            keyring: authority.keyring.clone().with_journal(journal::of(Some("refresh"))),
            loaded,
            every: config.refresh,
            needs: config.needs(),
            outside_keys: config.outside_keys.clone(),
            rotation,
            clock: Arc::clone(&authority.clock),
        }
    }

    /// Runs until it is aborted.
    pub(super) async fn run(self, issuer: Arc<Issuer>) {
        let mut state = self.begin();
        loop {
            tokio::time::sleep(self.every).await;
            self.look(&issuer, &mut state).await;
            if let Some(jump) = issuer.settle_clock() {
                tracing::warn!("{jump}; it has gone on undisturbed for long, and is believed now");
            }
            // Without the store too: another instance may change the keys meanwhile.
            self.shorten_max_age(&issuer);
        }
    }

    /// What is known at the start.
    pub(super) fn begin(&self) -> State {
        State {
            trusted: self.loaded.clone(),
            read_at: self.clock.now(),
            served: None,
            outage: Outage::default(),
        }
    }

    /// One look at the store, and what follows from it.
    pub(super) async fn look(&self, issuer: &Issuer, state: &mut State) {
        let State { trusted, read_at, served, outage } = state;
        let now = self.clock.now();
        let skew = issuer.settings().patience.skew;
        let reloaded = self.keyring.reload_since(trusted, &self.needs, *read_at, skew, now).await;
        let Reloaded { keys, problem, marks_damaged } = reloaded;
        // The store has again what it had before it went back, and what was served meanwhile is
        // not.
        let put_right = (problem.is_none() && served.is_some()).then(|| trusted.clone());
        let keys = keys.or(put_right);
        if marks_damaged {
            let what = "marks of revocation cannot be read, those that were read before still count";
            outage.tell(
                "keyring-revocations is damaged; `countersign keys revoke` replaces it".to_owned(),
                what,
            );
        }
        if problem.is_none() && keys.as_ref().is_some_and(|keys| self.rotation.lacks_a_key(keys)) {
            // A key was revoked and none waited. The next look takes up the one that is made here.
            match self.rotation.turn(now, Witness::Running(issuer)).await {
                Ok(turn) => turn.record(&self.rotation.address),
                // The rotator tries again, and so it does whatever else a turn would do.
                Err(why) => tracing::error!("no key can be made in place of the revoked one: {why}"),
            }
        }
        // Another error does not mean that the store has recovered.
        let went_back = match &problem {
            Some(KeyringError::WentBack(_)) => true,
            Some(_) => served.is_some(),
            None => false,
        };
        issuer.store_went_back(went_back);
        if let Some(keys) = keys {
            let before = served.as_ref().unwrap_or(trusted);
            let changes = (!before.shows_the_same_as(&keys)).then(|| Changes::between(before, &keys));
            let mut shown = keys.clone();
            for key in &self.outside_keys {
                shown = shown.with_ring(key.ring.clone(), Arc::clone(&key.signer));
            }
            let same = served.as_ref().is_some_and(|served| served.shows_the_same_as(&keys));
            if went_back && same {
                // It is as at the last look.
            } else if let Err(why) = issuer.replace_keys(shown) {
                outage.tell(why.to_string(), "the changed keys cannot be used, the old ones stay");
                return;
            }
            if let Some(Changes { signing, shown, gone }) = changes {
                tracing::info!(signing, shown, gone, "the keys have changed and are in use");
            }
            *served = went_back.then(|| keys.clone());
            if !went_back {
                authority::report_future_times(keys.records(), skew, now);
                *trusted = keys;
            }
        }
        match problem {
            Some(KeyringError::WentBack(why)) => {
                let known = trusted.records();
                let kids = known.to_accept().into_iter().fold(String::new(), |text, kid| text + " " + kid);
                let sequence = self.keyring.known_sequence().max(known.sequence());
                let advice = format!(
                    "{why}. This server serves the keys it knows and those it has found until the newest keyring is restored, or the \
                     loss is accepted: `countersign keys accept-loss --sequence {sequence}{kids}`"
                );
                outage.tell(hints::carry(&advice).into_owned(), "the store went back");
            }
            Some(why) => {
                outage.tell(why.to_string(), "the keys cannot be read again, those last read stay in use");
            }
            None => {
                outage.end();
                *read_at = now;
                issuer.store_answered();
            }
        }
    }

    /// Caches must not outlive the next planned change of the documents. Answers say the same time
    /// until this is done again.
    pub(super) fn shorten_max_age(&self, issuer: &Issuer) {
        let next_look = self.clock.now().plus(self.every.saturating_add(Duration::from_secs(1)));
        let until_change = self.rotation.until_change(issuer.keyring().records(), next_look);
        if let Err(why) = issuer.set_max_age(max_age(until_change, issuer.settings().jwks_max_age)) {
            tracing::error!("the public documents cannot be rendered anew: {why}");
        }
    }
}

/// What is known of the store.
#[derive(Debug)]
pub(super) struct State {
    /// The keys last read from it when it had not gone back.
    trusted: LoadedKeyring,
    /// When that was.
    read_at: Timestamp,
    /// What is served in their place while it has.
    served: Option<LoadedKeyring>,
    outage: Outage,
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

/// What is new about the keys, in words for the log: `RING KID, RING KID`; `None` where nothing is.
#[derive(Debug, PartialEq, Eq)]
struct Changes {
    /// Keys that sign now and did not.
    signing: Option<String>,
    /// Keys that verifiers are shown now and were not.
    shown: Option<String>,
    /// Keys that were shown or signed, and are not and do not.
    gone: Option<String>,
}

impl Changes {
    fn between(before: &LoadedKeyring, after: &LoadedKeyring) -> Self {
        let (signed, signs) = (signing(before), signing(after));
        let (was_shown, is_shown) = (shown(before), shown(after));
        let words = |kids: BTreeSet<Place>| {
            let words: Vec<_> = kids.iter().map(|(ring, kid)| format!("{ring} {kid}")).collect();
            (!words.is_empty()).then(|| words.join(", "))
        };
        let there = |signing: &BTreeSet<Place>, shown: &BTreeSet<Place>| signing | shown;
        let gone = &there(&signed, &was_shown) - &there(&signs, &is_shown);
        Self { signing: words(&signs - &signed), shown: words(&is_shown - &was_shown), gone: words(gone) }
    }
}

/// A ring and a key of it.
type Place = (String, String);

fn signing(keys: &LoadedKeyring) -> BTreeSet<Place> {
    let active = |(name, ring): (&RingName, &LoadedRing)| {
        Some((name.as_str().to_owned(), ring.active()?.kid().to_owned()))
    };
    keys.rings().filter_map(active).collect()
}

fn shown(keys: &LoadedKeyring) -> BTreeSet<Place> {
    let all = keys.rings().flat_map(|(name, ring)| ring.public_keys().iter().map(move |key| (name, key)));
    all.map(|(name, key)| (name.as_str().to_owned(), key.jwk.kid.clone())).collect()
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
        assert_eq!(many, MOST_REASONS - 1, "texts that never repeat are not told forever");
    }
}
