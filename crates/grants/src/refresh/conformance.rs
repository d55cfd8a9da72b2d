//! Families of refresh tokens on any store: one suite that the tests of every engine call.
//!
//! Library code behind the feature `conformance`, as the suite of the store is. Two servers have an
//! opening of the store each, and clocks that differ by as much as they may. Whatever answers are
//! lost, writes refused and requests sent at once: a token has one successor, the same for
//! everybody, a family has one live token, and no client is logged out by its own retry; a token
//! that comes after the grace window takes its family with it and no other. A way that is not here
//! is not promised.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a suite of tests says what it expects by failing"
)]

use super::{
    error::RefreshError,
    family::{Granting, MOST_TURNED, RefreshLimits},
    stored::{Begun, Families},
    token::RefreshToken,
};
use async_trait::async_trait;
use countersign_jose::Timestamp;
use countersign_keyring::{SealingKey, StoredKeyring};
use countersign_store::{Clock, Document, Expect, Key, ManualClock, Store, StoreError, Version};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

/// How many requests show one token at once.
const AT_ONCE: usize = 50;
/// How often a family is turned by that many.
const ROUNDS: usize = 4;
const LIMITS: RefreshLimits = RefreshLimits {
    grace: Duration::from_secs(30),
    idle: Duration::from_secs(3600),
    absolute: Duration::from_secs(6 * 3600),
    skew: Duration::from_secs(60),
};
/// The grace window is over on every server, whichever of them wrote when it began.
const AFTER_GRACE: Duration = Duration::from_secs(30 + 60 + 60 + 1);
const CLIENT: &str = "app";

/// What a suite came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Families that lived through something at random.
    pub histories: u64,
    /// How often a token was shown.
    pub uses: u64,
}

type Outcome = Result<RefreshToken, RefreshError>;

/// A store whose next write does not come off, or whose answer to it is lost.
#[derive(Debug)]
struct Lossy {
    inner: Arc<dyn Store>,
    next: AtomicU8,
}

const WHOLE: u8 = 0;
const REFUSED: u8 = 1;
const LOST: u8 = 2;

#[async_trait]
impl Store for Lossy {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.inner.get(key).await
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        let lost = || StoreError::Unavailable { place: "here".to_owned(), reason: "lost".to_owned() };
        match self.next.swap(WHOLE, Ordering::SeqCst) {
            REFUSED => Err(lost()),
            LOST => {
                drop(self.inner.put(key, bytes, expect, expires_at).await);
                Err(lost())
            }
            _ => self.inner.put(key, bytes, expect, expires_at).await,
        }
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        self.inner.delete(key, version).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        self.inner.list(prefix).await
    }
}

/// A server: its opening of the store, its clock.
#[derive(Debug, Clone)]
struct Server {
    families: Families,
    store: Arc<Lossy>,
    ahead: i64,
}

impl Server {
    async fn show(&self, text: &str, at: Timestamp) -> Outcome {
        self.show_as(CLIENT, text, at).await
    }

    /// As the endpoint does: the token is judged, a token is minted, the family turns.
    async fn show_as(&self, client: &str, text: &str, at: Timestamp) -> Outcome {
        let now = Timestamp::from_unix_seconds(at.unix_seconds() + self.ahead);
        let token = RefreshToken::parse(text).ok_or(RefreshError::Unknown)?;
        let found = self.families.find(client, &token, now).await?;
        tokio::task::yield_now().await;
        self.families.turn(found, &token, now).await
    }
}

/// Two servers on one store.
struct World {
    clock: Arc<ManualClock>,
    stores: [Arc<dyn Store>; 2],
    servers: [Server; 2],
    sealing: Arc<SealingKey>,
    figures: Figures,
}

impl World {
    fn new(clock: Arc<ManualClock>, stores: [Arc<dyn Store>; 2]) -> Self {
        let sealing = Arc::new(SealingKey::generate().unwrap().0);
        let half = i64::try_from(LIMITS.skew.as_secs() / 2).unwrap();
        let servers = [(0, half), (1, -half)].map(|(at, ahead)| server(&stores[at], &sealing, ahead));
        Self { clock, stores, servers, sealing, figures: Figures::default() }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn wait(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn begin(&self) -> String {
        let begun = Begun::new(granting(), self.now()).unwrap();
        self.servers[0].families.begin(begun).await.unwrap().text().to_string()
    }

    async fn show(&mut self, server: usize, text: &str) -> Outcome {
        self.figures.uses += 1;
        self.servers[server % 2].show(text, self.now()).await
    }

    /// So many at once, by turns on either server; each must be given the same.
    async fn show_at_once(&mut self, text: &str, times: usize) -> String {
        let mut tasks = JoinSet::new();
        for number in 0..times {
            let (server, text, now) = (self.servers[number % 2].clone(), text.to_owned(), self.now());
            tasks.spawn(async move { server.show(&text, now).await });
        }
        self.figures.uses += times as u64;
        let mut answers = BTreeMap::new();
        for outcome in tasks.join_all().await {
            *answers.entry(outcome.unwrap().text().to_string()).or_insert(0) += 1;
        }
        assert_eq!(answers.len(), 1, "one successor for {times} at once: {:?}", answers.values());
        answers.into_keys().next().unwrap()
    }

    /// How many of these tokens are worth a turn.
    async fn live(&self, texts: &[String]) -> usize {
        let mut live = 0;
        for text in texts {
            let token = RefreshToken::parse(text).unwrap();
            let bytes = self.document(text).await;
            let found = self.servers[0].families.peek(&token).await.unwrap();
            assert!(bytes.is_none() || found.is_some());
            live += usize::from(found.is_some_and(|found| found.family.is_live(&token)));
        }
        live
    }

    /// What is stored of the family of a token.
    async fn document(&self, text: &str) -> Option<Document> {
        let family = RefreshToken::parse(text).unwrap().family;
        self.stores[0].get(&Key::parse(&format!("refresh/{family}")).unwrap()).await.unwrap()
    }
}

fn server(store: &Arc<dyn Store>, sealing: &Arc<SealingKey>, ahead: i64) -> Server {
    let store = Arc::new(Lossy { inner: Arc::clone(store), next: AtomicU8::new(WHOLE) });
    let keyring = StoredKeyring::new(Arc::clone(&store) as _, Arc::clone(sealing));
    Server { families: Families::new(Arc::clone(&store) as _, keyring, LIMITS), store, ahead }
}

fn granting() -> Granting {
    Granting {
        client: CLIENT.to_owned(),
        provider: "login".to_owned(),
        trust: "https://login.example".to_owned(),
        grant: "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned(),
        subject: "login:alice".to_owned(),
        scope: Some("read".to_owned()),
        audiences: vec!["api://default".to_owned()],
        jkt: None,
        rule: None,
        claims: None,
        actors: Vec::new(),
        actor_rule: None,
        actor_trust: None,
        longest: None,
    }
}

/// Runs all cases, and `histories` of a client to which things happen at random. `open` opens an
/// empty store twice, each time a new one, on this clock.
///
/// Needs a Tokio runtime; use one with several threads, or what is done at once proves little.
///
/// # Panics
///
/// When a family does what it must not; the message says what.
pub async fn run(histories: u64, open: impl AsyncFn(Arc<dyn Clock>) -> [Arc<dyn Store>; 2]) -> Figures {
    let mut figures = Figures::default();
    let world = async || {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)));
        World::new(Arc::clone(&clock), open(clock).await)
    };
    macro_rules! cases {
        ($($case:ident),+ $(,)?) => {$(
            let mut bench = world().await;
            $case(&mut bench).await;
            figures.uses += bench.figures.uses;
        )+};
    }
    cases![
        fifty_at_once_on_two_servers_get_one_successor,
        a_lost_answer_is_given_again_and_a_write_that_failed_changes_nothing,
        a_replay_after_the_grace_window_ends_its_family_and_no_other,
        a_replay_that_races_with_a_turn_ends_the_family,
        a_family_ends_when_it_was_idle_or_exists_for_too_long,
        a_token_of_another_client_or_made_up_changes_nothing,
        too_many_turns_in_one_window_are_refused_and_log_nobody_out,
        what_is_stored_leads_to_no_token_and_cannot_be_made_by_others,
        a_store_that_went_back_revokes_nothing_and_accepts_nothing_newer,
    ];
    let mut bench = world().await;
    for seed in 1..=histories {
        history(&mut bench, seed).await;
    }
    figures.uses += bench.figures.uses;
    figures.histories = histories;
    figures
}

async fn fifty_at_once_on_two_servers_get_one_successor(world: &mut World) {
    let mut all = vec![world.begin().await];
    for _ in 0..ROUNDS {
        let held = all.last().unwrap().clone();
        let next = world.show_at_once(&held, AT_ONCE).await;
        // And again, when it has turned.
        assert_eq!(world.show_at_once(&held, AT_ONCE).await, next);
        all.push(next);
        assert_eq!(world.live(&all).await, 1);
    }
    // Those before are worth their own successors still.
    for pair in all.windows(2) {
        let [old, next] = pair else { panic!("a pair") };
        assert_eq!(world.show(0, old).await.unwrap().text().as_str(), next);
    }
    assert_eq!(world.live(&all).await, 1);
}

async fn a_lost_answer_is_given_again_and_a_write_that_failed_changes_nothing(world: &mut World) {
    for (server, fate) in [(0, LOST), (1, LOST), (0, REFUSED), (1, REFUSED)] {
        let text = world.begin().await;
        world.servers[server].store.next.store(fate, Ordering::SeqCst);
        let why = world.show(server, &text).await.unwrap_err();
        assert!(why.is_temporary(), "{server}, {fate}: {why}");
        world.wait(LIMITS.grace);
        // A process that died after the write, or before it: another one is asked.
        let next = world.show(server + 1, &text).await.unwrap().text().to_string();
        assert_eq!(world.live(&[text, next.clone()]).await, 1);
        world.wait(AFTER_GRACE);
        world.show(server, &next).await.unwrap();
    }
}

async fn a_replay_after_the_grace_window_ends_its_family_and_no_other(world: &mut World) {
    let (old, other) = (world.begin().await, world.begin().await);
    let live = world.show(0, &old).await.unwrap().text().to_string();
    world.wait(LIMITS.grace);
    assert_eq!(world.show(1, &old).await.unwrap().text().as_str(), live, "the last moment");
    world.wait(AFTER_GRACE - LIMITS.grace);
    let why = world.show(1, &old).await.unwrap_err();
    assert!(matches!(why, RefreshError::Replayed { generation: 1, live: 2, .. }), "{why}");
    for (server, text) in [(0, &live), (1, &live), (0, &old)] {
        assert_eq!(world.show(server, text).await, Err(RefreshError::Unknown));
    }
    world.show(0, &other).await.unwrap();
}

/// Whichever comes first: a thief and his victim do not both go on.
async fn a_replay_that_races_with_a_turn_ends_the_family(world: &mut World) {
    for _ in 0..10 {
        let old = world.begin().await;
        let live = world.show(0, &old).await.unwrap().text().to_string();
        world.wait(AFTER_GRACE);
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let (server, now) = (world.servers[number % 2].clone(), world.now());
            let text = if number % 4 < 2 { old.clone() } else { live.clone() };
            tasks.spawn(async move { server.show(&text, now).await.ok() });
        }
        let answers: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        world.figures.uses += 8;
        for token in answers {
            assert_eq!(world.show(0, &token.text()).await, Err(RefreshError::Unknown));
        }
        assert_eq!(world.document(&old).await, None);
    }
}

async fn a_family_ends_when_it_was_idle_or_exists_for_too_long(world: &mut World) {
    let (began, mut text) = (world.now(), world.begin().await);
    let step = LIMITS.idle - LIMITS.skew * 2;
    loop {
        world.wait(step);
        let age = world.now().since(began);
        match world.show(0, &text).await {
            Ok(next) => {
                assert!(age < LIMITS.absolute, "{age:?}: a turn moves the end");
                text = next.text().to_string();
            }
            Err(why) => {
                assert!(matches!(why, RefreshError::Ended | RefreshError::Unknown), "{why}");
                assert!(age + step > LIMITS.absolute - LIMITS.skew * 2, "{age:?}: too early");
                break;
            }
        }
    }
    let idle = world.begin().await;
    world.wait(LIMITS.idle + LIMITS.skew);
    let why = world.show(1, &idle).await.unwrap_err();
    assert!(matches!(why, RefreshError::Ended | RefreshError::Unknown), "{why}");
}

async fn a_token_of_another_client_or_made_up_changes_nothing(world: &mut World) {
    let old = world.begin().await;
    let live = world.show(0, &old).await.unwrap().text().to_string();
    world.wait(AFTER_GRACE);
    let before = world.document(&old).await;
    let now = world.now();
    for text in [&old, &live] {
        let refused = world.servers[0].show_as("another", text, now).await;
        assert_eq!(refused, Err(RefreshError::OtherClient));
        for at in [8, 30, 40, 60, 80] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let made_up = String::from_utf8(bytes).unwrap();
            assert_eq!(world.show(1, &made_up).await, Err(RefreshError::Unknown), "{at}");
        }
    }
    assert_eq!(world.document(&old).await, before);
    world.show(1, &live).await.unwrap();
}

async fn too_many_turns_in_one_window_are_refused_and_log_nobody_out(world: &mut World) {
    let mut all = vec![world.begin().await];
    while all.len() <= MOST_TURNED {
        let text = all.last().unwrap().clone();
        all.push(world.show(all.len(), &text).await.unwrap().text().to_string());
    }
    let held = all.last().unwrap().clone();
    assert_eq!(world.show(0, &held).await, Err(RefreshError::TooFast));
    assert_eq!(world.show(1, &all[0].clone()).await.unwrap().text().as_str(), all[1]);
    world.wait(AFTER_GRACE);
    world.show(0, &held).await.unwrap();
}

async fn what_is_stored_leads_to_no_token_and_cannot_be_made_by_others(world: &mut World) {
    let old = world.begin().await;
    let live = world.show(0, &old).await.unwrap().text().to_string();
    let Document { bytes, version, .. } = world.document(&old).await.unwrap();
    let stored = String::from_utf8(bytes.clone()).unwrap();
    for text in [&old, &live] {
        // Any 12 characters of the secret.
        let secret = &text[34..76];
        let parts: Vec<&str> = (0..secret.len() - 12).map(|at| &secret[at..at + 12]).collect();
        assert!(parts.into_iter().all(|part| !stored.contains(part)), "{stored}");
    }
    // Somebody who can write to the store makes himself another subject, or a family of his own.
    let name = Key::parse(&format!("refresh/{}", RefreshToken::parse(&old).unwrap().family)).unwrap();
    let forged = stored.replace("login:alice", "login:admin");
    let own = World::new(Arc::clone(&world.clock), world.stores.clone());
    assert_ne!(forged, stored);
    let version =
        world.stores[0].put(&name, forged.as_bytes(), Expect::Version(version), None).await.unwrap();
    assert_eq!(world.show(0, &live).await, Err(RefreshError::Altered));
    // With a sealing key that is not this authority's.
    let begun = own.begin().await;
    assert_eq!(world.show(0, &begun).await, Err(RefreshError::Altered));
    // One family's document under the name of another.
    let other = world.begin().await;
    let copy = world.document(&other).await.unwrap().bytes;
    let version = world.stores[0].put(&name, &copy, Expect::Version(version), None).await.unwrap();
    assert_eq!(world.show(0, &live).await, Err(RefreshError::Altered));
    for damaged in ["", "{}", "null", "{\"format\":2}", &stored[..stored.len() - 1]] {
        let at = world.document(&old).await.unwrap().version;
        world.stores[0].put(&name, damaged.as_bytes(), Expect::Version(at), None).await.unwrap();
        assert_eq!(world.show(0, &live).await, Err(RefreshError::Altered));
    }
    drop(version);
    let at = world.document(&old).await.unwrap().version;
    world.stores[0].put(&name, &bytes, Expect::Version(at), None).await.unwrap();
    world.show(0, &live).await.unwrap();
    // While one sealing key takes the place of another, what either has tagged is read.
    let (next, before) = (Arc::new(SealingKey::generate().unwrap().0), Arc::clone(&world.sealing));
    let store = Arc::clone(&world.stores[0]);
    let keyring = StoredKeyring::new(
        Arc::clone(&store),
        countersign_keyring::Sealing::new(Arc::clone(&next)).also(before),
    );
    let changing = Server {
        families: Families::new(store, keyring, LIMITS),
        store: Arc::clone(&world.servers[0].store),
        ahead: 0,
    };
    let turned = changing.show(&other, world.now()).await.unwrap().text().to_string();
    let after = server(&world.stores[1], &next, 0);
    after.show(&turned, world.now()).await.unwrap();
}

async fn a_store_that_went_back_revokes_nothing_and_accepts_nothing_newer(world: &mut World) {
    let first = world.begin().await;
    let copy = world.document(&first).await.unwrap();
    let second = world.show(0, &first).await.unwrap().text().to_string();
    let third = world.show(0, &second).await.unwrap().text().to_string();
    let name = Key::parse(&format!("refresh/{}", RefreshToken::parse(&first).unwrap().family)).unwrap();
    let version = world.document(&first).await.unwrap().version;
    world.stores[0].put(&name, &copy.bytes, Expect::Version(version), copy.expires_at).await.unwrap();
    for text in [&second, &third] {
        assert_eq!(world.show(1, text).await, Err(RefreshError::Unknown));
    }
    world.show(1, &first).await.unwrap();
}

/// Numbers that look random, and are the same for one seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// A client that always uses the newest token it was given, and retries what was not answered
/// inside the grace window.
async fn history(world: &mut World, seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut all = vec![world.begin().await];
    for step in 0..12 {
        let held = all.last().unwrap().clone();
        let server = usize::try_from(random.below(2)).unwrap();
        let next = match random.below(6) {
            0 => world.show(server, &held).await.unwrap().text().to_string(),
            1 | 2 => {
                let fate = if random.below(2) == 0 { LOST } else { REFUSED };
                world.servers[server].store.next.store(fate, Ordering::SeqCst);
                assert!(world.show(server, &held).await.unwrap_err().is_temporary(), "{seed}, {step}");
                world.wait(Duration::from_secs(random.below(LIMITS.grace.as_secs() + 1)));
                world.show(server + 1, &held).await.unwrap().text().to_string()
            }
            3 => world.show_at_once(&held, 2 + server * 3).await,
            4 if all.len() > 1 => {
                // Another tab of it has the token before, and is inside the window.
                let next = world.show(server, &held).await.unwrap().text().to_string();
                assert_eq!(world.show(server + 1, &held).await.unwrap().text().as_str(), next);
                next
            }
            _ => {
                // Twelve times that is less than it may be idle.
                world.wait(Duration::from_secs(random.below(250)));
                continue;
            }
        };
        all.push(next);
        assert_eq!(world.live(&all).await, 1, "{seed}, {step}: one live branch");
        if random.below(3) == 0 {
            world.wait(AFTER_GRACE);
        }
    }
    if all.len() > 1 {
        world.wait(AFTER_GRACE);
        let old = usize::try_from(random.below(all.len() as u64 - 1)).unwrap();
        let why = world.show(0, &all[old].clone()).await.unwrap_err();
        assert!(matches!(why, RefreshError::Replayed { .. }), "{seed}: {why}");
        assert_eq!(world.live(&all).await, 0);
    }
}
