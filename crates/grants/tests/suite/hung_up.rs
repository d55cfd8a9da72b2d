//! A sender that hangs up, at whatever point the request waits for the store: what was begun is
//! done to the end, recorded once, and nothing is used up for nothing.

use crate::support::{self, Entry, ISSUER, NOW, SECRET, recorded_by, request, signed_text};
use async_trait::async_trait;
use axum::http::StatusCode;
use countersign_grants::{ExchangeRule, Once, Refreshes, RuleSettings};
use countersign_issuer::{GrantType, http::Peer};
use countersign_jose::{Algorithm, KeySize, SigningKey, Timestamp};
use countersign_store::{Document, Expect, Key, ManualClock, MemoryStore, Store, StoreError, Version};
use serde_json::json;
use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Semaphore;
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

static LOGIN: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());

/// Which operation waits, and whether it has taken effect by then.
#[derive(Debug, Clone, Copy)]
struct Held {
    at: usize,
    afterwards: bool,
}

/// A store of which one operation waits until it is released.
#[derive(Debug)]
struct Holding {
    store: MemoryStore,
    held: Held,
    operations: AtomicUsize,
    reached: Semaphore,
    released: Semaphore,
}

impl Holding {
    async fn run<T>(&self, operation: impl Future<Output = T>) -> T {
        if self.operations.fetch_add(1, Ordering::Relaxed) != self.held.at {
            return operation.await;
        }
        let done = if self.held.afterwards { Ok(operation.await) } else { Err(operation) };
        self.reached.add_permits(1);
        self.released.acquire().await.unwrap().forget();
        match done {
            Ok(outcome) => outcome,
            Err(operation) => operation.await,
        }
    }
}

#[async_trait]
impl Store for Holding {
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.run(self.store.get(key)).await
    }

    async fn put(
        &self,
        key: &Key,
        bytes: &[u8],
        expect: Expect,
        expires_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        self.run(self.store.put(key, bytes, expect, expires_at)).await
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
        self.run(self.store.delete(key, version)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        self.run(self.store.list(prefix)).await
    }
}

/// Counts the records of the audit.
#[derive(Clone, Default)]
struct Records(Arc<AtomicUsize>);

impl Subscriber for Records {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "countersign::audit"
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A user's assertion, which is taken once, for a token and a family of refresh tokens.
fn form() -> String {
    let shown = json!({"iss": "https://login.example", "aud": ISSUER, "exp": NOW.unix_seconds() + 600, "jti": "1", "sub": "alice"});
    let assertion = signed_text(&LOGIN, &shown.to_string());
    format!("grant_type={}&assertion={assertion}", GrantType::JwtBearer.name())
}

/// Whether the request got as far as the operation that waits. All others of one thread have run
/// when this returns.
async fn hangs_up(held: Held) -> bool {
    let records = Records::default();
    let _guard = recorded_by(records.clone());
    let clock = Arc::new(ManualClock::at(NOW));
    let store = Arc::new(Holding {
        store: MemoryStore::new(Arc::clone(&clock) as _),
        held,
        operations: AtomicUsize::new(0),
        reached: Semaphore::new(0),
        released: Semaphore::new(0),
    });
    let mut entry = Entry::plain(GrantType::JwtBearer, Vec::new(), 600);
    entry.refresh = true;
    let source = support::source("https://login.example", &LOGIN, ISSUER, Once::Required);
    let rule = RuleSettings { refresh: Refreshes::ByClients, ..support::rule("login", source) };
    let (clients, rules) = ([("mine", &entry)], vec![ExchangeRule::new(rule).unwrap()]);
    let grants = support::grants(&clients, rules);
    let (_issuer, route) = support::route_on(Arc::clone(&store) as _, clock, &clients, grants);
    let route = route.unwrap();

    let asking = request(&format!("mine:{}", SECRET.expose()), form());
    let answering = route.answer(asking, Peer("127.0.0.1".parse().unwrap()));
    let answered = tokio::select! {
        biased;
        response = answering => Some(response.status()),
        permit = store.reached.acquire() => { permit.unwrap().forget(); None }
    };
    store.released.add_permits(1);
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let written = |folder: &'static str| store.store.list(folder);
    assert_eq!(written("exchanged/").await.unwrap().len(), 1, "{held:?}: the assertion is used up");
    assert_eq!(written("refresh/").await.unwrap().len(), 1, "{held:?}: for a family");
    assert_eq!(records.0.load(Ordering::Relaxed), 1, "{held:?}: and recorded");
    assert!(answered.is_none_or(|status| status == StatusCode::OK), "{answered:?}");
    answered.is_none()
}

#[tokio::test]
async fn whoever_hangs_up_while_the_store_is_waited_for_leaves_a_request_that_is_done_and_recorded() {
    for afterwards in [false, true] {
        let mut at = 0;
        while hangs_up(Held { at, afterwards }).await {
            at += 1;
        }
        assert!(at >= 2, "the assertion and the family, at least: {at}");
    }
}
