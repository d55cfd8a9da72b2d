//! Reading a request body: capped before it is read, JSON or form, nothing else.

use super::error::HttpError;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// What the body claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    Form,
}

pub(super) fn media_type(headers: &HeaderMap) -> Result<MediaType, HttpError> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(MediaType::Json)
    } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(MediaType::Form)
    } else {
        Err(HttpError::UnsupportedMediaType)
    }
}

/// The whole body, or an error once it is longer than `limit`; nothing beyond the limit is kept.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, HttpError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(why) if why.is::<LengthLimitError>() => Err(HttpError::BodyTooLarge(limit)),
        Err(_) => Err(HttpError::BadBody("the body ended early")),
    }
}
