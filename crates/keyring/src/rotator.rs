//! The keyring's life in its store: one due step at a time by compare-and-set, and what people ask for by hand.
//!
//! Several rotators may run on one store: each step is planned anew on the document it is applied to, so of two that see the same
//! step due, one does it and the other finds it done. A crash between two steps leaves a keyring that the next run goes on from.
//! What was seen in public is a document of its own. Called by the program's background task and by `countersign keys`.

use crate::{
    Activation, KeyState, Keyring, KeyringError, LifecycleError, Observations, Ring, RingName, RingSpec,
    RotationPolicy, Step, StoredKeyring, stored::Next,
};
use countersign_jose::Timestamp;
use countersign_store::{Expect, Key, StoreError, Version};
use std::{collections::BTreeSet, time::Duration};

/// Where observations are kept.
const OBSERVATIONS: &str = "keyring-observations";
/// How often an observation is tried again after somebody else's came in between.
const ATTEMPTS: usize = 10;
/// No ring takes more steps than this at once.
const MAX_STEPS: usize = 100;

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The ring.
    pub ring: RingName,
    /// The step.
    pub step: Step,
    /// The key it was about.
    pub kid: String,
}

/// Whether a key may be activated that verifiers may not know yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// No: it must have been seen in public for long enough.
    No,
    /// Yes: some verifiers will refuse its tokens for a while.
    Yes,
}

impl StoredKeyring {
    /// Takes every step that is due in this ring, and adds each to `all` when it has been taken.
    pub async fn advance(
        &self,
        spec: &RingSpec,
        policy: &RotationPolicy,
        now: Timestamp,
        all: &mut Vec<Done>,
    ) -> Result<(), KeyringError> {
        let seen = self.observations().await?.0;
        for _ in 0..MAX_STEPS {
            let mut done = None;
            self.change(|attempt| {
                done = None;
                let keyring = attempt.keyring;
                let empty = Ring::default();
                let ring = keyring.ring(&spec.name).unwrap_or(&empty);
                let due = ring
                    .plan(policy, &seen, now)
                    .into_iter()
                    .find(|p| may_be_taken(&p.step, spec) && p.is_due(now));
                let Some(due) = due else { return Ok(Next::Unchanged) };
                let (kid, next) = match &due.step {
                    Step::Make => {
                        let Some(key) = attempt.made else { return Ok(Next::Needs(spec.clone())) };
                        (key.kid.clone(), keyring.with_key(&spec.name, key, Activation::IfRingHasNone, now)?)
                    }
                    Step::Publish(kid) => (kid.clone(), keyring.with_published(kid, now)?),
                    Step::Activate(kid) => (kid.clone(), keyring.with_active(kid, now)?),
                    Step::Remove(kid) => (kid.clone(), keyring.without(kid)?),
                };
                done = Some(Done { ring: spec.name.clone(), step: due.step, kid });
                Ok(next.into())
            })
            .await?;
            let Some(done) = done else { break };
            all.push(done);
        }
        Ok(())
    }

    /// What was seen in public.
    pub async fn observations(&self) -> Result<(Observations, Option<Version>), KeyringError> {
        let Some(document) = self.store().get(&observations()?).await? else { return Ok(Default::default()) };
        // Sightings that can not be read are none: keys are then seen anew, which only takes longer.
        let seen = serde_json::from_slice(&document.bytes).unwrap_or_default();
        Ok((seen, Some(document.version)))
    }

    /// Adds a look at the public address that found exactly these keys.
    pub async fn observe(
        &self,
        found: &BTreeSet<String>,
        longest_gap: Duration,
        skew: Duration,
        now: Timestamp,
    ) -> Result<Observations, KeyringError> {
        let (keyring, _) = self.read().await?;
        let known = keyring.rings().flat_map(|(_, ring)| ring.keys()).map(|key| key.kid.clone()).collect();
        for _ in 0..ATTEMPTS {
            let (before, version) = self.observations().await?;
            let after = before.with_look(found, &known, longest_gap, skew, now);
            let bytes = serde_json::to_vec(&after).map_err(|why| KeyringError::Corrupt(why.to_string()))?;
            let expect = version.map_or(Expect::Absent, Expect::Version);
            match self.store().put(&observations()?, &bytes, expect, None).await {
                Ok(_) => return Ok(after),
                Err(StoreError::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(KeyringError::Contended)
    }

    /// Makes a key that waits for its turn unseen. Where one waits already, that one is it.
    pub async fn prepare(&self, spec: &RingSpec, now: Timestamp) -> Result<(String, bool), KeyringError> {
        let mut kid = String::new();
        let changed = self
            .change(|attempt| {
                if let Some(waiting) = attempt.keyring.ring(&spec.name).and_then(Ring::successor) {
                    kid = waiting.kid.clone();
                    return Ok(Next::Unchanged);
                }
                let Some(key) = attempt.made else { return Ok(Next::Needs(spec.clone())) };
                kid = key.kid.clone();
                Ok(attempt.keyring.with_key(&spec.name, key, Activation::Later, now)?.into())
            })
            .await?;
        Ok((kid, changed))
    }

    /// Shows a prepared key to verifiers.
    pub async fn publish(&self, kid: &str, now: Timestamp) -> Result<bool, KeyringError> {
        self.change(|attempt| Ok(attempt.keyring.with_published(kid, now)?.into())).await
    }

    /// Makes a key the active one of its ring; without force only if verifiers know it.
    pub async fn activate(
        &self,
        kid: &str,
        policy: &RotationPolicy,
        force: Force,
        now: Timestamp,
    ) -> Result<bool, KeyringError> {
        let seen = self.observations().await?.0;
        self.change(|attempt| {
            let keyring = attempt.keyring;
            let next = keyring.with_active(kid, now)?;
            let must_be_known = next.is_some() && force == Force::No;
            if let Some(ring) = ring_of(keyring, kid).filter(|ring| must_be_known && ring.active().is_some())
            {
                let known_at = ring.known_at(kid, policy, &seen, now);
                if known_at.is_none_or(|at| at > now) {
                    return Err(LifecycleError::NotKnown { kid: kid.to_owned(), known_at }.into());
                }
            }
            Ok(next.into())
        })
        .await
    }

    /// Ends the waiting of a published key that is not wanted.
    pub async fn retire(&self, kid: &str, now: Timestamp) -> Result<bool, KeyringError> {
        self.change(|attempt| Ok(attempt.keyring.with_retired(kid, now)?.into())).await
    }

    /// Takes a key out of everything at once. `spec` says how a key is made if the ring has none to take over. Returns
    /// whether anything changed and the key that is active now. Where none can be made because the service that makes it is
    /// away, the key goes all the same: that nothing signs is the lesser harm.
    pub async fn revoke(
        &self,
        kid: &str,
        spec: &RingSpec,
        now: Timestamp,
    ) -> Result<(bool, Option<String>), KeyringError> {
        match self.revoke_for(kid, Some(spec).filter(|spec| spec.make_first_key), now).await {
            Err(KeyringError::Service(_)) => self.revoke_for(kid, None, now).await,
            outcome => outcome,
        }
    }

    /// The same with a key to take over that is made as `spec` says, or with none.
    async fn revoke_for(
        &self,
        kid: &str,
        spec: Option<&RingSpec>,
        now: Timestamp,
    ) -> Result<(bool, Option<String>), KeyringError> {
        let mut active = None;
        let changed = self
            .change(|attempt| {
                let keyring = attempt.keyring;
                let needs = ring_of(keyring, kid).is_some_and(|ring| {
                    ring.successor().is_none() && ring.active().is_some_and(|key| key.kid == kid)
                });
                if let (true, Some(spec), None) = (needs, spec, attempt.made) {
                    return Ok(Next::Needs(spec.clone()));
                }
                let next = keyring.with_revoked(kid, attempt.made.filter(|_| needs), now)?;
                let ring = ring_of(next.as_ref().unwrap_or(keyring), kid);
                active = ring.and_then(|ring| ring.active()).map(|key| key.kid.clone());
                Ok(next.into())
            })
            .await?;
        Ok((changed, active))
    }
}

/// A key of a ring whose keys come from outside is never made here.
fn may_be_taken(step: &Step, spec: &RingSpec) -> bool {
    *step != Step::Make || spec.make_first_key
}

fn ring_of<'k>(keyring: &'k Keyring, kid: &str) -> Option<&'k Ring> {
    keyring.find(kid).and_then(|(name, _)| keyring.ring(name))
}

fn observations() -> Result<Key, StoreError> {
    Key::parse(OBSERVATIONS).map_err(|why| StoreError::Misconfigured {
        place: "the observations of the keyring".to_owned(),
        reason: why.to_string(),
    })
}

impl Keyring {
    /// Whether every ring that has keys which could sign has exactly one that does.
    pub fn has_one_active_key_per_ring(&self) -> bool {
        self.rings().all(|(_, ring)| {
            let count = |state| ring.keys().iter().filter(|key| key.state == state).count();
            let could =
                ring.keys().iter().any(|key| !matches!(key.state, KeyState::Revoked | KeyState::Prepared));
            count(KeyState::Active) == usize::from(could)
        })
    }
}
