//! Ten years of rotation on a virtual clock: no live token is refused, and exactly one key is
//! active at every instant.
//!
//! Real: the keyring, its plan, its store and every step between. Simulated: two instances that
//! sign and serve the keys they last read, a content network of three edges that keeps the
//! document, is late, and at times shows nothing new for hours, a thousand verifiers that cache it
//! for 0 s to 2 h (some never look again for an unknown `kid`), two rotators, clocks off by the
//! allowed skew, store outages, and writes whose author dies before or after them. Once a month an
//! operator changes every number, and one of the two servers learns it days later than the other,
//! so that tokens are minted and keys removed under two policies. Now and then a key leaks and is
//! revoked, half of the time by a mark alone, because the operator has no sealing key at hand, and
//! somebody who can write to the store takes the mark away and puts a document of their own there,
//! and then the authentic one from before. Now and then an older copy of the store is restored by
//! mistake and worked on for half a day. Now and then somebody takes a turn by hand on a machine
//! whose clock is ten years ahead. The same world shows refused or forged tokens when any one rule
//! is taken away, so that the test can fail.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say what they expect by failing")]

use async_trait::async_trait;
use countersign_jose::{Algorithm, KeySize, Timestamp};
use countersign_keyring::{
    Distribution, Force, KeyPlace, KeyState, Keyring, LoadedKeyring, Look, Needs, Reloaded, RingName,
    RingSpec, RotationPolicy, SealingKey, StoredKeyring,
};
use countersign_store::{Document, Expect, Key, ManualClock, MemoryStore, Store, StoreError, Version};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const KEYRING: &str = "keyring";
const MARKS: &str = "keyring-revocations";
/// How long somebody works on a copy that was restored by mistake.
const MISTAKE: u64 = 12 * HOUR;
/// How far any clock may be off.
const SKEW: u64 = MINUTE;
/// How long an edge keeps the document, and how late it may be besides.
const MAX_AGE: u64 = 5 * MINUTE;
const LATE: u64 = 30 * MINUTE;
/// How long an instance goes on without the store.
const MAX_STALE: u64 = 10 * MINUTE;

/// A small generator: the same seed is the same world.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A clock that shows another time.
    fn skewed(&mut self, now: Timestamp) -> Timestamp {
        now.plus(Duration::from_secs(self.below(2 * SKEW + 1))).minus(Duration::from_secs(SKEW))
    }
}

/// A store that is away at times, and whose writers die.
#[derive(Debug)]
struct Flaky {
    inner: MemoryStore,
    /// Whether anybody is shown the marks of revocation.
    shows_marks: bool,
    /// 0: works. 1: away. 2: the next write dies before it is done. 3: the next write is done, and
    /// its author dies.
    mood: AtomicU64,
}

impl Flaky {
    fn away() -> StoreError {
        StoreError::Unavailable { place: "simulation".into(), reason: "away".into() }
    }
}

#[async_trait]
impl Store for Flaky {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        match self.mood.load(Ordering::SeqCst) {
            1 => Err(Self::away()),
            _ if !self.shows_marks && key.as_str() == MARKS => Ok(None),
            _ => self.inner.get(key).await,
        }
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        match self.mood.load(Ordering::SeqCst) {
            0 => self.inner.put(key, bytes, expect, expires_at).await,
            3 => {
                self.mood.store(0, Ordering::SeqCst);
                self.inner.put(key, bytes, expect, expires_at).await?;
                Err(Self::away())
            }
            mood => {
                if mood == 2 {
                    self.mood.store(0, Ordering::SeqCst);
                }
                Err(Self::away())
            }
        }
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        self.inner.delete(key, version).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        self.inner.list(prefix).await
    }
}

/// A server: signs with the keys it last read, and serves them.
struct Instance {
    /// The keys last read from a store that had not gone back, and when that was.
    trusted: LoadedKeyring,
    read_at: Timestamp,
    /// Those it serves.
    loaded: LoadedKeyring,
}

impl Instance {
    fn new(loaded: LoadedKeyring, read_at: Timestamp) -> Self {
        Self { trusted: loaded.clone(), read_at, loaded }
    }

    fn published(&self, ring: &RingName) -> BTreeSet<String> {
        let keys = self.loaded.ring(ring).map(|ring| ring.public_keys()).unwrap_or_default();
        keys.iter().map(|key| key.jwk.kid.clone()).collect()
    }
}

/// A copy of the document and until when it is used.
#[derive(Clone, Default)]
struct Copy {
    kids: BTreeSet<String>,
    until: Option<Timestamp>,
}

#[derive(Clone)]
struct Verifier {
    cache: u64,
    refetches: bool,
    copy: Copy,
}

struct Token {
    kid: String,
    expires_at: Timestamp,
}

/// Which rules hold.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// A server notes for how long its tokens need a key before it mints.
    needs_are_noted: bool,
    /// The operator changes the numbers.
    numbers_change: bool,
    /// Servers mint tokens of this length whatever the policy says.
    minted: Option<Duration>,
    /// The thief has no sealing key, so that the tag is in their way.
    thief_has_no_key: bool,
    /// A mark counts before the keyring says it.
    marks_count: bool,
    /// A server knows the number of the newest document it has seen.
    servers_remember: bool,
    /// A server compares the keys it has with those it finds.
    losses_are_guarded: bool,
    /// Only what was found at the public address was seen.
    only_what_is_public_is_seen: bool,
}

const ALL: Rules = Rules {
    needs_are_noted: true,
    numbers_change: true,
    minted: None,
    thief_has_no_key: true,
    marks_count: true,
    servers_remember: true,
    losses_are_guarded: true,
    only_what_is_public_is_seen: true,
};

#[derive(Debug, Default)]
struct Tally {
    rotations: u64,
    verified: u64,
    refused: u64,
    /// How often verifiers were shown a key that somebody else put into the store or that is
    /// revoked.
    forged: u64,
    revoked: u64,
    mistakes: u64,
    /// How often a turn was taken by a clock that is ahead.
    ahead: u64,
    instants_without_one_active_key: u64,
}

struct World {
    dice: Dice,
    now: Timestamp,
    store: Arc<Flaky>,
    keyring: StoredKeyring,
    spec: RingSpec,
    rules: Rules,
    sealing: Arc<SealingKey>,
    /// What each of the two servers is configured with; the second one lags behind.
    policies: [RotationPolicy; 2],
    /// What the operator has typed last, and when the second server learns it.
    newest: RotationPolicy,
    learns_at: Timestamp,
    next_change: Timestamp,
    /// Keys that leaked, and the time from which nobody shows them.
    leaked: Vec<(String, Timestamp)>,
    /// Keys that took over from them, and until when some verifiers may not know them.
    emergencies: Vec<(String, Timestamp)>,
    /// The document that was looked at last.
    looked_at: (Vec<u8>, Keyring),
    /// A copy of the store's keyring, and when the next one is made.
    copy: (Vec<u8>, Timestamp),
    /// Until when somebody works on a copy, and what they put back then.
    mistake: Option<(Timestamp, Vec<u8>)>,
    instances: Vec<Instance>,
    edges: Vec<Copy>,
    verifiers: Vec<Verifier>,
    tokens: Vec<Token>,
    outage_until: Timestamp,
    /// Until when the content network shows nothing new.
    stuck_until: Timestamp,
    active: Option<String>,
    tally: Tally,
}

fn policy() -> RotationPolicy {
    let policy = RotationPolicy {
        distribution: Distribution::Published,
        rotate_every: Some(Duration::from_secs(30 * DAY)),
        // The slowest verifier, and the network between.
        propagation: Duration::from_secs(2 * HOUR + MAX_AGE + LATE),
        longest_token: Duration::from_secs(DAY),
        skew: Duration::from_secs(2 * SKEW),
        signer_lag: Duration::from_secs(MAX_STALE + 15 * MINUTE),
        keep_retired: Duration::ZERO,
        observe_every: Duration::from_secs(15 * MINUTE),
    };
    RotationPolicy { keep_retired: policy.least_keep_retired(), ..policy }
}

/// Every number another one, as an operator may type them; each policy is good by itself.
fn another_policy(dice: &mut Dice) -> RotationPolicy {
    let seconds = |dice: &mut Dice, from: u64, to: u64| Duration::from_secs(from + dice.below(to - from));
    let good = policy();
    let policy = RotationPolicy {
        distribution: Distribution::Published,
        rotate_every: Some(seconds(dice, 20 * DAY, 40 * DAY)),
        propagation: good.propagation + seconds(dice, 0, HOUR),
        longest_token: seconds(dice, HOUR, 4 * DAY),
        skew: good.skew + seconds(dice, 0, MINUTE),
        signer_lag: good.signer_lag + seconds(dice, 0, HOUR),
        keep_retired: Duration::ZERO,
        observe_every: seconds(dice, 15 * MINUTE, 20 * MINUTE),
    };
    let policy = RotationPolicy { keep_retired: policy.least_keep_retired(), ..policy };
    policy.check().unwrap();
    policy
}

impl World {
    async fn new(seed: u64, policy: RotationPolicy, rules: Rules) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let (inner, mood) = (MemoryStore::new(clock), AtomicU64::new(0));
        let store = Arc::new(Flaky { inner, shows_marks: rules.marks_count, mood });
        let sealing = Arc::new(SealingKey::generate().unwrap().0);
        let keyring = StoredKeyring::new(store.clone(), Arc::clone(&sealing));
        let ring: RingName = "default".parse().unwrap();
        let spec = RingSpec {
            name: ring,
            algorithm: Algorithm::Ed25519,
            size: KeySize::default(),
            make_first_key: true,
            place: KeyPlace::Here,
        };
        let loaded = keyring.ensure(std::slice::from_ref(&spec), START).await.unwrap();
        let instance = || Instance::new(loaded.clone(), START);
        let caches = [0, 10 * MINUTE, HOUR, 2 * HOUR];
        let verifier =
            |n: usize| Verifier { cache: caches[n % 4], refetches: n % 8 < 4, copy: Copy::default() };
        Self {
            dice: Dice(seed),
            now: START,
            keyring,
            spec,
            rules,
            sealing,
            policies: [policy; 2],
            newest: policy,
            learns_at: START,
            next_change: START.plus(Duration::from_secs(30 * DAY)),
            leaked: Vec::new(),
            emergencies: Vec::new(),
            looked_at: Default::default(),
            copy: (Vec::new(), START),
            mistake: None,
            instances: vec![instance(), instance()],
            edges: vec![Copy::default(); 3],
            verifiers: (0..1000).map(verifier).collect(),
            tokens: Vec::new(),
            outage_until: START,
            stuck_until: START,
            active: None,
            tally: Tally::default(),
            store,
        }
    }

    /// A process that has seen nothing.
    fn process(&self) -> StoredKeyring {
        StoredKeyring::new(self.store.clone(), Arc::clone(&self.sealing))
    }

    /// What the store holds, whatever mood it is in. The same document is not read twice.
    async fn keyring_in_store(&mut self) -> Keyring {
        let bytes = self.bytes().await;
        if self.looked_at.0 != bytes {
            let mood = self.store.mood.swap(0, Ordering::SeqCst);
            let keyring = match self.keyring.read().await {
                Ok(keyring) => keyring,
                // It has gone back.
                Err(_) => self.process().read().await.unwrap(),
            };
            self.store.mood.store(mood, Ordering::SeqCst);
            self.looked_at = (bytes, keyring);
        }
        self.looked_at.1.clone()
    }

    /// The document past every mood of the store.
    async fn bytes(&self) -> Vec<u8> {
        self.store.inner.get(&Key::parse(KEYRING).unwrap()).await.unwrap().unwrap().bytes
    }

    async fn put(&self, bytes: &[u8]) {
        let name = Key::parse(KEYRING).unwrap();
        let there = self.store.inner.get(&name).await.unwrap().unwrap();
        self.store.inner.put(&name, bytes, Expect::Version(there.version), None).await.unwrap();
    }

    fn fetch(&mut self, edge: usize) -> BTreeSet<String> {
        let keep = |until| until > self.now || self.now < self.stuck_until;
        if !self.edges[edge].until.is_some_and(keep) {
            let from = self.dice.below(2) as usize;
            let kids = self.instances[from].published(&self.spec.name);
            let keep = MAX_AGE + self.dice.below(LATE);
            self.edges[edge] = Copy { kids, until: Some(self.now.plus(Duration::from_secs(keep))) };
        }
        self.edges[edge].kids.clone()
    }

    fn mint(&mut self) {
        for index in 0..2 {
            let instance = &self.instances[index];
            if self.now.since(instance.read_at).as_secs() > MAX_STALE {
                continue;
            }
            let Some(signer) = instance.loaded.ring(&self.spec.name).and_then(|ring| ring.active()) else {
                continue;
            };
            let kid = signer.kid().to_owned();
            // It took over from a leaked key, known to verifiers or not: the lesser harm.
            if self.emergencies.iter().any(|(taken, until)| *taken == kid && self.now < *until) {
                continue;
            }
            let longest = self.rules.minted.unwrap_or(self.policies[index].longest_token).as_secs();
            let lifetime = Duration::from_secs(MINUTE + self.dice.below(longest - MINUTE + 1));
            // The clock of the instance may be ahead.
            let expires_at = self.dice.skewed(self.now).plus(lifetime);
            self.tokens.push(Token { kid, expires_at });
        }
        let now = self.now;
        self.tokens.retain(|token| token.expires_at > now.minus(Duration::from_secs(SKEW)));
    }

    fn verify(&mut self) {
        for _ in 0..40 {
            let (which, edge) = (self.dice.below(1000) as usize, self.dice.below(3) as usize);
            let token = self.dice.below(self.tokens.len().max(1) as u64) as usize;
            let Some(token) = self.tokens.get(token) else { return };
            let (kid, expires_at) = (token.kid.clone(), token.expires_at);
            if self.dice.skewed(self.now) >= expires_at {
                continue;
            }
            let stale = self.verifiers[which].copy.until.is_none_or(|until| until <= self.now);
            let unknown = !self.verifiers[which].copy.kids.contains(&kid);
            if stale || (unknown && self.verifiers[which].refetches) {
                let kids = self.fetch(edge);
                let until = Some(self.now.plus(Duration::from_secs(self.verifiers[which].cache)));
                self.verifiers[which].copy = Copy { kids, until };
            }
            self.tally.verified += 1;
            self.tally.refused += u64::from(!self.verifiers[which].copy.kids.contains(&kid));
        }
    }

    async fn look_at_the_store(&mut self) {
        let mood = match () {
            () if self.now < self.outage_until => 1,
            () if self.dice.one_in(200) => {
                self.outage_until = self.now.plus(Duration::from_secs(self.dice.below(3 * HOUR)));
                1
            }
            () if self.dice.one_in(5) => 2,
            () if self.dice.one_in(5) => 3,
            () => 0,
        };
        self.store.mood.store(mood, Ordering::SeqCst);
    }

    async fn rotate(&mut self) {
        if self.mistake.is_some() && self.rules.losses_are_guarded {
            // No server takes a step while the store has gone back.
            return;
        }
        for index in 0..2 {
            if self.dice.one_in(4) {
                continue;
            }
            let policy = self.policies[index];
            let now = self.dice.skewed(self.now);
            if !self.dice.one_in(10) {
                let mut found = self.fetch(0);
                if !self.rules.only_what_is_public_is_seen
                    && let Ok(keyring) = self.keyring.read().await
                {
                    found = keyring
                        .rings()
                        .flat_map(|(_, ring)| ring.keys())
                        .map(|key| key.kid.clone())
                        .collect();
                }
                let _ = self.keyring.observe(&Look::at(now, found), policy.longest_gap(), policy.skew).await;
            }
            let _ = self.keyring.advance(&self.spec, &policy, now, &mut Vec::new()).await;
        }
    }

    async fn check_the_keyring(&mut self) {
        if self.mistake.is_some() {
            return;
        }
        let keyring = self.keyring_in_store().await;
        self.tally.instants_without_one_active_key += u64::from(!keyring.has_one_active_key_per_ring());
        let active = keyring.ring(&self.spec.name).and_then(|ring| ring.active()).map(|key| key.kid.clone());
        if active != self.active {
            self.tally.rotations += u64::from(self.active.is_some());
            self.active = active;
        }
    }

    async fn reload(&mut self) {
        for index in 0..2 {
            if self.dice.one_in(20) {
                // It does not reach the store this time, alone.
                continue;
            }
            self.reload_one(index).await;
        }
    }

    async fn reload_one(&mut self, index: usize) {
        let (needs, now, skew) = (self.needs(index), self.dice.skewed(self.now), self.policies[index].skew);
        let Instance { trusted, read_at, .. } = &self.instances[index];
        let keyring = if self.rules.servers_remember { self.keyring.clone() } else { self.process() };
        let Reloaded { keys, problem, .. } = match self.rules.losses_are_guarded {
            true => keyring.reload_since(trusted, &needs, *read_at, skew, now).await,
            false => keyring.reload(trusted, &needs, now).await,
        };
        let instance = &mut self.instances[index];
        match (keys, problem) {
            (keys, None) => *instance = Instance::new(keys.unwrap_or_else(|| instance.trusted.clone()), now),
            (Some(keys), Some(_)) => instance.loaded = keys,
            (None, Some(_)) => {}
        }
    }

    /// Small steps while something is about to happen, larger ones while nothing is.
    async fn until_the_next_moment(&mut self) -> u64 {
        let keyring = self.keyring_in_store().await;
        let Some(ring) = keyring.ring(&self.spec.name) else { return 10 * MINUTE };
        let soon = self.now.plus(Duration::from_secs(8 * HOUR));
        let turned = ring.active().and_then(|key| key.signing_since);
        let busy = self.mistake.is_some()
            || ring.successor().is_some()
            || turned.is_none_or(|at| self.now.since(at) < Duration::from_secs(6 * HOUR))
            || self.policies.iter().any(|policy| {
                ring.plan(policy, keyring.observations(), self.now).iter().any(|planned| planned.at < soon)
            });
        if busy { 10 * MINUTE + self.dice.below(10 * MINUTE) } else { 4 * HOUR }
    }

    fn needs(&self, index: usize) -> Needs {
        let keep_after = self.policies[index].least_keep_retired();
        match self.rules.needs_are_noted {
            true => Needs::from([(self.spec.name.clone(), keep_after)]),
            false => Needs::new(),
        }
    }

    /// Once a month every number is another one; the second server reads the configuration up to
    /// ten days later. A server that restarts reads the store before it mints.
    async fn change_the_numbers(&mut self) {
        if !self.rules.numbers_change || self.now < self.outage_until || self.mistake.is_some() {
            return;
        }
        let mood = self.store.mood.swap(0, Ordering::SeqCst);
        if self.now >= self.next_change {
            self.newest = another_policy(&mut self.dice);
            self.next_change = self.now.plus(Duration::from_secs(30 * DAY));
            self.learns_at = self.now.plus(Duration::from_secs(self.dice.below(10 * DAY)));
            self.restart(0).await;
        }
        if self.now >= self.learns_at && self.policies[1] != self.newest {
            self.restart(1).await;
        }
        self.store.mood.store(mood, Ordering::SeqCst);
    }

    async fn restart(&mut self, index: usize) {
        self.policies[index] = self.newest;
        let needs = self.needs(index);
        let loaded = self.process().load_to_mint(&needs, self.now).await.unwrap();
        self.instances[index] = Instance::new(loaded, self.now);
    }

    /// A key leaks: it is revoked, and the thief, who can write to the store, undoes that as far as
    /// they can.
    async fn leak(&mut self) {
        if !self.dice.one_in(1500) || self.now < self.outage_until || self.mistake.is_some() {
            return;
        }
        let mood = self.store.mood.swap(0, Ordering::SeqCst);
        let keyring = self.process().read().await.unwrap();
        let ring = keyring.ring(&self.spec.name).unwrap();
        let kid = ring.keys()[self.dice.below(ring.keys().len() as u64) as usize].kid.clone();
        let document = Key::parse(KEYRING).unwrap();
        let before = self.store.inner.get(&document).await.unwrap().unwrap();
        // With the sealing key the keyring says it, and without it only the mark does.
        let nobodys = Arc::new(SealingKey::generate().unwrap().0);
        let sealing = if self.dice.one_in(2) { nobodys } else { Arc::clone(&self.sealing) };
        let revocation =
            StoredKeyring::new(self.store.clone(), sealing).revoke(&kid, self.now).await.unwrap();
        assert!(revocation.counts());
        for index in 0..2 {
            self.reload_one(index).await;
        }
        let taken = self.process().replace(&self.spec, self.now).await.unwrap().unwrap();
        let known = self.now.max(self.stuck_until).plus(Duration::from_secs(3 * HOUR));
        if !self.tokens.iter().any(|token| token.kid == taken) {
            self.emergencies.push((taken, known));
        }
        for index in 0..2 {
            self.reload_one(index).await;
        }
        // Its tokens are refused from now on, which is what was asked for; forged ones may pass
        // where caches are.
        self.tokens.retain(|token| token.kid != kid);
        self.tally.revoked += 1;
        self.leaked.push((kid.clone(), self.now.plus(Duration::from_secs(MAX_AGE + LATE))));
        // The thief: no marks, the older document with a newer number, and then the older one as it
        // was.
        let marks = Key::parse(MARKS).unwrap();
        if let Some(found) = self.store.inner.get(&marks).await.unwrap() {
            self.store.inner.delete(&marks, &found.version).await.unwrap();
        }
        let after = self.bytes().await;
        let mut forged: serde_json::Value = serde_json::from_slice(&before.bytes).unwrap();
        forged["content"]["sequence"] = (keyring.sequence() + 1_000).into();
        let forged = match self.rules.thief_has_no_key {
            true => serde_json::to_vec(&forged).unwrap(),
            false => self.as_the_holder_of_the_key_writes(&before).await,
        };
        for bytes in [forged, before.bytes] {
            self.put(&bytes).await;
            for index in 0..2 {
                self.reload_one(index).await;
            }
            self.look_for_leaked_keys();
        }
        if self.rules.thief_has_no_key {
            // An operator restores what was there.
            self.put(&after).await;
        }
        self.store.mood.store(mood, Ordering::SeqCst);
    }

    /// On a machine whose clock is ahead somebody activates the key that waits, before all
    /// verifiers know it.
    async fn turn_by_a_clock_that_is_ahead(&mut self) {
        if self.now < self.outage_until || self.mistake.is_some() {
            return;
        }
        let keyring = self.keyring_in_store().await;
        let waits = keyring.ring(&self.spec.name).and_then(|ring| ring.successor());
        let Some(kid) = waits.filter(|key| key.state == KeyState::Published).map(|key| key.kid.clone())
        else {
            return;
        };
        if !self.dice.one_in(400) {
            return;
        }
        let mood = self.store.mood.swap(0, Ordering::SeqCst);
        let ahead = self.now.plus(Duration::from_secs(10 * 365 * DAY));
        self.process().activate(&kid, &self.policies[0], Force::Yes, ahead).await.unwrap();
        self.store.mood.store(mood, Ordering::SeqCst);
        let known = self.now.max(self.stuck_until).plus(Duration::from_secs(3 * HOUR));
        self.emergencies.push((kid, known));
        self.tally.ahead += 1;
    }

    /// Now and then the content network shows nothing new for hours, longer than anybody planned
    /// for. All of it: an edge that is late where nobody looks would have to be within
    /// `propagation`.
    fn stick(&mut self) {
        if self.now < self.stuck_until || !self.dice.one_in(60) {
            return;
        }
        let looked_at = self.edges[0].clone();
        self.edges.fill(looked_at);
        self.stuck_until = self.now.plus(Duration::from_secs(self.dice.below(6 * HOUR)));
        let (now, known) = (self.now, self.stuck_until.plus(Duration::from_secs(3 * HOUR)));
        for (_, until) in self.emergencies.iter_mut().filter(|(_, until)| *until > now) {
            *until = known.max(*until);
        }
    }

    /// Somebody restores a copy that is weeks old, works on it, and puts back half a day later what
    /// was there.
    async fn restore_by_mistake(&mut self) {
        if let Some((until, newest)) = self.mistake.clone()
            && self.now >= until
        {
            self.put(&newest).await;
            self.mistake = None;
            // Where the copy had all keys, servers have followed it, and somebody says that this is
            // meant.
            let mood = self.store.mood.swap(0, Ordering::SeqCst);
            let seen = self.keyring.known_sequence();
            if self.process().read().await.unwrap().sequence() <= seen {
                self.process().accept_losses(&[], seen, self.now).await.unwrap();
            }
            self.store.mood.store(mood, Ordering::SeqCst);
        }
        if self.mistake.is_some() {
            return;
        }
        if self.dice.one_in(2500) && !self.copy.0.is_empty() && self.now >= self.outage_until {
            let newest = self.bytes().await;
            self.put(&self.copy.0).await;
            let mood = self.store.mood.swap(0, Ordering::SeqCst);
            let higher = self.keyring.known_sequence() + 1_000;
            self.process().accept_losses(&[], higher, self.now).await.unwrap();
            self.store.mood.store(mood, Ordering::SeqCst);
            self.mistake = Some((self.now.plus(Duration::from_secs(MISTAKE)), newest));
            self.tally.mistakes += 1;
        } else if self.now >= self.copy.1 {
            self.copy = (self.bytes().await, self.now.plus(Duration::from_secs(20 * DAY)));
        }
    }

    /// The older keyring, and so many writes later that it counts as the newest: what only the
    /// sealing key makes.
    async fn as_the_holder_of_the_key_writes(&self, before: &Document) -> Vec<u8> {
        let elsewhere = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(self.now))));
        let document = Key::parse("keyring").unwrap();
        elsewhere.put(&document, &before.bytes, Expect::Absent, None).await.unwrap();
        let keyring = StoredKeyring::new(elsewhere.clone(), Arc::clone(&self.sealing));
        for minutes in 1..20 {
            let look = Look::at(self.now.plus(Duration::from_secs(minutes)), BTreeSet::new());
            let found = keyring.read().await.unwrap();
            let kids = found.rings().flat_map(|(_, ring)| ring.keys()).map(|key| key.kid.clone()).collect();
            let look = Look { found: kids, ..look };
            keyring.observe(&look, Duration::from_secs(HOUR), Duration::ZERO).await.unwrap();
        }
        elsewhere.get(&document).await.unwrap().unwrap().bytes
    }

    /// No server shows a key that leaked, nor do caches once they had to read again.
    fn look_for_leaked_keys(&mut self) {
        for (kid, until) in &self.leaked {
            let shown = self.instances.iter().any(|instance| {
                let signs = instance.loaded.ring(&self.spec.name).and_then(|ring| ring.active());
                instance.published(&self.spec.name).contains(kid)
                    || signs.is_some_and(|signer| signer.kid() == kid)
            });
            let latest = self.stuck_until.plus(Duration::from_secs(MAX_AGE + LATE));
            let cached = self.now > *until.max(&latest)
                && self
                    .edges
                    .iter()
                    .any(|edge| edge.until.is_some_and(|end| end > self.now) && edge.kids.contains(kid));
            self.tally.forged += u64::from(shown || cached);
        }
    }

    async fn live(mut self, years: u64) -> Tally {
        let end = START.plus(Duration::from_secs(years * 365 * DAY));
        while self.now < end {
            self.look_at_the_store().await;
            self.change_the_numbers().await;
            self.restore_by_mistake().await;
            self.stick();
            self.reload().await;
            self.leak().await;
            self.turn_by_a_clock_that_is_ahead().await;
            self.look_for_leaked_keys();
            self.mint();
            self.verify();
            self.rotate().await;
            self.check_the_keyring().await;
            self.verify();
            let step = self.until_the_next_moment().await;
            self.now = self.now.plus(Duration::from_secs(step));
        }
        self.tally
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_ten_years_no_live_token_is_refused_and_one_key_is_active_at_every_instant() {
    let policy = policy();
    policy.check().unwrap();
    let worlds =
        [7, 42].map(|seed| tokio::spawn(async move { World::new(seed, policy, ALL).await.live(10).await }));
    for world in worlds {
        let tally = world.await.unwrap();
        let wrong = (tally.refused, tally.forged, tally.instants_without_one_active_key);
        assert_eq!(wrong, (0, 0, 0), "{tally:?}");
        assert!(tally.rotations > 70 && tally.verified > 500_000, "{tally:?}");
        assert!(tally.revoked > 5 && tally.mistakes > 5 && tally.ahead > 2, "{tally:?}");
    }
}

#[tokio::test]
async fn without_noting_for_how_long_a_key_is_needed_tokens_are_refused() {
    let rules = Rules { needs_are_noted: false, ..ALL };
    let tally = World::new(3, policy(), rules).await.live(2).await;
    assert!(tally.refused > 0 && tally.rotations > 10, "{tally:?}");
}

#[tokio::test]
async fn without_marks_a_key_that_was_revoked_without_the_sealing_key_goes_on() {
    let rules = Rules { marks_count: false, ..ALL };
    let tally = World::new(7, policy(), rules).await.live(2).await;
    assert!(tally.forged > 0 && tally.revoked > 1, "{tally:?}");
}

#[tokio::test]
async fn without_knowing_the_number_of_what_was_seen_a_thief_brings_revoked_keys_back() {
    let rules = Rules { servers_remember: false, losses_are_guarded: false, ..ALL };
    let tally = World::new(7, policy(), rules).await.live(2).await;
    assert!(tally.forged > 0 && tally.revoked > 0, "{tally:?}");
}

#[tokio::test]
async fn without_comparing_what_is_found_with_what_was_there_a_restored_copy_takes_keys_away() {
    let rules = Rules { losses_are_guarded: false, ..ALL };
    let tally = World::new(7, policy(), rules).await.live(2).await;
    assert!(tally.refused > 0 && tally.mistakes > 0, "{tally:?}");
}

#[tokio::test]
async fn when_keys_count_as_seen_that_nobody_was_shown_tokens_are_refused() {
    let rules = Rules { only_what_is_public_is_seen: false, ..ALL };
    let tally = World::new(7, policy(), rules).await.live(2).await;
    assert!(tally.refused > 0 && tally.rotations > 10, "{tally:?}");
}

#[tokio::test]
async fn with_the_sealing_key_a_thief_brings_revoked_keys_back() {
    let rules = Rules { thief_has_no_key: false, ..ALL };
    let tally = World::new(7, policy(), rules).await.live(2).await;
    assert!(tally.forged > 0 && tally.revoked > 0, "{tally:?}");
}

#[tokio::test]
async fn without_waiting_until_a_key_was_seen_tokens_are_refused() {
    let hasty = RotationPolicy { propagation: Duration::ZERO, ..policy() };
    let tally = World::new(7, hasty, Rules { numbers_change: false, ..ALL }).await.live(2).await;
    assert!(tally.refused > 0 && tally.rotations > 10, "{tally:?}");
}

#[tokio::test]
async fn without_keeping_retired_keys_for_the_life_of_a_token_tokens_are_refused() {
    let short = RotationPolicy { longest_token: Duration::from_secs(HOUR), ..policy() };
    let forgetful = RotationPolicy { keep_retired: short.least_keep_retired(), ..short };
    let rules = Rules { numbers_change: false, minted: Some(Duration::from_secs(DAY)), ..ALL };
    let tally = World::new(7, forgetful, rules).await.live(2).await;
    assert!(tally.refused > 0 && tally.rotations > 10, "{tally:?}");
}
