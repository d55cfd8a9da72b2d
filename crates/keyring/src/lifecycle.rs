//! What may happen to a keyring: pure functions `(keyring, key, now) → keyring`. No store, no clock, no randomness.
//!
//! Invariants every one of them keeps: a `kid` names one key in the whole keyring; a ring has at most one active key;
//! the key that was active stays published (`retired`) when another takes over. Doing the same thing twice changes
//! nothing the second time.

use crate::{KeyOrigin, KeyRecord, KeyState, Keyring, PrivateHalf, RingName};
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
    pub private: PrivateHalf,
}

/// Whether a key that enters a ring is to sign at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Only if the ring has no active key; otherwise it is published and waits.
    IfRingHasNone,
    /// In any case; the active key is retired.
    Now,
    /// Not yet, and it is not published either, unless the ring has no active key.
    Later,
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
    /// There is no key of that name.
    #[error("there is no key {kid:?} in the keyring; `countersign keys list` shows those that are")]
    UnknownKey {
        /// The name.
        kid: String,
    },
    /// The key is in a state from which this can not be done.
    #[error("key {kid:?} is {state}; {why}", state = .state.name())]
    WrongState {
        /// The name.
        kid: String,
        /// The state it is in.
        state: KeyState,
        /// What can be done instead.
        why: &'static str,
    },
    /// Verifiers may not know the key yet.
    #[error(
        "key {kid:?} may not be known to all verifiers {when}; with --force some of them refuse its tokens until then",
        when = known_at.map_or("yet: it was not seen at the public address lately".to_owned(), |at| format!("before {at}"))
    )]
    NotKnown {
        /// The name.
        kid: String,
        /// When they will, as far as was seen.
        known_at: Option<Timestamp>,
    },
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
            if record.state == KeyState::Revoked {
                return Err(revoked(record));
            }
            let waits = matches!(activation, Activation::IfRingHasNone | Activation::Later);
            if waits || record.state == KeyState::Active {
                return Ok(None);
            }
        } else {
            let keys = &mut next.rings.entry(ring.clone()).or_default().keys;
            if keys.len() >= MAX_KEYS_PER_RING {
                return Err(LifecycleError::RingFull { ring: ring.clone() });
            }
            let later = activation == Activation::Later;
            keys.push(KeyRecord {
                kid: key.kid.clone(),
                algorithm: key.algorithm,
                state: if later { KeyState::Prepared } else { KeyState::Published },
                origin: key.origin,
                created_at: now,
                published_at: (!later).then_some(now),
                activated_at: None,
                retired_at: None,
                revoked_at: None,
                public: key.public.as_ref().and_then(|jwk| serde_json::to_value(jwk).ok()),
                // It takes a signature, so it is made where the change is written.
                certificate: None,
                private: key.private.clone(),
            });
        }
        let has_active = self.ring(ring).is_some_and(|r| r.active().is_some());
        if activation == Activation::Now || !has_active {
            next.activate(ring, &key.kid, now);
        }
        Ok(Some(next))
    }

    /// Shows a prepared key to verifiers. `Ok(None)` if it is shown already.
    pub fn with_published(&self, kid: &str, now: Timestamp) -> Result<Option<Self>, LifecycleError> {
        let (_, record) = self.named(kid)?;
        match record.state {
            KeyState::Published | KeyState::Active | KeyState::Retired => Ok(None),
            KeyState::Revoked => Err(revoked(record)),
            KeyState::Prepared => Ok(Some(self.changed(kid, |key| {
                key.state = KeyState::Published;
                key.published_at = Some(now);
            }))),
        }
    }

    /// Makes a key the active one of its ring; the one that was active retires. `Ok(None)` if it is active already.
    /// Whether verifiers know the key is the caller's to ask ([`Ring::known_at`](crate::Ring::known_at)).
    pub fn with_active(&self, kid: &str, now: Timestamp) -> Result<Option<Self>, LifecycleError> {
        let (ring, record) = self.named(kid)?;
        match record.state {
            KeyState::Active => Ok(None),
            KeyState::Revoked => Err(revoked(record)),
            KeyState::Prepared | KeyState::Published | KeyState::Retired => {
                let ring = ring.clone();
                let mut next = self.clone();
                next.activate(&ring, kid, now);
                Ok(Some(next))
            }
        }
    }

    /// Ends the signing life of a key that does not sign: it stays published as long as retired keys do. `Ok(None)` if it is
    /// retired already.
    pub fn with_retired(&self, kid: &str, now: Timestamp) -> Result<Option<Self>, LifecycleError> {
        let (_, record) = self.named(kid)?;
        let refused = |why| Err(LifecycleError::WrongState { kid: kid.to_owned(), state: record.state, why });
        match record.state {
            KeyState::Retired => Ok(None),
            KeyState::Revoked => Err(revoked(record)),
            KeyState::Active => {
                refused("a ring always has one active key; activate another one, and this one retires")
            }
            KeyState::Prepared => refused("it was never published; revoke it, and it is gone"),
            KeyState::Published => Ok(Some(self.changed(kid, |key| {
                key.state = KeyState::Retired;
                key.retired_at = Some(now);
            }))),
        }
    }

    /// Takes a key out of everything at once. If it was the active one, its successor takes over in the same change, known to
    /// verifiers or not; `replacement` is added for that where the ring has none. `Ok(None)` if it is revoked already.
    pub fn with_revoked(
        &self,
        kid: &str,
        replacement: Option<&NewKey>,
        now: Timestamp,
    ) -> Result<Option<Self>, LifecycleError> {
        let (ring, record) = self.named(kid)?;
        if record.state == KeyState::Revoked {
            return Ok(None);
        }
        let (ring, was_active) = (ring.clone(), record.state == KeyState::Active);
        let mut next = self.changed(kid, |key| {
            key.state = KeyState::Revoked;
            key.revoked_at = Some(now);
        });
        if was_active {
            match next.ring(&ring).and_then(|ring| ring.successor()).map(|key| key.kid.clone()) {
                Some(successor) => next.activate(&ring, &successor, now),
                None => {
                    if let Some(key) = replacement {
                        next = next.with_key(&ring, key, Activation::Now, now)?.unwrap_or(next);
                    }
                }
            }
        }
        Ok(Some(next))
    }

    /// Forgets a key that is retired or revoked. `Ok(None)` if it is not there any more.
    pub fn without(&self, kid: &str) -> Result<Option<Self>, LifecycleError> {
        let Some((ring, record)) = self.find(kid) else { return Ok(None) };
        match record.state {
            KeyState::Retired | KeyState::Revoked => {
                let mut next = self.clone();
                if let Some(ring) = next.rings.get_mut(ring) {
                    ring.keys.retain(|key| key.kid != kid);
                }
                Ok(Some(next))
            }
            state @ (KeyState::Prepared | KeyState::Published | KeyState::Active) => {
                Err(LifecycleError::WrongState {
                    kid: kid.to_owned(),
                    state,
                    why: "only a retired or revoked key is removed",
                })
            }
        }
    }

    fn named(&self, kid: &str) -> Result<(&RingName, &KeyRecord), LifecycleError> {
        self.find(kid).ok_or_else(|| LifecycleError::UnknownKey { kid: kid.to_owned() })
    }

    fn changed(&self, kid: &str, change: impl FnOnce(&mut KeyRecord)) -> Self {
        let mut next = self.clone();
        let mut keys = next.rings.values_mut().flat_map(|ring| &mut ring.keys);
        if let Some(key) = keys.find(|key| key.kid == kid) {
            change(key);
        }
        next
    }

    /// Makes `kid` the one active key of its ring.
    fn activate(&mut self, ring: &RingName, kid: &str, now: Timestamp) {
        let Some(ring) = self.rings.get_mut(ring) else { return };
        for key in &mut ring.keys {
            if key.kid == kid {
                key.state = KeyState::Active;
                key.published_at = key.published_at.or(Some(now));
                key.activated_at = Some(now);
                key.retired_at = None;
            } else if key.state == KeyState::Active {
                key.state = KeyState::Retired;
                key.retired_at = Some(now);
            }
        }
    }
}

fn revoked(record: &KeyRecord) -> LifecycleError {
    LifecycleError::WrongState {
        kid: record.kid.clone(),
        state: record.state,
        why: "a revoked key never comes back; make or import another one",
    }
}
