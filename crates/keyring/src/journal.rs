//! What a write did to the keys, and who is told: one [`KeyChange`] for each key that is not as it
//! was before.
//!
//! The changes are the difference between the keyring that was read and the one that was written,
//! taken at the only place that writes it (`stored::changing`), so that no way of changing a key
//! goes unrecorded. The other way is a mark of revocation that could not be recorded in the
//! keyring. What a change says are names, states and fingerprints; key material is in none of its
//! types. What is seen in public, and for how long keys are needed, is no change of a key. Pinned
//! by tests/journal.rs.

use crate::{KeyRecord, Keyring, PrivateHalf, RingName};
use countersign_jose::Algorithm;
use std::fmt::Debug;

/// Is told of every change of a key that this process makes.
pub trait Journal: Debug + Send + Sync {
    /// A key has been changed, or may have been.
    fn changed(&self, change: &KeyChange, outcome: Outcome);
}

/// Whether a change is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is.
    Made,
    /// The store failed while it was written, so that nobody knows.
    Unknown,
}

/// What became of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The key.
    pub kid: String,
    /// Its ring and algorithm, where the keyring can be read.
    pub place: Option<(RingName, Algorithm)>,
    /// What happened.
    pub what: What,
    /// The word for the state it was in; `None` where it was not there, or nobody can say.
    pub from: Option<&'static str>,
    /// The word for the state it is in; `None` where it is not there any more.
    pub to: Option<&'static str>,
}

/// What happens to keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It came into the keyring: made here, imported, or taken over from an older format.
    Added,
    /// It is in another state.
    State,
    /// It was revoked.
    Revoked,
    /// It was forgotten.
    Removed,
    /// It is in another ring.
    Moved {
        /// The ring it was in.
        from: RingName,
    },
    /// Its private half was sealed again.
    Resealed {
        /// The fingerprint of the sealing key it is under now.
        sealing_key: String,
    },
    /// Times of it that lay in the future were set to now.
    TimesCorrected,
    /// Running servers need not keep it, although it is not in the keyring.
    LossAccepted,
}

impl What {
    /// The word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::State => "state",
            Self::Revoked => "revoked",
            Self::Removed => "removed",
            Self::Moved { .. } => "moved",
            Self::Resealed { .. } => "resealed",
            Self::TimesCorrected => "times_corrected",
            Self::LossAccepted => "loss_accepted",
        }
    }
}

/// The state of a revoked key.
pub(crate) const REVOKED: &str = "revoked";

impl Keyring {
    /// What has become of the keys of `before`, and which are new.
    pub fn changes_since(&self, before: &Self) -> Vec<KeyChange> {
        let mut changes = Vec::new();
        for (ring, was) in before.records() {
            let change = |ring: &RingName, what, to| KeyChange {
                kid: was.kid.clone(),
                place: Some((ring.clone(), was.algorithm)),
                what,
                from: Some(was.state.name()),
                to,
            };
            let Some((now_in, is)) = self.find(&was.kid) else {
                changes.push(match self.revocation(&was.kid) {
                    Some(_) => change(ring, What::Revoked, Some(REVOKED)),
                    None => change(ring, What::Removed, None),
                });
                continue;
            };
            let what = [
                (now_in != ring).then(|| What::Moved { from: ring.clone() }),
                (was.state != is.state).then_some(What::State),
                resealed(was, is),
                (was.state == is.state && times(was) != times(is)).then_some(What::TimesCorrected),
            ];
            let state = Some(is.state.name());
            changes.extend(what.into_iter().flatten().map(|what| change(now_in, what, state)));
        }
        let new = self.records().filter(|(_, key)| before.find(&key.kid).is_none());
        changes.extend(new.map(|(ring, key)| KeyChange {
            kid: key.kid.clone(),
            place: Some((ring.clone(), key.algorithm)),
            what: What::Added,
            from: None,
            to: Some(key.state.name()),
        }));
        // What has just been removed is told already.
        let lost = self.accepted_losses.difference(&before.accepted_losses);
        let lost = lost.filter(|kid| before.find(kid).is_none());
        changes.extend(lost.map(|kid| KeyChange {
            kid: kid.clone(),
            place: None,
            what: What::LossAccepted,
            from: None,
            to: None,
        }));
        changes
    }
}

fn resealed(was: &KeyRecord, is: &KeyRecord) -> Option<What> {
    match &is.private {
        PrivateHalf::Sealed(sealed) if was.private != is.private => {
            Some(What::Resealed { sealing_key: sealed.sealed_by().to_owned() })
        }
        PrivateHalf::Sealed(_) | PrivateHalf::Remote(_) => None,
    }
}

fn times(key: &KeyRecord) -> impl PartialEq + use<> {
    (key.created_at, key.published_at, key.activated_at, key.signing_since, key.retired_at, key.needed_until)
}
