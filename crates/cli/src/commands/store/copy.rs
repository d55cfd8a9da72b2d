//! `countersign store copy`: every live document of one store into another, with its expiry.
//!
//! The target is empty, or has nothing that the source has not: then it is an earlier copy that was
//! interrupted, and this one finishes it. Nothing is overwritten, and nothing is written before all
//! of the target was looked at. At the end both are read again and compared, because somebody may
//! have changed the source meanwhile. Documents get new versions; nobody remembers those across
//! stores. Private keys stay sealed on the way.

use super::{super::Context, clock, existing};
use crate::{
    failure::{Failure, Outcome, refused, usage},
    output, stores,
};
use countersign_store::{Document, Expect, Key, Store, StoreError};
use std::{collections::BTreeSet, fmt::Display};

/// How a document stands in the target.
enum Standing {
    /// Not there.
    Missing,
    /// There, as in the source.
    Same,
    /// There, but otherwise.
    Different,
}

/// How many documents were written, were there before, and are the same in both at the end.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    copied: usize,
    already_there: usize,
    verified: usize,
}

pub(super) async fn run(context: &Context<'_>, from: &str, to: &str) -> Outcome {
    let source = existing(context, from).await.map_err(|why| why.about("FROM"))?;
    let target_url = stores::url(to, &context.environment.folder, context.environment).await?;
    if target_url.trim_end().eq_ignore_ascii_case("memory:") {
        return Err(usage("TO: what is in `memory:` is gone when this command ends"));
    }
    let target = countersign_store::open(&target_url, &context.environment.folder, clock()?)
        .await
        .map_err(|why| Failure::from(why).about("TO"))?;
    let counts = transfer(source.as_ref(), target.as_ref()).await;
    // An SQLite file is moved without its write-ahead log, so nothing may be left in the log.
    target.close().await;
    let Counts { copied, already_there, verified } = counts?;
    if context.json {
        let body =
            serde_json::json!({ "copied": copied, "already_there": already_there, "verified": verified });
        output::line(&body.to_string());
    } else {
        output::line(&format!(
            "copied {}, there already: {already_there}; both stores hold the same {verified}",
            output::counted(copied, "document")
        ));
    }
    Ok(())
}

async fn transfer(source: &dyn Store, target: &dyn Store) -> Outcome<Counts> {
    let keys = source.list("").await?;
    refuse_what_is_not_a_copy(source, target, &keys).await?;
    let (mut copied, mut already_there) = (0, 0);
    for key in &keys {
        let Some(document) = source.get(key).await? else { continue }; // it has expired since
        match put(target, key, &document).await? {
            Standing::Missing => copied += 1,
            Standing::Same => already_there += 1,
            Standing::Different => return Err(not_a_copy(key)),
        }
    }
    Ok(Counts { copied, already_there, verified: verify(source, target).await? })
}

async fn refuse_what_is_not_a_copy(source: &dyn Store, target: &dyn Store, keys: &[Key]) -> Outcome {
    let known: BTreeSet<&Key> = keys.iter().collect();
    if let Some(foreign) = target.list("").await?.iter().find(|key| !known.contains(key)) {
        let why = "TO has a document that FROM has not";
        return Err(refused(
            "store_not_empty",
            format!("{why}: {foreign}; nothing was written, name an empty store"),
        ));
    }
    for key in keys {
        let Some(document) = source.get(key).await? else { continue };
        if let Standing::Different = standing(target, key, &document).await? {
            return Err(not_a_copy(key));
        }
    }
    Ok(())
}

/// Writes a document where none exists, and says what was there before.
async fn put(target: &dyn Store, key: &Key, document: &Document) -> Outcome<Standing> {
    match standing(target, key, document).await? {
        Standing::Missing => {}
        other => return Ok(other),
    }
    match target.put(key, &document.bytes, Expect::Absent, document.expires_at).await {
        Ok(_) => Ok(Standing::Missing),
        // Another copy is running.
        Err(StoreError::Conflict { .. }) => standing(target, key, document).await,
        Err(why) => Err(why.into()),
    }
}

async fn standing(target: &dyn Store, key: &Key, document: &Document) -> Outcome<Standing> {
    Ok(match target.get(key).await? {
        None => Standing::Missing,
        Some(found) if is_same(&found, document) => Standing::Same,
        Some(_) => Standing::Different,
    })
}

fn is_same(one: &Document, other: &Document) -> bool {
    one.bytes == other.bytes && one.expires_at == other.expires_at
}

/// How many documents both stores hold, after another look at both.
async fn verify(source: &dyn Store, target: &dyn Store) -> Outcome<usize> {
    let mut same = 0;
    let keys: BTreeSet<Key> = source.list("").await?.into_iter().chain(target.list("").await?).collect();
    for key in keys {
        match (source.get(&key).await?, target.get(&key).await?) {
            (Some(one), Some(other)) if is_same(&one, &other) => same += 1,
            (None, None) => {} // it has expired since
            _ => {
                let why = "FROM or TO was changed while it was copied; stop what uses them, empty TO and copy again";
                return Err(refused("store_changed", format!("{why}: {key}")));
            }
        }
    }
    Ok(same)
}

fn not_a_copy(key: &impl Display) -> Failure {
    let why = "TO has this document with another content, and nothing is overwritten; name an empty store";
    refused("store_not_empty", format!("{key}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use countersign_jose::Timestamp;
    use countersign_store::{ManualClock, MemoryStore, Version};
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    /// A store in which somebody else creates or replaces `k/1` at one of our looks at it, or which
    /// is gone from then on.
    #[derive(Debug)]
    struct Busy {
        store: MemoryStore,
        looks: AtomicUsize,
        happens_at: usize,
        what: Event,
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Event {
        Change(&'static [u8]),
        Outage,
    }

    impl Busy {
        async fn of(names: &[&str], happens_at: usize, what: Event) -> Self {
            let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)));
            let store = MemoryStore::new(clock);
            for name in names {
                store.put(&key(name), name.as_bytes(), Expect::Absent, None).await.unwrap();
            }
            Self { store, looks: AtomicUsize::new(0), happens_at, what }
        }

        async fn idle(names: &[&str]) -> Self {
            Self::of(names, usize::MAX, Event::Outage).await
        }
    }

    #[async_trait]
    impl Store for Busy {
        async fn get(&self, name: &Key) -> Result<Option<Document>, StoreError> {
            let found = self.store.get(name).await?;
            if *name == key("k/1") {
                let look = self.looks.fetch_add(1, Ordering::SeqCst);
                match self.what {
                    Event::Change(bytes) if look == self.happens_at => {
                        let expect = found.as_ref().map(|found| Expect::Version(found.version.clone()));
                        self.store.put(name, bytes, expect.unwrap_or(Expect::Absent), None).await?;
                    }
                    Event::Outage if look >= self.happens_at => {
                        return Err(StoreError::Unavailable { place: "it".into(), reason: "gone".into() });
                    }
                    Event::Change(_) | Event::Outage => {}
                }
            }
            Ok(found)
        }

        async fn put(
            &self,
            key: &Key,
            bytes: &[u8],
            expect: Expect,
            expires_at: Option<Timestamp>,
        ) -> Result<Version, StoreError> {
            self.store.put(key, bytes, expect, expires_at).await
        }

        async fn delete(&self, key: &Key, version: &Version) -> Result<(), StoreError> {
            self.store.delete(key, version).await
        }

        async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
            self.store.list(prefix).await
        }
    }

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_source_that_changes_while_it_is_copied_is_noticed_at_the_end() {
        // Looked at before the first write, to be copied, and to be compared: a change after either
        // of the first two.
        for (happens_at, code) in [(0, Ok(2)), (1, Err("store_changed"))] {
            let source = Busy::of(&["k/1", "k/2"], happens_at, Event::Change(b"changed")).await;
            let target = Busy::idle(&[]).await;
            let outcome = transfer(&source, &target).await;
            let outcome = outcome.map(|counts| counts.verified).map_err(|why| why.code());
            assert_eq!(outcome, code, "after look {happens_at}");
        }
    }

    #[tokio::test]
    async fn of_two_copies_at_once_the_slower_one_finds_the_document_there() {
        let source = Busy::idle(&["k/1", "k/2"]).await;
        let target = Busy::of(&[], 1, Event::Change(b"k/1")).await;
        let counts = transfer(&source, &target).await.unwrap();
        assert_eq!(counts, Counts { copied: 1, already_there: 1, verified: 2 });

        let target = Busy::of(&[], 1, Event::Change(b"another's")).await;
        assert_eq!(transfer(&source, &target).await.unwrap_err().code(), "store_not_empty");
        assert_eq!(target.store.get(&key("k/1")).await.unwrap().unwrap().bytes, b"another's");
    }

    #[tokio::test]
    async fn an_interrupted_copy_is_finished_by_the_next() {
        let names = ["a", "k/1", "z"];
        let source = Busy::of(&names, 1, Event::Outage).await;
        let target = Busy::idle(&[]).await;
        assert_eq!(transfer(&source, &target).await.unwrap_err().code(), "store_unavailable");
        assert_eq!(target.list("").await.unwrap(), [key("a")]);
        let counts = transfer(&Busy::idle(&names).await, &target).await.unwrap();
        assert_eq!(counts, Counts { copied: 2, already_there: 1, verified: 3 });
    }
}
