//! A write whose expectation does not hold changes nothing and says `Conflict`.

use std::collections::HashSet;

use super::{Bench, is_conflict, key};
use crate::{Expect, StoreError};

type Outcome = Result<(), StoreError>;

pub(super) async fn creating_twice_conflicts(bench: &Bench) -> Outcome {
    let name = key("k");
    let version = bench.create(&name, b"first").await?;
    assert_eq!(bench.create(&name, b"second").await, Err(StoreError::Conflict { key: name.clone() }));
    let document = bench.store.get(&name).await?;
    assert_eq!(document.map(|found| (found.bytes, found.version)), Some((b"first".to_vec(), version)));
    Ok(())
}

pub(super) async fn replacing_an_old_version_conflicts(bench: &Bench) -> Outcome {
    let name = key("k");
    let first = bench.create(&name, b"first").await?;
    let second = bench.store.put(&name, b"second", Expect::Version(first.clone()), None).await?;
    assert!(is_conflict(&bench.store.put(&name, b"late", Expect::Version(first), None).await));
    let document = bench.store.get(&name).await?;
    assert_eq!(document.map(|found| (found.bytes, found.version)), Some((b"second".to_vec(), second)));
    Ok(())
}

pub(super) async fn replacing_what_is_absent_conflicts(bench: &Bench) -> Outcome {
    let name = key("k");
    let version = bench.create(&name, b"x").await?;
    bench.store.delete(&name, &version).await?;
    assert!(is_conflict(&bench.store.put(&name, b"y", Expect::Version(version.clone()), None).await));
    let never = key("never");
    assert!(is_conflict(&bench.store.put(&never, b"y", Expect::Version(version), None).await));
    assert_eq!((bench.bytes(&name).await?, bench.bytes(&never).await?), (None, None));
    Ok(())
}

pub(super) async fn deleting_an_old_version_conflicts(bench: &Bench) -> Outcome {
    let name = key("k");
    let first = bench.create(&name, b"first").await?;
    bench.store.put(&name, b"second", Expect::Version(first.clone()), None).await?;
    assert_eq!(bench.store.delete(&name, &first).await, Err(StoreError::Conflict { key: name.clone() }));
    assert_eq!(bench.bytes(&name).await?.as_deref(), Some(&b"second"[..]));
    Ok(())
}

pub(super) async fn deleting_what_is_absent_succeeds(bench: &Bench) -> Outcome {
    let name = key("k");
    let version = bench.create(&name, b"x").await?;
    for attempt in ["first", "repeated"] {
        assert_eq!(bench.store.delete(&name, &version).await, Ok(()), "{attempt}");
    }
    assert_eq!(bench.store.delete(&key("never"), &version).await, Ok(()));
    Ok(())
}

pub(super) async fn a_version_belongs_to_one_key(bench: &Bench) -> Outcome {
    let (one, other) = (key("one"), key("other"));
    let version = bench.create(&one, b"x").await?;
    bench.create(&other, b"x").await?;
    assert!(is_conflict(&bench.store.put(&other, b"y", Expect::Version(version.clone()), None).await));
    assert!(is_conflict(&bench.store.delete(&other, &version).await));
    assert_eq!(bench.bytes(&other).await?.as_deref(), Some(&b"x"[..]));
    Ok(())
}

/// The same bytes under the same key, made, replaced, deleted and left to expire: never the same
/// version.
pub(super) async fn a_version_is_never_used_again(bench: &Bench) -> Outcome {
    let name = key("k");
    let mut seen = HashSet::new();
    let mut latest = None;
    for round in 0..30_u8 {
        let expires_at = bench.after(1);
        let expect = latest.take().map_or(Expect::Absent, Expect::Version);
        let version = bench.store.put(&name, b"same", expect, expires_at).await?;
        match round % 3 {
            0 => latest = Some(version.clone()),
            1 => bench.store.delete(&name, &version).await?,
            _ => bench.wait(1),
        }
        assert!(seen.insert(version), "a version came back in round {round}");
    }
    bench.create(&name, b"same").await?;
    for old in seen {
        assert!(is_conflict(&bench.store.put(&name, b"late", Expect::Version(old.clone()), None).await));
        assert!(is_conflict(&bench.store.delete(&name, &old).await));
    }
    Ok(())
}
