//! Marks of revocation: a document that needs no key, can only take trust away, and counts at once.
//!
//! A revocation is first a mark: the name of a key in a document of its own
//! (`keyring-revocations`), written by compare-and-set without a sealing key, a readable keyring, a
//! configured ring or a service. Every process reads the marks before each look at the keyring and
//! stops using what they name; it keeps them in memory, so that taking a mark away again undoes
//! nothing. Every process with the sealing key absorbs them into the authenticated list of revoked
//! names with its next write. A document of marks that is damaged or too long stops neither a
//! server nor a new mark: it is replaced. Pinned by tests/revocation.rs.

use crate::{Keyring, KeyringError, StoredKeyring, document::document_name};
use countersign_jose::Timestamp;
use countersign_store::{Expect, StoreError, Version};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    sync::{MutexGuard, PoisonError},
};

/// Where marks are kept.
const NAME: &str = "keyring-revocations";
/// The most marks that are kept; many more than are ever needed until they are absorbed.
const MAX_MARKS: usize = 256;
/// How often a mark is tried again after somebody else's came in between.
const ATTEMPTS: usize = 20;

/// The document. Members that are not known are passed over: nothing in it can do more than take
/// trust away.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    marks: Vec<Mark>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mark {
    kid: String,
    #[serde(default)]
    at: Option<Timestamp>,
}

/// The document of marks as it was found.
#[derive(Debug, Default)]
struct Found {
    marks: Vec<Mark>,
    version: Option<Version>,
    damaged: bool,
}

/// What a process remembers of revocations that the keyring does not say yet.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// The names that were marked.
    kids: BTreeSet<String>,
    /// The names of the keyring that was read last.
    known: BTreeSet<String>,
    /// Those that it says are revoked.
    revoked: BTreeSet<String>,
}

/// What a look at the marks came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Looked {
    /// The document is damaged; marks that were seen before still count.
    pub(crate) damaged: bool,
}

impl StoredKeyring {
    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the marks and remembers them. Those seen before stay as far as they are about keys
    /// that are known.
    pub(crate) async fn look_at_marks(&self) -> Result<Looked, KeyringError> {
        let found = self.find_marks().await?;
        let mut remembered = self.remembered();
        let Remembered { kids, known, .. } = &mut *remembered;
        kids.retain(|kid| known.contains(kid));
        kids.extend(found.marks.into_iter().map(|mark| mark.kid));
        Ok(Looked { damaged: found.damaged })
    }

    /// The names that are not to be used, whatever the keyring says.
    pub(crate) fn marked(&self) -> BTreeSet<String> {
        self.remembered().kids.clone()
    }

    /// The same and those that the keyring says are revoked: one that is authentic counts although
    /// a key of it does not open.
    pub(crate) fn not_to_be_used(&self) -> BTreeSet<String> {
        let remembered = self.remembered();
        remembered.kids.union(&remembered.revoked).cloned().collect()
    }

    /// Notes which keys there are.
    pub(crate) fn knows(&self, keyring: &Keyring) {
        let mut remembered = self.remembered();
        remembered.known = keyring.records().map(|(_, key)| key.kid.clone()).collect();
        remembered.revoked = keyring.revoked().iter().map(|key| key.kid.clone()).collect();
        remembered.kids.retain(|kid| keyring.revocation(kid).is_none());
    }

    async fn find_marks(&self) -> Result<Found, KeyringError> {
        let document = match self.store().get(&document_name(NAME)?).await {
            Ok(Some(document)) => document,
            Ok(None) => return Ok(Found::default()),
            Err(StoreError::Corrupt { .. }) => return Ok(Found { damaged: true, ..Found::default() }),
            Err(why) => return Err(why.into()),
        };
        let version = Some(document.version);
        Ok(match serde_json::from_slice::<Document>(&document.bytes) {
            Ok(Document { marks }) => Found { marks, version, damaged: false },
            Err(_) => Found { marks: Vec::new(), version, damaged: true },
        })
    }

    /// Marks a key as revoked. Needs the store and nothing else. Returns whether what was there
    /// could not be kept, because it is damaged or too long.
    pub(crate) async fn mark(&self, kid: &str, now: Timestamp) -> Result<Replaced, KeyringError> {
        for _ in 0..ATTEMPTS {
            let found = self.find_marks().await?;
            if found.marks.iter().any(|mark| mark.kid == kid) {
                self.remembered().kids.insert(kid.to_owned());
                return Ok(Replaced::No);
            }
            let (mut marks, mut replaced) = (found.marks, Replaced::No);
            if found.damaged || marks.len() >= MAX_MARKS {
                replaced = Replaced::Yes;
                let remembered = self.remembered();
                marks.retain(|mark| remembered.known.contains(&mark.kid));
                marks.truncate(MAX_MARKS - 1);
            }
            marks.push(Mark { kid: kid.to_owned(), at: Some(now) });
            match self.write_marks(marks, found.version).await {
                Ok(()) => {
                    self.remembered().kids.insert(kid.to_owned());
                    return Ok(replaced);
                }
                Err(KeyringError::Store(StoreError::Conflict { .. })) => {}
                Err(why) => return Err(why),
            }
        }
        Err(KeyringError::Contended)
    }

    /// Removes the marks that the keyring has absorbed. What cannot be removed is in nobody's way.
    pub(crate) async fn tidy_marks(&self, keyring: &Keyring) {
        let Ok(Found { marks, version, damaged: false }) = self.find_marks().await else { return };
        let before = marks.len();
        let open: Vec<Mark> =
            marks.into_iter().filter(|mark| keyring.revocation(&mark.kid).is_none()).collect();
        if open.len() < before {
            let _ = self.write_marks(open, version).await;
        }
    }

    async fn write_marks(&self, marks: Vec<Mark>, version: Option<Version>) -> Result<(), KeyringError> {
        let bytes =
            serde_json::to_vec(&Document { marks }).map_err(|why| KeyringError::Corrupt(why.to_string()))?;
        let expect = version.map_or(Expect::Absent, Expect::Version);
        self.store().put(&document_name(NAME)?, &bytes, expect, None).await?;
        Ok(())
    }
}

/// Whether a document of marks was replaced by one that holds less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// No: everything that was in it still is.
    No,
    /// Yes: it was damaged or too long, and what could not be kept was dropped.
    Yes,
}

impl Keyring {
    /// With these keys revoked, as far as they are there. `None` if none of them is.
    pub(crate) fn absorbing(&self, marked: &BTreeSet<String>, now: Timestamp) -> Option<Self> {
        let mut next = None;
        for kid in marked {
            let before: &Self = next.as_ref().unwrap_or(self);
            if before.find(kid).is_some() {
                next = before.with_revoked(kid, now).ok().flatten().or(next);
            }
        }
        next
    }
}
