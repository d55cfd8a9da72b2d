//! How much time has passed between two readings of a clock that can be set.
//!
//! Callers bring their own `now`, so one may come a moment before what another has left; a clock
//! that was set back further says nothing of how old anything is. Called by `remote` and
//! `revocation`.

use countersign_jose::Timestamp;
use std::time::Duration;

/// A difference between two readings of the clock that is no more than callers overtaking each
/// other.
const CLOCK_WOBBLE: Duration = Duration::from_secs(60);

/// How much time has passed; `None` if the clock was set back in between.
pub(crate) fn elapsed(since: Timestamp, now: Timestamp) -> Option<Duration> {
    (since <= now.plus(CLOCK_WOBBLE)).then(|| now.since(since))
}
