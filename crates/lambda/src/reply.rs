//! From a response to the JSON that the source of the event takes.
//!
//! A body that is text leaves as text, whatever its media type (`application/jwt`, PEM): in base64
//! a REST API would hand it on as that. Payload 2.0 takes one value for each header and cookies
//! apart, REST APIs and payload 1.0 take lists of values, and load balancers what they were set up
//! for. API Gateway and function URLs rename `WWW-Authenticate`, so bodies say the same.

use crate::event::{HttpEvent, Source};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap};

/// Headers that are the source's own to write.
const OF_TRANSFER: [HeaderName; 3] = [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a> {
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<&'a str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<BTreeMap<&'a str, Vec<Cow<'a, str>>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<Cow<'a, str>>,
    body: Cow<'a, str>,
    is_base64_encoded: bool,
}

impl HttpEvent {
    /// The reply that carries a response. `None` never happens: every response can be written as
    /// JSON.
    pub fn reply(&self, response: &Response<Bytes>) -> Option<Box<RawValue>> {
        let (status, headers) = (response.status(), response.headers());
        let (body, is_base64_encoded) = match std::str::from_utf8(response.body()) {
            Ok(text) => (Cow::Borrowed(text), false),
            Err(_) => (Cow::Owned(STANDARD.encode(response.body())), true),
        };
        let mut reply = Reply {
            status_code: status.as_u16(),
            status_description: None,
            headers: None,
            multi_value_headers: None,
            cookies: Vec::new(),
            body,
            is_base64_encoded,
        };
        match self.source() {
            Source::Rest | Source::HttpV1 => reply.multi_value_headers = Some(lists(headers)),
            Source::HttpV2 | Source::FunctionUrl => {
                reply.cookies = headers.get_all(header::SET_COOKIE).iter().map(text).collect();
                let mut single = single(headers);
                single.remove(header::SET_COOKIE.as_str());
                reply.headers = Some(single);
            }
            Source::LoadBalancer { multi_value_headers } => {
                reply.status_description = Some(description(status));
                if multi_value_headers {
                    reply.multi_value_headers = Some(lists(headers));
                } else {
                    reply.headers = Some(single(headers));
                }
            }
        }
        serde_json::value::to_raw_value(&reply).ok()
    }
}

fn description(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

fn text(value: &header::HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

fn lists(headers: &HeaderMap) -> BTreeMap<&str, Vec<Cow<'_, str>>> {
    let names = headers.keys().filter(|name| !OF_TRANSFER.contains(name));
    names.map(|name| (name.as_str(), headers.get_all(name).iter().map(text).collect())).collect()
}

fn single(headers: &HeaderMap) -> BTreeMap<&str, String> {
    lists(headers).into_iter().map(|(name, values)| (name, values.join(", "))).collect()
}
