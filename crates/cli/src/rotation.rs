//! One turn of rotation: look at the JWKS as the world sees it, note what is there, take the steps that are due.
//!
//! Done by the running server every now and then, and once by `countersign keys rotate --once`. The address is the issuer's own, so
//! that what is seen has come through whatever caches stand in front. A look that fails changes nothing; keys are then known later.

use crate::{
    authority::Authority,
    config::{Config, RingConfig},
    journal,
};
use countersign_issuer::JWKS_PATH;
use countersign_jose::{Jwk, PublicKey, Timestamp, json};
use countersign_keyring::{
    Done, KeyRecord, Keyring, KeyringError, LoadedKeyring, Look, Ring, RingName, Step, StoredKeyring,
    WentBack,
};
use countersign_store::Clock;
use countersign_verifier::{Fetch, FetchLimits, HttpsFetch, KeyUrl};
use serde_json::value::RawValue;
use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

impl Turn {
    /// Records what nobody at a terminal is told: that keys could not be seen, or are not where verifiers look.
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

/// What a turn came to.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Which keys were seen, or why none could be; `None` where no key waits to be seen.
    pub(crate) look: Option<Result<BTreeSet<String>, String>>,
    /// Which keys were found in public and when, whether or not one waits to be seen; `None` where nothing could be.
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

    /// Looks, and takes the steps that are due.
    pub(crate) async fn turn(&self, now: Timestamp) -> Result<Turn, KeyringError> {
        let public = self.fetch_keys().await;
        // Read after that, so that it cannot be older.
        let keyring = self.keyring.read().await?;
        if let Ok(Public { sequence: Some(public), .. }) = &public
            && *public > keyring.keys_sequence()
        {
            let found = keyring.keys_sequence();
            return Err(KeyringError::WentBack(WentBack::PublicIsNewer { public: *public, found }));
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
            // One ring that cannot go on holds up no other, and what was done before it failed was done.
            let outcome = self.keyring.advance(&ring.spec, &ring.rotation, now, &mut done).await;
            failed = failed.and(outcome);
        }
        failed.map(|()| Turn { look, found, unreadable, unseen, early, done })
    }

    /// Keys that sign and are not in the JWKS, with the time from when on verifiers should know them.
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
        let rotations = self.rings.iter().map(|ring| &ring.rotation);
        let skew = rotations.map(|rotation| rotation.skew).max().unwrap_or_default();
        let look = Look { found: seen.clone(), began, ended };
        self.keyring.observe(&look, self.every().saturating_mul(3), skew).await?;
        Ok(Ok(seen))
    }

    async fn fetch_keys(&self) -> Result<Public, Unreadable> {
        let began = self.clock.now();
        let not_had = |why: &dyn fmt::Display| Unreadable::NotHad(why.to_string());
        let url = KeyUrl::parse(&self.address).map_err(|why| not_had(&why))?;
        let body = self.fetch.fetch(&url).await.map_err(|why| not_had(&why))?.body;
        let other = |why: &str| Unreadable::Other(why.to_owned());
        let set = json::Object::parse(&body, json::DEFAULT_DEPTH).map_err(|why| other(&why.to_string()))?;
        let keys = set.get("keys").ok_or_else(|| other("there is no `keys`"))?;
        let keys: Vec<&RawValue> =
            serde_json::from_str(keys.get()).map_err(|_| other("`keys` is not a list"))?;
        let key = |raw: &RawValue| {
            let jwk = Jwk::parse(raw.get().as_bytes()).ok()?;
            Some((jwk.kid()?.to_owned(), jwk.public_key()?))
        };
        let keys = keys.into_iter().filter_map(key).collect();
        let sequence = set.get("countersign_sequence").and_then(|text| text.get().parse().ok());
        Ok(Public { keys, sequence, began, ended: self.clock.now() })
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

    /// The public address answers when so much time has passed since it was asked.
    #[tokio::test]
    async fn a_key_is_seen_from_the_end_of_the_first_look_until_the_beginning_of_the_last() {
        const SLOW: Duration = Duration::from_secs(5);
        let start = Timestamp::from_unix_seconds(1_800_000_000);
        let clock = Arc::new(ManualClock::at(start));
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
        keyring.ensure(std::slice::from_ref(&spec), start).await.unwrap();
        let kid = keyring.prepare(&spec, Distribution::Published, start).await.unwrap().kid;
        keyring.publish(&kid, start).await.unwrap();
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
                passes.advance(SLOW);
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        let fetch = Arc::new(HttpsFetch::new(FetchLimits::default()));
        let clock = clock as Arc<dyn Clock>;
        let rotation = Rotation {
            keyring,
            rings: Vec::new(),
            unpublished: BTreeSet::new(),
            address,
            fetch,
            clock: Arc::clone(&clock),
        };
        let (first, last) = (start.plus(SLOW), start.plus(SLOW));
        for (first_seen, last_seen) in [(first, start), (first, last)] {
            let turn = rotation.turn(clock.now()).await.unwrap();
            assert_eq!(turn.look.unwrap().unwrap().len(), 2);
            let seen = rotation.keyring.read().await.unwrap().observations().of(&kid).unwrap();
            assert_eq!((seen.first_seen, seen.last_seen), (first_seen, last_seen));
        }
    }
}
