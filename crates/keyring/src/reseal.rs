//! Sealing again: every private key under the current sealing key, by one change of the keyring.
//!
//! Nothing is written before all of it was found to open, as it was and as it will be. A new data
//! key, the resealed keys and the tag under the new key are one compare-and-set. Processes that
//! have both keys keep working meanwhile; idempotent. Called by `countersign keys reseal`.

use crate::{
    KeyringError, LoadedKeyring, PrivateHalf, StoredKeyring,
    material::context,
    sealing::{named, prune},
    stored::{Next, SealWith},
};
use countersign_jose::Timestamp;
use std::collections::BTreeSet;

/// What sealing again came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resealed {
    /// The fingerprint of the sealing key that all keys are under now.
    pub sealing_key: String,
    /// How many keys were sealed again.
    pub resealed: usize,
    /// How many were under it already.
    pub unchanged: usize,
    /// How many a service keeps, so that nothing of them is sealed.
    pub remote: usize,
    /// The fingerprints of the sealing keys they were under before.
    pub before: BTreeSet<String>,
}

/// Whether a new data key is made to seal with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKey {
    /// The one that seals now goes on.
    Same,
    /// A new one, from the service that keeps the key it is under.
    New,
}

impl StoredKeyring {
    /// Seals every key again that is not under the current sealing key, and authenticates the
    /// document with it. `None` for a new data key where the sealing key is not one that is made
    /// here.
    pub async fn reseal(&self, data_key: DataKey, now: Timestamp) -> Result<Option<Resealed>, KeyringError> {
        let seal_with = match data_key {
            DataKey::Same => SealWith::Current,
            DataKey::New if !self.sealing().makes_data_keys() => return Ok(None),
            DataKey::New => SealWith::New,
        };
        let mut report = Resealed::default();
        self.add_keys(seal_with, now, |attempt| {
            report = Resealed { sealing_key: attempt.sealing.id().to_owned(), ..Resealed::default() };
            let mut next = attempt.keyring.clone();
            for (name, ring) in &mut next.rings {
                for record in &mut ring.keys {
                    let PrivateHalf::Sealed(sealed) = &record.private else {
                        report.remote += 1;
                        continue;
                    };
                    if sealed.sealed_by() == attempt.sealing.id() {
                        report.unchanged += 1;
                        continue;
                    }
                    let context = context(name, &record.kid, record.algorithm);
                    let about = |why| KeyringError::Seal { kid: record.kid.clone(), why };
                    let secret = attempt.opening.open(sealed, &context).map_err(about)?;
                    report.resealed += 1;
                    report.before.insert(sealed.sealed_by().to_owned());
                    record.private = PrivateHalf::Sealed(attempt.sealing.seal(&secret, &context)?);
                }
            }
            if report.resealed == 0 && attempt.authenticated_by == Some(attempt.sealing.id()) {
                return Ok(Next::Unchanged);
            }
            let named = named(&next);
            prune(&mut next.data_keys, &named);
            let opening = attempt.opening.clone().with(attempt.sealing);
            LoadedKeyring::open(&next, None, &BTreeSet::new(), &opening, self.service())?;
            Ok(Next::To(next))
        })
        .await?;
        Ok(Some(report))
    }
}
