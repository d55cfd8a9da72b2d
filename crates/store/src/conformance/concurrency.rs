//! Of many tasks that want the same change at the same moment, exactly one gets it.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Bench, is_conflict, key};
use crate::{Expect, Key, MAX_DOCUMENT_BYTES, Store, StoreError, Version};

type Outcome = Result<(), StoreError>;

const TASKS: u8 = 100;

/// Lets all tasks, on these openings of one store by turns, put their own number; returns the
/// version of the one that won.
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

/// Spent or renewed, never both: what refresh tokens rest on.
pub(super) async fn of_a_put_and_a_delete_of_one_version_one_takes_effect(bench: &Bench) -> Outcome {
    for round in 0..20 {
        let name = key(&format!("k/{round}"));
        let version = bench.create(&name, b"old").await?;
        let (put, deleted) = put_and_delete(&bench.store, &name, &version, round % 2 == 0).await;
        let found = bench.store.get(&name).await?.map(|found| found.version);
        match (put, deleted) {
            (Ok(new), Err(StoreError::Conflict { .. })) => assert_eq!(found, Some(new), "round {round}"),
            (Err(StoreError::Conflict { .. }), Ok(())) => assert_eq!(found, None, "round {round}"),
            both => assert_eq!(both, (Ok(version), Ok(())), "round {round}: exactly one may succeed"),
        }
    }
    Ok(())
}

async fn put_and_delete(
    store: &Arc<dyn Store>,
    name: &Key,
    version: &Version,
    put_first: bool,
) -> (Result<Version, StoreError>, Outcome) {
    let put = {
        let (store, name, expect) = (Arc::clone(store), name.clone(), Expect::Version(version.clone()));
        async move { store.put(&name, b"new", expect, None).await }
    };
    let delete = {
        let (store, name, version) = (Arc::clone(store), name.clone(), version.clone());
        async move { store.delete(&name, &version).await }
    };
    let (put, delete) = if put_first {
        let put = tokio::spawn(put);
        (put, tokio::spawn(delete))
    } else {
        let delete = tokio::spawn(delete);
        (tokio::spawn(put), delete)
    };
    let (put, delete) = (put.await, delete.await);
    assert!(put.is_ok() && delete.is_ok(), "neither panics");
    match (put, delete) {
        (Ok(put), Ok(delete)) => (put, delete),
        _ => unreachable!("asserted above"),
    }
}

pub(super) async fn deletes_that_race_all_succeed(bench: &Bench) -> Outcome {
    for round in 0..5 {
        let name = key(&format!("k/{round}"));
        let version = bench.create(&name, b"x").await?;
        for outcome in delete_at_once(&bench.store, &name, &version).join_all().await {
            assert_eq!(outcome, Ok(()), "round {round}");
        }
        assert_eq!(bench.bytes(&name).await?, None, "round {round}");
    }
    Ok(())
}

/// A delete that comes late meets another version, says so, and leaves it.
pub(super) async fn deletes_that_race_spare_a_successor(bench: &Bench) -> Outcome {
    for round in 0..5 {
        let name = key(&format!("k/{round}"));
        let version = bench.create(&name, b"x").await?;
        let deletes = delete_at_once(&bench.store, &name, &version);
        let successor = loop {
            let created = bench.create(&name, b"successor").await;
            if !is_conflict(&created) {
                break created?;
            }
        };
        for outcome in deletes.join_all().await {
            assert!(outcome.is_ok() || is_conflict(&outcome), "round {round}: {outcome:?}");
        }
        let found = bench.store.get(&name).await?.map(|found| found.version);
        assert_eq!(found, Some(successor), "round {round}");
    }
    Ok(())
}

fn delete_at_once(store: &Arc<dyn Store>, name: &Key, version: &Version) -> JoinSet<Outcome> {
    let mut deletes = JoinSet::new();
    for _ in 0..8 {
        let (store, name, version) = (Arc::clone(store), name.clone(), version.clone());
        deletes.spawn(async move { store.delete(&name, &version).await });
    }
    deletes
}
