//! Which events were handed on, in the store that all servers share.
//!
//! An event's key is taken before it is handed on, for as long as that may last, and kept when it
//! was, for as long as anybody could send it again. So of the same event on two servers one is
//! handed on and the other waits to be sent again. What could not be handed on is given back. Where
//! a server dies in between, or the store does not answer afterwards, the event may be handed on
//! twice: at least once is what is promised, and the target is told the key (decision 0058).

use aws_lc_rs::digest::{Context, SHA256};
use countersign_jose::{Timestamp, base64url};
use countersign_store::{Expect, Key, Store, StoreError, Version};
use std::{sync::Arc, time::Duration};

/// How long an event is held by the server that hands it on: longer than that takes.
const HELD: Duration = Duration::from_secs(60);

const BEING_DELIVERED: &[u8] = b"taken";
const DELIVERED: &[u8] = b"delivered";

/// The events that were taken.
#[derive(Debug)]
pub(crate) struct Events {
    store: Arc<dyn Store>,
    /// How long one is remembered.
    kept: Duration,
}

/// What is known of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It was handed on.
    Delivered,
    /// Another server, or this one, is about to.
    BeingDelivered,
}

/// An event that is this server's to hand on.
#[derive(Debug)]
pub(crate) struct Taken {
    key: Key,
    version: Version,
}

impl Events {
    pub(crate) fn new(store: Arc<dyn Store>, kept: Duration) -> Self {
        Self { store, kept }
    }

    /// Takes an event, unless it is known.
    ///
    /// # Errors
    ///
    /// If the store does not answer: it may be taken then, until [`HELD`] is over.
    pub(crate) async fn take(
        &self,
        app_id: &str,
        idempotency_key: &str,
        now: Timestamp,
    ) -> Result<Result<Taken, Known>, StoreError> {
        let key = name(app_id, idempotency_key)?;
        let held = Some(now.plus(HELD));
        match self.store.put(&key, BEING_DELIVERED, Expect::Absent, held).await {
            Ok(version) => Ok(Ok(Taken { key, version })),
            Err(StoreError::Conflict { .. }) => {
                let found = self.store.get(&key).await?;
                let is_done = found.is_some_and(|document| document.bytes == DELIVERED);
                Ok(Err(if is_done { Known::Delivered } else { Known::BeingDelivered }))
            }
            Err(why) => Err(why),
        }
    }

    /// Keeps an event that was handed on.
    pub(crate) async fn keep(&self, taken: Taken, now: Timestamp) -> Result<(), StoreError> {
        let kept = Some(now.plus(self.kept));
        self.store.put(&taken.key, DELIVERED, Expect::Version(taken.version), kept).await.map(|_| ())
    }

    /// Gives back an event that could not be handed on.
    pub(crate) async fn give_back(&self, taken: Taken) -> Result<(), StoreError> {
        self.store.delete(&taken.key, &taken.version).await
    }
}

/// A document's name for what somebody calls an event, of any length and alphabet.
fn name(app_id: &str, idempotency_key: &str) -> Result<Key, StoreError> {
    let mut hash = Context::new(&SHA256);
    hash.update(&u64::try_from(app_id.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(app_id.as_bytes());
    hash.update(idempotency_key.as_bytes());
    let name = format!("webhook/{}", base64url::encode(hash.finish().as_ref()));
    // A hash in base64url is a key whatever was hashed.
    Key::parse(&name).map_err(|why| StoreError::Unavailable { place: name, reason: why.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_store::{ManualClock, MemoryStore};

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[tokio::test]
    async fn an_event_is_one_servers_until_it_is_handed_on_and_nobodys_afterwards() {
        let clock = Arc::new(ManualClock::at(NOW));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&clock) as _));
        let day = Duration::from_secs(86_400);
        let (one, other) = (Events::new(Arc::clone(&store), day), Events::new(Arc::clone(&store), day));
        let taken = one.take("app", "k", NOW).await.unwrap().unwrap();
        assert_eq!(other.take("app", "k", NOW).await.unwrap().unwrap_err(), Known::BeingDelivered);
        assert!(other.take("app", "l", NOW).await.unwrap().is_ok(), "another event");
        assert!(other.take("ap", "pk", NOW).await.unwrap().is_ok(), "another app");

        one.give_back(taken).await.unwrap();
        let taken = other.take("app", "k", NOW).await.unwrap().unwrap();
        other.keep(taken, NOW).await.unwrap();
        assert_eq!(one.take("app", "k", NOW).await.unwrap().unwrap_err(), Known::Delivered);
        clock.advance(day);
        assert!(one.take("app", "k", clock_now(&clock)).await.unwrap().is_ok(), "forgotten after a day");
    }

    #[tokio::test]
    async fn what_a_server_held_that_died_is_anybodys_after_a_minute() {
        let clock = Arc::new(ManualClock::at(NOW));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&clock) as _));
        let events = Events::new(store, Duration::from_secs(86_400));
        let lost = events.take("app", "k", NOW).await.unwrap().unwrap();
        clock.advance(HELD);
        let now = clock_now(&clock);
        let taken = events.take("app", "k", now).await.unwrap().unwrap();
        // The one that was thought dead comes back: it has nothing to keep any more.
        assert!(events.keep(lost, now).await.is_err());
        events.keep(taken, now).await.unwrap();
    }

    fn clock_now(clock: &ManualClock) -> Timestamp {
        use countersign_store::Clock;
        clock.now()
    }
}
