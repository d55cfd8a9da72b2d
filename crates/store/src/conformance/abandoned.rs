//! Callers that hang up: the next one is served, and what they asked for happened whole or not at
//! all.
//!
//! Each crowd wants the same document at once and gives up at different moments: before anything
//! was sent, while it waits for a connection, while the answer is under way. See `uninterrupted`
//! for what an engine does about it.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::JoinSet, time::timeout};

use super::{Bench, is_conflict, key};
use crate::{Expect, Key, Store, StoreError, Version};

type Outcome = Result<(), StoreError>;

/// How many hang up; nobody, to begin with.
const CROWDS: [u32; 5] = [0, 8, 16, 28, 200];
/// Far longer than an operation may take, so that only a blocked store fails; not a measure of
/// speed.
const GENEROUS: Duration = Duration::from_secs(60);
/// The latest moment at which a caller gives up, in microseconds.
const LATEST: u32 = 20_000;
/// Large enough not to fit into one packet.
const SIZE: usize = 50_000;
/// How many tasks an engine may have left over, whatever the size of the crowd: each operation may
/// have a connection, which is a task too.
const TASKS: usize = 128;

pub(super) async fn callers_that_hang_up_do_not_block_the_next(bench: &Bench) -> Outcome {
    for crowd in CROWDS {
        let name = key(&format!("crowd/{crowd}"));
        let start = bench.create(&name, &content(0)).await?;
        let before = tasks();
        hang_up(&bench.store, &name, &start, crowd).await;
        let left = tasks().saturating_sub(before);
        assert!(left <= TASKS, "{left} tasks are left of {crowd} callers that hung up");
        let served = timeout(GENEROUS, replace(bench, &name)).await;
        assert!(served.is_ok(), "the next caller is not served after {crowd} that hung up");
        let version = served.unwrap_or_else(|_| unreachable!("asserted above"))?;

        for found in bench.store.list(&format!("crowd/{crowd}/")).await? {
            let bytes = bench.bytes(&found).await?;
            assert!(bytes.is_none_or(|bytes| is_whole(&bytes)), "an abandoned write left half of {found}");
        }
        // Nothing that was abandoned takes effect on top of what came after it.
        let found = bench.store.get(&name).await?.map(|found| (found.bytes, found.version));
        assert!(found == Some((b"honest".to_vec(), version)), "an abandoned write overwrote a later one");
    }
    Ok(())
}

/// A third each reads the document, replaces it, and creates one of its own.
async fn hang_up(store: &Arc<dyn Store>, name: &Key, start: &Version, crowd: u32) {
    let mut callers = JoinSet::new();
    for number in 0..crowd {
        let (store, name, expect) = (Arc::clone(store), name.clone(), Expect::Version(start.clone()));
        let own = key(&format!("crowd/{crowd}/{number}"));
        // Spread over the whole range, in no order.
        let patience = Duration::from_micros((number.wrapping_mul(2_654_435_761) % LATEST).into());
        callers.spawn(async move {
            let bytes = content(number);
            let call = async {
                match number % 3 {
                    0 => store.get(&name).await.map(drop),
                    1 => store.put(&name, &bytes, expect, None).await.map(drop),
                    _ => store.put(&own, &bytes, Expect::Absent, None).await.map(drop),
                }
            };
            // An answer in time may be a conflict; whatever it is, it is nobody's.
            drop(timeout(patience, call).await);
        });
    }
    callers.join_all().await;
}

/// Replaces the document as somebody who waits: reads it, writes, and again on conflict.
async fn replace(bench: &Bench, name: &Key) -> Result<Version, StoreError> {
    loop {
        let found = bench.store.get(name).await?;
        assert!(found.as_ref().is_some_and(|found| is_whole(&found.bytes)), "{name} is not whole");
        let Some(found) = found else { unreachable!("asserted above") };
        let outcome = bench.store.put(name, b"honest", Expect::Version(found.version), None).await;
        if !is_conflict(&outcome) {
            return outcome;
        }
    }
}

/// One repeated byte, so that a mixture is seen.
fn content(number: u32) -> Vec<u8> {
    vec![number.to_le_bytes()[0]; SIZE]
}

fn is_whole(bytes: &[u8]) -> bool {
    bytes.len() == SIZE && bytes.iter().all(|byte| Some(byte) == bytes.first())
}

/// The tasks of this runtime that have not ended.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}
