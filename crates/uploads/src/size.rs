//! How large a file may be: what `content-length-range` of a policy says. There is no form without
//! one.

use std::fmt;

/// The most that S3 takes in one POST: 5 GiB (S3 API reference, "POST Object").
pub const MAX_BYTES: u64 = 5 << 30;

/// The least and the most bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeRange {
    min: u64,
    max: u64,
}

/// Why there is no such range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Nothing could be uploaded.
    #[error("the most must be at least 1 byte")]
    Nothing,
    /// S3 takes less in one POST.
    #[error("{0} bytes are more than the {MAX_BYTES} (5 GiB) that S3 takes in one POST")]
    TooLarge(u64),
    /// The ends are the wrong way round.
    #[error("the least, {min} bytes, is more than the most, {max}")]
    Reversed {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

impl SizeRange {
    /// From `min` to `max` bytes, both included.
    ///
    /// # Errors
    ///
    /// [`SizeError`]
    pub const fn new(min: u64, max: u64) -> Result<Self, SizeError> {
        if max == 0 {
            Err(SizeError::Nothing)
        } else if max > MAX_BYTES {
            Err(SizeError::TooLarge(max))
        } else if min > max {
            Err(SizeError::Reversed { min, max })
        } else {
            Ok(Self { min, max })
        }
    }

    /// Exactly so many bytes, where this range has them.
    pub fn exactly(self, bytes: u64) -> Option<Self> {
        (self.min..=self.max).contains(&bytes).then_some(Self { min: bytes, max: bytes })
    }

    /// The least, in bytes.
    pub const fn min(self) -> u64 {
        self.min
    }

    /// The most, in bytes.
    pub const fn max(self) -> u64 {
        self.max
    }
}

impl fmt::Display for SizeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} bytes", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lets_something_through_and_never_more_than_one_post_can_carry() {
        for (min, max, expected) in [
            (0, 1, Ok(())),
            (1, 1, Ok(())),
            (1, MAX_BYTES, Ok(())),
            (0, 0, Err(SizeError::Nothing)),
            (1, 0, Err(SizeError::Nothing)),
            (2, 1, Err(SizeError::Reversed { min: 2, max: 1 })),
            (1, MAX_BYTES + 1, Err(SizeError::TooLarge(MAX_BYTES + 1))),
            (0, u64::MAX, Err(SizeError::TooLarge(u64::MAX))),
        ] {
            assert_eq!(SizeRange::new(min, max).map(|_| ()), expected, "{min} to {max}");
        }
    }

    #[test]
    fn an_exact_size_is_one_of_the_range() {
        let range = SizeRange::new(2, 4).unwrap();
        for bytes in [2, 3, 4] {
            assert_eq!(range.exactly(bytes), SizeRange::new(bytes, bytes).ok());
        }
        for bytes in [0, 1, 5, u64::MAX] {
            assert_eq!(range.exactly(bytes), None);
        }
    }
}
