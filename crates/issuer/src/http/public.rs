//! The public documents over HTTP: answered from memory with `ETag`, `304`, `HEAD`, CORS and
//! `Cache-Control`.
//!
//! Nothing is rendered, routed or looked up twice: `Answers` is made once per change of the keys
//! and maps every path a document is found at to its ready headers and body. `Cache-Control` takes
//! turns, see `freshness`.

use super::error::HttpError;
use crate::{
    IssuerUrl,
    documents::{Document, OAUTH_AUTHORIZATION_SERVER, PublicDocuments},
    freshness::Freshness,
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{collections::HashMap, time::Duration};

/// What is answered at each path.
#[derive(Debug)]
pub(crate) struct Answers {
    by_path: HashMap<String, Answer>,
    freshness: Freshness,
}

#[derive(Debug, Clone)]
struct Answer {
    content_type: HeaderValue,
    etag: HeaderValue,
    body: Bytes,
}

impl Answers {
    /// Documents are found below the issuer's path and at the root. RFC 8414 §3.1 puts the
    /// well-known part between host and path, OpenID Connect appends it.
    pub(crate) fn new(documents: &PublicDocuments, issuer: &IssuerUrl, max_age: Duration) -> Self {
        let prefix = issuer.path();
        let mut by_path = HashMap::new();
        for (path, document) in documents.iter() {
            let Some(answer) = Answer::new(document) else { continue };
            by_path.insert(path.to_owned(), answer.clone());
            by_path.insert(format!("{prefix}{path}"), answer.clone());
            if path == OAUTH_AUTHORIZATION_SERVER {
                by_path.insert(format!("{path}{prefix}"), answer);
            }
        }
        Self { by_path, freshness: Freshness::new(max_age) }
    }

    /// The response to a request for a document; `None` for one that does not exist. Of keys that
    /// may have been changed by others meanwhile, nobody is to keep a copy.
    pub(crate) fn respond(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        is_stale: impl FnOnce() -> bool,
    ) -> Option<Response> {
        let answer = self.by_path.get(path)?;
        let cache_control = if is_stale() { Some(&NOT_KEPT) } else { self.freshness.next() };
        let get = |body| answer.get(headers, body, cache_control);
        Some(match *method {
            Method::GET => get(Body::from(answer.body.clone())),
            Method::HEAD => {
                let mut response = get(Body::empty());
                if response.status() == StatusCode::OK {
                    response.headers_mut().insert(header::CONTENT_LENGTH, answer.body.len().into());
                }
                response
            }
            Method::OPTIONS => preflight(),
            _ => {
                let mut response = HttpError::MethodNotAllowed.into_response();
                response.headers_mut().insert(header::ALLOW, ALLOWED);
                response
            }
        })
    }
}

const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const NOT_KEPT: HeaderValue = HeaderValue::from_static("public, max-age=0");
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");

impl Answer {
    fn new(document: &Document) -> Option<Self> {
        Some(Self {
            content_type: HeaderValue::from_static(document.content_type),
            etag: HeaderValue::from_str(&document.etag).ok()?,
            body: document.body.clone(),
        })
    }

    fn get(&self, request: &HeaderMap, body: Body, cache_control: Option<&HeaderValue>) -> Response {
        let known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| matches(value, &self.etag));
        let mut response = Response::new(if known { Body::empty() } else { body });
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        if !known {
            headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        }
        headers.insert(header::ETAG, self.etag.clone());
        if let Some(value) = cache_control {
            headers.insert(header::CACHE_CONTROL, value.clone());
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
        response
    }
}

/// CORS preflight: anyone may read public keys from a browser.
fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*")),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
        (header::ALLOW, ALLOWED),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// `If-None-Match` compares weakly (RFC 9110 §13.1.2): a list of tags with or without `W/`, or `*`.
fn matches(value: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(value), Ok(etag)) = (value.to_str(), etag.to_str()) else { return false };
    value.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
