//! Why a token or code of a provider is worth nothing here, or cannot be judged now.
//!
//! No text is the provider's or the caller's: what a provider says about a token may repeat it.

use countersign_jose::json::JsonError;
use humantime::format_duration;
use std::{fmt, time::Duration};

/// Which of a provider's addresses was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Where codes are redeemed.
    Token,
    /// Where a token is checked.
    Check,
    /// Where the profile is.
    Profile,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token_url",
            Self::Check => "check_url",
            Self::Profile => "profile_url",
        })
    }
}

/// Why something that a provider has given is not taken. Told to the client, which has proved who
/// it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("it has to be 1 to {MAX_PRESENTED} printable ASCII characters without spaces")]
    Malformed,
    #[error(
        "nothing proves for which application of the provider it was issued; send the authorization code instead \
         (`subject_token_type` urn:countersign:params:oauth:token-type:authorization_code)"
    )]
    Unbound,
    #[error("the rule takes no authorization codes; its `redirect_uris` are empty")]
    NoCodes,
    #[error("`redirect_uri` is not one of the rule's `redirect_uris`")]
    RedirectUri,
    #[error("`code_verifier` has to be 43 to 128 of the characters A-Z a-z 0-9 - . _ ~ (RFC 7636)")]
    Verifier,
    #[error("the provider does not accept it: it has expired, was revoked or used, or is not the provider's")]
    Refused,
    #[error("the provider says that it may not read the profile; the login has to ask for more scopes")]
    Forbidden,
    #[error("it was issued to another application of the provider than the rule's")]
    OtherApplication,
    #[error("the provider does not say for which application it was issued")]
    NoApplication,
    #[error(
        "the provider does not say that it is an access token, but another (`token_type`, `typ`, `token_use`)"
    )]
    OtherKind,
    #[error("the provider gives nothing like it: it is a token or a secret of this issuer, or a JWT")]
    NotTheirs,
    #[error("it has expired")]
    Expired,
    #[error("the provider does not say when it expires (`exp`)")]
    NoExpiry,
    #[error("it lacks the scope {0:?}, which the rule requires (`require_scopes`)")]
    Scope(String),
    #[error("the provider's answer has no subject that can be used ({0})")]
    NoSubject(String),
    #[error("two answers of the provider are about different subjects")]
    OtherSubject,
    #[error("the provider accepts no more requests at present; try again in {}", format_duration(Duration::from_secs(.0.as_secs())))]
    Limited(Duration),
    #[error("the provider cannot be asked now: its {endpoint} {why}")]
    Unavailable { endpoint: Endpoint, why: Failure, wait: Option<Duration> },
}

/// The longest token or code.
pub(super) const MAX_PRESENTED: usize = 4096;

/// Why an address has given no answer that says anything about the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Holds what the network or TLS library said, which knows no address and no token.
    #[error("could not be reached: {0}")]
    Connection(String),
    #[error("gave no complete answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("answered with status {0}")]
    Status(u16),
    #[error("answered with a redirect, and none is followed; configure the final address")]
    Redirect,
    #[error("answered with more than {0} bytes")]
    TooLarge(usize),
    #[error("answered with something that is not JSON (by its content type)")]
    NotJson,
    #[error("answered with JSON that cannot be used: {0}")]
    Json(JsonError),
    #[error("answered without a usable `{0}`")]
    Member(&'static str),
    #[error("refuses the credentials of the application; check client_id and client_secret of the rule")]
    Credentials,
    #[error("reported an error of its own")]
    Error,
    #[error("is asked about too many tokens at once")]
    Busy,
    #[error("was given up on, because the server is ending")]
    Interrupted,
}

impl UpstreamError {
    /// What a caller is told: not what the network or the TLS library said.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Unavailable { endpoint, why: Failure::Connection(_), .. } => format!(
                "the provider cannot be asked now: its {endpoint} could not be reached; the log has the reason under the request id"
            ),
            why => why.to_string(),
        }
    }

    /// Whether it may be good, and only cannot be judged now.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Limited(_) | Self::Unavailable { .. } => true,
            Self::Malformed
            | Self::Unbound
            | Self::NoCodes
            | Self::RedirectUri
            | Self::Verifier
            | Self::Refused
            | Self::Forbidden
            | Self::OtherApplication
            | Self::NoApplication
            | Self::OtherKind
            | Self::NotTheirs
            | Self::Expired
            | Self::NoExpiry
            | Self::Scope(_)
            | Self::NoSubject(_)
            | Self::OtherSubject => false,
        }
    }

    /// When to try again, if the provider or its limits say so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited(wait) => Some(*wait),
            Self::Unavailable { wait, .. } => *wait,
            _ => None,
        }
    }

    /// Whether it is the provider's rate limit.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self, Self::Limited(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_network_said_is_for_the_audit_alone() {
        let unavailable = |why| UpstreamError::Unavailable { endpoint: Endpoint::Profile, why, wait: None };
        let why = unavailable(Failure::Connection("10.0.0.7: os error 111".to_owned()));
        assert!(why.to_string().contains("10.0.0.7"), "{why}");
        let told = why.description();
        assert!(told.contains("its profile_url could not be reached; the log has the reason"), "{told}");
        assert!(!told.contains("10.0.0.7") && !told.contains("111"), "{told}");
        for why in
            [unavailable(Failure::Credentials), unavailable(Failure::Status(500)), UpstreamError::Refused]
        {
            assert_eq!(why.description(), why.to_string());
        }
    }
}
