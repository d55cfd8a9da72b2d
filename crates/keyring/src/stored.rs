//! The keyring in its store: read, verified, opened, and changed by compare-and-set only.
//!
//! What is read is authentic and is not older than what this process has seen, or it is an error and nothing is
//! written. There are two kinds of change. `change_states` needs no private key, no service and no new key, so that
//! a key can be revoked or a step of the rotation taken when some of these are away. `add_keys` seals or makes a
//! key: before it writes, everything that is there must open, so that a wrong sealing key never adds a second,
//! unreadable half. Of two processes on one empty store one makes the first key: the loser's write conflicts.
//! Pinned by tests/stored.rs and tests/forgery.rs.

use crate::{
    Activation, Certificate, Continuity, ImportedKey, KeyService, Keyring, KeyringError, Known,
    LoadedKeyring, Needs, NewKey, RingName, Sealing, SealingKey, UnsignedCertificate,
    continuity::WentBack,
    document::{self, Envelope},
    loaded::OpenedKey,
    marks::{Looked, Remembered},
    material::Material,
    sealing::{MadeDataKey, Opening, Sealer},
};
use countersign_jose::{Algorithm, KeyError, KeySize, Timestamp, base64url};
use countersign_store::{Expect, Store, StoreError, Version};
use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// How often a change is tried again after somebody else's came in between.
const ATTEMPTS: usize = 20;

/// What the configuration wants of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingSpec {
    /// The ring's name.
    pub name: RingName,
    /// The algorithm of keys made for it.
    pub algorithm: Algorithm,
    /// The size of RSA keys made for it.
    pub size: KeySize,
    /// Whether a first key is made when the ring has none. Not so where the consumer names the key (JaaS).
    pub make_first_key: bool,
    /// Where its keys are made.
    pub place: KeyPlace,
}

/// Where a key is made, and then signs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyPlace {
    /// Here; its private half is sealed in the keyring.
    #[default]
    Here,
    /// With the service that keeps keys; its private half never leaves it.
    Service,
}

/// A key that was to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its name.
    pub kid: String,
    /// Whether that changed anything.
    pub changed: bool,
}

/// What a look at the store came to.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// The keys to use from now on, where they are others than those at hand.
    pub keys: Option<LoadedKeyring>,
    /// Why the keyring cannot be used as it is in the store. The keys at hand stay in use, without those that are
    /// marked as revoked.
    pub problem: Option<KeyringError>,
    /// The document of marks is damaged. Marks that were seen before still count.
    pub marks_damaged: bool,
}

/// A keyring whose tag was not checked, because the sealing key is not at hand: good for counting, and nothing else.
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
    version: Option<Version>,
    /// What authenticates it; `None` where there is not a document.
    sealer: Option<Sealer>,
    /// Its keys that are marked as revoked and not in its own list yet.
    marked: BTreeSet<String>,
}

/// A document that was found authentic.
#[derive(Clone)]
struct Verified {
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

/// The keyring of one store, the sealing keys it is under, and the service that keeps keys, if there is one.
///
/// Clones share what this process has seen.
#[derive(Debug, Clone)]
pub struct StoredKeyring {
    store: Arc<dyn Store>,
    sealing: Arc<Sealing>,
    service: Option<Arc<dyn KeyService>>,
    /// The newest document that was seen.
    known: Arc<Mutex<Option<Known>>>,
    /// The document that was verified last, with these sealing keys.
    last: Arc<Mutex<Option<Verified>>>,
    /// The marks of revocation that were seen.
    pub(crate) marks: Arc<Mutex<Remembered>>,
}

impl StoredKeyring {
    /// Names the store and what seals; reads nothing yet.
    pub fn new(store: Arc<dyn Store>, sealing: impl Into<Sealing>) -> Self {
        Self {
            store,
            sealing: Arc::new(sealing.into()),
            service: None,
            known: Arc::default(),
            last: Arc::default(),
            marks: Arc::default(),
        }
    }

    /// Adds the service that keeps keys. Without it a keyring that has such keys does not open.
    #[must_use]
    pub fn with_service(mut self, service: Arc<dyn KeyService>) -> Self {
        self.service = Some(service);
        self
    }

    /// Goes on with what another of this process has seen, of the same store.
    #[must_use]
    pub fn with_memory_of(mut self, other: &Self) -> Self {
        self.known = Arc::clone(&other.known);
        self.marks = Arc::clone(&other.marks);
        self
    }

    /// The highest sequence number that this process has seen.
    pub fn known_sequence(&self) -> u64 {
        self.known().map_or(0, |known| known.sequence())
    }

    /// What seals and opens.
    pub fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub(crate) fn service(&self) -> Option<&Arc<dyn KeyService>> {
        self.service.as_ref()
    }

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

    /// The keyring as it is stored, an empty one when none exists. It is authentic, and not older than what this
    /// process has seen.
    pub async fn read(&self) -> Result<Keyring, KeyringError> {
        Ok(self.find().await?.keyring)
    }

    /// The keyring, opened.
    pub async fn load(&self) -> Result<LoadedKeyring, KeyringError> {
        let found = self.find().await?;
        self.open(found).await
    }

    /// The keyring opened to mint tokens that need its keys for as long as `needs` says.
    pub async fn load_to_mint(&self, needs: &Needs, now: Timestamp) -> Result<LoadedKeyring, KeyringError> {
        let found = self.find_with_needs(needs, now).await?;
        self.open(found).await
    }

    /// The keyring opened anew, to mint tokens that need its keys for as long as `needs` says, if it is not the one
    /// at hand any more. An error leaves the keys at hand in use.
    pub async fn reload(&self, known: &LoadedKeyring, needs: &Needs, now: Timestamp) -> Reloaded {
        let outcome = match self.newer_than(known, needs, now).await {
            Ok(keys) => (keys, None),
            Err(problem) => (None, Some(problem)),
        };
        self.without_revoked_keys(known, outcome).await
    }

    /// The same for a server that has served `known`, which was read at `last_read`. Where the store went back, what is returned is
    /// the keys of both, and the problem says in which way.
    pub async fn reload_since(
        &self,
        known: &LoadedKeyring,
        needs: &Needs,
        last_read: Timestamp,
        now: Timestamp,
    ) -> Reloaded {
        let before = self.known();
        let outcome = match self.newer_than(known, needs, now).await {
            Ok(Some(found)) => {
                let losses = known.records().losses(found.records(), last_read, now);
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

    /// An authentic keyring, opened, whether or not it can come after what was seen.
    async fn load_whatever_is_there(&self) -> Result<Option<LoadedKeyring>, KeyringError> {
        let Some(document) = self.store.get(&document::name()?).await? else { return Ok(None) };
        let envelope = Envelope::parse(&document.bytes)?;
        let sealer = self.sealing.authenticating(&envelope).await?;
        let keyring = envelope.verify(&sealer.key)?;
        let (version, sealer, marked) = (Some(document.version), Some(sealer), self.not_to_be_used());
        self.open(Found { keyring, version, sealer, marked }).await.map(Some)
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

    /// The document once it has absorbed the marks, as far as that can be written, and says of every active key for
    /// how long it is needed. Another process may activate another key in between, so what is returned is what was
    /// looked at.
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

    /// Takes the marks of revocation over into the keyring, from where nobody without the sealing key removes them.
    /// Returns whether there were any.
    pub async fn absorb(&self, now: Timestamp) -> Result<bool, KeyringError> {
        self.change_states(now, |_| Ok(None)).await
    }

    async fn open(&self, found: Found) -> Result<LoadedKeyring, KeyringError> {
        let opening = self.sealing.opening(&found.keyring).await?;
        LoadedKeyring::open(&found.keyring, found.version, &found.marked, &opening, self.service())
    }

    /// Sees to it that a key signs in each ring, and opens the keyring: a successor that waits, because verifiers may know it, or else
    /// a first key where the ring should have one.
    pub async fn ensure(&self, rings: &[RingSpec], now: Timestamp) -> Result<LoadedKeyring, KeyringError> {
        let keyring = self.read().await?;
        let signs = |keyring: &Keyring, spec: &RingSpec| {
            keyring.ring(&spec.name).is_some_and(|ring| ring.active().is_some())
        };
        let waits = |keyring: &Keyring, spec: &RingSpec| {
            keyring.ring(&spec.name)?.successor().map(|key| key.kid.clone())
        };
        for spec in rings.iter().filter(|spec| !signs(&keyring, spec)) {
            if waits(&keyring, spec).is_some() {
                self.change_states(now, |keyring| {
                    let next = waits(keyring, spec).filter(|_| !signs(keyring, spec));
                    Ok(next.and_then(|kid| keyring.with_active_at_once(&spec.name, &kid, now)))
                })
                .await?;
            }
            if !spec.make_first_key {
                continue;
            }
            self.add_keys(SealWith::Current, now, |attempt| {
                if signs(attempt.keyring, spec) {
                    return Ok(Next::Unchanged);
                }
                let Some(key) = attempt.made else { return Ok(Next::Needs(spec.clone())) };
                Ok(attempt.keyring.with_key(&spec.name, key, Activation::IfRingHasNone, now)?.into())
            })
            .await?;
        }
        self.load().await
    }

    /// Brings keys from elsewhere into a ring: all of them or, when one is refused, none.
    pub async fn import(
        &self,
        ring: &RingName,
        keys: &[ImportedKey],
        activation: Activation,
        now: Timestamp,
    ) -> Result<Vec<Imported>, KeyringError> {
        let new: Vec<Material> = keys.iter().map(Material::imported).collect::<Result<_, _>>()?;
        let mut outcome = Vec::new();
        self.add_keys(SealWith::Current, now, |attempt| {
            outcome.clear();
            let mut next = None;
            for key in &new {
                let key = key.sealed(ring, attempt.sealing)?;
                let before = next.as_ref().unwrap_or(attempt.keyring);
                let changed = before.with_key(ring, &key, activation, now)?;
                outcome.push(Imported { kid: key.kid, changed: changed.is_some() });
                next = changed.or(next);
            }
            Ok(next.into())
        })
        .await?;
        Ok(outcome)
    }

    /// The document, verified and compared with what this process has seen, and what is marked of it.
    ///
    /// The marks are read first: one that is gone by then has been absorbed into what is read after it.
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

    /// What the bytes of a document say, if they are authentic. The same bytes as before are not verified twice.
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

    fn known(&self) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another task may have seen a newer one meanwhile.
    fn remember(&self, found: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| known.sequence() < found.sequence()) {
            *known = Some(found);
        }
    }

    /// Applies a pure change of states by compare-and-set, again on the newer document when somebody else was first.
    /// Marks of revocation are absorbed on the way. Opens no private key and asks no service. Returns whether anything
    /// was changed.
    pub(crate) async fn change_states(
        &self,
        now: Timestamp,
        mut step: impl FnMut(&Keyring) -> Result<Option<Keyring>, KeyringError>,
    ) -> Result<bool, KeyringError> {
        for _ in 0..ATTEMPTS {
            let found = self.find().await?;
            let absorbed = found.keyring.absorbing(&found.marked, now);
            let next = step(absorbed.as_ref().unwrap_or(&found.keyring))?;
            let Some(next) = next.or(absorbed) else { return Ok(false) };
            let sealer = match &found.sealer {
                Some(before) => self.sealing.at_hand(&found.keyring, before),
                None => self.sealing.sealer(&found.keyring, &mut None).await?,
            };
            if self.write(&found, next, &sealer).await?.is_some() {
                return Ok(true);
            }
        }
        Err(KeyringError::Contended)
    }

    /// Applies a pure change that adds or seals keys by compare-and-set, again on the newer document when somebody
    /// else was first. A key that the change needs is made once, however often it is tried.
    pub(crate) async fn add_keys(
        &self,
        seal_with: SealWith,
        now: Timestamp,
        step: impl FnMut(Attempt<'_>) -> Result<Next, KeyringError>,
    ) -> Result<bool, KeyringError> {
        let (mut made, mut written) = (Made::default(), Written::No);
        let outcome = self.attempts(seal_with, now, step, &mut made, &mut written).await;
        let unused = made.key.as_ref().filter(|made| match &written {
            Written::No => true,
            Written::Yes(keyring) => keyring.find(&made.kid).is_none(),
            // It may be in use.
            Written::Unknown => false,
        });
        if let (Some(name), Some(service)) = (unused.and_then(Material::remote_name), self.service()) {
            // Another process made the key that was needed, or none could. What cannot be discarded is the
            // service's to report; the change is what it is.
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
    ) -> Result<bool, KeyringError> {
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
                Next::Unchanged => return Ok(false),
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
                    return Ok(true);
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
        match self.store.put(&document::name()?, &written.bytes, expect, None).await {
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
