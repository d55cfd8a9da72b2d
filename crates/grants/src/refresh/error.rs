//! Why a refresh token is not worth a token. Told to the client, which has proved who it is; no
//! text of a token is in it.

use super::{
    family::{Family, TooFast},
    token::{FamilyId, NoRandomness, RefreshToken},
};
use countersign_jose::Timestamp;
use countersign_store::StoreError;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefreshError {
    #[error("the refresh token is not known; it was revoked, has expired, or was never made")]
    Unknown,
    /// The same to the client: whether another's token exists is not its business.
    #[error("the refresh token is not known; it was revoked, has expired, or was never made")]
    OtherClient,
    /// By subject or client.
    #[error("the refresh token is not known; it was revoked, has expired, or was never made")]
    Revoked,
    #[error("the refresh token has expired")]
    Ended,
    #[error(
        "the refresh token was used before and its grace window is over, so all tokens of its family are revoked: token \
         {generation} came, {live} was made {late} s ago"
    )]
    Replayed {
        /// The family, whose access tokens are to be revoked too.
        family: FamilyId,
        /// Whose family it is.
        subject: String,
        /// Which token of the family came.
        generation: u32,
        /// Which one was live.
        live: u32,
        /// How long that had been so, in seconds: the one that came is late by at least as much.
        late: u64,
    },
    #[error(
        "no rule (`exchange`) gives this client refresh tokens of this provider any more, or it believes something else than when they were granted"
    )]
    NoRule,
    #[error("the refresh token, the rule (`exchange`) or the client's `scopes` does not allow this scope")]
    Scope,
    #[error("the refresh token is for other audiences")]
    Audience,
    #[error("the refresh token is bound to a key; send a DPoP proof that this key has signed")]
    OtherKey,
    #[error("the refresh token was used too often within the grace window")]
    TooFast,
    #[error("what is stored of this refresh token is not what this authority wrote")]
    Altered,
    #[error("it cannot be known now what the refresh token is worth: {0}")]
    Store(StoreError),
    #[error("it cannot be known now what the refresh token is worth: {0}")]
    Keyring(String),
    #[error("the refresh token is used by too many at once")]
    Contended,
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

/// How long a client that refreshes too fast is told to wait.
pub(crate) const PAUSE: Duration = Duration::from_secs(10);

impl RefreshError {
    pub(super) fn replayed(family: &Family, token: &RefreshToken, now: Timestamp) -> Self {
        let (generation, live) = (token.generation, family.live.generation);
        let late = now.since(family.live.made_at).as_secs();
        Self::Replayed { family: family.id, subject: family.granting.subject.clone(), generation, live, late }
    }

    /// Whether it may be good, and only cannot be judged now.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Store(_) | Self::Keyring(_) | Self::Contended | Self::NoRandomness => true,
            Self::Unknown
            | Self::OtherClient
            | Self::Revoked
            | Self::Ended
            | Self::Replayed { .. }
            | Self::NoRule
            | Self::Scope
            | Self::Audience
            | Self::OtherKey
            | Self::TooFast
            | Self::Altered => false,
        }
    }

    /// A stable name for the audit and the metrics.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unknown | Self::Ended => "invalid_grant",
            Self::OtherKey => "refresh_token_of_another_key",
            Self::Revoked => "refresh_token_revoked",
            Self::OtherClient => "refresh_token_of_another_client",
            Self::Replayed { .. } => "refresh_token_replayed",
            Self::NoRule => "unauthorized_client",
            Self::Scope => "invalid_scope",
            Self::Audience => "invalid_target",
            Self::TooFast => "rate_limited",
            Self::Altered => "refresh_family_altered",
            Self::Store(_) | Self::Contended => "store_unavailable",
            Self::Keyring(_) => "keyring_unavailable",
            Self::NoRandomness => "no_randomness",
        }
    }
}

impl From<StoreError> for RefreshError {
    fn from(why: StoreError) -> Self {
        Self::Store(why)
    }
}

impl From<NoRandomness> for RefreshError {
    fn from(_: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

impl From<TooFast> for RefreshError {
    fn from(_: TooFast) -> Self {
        Self::TooFast
    }
}
