//! The issuer at work: its settings, and a snapshot of keys and documents that is replaced whole
//! when keys change.
//!
//! A request reads one snapshot and finishes with it; nothing is locked. Each profile's signer and
//! encoded header are looked up when the snapshot is made, so minting does not search.

use crate::{
    AuditLog, Clients, IssuerUrl, Judged, JwksCertificates, MintError, ProfileError, PublicDocuments,
    ShownToken, ShownTokens, TokenEndpoint,
    audit::{AuditEvent, Immediate},
    documents,
    http::{Answers, Metrics, RateLimits, RingPlan, StoreTimes},
    profile::Profile,
    signatures::{SignatureLimits, Turns},
    standing::{Concern, Patience, Standing},
};
use arc_swap::ArcSwap;
use countersign_jose::{EncodedHeader, Header, Timestamp};
use countersign_keyring::{LoadedKeyring, PublishedKey, RingName, Signer};
use countersign_store::{Clock, ClockJump};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

/// What the configuration says, resolved.
#[derive(Debug)]
pub struct IssuerSettings {
    /// The authority's identity.
    pub issuer: IssuerUrl,
    /// Who may ask.
    pub clients: Clients,
    /// The shapes of token.
    pub profiles: Vec<Arc<dyn Profile>>,
    /// Rings whose public keys are not in the JWKS.
    pub unpublished_rings: BTreeSet<RingName>,
    /// How long verifiers may keep the public documents, at most.
    pub jwks_max_age: Duration,
    /// Whether the JWKS has certificates.
    pub jwks_certificates: JwksCertificates,
    /// How far `iat` and `nbf` lie before now.
    pub backdate: Duration,
    /// Sizes.
    pub limits: RequestLimits,
    /// How often.
    pub rates: RateLimits,
    /// How long the store may be silent, and how far clocks may differ.
    pub patience: Patience,
    /// Signatures computed here at a time.
    pub signatures: SignatureLimits,
    /// What discovery says of `POST /token`; nothing where no client has a grant.
    pub token_endpoint: Option<TokenEndpoint>,
}

/// Sizes of what comes in and goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The longest body, in bytes.
    pub body_bytes: usize,
    /// How deep JSON may nest.
    pub json_depth: usize,
    /// The longest token minted, in bytes.
    pub token_bytes: usize,
}

/// Why an issuer cannot start with the keys at hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// A profile cannot work with its ring's key.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// The authority: everything a request needs.
#[derive(Debug)]
pub struct Issuer {
    settings: IssuerSettings,
    keys: ArcSwap<Keys>,
    standing: Standing,
    metrics: Arc<Metrics>,
    audit_log: Arc<dyn AuditLog>,
    turns: Turns,
    plans: BTreeMap<RingName, RingPlan>,
}

/// One state of the keys and what follows from it.
#[derive(Debug)]
pub(crate) struct Keys {
    keyring: LoadedKeyring,
    ready: BTreeMap<&'static str, Ready>,
    documents: PublicDocuments,
    answers: Answers,
    /// How long verifiers may keep the documents.
    max_age: Duration,
}

/// A request that got no token, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct RefusedRequest<'a> {
    /// The request's name.
    pub request_id: &'a str,
    /// Where it came from.
    pub address: IpAddr,
    /// The client that proved who it is.
    pub client: Option<&'a str>,
    /// The grant it asked for, of those there are.
    pub grant: Option<&'a str>,
    /// The token by which the client proved who it is.
    pub client_token: Option<&'a ShownToken>,
}

/// What signs the tokens of one profile.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) header: EncodedHeader,
}

impl Keys {
    pub(crate) fn ready(&self, profile: &str) -> Option<&Ready> {
        self.ready.get(profile)
    }

    pub(crate) fn keyring(&self) -> &LoadedKeyring {
        &self.keyring
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.answers
    }

    fn new(
        settings: &IssuerSettings,
        keyring: LoadedKeyring,
        max_age: Duration,
    ) -> Result<Self, IssuerError> {
        let mut ready = BTreeMap::new();
        for profile in &settings.profiles {
            let Some(signer) = keyring.ring(profile.ring()).and_then(|ring| ring.active()) else { continue };
            profile.check_signer(signer.as_ref())?;
            let header =
                Header { alg: signer.algorithm(), kid: Some(signer.kid()), typ: Some(profile.typ()) }
                    .encode();
            ready.insert(profile.name(), Ready { signer: Arc::clone(signer), header });
        }
        let published = keyring.rings().filter(|(name, _)| !settings.unpublished_rings.contains(name));
        let public: Vec<PublishedKey> = published.flat_map(|(_, ring)| ring.public_keys().to_vec()).collect();
        let records = keyring.records();
        let sequence = records.is_stored().then(|| records.keys_sequence());
        let documents = documents::render(
            &settings.issuer,
            &public,
            sequence,
            settings.jwks_certificates,
            settings.token_endpoint.as_ref(),
            max_age,
        );
        let answers = Answers::new(&documents, &settings.issuer, max_age);
        Ok(Self { keyring, ready, documents, answers, max_age })
    }
}

impl Issuer {
    /// Puts an issuer together. Refuses keys that a profile cannot sign with.
    pub fn new(
        settings: IssuerSettings,
        keyring: LoadedKeyring,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IssuerError> {
        Self::counting(Arc::new(Metrics::new()), settings, keyring, clock)
    }

    /// Puts the issuer together that takes the place of this one: it counts on in the same metrics
    /// and writes to the same log.
    pub fn successor(
        &self,
        settings: IssuerSettings,
        keyring: LoadedKeyring,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IssuerError> {
        let issuer = Self::counting(Arc::clone(&self.metrics), settings, keyring, clock)?;
        Ok(issuer.with_audit_log(Arc::clone(&self.audit_log)))
    }

    fn counting(
        metrics: Arc<Metrics>,
        settings: IssuerSettings,
        keyring: LoadedKeyring,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IssuerError> {
        let standing = Standing::new(clock, settings.patience, keyring.records().latest_time());
        let keys = ArcSwap::from_pointee(Keys::new(&settings, keyring, settings.jwks_max_age)?);
        let turns = Turns::new(settings.signatures);
        for profile in &settings.profiles {
            metrics.expect_profile(profile.name());
        }
        for ready in keys.load().ready.values() {
            metrics.expect_algorithm(ready.signer.algorithm());
        }
        let (audit_log, plans) = (Arc::new(Immediate), BTreeMap::new());
        Ok(Self { settings, keys, standing, metrics, audit_log, turns, plans })
    }

    /// With what is planned for its rings, which the metrics show.
    pub fn with_plans(mut self, plans: BTreeMap<RingName, RingPlan>) -> Self {
        self.plans = plans;
        self
    }

    /// With the times of the store that its keys are in, which the metrics show.
    pub fn with_store_times(self, times: StoreTimes) -> Self {
        self.metrics.show_store(times);
        self
    }

    /// With a log that may run out of room.
    pub fn with_audit_log(mut self, log: Arc<dyn AuditLog>) -> Self {
        self.audit_log = log;
        self
    }

    /// Replaces the keys and the documents made from them.
    pub fn replace_keys(&self, keyring: LoadedKeyring) -> Result<(), IssuerError> {
        let newest = keyring.records().latest_time();
        self.change_keys(|keys| Keys::new(&self.settings, keyring.clone(), keys.max_age))?;
        self.standing.keyring_was_read(newest);
        Ok(())
    }

    /// Makes the next state from the one at hand; from the newer one, when another task came in
    /// between.
    fn change_keys(&self, next: impl Fn(&Keys) -> Result<Keys, IssuerError>) -> Result<(), IssuerError> {
        let mut current = self.keys.load();
        loop {
            let found = self.keys.compare_and_swap(&*current, Arc::new(next(&current)?));
            if Arc::ptr_eq(&found, &current) {
                return Ok(());
            }
            current = found;
        }
    }

    /// The keyring in use.
    pub fn keyring(&self) -> LoadedKeyring {
        self.keys.load().keyring.clone()
    }

    /// Notes that the store answered and the keys in use are those it has.
    pub fn store_answered(&self) {
        self.standing.store_answered();
    }

    /// Notes whether the store holds less than was seen there. Until it does not any more, this
    /// issuer is not ready.
    pub fn store_went_back(&self, it_did: bool) {
        self.standing.store_went_back(it_did);
    }

    /// Notes that the server was told to stop: it is not ready from now on, and answers what still
    /// comes.
    pub fn stops(&self) {
        self.standing.stops();
    }

    /// Whether tokens can be minted with keys known to be current.
    pub fn is_ready(&self) -> bool {
        !self.concerns().iter().any(|concern| concern.ends_readiness())
    }

    /// What a person should look at.
    pub fn concerns(&self) -> Vec<Concern> {
        let without_key = self.keys.load().ready.is_empty();
        let holds = |concern| self.standing.holds(concern) || concern == Concern::NoKey && without_key;
        Concern::ALL.into_iter().filter(|concern| holds(*concern)).collect()
    }

    /// The jump of the clock from what it is believed to show, if there was one.
    pub fn clock_jump(&self) -> Option<ClockJump> {
        self.standing.jump()
    }

    /// To be called every now and then: a clock that was set is believed when it has gone on
    /// undisturbed for long enough. Returns the jump when that is so.
    pub fn settle_clock(&self) -> Option<ClockJump> {
        self.standing.settle_clock()
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The settings.
    pub fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// The documents in use.
    pub fn documents(&self) -> PublicDocuments {
        self.keys.load().documents.clone()
    }

    /// Profiles that have no key to sign with, and what each of them answers until it has one.
    pub fn profiles_without_key(&self) -> Vec<(&'static str, MintError)> {
        let keys = self.keys.load();
        let names = self.settings.profiles.iter().map(|profile| profile.name());
        names.filter(|name| keys.ready(name).is_none()).map(|name| (name, self.no_key(name))).collect()
    }

    pub(crate) fn audit_log(&self) -> &dyn AuditLog {
        self.audit_log.as_ref()
    }

    /// Whether the log takes a record now, or after a moment.
    pub async fn log_has_room(&self) -> bool {
        self.audit_log.has_room() || self.audit_log.wait_for_room().await
    }

    /// Counts and records a request for a token by a grant that got none and never came to the
    /// mint, which records its own refusals. `client` is the one that proved who it is, if any did.
    pub fn refuse(&self, request: &RefusedRequest<'_>, code: &'static str, reason: &str) {
        self.metrics.refused(code);
        let audit = AuditEvent {
            request_id: request.request_id,
            address: Some(request.address),
            client: request.client,
            grant: request.grant,
            shown: ShownTokens { client: request.client_token, ..ShownTokens::default() },
            ..AuditEvent::default()
        };
        match request.client {
            Some(_) => audit.refused(code, reason),
            None => audit.refused_unauthenticated(code, reason),
        }
    }

    /// Records that a client has revoked something of its own.
    pub fn revoked(&self, request: &RefusedRequest<'_>, reach: &str, name: &str) {
        let audit = AuditEvent {
            request_id: request.request_id,
            address: Some(request.address),
            client: request.client,
            ..AuditEvent::default()
        };
        audit.revoked(reach, name);
    }

    /// Records what a rule of exchange that is only tried says of a request.
    pub fn judged(&self, request: &RefusedRequest<'_>, judged: &Judged<'_>) {
        let audit = AuditEvent {
            request_id: request.request_id,
            address: Some(request.address),
            client: request.client,
            grant: request.grant,
            rule: Some(judged.rule),
            actors: judged.actors,
            ..AuditEvent::default()
        };
        audit.judged(judged.subject, judged.refusal.as_deref());
    }

    /// Notes which keys were found in the JWKS as the world sees it.
    pub fn saw_in_public(&self, kids: &BTreeSet<String>, at: Timestamp) {
        let keys = self.keys();
        self.metrics.saw(kids, at, |kid| keys.keyring.records().find(kid).is_some());
    }

    pub(crate) fn plans(&self) -> &BTreeMap<RingName, RingPlan> {
        &self.plans
    }

    /// The metrics of this issuer.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Renders the documents anew if verifiers are to keep them for another time than now.
    pub fn set_max_age(&self, max_age: Duration) -> Result<(), IssuerError> {
        if self.keys.load().max_age == max_age {
            return Ok(());
        }
        self.change_keys(|keys| Keys::new(&self.settings, keys.keyring.clone(), max_age))
    }

    pub(crate) fn keys(&self) -> arc_swap::Guard<Arc<Keys>> {
        self.keys.load()
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The time, as tokens are minted by it.
    pub fn now(&self) -> Timestamp {
        self.standing.now()
    }

    pub(crate) fn profile(&self, name: &str) -> Option<&Arc<dyn Profile>> {
        self.settings.profiles.iter().find(|profile| profile.name() == name)
    }

    pub(crate) fn profile_names(&self) -> String {
        let names: Vec<_> = self.settings.profiles.iter().map(|profile| profile.name()).collect();
        names.join(", ")
    }
}
