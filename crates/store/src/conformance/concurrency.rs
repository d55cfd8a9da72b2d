//! Of many tasks that want the same change at the same moment, exactly one gets it.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Bench, is_conflict, key};
use crate::{Expect, Key, MAX_DOCUMENT_BYTES, Store, StoreError, Version};

type Outcome = Result<(), StoreError>;

const TASKS: u8 = 100;

/// Lets all tasks, on these openings of one store by turns, put their own number; returns the version of the one that won.
pub(super) async fn race(
    stores: &[Arc<dyn Store>],
    name: &Key,
    expect: &Expect,
) -> Result<Version, StoreError> {
    let mut tasks = JoinSet::new();
    for (number, store) in (0..TASKS).zip(stores.iter().cycle()) {
        let (store, name, expect) = (Arc::clone(store), name.clone(), expect.clone());
        tasks.spawn(async move { (number, store.put(&name, &[number], expect, None).await) });
    }
    let mut winners = Vec::new();
    for (number, outcome) in tasks.join_all().await {
        if !is_conflict(&outcome) {
            winners.push((vec![number], outcome?));
        }
    }
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    for store in stores {
        let found = store.get(name).await?.map(|document| (document.bytes, document.version));
        assert_eq!(found.as_ref(), winners.first(), "what the winner put is what is stored");
    }
    let winner = winners.pop().map(|(_, version)| version);
    winner.ok_or_else(|| StoreError::Conflict { key: name.clone() })
}

pub(super) async fn one_of_a_hundred_creators_wins(bench: &Bench) -> Outcome {
    for round in 0..5 {
        race(bench.stores(), &key(&format!("k/{round}")), &Expect::Absent).await?;
    }
    Ok(())
}

pub(super) async fn one_of_a_hundred_writers_wins_each_round(bench: &Bench) -> Outcome {
    let name = key("k");
    let mut version = bench.create(&name, b"start").await?;
    for _ in 0..5 {
        version = race(bench.stores(), &name, &Expect::Version(version)).await?;
    }
    Ok(())
}

pub(super) async fn one_of_a_hundred_takes_over_an_expired_document(bench: &Bench) -> Outcome {
    let name = key("k");
    bench.store.put(&name, b"old", Expect::Absent, bench.after(1)).await?;
    bench.wait(1);
    race(bench.stores(), &name, &Expect::Absent).await?;
    Ok(())
}

/// Read, add one, put, and again on conflict: the sum is right only if no put overwrote another.
pub(super) async fn increments_are_never_lost(bench: &Bench) -> Outcome {
    let name = key("counter");
    bench.create(&name, &0_u32.to_be_bytes()).await?;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (store, name) = (Arc::clone(&bench.store), name.clone());
        tasks.spawn(async move {
            for _ in 0..10 {
                increment(store.as_ref(), &name).await?;
            }
            Ok::<_, StoreError>(())
        });
    }
    for outcome in tasks.join_all().await {
        outcome?;
    }
    assert_eq!(bench.bytes(&name).await?, Some(80_u32.to_be_bytes().to_vec()));
    Ok(())
}

async fn increment(store: &dyn Store, name: &Key) -> Outcome {
    loop {
        let document = store.get(name).await?;
        assert!(document.is_some(), "the counter is never absent");
        let Some(document) = document else { return Ok(()) };
        let count = document.bytes.try_into().map_or(u32::MAX, u32::from_be_bytes);
        let expect = Expect::Version(document.version);
        let outcome = store.put(name, &count.saturating_add(1).to_be_bytes(), expect, None).await;
        if !is_conflict(&outcome) {
            return outcome.map(|_| ());
        }
    }
}

/// Large documents of one repeated byte each, replaced while others read: never a mixture.
pub(super) async fn readers_see_whole_documents(bench: &Bench) -> Outcome {
    let name = key("k");
    let content = |fill: u8| vec![fill; MAX_DOCUMENT_BYTES - usize::from(fill)];
    let mut version = bench.create(&name, &content(0)).await?;
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let (store, name) = (Arc::clone(&bench.store), name.clone());
        readers.spawn(async move {
            for _ in 0..20 {
                let bytes = store.get(&name).await?.map(|document| document.bytes).unwrap_or_default();
                let fill = bytes.first().copied().unwrap_or(u8::MAX);
                assert!(bytes == content(fill), "a torn document that starts with {fill}");
            }
            Ok::<_, StoreError>(())
        });
    }
    for fill in 1..20 {
        version = bench.store.put(&name, &content(fill), Expect::Version(version), None).await?;
    }
    for outcome in readers.join_all().await {
        outcome?;
    }
    Ok(())
}
