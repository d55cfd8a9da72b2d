//! From an HTTP event to an `http::Request`: method, path and query, every value of every header,
//! the bytes of the body.
//!
//! Nothing is guessed: what cannot be a request is [`Malformed`], which has a status. Values of
//! headers stay apart where the source keeps them apart (`multiValueHeaders`) and are what it made
//! of them where it does not (payload 2.0 joins them with commas). The body is whole, so headers
//! about its transfer are left out.

use crate::event::{HttpEvent, Multi, Single, Source};
use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use std::collections::BTreeSet;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// As many headers as the server takes.
const MAX_HEADERS: usize = 100;

/// Headers about how a message was transferred, which say nothing of a body that is whole (RFC 9110
/// §7.6.1).
const OF_TRANSFER: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Why an event is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There is no such method.
    #[error("the method is not one of HTTP")]
    Method,
    /// The path or query cannot be one.
    #[error("the path or query is not one of HTTP")]
    Path,
    /// The path or query is longer than any URL.
    #[error("the path and query are too long")]
    PathTooLong,
    /// A header cannot be one.
    #[error("a header is not one of HTTP")]
    Header,
    /// There are too many headers, or they are too long.
    #[error("the headers are too long or too many")]
    HeadersTooLarge,
    /// The body is said to be base64 and is not.
    #[error("the body is not base64")]
    Body,
}

impl Malformed {
    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Method | Self::Path | Self::Header | Self::Body => StatusCode::BAD_REQUEST,
            Self::PathTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }
}

impl HttpEvent {
    /// The request, whose headers may have `max_header_bytes` together. The body is taken out of
    /// the event.
    ///
    /// # Errors
    ///
    /// [`Malformed`]
    pub fn take_request(&mut self, max_header_bytes: usize) -> Result<Request<Bytes>, Malformed> {
        let headers = self.headers(max_header_bytes)?;
        let uri = self.uri()?;
        let method = Method::from_bytes(self.method().as_bytes()).map_err(|_| Malformed::Method)?;
        let mut request = Request::new(self.take_body()?);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        // What has no Host is no request of HTTP/1.1.
        let has_host = headers.contains_key(header::HOST);
        *request.version_mut() = if has_host { Version::HTTP_11 } else { Version::HTTP_10 };
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn method(&self) -> &str {
        let of_context = || self.raw.request_context.as_ref()?.http.as_ref().map(|http| http.method.as_str());
        match self.source {
            Source::HttpV2 | Source::FunctionUrl => of_context(),
            Source::Rest | Source::HttpV1 | Source::LoadBalancer { .. } => self.raw.http_method.as_deref(),
        }
        .unwrap_or_default()
    }

    fn uri(&self) -> Result<Uri, Malformed> {
        let path = self.path();
        if !path.starts_with('/') {
            return Err(Malformed::Path);
        }
        let mut text = encoded(path, |byte| matches!(byte, b'?' | b'#'));
        let query = self.query();
        if !query.is_empty() {
            text.push('?');
            text.push_str(&query);
        }
        if text.len() > usize::from(u16::MAX) - 1 {
            return Err(Malformed::PathTooLong);
        }
        text.parse().map_err(|_| Malformed::Path)
    }

    fn query(&self) -> String {
        let (single, multi) =
            (&self.raw.query_string_parameters, &self.raw.multi_value_query_string_parameters);
        match self.source {
            Source::HttpV2 | Source::FunctionUrl => {
                encoded(self.raw.raw_query_string.as_deref().unwrap_or_default(), |byte| byte == b'#')
            }
            // Decoded by API Gateway.
            Source::Rest | Source::HttpV1 => {
                joined(single, multi, |byte| matches!(byte, b'%' | b'+' | b'&' | b'=' | b'#'))
            }
            // As the caller has written them.
            Source::LoadBalancer { .. } => joined(single, multi, |byte| byte == b'#'),
        }
    }

    fn headers(&self, max_bytes: usize) -> Result<HeaderMap, Malformed> {
        let mut headers = HeaderMap::new();
        let (mut count, mut bytes) = (0_usize, 0_usize);
        let mut add = |name: &str, value: &str| {
            (count, bytes) = (count + 1, bytes.saturating_add(name.len() + value.len() + 4));
            if count > MAX_HEADERS || bytes > max_bytes {
                return Err(Malformed::HeadersTooLarge);
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Malformed::Header)?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Malformed::Header)?;
            if !OF_TRANSFER.contains(&name) {
                headers.try_append(name, value).map_err(|_| Malformed::HeadersTooLarge)?;
            }
            Ok(())
        };
        for (name, value) in pairs(&self.raw.headers, &self.raw.multi_value_headers) {
            add(name, value)?;
        }
        let cookies = self.raw.cookies.as_deref().unwrap_or_default();
        if !cookies.is_empty() {
            add("cookie", &cookies.join("; "))?;
        }
        Ok(headers)
    }

    fn take_body(&mut self) -> Result<Bytes, Malformed> {
        let text = self.raw.body.take().unwrap_or_default();
        if self.raw.is_base64_encoded == Some(true) {
            return BASE64.decode(text).map(Bytes::from).map_err(|_| Malformed::Body);
        }
        Ok(text.into())
    }
}

/// Every pair: all values of `multi`, and of `single` those whose names are not there, in whatever
/// case.
fn pairs<'e>(
    single: &'e Option<Single>,
    multi: &'e Option<Multi>,
) -> impl Iterator<Item = (&'e str, &'e str)> {
    let in_multi: BTreeSet<String> =
        multi.iter().flatten().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let all = multi.iter().flatten();
    let all = all.flat_map(|(name, values)| {
        values.iter().flatten().flatten().map(move |value| (name.as_str(), value.as_str()))
    });
    let others = single.iter().flatten();
    let others = others.filter(move |(name, _)| !in_multi.contains(&name.to_ascii_lowercase()));
    all.chain(others.filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?))))
}

fn joined(single: &Option<Single>, multi: &Option<Multi>, also: fn(u8) -> bool) -> String {
    let mut text = String::new();
    for (name, value) in pairs(single, multi) {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(&encoded(name, also));
        text.push('=');
        text.push_str(&encoded(value, also));
    }
    text
}

/// The text with everything percent-encoded that a URL cannot hold, and `also` that.
fn encoded(text: &str, also: impl Fn(u8) -> bool) -> String {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    let mut all = String::with_capacity(text.len());
    for byte in text.bytes() {
        if fits(byte) && !also(byte) {
            all.push(char::from(byte));
        } else {
            all.push_str(&format!("%{byte:02X}"));
        }
    }
    all
}
