//! `until`: tests wait for conditions, not for times.
//!
//! The end is so far away that only what never happens reaches it, however busy the machine is. A
//! test that slept instead would be slow on an idle machine and wrong on a busy one.

use std::time::Duration;

use tokio::time::Instant;

/// When waiting is given up.
const END: Duration = Duration::from_secs(120);
/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until `holds`.
///
/// # Panics
///
/// With `what`, when it has not come about after two minutes.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < END, "not within {END:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
