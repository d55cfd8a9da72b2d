//! Listing: live keys only, in byte order, by a prefix that is plain text.

use super::{Bench, key};
use crate::{Expect, Key, StoreError};

type Outcome = Result<(), StoreError>;

pub(super) async fn lists_live_keys_in_byte_order(bench: &Bench) -> Outcome {
    assert!(bench.store.list("").await?.is_empty());
    for name in ["b", "a/2", "a", "B", "a/10", "a=", "a~", "_", "0"] {
        bench.create(&key(name), b"x").await?;
    }
    bench.store.put(&key("a/expired"), b"x", Expect::Absent, bench.after(1)).await?;
    let deleted = bench.create(&key("a/deleted"), b"x").await?;
    bench.store.delete(&key("a/deleted"), &deleted).await?;
    bench.wait(1);
    assert_eq!(texts(&bench.store.list("").await?), ["0", "B", "_", "a", "a/10", "a/2", "a=", "a~", "b"]);
    assert_eq!(texts(&bench.store.list("a").await?), ["a", "a/10", "a/2", "a=", "a~"]);
    assert_eq!(texts(&bench.store.list("a/").await?), ["a/10", "a/2"]);
    Ok(())
}

/// `_` and `%` are wildcards in SQL, `.` and `*` in patterns, and upper case is equal in some
/// collations.
pub(super) async fn a_prefix_is_plain_text(bench: &Bench) -> Outcome {
    for name in ["a_b", "axb", "a.b", "a", "A_b", "a_", "ab", "~~~", "z~", "z~~"] {
        bench.create(&key(name), b"x").await?;
    }
    assert_eq!(texts(&bench.store.list("a_").await?), ["a_", "a_b"]);
    assert_eq!(texts(&bench.store.list("a.").await?), ["a.b"]);
    assert_eq!(texts(&bench.store.list("A").await?), ["A_b"]);
    assert_eq!(texts(&bench.store.list("~").await?), ["~~~"]);
    assert_eq!(texts(&bench.store.list("z~").await?), ["z~", "z~~"]);
    assert!(bench.store.list("_").await?.is_empty());
    Ok(())
}

pub(super) async fn an_impossible_prefix_matches_nothing(bench: &Bench) -> Outcome {
    bench.create(&key("a"), b"x").await?;
    let long = "a".repeat(Key::MAX_BYTES + 1);
    for prefix in ["%", "a%", "*", "a*", "' OR 1=1 --", "\0", "a\0", "é", "\u{7f}", "/a", "../a", &long] {
        assert_eq!(texts(&bench.store.list(prefix).await?), [""; 0], "{prefix:?}");
    }
    Ok(())
}

fn texts(keys: &[Key]) -> Vec<&str> {
    keys.iter().map(Key::as_str).collect()
}
