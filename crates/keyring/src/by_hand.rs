//! What people ask for by hand: prepare, publish, activate, retire, remove, revoke. All of it is
//! idempotent.
//!
//! Everything but making a key is a change of states, so that it needs no private key and no
//! service. A revocation is written before its consequences are looked after: that nothing signs is
//! the lesser harm. Called by `countersign keys`.

use crate::{
    Activation, Change, Distribution, KeyChange, KeyState, Keyring, KeyringError, LifecycleError, Outcome,
    Replaced, RevokedKey, Ring, RingSpec, RotationPolicy, StoredKeyring, What,
    journal::REVOKED,
    material::Material,
    stored::{Next, SealWith},
};
use countersign_jose::{SymmetricKey, Timestamp};
use std::time::Duration;

/// Whether a key may be activated that verifiers may not know yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// No: it must have been seen in public for long enough.
    No,
    /// Yes: some verifiers will refuse its tokens for a while.
    Yes,
}

/// A key that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Its name.
    pub kid: String,
    /// Whether it was made now.
    pub made: bool,
}

/// A shared secret that was made, for who gives it to its verifiers. Nothing else in this crate
/// gives out a private key or secret.
#[derive(Debug)]
pub struct MadeSecret {
    /// Its name.
    pub kid: String,
    /// The secret, this one time; `None` where a key waits already, and none was made.
    pub secret: Option<SymmetricKey>,
}

/// What a revocation came to, step by step. It counts if either of the first two was done.
#[derive(Debug)]
pub struct Revocation {
    /// Whether the mark is written, which counts at once; `None` where the key was revoked before.
    pub mark: Option<Result<Replaced, KeyringError>>,
    /// Whether it is in the authenticated keyring, from where nobody without the sealing key
    /// removes it.
    pub record: Result<(), KeyringError>,
    /// What the keyring remembers of the key, where it can be read.
    pub revoked: Option<RevokedKey>,
    /// The key that signs in its ring now, where the keyring can be read.
    pub active: Option<String>,
    /// The keys that the keyring names, where it cannot be verified and this one is not among them:
    /// the name may be mistyped, or somebody has taken the key out.
    pub others: Option<Vec<String>>,
}

impl Revocation {
    /// Whether the key is revoked: in every process within one refresh.
    pub fn counts(&self) -> bool {
        self.record.is_ok() || matches!(self.mark, Some(Ok(_)))
    }

    /// Whether it was revoked before.
    pub fn was_revoked(&self) -> bool {
        self.mark.is_none()
    }
}

impl StoredKeyring {
    /// Accepts that keys are lost which running servers still know, and lifts the sequence number
    /// above what they have seen. Returns those that are lost: not one that is in the keyring.
    pub async fn accept_losses(
        &self,
        kids: &[String],
        sequence: u64,
        now: Timestamp,
    ) -> Result<Vec<String>, KeyringError> {
        let mut accepted = Vec::new();
        self.change_states(now, |keyring| {
            accepted = kids.iter().filter(|kid| keyring.find(kid).is_none()).cloned().collect();
            let mut next = keyring.clone();
            next.accepted_losses.extend(accepted.iter().cloned());
            next.sequence = next.sequence.max(sequence);
            Ok(Some(next))
        })
        .await?;
        Ok(accepted)
    }

    /// Makes a key that waits for its turn: unseen, or where keys are given by hand, ready to be
    /// given. Where one waits already, that one is it.
    pub async fn prepare(
        &self,
        spec: &RingSpec,
        distribution: Distribution,
        now: Timestamp,
    ) -> Result<Prepared, KeyringError> {
        let waiting = |keyring: &Keyring| waiting(keyring, spec);
        if let Some(kid) = waiting(&self.read().await?) {
            return Ok(Prepared { kid, made: false });
        }
        let activation = match distribution {
            Distribution::Published => Activation::Later,
            Distribution::ByHand => Activation::IfRingHasNone,
        };
        let mut kid = String::new();
        let made = self
            .add_keys(SealWith::Current, now, |attempt| {
                if let Some(waiting) = waiting(attempt.keyring) {
                    kid = waiting;
                    return Ok(Next::Unchanged);
                }
                let Some(key) = attempt.made else { return Ok(Next::Needs(spec.clone())) };
                kid = key.kid.clone();
                Ok(attempt.keyring.with_key(&spec.name, key, activation, now)?.into())
            })
            .await?;
        Ok(Prepared { kid, made: made.was_made() })
    }

    /// Makes a shared secret, and gives it to who asks, which is the only time that anybody sees
    /// it. It signs at once in a ring without an active key, and else waits until verifiers were
    /// given it.
    ///
    /// # Errors
    ///
    /// If the algorithm of the ring takes key pairs, or the keyring cannot be read or written; then
    /// nothing was made.
    pub async fn make_secret(&self, spec: &RingSpec, now: Timestamp) -> Result<MadeSecret, KeyringError> {
        let (made, secret) = Material::generated_secret(spec)?;
        let mut kid = made.kid.clone();
        let change = self
            .add_keys(SealWith::Current, now, |attempt| {
                if let Some(waiting) = waiting(attempt.keyring, spec) {
                    kid = waiting;
                    return Ok(Next::Unchanged);
                }
                kid.clone_from(&made.kid);
                let key = made.sealed(&spec.name, attempt.sealing)?;
                Ok(attempt.keyring.with_key(&spec.name, &key, Activation::IfRingHasNone, now)?.into())
            })
            .await?;
        Ok(MadeSecret { kid, secret: change.was_made().then_some(secret) })
    }

    /// Shows a prepared key to verifiers.
    pub async fn publish(&self, kid: &str, now: Timestamp) -> Result<Change, KeyringError> {
        self.change_states(now, |keyring| Ok(keyring.with_published(kid, now)?)).await
    }

    /// Makes a key the active one of its ring; without force only if verifiers know it.
    pub async fn activate(
        &self,
        kid: &str,
        policy: &RotationPolicy,
        force: Force,
        now: Timestamp,
    ) -> Result<Change, KeyringError> {
        self.change_states(now, |keyring| {
            let next = keyring.with_active(kid, policy, now)?;
            let must_be_known = next.is_some() && force == Force::No;
            if let Some(ring) = ring_of(keyring, kid).filter(|ring| must_be_known && ring.active().is_some())
            {
                if keyring.find(kid).is_some_and(|(_, key)| key.state == KeyState::Prepared) {
                    return Err(LifecycleError::NotPublished { kid: kid.to_owned() }.into());
                }
                let given =
                    keyring.find(kid).filter(|(_, key)| key.distribution(policy) == Distribution::ByHand);
                let given_at = given.and_then(|(_, key)| key.published_at);
                if let Some(at) =
                    given_at.filter(|at| *at > now.plus(policy.skew) && !policy.propagation.is_zero())
                {
                    return Err(LifecycleError::GivenInFuture { kid: kid.to_owned(), at }.into());
                }
                let known_at = ring.known_at(kid, policy, keyring.observations(), now);
                if known_at.is_none_or(|at| at > now) {
                    return Err(LifecycleError::NotKnown { kid: kid.to_owned(), known_at }.into());
                }
            }
            Ok(next)
        })
        .await
    }

    /// Ends the waiting of a published key that is not wanted.
    pub async fn retire(&self, kid: &str, now: Timestamp) -> Result<Change, KeyringError> {
        self.change_states(now, |keyring| Ok(keyring.with_retired(kid, now)?)).await
    }

    /// Forgets a key that never signed, or that no living token needs.
    pub async fn remove(
        &self,
        kid: &str,
        keep_retired: Duration,
        skew: Duration,
        now: Timestamp,
    ) -> Result<Change, KeyringError> {
        self.change_states(now, |keyring| Ok(keyring.without(kid, keep_retired, skew, now)?)).await
    }

    /// Takes an import back, of a key that signed nothing; its name is free again.
    pub async fn undo_import(&self, kid: &str, now: Timestamp) -> Result<Change, KeyringError> {
        self.change_states(now, |keyring| Ok(keyring.without_import(kid, now)?)).await
    }

    /// Takes a key out of everything at once. First it is marked, which needs the store and nothing
    /// else, and then that is recorded in the keyring, which needs the sealing key. Each may fail,
    /// and the other still counts. No key is made to take over; `replace` does that.
    ///
    /// # Errors
    ///
    /// If the keyring can be read and has no key of that name.
    pub async fn revoke(&self, kid: &str, now: Timestamp) -> Result<Revocation, KeyringError> {
        let mut others = None;
        let mark = match self.read().await {
            Ok(keyring) if keyring.revocation(kid).is_some() => None,
            Ok(keyring) if keyring.find(kid).is_none() => {
                return Err(LifecycleError::UnknownKey { kid: kid.to_owned() }.into());
            }
            Ok(_) => Some(self.mark(kid, now).await),
            // Where it cannot be read, nobody can say for sure that there is no such key.
            Err(_) => {
                others = self.others_unverified(kid).await;
                Some(self.mark(kid, now).await)
            }
        };
        let record = self.change_states(now, |keyring| Ok(keyring.with_revoked(kid, now)?)).await.map(|_| ());
        let keyring = self.read().await.unwrap_or_default();
        if let (Some(Ok(_)), Err(_), Some(journal)) = (&mark, &record, self.journal()) {
            // Nothing was written that would have been recorded.
            let found = keyring.find(kid);
            let place = found.map(|(ring, key)| (ring.clone(), key.algorithm));
            let from = found.map(|(_, key)| key.state.name());
            let change =
                KeyChange { kid: kid.to_owned(), place, what: What::Revoked, from, to: Some(REVOKED) };
            journal.changed(&change, Outcome::Made);
        }
        let revoked = keyring.revocation(kid).cloned();
        let ring = revoked.as_ref().and_then(|key| keyring.ring(&key.ring));
        let active = ring.and_then(Ring::active).map(|key| key.kid.clone());
        let others = others.filter(|_| record.is_err());
        Ok(Revocation { mark, record, revoked, active, others })
    }

    /// The keys of a keyring that cannot be verified, if this one is not among them.
    async fn others_unverified(&self, kid: &str) -> Option<Vec<String>> {
        let found = Self::unverified(self.store()).await.ok().flatten()?;
        let kids: Vec<_> = found.keyring.records().map(|(_, key)| key.kid.clone()).collect();
        let names_it = kids.iter().any(|other| other == kid) || found.keyring.revocation(kid).is_some();
        (!names_it).then_some(kids)
    }

    /// Makes a key that signs in a ring that has none, and none that waits. Returns the one that
    /// signs then.
    pub async fn replace(&self, spec: &RingSpec, now: Timestamp) -> Result<Option<String>, KeyringError> {
        let active =
            |keyring: &Keyring| keyring.ring(&spec.name).and_then(Ring::active).map(|key| key.kid.clone());
        if active(&self.read().await?).is_none() {
            self.add_keys(SealWith::Current, now, |attempt| {
                if active(attempt.keyring).is_some() {
                    return Ok(Next::Unchanged);
                }
                let Some(key) = attempt.made else { return Ok(Next::Needs(spec.clone())) };
                Ok(attempt.keyring.with_key(&spec.name, key, Activation::Now, now)?.into())
            })
            .await?;
        }
        Ok(active(&self.read().await?))
    }
}

/// The key of a ring that waits for its turn.
fn waiting(keyring: &Keyring, spec: &RingSpec) -> Option<String> {
    keyring.ring(&spec.name).and_then(Ring::successor).map(|waiting| waiting.kid.clone())
}

fn ring_of<'k>(keyring: &'k Keyring, kid: &str) -> Option<&'k Ring> {
    keyring.find(kid).and_then(|(name, _)| keyring.ring(name))
}
