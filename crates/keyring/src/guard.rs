//! The guard: what a process knows of the keys, compared with an authentic keyring that it has read
//! now.
//!
//! A restored backup, a database that was emptied and made anew, or an older document with changes
//! on top of it may all be authentic, and even have a higher sequence number. What tells them is
//! that keys are missing which nothing explains: a key that has signed is there, or was revoked, or
//! is not needed any more, or somebody has accepted its loss by name; and a key that was revoked is
//! not there. Until that is so, the known keys go on being used together with those that were
//! found. Pure functions; asked by `stored` at each reload. Pinned by tests/went_back.rs.

use crate::{KeyRecord, KeyState, Keyring, LoadedKeyring, RingName};
use countersign_jose::Timestamp;
use std::{fmt, time::Duration};

/// What is missing in a keyring that was read, and what should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// Keys that have signed and that nothing explains.
    pub keys: Vec<String>,
    /// Rings in which a key signed, and none does.
    pub silent: Vec<RingName>,
    /// Keys that were revoked and are used again.
    pub back: Vec<String>,
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rings: Vec<_> = self.silent.iter().map(RingName::as_str).collect();
        let parts = [
            ("keys that have signed are gone: ", self.keys.join(", ")),
            ("no key signs any more in ring ", rings.join(", ")),
            ("revoked keys are back, revoke them again: ", self.back.join(", ")),
        ];
        let told: Vec<_> = parts.iter().filter(|(_, names)| !names.is_empty()).collect();
        for (number, (what, names)) in told.into_iter().enumerate() {
            write!(f, "{}{what}{names}", if number > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl Losses {
    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.silent.is_empty() && self.back.is_empty()
    }
}

impl Keyring {
    /// What is missing in `found`, which was read at `now`, when this one was read at `last_read`.
    /// A key that is removed by a clock which is ahead by `skew` is not missing.
    pub fn losses(&self, found: &Self, last_read: Timestamp, skew: Duration, now: Timestamp) -> Losses {
        let latest = now.plus(skew);
        let needed = |key: &KeyRecord| match key.state {
            // It may have signed until it was read, and be retired since.
            KeyState::Active => latest < last_read.plus(key.keep_after),
            KeyState::Retired => key.needed_until(Duration::ZERO).is_none_or(|until| latest < until),
            // One that never signed may be removed at any time.
            KeyState::Prepared | KeyState::Published => false,
        };
        let lost = |key: &KeyRecord| needed(key) && !found.explains(&key.kid);
        let keys = self.records().filter(|(_, key)| lost(key)).map(|(_, key)| key.kid.clone()).collect();
        let silent = self.rings().filter(|(name, ring)| {
            let explained =
                |key: &KeyRecord| found.revocation(&key.kid).is_some() || found.accepts_the_loss_of(&key.kid);
            let signs = found.ring(name).is_some_and(|ring| ring.active().is_some());
            !signs && ring.active().is_some_and(|key| !explained(key) && needed(key))
        });
        let back = self.revoked().iter().map(|key| &key.kid).filter(|kid| found.find(kid).is_some());
        Losses { keys, silent: silent.map(|(name, _)| name.clone()).collect(), back: back.cloned().collect() }
    }

    /// The keys that have signed and may be needed: what another keyring has to account for to come
    /// after this one.
    pub(crate) fn to_be_explained(&self) -> impl Iterator<Item = &str> {
        let signed = |key: &KeyRecord| matches!(key.state, KeyState::Active | KeyState::Retired);
        self.records().filter(move |(_, key)| signed(key)).map(|(_, key)| key.kid.as_str())
    }

    /// The keys whose loss has to be accepted if nothing of this keyring is left.
    pub fn to_accept(&self) -> Vec<&str> {
        self.to_be_explained().collect()
    }

    /// The keys about which it says something: those that are there, that were revoked, and whose
    /// loss was accepted.
    pub(crate) fn explained(&self) -> impl Iterator<Item = &str> {
        let there = self.records().map(|(_, key)| key.kid.as_str());
        let revoked = self.revoked().iter().map(|key| key.kid.as_str());
        there.chain(revoked).chain(self.accepted_losses())
    }

    /// Whether it says what became of a key.
    pub(crate) fn explains(&self, kid: &str) -> bool {
        self.find(kid).is_some() || self.revocation(kid).is_some() || self.accepts_the_loss_of(kid)
    }

    fn accepts_the_loss_of(&self, kid: &str) -> bool {
        self.accepted_losses().any(|accepted| accepted == kid)
    }
}

impl LoadedKeyring {
    /// These keys and those of `found`: what signs here goes on signing, what is public anywhere is
    /// shown, and what was revoked anywhere is neither.
    #[must_use]
    pub(crate) fn together_with(&self, found: &Self) -> Self {
        let revoked =
            |kid: &str| [self, found].into_iter().any(|keyring| keyring.records().revocation(kid).is_some());
        let mut rings = self.rings.clone();
        for ring in rings.values_mut() {
            ring.public.retain(|key| !revoked(&key.jwk.kid));
            ring.active.take_if(|active| revoked(active.kid()));
        }
        for (name, theirs) in &found.rings {
            let shown: Vec<_> =
                rings.values().flat_map(|ring| &ring.public).map(|key| key.jwk.kid.clone()).collect();
            let ours = rings.entry(name.clone()).or_default();
            let new =
                theirs.public.iter().filter(|key| !shown.contains(&key.jwk.kid) && !revoked(&key.jwk.kid));
            ours.public.extend(new.cloned());
            if ours.active.is_none() {
                ours.active = theirs.active.clone().filter(|active| !revoked(active.kid()));
            }
        }
        Self { version: None, rings, records: self.records.clone() }
    }

    /// Whether the same keys sign and are shown.
    pub fn shows_the_same_as(&self, other: &Self) -> bool {
        let shown = |keyring: &Self| -> Vec<(RingName, Option<String>, Vec<String>)> {
            let ring = |(name, ring): (&RingName, &crate::LoadedRing)| {
                let kids = ring.public_keys().iter().map(|key| key.jwk.kid.clone()).collect();
                (name.clone(), ring.active().map(|active| active.kid().to_owned()), kids)
            };
            keyring.rings().map(ring).collect()
        };
        shown(self) == shown(other)
    }
}
