//! What goes wrong on the way, as the caller sees it: RFC 6749 §5.2 error codes with the right
//! status.
//!
//! One exhaustive match; a detail that is not for callers stays in the log under the request's id.

use crate::{MintError, RequestError};
use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use countersign_keyring::{ServiceError, SignError};
use humantime::format_duration;
use std::time::Duration;

/// When to come again where a profile has not got what it makes tokens with. AWS's chain of
/// credentials is left alone for as long after it has failed
/// (`countersign_aws::credentials::PAUSE`), and a request that comes sooner gets the same error
/// again.
pub const UNPREPARED: Duration = Duration::from_secs(5);

/// A refusal on its way out.
#[expect(missing_docs, reason = "the text of each variant says what it means")]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HttpError {
    #[error("{0}")]
    InvalidRequest(#[from] RequestError),
    #[error("{0}")]
    BadBody(&'static str),
    #[error("client authentication failed; send client_id and client_secret as HTTP Basic or in the body")]
    InvalidClient,
    #[error("{0}")]
    Mint(MintError),
    #[error("the body is longer than {0} bytes")]
    BodyTooLarge(usize),
    #[error("send the body as application/json or application/x-www-form-urlencoded")]
    UnsupportedMediaType,
    #[error("too many requests; try again in {}", format_duration(Duration::from_secs(.0.as_secs().max(1))))]
    TooManyRequests(Duration),
    #[error(
        "nobody signs in here, and no response_type gives a token; a client gets one at POST /sign, or at POST /token where it has a grant"
    )]
    NoLogin,
    #[error("there is nothing at this path")]
    NotFound,
    #[error("this path does not take this method")]
    MethodNotAllowed,
    #[error("only the addresses in server.metrics_allow may read this")]
    Forbidden,
}

impl HttpError {
    /// The same for who has not proved who it is, and gets nothing back that it sent.
    pub(super) fn unnamed(self) -> Self {
        match self {
            Self::InvalidRequest(why) => Self::InvalidRequest(why.unnamed()),
            why => why,
        }
    }

    fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidRequest(_) | Self::BadBody(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request"),
            Self::TooManyRequests(_) => (StatusCode::TOO_MANY_REQUESTS, "slow_down"),
            // RFC 6749 §4.1.2.1.
            Self::NoLogin => (StatusCode::BAD_REQUEST, "unsupported_response_type"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "access_denied"),
            Self::Mint(why) => match why {
                MintError::Request(_)
                | MintError::Invalid(_)
                | MintError::Validity(_)
                | MintError::UnknownProfile { .. }
                | MintError::TooLong { .. } => (StatusCode::BAD_REQUEST, "invalid_request"),
                MintError::Denied(_) => (StatusCode::FORBIDDEN, "access_denied"),
                MintError::NoKey { .. }
                | MintError::Stale
                | MintError::ClockBehind { .. }
                | MintError::LogFull
                | MintError::Unprepared(_)
                | MintError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
                MintError::Sign(SignError::Service { why, .. }) => match why {
                    ServiceError::Busy | ServiceError::Unavailable(_) => {
                        (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
                    }
                    ServiceError::TooLong { .. } => (StatusCode::BAD_REQUEST, "invalid_request"),
                    ServiceError::Denied(_)
                    | ServiceError::Unusable(_)
                    | ServiceError::Misconfigured(_)
                    | ServiceError::OtherKey
                    | ServiceError::Altered
                    | ServiceError::WrongSignature => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
                },
                MintError::Sign(SignError::Key(_)) | MintError::NoRandomness => {
                    (StatusCode::INTERNAL_SERVER_ERROR, "server_error")
                }
            },
        }
    }

    /// Every name that [`HttpError::code`] gives to a request for a token, beside those of
    /// [`MintError`].
    pub(crate) const CODES: [&str; 4] =
        ["invalid_request", "invalid_client", "body_too_large", "rate_limited"];

    /// A stable name for metrics and the audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Mint(why) => why.code(),
            Self::TooManyRequests(_) => "rate_limited",
            Self::InvalidClient => "invalid_client",
            Self::BodyTooLarge(_) => "body_too_large",
            _ => self.parts().1,
        }
    }

    fn description(&self) -> String {
        match self {
            Self::Mint(MintError::Sign(SignError::Service {
                why: why @ ServiceError::TooLong { .. },
                ..
            })) => {
                format!("{why}; send fewer claims")
            }
            Self::Mint(MintError::Unprepared(_)) => {
                "what tokens of this profile are made with cannot be had now; the log has the reason under the request id"
                    .to_owned()
            }
            Self::Mint(MintError::Sign(_) | MintError::NoRandomness) => {
                "the token could not be signed; the log has the reason under the request id".to_owned()
            }
            other => other.to_string(),
        }
    }
}

/// An error as RFC 6749 §5.2 has it. That allows %x20-21 / %x23-5B / %x5D-7E in a description:
/// nothing that JSON would have to escape. A question mark stands for everything else.
pub fn error_response(status: StatusCode, error: &'static str, description: &str) -> Response {
    let plain = |c| match c {
        '"' => '\'',
        ' '..='~' if c != '\\' => c,
        _ => '?',
    };
    let description: String = description.chars().map(plain).collect();
    let body = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
    let fixed = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, fixed, body).into_response()
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let (status, error) = self.parts();
        let mut response = error_response(status, error, &self.description());
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: HeaderValue| headers.insert(name, value);
        match self {
            Self::InvalidClient => {
                set(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"countersign\", charset=\"UTF-8\""),
                );
            }
            Self::TooManyRequests(wait) => {
                set(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
            }
            // A service's quota is counted by the second, and here a second makes room for many.
            Self::Mint(
                MintError::LogFull
                | MintError::Busy
                | MintError::Sign(SignError::Service { why: ServiceError::Busy, .. }),
            ) => {
                set(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Mint(MintError::Unprepared(_)) => {
                set(header::RETRY_AFTER, HeaderValue::from(UNPREPARED.as_secs()));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_service_did_becomes_try_again_or_a_fault_of_ours_and_its_words_stay_here() {
        let said = || "arn:aws:kms:… says so".to_owned();
        for (why, status, retry_after) in [
            (ServiceError::Busy, 503, true),
            (ServiceError::Unavailable(said()), 503, false),
            (ServiceError::TooLong { bytes: 5000, max: 4096 }, 400, false),
            (ServiceError::Denied(said()), 500, false),
            (ServiceError::Unusable(said()), 500, false),
            (ServiceError::Misconfigured(said()), 500, false),
            (ServiceError::WrongSignature, 500, false),
        ] {
            let error = SignError::Service { name: "arn:aws:kms:…".to_owned(), why: why.clone() };
            let error = HttpError::Mint(MintError::Sign(error));
            assert!(!error.description().contains("arn:"), "{why:?}");
            let response = error.into_response();
            assert_eq!(response.status().as_u16(), status, "{why:?}");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), retry_after, "{why:?}");
        }
    }
}
