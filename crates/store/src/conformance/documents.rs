//! Documents go in and come out unchanged, from nothing up to the cap.

use super::{Bench, key};
use crate::{Expect, MAX_DOCUMENT_BYTES, StoreError};

type Outcome = Result<(), StoreError>;

pub(super) async fn reads_back_what_was_put(bench: &Bench) -> Outcome {
    let name = key("keyring");
    let version = bench.create(&name, b"content").await?;
    let document = bench.store.get(&name).await?;
    assert_eq!(document.as_ref().map(|document| document.bytes.as_slice()), Some(&b"content"[..]));
    assert_eq!(document.map(|document| document.version), Some(version), "put and get agree on the version");
    Ok(())
}

pub(super) async fn a_key_that_was_never_put_is_absent(bench: &Bench) -> Outcome {
    bench.create(&key("a/b"), b"x").await?;
    for near in ["a", "b", "a/b/c", "a/", "a/bb"] {
        if let Ok(near) = crate::Key::parse(near) {
            assert_eq!(bench.bytes(&near).await?, None, "{near}");
        }
    }
    Ok(())
}

pub(super) async fn replaces_and_deletes(bench: &Bench) -> Outcome {
    let name = key("k");
    let first = bench.create(&name, b"first").await?;
    let second = bench.store.put(&name, b"second", Expect::Version(first.clone()), None).await?;
    assert_ne!(first, second, "every put has its own version");
    assert_eq!(bench.bytes(&name).await?.as_deref(), Some(&b"second"[..]));
    bench.store.delete(&name, &second).await?;
    assert_eq!(bench.bytes(&name).await?, None);
    bench.create(&name, b"third").await?;
    assert_eq!(bench.bytes(&name).await?.as_deref(), Some(&b"third"[..]));
    Ok(())
}

pub(super) async fn holds_an_empty_document(bench: &Bench) -> Outcome {
    let name = key("empty");
    let version = bench.create(&name, b"").await?;
    assert_eq!(bench.bytes(&name).await?, Some(Vec::new()), "empty is not absent");
    bench.store.put(&name, b"", Expect::Version(version), None).await?;
    Ok(())
}

pub(super) async fn keeps_every_byte_value(bench: &Bench) -> Outcome {
    let name = key("binary");
    let bytes: Vec<u8> = (0..=u8::MAX).chain((0..=u8::MAX).rev()).collect();
    bench.create(&name, &bytes).await?;
    assert_eq!(bench.bytes(&name).await?, Some(bytes));
    Ok(())
}

pub(super) async fn holds_documents_up_to_the_cap_and_refuses_one_byte_more(bench: &Bench) -> Outcome {
    let name = key("large");
    let pattern = |length: usize| -> Vec<u8> { (0..=250).cycle().take(length).collect() };
    let largest = pattern(MAX_DOCUMENT_BYTES);
    let version = bench.create(&name, &largest).await?;
    assert!(bench.bytes(&name).await? == Some(largest.clone()), "the largest document comes back unchanged");

    let larger = pattern(MAX_DOCUMENT_BYTES + 1);
    let refusal = StoreError::TooLarge { key: name.clone(), size: larger.len() };
    let replaced = bench.store.put(&name, &larger, Expect::Version(version), None).await;
    assert_eq!(replaced, Err(refusal));
    assert!(bench.bytes(&name).await? == Some(largest), "a refused document changes nothing");

    let other = key("larger");
    let created = bench.create(&other, &larger).await;
    assert_eq!(created, Err(StoreError::TooLarge { key: other.clone(), size: larger.len() }));
    assert_eq!(bench.bytes(&other).await?, None);
    Ok(())
}

pub(super) async fn keys_are_compared_byte_by_byte(bench: &Bench) -> Outcome {
    let names = ["k", "K", "k.", "k=", "k-", "k_", "k~", "k/k", "0", "00"];
    for name in names {
        bench.create(&key(name), name.as_bytes()).await?;
    }
    for name in names {
        assert_eq!(bench.bytes(&key(name)).await?.as_deref(), Some(name.as_bytes()), "{name}");
    }
    Ok(())
}

pub(super) async fn holds_the_longest_key(bench: &Bench) -> Outcome {
    let longest = "k".repeat(crate::Key::MAX_BYTES);
    let name = key(&longest);
    bench.create(&name, b"x").await?;
    assert_eq!(bench.bytes(&name).await?.as_deref(), Some(&b"x"[..]));
    assert_eq!(bench.bytes(&key(&longest[..longest.len() - 1])).await?, None, "keys are not cut short");
    assert_eq!(bench.store.list(&longest).await?, [name]);
    Ok(())
}
