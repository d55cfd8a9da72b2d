//! The probe: whether this service does what the store rests on, tried with a throw-away object
//! before it is trusted.
//!
//! Some services that speak S3 take `If-None-Match` and `If-Match` and ignore them, without a word;
//! others look at them too early, so that of several writers at once more than one wins. Both lose
//! keys. So a name is made by several at once, made again, changed by several at once, changed from
//! a state that is gone, and read. One that wins by luck is possible where the window is small; one
//! that ignores conditions never passes.
//!
//! The object has a random name, so that any number of processes may do this at once, and is
//! removed.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    connect::{Bucket, Condition, Part, pause},
    error, schema,
};
use crate::{StoreError, Version};

/// How many write at once.
const RACERS: usize = 8;
/// How often the probe is begun anew when an answer is missing.
const TRIES: u32 = 3;

/// Refuses a service that would lose documents.
///
/// # Errors
///
/// `Misconfigured` with what the service does wrong; otherwise whatever S3 and the network meet.
pub(super) async fn probe(bucket: &Arc<Bucket>) -> Result<(), StoreError> {
    let mut tries = 1;
    loop {
        let name = format!("{}{}", schema::PROBE, Version::fresh(bucket.place())?.as_str());
        let probe = Probe { bucket: Arc::clone(bucket), name };
        let outcome = bucket.in_time(probe.run()).await;
        let removed = bucket.remove(&probe.name).await;
        match (outcome, removed) {
            (Err(StoreError::Unavailable { .. }), _) if tries < TRIES => {}
            // It stays behind and is in nobody's way; whether objects can be removed is told by a
            // refusal alone.
            (Ok(()), Err(StoreError::Unavailable { .. })) => return Ok(()),
            (Ok(()), removed) => return removed,
            (outcome, _) => return outcome,
        }
        pause(tries).await;
        tries += 1;
    }
}

struct Probe {
    bucket: Arc<Bucket>,
    name: String,
}

impl Probe {
    async fn run(&self) -> Result<(), StoreError> {
        let created = self.race(&Condition::Absent, "If-None-Match").await?;
        if self.write(Condition::Absent).await?.is_some() {
            return Err(self.unfit("this service ignores `If-None-Match`"));
        }
        let changed = self.race(&Condition::Unchanged(created.clone()), "If-Match").await?;
        if self.write(Condition::Unchanged(created)).await?.is_some() {
            return Err(self.unfit("this service ignores `If-Match`"));
        }
        let read = self.bucket.read(&self.name, Part::Whole { at_most: 1024 }).await?;
        if read.and_then(|read| read.etag) != Some(changed) {
            return Err(self.unfit("this service does not read back what was written last"));
        }
        Ok(())
    }

    /// Lets several write at once, of whom exactly one may: the ETag of what it wrote.
    async fn race(&self, condition: &Condition, header: &str) -> Result<String, StoreError> {
        let mut racers = JoinSet::new();
        for _ in 0..RACERS {
            let (probe, condition) =
                (Self { bucket: Arc::clone(&self.bucket), name: self.name.clone() }, condition.clone());
            racers.spawn(async move { probe.write(condition).await });
        }
        let mut winners = Vec::new();
        for outcome in racers.join_all().await {
            winners.extend(outcome?);
        }
        match (winners.pop(), winners.len()) {
            (Some(winner), 0) => Ok(winner),
            // Each may have been in the other's way.
            (None, _) => match self.write(condition.clone()).await? {
                Some(winner) => Ok(winner),
                None => Err(self.unfit(&format!("this service refuses `{header}` even where it holds"))),
            },
            (Some(_), _) => Err(if self.write(condition.clone()).await?.is_some() {
                self.unfit(&format!("this service ignores `{header}`"))
            } else {
                self.unfit(&format!(
                    "this service heeds `{header}` only when nobody else writes: of {RACERS} writers at once {} won",
                    winners.len() + 1
                ))
            }),
        }
    }

    /// Writes something that was never there.
    async fn write(&self, condition: Condition) -> Result<Option<String>, StoreError> {
        let content = Version::fresh(self.bucket.place())?.as_str().as_bytes().to_vec();
        self.bucket.write(&self.name, content, condition).await
    }

    fn unfit(&self, why: &str) -> StoreError {
        error::unfit(self.bucket.place(), why)
    }
}
