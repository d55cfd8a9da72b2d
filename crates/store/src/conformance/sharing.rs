//! Several openings of one store, each with its own connections as processes would have them, are
//! one store.

use std::sync::Arc;

use super::{concurrency::race, key};
use crate::{Expect, Store, StoreError};

/// Runs the cases for two or more openings of one empty store.
///
/// Needs a Tokio runtime with several threads, as [`run`](super::run) does.
///
/// # Panics
///
/// When the engine breaks a rule.
pub async fn run_shared(stores: &[Arc<dyn Store>]) {
    let outcome = each_sees_the_changes_of_the_others(stores).await;
    assert_eq!(outcome, Ok(()), "each sees the changes of the others");
    let outcome = one_of_a_hundred_wins_each_round(stores).await;
    assert_eq!(outcome, Ok(()), "one of a hundred wins each round");
}

async fn each_sees_the_changes_of_the_others(stores: &[Arc<dyn Store>]) -> Result<(), StoreError> {
    let [one, .., other] = stores else { unreachable!("two openings at least") };
    let name = key("seen");
    let first = one.put(&name, b"1", Expect::Absent, None).await?;
    assert_eq!(other.get(&name).await?.map(|found| found.bytes).as_deref(), Some(&b"1"[..]));
    let second = other.put(&name, b"2", Expect::Version(first.clone()), None).await?;
    assert_eq!(one.get(&name).await?.map(|found| found.bytes).as_deref(), Some(&b"2"[..]));
    let late = one.put(&name, b"3", Expect::Version(first), None).await;
    assert_eq!(late, Err(StoreError::Conflict { key: name.clone() }));
    one.delete(&name, &second).await?;
    assert_eq!(other.get(&name).await?, None);
    Ok(())
}

async fn one_of_a_hundred_wins_each_round(stores: &[Arc<dyn Store>]) -> Result<(), StoreError> {
    let name = key("raced");
    let mut expect = Expect::Absent;
    for _ in 0..5 {
        expect = Expect::Version(race(stores, &name, &expect).await?);
    }
    Ok(())
}
