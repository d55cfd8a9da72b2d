//! What may happen to a keyring: pure functions `(keyring, key, now) → keyring`. No store, no clock, no randomness.
//!
//! Invariants every one of them keeps: a `kid` names one key in the whole keyring; a ring has at most one active key;
//! the key that was active stays published (`retired`) when another takes over. Doing the same thing twice changes
//! nothing the second time.

use crate::{KeyOrigin, KeyRecord, KeyState, Keyring, RingName, SealedKey};
use countersign_jose::{Algorithm, KeyError, PublicJwk, Timestamp, check_kid};

/// A key about to enter a ring, already sealed.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its name.
    pub kid: String,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Where it came from.
    pub origin: KeyOrigin,
    /// Its public half; `None` for a shared secret.
    pub public: Option<PublicJwk>,
    /// Its private half or the secret.
    pub private: SealedKey,
}

/// Whether a key that enters a ring is to sign at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Only if the ring has no active key; otherwise it is published and waits.
    IfRingHasNone,
    /// In any case; the active key is retired.
    Now,
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// Another key has that name.
    #[error("another key is already named {kid:?}; import it under another kid")]
    KidTaken {
        /// The name.
        kid: String,
    },
    /// The name is not usable.
    #[error(transparent)]
    Kid(#[from] KeyError),
    /// The ring is full.
    #[error("the ring {ring} already holds {max} keys; remove retired ones first", max = MAX_KEYS_PER_RING)]
    RingFull {
        /// The ring.
        ring: RingName,
    },
}

/// The most keys a ring holds. Verifiers stop reading a JWKS at 100 keys (AWS IAM), some at 10 (ALB).
pub(crate) const MAX_KEYS_PER_RING: usize = 50;

impl Keyring {
    /// Adds a key to a ring. `Ok(None)` when exactly this key is there already and nothing changes.
    pub fn with_key(
        &self,
        ring: &RingName,
        key: &NewKey,
        activation: Activation,
        now: Timestamp,
    ) -> Result<Option<Self>, LifecycleError> {
        check_kid(&key.kid)?;
        let mut next = self.clone();
        if let Some((place, record)) = self.find(&key.kid) {
            let same_public = record.public_jwk() == key.public && record.algorithm == key.algorithm;
            if place != ring || !same_public || key.public.is_none() {
                return Err(LifecycleError::KidTaken { kid: key.kid.clone() });
            }
            if activation == Activation::IfRingHasNone || record.state == KeyState::Active {
                return Ok(None);
            }
        } else {
            let keys = &mut next.rings.entry(ring.clone()).or_default().keys;
            if keys.len() >= MAX_KEYS_PER_RING {
                return Err(LifecycleError::RingFull { ring: ring.clone() });
            }
            keys.push(KeyRecord {
                kid: key.kid.clone(),
                algorithm: key.algorithm,
                state: KeyState::Published,
                origin: key.origin,
                created_at: now,
                activated_at: None,
                retired_at: None,
                public: key.public.as_ref().and_then(|jwk| serde_json::to_value(jwk).ok()),
                private: key.private.clone(),
            });
        }
        let has_active = self.ring(ring).is_some_and(|r| r.active().is_some());
        if activation == Activation::Now || !has_active {
            next.activate(ring, &key.kid, now);
        }
        Ok(Some(next))
    }

    /// Makes `kid` the one active key of its ring.
    fn activate(&mut self, ring: &RingName, kid: &str, now: Timestamp) {
        let Some(ring) = self.rings.get_mut(ring) else { return };
        for key in &mut ring.keys {
            if key.kid == kid {
                key.state = KeyState::Active;
                key.activated_at = Some(now);
                key.retired_at = None;
            } else if key.state == KeyState::Active {
                key.state = KeyState::Retired;
                key.retired_at = Some(now);
            }
        }
    }
}
