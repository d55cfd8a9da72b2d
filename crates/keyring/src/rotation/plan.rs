//! The plan of a ring: its next steps, when each can happen, and what it waits for.
//!
//! A pure function, asked by the rotator and by people. A retired key goes at the later of two
//! times: what the policies under which it signed need (`KeyRecord::needed_until`), and today's
//! `keep_retired`, so that no later change of the configuration removes a key whose tokens live.
//! Pinned by tests/rotation.rs and tests/simulation.rs.

use super::{Distribution, Observations, RotationPolicy};
use crate::{KeyRecord, KeyState, Ring};
use countersign_jose::Timestamp;

/// One step in the life of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a key and publish it; in a ring without an active key, make it active.
    Make,
    /// Publish a prepared key.
    Publish(String),
    /// Make a published key the active one.
    Activate(String),
    /// Forget a key that no living token needs.
    Remove(String),
}

/// A step and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What is to be done.
    pub step: Step,
    /// When it can be done at the earliest; in the past if it is due.
    pub at: Timestamp,
    /// What it waits for besides the time.
    pub obstacle: Option<Obstacle>,
}

/// What a step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The key has not been seen at the public address, or not lately.
    #[error("the key has not been seen at the public address")]
    NotSeen,
    /// It is said that the key could be given to its consumers from a time on that has not come
    /// yet.
    #[error(
        "the key is said to have been given out at a time that has not come yet; `countersign keys correct-times` sets that right"
    )]
    GivenInFuture,
}

impl Planned {
    /// Whether it can be done now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.obstacle.is_none() && self.at <= now
    }
}

impl Ring {
    /// When verifiers will next be shown something else, as far as it is planned.
    pub fn next_change(&self, policy: &RotationPolicy, now: Timestamp) -> Option<Timestamp> {
        let after_a_turn = |turn: Timestamp| {
            let next = policy.rotate_every.map(|every| every.saturating_sub(policy.lead()));
            turn.max(now).plus(next.map_or(policy.keep_retired, |next| next.min(policy.keep_retired)))
        };
        let changes =
            self.plan(policy, &Observations::default(), now).into_iter().map(|planned| match planned.step {
                Step::Make | Step::Publish(_) | Step::Remove(_) => planned.at,
                // It changes nothing that is shown, but what follows from it does.
                Step::Activate(_) => after_a_turn(planned.at),
            });
        // What is due is done any moment.
        changes.map(|at| at.max(now)).min()
    }

    /// The next steps, the earliest first.
    pub fn plan(&self, policy: &RotationPolicy, seen: &Observations, now: Timestamp) -> Vec<Planned> {
        let mut steps: Vec<Planned> =
            self.keys().iter().filter_map(|key| self.removal(key, policy, now)).collect();
        steps.extend(self.succession(policy, seen, now));
        steps.sort_by_key(|planned| planned.at);
        steps
    }

    /// The key whose turn is next: the oldest that was published and never signed, else the oldest
    /// that is prepared.
    pub fn successor(&self) -> Option<&KeyRecord> {
        let waiting = |state| self.keys().iter().find(|key| key.state == state && key.activated_at.is_none());
        waiting(KeyState::Published).or_else(|| waiting(KeyState::Prepared))
    }

    /// When a key may become active: after it was seen for as long as the slowest consumer needs.
    /// Of a key that is given by hand nothing is ever seen, so that time begins when it could be
    /// given. Where that is said to be in the future, nobody knows.
    pub fn known_at(
        &self,
        kid: &str,
        policy: &RotationPolicy,
        seen: &Observations,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let key = self.keys().iter().find(|key| key.kid == kid)?;
        let since = match key.distribution(policy) {
            Distribution::Published => seen.seen_since(kid, policy.longest_gap(), policy.skew, now)?,
            // Where nobody needs time for it, it is known by whom it is for.
            Distribution::ByHand if policy.propagation.is_zero() => return Some(key.published_at?.min(now)),
            Distribution::ByHand => key.published_at.filter(|at| *at <= now.plus(policy.skew))?,
        };
        // The process whose time that is may have been behind.
        Some(since.plus(policy.propagation.saturating_add(policy.skew)))
    }

    fn succession(&self, policy: &RotationPolicy, seen: &Observations, now: Timestamp) -> Option<Planned> {
        let planned = |step, at| Some(Planned { step, at, obstacle: None });
        let Some(active) = self.active() else {
            // Nothing signs, so nobody can be surprised.
            let step = match self.successor() {
                Some(next) if next.state == KeyState::Published => Step::Activate(next.kid.clone()),
                Some(next) => Step::Publish(next.kid.clone()),
                None => Step::Make,
            };
            return planned(step, now);
        };
        let rotate_every = policy.rotate_every?;
        // Where it is said to sign since a time that has not come, its successor may as well come
        // now.
        let since = Self::signs_since(active, policy.skew, now);
        let due = since.map_or(now, |since| since.plus(rotate_every));
        let publish_at = since.map_or(now, |_| due.minus(policy.lead()));
        let Some(next) = self.successor() else { return planned(Step::Make, publish_at) };
        let kid = next.kid.clone();
        if next.state == KeyState::Prepared {
            return planned(Step::Publish(kid), publish_at);
        }
        let known_at = self.known_at(&kid, policy, seen, now);
        let obstacle = known_at.is_none().then(|| match next.distribution(policy) {
            Distribution::Published => Obstacle::NotSeen,
            Distribution::ByHand => Obstacle::GivenInFuture,
        });
        Some(Planned { step: Step::Activate(kid), at: known_at.unwrap_or(due).max(due), obstacle })
    }

    fn removal(&self, key: &KeyRecord, policy: &RotationPolicy, now: Timestamp) -> Option<Planned> {
        let at = self.removable_at(key, policy.keep_retired, policy.skew, now)?;
        Some(Planned { step: Step::Remove(key.kid.clone()), at, obstacle: None })
    }
}

impl KeyRecord {
    /// How verifiers come to this key of a ring under `policy`.
    pub fn distribution(&self, policy: &RotationPolicy) -> Distribution {
        if self.public.is_some() { policy.distribution } else { Distribution::ByHand }
    }
}
