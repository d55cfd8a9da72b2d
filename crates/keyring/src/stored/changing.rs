//! The only code that writes the document: read, apply a pure function, put with the version that
//! was read, again on conflict.
//!
//! `change_states` needs no key material; `add_keys` opens everything first, and makes a key once,
//! however often it is tried.

use super::{ATTEMPTS, KeyPlace, RingSpec, StoredKeyring, reading::Found};
use crate::{
    Certificate, Keyring, KeyringError, Known, LoadedKeyring, NewKey, Outcome, RingName, SealingKey,
    UnsignedCertificate,
    document::{self, Envelope},
    loaded::OpenedKey,
    material::Material,
    sealing::{MadeDataKey, Opening, Sealer},
};
use countersign_jose::{KeyError, Timestamp, base64url};
use countersign_store::{Expect, StoreError};
use std::{collections::BTreeSet, sync::Arc};

/// What became of a change that somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is made.
    Made,
    /// It was so already, and nothing was written.
    AlreadySo,
}

impl Change {
    /// Whether it was made now.
    pub const fn was_made(self) -> bool {
        matches!(self, Self::Made)
    }
}

/// One attempt to add keys: the keyring it is to be applied to, and what there is to do it with.
pub(crate) struct Attempt<'a> {
    pub(crate) keyring: &'a Keyring,
    /// What new keys are sealed with.
    pub(crate) sealing: &'a Arc<SealingKey>,
    /// The fingerprint of the sealing key that authenticates the document, where there is one.
    pub(crate) authenticated_by: Option<&'a str>,
    /// What opens the keys that are there.
    pub(crate) opening: &'a Opening,
    /// The key that an earlier attempt said it needs.
    pub(crate) made: Option<&'a NewKey>,
}

/// What a change comes to.
pub(crate) enum Next {
    /// Nothing is to be done.
    Unchanged,
    /// This is to be written.
    To(Keyring),
    /// A new key is needed first; the change is then attempted again.
    Needs(RingSpec),
}

impl From<Option<Keyring>> for Next {
    fn from(next: Option<Keyring>) -> Self {
        next.map_or(Self::Unchanged, Self::To)
    }
}

/// What became of the document.
enum Written {
    /// It is as it was before.
    No,
    /// It is this one.
    Yes(Keyring),
    /// The store failed while it was written.
    Unknown,
}

/// What keys are made and sealed with, across the attempts of one change.
#[derive(Default)]
struct Made {
    key: Option<Material>,
    ring: Option<RingName>,
    data_key: Option<MadeDataKey>,
}

/// Which data key a change is sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealWith {
    /// The one that seals now.
    Current,
    /// A new one.
    New,
}

impl StoredKeyring {
    /// Applies a pure change of states by compare-and-set, again on the newer document when
    /// somebody else was first. Marks of revocation are absorbed on the way. Opens no private key
    /// and asks no service.
    pub(crate) async fn change_states(
        &self,
        now: Timestamp,
        mut step: impl FnMut(&Keyring) -> Result<Option<Keyring>, KeyringError>,
    ) -> Result<Change, KeyringError> {
        for _ in 0..ATTEMPTS {
            let found = self.find().await?;
            let absorbed = found.keyring.absorbing(&found.marked, now);
            let next = step(absorbed.as_ref().unwrap_or(&found.keyring))?;
            let Some(next) = next.or(absorbed) else { return Ok(Change::AlreadySo) };
            let sealer = match &found.sealer {
                Some(before) => self.sealing.at_hand(&found.keyring, before),
                None => self.sealing.sealer(&found.keyring, &mut None).await?,
            };
            if self.write(&found, next, &sealer).await?.is_some() {
                return Ok(Change::Made);
            }
        }
        Err(KeyringError::Contended)
    }

    /// Applies a pure change that adds or seals keys by compare-and-set, again on the newer
    /// document when somebody else was first. A key that the change needs is made once, however
    /// often it is tried.
    pub(crate) async fn add_keys(
        &self,
        seal_with: SealWith,
        now: Timestamp,
        step: impl FnMut(Attempt<'_>) -> Result<Next, KeyringError>,
    ) -> Result<Change, KeyringError> {
        let (mut made, mut written) = (Made::default(), Written::No);
        let outcome = self.attempts(seal_with, now, step, &mut made, &mut written).await;
        let unused = made.key.as_ref().filter(|made| match &written {
            Written::No => true,
            Written::Yes(keyring) => keyring.find(&made.kid).is_none(),
            // It may be in use.
            Written::Unknown => false,
        });
        if let (Some(name), Some(service)) = (unused.and_then(Material::remote_name), self.service()) {
            // Another process made the key that was needed, or none could. What cannot be discarded
            // is the service's to report; the change is what it is.
            let _ = service.discard(name).await;
        }
        outcome
    }

    async fn attempts(
        &self,
        seal_with: SealWith,
        now: Timestamp,
        mut step: impl FnMut(Attempt<'_>) -> Result<Next, KeyringError>,
        made: &mut Made,
        written: &mut Written,
    ) -> Result<Change, KeyringError> {
        for _ in 0..ATTEMPTS {
            let found = self.find().await?;
            let keyring = found.keyring.absorbing(&found.marked, now).unwrap_or(found.keyring.clone());
            let opening = self.sealing.opening(&keyring).await?;
            LoadedKeyring::open(&keyring, None, &BTreeSet::new(), &opening, self.service())?;
            let renewed = match seal_with {
                SealWith::Current => None,
                SealWith::New => self.sealing.renewed(&mut made.data_key).await?,
            };
            let sealer = match renewed {
                Some(sealer) => sealer,
                None => self.sealing.sealer(&found.keyring, &mut made.data_key).await?,
            };
            let keyring = keyring.with_data_key(&sealer);
            let new = match (&made.key, &made.ring) {
                (Some(key), Some(ring)) => Some(key.sealed(ring, &sealer.key)?),
                _ => None,
            };
            let attempt = Attempt {
                keyring: &keyring,
                sealing: &sealer.key,
                authenticated_by: found.sealer.as_ref().map(|sealer| sealer.key.id()),
                opening: &opening,
                made: new.as_ref(),
            };
            let mut next = match step(attempt)? {
                Next::Unchanged => return Ok(Change::AlreadySo),
                Next::To(next) => next,
                Next::Needs(spec) => {
                    made.key = Some(self.make(&spec).await?);
                    made.ring = Some(spec.name);
                    continue;
                }
            };
            self.certify(&mut next, &opening.with(&sealer.key)).await?;
            *written = Written::Unknown;
            match self.write(&found, next, &sealer).await {
                Ok(Some(keyring)) => {
                    *written = Written::Yes(keyring);
                    if sealer.record.is_some() {
                        self.sealing.hold_current(&sealer.key);
                    }
                    return Ok(Change::Made);
                }
                Ok(None) => *written = Written::No,
                Err(why) => return Err(why),
            }
        }
        Err(KeyringError::Contended)
    }

    /// Writes the document that comes after `found`. `None` when somebody else's came first.
    pub(crate) async fn write(
        &self,
        found: &Found,
        next: Keyring,
        sealer: &Sealer,
    ) -> Result<Option<Keyring>, KeyringError> {
        let next = next.after(&found.keyring)?;
        let written = Envelope::write(&next, &sealer.key, sealer.record.clone())?;
        let expect = found.version.clone().map_or(Expect::Absent, Expect::Version);
        let put = self.store.put(&document::name()?, &written.bytes, expect, None).await;
        match &put {
            Ok(_) => self.record(&found.keyring, &next, Outcome::Made),
            Err(StoreError::Unavailable { .. }) => self.record(&found.keyring, &next, Outcome::Unknown),
            Err(_) => {}
        }
        match put {
            Ok(_) => {
                self.remember(Known::new(&next, written.envelope.content()));
                self.knows(&next);
                if !found.marked.is_empty() {
                    self.tidy_marks(&next).await;
                }
                Ok(Some(next))
            }
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    fn record(&self, before: &Keyring, after: &Keyring, outcome: Outcome) {
        let Some(journal) = self.journal() else { return };
        for change in after.changes_since(before) {
            journal.changed(&change, outcome);
        }
    }

    async fn make(&self, spec: &RingSpec) -> Result<Material, KeyringError> {
        match (spec.place, self.service()) {
            (KeyPlace::Here, _) => Material::generated(spec),
            (KeyPlace::Service, Some(service)) => Material::created(spec, service.as_ref()).await,
            (KeyPlace::Service, None) => {
                Err(KeyringError::Service(crate::ServiceError::Misconfigured(format!(
                    "ring {} is to have its keys there, and this program was built without it",
                    spec.name
                ))))
            }
        }
    }

    /// Gives every key that has none its certificate. It is kept from then on.
    pub(crate) async fn certify(&self, keyring: &mut Keyring, opening: &Opening) -> Result<(), KeyringError> {
        for (name, ring) in &mut keyring.rings {
            for record in ring.keys.iter_mut().filter(|record| record.certificate.is_none()) {
                let Some(public) = record.public_jwk() else { continue };
                let key = OpenedKey::open(name, record, opening, self.service())?;
                let about = |why| KeyringError::Certificate { kid: record.kid.clone(), why };
                let unsigned =
                    UnsignedCertificate::new(&public, record.created_at, random()?).map_err(about)?;
                let signature = key.sign_bytes(unsigned.to_be_signed()).await?;
                let certificate: Certificate = unsigned.finish(&signature).map_err(about)?;
                record.certificate = Some(certificate);
            }
        }
        Ok(())
    }
}

impl Keyring {
    /// This keyring as the one that comes after `before`.
    fn after(mut self, before: &Self) -> Result<Self, KeyringError> {
        self.id = if before.is_stored() { before.id.clone() } else { base64url::encode(&random()?) };
        // Accepting a loss has lifted it above what running servers saw.
        self.sequence = before.sequence.max(self.sequence).saturating_add(1);
        self.keys_sequence = if self.has_the_keys_of(before) { before.keys_sequence } else { self.sequence };
        Ok(self)
    }

    /// With the data key that seals, if it is one and is not there yet.
    pub(crate) fn with_data_key(&self, sealer: &Sealer) -> Self {
        let mut next = self.clone();
        if let Some(record) =
            sealer.record.as_ref().filter(|new| !next.data_keys.iter().any(|k| k.id == new.id))
        {
            next.data_keys.push(record.clone());
        }
        next
    }
}

fn random() -> Result<[u8; 16], KeyError> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| KeyError::Crypto)?;
    Ok(random)
}
