//! What goes wrong at `POST /token`, as the caller sees it: the codes and statuses of RFC 6749 §5.2
//! and RFC 8707 §2.
//!
//! One exhaustive match. What a caller that has not proved who it is may learn is only that; the
//! reason is in the audit. So is what was wrong with a store, a key source or the network, which no
//! caller is told: it names places and settings of the inside, and anybody may be a public client.

use crate::{
    assertion::AssertionError,
    dpop::DpopError,
    exchange::ExchangeError,
    refresh::{PAUSE, RefreshError},
    revocation::RevocationsError,
};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use countersign_issuer::{
    MeetingRule, MintError, Rule,
    http::{HttpError, error_response},
};
use std::time::Duration;

/// What a caller is told of something that cannot be judged now.
pub(crate) const HIDDEN: &str = "this cannot be judged now; the log has the reason under the request id";

/// A refusal on its way out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum TokenError {
    /// What can go wrong with every route that mints.
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("send the parameters as application/x-www-form-urlencoded")]
    NotAForm,
    #[error("the parameters are not UTF-8")]
    NotUtf8,
    #[error("a parameter occurs twice")]
    Repeated,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("{0}")]
    Contradiction(&'static str),
    #[error("{0}")]
    Unacceptable(&'static str),
    #[error("no client of this issuer has such a grant")]
    UnsupportedGrantType,
    #[error("this client does not have the grant; add it to `grants` in its entry")]
    UnauthorizedClient,
    #[error("{0}")]
    InvalidScope(#[from] countersign_issuer::ScopeError),
    #[error("{0}")]
    InvalidTarget(&'static str),
    /// The client's assertion.
    #[error(transparent)]
    Client(#[from] AssertionError),
    /// The assertion of jwt-bearer.
    #[error(transparent)]
    Assertion(ExchangeError),
    /// The subject token of token exchange.
    #[error(transparent)]
    SubjectToken(ExchangeError),
    #[error(
        "tokens of this type cannot be revoked by a client; those of POST /sign are by `countersign tokens revoke`, and others are good until they expire"
    )]
    UnsupportedTokenType,
    #[error("the token belongs to another client")]
    NotYours,
    #[error("this client may not introspect tokens; add their audiences to `introspect` in its entry")]
    MayNotIntrospect,
    /// What is revoked cannot be known, or nothing more can be revoked.
    #[error("{0}")]
    Revocations(#[from] RevocationsError),
    /// The refresh token, or what becomes of it.
    #[error(transparent)]
    Refresh(RefreshError),
    /// The DPoP proof.
    #[error(transparent)]
    Dpop(#[from] DpopError),
    /// An answer that was to be signed. It did not come to the mint, which records tokens.
    #[error("{0}")]
    Unsigned(MintError),
}

impl From<RefreshError> for TokenError {
    fn from(why: RefreshError) -> Self {
        match why {
            RefreshError::TooFast => HttpError::TooManyRequests(PAUSE).into(),
            why => Self::Refresh(why),
        }
    }
}

impl TokenError {
    /// The error of RFC 6749, where this is one of this endpoint alone.
    fn own(&self) -> Option<(StatusCode, &'static str)> {
        let bad = |error| Some((StatusCode::BAD_REQUEST, error));
        let later = Some((StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"));
        match self {
            Self::NotAForm
            | Self::NotUtf8
            | Self::Repeated
            | Self::Missing(_)
            | Self::Contradiction(_)
            | Self::Unacceptable(_) => bad("invalid_request"),
            Self::UnsupportedGrantType => bad("unsupported_grant_type"),
            Self::UnauthorizedClient => bad("unauthorized_client"),
            Self::UnsupportedTokenType => bad("unsupported_token_type"),
            Self::NotYours | Self::MayNotIntrospect => bad("unauthorized_client"),
            Self::Revocations(_) => later,
            Self::InvalidScope(_) => bad("invalid_scope"),
            Self::InvalidTarget(_) => bad("invalid_target"),
            Self::Client(why) if why.is_temporary() => later,
            Self::Assertion(why) | Self::SubjectToken(why) if why.is_limit() => {
                Some((StatusCode::TOO_MANY_REQUESTS, "slow_down"))
            }
            Self::Assertion(why) | Self::SubjectToken(why) if why.is_temporary() => later,
            Self::Assertion(ExchangeError::Resource)
            | Self::SubjectToken(
                ExchangeError::Target
                | ExchangeError::Destination
                | ExchangeError::Room
                | ExchangeError::RoomName
                | ExchangeError::WhichRoom,
            ) => bad("invalid_target"),
            Self::Assertion(why) | Self::SubjectToken(why) if why.is_scope() => bad("invalid_scope"),
            // RFC 7523 §3.1 and RFC 8693 §2.2.2 call the same by two names.
            Self::Assertion(_) => bad("invalid_grant"),
            Self::SubjectToken(_) => bad("invalid_request"),
            Self::Refresh(why) if why.is_temporary() => later,
            Self::Dpop(why) if why.is_temporary() => later,
            Self::Dpop(why) if why.wants_nonce() => bad("use_dpop_nonce"),
            Self::Dpop(_) => bad("invalid_dpop_proof"),
            Self::Refresh(RefreshError::Scope) => bad("invalid_scope"),
            Self::Refresh(RefreshError::Audience) => bad("invalid_target"),
            Self::Refresh(RefreshError::NoRule) => bad("unauthorized_client"),
            Self::Refresh(_) => bad("invalid_grant"),
            // The same answer as to a wrong secret.
            Self::Client(_) => None,
            Self::Unsigned(_) => None,
            Self::Http(HttpError::Mint(MintError::Denied(denial))) => bad(of_rule(denial.rule())),
            Self::Http(_) => None,
        }
    }

    /// What the caller is told, where `own` says which error it is.
    fn description(&self) -> String {
        match self {
            Self::Client(why) if why.is_temporary() => HIDDEN.to_owned(),
            Self::Assertion(why) | Self::SubjectToken(why) => why.description(),
            Self::Refresh(why) if why.is_temporary() => HIDDEN.to_owned(),
            Self::Dpop(DpopError::Seen(_)) | Self::Revocations(_) => HIDDEN.to_owned(),
            why => why.to_string(),
        }
    }

    /// When to try again, where that is known.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Assertion(why) | Self::SubjectToken(why) => why.retry_after(),
            _ => None,
        }
    }

    /// The names that [`TokenError::code`] gives beside those of the mint: they are counted from
    /// the start.
    pub(crate) const CODES: [&str; 36] = [
        "assertion_replayed",
        "client_keys_unavailable",
        "dpop_access_token",
        "dpop_claim_missing",
        "dpop_claims_malformed",
        "dpop_method",
        "dpop_nonce",
        "dpop_other_key",
        "dpop_proof_invalid",
        "dpop_proof_missing",
        "dpop_proof_several",
        "dpop_replayed",
        "dpop_time",
        "dpop_url",
        "invalid_client",
        "invalid_dpop_proof",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "invalid_target",
        "keyring_unavailable",
        "no_randomness",
        "rate_limited",
        "refresh_family_altered",
        "refresh_token_of_another_client",
        "refresh_token_of_another_key",
        "refresh_token_replayed",
        "refresh_token_revoked",
        "revocations_unavailable",
        "slow_down",
        "store_unavailable",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_grant_type",
        "unsupported_token_type",
        "use_dpop_nonce",
    ];

    /// A stable name for metrics and the audit.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Http(why) => why.code(),
            Self::Client(why) => why.code(),
            Self::Refresh(why) => why.code(),
            Self::Dpop(why) => why.code(),
            Self::Revocations(_) => "revocations_unavailable",
            Self::Unsigned(why) => why.code(),
            other => other.own().map_or("invalid_request", |(_, error)| error),
        }
    }

    /// Whether the mint has recorded it already.
    pub(crate) fn is_of_the_mint(&self) -> bool {
        matches!(self, Self::Http(HttpError::Mint(_)))
    }
}

/// What RFC 6749 calls a refusal by a rule of the client's policy.
fn of_rule(rule: Rule) -> &'static str {
    match rule {
        Rule::Scopes => "invalid_scope",
        Rule::Audiences
        | Rule::Meeting(_, MeetingRule::AnyRoom | MeetingRule::Rooms | MeetingRule::Regex) => {
            "invalid_target"
        }
        Rule::MaxLifetime
        | Rule::ClaimsAllow
        | Rule::ClaimsDeny
        | Rule::ClaimsFixed
        | Rule::ClaimsSchema
        | Rule::Profiles
        | Rule::Uploads
        | Rule::Meeting(_, MeetingRule::Moderator | MeetingRule::User | MeetingRule::Features) => {
            "unauthorized_client"
        }
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let retry_after = self.retry_after();
        let mut response = match (self.own(), self) {
            (Some((status, error)), why) => error_response(status, error, &why.description()),
            (None, Self::Unsigned(why)) => HttpError::Mint(why).into_response(),
            (None, Self::Http(why)) => {
                let is_method = why == HttpError::MethodNotAllowed;
                let mut response = why.into_response();
                if is_method {
                    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
                }
                response
            }
            (None, _) => HttpError::InvalidClient.into_response(),
        };
        if let Some(wait) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        // RFC 6749 §5.1 asks for both where a token may be; caches of HTTP/1.0 know only this one.
        response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{seen::SeenError, upstream::UpstreamError};
    use countersign_store::StoreError;
    use countersign_verifier::{FetchError, VerifyError};

    const INSIDE: &str = "10.0.0.7:5432, folder /var/lib, os error 111";

    fn store() -> StoreError {
        StoreError::Unavailable { place: INSIDE.to_owned(), reason: INSIDE.to_owned() }
    }

    fn seen() -> SeenError {
        store().into()
    }

    /// Each is recorded with what was said of it; a caller may be anybody.
    #[test]
    fn what_is_wrong_inside_is_for_the_audit_alone() {
        let why = FetchError::Connection(INSIDE.to_owned());
        let keys = || VerifyError::KeysUnavailable {
            issuer: "theirs".into(),
            asked: "https://keys.theirs/".into(),
            why: why.clone(),
        };
        let of_exchange = || {
            [
                ExchangeError::Refused(keys()),
                ExchangeError::Seen(seen()),
                ExchangeError::Revocations(store().into()),
                ExchangeError::Family(RefreshError::Store(store())),
            ]
        };
        let of_actor = of_exchange().map(|why| ExchangeError::Actor(Box::new(why)));
        let all = of_exchange()
            .into_iter()
            .chain(of_actor)
            .flat_map(|why| [TokenError::Assertion(why.clone()), TokenError::SubjectToken(why)]);
        let all = all.chain([
            TokenError::Client(AssertionError::Refused(keys())),
            TokenError::Client(AssertionError::Seen(seen())),
            TokenError::Revocations(store().into()),
            TokenError::Revocations(RevocationsError::Keyring(INSIDE.to_owned())),
            TokenError::Refresh(RefreshError::Store(store())),
            TokenError::Refresh(RefreshError::Keyring(INSIDE.to_owned())),
            TokenError::Dpop(DpopError::Seen(seen())),
        ]);
        let mut count = 0;
        for why in all {
            let (status, error) = why.own().unwrap();
            assert_eq!((status.as_u16(), error), (503, "temporarily_unavailable"), "{why:?}");
            assert!(why.to_string().contains(INSIDE), "the audit has it: {why}");
            let told = why.description();
            assert!(!told.contains("10.0.0.7") && !told.contains("theirs"), "{told}");
            assert!(told.contains("the log has the reason under the request id"), "{told}");
            count += 1;
        }
        assert_eq!(count, 23);
    }

    #[test]
    fn what_is_wrong_with_the_request_is_told() {
        for why in [
            TokenError::SubjectToken(ExchangeError::When),
            TokenError::Assertion(ExchangeError::Actor(Box::new(ExchangeError::NoJti))),
            TokenError::SubjectToken(ExchangeError::Upstream(UpstreamError::Refused)),
            TokenError::Refresh(RefreshError::Ended),
            TokenError::UnsupportedTokenType,
        ] {
            assert_eq!(why.description(), why.to_string());
        }
    }
}
