//! What holds in a keyring: one check, made of every document that is read and before each that is
//! written.
//!
//! A fault is something that this program never writes: a document that has one is not used, and a
//! change that would make one is not written. A remark is something that a keyring can come to, and
//! that a person should put right: it can be used meanwhile, and mended by the ordinary commands.
//! Pure functions; asked by `document`, by the program's start and by `countersign store check`.

use crate::{KeyRecord, KeyState, Keyring, RingName, lifecycle::MAX_KEYS_PER_RING};
use countersign_jose::{KeyError, Timestamp, check_kid};
use std::{collections::BTreeSet, time::Duration};

/// The most losses that are accepted by name.
pub(crate) const MAX_ACCEPTED_LOSSES: usize = 500;
/// Times of one key are written by different machines, whose clocks differ.
const TOLERANCE: Duration = Duration::from_secs(600);

/// What cannot be in a keyring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A name is there twice, or is that of a revoked key too.
    #[error("the name {kid:?} is there twice")]
    KidTwice {
        /// The name.
        kid: String,
    },
    /// A name no key can have.
    #[error("the name {kid:?}: {why}")]
    Kid {
        /// The name.
        kid: String,
        /// Why not.
        why: KeyError,
    },
    /// Two keys of a ring sign.
    #[error("ring {ring} has more than one active key")]
    TwoActive {
        /// The ring.
        ring: RingName,
    },
    /// A ring has too many keys.
    #[error("ring {ring} has {count} keys; there can be {MAX_KEYS_PER_RING}")]
    TooMany {
        /// The ring.
        ring: RingName,
        /// How many.
        count: usize,
    },
    /// The public half of a key is not one of its algorithm.
    #[error("the public key of {kid:?} is not one for {algorithm}")]
    PublicKey {
        /// The key.
        kid: String,
        /// The algorithm.
        algorithm: countersign_jose::Algorithm,
    },
    /// A key is in a state without the time at which it came there.
    #[error("key {kid:?} is {state} and has no time of that", state = .state.name())]
    NoTime {
        /// The key.
        kid: String,
        /// The state.
        state: KeyState,
    },
    /// Too many losses are accepted.
    #[error("{count} losses are accepted by name; there can be {MAX_ACCEPTED_LOSSES}")]
    TooManyLosses {
        /// How many.
        count: usize,
    },
}

/// What a person should put right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// Keys are there that could sign, and none does.
    #[error("ring {ring} has no active key; `countersign keys activate KID` makes one of its keys active")]
    NoActiveKey {
        /// The ring.
        ring: RingName,
    },
    /// What happened later is said to have happened earlier.
    #[error(
        "the times of key {kid:?} are not in order: {later} is before {earlier}; check the clocks of the machines that use the store"
    )]
    TimesOutOfOrder {
        /// The key.
        kid: String,
        /// What comes first.
        earlier: &'static str,
        /// What comes after it.
        later: &'static str,
    },
}

impl Keyring {
    /// The first fault there is.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let mut kids: BTreeSet<&str> = self.revoked().iter().map(|key| key.kid.as_str()).collect();
        for (ring, keys) in self.rings() {
            let count = keys.keys().len();
            if count > MAX_KEYS_PER_RING {
                return Err(Fault::TooMany { ring: ring.clone(), count });
            }
            if keys.keys().iter().filter(|key| key.state == KeyState::Active).count() > 1 {
                return Err(Fault::TwoActive { ring: ring.clone() });
            }
            for key in keys.keys() {
                if !kids.insert(&key.kid) {
                    return Err(Fault::KidTwice { kid: key.kid.clone() });
                }
                key.check()?;
            }
        }
        let count = self.accepted_losses().count();
        if count > MAX_ACCEPTED_LOSSES { Err(Fault::TooManyLosses { count }) } else { Ok(()) }
    }

    /// What a person should put right.
    pub fn remarks(&self) -> Vec<Remark> {
        let without_active = self.rings().filter(|(_, ring)| {
            let could = ring.keys().iter().any(|key| key.state.is_public());
            could && ring.active().is_none()
        });
        let remarks = without_active.map(|(ring, _)| Remark::NoActiveKey { ring: ring.clone() });
        let times = self.records().filter_map(|(_, key)| key.times_out_of_order());
        remarks.chain(times).collect()
    }

    /// Whether every ring that has keys which could sign has exactly one that does.
    pub fn has_one_active_key_per_ring(&self) -> bool {
        let without = |remark: &Remark| matches!(remark, Remark::NoActiveKey { .. });
        !matches!(self.check(), Err(Fault::TwoActive { .. })) && !self.remarks().iter().any(without)
    }
}

impl KeyRecord {
    fn check(&self) -> Result<(), Fault> {
        let (kid, state) = (self.kid.clone(), self.state);
        check_kid(&kid).map_err(|why| Fault::Kid { kid: kid.clone(), why })?;
        let fits = match (&self.public, self.algorithm.is_symmetric()) {
            (None, symmetric) => symmetric,
            (Some(_), true) => false,
            (Some(_), false) => self.public_key().is_some_and(|key| key.kind() == self.algorithm.key_kind()),
        };
        if !fits {
            return Err(Fault::PublicKey { kid, algorithm: self.algorithm });
        }
        let has_time = match state {
            KeyState::Prepared => true,
            KeyState::Published => self.published_at.is_some(),
            KeyState::Active => self.activated_at.is_some(),
            KeyState::Retired => self.retired_at.is_some(),
        };
        if has_time { Ok(()) } else { Err(Fault::NoTime { kid, state }) }
    }

    fn times_out_of_order(&self) -> Option<Remark> {
        // A key that signs again keeps the time at which it first signed.
        let times: [(&'static str, Option<Timestamp>); 4] = [
            ("created_at", Some(self.created_at)),
            ("published_at", self.published_at),
            ("activated_at", self.activated_at),
            ("retired_at", self.retired_at),
        ];
        let known: Vec<_> = times.into_iter().filter_map(|(name, at)| Some((name, at?))).collect();
        let pairs = known.iter().zip(known.iter().skip(1));
        let wrong = pairs.filter(|((_, earlier), (_, later))| earlier.since(*later) > TOLERANCE);
        wrong
            .map(|((earlier, _), (later, _))| Remark::TimesOutOfOrder {
                kid: self.kid.clone(),
                earlier,
                later,
            })
            .next()
    }
}
