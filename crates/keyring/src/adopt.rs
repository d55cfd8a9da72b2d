//! Taking over a keyring of a format that was not authenticated (1 to 4): shown first, then taken
//! as it was shown.
//!
//! In those formats anyone who could write to the store could change states, times and certificates
//! and add keys of a service. No program can tell whether somebody did, so an operator looks at
//! every key and names the digest of what was shown; the digest is over the exact bytes of the
//! documents. Everything must open, and a key of a service must have there the public half that is
//! stored. Observations are not taken over: keys are seen anew. Called by `countersign keys adopt`.
//! Pinned by tests/adopt.rs and tests/e2e/test_adopt.py.

use crate::{
    Certificate, KeyOrigin, KeyRecord, KeyState, Keyring, KeyringError, LoadedKeyring, Needs, PrivateHalf,
    RevokedKey, Ring, RingName, StoredKeyring,
    document::{document_name, name},
    sealing::DataKeyRecord,
    stored::Found,
};
use aws_lc_rs::digest;
use countersign_jose::{Algorithm, Timestamp, hex};
use countersign_store::{Document, Store};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Where formats 3 and 4 kept data keys.
const DATA_KEYS: &str = "keyring-data-keys";
/// Where they kept what was seen in public.
const OBSERVATIONS: &str = "keyring-observations";

/// A keyring that may be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoptable {
    /// The format it is in.
    pub format: u64,
    /// SHA-256 of what is stored, in hexadecimal.
    pub digest: String,
    /// Its keys, ring by ring.
    pub keys: Vec<AdoptableKey>,
}

/// A key that may be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptableKey {
    /// The ring it is in.
    pub ring: RingName,
    /// Its name.
    pub kid: String,
    /// The algorithm it signs with.
    pub algorithm: Algorithm,
    /// The word for its state.
    pub state: &'static str,
    /// When it is said to have come into the keyring.
    pub created_at: Timestamp,
    /// The ARN, where a service keeps its private half.
    pub remote_name: Option<String>,
    /// The fingerprint of the sealing key, where it is sealed.
    pub sealed_by: Option<String>,
    /// The thumbprint of its certificate, if it has one.
    pub certificate: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldKeyring {
    format: u64,
    rings: BTreeMap<RingName, OldRing>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldRing {
    keys: Vec<OldRecord>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldRecord {
    kid: String,
    algorithm: Algorithm,
    state: OldState,
    origin: KeyOrigin,
    created_at: Timestamp,
    published_at: Option<Timestamp>,
    activated_at: Option<Timestamp>,
    retired_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    public: Option<serde_json::Value>,
    certificate: Option<Certificate>,
    private: PrivateHalf,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OldState {
    Prepared,
    Published,
    Active,
    Retired,
    Revoked,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldDataKeys {
    #[expect(dead_code, reason = "there was only one format of it")]
    format: u32,
    keys: Vec<DataKeyRecord>,
}

/// The documents of an older format.
struct Old {
    keyring: Document,
    data_keys: Option<Document>,
}

impl StoredKeyring {
    /// What there is to take over; `None` where the keyring is authenticated already, or none
    /// exists.
    pub async fn adoptable(&self) -> Result<Option<Adoptable>, KeyringError> {
        match Old::read(self.store()).await? {
            Some(old) => old.shown().map(Some),
            None => Ok(None),
        }
    }

    /// Takes over what has this digest. `keep_after` says how long after it stopped signing a key
    /// of each ring is needed, as the older formats did not. Returns what was taken over, or `None`
    /// where there is nothing to.
    pub async fn adopt(
        &self,
        digest: &str,
        keep_after: &Needs,
        now: Timestamp,
    ) -> Result<Option<Adoptable>, KeyringError> {
        let Some(old) = Old::read(self.store()).await? else { return Ok(None) };
        let shown = old.shown()?;
        if shown.digest != digest {
            return Err(KeyringError::OtherDigest { given: digest.to_owned() });
        }
        let mut keyring = old.keyring(keep_after, now)?;
        let opening = self.sealing().opening(&keyring).await?;
        LoadedKeyring::open(&keyring, None, &BTreeSet::new(), &opening, self.service())?;
        self.check_remote_keys(&keyring).await?;
        self.certify(&mut keyring, &opening).await?;
        let mut made = None;
        let sealer = self.sealing().sealer(&keyring, &mut made).await?;
        let found = Found::of_another_format(old.keyring.version.clone());
        if self.write(&found, keyring.with_data_key(&sealer), &sealer).await?.is_none() {
            return Err(KeyringError::Contended);
        }
        // Nobody reads them any more; what cannot be deleted is in nobody's way.
        for document in [DATA_KEYS, OBSERVATIONS] {
            let document = document_name(document)?;
            if let Ok(Some(found)) = self.store().get(&document).await {
                let _ = self.store().delete(&document, &found.version).await;
            }
        }
        Ok(Some(shown))
    }

    /// The service has the same public halves as the document.
    async fn check_remote_keys(&self, keyring: &Keyring) -> Result<(), KeyringError> {
        for (_, record) in keyring.records() {
            let (Some(name), Some(service)) = (record.remote_name(), self.service()) else { continue };
            let there = service.describe(name, record.algorithm).await?;
            if Some(&there.public) != record.public_key().as_ref() {
                let kid = &record.kid;
                return Err(KeyringError::Corrupt(format!(
                    "key {kid:?} has another public half in the keyring than {name}"
                )));
            }
        }
        Ok(())
    }
}

impl Old {
    async fn read(store: &dyn Store) -> Result<Option<Self>, KeyringError> {
        let Some(keyring) = store.get(&name()?).await? else { return Ok(None) };
        match crate::document::Envelope::parse(&keyring.bytes) {
            Err(KeyringError::OldFormat { .. }) => {}
            Ok(_) => return Ok(None),
            Err(why) => return Err(why),
        }
        let data_keys = store.get(&document_name(DATA_KEYS)?).await?;
        Ok(Some(Self { keyring, data_keys }))
    }

    fn digest(&self) -> String {
        let mut hash = digest::Context::new(&digest::SHA256);
        for bytes in [Some(&self.keyring), self.data_keys.as_ref()].into_iter().flatten().map(|d| &d.bytes) {
            hash.update(&(bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
        hex(hash.finish().as_ref())
    }

    fn parsed(&self) -> Result<OldKeyring, KeyringError> {
        serde_json::from_slice(&self.keyring.bytes).map_err(|why| not_what_it_says("keyring", &why))
    }

    fn shown(&self) -> Result<Adoptable, KeyringError> {
        let old = self.parsed()?;
        let keys = old.rings.iter().flat_map(|(ring, keys)| {
            keys.keys.iter().map(|key| AdoptableKey {
                ring: ring.clone(),
                kid: key.kid.clone(),
                algorithm: key.algorithm,
                state: key.state.name(),
                created_at: key.created_at,
                remote_name: match &key.private {
                    PrivateHalf::Remote(name) => Some(name.as_str().to_owned()),
                    PrivateHalf::Sealed(_) => None,
                },
                sealed_by: match &key.private {
                    PrivateHalf::Sealed(sealed) => Some(sealed.sealed_by().to_owned()),
                    PrivateHalf::Remote(_) => None,
                },
                certificate: key.certificate.as_ref().map(Certificate::thumbprint),
            })
        });
        Ok(Adoptable { format: old.format, digest: self.digest(), keys: keys.collect() })
    }

    fn keyring(&self, keep_after: &Needs, now: Timestamp) -> Result<Keyring, KeyringError> {
        let mut keyring = Keyring::default();
        if let Some(document) = &self.data_keys {
            let keys: OldDataKeys =
                serde_json::from_slice(&document.bytes).map_err(|why| not_what_it_says(DATA_KEYS, &why))?;
            keyring.data_keys = keys.keys;
        }
        for (name, ring) in self.parsed()?.rings {
            let keep_after = keep_after.get(&name).copied().unwrap_or_default();
            let mut next = Ring::default();
            for key in ring.keys {
                match key.state.living() {
                    Some(state) => next.keys.push(key.record(state, keep_after)),
                    None => keyring.revoked.push(key.revoked(&name, now)),
                }
            }
            keyring.rings.insert(name, next);
        }
        keyring.revoked.sort_by_key(|key| key.revoked_at);
        Ok(keyring)
    }
}

impl OldState {
    const fn name(self) -> &'static str {
        match self.living() {
            Some(state) => state.name(),
            None => "revoked",
        }
    }

    const fn living(self) -> Option<KeyState> {
        match self {
            Self::Prepared => Some(KeyState::Prepared),
            Self::Published => Some(KeyState::Published),
            Self::Active => Some(KeyState::Active),
            Self::Retired => Some(KeyState::Retired),
            Self::Revoked => None,
        }
    }
}

impl OldRecord {
    fn record(self, state: KeyState, keep_after: Duration) -> KeyRecord {
        let has_signed = self.activated_at.is_some();
        KeyRecord {
            kid: self.kid,
            algorithm: self.algorithm,
            state,
            origin: self.origin,
            created_at: self.created_at,
            published_at: self.published_at,
            activated_at: self.activated_at,
            signing_since: self.activated_at,
            retired_at: self.retired_at,
            keep_after: if has_signed { keep_after } else { Duration::ZERO },
            needed_until: self.retired_at.filter(|_| has_signed).map(|at| at.plus(keep_after)),
            public: self.public,
            certificate: self.certificate,
            private: self.private,
        }
    }

    fn revoked(self, ring: &RingName, now: Timestamp) -> RevokedKey {
        RevokedKey {
            kid: self.kid,
            revoked_at: self.revoked_at.unwrap_or(now),
            ring: ring.clone(),
            algorithm: self.algorithm,
            origin: self.origin,
            created_at: self.created_at,
            activated_at: self.activated_at,
            remote: match self.private {
                PrivateHalf::Remote(name) => Some(name),
                PrivateHalf::Sealed(_) => None,
            },
        }
    }
}

fn not_what_it_says(document: &str, why: &serde_json::Error) -> KeyringError {
    let (line, column) = (why.line(), why.column());
    KeyringError::Corrupt(format!(
        "{document} is not a document of its format (line {line}, column {column})"
    ))
}
