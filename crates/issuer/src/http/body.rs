//! Reading a request body: capped before it is read, JSON or form, nothing else.

use super::error::HttpError;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use http_body_util::BodyExt;

/// What the body claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    Form,
}

pub(super) fn media_type(headers: &HeaderMap) -> Result<MediaType, HttpError> {
    let essence = essence(headers);
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(MediaType::Json)
    } else if is_form(headers) {
        Ok(MediaType::Form)
    } else {
        Err(HttpError::UnsupportedMediaType)
    }
}

/// Whether the body claims to be `application/x-www-form-urlencoded`.
pub fn is_form(headers: &HeaderMap) -> bool {
    essence(headers).eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn essence(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.split(';').next()).unwrap_or_default().trim()
}

/// The whole body; nothing beyond the limit is kept.
///
/// # Errors
///
/// Once it is longer than `limit` bytes, or if it ends early.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, HttpError> {
    let too_large = || HttpError::BodyTooLarge(limit);
    let mut body = body;
    // Nearly every body comes in one piece, which is taken as it is.
    let mut first = Bytes::new();
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| HttpError::BadBody("the body ended early"))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit.saturating_sub(first.len().max(pieces.len())) {
            return Err(too_large());
        }
        if first.is_empty() {
            first = data;
            continue;
        }
        if pieces.is_empty() {
            pieces.extend_from_slice(&first);
        }
        pieces.extend_from_slice(&data);
    }
    Ok(if pieces.is_empty() { first } else { pieces.into() })
}
