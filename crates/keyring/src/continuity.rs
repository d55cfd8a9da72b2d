//! What a process knows of the keyring, compared with what the store says now.
//!
//! A document that is authentic may still be an old one: a backup that was restored, or put there
//! by somebody who can write to the store. Each write has the next sequence number, so every
//! process that saw the newer document notices, keeps the keys it has, and says so. A process that
//! saw none cannot. Pure functions; `stored` keeps what is known and asks. Pinned by
//! tests/continuity.rs.

use crate::{Keyring, guard::Losses};
use aws_lc_rs::digest;
use std::collections::BTreeSet;

/// The newest document that a process has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    id: String,
    sequence: u64,
    content: [u8; 32],
    /// The keys that a keyring with another id has to say something about to come after it.
    to_be_explained: BTreeSet<String>,
    /// The keys about which it says something.
    explained: BTreeSet<String>,
}

impl Known {
    /// A document that was found authentic, and the text that was authenticated.
    pub(crate) fn new(keyring: &Keyring, content: &str) -> Self {
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest::digest(&digest::SHA256, content.as_bytes()).as_ref()) {
            *to = *from;
        }
        let to_be_explained = keyring.to_be_explained().map(str::to_owned).collect();
        let explained = keyring.explained().map(str::to_owned).collect();
        Self {
            id: keyring.id().to_owned(),
            sequence: keyring.sequence(),
            content: hash,
            to_be_explained,
            explained,
        }
    }

    /// Its sequence number.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// How what is found stands to what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continuity {
    /// Nothing was known.
    First,
    /// The same document.
    Unchanged,
    /// A later one of the same keyring.
    Newer,
    /// Not one that can come after it.
    WentBack(WentBack),
}

/// In which way the store went back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WentBack {
    /// There was a keyring, and none exists.
    #[error("there was a keyring with sequence {known}, and none exists now")]
    Gone {
        /// What was seen.
        known: u64,
    },
    /// There is another keyring.
    #[error("there is another keyring than before: {found}, and it was {known}")]
    OtherKeyring {
        /// The id that was seen.
        known: String,
        /// The id that is there now.
        found: String,
    },
    /// There is an older document.
    #[error("its sequence is {found}, and it was {known}")]
    Older {
        /// What was seen.
        known: u64,
        /// What is there now.
        found: u64,
    },
    /// Keys are missing, and nothing says why.
    #[error("{0}")]
    Lost(Losses),
    /// What is public is newer.
    #[error("the public JWKS has sequence {public}, and the keyring in the store {found}")]
    PublicIsNewer {
        /// The sequence in the public JWKS.
        public: u64,
        /// What is in the store.
        found: u64,
    },
    /// There is another document with the same number.
    #[error("its sequence is {sequence} as before, with other content")]
    Rewritten {
        /// The number of both.
        sequence: u64,
    },
}

impl Continuity {
    /// Compares what was known before the store was asked with what it then said.
    pub fn of(known: Option<&Known>, found: Option<&Known>) -> Self {
        let Some(known) = known else { return Self::First };
        let Some(found) = found else { return Self::WentBack(WentBack::Gone { known: known.sequence }) };
        let accepted =
            || known.sequence < found.sequence && known.to_be_explained.is_subset(&found.explained);
        if known.id != found.id && accepted() {
            return Self::Newer;
        }
        if known.id != found.id {
            let (known, found) = (known.id.clone(), found.id.clone());
            return Self::WentBack(WentBack::OtherKeyring { known, found });
        }
        match found.sequence.cmp(&known.sequence) {
            std::cmp::Ordering::Greater => Self::Newer,
            std::cmp::Ordering::Equal if found.content == known.content => Self::Unchanged,
            std::cmp::Ordering::Equal => Self::WentBack(WentBack::Rewritten { sequence: known.sequence }),
            std::cmp::Ordering::Less => {
                Self::WentBack(WentBack::Older { known: known.sequence, found: found.sequence })
            }
        }
    }
}
