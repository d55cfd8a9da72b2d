//! The contract of [`Store`] as code: one suite that every engine runs.
//!
//! Library code behind the feature `conformance`, so engines in other crates can run it too. A case
//! gets an empty store on a clock it controls and fails by panicking with the case's name. An
//! engine that passes may carry keyrings and refresh tokens; a rule that is not here is not
//! promised.

use std::{future::Future, sync::Arc, time::Duration};

use countersign_jose::Timestamp;

use crate::{Clock, Expect, Key, ManualClock, Store, StoreError};

mod abandoned;
mod concurrency;
mod conflicts;
mod damage;
mod documents;
mod expiry;
mod listing;
mod sharing;

pub use damage::run_damaged;
pub use sharing::run_shared;

/// What a case works with.
struct Bench {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
}

impl Bench {
    /// The time `seconds` from now, on the case's clock.
    fn after(&self, seconds: u64) -> Option<Timestamp> {
        Some(self.clock.now().plus(Duration::from_secs(seconds)))
    }

    /// The store, for cases that take several openings of one.
    fn stores(&self) -> &[Arc<dyn Store>] {
        std::slice::from_ref(&self.store)
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The content under `key`.
    async fn bytes(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.store.get(key).await?.map(|document| document.bytes))
    }

    /// Creates a document that never expires.
    async fn create(&self, key: &Key, bytes: &[u8]) -> Result<crate::Version, StoreError> {
        self.store.put(key, bytes, Expect::Absent, None).await
    }
}

/// Runs all cases. `open` makes an empty store on the given clock, each time a new one.
///
/// Needs a Tokio runtime; use one with several threads, or the concurrent cases prove little.
///
/// # Panics
///
/// When the engine breaks a rule; the message names the case.
pub async fn run<F, Fut>(open: F)
where
    F: Fn(Arc<dyn Clock>) -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    run_except(&[], open).await;
}

/// Runs all cases but those that are named, which a server cannot pass for a reason of its own.
///
/// # Panics
///
/// When the engine breaks a rule, or a name is no case's.
pub async fn run_except<F, Fut>(except: &[&str], open: F)
where
    F: Fn(Arc<dyn Clock>) -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    let mut left_out = 0;
    let bench = || async {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)));
        Bench { store: open(clock.clone()).await, clock }
    };
    macro_rules! cases {
        ($($module:ident :: $case:ident),+ $(,)?) => {$(
            if except.contains(&stringify!($case)) {
                left_out += 1;
            } else {
                let outcome = $module::$case(&bench().await).await;
                assert!(outcome.is_ok(), "{}: {outcome:?}", stringify!($case));
            }
        )+};
    }
    cases![
        documents::reads_back_what_was_put,
        documents::a_key_that_was_never_put_is_absent,
        documents::replaces_and_deletes,
        documents::holds_an_empty_document,
        documents::keeps_every_byte_value,
        documents::holds_documents_up_to_the_cap_and_refuses_one_byte_more,
        documents::keys_are_compared_byte_by_byte,
        documents::holds_the_longest_key,
        conflicts::creating_twice_conflicts,
        conflicts::replacing_an_old_version_conflicts,
        conflicts::replacing_what_is_absent_conflicts,
        conflicts::deleting_an_old_version_conflicts,
        conflicts::deleting_what_is_absent_succeeds,
        conflicts::a_version_belongs_to_one_key,
        conflicts::a_version_is_never_used_again,
        expiry::a_document_is_absent_from_its_expiry_on,
        expiry::a_document_says_when_it_expires,
        expiry::an_expired_document_can_be_created_but_not_replaced,
        expiry::deleting_an_expired_document_succeeds_and_spares_its_successor,
        expiry::replacing_sets_the_expiry_anew,
        expiry::a_document_put_after_its_expiry_is_never_seen,
        expiry::sweeping_removes_only_what_has_expired,
        listing::lists_live_keys_in_byte_order,
        listing::a_prefix_is_plain_text,
        listing::an_impossible_prefix_matches_nothing,
        concurrency::one_of_a_hundred_creators_wins,
        concurrency::one_of_a_hundred_writers_wins_each_round,
        concurrency::one_of_a_hundred_takes_over_an_expired_document,
        concurrency::increments_are_never_lost,
        concurrency::readers_see_whole_documents,
        concurrency::of_a_put_and_a_delete_of_one_version_one_takes_effect,
        concurrency::deletes_that_race_all_succeed,
        concurrency::deletes_that_race_spare_a_successor,
        abandoned::callers_that_hang_up_do_not_block_the_next,
    ];
    assert_eq!(left_out, except.len(), "a case of another name: {except:?}");
}

/// A key of this suite's own making.
fn key(text: &str) -> Key {
    let key = Key::parse(text);
    assert!(key.is_ok(), "{text:?}: {key:?}");
    key.unwrap_or_else(|_| unreachable!("asserted above"))
}

/// Whether the expectation failed, and nothing else did.
fn is_conflict<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Conflict { .. }))
}
