//! `RotationPolicy`: how often a ring gets a new key, and the times that must fit together for
//! nobody to notice.

use humantime::format_duration as words;
use std::time::Duration;

/// How verifiers come to the keys of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// They read the public JWKS, where it can be seen what they read.
    Published,
    /// Somebody gives them each key, and nothing can be seen of it. Shared secrets are never
    /// published, whatever their ring says.
    ByHand,
}

/// How one ring rotates. All of it in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How verifiers come to its keys.
    pub distribution: Distribution,
    /// How long a key signs before the next one takes over; `None` for rotation by hand.
    pub rotate_every: Option<Duration>,
    /// How long a key must have been seen in public before it may sign: the longest time any
    /// consumer goes on with keys it has read, and any cache in between. Where keys are given by
    /// hand, how long after it was made all consumers have it.
    pub propagation: Duration,
    /// The longest lifetime of a token this ring signs.
    pub longest_token: Duration,
    /// How far the clocks of issuer and verifiers may differ.
    pub skew: Duration,
    /// How long an instance that cannot read the store may go on signing with a key that others
    /// have retired.
    pub signer_lag: Duration,
    /// How long a key stays published after it has stopped signing.
    pub keep_retired: Duration,
    /// How often the public address is looked at.
    pub observe_every: Duration,
}

/// Which times of a policy do not fit together. Every message names both numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A key would be gone while tokens it signed still live.
    #[error(
        "keep_retired {} is shorter than the longest token {}, the skew {} and the time an instance may go on with old keys {} \
         together: tokens would be refused before they expire",
        words(*keep_retired), words(*longest_token), words(*skew), words(*signer_lag)
    )]
    RetiredTooShort {
        /// How long retired keys stay.
        keep_retired: Duration,
        /// The longest token.
        longest_token: Duration,
        /// The skew.
        skew: Duration,
        /// How long an instance may go on with old keys.
        signer_lag: Duration,
    },
    /// The next key could not be seen for long enough before its turn.
    #[error(
        "rotate_every {} is shorter than a key takes to become known, {} (propagation {}, and time to look at it)",
        words(*rotate_every), words(*lead), words(*propagation)
    )]
    RotatesTooOften {
        /// How long a key signs.
        rotate_every: Duration,
        /// How long before its turn a key is published.
        lead: Duration,
        /// How long it must be seen.
        propagation: Duration,
    },
    /// Nobody looks often enough to know that a key was there all the time.
    #[error("observe_every {} is not between 1s and 1h", words(*observe_every))]
    ObservesTooSeldom {
        /// How often the public address is looked at.
        observe_every: Duration,
    },
    /// More keys would be published at once than consumers read.
    #[error(
        "with rotate_every {} and keep_retired {}, {keys} keys would be published at once; some consumers read no more than {max}",
        words(*rotate_every), words(*keep_retired)
    )]
    TooManyKeys {
        /// How long a key signs.
        rotate_every: Duration,
        /// How long it stays then.
        keep_retired: Duration,
        /// How many there would be.
        keys: u64,
        /// How many there may be.
        max: u64,
    },
}

/// An Application Load Balancer forwards nothing when a JWKS has more keys (ELB user guide, "Verify
/// JWTs").
const MAX_PUBLISHED: u64 = 10;

impl RotationPolicy {
    /// How long a retired key has to stay published at least.
    pub fn least_keep_retired(&self) -> Duration {
        self.longest_token.saturating_add(self.skew).saturating_add(self.signer_lag)
    }

    /// How long before its turn the next key is published: it must be seen for `propagation`, after
    /// somebody has looked, and a few looks may fail.
    pub fn lead(&self) -> Duration {
        self.propagation
            .saturating_add(self.skew)
            .saturating_add(self.observe_every.saturating_mul(6))
            .saturating_add(self.propagation / 10)
    }

    /// The longest time between two looks after which a key still counts as seen all the time.
    pub fn longest_gap(&self) -> Duration {
        self.observe_every.saturating_mul(3)
    }

    /// Whether the times fit together.
    pub fn check(&self) -> Result<(), PolicyError> {
        let Self { propagation, longest_token, skew, signer_lag, keep_retired, observe_every, .. } = *self;
        if keep_retired < self.least_keep_retired() {
            return Err(PolicyError::RetiredTooShort { keep_retired, longest_token, skew, signer_lag });
        }
        if observe_every < Duration::from_secs(1) || observe_every > Duration::from_secs(3600) {
            return Err(PolicyError::ObservesTooSeldom { observe_every });
        }
        let Some(rotate_every) = self.rotate_every else { return Ok(()) };
        let lead = self.lead();
        if rotate_every < lead {
            return Err(PolicyError::RotatesTooOften { rotate_every, lead, propagation });
        }
        // The active one, the next one, and those that are retired at the same time.
        let keys = 2 + keep_retired.as_secs().div_ceil(rotate_every.as_secs().max(1));
        if keys > MAX_PUBLISHED {
            return Err(PolicyError::TooManyKeys { rotate_every, keep_retired, keys, max: MAX_PUBLISHED });
        }
        Ok(())
    }
}
