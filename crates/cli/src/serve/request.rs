//! What the listener refuses before any route sees it, and in which form.
//!
//! RFC 9112: exactly one `Host` with HTTP/1.1 (section 3.2), and a body that is `chunked` once and
//! nothing else (sections 6.1 and 7). A server that reads such a request in another way than the
//! proxy before it answers the wrong one, so the connection ends with the refusal. Every refusal
//! has a request id.

use crate::config::Limits;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header},
    response::IntoResponse,
};
use countersign_issuer::http::request_id;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is wrong with the frame of a request.
pub(super) fn objection<B>(request: &Request<B>, limits: &Limits) -> Option<Response<Body>> {
    let length = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if length > limits.url_bytes {
        return Some(refuse(StatusCode::URI_TOO_LONG, "the path and query are too long"));
    }
    let bad = |why| Some(refuse(StatusCode::BAD_REQUEST, why));
    let headers = request.headers();
    match one(headers, header::HOST) {
        Ok(Some(host)) if !is_host(host) => return bad("Host is not a host name or address"),
        Ok(Some(_)) => {}
        Ok(None) if request.version() < Version::HTTP_11 => {}
        Ok(None) => return bad("there is no Host"),
        Err(Several) => return bad("there is more than one Host"),
    }
    match one(headers, header::TRANSFER_ENCODING) {
        Ok(None) => None,
        Ok(Some(coding)) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => None,
        Ok(Some(coding)) if !has_unknown_coding(coding) => bad("Transfer-Encoding names chunked twice"),
        Ok(Some(_)) => {
            Some(refuse(StatusCode::NOT_IMPLEMENTED, "the only Transfer-Encoding understood is chunked"))
        }
        Err(Several) => bad("there is more than one Transfer-Encoding"),
    }
}

struct Several;

fn one(headers: &HeaderMap, name: HeaderName) -> Result<Option<&HeaderValue>, Several> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Several) } else { Ok(first) }
}

fn has_unknown_coding(value: &HeaderValue) -> bool {
    let codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    codings.into_iter().any(|coding| !coding.eq_ignore_ascii_case(b"chunked"))
}

/// Characters of an authority without user information (RFC 3986 section 3.2.2 and 3.2.3).
fn is_host(value: &HeaderValue) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    value.as_bytes().iter().all(fits)
}

/// A refusal of the listener's own. The connection ends with it: what was not read would be taken
/// for the next request.
pub(super) fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONNECTION, HeaderValue::from_static("close")),
    ];
    let mut response = (status, headers, body(status, why)).into_response();
    if let Some(id) = request_id() {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn body(status: StatusCode, why: &str) -> String {
    let error = match status {
        StatusCode::FORBIDDEN => "access_denied",
        StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
        _ => "invalid_request",
    };
    serde_json::json!({ "error": error, "error_description": why }).to_string()
}

/// A refusal as bytes, for what never became a request. `None` for a status that is no refusal.
pub(super) fn raw(status: u16) -> Option<Vec<u8>> {
    let status = StatusCode::from_u16(status).ok()?;
    let why = match status {
        StatusCode::BAD_REQUEST => "this is not a valid HTTP/1.1 request",
        StatusCode::URI_TOO_LONG => "the path and query are too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the headers are too long or too many",
        StatusCode::SERVICE_UNAVAILABLE => "this address has too many connections open",
        _ => return None,
    };
    let body = body(status, why);
    let id = request_id()?;
    let id = id.to_str().ok()?;
    let retry = if status == StatusCode::SERVICE_UNAVAILABLE { "retry-after: 1\r\n" } else { "" };
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncache-control: no-store\r\nx-request-id: {id}\r\n\
         {retry}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len(),
    );
    Some(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in ["", "a", "a.example:80", "127.0.0.1:8080", "[::1]:1", "xn--bcher-kva.example"] {
            assert!(is_host(&HeaderValue::from_static(host)), "{host}");
        }
        for host in ["a/b", "a@b", "a b", "a?b", "a#b", "a\\b", "<a>", "\"a\""] {
            assert!(!is_host(&HeaderValue::from_static(host)), "{host}");
        }
    }

    #[test]
    fn a_refusal_as_bytes_is_what_it_is_as_a_response() {
        for status in [400, 414, 431, 503] {
            let text = String::from_utf8(raw(status).unwrap()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(body["error"].is_string() && body["error_description"].is_string(), "{body}");
        }
        assert!(raw(200).is_none() && raw(0).is_none());
    }
}
