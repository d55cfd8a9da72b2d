//! Revocations in the store: read, verified, and changed by compare-and-set.
//!
//! A process remembers the newest document it has read: one that is older, or gone, takes nothing
//! back here. What is in the store without the right tag is an error for a server, which then knows
//! of nothing that it is not revoked; the command line replaces it.

use super::entries::{Began, Entries, Entry, Followed, Full, Known};
use aws_lc_rs::rand;
use countersign_issuer::Issuer;
use countersign_jose::{Timestamp, base64url};
use countersign_keyring::{DocumentTag, StoredKeyring};
use countersign_store::{Expect, Key, Store, StoreError, Version};
use countersign_verifier::RevocationList;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const NAME: &str = "revocations";
const LABEL: &str = "countersign revocations";
const FORMAT: u32 = 1;
const ATTEMPTS: usize = 40;

/// The revocations of one store.
#[derive(Debug, Clone)]
pub struct Revocations {
    store: Arc<dyn Store>,
    keyring: StoredKeyring,
    /// The longest that an access token lives, as far as it was known at the start.
    longest: Duration,
    /// Whose keys say what other configurations have minted.
    issuer: Option<Arc<Issuer>>,
    known: Arc<Mutex<Known>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    format: u32,
    tag: DocumentTag,
    content: Box<RawValue>,
}

/// Why it cannot be known what is revoked, or nothing more can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationsError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sealing key of the document cannot be had.
    #[error("{0}")]
    Keyring(String),
    /// The document is not what this authority wrote.
    #[error(
        "the document `revocations` in the store is not what this authority wrote; `countersign tokens revoke` replaces it"
    )]
    Altered,
    /// There are too many revocations.
    #[error(
        "there is no room for another revocation until some have expired: 2,000 subjects and clients are revoked; end what they all share by revoking its key (`countersign keys revoke`)"
    )]
    Full,
    /// Others come in between all the time.
    #[error("the revocations are changed by too many at once")]
    Contended,
}

/// What was found.
struct Found {
    entries: Entries,
    version: Option<Version>,
    began: Began,
}

/// What to do with a document that cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damaged {
    Refuse,
    Replace,
}

impl Revocations {
    /// Names the store, and what authenticates. `longest` is how long an access token lives at
    /// most, and the skew of clocks.
    pub fn new(store: Arc<dyn Store>, keyring: StoredKeyring, longest: Duration) -> Self {
        Self { store, keyring, longest, issuer: None, known: Arc::default() }
    }

    /// The same for as long as a server runs, in which keys come to sign for longer.
    pub(crate) fn of(self, issuer: Arc<Issuer>) -> Self {
        Self { issuer: Some(issuer), ..self }
    }

    /// Shares what `before` has read, so that revocations that the store has lost since still count.
    pub(crate) fn follow(&mut self, before: &Self) {
        self.known = Arc::clone(&before.known);
    }

    /// The longest that an access token lives which is alive: by this configuration, or by another
    /// one under which a key in use has signed, for what that has minted outlives it.
    pub(crate) fn longest(&self) -> Duration {
        let signed = self.issuer.as_deref().map(Issuer::longest_signed);
        self.longest.max(signed.unwrap_or_default())
    }

    /// What is revoked of access tokens, as it is in the store now.
    ///
    /// # Errors
    ///
    /// If it cannot be known.
    pub async fn list(&self, now: Timestamp) -> Result<RevocationList, RevocationsError> {
        Ok(self.read(Damaged::Refuse, now).await?.entries.list(now))
    }

    /// The same of everything, refresh tokens included.
    pub(crate) async fn whole(&self, now: Timestamp) -> Result<RevocationList, RevocationsError> {
        Ok(self.read(Damaged::Refuse, now).await?.entries.whole(now))
    }

    /// All entries, for people.
    ///
    /// # Errors
    ///
    /// If it cannot be known.
    pub async fn entries(&self, now: Timestamp) -> Result<Vec<Entry>, RevocationsError> {
        let entries = self.read(Damaged::Refuse, now).await?.entries.entries;
        Ok(entries.into_iter().filter(|entry| now < entry.kept).collect())
    }

    /// Revokes.
    ///
    /// # Errors
    ///
    /// If it could not be written; whether it counts is then unknown.
    pub async fn add(&self, entry: &Entry, now: Timestamp) -> Result<(), RevocationsError> {
        self.change(entry, Damaged::Refuse, now).await
    }

    /// The same, in place of a document that cannot be believed.
    ///
    /// # Errors
    ///
    /// As for [`Revocations::add`].
    pub async fn add_or_replace(&self, entry: &Entry, now: Timestamp) -> Result<(), RevocationsError> {
        self.change(entry, Damaged::Replace, now).await
    }

    async fn change(&self, entry: &Entry, damaged: Damaged, now: Timestamp) -> Result<(), RevocationsError> {
        for _ in 0..ATTEMPTS {
            let Found { mut entries, version, began } = self.read(damaged, now).await?;
            if version.is_none() || entries.id.is_empty() {
                entries.id = new_id()?;
            }
            let changed = entries.change(entry, self.longest(), now);
            let (next, dropped) = changed.map_err(|Full| RevocationsError::Full)?;
            if next == entries && version.is_some() {
                return Ok(());
            }
            let expect = version.map_or(Expect::Absent, Expect::Version);
            match self.store.put(&name()?, &self.bytes(&next)?, expect, None).await {
                Ok(_) => {
                    let longest = self.longest();
                    self.lock().with(next, &began, longest, now);
                    if dropped > 0 {
                        tracing::warn!(
                            dropped,
                            "a public client has revoked more tokens one by one than there is room for, so the oldest of them are good again until they expire; revoke a subject (`countersign tokens revoke --subject`), or let its access tokens live shorter"
                        );
                    }
                    return Ok(());
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(why) => return Err(why.into()),
            }
        }
        Err(RevocationsError::Contended)
    }

    async fn read(&self, damaged: Damaged, now: Timestamp) -> Result<Found, RevocationsError> {
        // Others write meanwhile, and what they have written may be known here before this read
        // ends.
        let began = self.lock().begin();
        let Some(document) = self.store.get(&name()?).await? else {
            let entries = self.remember(Entries::default(), &began, now);
            return Ok(Found { entries, version: None, began });
        };
        let entries = match self.verified(&document.bytes).await {
            Err(RevocationsError::Altered) if damaged == Damaged::Replace => Entries::default(),
            other => other?,
        };
        let entries = self.remember(entries, &began, now);
        Ok(Found { entries, version: Some(document.version), began })
    }

    async fn verified(&self, bytes: &[u8]) -> Result<Entries, RevocationsError> {
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(|_| RevocationsError::Altered)?;
        let content = envelope.content.get();
        let authentic = self.keyring.authenticates(LABEL, FORMAT, content.as_bytes(), &envelope.tag).await;
        let authentic = authentic.map_err(|why| RevocationsError::Keyring(why.to_string()))?;
        if envelope.format != FORMAT || !authentic {
            return Err(RevocationsError::Altered);
        }
        serde_json::from_str(content).map_err(|_| RevocationsError::Altered)
    }

    fn bytes(&self, entries: &Entries) -> Result<Vec<u8>, RevocationsError> {
        let unwritable = |_| RevocationsError::Altered;
        let content = serde_json::value::to_raw_value(entries).map_err(unwritable)?;
        let tag = self.keyring.tag(LABEL, FORMAT, content.get().as_bytes());
        let tag = tag.map_err(|why| RevocationsError::Keyring(why.to_string()))?;
        serde_json::to_vec(&Envelope { format: FORMAT, tag, content }).map_err(unwritable)
    }

    /// What was read, with what is known here beside it.
    fn remember(&self, entries: Entries, began: &Began, now: Timestamp) -> Entries {
        let longest = self.longest();
        let (together, followed) = self.lock().with(entries, began, longest, now);
        if let Followed::No { forgotten } = followed {
            tracing::error!(
                "the revocations in the store are older than those that this process has read there, or others; what was revoked stays so here"
            );
            if forgotten > 0 {
                tracing::error!(
                    forgotten,
                    "so many revocations were lost that some found no room in the list; revoke the keys that signed the tokens (`countersign keys revoke`)"
                );
            }
        }
        together
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_id() -> Result<String, RevocationsError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes)
        .map_err(|_| RevocationsError::Keyring("the operating system gives no random numbers".to_owned()))?;
    Ok(base64url::encode(&bytes))
}

fn name() -> Result<Key, StoreError> {
    let misnamed = |why: countersign_store::KeyError| StoreError::Misconfigured {
        place: NAME.to_owned(),
        reason: why.to_string(),
    };
    Key::parse(NAME).map_err(misnamed)
}

#[cfg(test)]
mod tests;
