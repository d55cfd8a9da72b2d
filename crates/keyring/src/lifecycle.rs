//! What may happen to a keyring: pure functions `(keyring, key, now) → keyring`. No store, no
//! clock, no randomness.
//!
//! Invariants every one of them keeps: a `kid` names one key in the whole keyring, and never again
//! once it was revoked; a ring has at most one active key; the key that was active stays published
//! (`retired`) when another takes over; how long a key is needed is never shortened. All are
//! idempotent. Only `with_key` needs key material; the others change states alone, so that they
//! work when no private key opens.

use crate::{
    KeyOrigin, KeyRecord, KeyState, Keyring, PrivateHalf, RevokedKey, Ring, RingName, RotationPolicy,
};
use countersign_jose::{Algorithm, KeyError, PublicJwk, Timestamp, check_kid};
use std::time::Duration;

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
    #[error("another key is already named {kid:?}, in ring {ring}; import this one under another kid")]
    KidTaken {
        /// The name.
        kid: String,
        /// The ring that has it.
        ring: RingName,
    },
    /// The same key is in another ring.
    #[error(
        "key {kid:?} is already in ring {ring}, {state}; if that was a mistake, take it back with \
         `countersign keys remove --signed-nothing {kid}` and import it again",
        state = .state.name()
    )]
    InAnotherRing {
        /// The name.
        kid: String,
        /// The ring that has it.
        ring: RingName,
        /// The state it is in there.
        state: KeyState,
    },
    /// Only a key that came from elsewhere can be taken back.
    #[error(
        "key {kid:?} was made here; only an import can be undone; use `countersign keys revoke` if it must not sign"
    )]
    NotImported {
        /// The name.
        kid: String,
    },
    /// The name is not usable.
    #[error(transparent)]
    Kid(#[from] KeyError),
    /// The key was revoked.
    #[error("key {kid:?} is revoked; a revoked key never comes back; make or import another one")]
    Revoked {
        /// The name.
        kid: String,
    },
    /// There is no key of that name.
    #[error("there is no key {kid:?} in the keyring; `countersign keys list` shows its keys")]
    UnknownKey {
        /// The name.
        kid: String,
    },
    /// The key is in a state from which this cannot be done.
    #[error("key {kid:?} is {state}; {why}", state = .state.name())]
    WrongState {
        /// The name.
        kid: String,
        /// The state it is in.
        state: KeyState,
        /// What can be done instead.
        why: &'static str,
    },
    /// The key is shown to nobody yet.
    #[error(
        "key {kid:?} is prepared, so no verifier can know it; publish it first with `countersign keys publish {kid}`, and \
         activate it when they know it; with --force they refuse its tokens until then"
    )]
    NotPublished {
        /// The name.
        kid: String,
    },
    /// Nobody can say since when its verifiers could be given the key.
    #[error(
        "key {kid:?} is said to have been given out at {at}, which has not come yet: set the clock of this machine, or if it is \
         right run `countersign keys correct-times`; if its verifiers have the key, use --force"
    )]
    GivenInFuture {
        /// The name.
        kid: String,
        /// The time.
        at: Timestamp,
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
    /// Tokens that the key signed may still live.
    #[error(
        "key {kid:?} is needed until {until}: tokens that it signed may live until then; \
         if it has leaked, use `countersign keys revoke`"
    )]
    Needed {
        /// The name.
        kid: String,
        /// Until when.
        until: Timestamp,
    },
    /// The ring is full.
    #[error(
        "the ring {ring} already holds {max} keys; remove some with `countersign keys remove KID`",
        max = MAX_KEYS_PER_RING
    )]
    RingFull {
        /// The ring.
        ring: RingName,
    },
}

/// The most keys a ring holds. Verifiers stop reading a JWKS at 100 keys (AWS IAM), some at 10
/// (ALB).
pub(crate) const MAX_KEYS_PER_RING: usize = 50;

/// How many revoked names are remembered; the oldest one goes when another comes. An entry is
/// smaller than the record it replaces, so a revocation never makes the document longer.
const MAX_REVOKED: usize = 500;

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
        if self.revocation(&key.kid).is_some() {
            return Err(LifecycleError::Revoked { kid: key.kid.clone() });
        }
        let mut next = self.clone();
        if let Some((place, record)) = self.find(&key.kid) {
            if !record.is(key) {
                return Err(LifecycleError::KidTaken { kid: key.kid.clone(), ring: place.clone() });
            }
            if place != ring {
                let (kid, ring, state) = (key.kid.clone(), place.clone(), record.state);
                return Err(LifecycleError::InAnotherRing { kid, ring, state });
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
            // The loss of one that had this name before is not that of this one.
            next.accepted_losses.remove(&key.kid);
            keys.push(KeyRecord {
                kid: key.kid.clone(),
                algorithm: key.algorithm,
                state: if later { KeyState::Prepared } else { KeyState::Published },
                origin: key.origin,
                created_at: now,
                published_at: (!later).then_some(now),
                activated_at: None,
                signing_since: None,
                retired_at: None,
                keep_after: Duration::ZERO,
                needed_until: None,
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
            KeyState::Prepared => Ok(Some(self.changed(kid, |key| {
                key.state = KeyState::Published;
                key.published_at = Some(now);
            }))),
        }
    }

    /// Makes a key the active one of its ring, to sign under `policy`; the one that was active
    /// retires. `Ok(None)` if it is active already. Whether verifiers know the key is the caller's
    /// to ask ([`Ring::known_at`](crate::Ring::known_at)).
    pub fn with_active(
        &self,
        kid: &str,
        policy: &RotationPolicy,
        now: Timestamp,
    ) -> Result<Option<Self>, LifecycleError> {
        let (ring, record) = self.named(kid)?;
        match record.state {
            KeyState::Active => Ok(None),
            KeyState::Prepared | KeyState::Published | KeyState::Retired => {
                let ring = ring.clone();
                let mut next = self.clone();
                next.activate(&ring, kid, now);
                Ok(Some(next.with_needs(&ring, policy.least_keep_retired()).unwrap_or(next)))
            }
        }
    }

    /// Makes a key active in a ring in which none signs, so that nobody can be surprised. What its
    /// tokens need is noted before they are minted.
    pub(crate) fn with_active_at_once(&self, ring: &RingName, kid: &str, now: Timestamp) -> Option<Self> {
        let mut next = self.clone();
        next.activate(ring, kid, now);
        (next != *self).then_some(next)
    }

    /// Notes how long after it stops signing the active key of a ring is needed, before a token is
    /// minted that may live so long. Never shortens it. `None` if it is noted already, or nothing
    /// signs.
    #[must_use]
    pub fn with_needs(&self, ring: &RingName, keep_after: Duration) -> Option<Self> {
        let active = self.ring(ring)?.active()?;
        // Records hold whole seconds.
        let keep_after =
            Duration::from_secs(keep_after.saturating_add(Duration::from_nanos(999_999_999)).as_secs());
        if active.keep_after >= keep_after {
            return None;
        }
        let kid = active.kid.clone();
        Some(self.changed(&kid, |key| key.keep_after = keep_after))
    }

    /// Ends the signing life of a key that does not sign: it stays published as long as retired
    /// keys do. `Ok(None)` if it is retired already.
    pub fn with_retired(&self, kid: &str, now: Timestamp) -> Result<Option<Self>, LifecycleError> {
        let (_, record) = self.named(kid)?;
        let refused = |why| Err(LifecycleError::WrongState { kid: kid.to_owned(), state: record.state, why });
        match record.state {
            KeyState::Retired => Ok(None),
            KeyState::Active => {
                refused("a ring always has one active key; activate another one, and this one retires")
            }
            KeyState::Prepared => refused("it was never published; remove it with `countersign keys remove`"),
            KeyState::Published => Ok(Some(self.changed(kid, |key| {
                key.state = KeyState::Retired;
                key.retired_at = Some(now);
            }))),
        }
    }

    /// Takes a key out of everything at once; its name is remembered as revoked. If it was the
    /// active one, its successor takes over in the same change, known to verifiers or not.
    /// `Ok(None)` if it is revoked already.
    pub fn with_revoked(&self, kid: &str, now: Timestamp) -> Result<Option<Self>, LifecycleError> {
        if self.revocation(kid).is_some() {
            return Ok(None);
        }
        let (ring, record) = self.find(kid).ok_or_else(|| unknown(kid))?;
        let mut next = self.clone();
        if let Some(ring) = next.rings.get_mut(ring) {
            ring.keys.retain(|key| key.kid != kid);
        }
        next.revoked.push(RevokedKey {
            kid: kid.to_owned(),
            revoked_at: now,
            ring: ring.clone(),
            algorithm: record.algorithm,
            origin: record.origin,
            created_at: record.created_at,
            activated_at: record.activated_at,
            remote: match &record.private {
                PrivateHalf::Remote(name) => Some(name.clone()),
                PrivateHalf::Sealed(_) => None,
            },
        });
        let too_many = next.revoked.len().saturating_sub(MAX_REVOKED);
        next.revoked.drain(..too_many);
        if record.state == KeyState::Active
            && let Some(successor) = next.ring(ring).and_then(|ring| ring.successor())
        {
            let successor = successor.kid.clone();
            next.activate(ring, &successor, now);
            // A server that signed with the one will sign with the other.
            next = next.with_needs(ring, record.keep_after).unwrap_or(next);
        }
        Ok(Some(next))
    }

    /// Forgets a key that never signed, or that no living token needs, which is when the plan says
    /// so. `keep_retired` is how long retired keys stay at least, and `skew` how far clocks may
    /// differ. `Ok(None)` if it is not there.
    pub fn without(
        &self,
        kid: &str,
        keep_retired: Duration,
        skew: Duration,
        now: Timestamp,
    ) -> Result<Option<Self>, LifecycleError> {
        let Some((name, record)) = self.find(kid) else { return Ok(None) };
        if record.state == KeyState::Active {
            let why = "it signs; activate another key of the ring first";
            return Err(LifecycleError::WrongState { kid: kid.to_owned(), state: record.state, why });
        }
        // One that was published and never signed breaks no token when it goes.
        let until = self.ring(name).and_then(|ring| ring.removable_at(record, keep_retired, skew, now));
        if let Some(until) = until.filter(|until| *until > now && record.activated_at.is_some()) {
            return Err(LifecycleError::Needed { kid: kid.to_owned(), until });
        }
        let name = name.clone();
        let mut next = self.clone();
        if let Some(ring) = next.rings.get_mut(&name) {
            ring.keys.retain(|key| key.kid != kid);
        }
        Ok(Some(next))
    }

    /// Takes an import back, of a key that signed nothing: its name is free again. The caller
    /// vouches for that, because a key that is active may have signed. If it was the active one,
    /// the key that signed before it signs again, which verifiers know; where none did, the one
    /// that waits takes over, as in every ring in which nothing signs. `Ok(None)` if it is not
    /// there.
    pub fn without_import(&self, kid: &str, now: Timestamp) -> Result<Option<Self>, LifecycleError> {
        let Some((name, record)) = self.find(kid) else { return Ok(None) };
        if record.origin != KeyOrigin::Imported {
            return Err(LifecycleError::NotImported { kid: kid.to_owned() });
        }
        let (name, mut next) = (name.clone(), self.clone());
        if let Some(ring) = next.rings.get_mut(&name) {
            ring.keys.retain(|key| key.kid != kid);
        }
        if record.activated_at.is_some() {
            // Servers that have seen it sign do not miss it.
            next.accepted_losses.insert(kid.to_owned());
        }
        if record.state == KeyState::Active
            && let Some(ring) = next.ring(&name)
            && let Some(successor) = ring.signed_last().or(ring.successor()).map(|key| key.kid.clone())
        {
            next.activate(&name, &successor, now);
            next = next.with_needs(&name, record.keep_after).unwrap_or(next);
        }
        Ok(Some(next))
    }

    fn named(&self, kid: &str) -> Result<(&RingName, &KeyRecord), LifecycleError> {
        if self.revocation(kid).is_some() {
            return Err(LifecycleError::Revoked { kid: kid.to_owned() });
        }
        self.find(kid).ok_or_else(|| unknown(kid))
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
                // When it first signed.
                key.activated_at = key.activated_at.or(Some(now));
                key.signing_since = Some(now);
                key.retired_at = None;
            } else if key.state == KeyState::Active {
                key.state = KeyState::Retired;
                key.retired_at = Some(now);
                key.needed_until = key.needed_until.max(Some(now.plus(key.keep_after)));
            }
        }
    }
}

impl Ring {
    /// The key that stopped signing last. One that was given up before it signed is not it.
    fn signed_last(&self) -> Option<&KeyRecord> {
        let signed = |key: &&KeyRecord| key.state == KeyState::Retired && key.activated_at.is_some();
        self.keys().iter().filter(signed).max_by_key(|key| key.retired_at)
    }
}

impl KeyRecord {
    /// Whether it is the same key. Two shared secrets are compared as they are sealed: who has
    /// opened them and found them equal gives `key` what is stored here.
    fn is(&self, key: &NewKey) -> bool {
        let same = match (self.public_jwk(), &key.public) {
            (None, None) => self.private == key.private,
            (public, other) => public == *other,
        };
        same && self.algorithm == key.algorithm
    }

    /// Until when a retired key is kept: as long as the policies under which it signed say, and as
    /// long as today's says. `None` for a key that is not retired.
    pub fn needed_until(&self, keep_retired: Duration) -> Option<Timestamp> {
        match self.state {
            KeyState::Retired => self.needed_until.max(self.retired_at.map(|at| at.plus(keep_retired))),
            KeyState::Prepared | KeyState::Published | KeyState::Active => None,
        }
    }
}

fn unknown(kid: &str) -> LifecycleError {
    LifecycleError::UnknownKey { kid: kid.to_owned() }
}
