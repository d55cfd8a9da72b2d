//! One file per provider: how it proves for which application a token was issued, and where the
//! profile is.

pub(super) mod facebook;
pub(super) mod github;
pub(super) mod google;
pub(super) mod introspection;
pub(super) mod userinfo;
pub(super) mod x;

use super::{
    error::{Failure, UpstreamError},
    http::Answer,
};
use hyper::StatusCode;

/// What a refusal by the place of the profile (RFC 6750 §3.1) says about the token.
pub(super) fn refusal(answer: &Answer) -> UpstreamError {
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => UpstreamError::Refused,
        StatusCode::FORBIDDEN => UpstreamError::Forbidden,
        _ => answer.unexpected(),
    }
}

/// What a refusal by a place says that knows the application by its credentials, and not the token
/// by its bearer.
pub(super) fn of_application(answer: &Answer) -> UpstreamError {
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => answer.fails(Failure::Credentials),
        _ => answer.unexpected(),
    }
}
