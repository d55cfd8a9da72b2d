//! Keys to mint with, and what becomes of them at each look at the store.
//!
//! A key says for how long its tokens need it before a token is minted, and what cannot come after
//! the keys at hand does not take any of them away. What was revoked anywhere is not used.

use super::{ATTEMPTS, Change, StoredKeyring, reading::Found};
use crate::{KeyringError, LoadedKeyring, Needs, continuity::WentBack, marks::Looked};
use countersign_jose::Timestamp;
use std::{sync::PoisonError, time::Duration};

/// What a look at the store came to.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// The keys to use from now on, where they are others than those at hand.
    pub keys: Option<LoadedKeyring>,
    /// Why the keyring cannot be used as it is in the store. The keys at hand stay in use, without
    /// those that are marked as revoked.
    pub problem: Option<KeyringError>,
    /// The document of marks is damaged. Marks that were seen before still count.
    pub marks_damaged: bool,
}

impl StoredKeyring {
    /// The keyring opened to mint tokens that need its keys for as long as `needs` says.
    pub async fn load_to_mint(&self, needs: &Needs, now: Timestamp) -> Result<LoadedKeyring, KeyringError> {
        let found = self.find_with_needs(needs, now).await?;
        self.open(found).await
    }

    /// The keyring opened anew, to mint tokens that need its keys for as long as `needs` says, if
    /// it is not the one at hand any more. An error leaves the keys at hand in use.
    pub async fn reload(&self, known: &LoadedKeyring, needs: &Needs, now: Timestamp) -> Reloaded {
        let outcome = match self.newer_than(known, needs, now).await {
            Ok(keys) => (keys, None),
            Err(problem) => (None, Some(problem)),
        };
        self.without_revoked_keys(known, outcome).await
    }

    /// The same for a server that has served `known`, which was read at `last_read`, and whose
    /// clock may differ from those of others by `skew`. Where the store went back, what is returned
    /// is the keys of both, and the problem says in which way.
    pub async fn reload_since(
        &self,
        known: &LoadedKeyring,
        needs: &Needs,
        last_read: Timestamp,
        skew: Duration,
        now: Timestamp,
    ) -> Reloaded {
        let before = self.known();
        let outcome = match self.newer_than(known, needs, now).await {
            Ok(Some(found)) => {
                let losses = known.records().losses(found.records(), last_read, skew, now);
                if losses.is_empty() {
                    (Some(found), None)
                } else {
                    // Whatever its number is, it does not come after what was seen.
                    *self.known.lock().unwrap_or_else(PoisonError::into_inner) = before;
                    let problem = Some(KeyringError::WentBack(WentBack::Lost(losses)));
                    (Some(known.together_with(&found)), problem)
                }
            }
            Ok(None) => (None, None),
            Err(KeyringError::WentBack(why)) => {
                let together = match self.load_whatever_is_there().await {
                    Ok(Some(found)) => known.together_with(&found),
                    // Nothing, or nothing that can be used.
                    Ok(None) | Err(_) => known.clone(),
                };
                (Some(together), Some(KeyringError::WentBack(why)))
            }
            Err(problem) => (None, Some(problem)),
        };
        self.without_revoked_keys(known, outcome).await
    }

    /// A mark counts, and so does a revocation that was read, whatever is wrong with the keyring.
    async fn without_revoked_keys(
        &self,
        known: &LoadedKeyring,
        (keys, problem): (Option<LoadedKeyring>, Option<KeyringError>),
    ) -> Reloaded {
        let marks = self.look_at_marks().await;
        let revoked = self.not_to_be_used();
        let keys = match keys {
            Some(keys) => Some(keys.without(&revoked).unwrap_or(keys)),
            None => known.without(&revoked),
        };
        let marks_damaged = matches!(marks, Ok(Looked { damaged: true }));
        Reloaded { keys, problem: problem.or(marks.err()), marks_damaged }
    }

    async fn newer_than(
        &self,
        known: &LoadedKeyring,
        needs: &Needs,
        now: Timestamp,
    ) -> Result<Option<LoadedKeyring>, KeyringError> {
        let found = self.find_with_needs(needs, now).await?;
        if found.version.as_ref() == known.version() {
            return Ok(known.without(&found.marked));
        }
        if known.records().has_the_keys_of(&found.keyring) {
            // Only observations have changed; no private key is opened for that.
            let keys = known.with_records(found.keyring, found.version);
            return Ok(Some(keys.without(&found.marked).unwrap_or(keys)));
        }
        self.open(found).await.map(Some)
    }

    /// The document once it has absorbed the marks, as far as that can be written, and says of
    /// every active key for how long it is needed. Another process may activate another key in
    /// between, so what is returned is what was looked at.
    async fn find_with_needs(&self, needs: &Needs, now: Timestamp) -> Result<Found, KeyringError> {
        for _ in 0..ATTEMPTS {
            let mut found = self.find().await?;
            if !found.marked.is_empty() && self.absorb(now).await.is_ok() {
                found = self.find().await?;
            }
            if found.keyring.has_needs(needs) {
                return Ok(found);
            }
            self.note_needs(needs, now).await?;
        }
        Err(KeyringError::Contended)
    }

    /// Takes the marks of revocation over into the keyring, from where nobody without the sealing
    /// key removes them.
    pub async fn absorb(&self, now: Timestamp) -> Result<Change, KeyringError> {
        self.change_states(now, |_| Ok(None)).await
    }
}
