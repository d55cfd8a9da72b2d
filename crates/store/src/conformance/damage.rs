//! Documents that lost their content on the way, by hand or by a damaged backup.

use std::sync::Arc;

use super::key;
use crate::{Expect, Key, Store, StoreError};

/// A document without content is damaged: it is never an empty document, and others can still be
/// read.
///
/// `remove_content` takes the content of a document away, past the store.
///
/// # Panics
///
/// When the engine breaks the rule.
pub async fn run_damaged(store: Arc<dyn Store>, remove_content: impl AsyncFn(&Key)) {
    let outcome = a_document_without_content_is_corrupt(store.as_ref(), &remove_content).await;
    assert_eq!(outcome, Ok(()), "a document without content is corrupt");
}

async fn a_document_without_content_is_corrupt(
    store: &dyn Store,
    remove_content: &impl AsyncFn(&Key),
) -> Result<(), StoreError> {
    let (whole, empty, damaged) = (key("whole"), key("empty"), key("damaged"));
    store.put(&whole, b"content", Expect::Absent, None).await?;
    store.put(&empty, b"", Expect::Absent, None).await?;
    store.put(&damaged, b"content", Expect::Absent, None).await?;
    remove_content(&damaged).await;

    let found = store.get(&damaged).await;
    assert!(matches!(found, Err(StoreError::Corrupt { .. })), "without content: {found:?}");
    let created = store.put(&damaged, b"new", Expect::Absent, None).await;
    let is_refused = matches!(created, Err(StoreError::Conflict { .. } | StoreError::Corrupt { .. }));
    assert!(is_refused, "it is not absent either: {created:?}");
    for (name, content) in [(&whole, &b"content"[..]), (&empty, b"")] {
        let found = store.get(name).await?.map(|found| found.bytes);
        assert_eq!(found.as_deref(), Some(content), "{name} is as it was");
    }
    Ok(())
}
