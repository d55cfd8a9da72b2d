//! Rotation in the store: one due step at a time by compare-and-set, and what was seen at the
//! public address.
//!
//! Several rotators may run on one store: each step is planned anew on the document it is applied
//! to, so of two that see the same step due, one does it and the other finds it done. A crash
//! between two steps leaves a keyring that the next run goes on from. Only making a key needs key
//! material; the other steps are taken when no private key opens and no service answers. Called by
//! the program's background task and `countersign keys rotate`.

use crate::{
    Activation, Change, Keyring, KeyringError, Look, Observations, Planned, Ring, RingName, RingSpec,
    RotationPolicy, Step, StoredKeyring,
    stored::{Next, SealWith},
};
use countersign_jose::Timestamp;
use std::{collections::BTreeMap, time::Duration};

/// No ring takes more steps than this at once.
const MAX_STEPS: usize = 100;

/// For each ring, how long after a key has stopped signing tokens that it signed may live: what
/// this process mints.
pub type Needs = BTreeMap<RingName, Duration>;

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

impl StoredKeyring {
    /// Takes every step that is due in this ring, and adds each to `all` when it has been taken. A
    /// step that is refused, or a key that cannot be made, keeps no other step away; the first
    /// reason is returned when all have been tried.
    pub async fn advance(
        &self,
        spec: &RingSpec,
        policy: &RotationPolicy,
        now: Timestamp,
        all: &mut Vec<Done>,
    ) -> Result<(), KeyringError> {
        let (mut refused, mut outcome) = (Vec::new(), Ok(()));
        for _ in 0..MAX_STEPS {
            let mut tried = None;
            match self.take_next(spec, policy, now, &refused, &mut tried).await {
                Ok(Some(done)) => all.push(done),
                Ok(None) => break,
                Err(why) => {
                    let step = tried.filter(|_| is_of_one_step(&why));
                    outcome = outcome.and(Err(why));
                    let Some(step) = step else { break };
                    refused.push(step);
                }
            }
        }
        outcome
    }

    /// Takes the first step that is due and was not refused before, if there is one. `tried` says
    /// which that is.
    async fn take_next(
        &self,
        spec: &RingSpec,
        policy: &RotationPolicy,
        now: Timestamp,
        refused: &[Step],
        tried: &mut Option<Step>,
    ) -> Result<Option<Done>, KeyringError> {
        let due = |keyring: &Keyring| {
            let empty = Ring::default();
            let plan = keyring.ring(&spec.name).unwrap_or(&empty).plan(policy, keyring.observations(), now);
            let mut due =
                plan.into_iter().filter(|planned| may_be_taken(planned, spec) && planned.is_due(now));
            due.find(|planned| !refused.contains(&planned.step))
        };
        let (mut done, mut needs_a_key) = (None, false);
        self.change_states(now, |keyring| {
            (done, needs_a_key, *tried) = (None, false, None);
            let Some(due) = due(keyring) else { return Ok(None) };
            *tried = Some(due.step.clone());
            let (kid, next) = match &due.step {
                Step::Make => {
                    needs_a_key = true;
                    return Ok(None);
                }
                Step::Publish(kid) => (kid, keyring.with_published(kid, now)?),
                Step::Activate(kid) => (kid, keyring.with_active(kid, policy, now)?),
                Step::Remove(kid) => (kid, keyring.without(kid, policy.keep_retired, policy.skew, now)?),
            };
            done = Some(Done { ring: spec.name.clone(), kid: kid.clone(), step: due.step });
            Ok(next)
        })
        .await?;
        if needs_a_key {
            self.add_keys(SealWith::Current, now, |attempt| {
                done = None;
                let Some(step) = due(attempt.keyring).map(|due| due.step) else {
                    return Ok(Next::Unchanged);
                };
                if step != Step::Make {
                    return Ok(Next::Unchanged);
                }
                let Some(key) = attempt.made else { return Ok(Next::Needs(spec.clone())) };
                done = Some(Done { ring: spec.name.clone(), step, kid: key.kid.clone() });
                let next = attempt.keyring.with_key(&spec.name, key, Activation::IfRingHasNone, now)?;
                let needs =
                    |next: Keyring| next.with_needs(&spec.name, policy.least_keep_retired()).unwrap_or(next);
                Ok(next.map(needs).into())
            })
            .await?;
        }
        Ok(done)
    }

    /// Notes for each ring how long after it stops signing its active key is needed; before a token
    /// is minted that may live so long.
    pub(crate) async fn note_needs(&self, needs: &Needs, now: Timestamp) -> Result<Change, KeyringError> {
        self.change_states(now, |keyring| {
            let mut next = None;
            for (ring, keep_after) in needs {
                next = next.as_ref().unwrap_or(keyring).with_needs(ring, *keep_after).or(next);
            }
            Ok(next)
        })
        .await
    }

    /// Adds a look at the public address.
    pub async fn observe(
        &self,
        look: &Look,
        longest_gap: Duration,
        skew: Duration,
    ) -> Result<Observations, KeyringError> {
        let mut observations = Observations::default();
        self.change_states(look.ended, |keyring| {
            let known = keyring.records().map(|(_, key)| key.kid.clone()).collect();
            observations = keyring.observations().with_look(look, &known, longest_gap, skew);
            if observations == *keyring.observations() {
                return Ok(None);
            }
            let mut next = keyring.clone();
            next.observations = observations.clone();
            Ok(Some(next))
        })
        .await?;
        Ok(observations)
    }
}

impl Keyring {
    /// Whether the active key of each ring is known to be needed for as long as that.
    pub(crate) fn has_needs(&self, needs: &Needs) -> bool {
        needs.iter().all(|(ring, keep_after)| self.with_needs(ring, *keep_after).is_none())
    }
}

/// Whether other steps may be taken all the same: not where the store is away, or is not what it
/// was.
fn is_of_one_step(why: &KeyringError) -> bool {
    !matches!(why, KeyringError::Store(_) | KeyringError::WentBack(_) | KeyringError::Contended)
}

/// A key of a ring whose keys come from outside is never made here.
fn may_be_taken(planned: &Planned, spec: &RingSpec) -> bool {
    planned.step != Step::Make || spec.make_first_key
}
