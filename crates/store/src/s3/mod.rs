//! The S3 engine: an object for each document, in a bucket of Amazon S3 or a service that has
//! conditional writes.
//!
//! A change reads the object, decides, and writes it on the condition that it is still what was
//! read (`If-Match`, or `If-None-Match: *` where nothing was). A write whose answer is lost is
//! followed by a read: a version is made by its writer, so one's own is known again, and no write
//! is reported to have failed that did not, nor the other way round. A document is never removed
//! but replaced by a head that says so: S3's `DELETE` under a condition is ignored by many
//! services, and a late write could bring a removed document back (docs/decisions/0016).
//!
//! `connect` asks S3, `credentials` is who asks, `config` the URL, `schema` the shape of objects,
//! `probe` refuses services that lie, `error` translates. Pinned by `tests/s3/`.

mod config;
mod connect;
mod credentials;
mod error;
mod probe;
mod schema;

use std::sync::Arc;

use async_trait::async_trait;
use countersign_aws::ATTEMPTS;
use countersign_jose::Timestamp;
use tokio::{sync::OnceCell, task::JoinSet};

pub use self::{
    config::S3Config,
    connect::{Bucket, Condition, Listed, Object, Part, ServedAs},
};
use self::{
    connect::pause,
    schema::{Fate, Head, MAX_HEAD, MAX_OBJECT, Mark},
};
use crate::{
    Clock, Document, Expect, Key, Missing, Store, StoreError, Version,
    uninterrupted::{Engine, Permits, Uninterrupted},
};

/// How many objects `list` reads at once.
const READERS: usize = 16;

/// How many operations are under way at most.
const OPERATIONS: usize = 32;

/// Documents in a bucket.
pub type S3Store = Uninterrupted<S3Engine>;

/// The engine itself.
pub struct S3Engine {
    bucket: Arc<Bucket>,
    clock: Arc<dyn Clock>,
    /// Whether the service is known to keep to conditions: tried before the first write at the
    /// latest.
    proven: OnceCell<()>,
}

impl std::fmt::Debug for S3Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Store").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

/// What is to happen to a document that is in some state.
enum Verdict {
    Write,
    Nothing,
    Conflict,
}

impl S3Store {
    /// Reads the mark. Where none exists, or the service has not passed the probe at this
    /// endpoint and in this bucket, and [`S3Config::missing`] is not `Refuse`, the service is tried
    /// and the mark written. With `Refuse` nothing is written before the first document is. Any
    /// number of processes may do so at once.
    ///
    /// # Errors
    ///
    /// `Missing`: no store, and none is to be made. `Misconfigured`: no such bucket, no
    /// credentials, a service that ignores conditions, objects of another program, a store of a
    /// newer version. `Denied`: the role's rights. `Unavailable`: nobody answers in time.
    pub async fn open(config: S3Config, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let (missing, patience) = (config.missing, config.turn_timeout);
        let bucket = Arc::new(Bucket::connect(config).await?);
        let mark = schema::find(&bucket, missing).await?;
        let proven = if matches!(mark, Mark::Proven) || missing != Missing::Refuse {
            schema::prove(&bucket, mark).await?;
            OnceCell::new_with(Some(()))
        } else {
            OnceCell::new()
        };
        Ok(Self::new(S3Engine { bucket, clock, proven }, Permits::shared(OPERATIONS, patience)))
    }
}

impl S3Engine {
    fn place(&self) -> &str {
        self.bucket.place()
    }

    /// Replaces what is under `key` if `decide` says so about the live document that is there.
    async fn change(
        &self,
        key: &Key,
        head: &Head,
        bytes: &[u8],
        decide: impl Fn(Option<&Head>) -> Verdict,
    ) -> Result<(), StoreError> {
        let name = key.as_str();
        let object = head.with(bytes);
        // An attempt that may have taken effect, though nobody said so.
        let mut lost = None;
        for attempt in 1..=ATTEMPTS {
            let found = self.bucket.read(name, Part::Whole { at_most: MAX_OBJECT }).await?;
            let (condition, there) = match found {
                None => (Condition::Absent, None),
                Some(found) => {
                    let (there, _) = self.head(name, &found.bytes)?;
                    (Condition::Unchanged(found.etag.unwrap_or_default()), Some(there))
                }
            };
            if there.as_ref().is_some_and(|there| there.version == head.version) {
                return Ok(());
            }
            let now = self.clock.now();
            match decide(there.as_ref().filter(|there| there.is_live(now))) {
                Verdict::Write => {}
                Verdict::Nothing => return Ok(()),
                Verdict::Conflict if lost.is_some() => return Err(error::unknown(self.place())),
                Verdict::Conflict => return Err(StoreError::Conflict { key: key.clone() }),
            }
            match self.bucket.write(name, object.clone(), condition).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                Err(why @ StoreError::Unavailable { .. }) => lost = Some(why),
                Err(why) => return Err(why),
            }
            pause(attempt).await;
        }
        Err(lost.unwrap_or_else(|| error::contended(self.place())))
    }

    /// Before the first write through a store that was opened for reading.
    async fn prove(&self) -> Result<(), StoreError> {
        let prove = || async {
            let mark = schema::find(&self.bucket, Missing::Refuse).await?;
            schema::prove(&self.bucket, mark).await
        };
        self.proven.get_or_try_init(prove).await.map(|_| ())
    }

    /// The head of an object that was read whole, and where its bytes begin.
    fn head(&self, name: &str, object: &[u8]) -> Result<(Head, usize), StoreError> {
        Head::parse_whole(object).map_err(|why| error::foreign(self.place(), name, why))
    }
}

#[async_trait]
impl Engine for S3Engine {
    fn place(&self) -> String {
        self.bucket.place().to_owned()
    }
}

#[async_trait]
impl Store for S3Engine {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let name = key.as_str();
        let Some(mut found) = self.bucket.read(name, Part::Whole { at_most: MAX_OBJECT }).await? else {
            return Ok(None);
        };
        let (head, start) = self.head(name, &found.bytes)?;
        if !head.is_live(self.clock.now()) {
            return Ok(None);
        }
        let expires_at = match head.fate {
            Fate::Until(end) => Some(end),
            Fate::Kept | Fate::Deleted => None,
        };
        Ok(Some(Document { bytes: found.bytes.split_off(start), version: head.version, expires_at }))
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        self.prove().await?;
        let version = Version::fresh(self.place())?;
        let head = Head { version: version.clone(), fate: expires_at.map_or(Fate::Kept, Fate::Until) };
        let decide = |live: Option<&Head>| {
            let holds = match &expect {
                Expect::Absent => live.is_none(),
                Expect::Version(expected) => live.is_some_and(|live| live.version == *expected),
            };
            if holds { Verdict::Write } else { Verdict::Conflict }
        };
        self.bucket.in_time(self.change(key, &head, bytes, decide)).await?;
        Ok(version)
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        self.prove().await?;
        let head = Head { version: Version::fresh(self.place())?, fate: Fate::Deleted };
        let decide = |live: Option<&Head>| match live {
            None => Verdict::Nothing,
            Some(live) if live.version == *version => Verdict::Write,
            Some(_) => Verdict::Conflict,
        };
        self.bucket.in_time(self.change(key, &head, b"", decide)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        let (mut keys, mut readers) = (Vec::new(), JoinSet::new());
        let mut rest =
            self.bucket.list(prefix).await?.into_iter().filter(|listed| !schema::is_own(&listed.name));
        loop {
            while readers.len() < READERS
                && let Some(Listed { name, size }) = rest.next()
            {
                let key = Key::parse(&name).map_err(|why| error::foreign_key(self.place(), &name, why))?;
                let bucket = Arc::clone(&self.bucket);
                let part = match size {
                    // There is no first byte to ask for.
                    0 => Part::Whole { at_most: 0 },
                    _ => Part::Start { length: MAX_HEAD as u64 },
                };
                readers
                    .spawn(async move { Ok::<_, StoreError>((bucket.read(key.as_str(), part).await?, key)) });
            }
            // A reader that was not there any more was cancelled with its runtime.
            let Some(Ok(read)) = readers.join_next().await else { break };
            let (Some(object), key) = read? else { continue };
            let head =
                Head::parse(&object.bytes).map_err(|why| error::foreign(self.place(), key.as_str(), why))?;
            if head.is_live(self.clock.now()) {
                keys.push(key);
            }
        }
        keys.sort();
        Ok(keys)
    }
}
