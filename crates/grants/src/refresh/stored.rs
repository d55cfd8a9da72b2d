//! Families in the store: found, turned by compare-and-set, and taken away whole.
//!
//! A document is believed if its tag is right, which the sealing key alone can make: nobody who can
//! only write to the store can grant himself a family. A turn is one `put` of what was read: of any
//! number of requests at once one turns, and the others find what it has written. An answer that
//! was lost, or a process that died after the write, leaves a family in which the client's next try
//! is inside the grace window.

use super::{
    error::RefreshError,
    family::{Family, Granting, RefreshLimits, Worth},
    token::{FamilyId, FamilySecret, RefreshToken},
};
use crate::{error::TokenError, exchange::ExchangeRule};
use countersign_jose::Timestamp;
use countersign_keyring::{DocumentTag, StoredKeyring};
use countersign_store::{Expect, Key, Store, StoreError, Version};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

const LABEL: &str = "countersign refresh family";
/// Of what its tokens were believed by.
const TRUST_LABEL: &str = "countersign refresh trust";
const FORMAT: u32 = 1;
/// How often a change is tried again after somebody else's came in between.
const ATTEMPTS: usize = 20;

/// The families of one store.
#[derive(Debug, Clone)]
pub(crate) struct Families {
    store: Arc<dyn Store>,
    keyring: StoredKeyring,
    limits: RefreshLimits,
}

/// The document as it is stored: a tag around the JSON text of the family.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    format: u32,
    tag: DocumentTag,
    content: Box<RawValue>,
}

/// A family as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) family: Family,
    version: Version,
}

/// What a token that is shown leads to.
pub(crate) enum Looked {
    /// It is worth something.
    Worth(Found),
    /// It was used before, so its family is to end.
    Replay(Found),
}

/// A family that is not written yet, and its first token.
pub(crate) struct Begun {
    family: Family,
    token: RefreshToken,
}

impl Begun {
    pub(crate) fn new(granting: Granting, now: Timestamp) -> Result<Self, RefreshError> {
        let (family, token) = Family::begin(granting, now)?;
        Ok(Self { family, token })
    }

    /// The family's name.
    pub(crate) fn family(&self) -> FamilyId {
        self.family.id
    }
}

impl Families {
    pub(crate) fn new(store: Arc<dyn Store>, keyring: StoredKeyring, limits: RefreshLimits) -> Self {
        Self { store, keyring, limits }
    }

    /// What a family remembers of what its token was believed by. That may have shared secrets in
    /// it, on which nobody who reads the store is to try words: so it is a tag, which the sealing
    /// key alone can make.
    pub(crate) fn remembered(&self, trust: &str) -> Result<String, RefreshError> {
        let tag = self.keyring.tag(TRUST_LABEL, FORMAT, trust.as_bytes());
        let tag = tag.map_err(|why| RefreshError::Keyring(why.to_string()))?;
        serde_json::to_string(&tag).map_err(|_| RefreshError::Altered)
    }

    /// Whether that is what a family remembers. What families of earlier versions do is nothing
    /// that is believed now.
    pub(crate) async fn remembers(&self, remembered: &str, trust: &str) -> Result<bool, RefreshError> {
        let Ok(tag) = serde_json::from_str::<DocumentTag>(remembered) else { return Ok(false) };
        let known = self.keyring.authenticates(TRUST_LABEL, FORMAT, trust.as_bytes(), &tag).await;
        known.map_err(|why| RefreshError::Keyring(why.to_string()))
    }

    /// The same family with tags by the key that seals now, so that they last as long as the family
    /// does.
    pub(crate) fn renewed(
        &self,
        mut found: Found,
        rule: &ExchangeRule,
        actor: Option<&ExchangeRule>,
    ) -> Result<Found, RefreshError> {
        found.family.granting.trust = self.remembered(rule.trust())?;
        found.family.granting.actor_trust = actor.map(|actor| self.remembered(actor.trust())).transpose()?;
        Ok(found)
    }

    /// Writes a family that was begun; its first token.
    pub(crate) async fn begin(&self, begun: Begun) -> Result<RefreshToken, RefreshError> {
        self.write(&begun.family, Expect::Absent).await?;
        Ok(begun.token)
    }

    /// The family of a token that `client` shows, if the token is worth something. A replay ends
    /// it.
    pub(crate) async fn find(
        &self,
        client: &str,
        token: &RefreshToken,
        now: Timestamp,
    ) -> Result<Found, RefreshError> {
        for _ in 0..ATTEMPTS {
            match self.look(client, token, now).await? {
                Looked::Worth(found) => return Ok(found),
                Looked::Replay(found) => match self.remove(&found).await {
                    Ok(()) => return Err(RefreshError::replayed(&found.family, token, now)),
                    // It has turned meanwhile; the next look says the same of this token.
                    Err(RefreshError::Store(StoreError::Conflict { .. })) => {}
                    Err(why) => return Err(why),
                },
            }
        }
        Err(RefreshError::Contended)
    }

    /// The same, and nothing ends yet.
    pub(crate) async fn look(
        &self,
        client: &str,
        token: &RefreshToken,
        now: Timestamp,
    ) -> Result<Looked, RefreshError> {
        let found = self.read(token.family).await?.ok_or(RefreshError::Unknown)?;
        // Before anything else: nothing happens to the family of another client.
        if found.family.granting.client != client {
            return Err(RefreshError::OtherClient);
        }
        match found.family.worth(token, &self.limits, now) {
            Worth::Turn | Worth::Successor(_) => Ok(Looked::Worth(found)),
            Worth::Replay => Ok(Looked::Replay(found)),
            Worth::Nothing => Err(RefreshError::Unknown),
            Worth::Ended => Err(RefreshError::Ended),
        }
    }

    /// Turns a family that was found: the successor of the token, which is the same for everybody
    /// who shows it.
    pub(crate) async fn turn(
        &self,
        found: Found,
        token: &RefreshToken,
        now: Timestamp,
    ) -> Result<RefreshToken, RefreshError> {
        let (client, mut found) = (found.family.granting.client.clone(), found);
        for _ in 0..ATTEMPTS {
            if let Worth::Successor(successor) = found.family.worth(token, &self.limits, now) {
                return Ok(successor);
            }
            let seed = FamilySecret::random()?;
            let (next, successor) = found.family.turned(token, seed, &self.limits, now)?;
            match self.write(&next, Expect::Version(found.version)).await {
                Ok(()) => return Ok(successor),
                Err(RefreshError::Store(StoreError::Conflict { .. })) => {}
                Err(why) => return Err(why),
            }
            found = self.find(&client, token, now).await?;
        }
        Err(RefreshError::Contended)
    }

    /// The family of a genuine token of `client`, whatever it is worth; `None` if it does not exist
    /// any more.
    pub(crate) async fn of(&self, client: &str, token: &RefreshToken) -> Result<Option<Found>, TokenError> {
        let Some(found) = self.read(token.family).await? else { return Ok(None) };
        if !found.family.made(token) {
            return Ok(None);
        }
        if found.family.granting.client != client {
            return Err(TokenError::NotYours);
        }
        Ok(Some(found))
    }

    /// Ends a family, whatever becomes of it meanwhile.
    pub(crate) async fn end(&self, found: Found) -> Result<(), RefreshError> {
        let (id, mut found) = (found.family.id, found);
        for _ in 0..ATTEMPTS {
            match self.remove(&found).await {
                Err(RefreshError::Store(StoreError::Conflict { .. })) => {}
                other => return other,
            }
            let Some(newer) = self.read(id).await? else { return Ok(()) };
            found = newer;
        }
        Err(RefreshError::Contended)
    }

    /// The family of a token as it is stored, for the suite.
    #[cfg(feature = "conformance")]
    pub(crate) async fn peek(&self, token: &RefreshToken) -> Result<Option<Found>, RefreshError> {
        self.read(token.family).await
    }

    async fn read(&self, id: FamilyId) -> Result<Option<Found>, RefreshError> {
        let Some(document) = self.store.get(&name(id)?).await? else { return Ok(None) };
        let envelope: Envelope =
            serde_json::from_slice(&document.bytes).map_err(|_| RefreshError::Altered)?;
        let content = envelope.content.get();
        let authentic = self.keyring.authenticates(LABEL, FORMAT, content.as_bytes(), &envelope.tag).await;
        if envelope.format != FORMAT || !authentic.map_err(|why| RefreshError::Keyring(why.to_string()))? {
            return Err(RefreshError::Altered);
        }
        let family: Family = serde_json::from_str(content).map_err(|_| RefreshError::Altered)?;
        // A document that is authentic under another name is another family's.
        if family.id != id {
            return Err(RefreshError::Altered);
        }
        Ok(Some(Found { family, version: document.version }))
    }

    async fn write(&self, family: &Family, expect: Expect) -> Result<(), RefreshError> {
        let unwritable = |_| RefreshError::Altered;
        let content = serde_json::value::to_raw_value(family).map_err(unwritable)?;
        let tag = self.keyring.tag(LABEL, FORMAT, content.get().as_bytes());
        let tag = tag.map_err(|why| RefreshError::Keyring(why.to_string()))?;
        let bytes = serde_json::to_vec(&Envelope { format: FORMAT, tag, content }).map_err(unwritable)?;
        // By the clock of the store, which may be ahead.
        let ends = family.ends(&self.limits).plus(self.limits.skew);
        self.store.put(&name(family.id)?, &bytes, expect, Some(ends)).await?;
        Ok(())
    }

    async fn remove(&self, found: &Found) -> Result<(), RefreshError> {
        self.store.delete(&name(found.family.id)?, &found.version).await?;
        Ok(())
    }
}

fn name(id: FamilyId) -> Result<Key, RefreshError> {
    Key::parse(&format!("refresh/{id}")).map_err(|_| RefreshError::Altered)
}
