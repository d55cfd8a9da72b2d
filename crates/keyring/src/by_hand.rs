//! What people ask for by hand: prepare, publish, activate, retire, remove, revoke. All of it is idempotent.
//!
//! Everything but making a key is a change of states, so that it needs no private key and no service. A revocation
//! is written before its consequences are looked after: that nothing signs is the lesser harm.
//! Called by `countersign keys`.

use crate::{
    Activation, Keyring, KeyringError, LifecycleError, Ring, RingName, RingSpec, RotationPolicy,
    StoredKeyring,
    stored::{Next, SealWith},
};
use countersign_jose::Timestamp;
use std::time::Duration;

/// Whether a key may be activated that verifiers may not know yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// No: it must have been seen in public for long enough.
    No,
    /// Yes: some verifiers will refuse its tokens for a while.
    Yes,
}

/// A key that waits for its turn unseen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Its name.
    pub kid: String,
    /// Whether it was made now.
    pub made: bool,
}

/// What a revocation came to.
#[derive(Debug)]
pub struct Revocation {
    /// Whether it is revoked since now; otherwise it was before.
    pub changed: bool,
    /// The ring it was in.
    pub ring: RingName,
    /// The key that signs in that ring now.
    pub active: Option<String>,
    /// Why no key could be made to take over.
    pub replacement: Option<KeyringError>,
}

impl StoredKeyring {
    /// Accepts that keys are lost which running servers still know, and lifts the sequence number above what they have seen.
    /// Returns those that are lost: not one that is in the keyring.
    pub async fn accept_losses(&self, kids: &[String], sequence: u64) -> Result<Vec<String>, KeyringError> {
        let mut accepted = Vec::new();
        self.change_states(|keyring| {
            accepted = kids.iter().filter(|kid| keyring.find(kid).is_none()).cloned().collect();
            let mut next = keyring.clone();
            next.accepted_losses.extend(accepted.iter().cloned());
            next.sequence = next.sequence.max(sequence);
            Ok(Some(next))
        })
        .await?;
        Ok(accepted)
    }

    /// Makes a key that waits for its turn unseen. Where one waits already, that one is it.
    pub async fn prepare(&self, spec: &RingSpec, now: Timestamp) -> Result<Prepared, KeyringError> {
        let waiting = |keyring: &Keyring| {
            keyring.ring(&spec.name).and_then(Ring::successor).map(|waiting| waiting.kid.clone())
        };
        if let Some(kid) = waiting(&self.read().await?) {
            return Ok(Prepared { kid, made: false });
        }
        let mut kid = String::new();
        let made = self
            .add_keys(SealWith::Current, |attempt| {
                if let Some(waiting) = waiting(attempt.keyring) {
                    kid = waiting;
                    return Ok(Next::Unchanged);
                }
                let Some(key) = attempt.made else { return Ok(Next::Needs(spec.clone())) };
                kid = key.kid.clone();
                Ok(attempt.keyring.with_key(&spec.name, key, Activation::Later, now)?.into())
            })
            .await?;
        Ok(Prepared { kid, made })
    }

    /// Shows a prepared key to verifiers.
    pub async fn publish(&self, kid: &str, now: Timestamp) -> Result<bool, KeyringError> {
        self.change_states(|keyring| Ok(keyring.with_published(kid, now)?)).await
    }

    /// Makes a key the active one of its ring; without force only if verifiers know it.
    pub async fn activate(
        &self,
        kid: &str,
        policy: &RotationPolicy,
        force: Force,
        now: Timestamp,
    ) -> Result<bool, KeyringError> {
        self.change_states(|keyring| {
            let next = keyring.with_active(kid, policy, now)?;
            let must_be_known = next.is_some() && force == Force::No;
            if let Some(ring) = ring_of(keyring, kid).filter(|ring| must_be_known && ring.active().is_some())
            {
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
    pub async fn retire(&self, kid: &str, now: Timestamp) -> Result<bool, KeyringError> {
        self.change_states(|keyring| Ok(keyring.with_retired(kid, now)?)).await
    }

    /// Forgets a key that never signed, or that no living token needs.
    pub async fn remove(
        &self,
        kid: &str,
        keep_retired: Duration,
        now: Timestamp,
    ) -> Result<bool, KeyringError> {
        self.change_states(|keyring| Ok(keyring.without(kid, keep_retired, now)?)).await
    }

    /// Takes a key out of everything at once, and then sees to it that the ring has one that signs. `spec` says how
    /// one is made if none waits.
    pub async fn revoke(
        &self,
        kid: &str,
        spec: &RingSpec,
        now: Timestamp,
    ) -> Result<Revocation, KeyringError> {
        let changed = self.change_states(|keyring| Ok(keyring.with_revoked(kid, now)?)).await?;
        let mut replacement = None;
        if changed && spec.make_first_key {
            replacement = self.ensure(std::slice::from_ref(spec), now).await.err();
        }
        let keyring = self.read().await?;
        let ring = keyring.revocation(kid).map_or_else(|| spec.name.clone(), |key| key.ring.clone());
        let active = keyring.ring(&ring).and_then(Ring::active).map(|key| key.kid.clone());
        Ok(Revocation { changed, ring, active, replacement })
    }
}

fn ring_of<'k>(keyring: &'k Keyring, kid: &str) -> Option<&'k Ring> {
    keyring.find(kid).and_then(|(name, _)| keyring.ring(name))
}
