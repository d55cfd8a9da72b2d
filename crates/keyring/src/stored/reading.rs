//! The document as it is read: verified, compared with what this process has seen, opened.
//!
//! Whatever is returned is authentic, and not older than what was seen, but for
//! `load_whatever_is_there`, which the guard asks. Marks of revocation are read first.

use super::StoredKeyring;
use crate::{
    Continuity, Keyring, KeyringError, Known, LoadedKeyring,
    document::{self, Envelope},
    sealing::Sealer,
};
use countersign_store::{Store, Version};
use std::{collections::BTreeSet, fmt, sync::PoisonError};

/// A keyring whose tag was not checked, because the sealing key is not at hand: good for counting,
/// and nothing else.
#[derive(Debug)]
pub struct UnverifiedKeyring {
    /// The fingerprint of the sealing key that is said to authenticate it.
    pub sealing_key: String,
    /// What it says of itself.
    pub keyring: Keyring,
}

/// The document as it was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) keyring: Keyring,
    pub(super) version: Option<Version>,
    /// What authenticates it; `None` where there is no document.
    pub(super) sealer: Option<Sealer>,
    /// Its keys that are marked as revoked and not in its own list yet.
    pub(super) marked: BTreeSet<String>,
}

/// A document that was found authentic.
#[derive(Clone)]
pub(super) struct Verified {
    bytes: Vec<u8>,
    keyring: Keyring,
    sealer: Sealer,
    known: Known,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("known", &self.known.sequence()).finish_non_exhaustive()
    }
}

impl Found {
    /// What is there is not of this format, and is to be replaced as it was read.
    pub(crate) fn of_another_format(version: Version) -> Self {
        Self { version: Some(version), ..Self::default() }
    }
}

impl StoredKeyring {
    /// Whether a store holds a keyring at all.
    pub async fn exists(store: &dyn Store) -> Result<bool, KeyringError> {
        Ok(store.get(&document::name()?).await?.is_some())
    }

    /// The keyring of a store without its sealing key; `None` when none exists.
    pub async fn unverified(store: &dyn Store) -> Result<Option<UnverifiedKeyring>, KeyringError> {
        let Some(document) = store.get(&document::name()?).await? else { return Ok(None) };
        let envelope = Envelope::parse(&document.bytes)?;
        let keyring = envelope.unverified()?;
        Ok(Some(UnverifiedKeyring { sealing_key: envelope.sealing_key, keyring }))
    }

    /// The keyring as it is stored, an empty one when none exists. It is authentic, and not older
    /// than what this process has seen.
    pub async fn read(&self) -> Result<Keyring, KeyringError> {
        Ok(self.find().await?.keyring)
    }

    /// The keyring, opened.
    pub async fn load(&self) -> Result<LoadedKeyring, KeyringError> {
        let found = self.find().await?;
        self.open(found).await
    }

    /// An authentic keyring, opened, whether or not it can come after what was seen.
    pub(super) async fn load_whatever_is_there(&self) -> Result<Option<LoadedKeyring>, KeyringError> {
        let Some(document) = self.store.get(&document::name()?).await? else { return Ok(None) };
        let envelope = Envelope::parse(&document.bytes)?;
        let sealer = self.sealing.authenticating(&envelope).await?;
        let keyring = envelope.verify(&sealer.key)?;
        let (version, sealer, marked) = (Some(document.version), Some(sealer), self.not_to_be_used());
        self.open(Found { keyring, version, sealer, marked }).await.map(Some)
    }

    pub(super) async fn open(&self, found: Found) -> Result<LoadedKeyring, KeyringError> {
        let opening = self.sealing.opening(&found.keyring).await?;
        LoadedKeyring::open(&found.keyring, found.version, &found.marked, &opening, self.service())
    }

    /// The document, verified and compared with what this process has seen, and what is marked of
    /// it.
    ///
    /// The marks are read first: one that is gone by then has been absorbed into what is read after
    /// it.
    pub(crate) async fn find(&self) -> Result<Found, KeyringError> {
        let marks = self.look_at_marks().await;
        let mut found = self.find_document().await?;
        marks?;
        self.knows(&found.keyring);
        found.marked = self.marked();
        found.marked.retain(|kid| found.keyring.find(kid).is_some());
        Ok(found)
    }

    async fn find_document(&self) -> Result<Found, KeyringError> {
        // Before the store is asked: its answer cannot be older than that.
        let known = self.known();
        let Some(document) = self.store.get(&document::name()?).await? else {
            return match Continuity::of(known.as_ref(), None) {
                Continuity::WentBack(why) => Err(KeyringError::WentBack(why)),
                Continuity::First | Continuity::Unchanged | Continuity::Newer => Ok(Found::default()),
            };
        };
        let Verified { keyring, sealer, known: found, .. } = self.verified(document.bytes).await?;
        match Continuity::of(known.as_ref(), Some(&found)) {
            Continuity::WentBack(why) => return Err(KeyringError::WentBack(why)),
            Continuity::First | Continuity::Unchanged | Continuity::Newer => self.remember(found),
        }
        Ok(Found { keyring, version: Some(document.version), sealer: Some(sealer), marked: BTreeSet::new() })
    }

    /// What the bytes of a document say, if they are authentic. The same bytes as before are not
    /// verified twice.
    async fn verified(&self, bytes: Vec<u8>) -> Result<Verified, KeyringError> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last().as_ref().filter(|last| last.bytes == bytes) {
            return Ok(last.clone());
        }
        let envelope = Envelope::parse(&bytes)?;
        let sealer = self.sealing.authenticating(&envelope).await?;
        let keyring = envelope.verify(&sealer.key)?;
        let known = Known::new(&keyring, envelope.content());
        let verified = Verified { bytes, keyring, sealer, known };
        *last() = Some(verified.clone());
        Ok(verified)
    }

    pub(super) fn known(&self) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another task may have seen a newer one meanwhile.
    pub(super) fn remember(&self, found: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| known.sequence() < found.sequence()) {
            *known = Some(found);
        }
    }
}
