//! When a token begins and ends: `iat` and `nbf` lie before now by the backdate, and `exp` is one
//! lifetime after them.
//!
//! So `exp - iat` is the lifetime that was asked for and allowed, and never more: consumers with a
//! hard maximum compare exactly these two (GitHub and Apple refuse a token one second over it).
//! What is left from now on, `expires_in`, is less by the backdate. Docs: docs/clients.md. Pinned
//! by the tests below and by `tests/mint_properties.rs`.

use countersign_jose::{NUMERIC_DATES, Timestamp};
use std::time::Duration;

/// The times of one token. Begins at or before now, ends after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    begins: Timestamp,
    ends: Timestamp,
}

/// Why a token of this lifetime makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValidityError {
    /// It would have expired before anyone could use it.
    #[error(
        "a lifetime of {lifetime} s is not more than the {backdate} s by which tokens are backdated (tokens.backdate), so the token would have expired; ask for a longer one"
    )]
    TooShort {
        /// What was asked for, in seconds.
        lifetime: u64,
        /// How far `iat` lies before now, in seconds.
        backdate: u64,
    },
    /// Verifiers read times up to the year 9999.
    #[error("the token would end after the year 9999; ask for a shorter lifetime")]
    TooLong,
}

impl Validity {
    /// The times of a token of `lifetime` that is minted `now`.
    ///
    /// # Errors
    ///
    /// If it would have expired already, or end after the year 9999.
    pub fn new(now: Timestamp, lifetime: Duration, backdate: Duration) -> Result<Self, ValidityError> {
        if lifetime.as_secs() <= backdate.as_secs() {
            let (lifetime, backdate) = (lifetime.as_secs(), backdate.as_secs());
            return Err(ValidityError::TooShort { lifetime, backdate });
        }
        let begins = now.minus(backdate);
        let ends = begins.plus(lifetime);
        let readable = |at: Timestamp| NUMERIC_DATES.contains(&at.unix_seconds());
        if !readable(begins) || !readable(ends) {
            return Err(ValidityError::TooLong);
        }
        Ok(Self { begins, ends })
    }

    /// `iat` and `nbf`.
    pub fn begins(self) -> Timestamp {
        self.begins
    }

    /// `exp`.
    pub fn ends(self) -> Timestamp {
        self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[test]
    fn exp_is_one_lifetime_after_iat_whatever_the_backdate() {
        for (lifetime, backdate) in [(1, 0), (6, 5), (900, 5), (3600, 60), (86_400, 0)] {
            let (lifetime, backdate) = (Duration::from_secs(lifetime), Duration::from_secs(backdate));
            let validity = Validity::new(NOW, lifetime, backdate).unwrap();
            assert_eq!(validity.ends().since(validity.begins()), lifetime);
            assert_eq!(NOW.since(validity.begins()), backdate);
            assert!(validity.ends() > NOW);
        }
    }

    #[test]
    fn a_token_that_would_have_expired_or_never_does_is_not_made() {
        let new = |lifetime, backdate| Validity::new(NOW, lifetime, Duration::from_secs(backdate));
        for (lifetime, backdate) in [(0, 0), (5, 5), (1, 5)] {
            let error = new(Duration::from_secs(lifetime), backdate).unwrap_err();
            assert_eq!(error, ValidityError::TooShort { lifetime, backdate });
        }
        assert_eq!(new(Duration::from_millis(5900), 5).unwrap_err().to_string().matches("5 s").count(), 2);
        for lifetime in [Duration::MAX, Duration::from_secs(251_602_300_800)] {
            assert_eq!(new(lifetime, 0), Err(ValidityError::TooLong));
        }
        assert!(new(Duration::from_secs(10), 1_800_000_001).is_err());
    }
}
