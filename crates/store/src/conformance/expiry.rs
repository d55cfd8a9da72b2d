//! An expired document is absent at once, whether or not the engine has removed it.

use super::{Bench, is_conflict, key};
use crate::{Expect, StoreError};

type Outcome = Result<(), StoreError>;

pub(super) async fn a_document_is_absent_from_its_expiry_on(bench: &Bench) -> Outcome {
    let name = key("k");
    bench.store.put(&name, b"x", Expect::Absent, bench.after(10)).await?;
    bench.wait(9);
    assert!(bench.bytes(&name).await?.is_some(), "one second before");
    assert_eq!(bench.store.list("").await?.len(), 1);
    bench.wait(1);
    assert_eq!(bench.bytes(&name).await?, None, "at the very second");
    assert!(bench.store.list("").await?.is_empty());
    bench.wait(1_000_000);
    assert_eq!(bench.bytes(&name).await?, None, "long after");
    Ok(())
}

pub(super) async fn a_document_says_when_it_expires(bench: &Bench) -> Outcome {
    let name = key("k");
    let expires_at =
        async || Ok::<_, StoreError>(bench.store.get(&name).await?.map(|found| found.expires_at));
    let version = bench.store.put(&name, b"x", Expect::Absent, bench.after(10)).await?;
    assert_eq!(expires_at().await?, Some(bench.after(10)));
    let version = bench.store.put(&name, b"x", Expect::Version(version), None).await?;
    assert_eq!(expires_at().await?, Some(None));
    bench.store.put(&name, b"x", Expect::Version(version), bench.after(4_000_000_000)).await?;
    assert_eq!(expires_at().await?, Some(bench.after(4_000_000_000)));
    Ok(())
}

pub(super) async fn an_expired_document_can_be_created_but_not_replaced(bench: &Bench) -> Outcome {
    let name = key("k");
    let old = bench.store.put(&name, b"old", Expect::Absent, bench.after(10)).await?;
    bench.wait(10);
    assert!(is_conflict(&bench.store.put(&name, b"late", Expect::Version(old.clone()), None).await));
    assert_eq!(bench.bytes(&name).await?, None, "the refused write did not bring it back");
    bench.create(&name, b"new").await?;
    assert!(is_conflict(&bench.store.put(&name, b"late", Expect::Version(old), None).await));
    assert_eq!(bench.bytes(&name).await?.as_deref(), Some(&b"new"[..]));
    bench.wait(1_000_000);
    assert!(bench.bytes(&name).await?.is_some(), "the new document does not inherit the old expiry");
    Ok(())
}

pub(super) async fn deleting_an_expired_document_succeeds_and_spares_its_successor(bench: &Bench) -> Outcome {
    let name = key("k");
    let old = bench.store.put(&name, b"old", Expect::Absent, bench.after(10)).await?;
    bench.wait(10);
    let other = bench.create(&key("other"), b"x").await?;
    assert_eq!(bench.store.delete(&name, &other).await, Ok(()), "absent for any version");
    bench.create(&name, b"new").await?;
    assert!(is_conflict(&bench.store.delete(&name, &old).await));
    assert_eq!(bench.bytes(&name).await?.as_deref(), Some(&b"new"[..]));
    Ok(())
}

pub(super) async fn replacing_sets_the_expiry_anew(bench: &Bench) -> Outcome {
    let name = key("k");
    let version = bench.store.put(&name, b"x", Expect::Absent, bench.after(10)).await?;
    let version = bench.store.put(&name, b"x", Expect::Version(version), bench.after(100)).await?;
    bench.wait(50);
    assert!(bench.bytes(&name).await?.is_some(), "prolonged");
    let version = bench.store.put(&name, b"x", Expect::Version(version), None).await?;
    bench.wait(1_000_000);
    assert!(bench.bytes(&name).await?.is_some(), "kept forever");
    bench.store.put(&name, b"x", Expect::Version(version), bench.after(1)).await?;
    bench.wait(1);
    assert_eq!(bench.bytes(&name).await?, None, "shortened");
    Ok(())
}

pub(super) async fn a_document_put_after_its_expiry_is_never_seen(bench: &Bench) -> Outcome {
    let name = key("k");
    bench.store.put(&name, b"x", Expect::Absent, bench.after(0)).await?;
    assert_eq!(bench.bytes(&name).await?, None);
    let version = bench.create(&name, b"y").await?;
    bench.store.put(&name, b"z", Expect::Version(version), bench.after(0)).await?;
    assert_eq!(bench.bytes(&name).await?, None, "replacing with an expired document ends it");
    assert!(bench.store.list("").await?.is_empty());
    Ok(())
}

/// Whatever an engine does to get space back, it must not take the living along.
pub(super) async fn sweeping_removes_only_what_has_expired(bench: &Bench) -> Outcome {
    for number in 0..40 {
        bench.store.put(&key(&format!("short/{number:02}")), b"x", Expect::Absent, bench.after(10)).await?;
        bench
            .store
            .put(&key(&format!("long/{number:02}")), b"x", Expect::Absent, bench.after(100_000))
            .await?;
        bench.create(&key(&format!("kept/{number:02}")), b"x").await?;
    }
    bench.wait(99_999);
    for number in 0..200 {
        bench.create(&key(&format!("new/{number:03}")), b"x").await?;
    }
    let count = async |prefix| Ok::<_, StoreError>(bench.store.list(prefix).await?.len());
    assert_eq!(count("short/").await?, 0);
    assert_eq!(count("long/").await?, 40);
    assert_eq!(count("kept/").await?, 40);
    assert_eq!(count("new/").await?, 200);
    Ok(())
}
