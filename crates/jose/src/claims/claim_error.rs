//! What the claims of a properly signed token may lack, one variant per reason, with codes that
//! stay.

/// Which expectation the claims of a properly signed token do not meet. Names claims, never their
/// values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// An expected claim (or header parameter) is not there.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A registered claim has another JSON type than RFC 7519 gives it.
    #[error("`{name}` must be {expected}")]
    WrongType {
        /// The claim.
        name: &'static str,
        /// The type it should have.
        expected: &'static str,
    },
    /// A claim is there but not the expected one.
    #[error("`{0}` is not the expected one")]
    Mismatch(String),
    /// The header's `typ` is another one.
    #[error("`typ` is not the expected one")]
    WrongTyp,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` is still to come: one of the two clocks is wrong.
    #[error("the token was issued in the future; check the clocks")]
    IssuedInTheFuture,
    /// `iat` is longer ago than the policy's maximum age.
    #[error("the token was issued too long ago")]
    TooOld,
    /// `sub` is empty or longer than the policy allows.
    #[error("`sub` is empty or too long")]
    UnacceptableSubject,
}

impl ClaimError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "claim_missing",
            Self::WrongType { .. } => "claim_wrong_type",
            Self::Mismatch(_) => "claim_mismatch",
            Self::WrongTyp => "claim_wrong_typ",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::IssuedInTheFuture => "token_issued_in_the_future",
            Self::TooOld => "token_too_old",
            Self::UnacceptableSubject => "subject_unacceptable",
        }
    }
}
