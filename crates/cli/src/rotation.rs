//! One turn of rotation: look at the JWKS as the world sees it, note what is there, take the steps
//! that are due.
//!
//! Done by the running server every now and then, and once by `countersign keys rotate --once`. The
//! address is the issuer's own, so that what is seen has come through whatever caches stand in
//! front. A look that fails changes nothing; keys are then known later.
//!
//! No step is taken by a clock that is known to be wrong: one that is ahead would remove keys whose
//! tokens live, and write times into the keyring that every other instance has to live with. A
//! process that runs knows how its clock has gone on; one that has just begun compares it with what
//! the answer says of the time (docs/decisions/0081).

use crate::{
    authority::Authority,
    config::{Config, RingConfig},
    failure::{Failure, away},
    journal,
};
use countersign_issuer::{Issuer, JWKS_PATH};
use countersign_jose::{Jwk, PublicKey, Timestamp, json};
use countersign_keyring::{
    Done, KeyRecord, Keyring, KeyringError, LoadedKeyring, Look, Ring, RingName, Step, StoredKeyring,
    WentBack,
};
use countersign_store::Clock;
use countersign_verifier::{Fetch, FetchLimits, Fetched, HttpsFetch, KeyUrl, Stated};
use serde_json::value::RawValue;
use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

impl Turn {
    /// Records what nobody at a terminal is told: that keys could not be seen, or are not where
    /// verifiers look.
    pub(crate) fn record(&self, address: &str) {
        if let Some(Err(why)) = &self.look {
            tracing::warn!("the keys cannot be seen at {address}: {why}");
        }
        for (ring, kid) in &self.unseen {
            tracing::error!(ring = ring.as_str(), kid, "this key signs and is not in {address}");
        }
    }
}

/// Everything a turn needs.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    keyring: StoredKeyring,
    rings: Vec<RingConfig>,
    /// Rings whose keys are in no JWKS.
    unpublished: BTreeSet<RingName>,
    /// Where the world finds the keys.
    pub(crate) address: String,
    fetch: Arc<HttpsFetch>,
    clock: Arc<dyn Clock>,
}

/// Why nothing is known of the keys in public.
#[derive(Debug, Clone)]
pub(crate) enum Unreadable {
    /// No document came from there.
    NotHad(String),
    /// What came is no JWK Set.
    Other(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHad(why) => f.write_str(why),
            Self::Other(why) => write!(f, "what is there is no JWK Set: {why}"),
        }
    }
}

/// By what a turn knows whether its clock is right.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Witness<'a> {
    /// By the time that has passed since this process began to serve.
    Running(&'a Issuer),
    /// By what the answer with the JWKS says of the time. Where none comes, nothing is known.
    Answer,
}

/// Why no turn was taken, or not all of it.
#[derive(Debug)]
pub(crate) enum TurnError {
    /// The clock is not right. Nothing was changed.
    Clock(String),
    /// The keyring cannot be read or changed.
    Keyring(KeyringError),
}

impl fmt::Display for TurnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(why) => write!(f, "no key is made, activated or removed: {why}"),
            Self::Keyring(why) => why.fmt(f),
        }
    }
}

impl From<KeyringError> for TurnError {
    fn from(why: KeyringError) -> Self {
        Self::Keyring(why)
    }
}

impl From<TurnError> for Failure {
    fn from(why: TurnError) -> Self {
        match why {
            TurnError::Clock(_) => away("clock_differs", why),
            TurnError::Keyring(why) => why.into(),
        }
    }
}

/// What a turn came to.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Which keys were seen, or why none could be; `None` where no key waits to be seen.
    pub(crate) look: Option<Result<BTreeSet<String>, String>>,
    /// Which keys were found in public and when, whether or not one waits to be seen; `None` where
    /// nothing could be.
    pub(crate) found: Option<(BTreeSet<String>, Timestamp)>,
    /// Why the JWKS could not be read, whether or not a key waits to be seen in it.
    pub(crate) unreadable: Option<Unreadable>,
    /// Keys that sign and were not there, though verifiers should have them by now.
    pub(crate) unseen: Vec<(RingName, String)>,
    /// Keys that sign and were not there, which verifiers need not have before the time.
    pub(crate) early: Vec<(RingName, String, Timestamp)>,
    /// The steps that were taken.
    pub(crate) done: Vec<Done>,
}

impl Rotation {
    pub(crate) fn new(config: &Config, authority: &Authority) -> Self {
        Self {
            keyring: authority.keyring.clone().with_journal(journal::of(Some("rotation"))),
            rings: config.rings.clone(),
            unpublished: config.unpublished_rings.clone(),
            address: config.issuer.join(JWKS_PATH),
            fetch: Arc::new(HttpsFetch::new(FetchLimits::default())),
            clock: Arc::clone(&authority.clock),
        }
    }

    /// How often a turn is to be taken.
    pub(crate) fn every(&self) -> Duration {
        self.rings.iter().map(|ring| ring.rotation.observe_every).min().unwrap_or(Duration::from_secs(300))
    }

    /// How long it is until the documents will be others, as far as that is planned.
    pub(crate) fn until_change(&self, keyring: &Keyring, now: Timestamp) -> Option<Duration> {
        let shown = |ring: &&RingConfig| !self.unpublished.contains(&ring.spec.name);
        let rings = self.rings.iter().filter(|ring| ring.spec.make_first_key).filter(shown);
        let changes = rings.filter_map(|ring| {
            keyring.ring(&ring.spec.name)?.next_change(&ring.rotation, now).map(|at| at.since(now))
        });
        changes.min()
    }

    /// Whether a ring that makes its own keys has none that signs.
    pub(crate) fn lacks_a_key(&self, keys: &LoadedKeyring) -> bool {
        let mut own = self.rings.iter().filter(|ring| ring.spec.make_first_key);
        own.any(|ring| keys.ring(&ring.spec.name).is_none_or(|ring| ring.active().is_none()))
    }

    /// Looks, and takes the steps that are due, unless the clock is not right.
    pub(crate) async fn turn(&self, now: Timestamp, witness: Witness<'_>) -> Result<Turn, TurnError> {
        if let Witness::Running(issuer) = witness
            && let Some(jump) = issuer.clock_jump()
        {
            return Err(TurnError::Clock(format!(
                "{jump}; set the clock right; if it is right now, it is believed after {}, and at once by a server that is restarted \
                 or reloads",
                humantime::format_duration(issuer.settings().patience.clock_settles)
            )));
        }
        let (public, told) = self.fetch_keys().await;
        if let (Witness::Answer, Some(why)) = (witness, told.and_then(|told| told.contradicts(self.skew()))) {
            let address = &self.address;
            return Err(TurnError::Clock(format!(
                "{why} (Date) by the answer from {address}, which is more than rotation.skew apart; set the clock of this machine \
                 right, or where it is, that of the server at that address"
            )));
        }
        // Read after that, so that it cannot be older.
        let keyring = self.keyring.read().await?;
        if let Ok(Public { sequence: Some(public), .. }) = &public
            && *public > keyring.keys_sequence()
        {
            let found = keyring.keys_sequence();
            return Err(KeyringError::WentBack(WentBack::PublicIsNewer { public: *public, found }).into());
        }
        let missing = match &public {
            Ok(public) => self.missing(&keyring, public),
            Err(_) => Vec::new(),
        };
        let (due, early): (Vec<_>, Vec<_>) = missing.into_iter().partition(|(_, _, due)| *due < now);
        let unseen: Vec<_> = due.into_iter().map(|(ring, kid, _)| (ring, kid)).collect();
        // Where no key of ours has to be in public, nobody misses it.
        let unreadable = public.as_ref().err().filter(|_| self.signs_in_public(&keyring)).cloned();
        let found = public.as_ref().ok().map(|public| (ours(&keyring, &public.keys), public.began));
        let look =
            if self.somebody_waits(&keyring) { Some(self.look(&keyring, public).await?) } else { None };
        let (mut done, mut failed) = (Vec::new(), Ok(()));
        for ring in &self.rings {
            // One ring that cannot go on holds up no other, and what was done before it failed was
            // done.
            let outcome = self.keyring.advance(&ring.spec, &ring.rotation, now, &mut done).await;
            failed = failed.and(outcome);
        }
        failed?;
        Ok(Turn { look, found, unreadable, unseen, early, done })
    }

    /// How far clocks may differ.
    fn skew(&self) -> Duration {
        self.rings.iter().map(|ring| ring.rotation.skew).max().unwrap_or_default()
    }

    /// Keys that sign and are not in the JWKS, with the time from when on verifiers should know
    /// them.
    fn missing(&self, keyring: &Keyring, public: &Public) -> Vec<(RingName, String, Timestamp)> {
        let seen = ours(keyring, &public.keys);
        let missing = self.in_public(keyring).filter_map(|(ring, active)| {
            let due = active.published_at?.plus(ring.rotation.propagation);
            (!seen.contains(&active.kid)).then(|| (ring.spec.name.clone(), active.kid.clone(), due))
        });
        missing.collect()
    }

    /// Whether a key signs that verifiers look for in the JWKS.
    fn signs_in_public(&self, keyring: &Keyring) -> bool {
        self.in_public(keyring).next().is_some()
    }

    /// The keys that sign and that verifiers look for in the JWKS.
    fn in_public<'a>(
        &'a self,
        keyring: &'a Keyring,
    ) -> impl Iterator<Item = (&'a RingConfig, &'a KeyRecord)> + 'a {
        let published = self.rings.iter().filter(|ring| !self.unpublished.contains(&ring.spec.name));
        published.filter_map(|ring| {
            let active = keyring.ring(&ring.spec.name)?.active()?;
            active.public_key().map(|_| (ring, active))
        })
    }

    /// Whether a published key waits until verifiers know it.
    fn somebody_waits(&self, keyring: &Keyring) -> bool {
        let waits = |ring: &Ring| {
            ring.successor().is_some_and(|key| key.state.is_public() && key.public_key().is_some())
        };
        keyring.rings().any(|(name, ring)| !self.unpublished.contains(name) && waits(ring))
    }

    async fn look(
        &self,
        keyring: &Keyring,
        public: Result<Public, Unreadable>,
    ) -> Result<Result<BTreeSet<String>, String>, KeyringError> {
        let Public { keys, began, ended, .. } = match public {
            Ok(public) => public,
            Err(why) => return Ok(Err(why.to_string())),
        };
        let seen = ours(keyring, &keys);
        let look = Look { found: seen.clone(), began, ended };
        self.keyring.observe(&look, self.every().saturating_mul(3), self.skew()).await?;
        Ok(Ok(seen))
    }

    /// The keys that the world sees, and what the answer says of the time, if one came.
    async fn fetch_keys(&self) -> (Result<Public, Unreadable>, Option<ToldTime>) {
        let began = self.clock.now();
        let fetched = match KeyUrl::parse(&self.address) {
            Ok(url) => self.fetch.fetch(&url).await.map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        };
        let ended = self.clock.now();
        match fetched {
            Ok(Fetched { body, stated, .. }) => {
                (Public::parse(&body, began, ended), ToldTime::of(&stated, began, ended))
            }
            Err(why) => (Err(Unreadable::NotHad(why)), None),
        }
    }
}

impl Public {
    fn parse(body: &[u8], began: Timestamp, ended: Timestamp) -> Result<Self, Unreadable> {
        let other = |why: &str| Unreadable::Other(why.to_owned());
        let set = json::Object::parse(body, json::DEFAULT_DEPTH).map_err(|why| other(&why.to_string()))?;
        let keys = set.get("keys").ok_or_else(|| other("there is no `keys`"))?;
        let keys: Vec<&RawValue> =
            serde_json::from_str(keys.get()).map_err(|_| other("`keys` is not a list"))?;
        let key = |raw: &RawValue| {
            let jwk = Jwk::parse(raw.get().as_bytes()).ok()?;
            Some((jwk.kid()?.to_owned(), jwk.public_key()?))
        };
        let keys = keys.into_iter().filter_map(key).collect();
        let sequence = set.get("countersign_sequence").and_then(|text| text.get().parse().ok());
        Ok(Self { keys, sequence, began, ended })
    }
}

/// What an answer says of the time, and when it came by the clock of this machine.
#[derive(Debug, Clone, Copy)]
struct ToldTime {
    date: Timestamp,
    /// Some caches say when the answer was made, and others when they passed it on: it is as late
    /// as that or this much later.
    age: Duration,
    began: Timestamp,
    ended: Timestamp,
}

impl ToldTime {
    fn of(stated: &Stated, began: Timestamp, ended: Timestamp) -> Option<Self> {
        Some(Self { date: stated.date?, age: stated.age, began, ended })
    }

    /// Why the clock of this machine cannot be right if the other one is, and clocks differ by no
    /// more than `skew`. A slow answer says nothing of that, nor does what times lose in whole
    /// seconds.
    fn contradicts(self, skew: Duration) -> Option<String> {
        let Self { date, age, began, ended } = self;
        let within = skew.saturating_add(Duration::from_secs(1));
        let latest = date.plus(age);
        let (here, there) = match () {
            () if began > latest.plus(within) => (began, latest),
            () if ended.plus(within) < date => (ended, date),
            () => return None,
        };
        Some(format!("it is {here} by the clock of this machine and {there}"))
    }
}

/// The JWKS as the world sees it.
struct Public {
    keys: Vec<(String, PublicKey)>,
    /// How many changes of the keyring it is from.
    sequence: Option<u64>,
    /// When it was asked for, and when it had come.
    began: Timestamp,
    ended: Timestamp,
}

/// The names of those of the keys that are ours. A key of that name is not yet this key.
fn ours(keyring: &Keyring, keys: &[(String, PublicKey)]) -> BTreeSet<String> {
    let is_ours = |(kid, key): &&(String, PublicKey)| {
        keyring.find(kid).and_then(|(_, record)| record.public_key()).as_ref() == Some(key)
    };
    keys.iter().filter(is_ours).map(|(kid, _)| kid.clone()).collect()
}

/// What a turn came to, for programs.
pub(crate) fn report(turn: &Turn) -> serde_json::Value {
    let done = turn
        .done
        .iter()
        .map(|done| serde_json::json!({ "ring": done.ring, "step": name(&done.step), "kid": done.kid }));
    let (seen, failure) = match &turn.look {
        None => (None, None),
        Some(Ok(seen)) => (Some(seen), None),
        Some(Err(why)) => (None, Some(why)),
    };
    let seen = seen.map(BTreeSet::len);
    serde_json::json!({ "seen": seen, "look_failed": failure, "done": done.collect::<Vec<_>>() })
}

/// The word for a step.
pub(crate) fn name(step: &Step) -> &'static str {
    match step {
        Step::Make => "make",
        Step::Publish(_) => "publish",
        Step::Activate(_) => "activate",
        Step::Remove(_) => "remove",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_jose::{Algorithm, KeySize};
    use countersign_keyring::{Distribution, KeyPlace, RingSpec, Sealing, SealingKey};
    use countersign_store::{ManualClock, MemoryStore};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    /// A keyring in which a key waits to be seen, a public address that shows its keys with these
    /// headers when so much time has passed since it was asked, and the key that waits.
    async fn scene(headers: &'static str, slow: Duration) -> (Rotation, Arc<dyn Clock>, String) {
        let clock = Arc::new(ManualClock::at(START));
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as _));
        let sealing = Sealing::new(Arc::new(SealingKey::generate().unwrap().0));
        let keyring = StoredKeyring::new(store, sealing);
        let spec = RingSpec {
            name: "default".parse().unwrap(),
            algorithm: Algorithm::ES256,
            size: KeySize::Rsa2048,
            make_first_key: true,
            place: KeyPlace::Here,
        };
        keyring.ensure(std::slice::from_ref(&spec), START).await.unwrap();
        let kid = keyring.prepare(&spec, Distribution::Published, START).await.unwrap().kid;
        keyring.publish(&kid, START).await.unwrap();
        let stored = keyring.read().await.unwrap();
        let keys: Vec<_> =
            stored.rings().flat_map(|(_, ring)| ring.keys()).filter_map(|key| key.public_jwk()).collect();
        let body = serde_json::json!({ "keys": keys }).to_string();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/jwks", listener.local_addr().unwrap());
        let passes = Arc::clone(&clock);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                passes.advance(slow);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        let fetch = Arc::new(HttpsFetch::new(FetchLimits::default()));
        let clock = clock as Arc<dyn Clock>;
        let (rings, unpublished) = (Vec::new(), BTreeSet::new());
        let rotation = Rotation { keyring, rings, unpublished, address, fetch, clock: Arc::clone(&clock) };
        (rotation, clock, kid)
    }

    #[tokio::test]
    async fn a_key_is_seen_from_the_end_of_the_first_look_until_the_beginning_of_the_last() {
        const SLOW: Duration = Duration::from_secs(5);
        let (rotation, clock, kid) = scene("", SLOW).await;
        let (first, last) = (START.plus(SLOW), START.plus(SLOW));
        for (first_seen, last_seen) in [(first, START), (first, last)] {
            let turn = rotation.turn(clock.now(), Witness::Answer).await.unwrap();
            assert_eq!(turn.look.unwrap().unwrap().len(), 2);
            let seen = rotation.keyring.read().await.unwrap().observations().of(&kid).unwrap();
            assert_eq!((seen.first_seen, seen.last_seen), (first_seen, last_seen));
        }
    }

    #[tokio::test]
    async fn nothing_is_changed_where_the_answer_says_that_the_clock_is_wrong() {
        for (headers, is_right) in [
            ("Date: Fri, 15 Jan 2027 08:00:00 GMT\r\n", true),
            ("Date: Thu, 14 Jan 2027 08:00:00 GMT\r\nAge: 86400\r\n", true),
            ("Date: no date\r\n", true),
            ("Date: Thu, 14 Jan 2027 08:00:00 GMT\r\n", false),
            ("Date: Sat, 16 Jan 2027 08:00:00 GMT\r\nAge: 86400\r\n", false),
        ] {
            let (rotation, clock, kid) = scene(headers, Duration::ZERO).await;
            let before = rotation.keyring.read().await.unwrap();
            let turn = rotation.turn(clock.now(), Witness::Answer).await;
            let after = rotation.keyring.read().await.unwrap();
            if is_right {
                assert!(turn.is_ok() && after.observations().of(&kid).is_some(), "{headers}: {turn:?}");
                continue;
            }
            let why = turn.unwrap_err().to_string();
            assert!(why.contains("2027-01-15T08:00:00Z by the clock of this machine"), "{headers}: {why}");
            assert!(why.contains("rotation.skew") && why.contains(&rotation.address), "{headers}: {why}");
            assert_eq!(before, after, "{headers}");
        }
    }

    #[test]
    fn an_answer_contradicts_the_clock_only_where_no_delay_explains_the_difference() {
        let (skew, second) = (Duration::from_secs(60), Duration::from_secs(1));
        let at = |seconds: i64| Timestamp::from_unix_seconds(1_800_000_000 + seconds);
        let contradicts = |date, age, began, ended| {
            let told = ToldTime {
                date: at(date),
                age: Duration::from_secs(age),
                began: at(began),
                ended: at(ended),
            };
            told.contradicts(skew)
        };
        let within = i64::try_from((skew + second).as_secs()).unwrap();
        // Right, as far apart as clocks may be, a slow answer, and one that a cache has kept.
        for (date, age, began, ended) in [
            (0, 0, 0, 0),
            (0, 0, within, within),
            (within, 0, 0, 0),
            (500, 0, 0, 500),
            (0, 0, 0, 500),
            (0, 500, 500, 500),
            (500, 500, 500, 500),
        ] {
            assert_eq!(contradicts(date, age, began, ended), None, "{date} {age} {began} {ended}");
        }
        let ahead = contradicts(0, 0, within + 1, within + 1).unwrap();
        assert!(
            ahead.contains("2027-01-15T08:01:02Z by the clock of this machine and 2027-01-15T08:00:00Z"),
            "{ahead}"
        );
        assert!(contradicts(within + 1, 0, 0, 0).is_some(), "behind");
        assert!(contradicts(0, 500, 500 + within + 1, 600 + within).is_some(), "ahead of what was kept");
        assert!(contradicts(500, 500, 0, 400).is_some(), "behind what was kept");
    }
}
