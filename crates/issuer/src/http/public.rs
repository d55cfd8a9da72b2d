//! The public documents over HTTP: answered from memory with `ETag`, `304`, `HEAD`, CORS and `Cache-Control`.

use super::{App, error::HttpError};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

pub(super) async fn document(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let keys = app.issuer.keys();
    let prefix = app.issuer.settings().issuer.path();
    // The RFC 8414 form has the issuer's path behind the well-known part, all others have it in front or not at all.
    let path = uri.path();
    let path = path.strip_prefix(prefix).or_else(|| path.strip_suffix(prefix)).unwrap_or(path);
    let Some(document) = keys.documents().get(path) else { return HttpError::NotFound.into_response() };
    let etag = HeaderValue::from_str(&document.etag);
    let cache_control = HeaderValue::from_str(&document.cache_control);
    let (Ok(etag), Ok(cache_control)) = (etag, cache_control) else {
        return HttpError::NotFound.into_response();
    };
    let common = [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, cache_control),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    ];
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|value| matches(value, &document.etag)) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(document.content_type))];
    (common, content_type, document.body.clone()).into_response()
}

/// CORS preflight: anyone may read public keys from a browser.
pub(super) async fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        (header::ALLOW, "GET, HEAD, OPTIONS"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// `If-None-Match` compares weakly (RFC 9110 §13.1.2): a list of tags with or without `W/`, or `*`.
fn matches(value: &HeaderValue, etag: &str) -> bool {
    let Ok(value) = value.to_str() else { return false };
    value.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
