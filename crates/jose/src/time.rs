//! `Timestamp`: a point in time in whole seconds since 1970-01-01T00:00:00Z (RFC 7519 NumericDate, integer form).
//!
//! No clock lives here. Whoever needs "now" is handed one, so every lifecycle can run on a virtual clock.
//! Arithmetic saturates: a hostile number can not overflow into a different century.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Seconds since the Unix epoch, UTC, ignoring leap seconds (RFC 7519 §2, NumericDate).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `seconds` after the Unix epoch; negative before it.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    pub const fn unix_seconds(self) -> i64 {
        self.0
    }

    /// This instant moved `by` later, in whole seconds; stops at the end of the range.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(by.as_secs()))
    }

    /// This instant moved `by` earlier, in whole seconds; stops at the start of the range.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub_unsigned(by.as_secs()))
    }

    /// How long ago `earlier` was, or zero when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0).try_into().unwrap_or(0))
    }
}
