//! What a decision needs to know about a request, wherever it came from. Adapters fill it in;
//! `gate` judges it.
//!
//! Nothing in it is believed. Names and values are as they were sent, each occurrence by itself, so
//! that two of a kind can be seen and refused.

use std::borrow::Cow;

/// A request as the gate sees it.
#[derive(Clone, Default)]
pub struct RequestFacts<'a> {
    /// The method, as sent (RFC 9110 §9.1: case-sensitive).
    pub method: Cow<'a, str>,
    /// The path as sent, without a query; `$connect` for a WebSocket handshake at API Gateway.
    pub path: Cow<'a, str>,
    /// Header fields, in any casing; cookies are in fields named `cookie`.
    pub headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Query parameters, decoded.
    pub query: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The public URL as API Gateway has it, without a query; none where nobody says it whom the
    /// client could not deceive.
    pub url: Option<Cow<'a, str>>,
    /// Why no DPoP proof can be judged here; none where one can.
    pub no_proofs: Option<&'static str>,
}

impl std::fmt::Debug for RequestFacts<'_> {
    /// Headers and query hold credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestFacts")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl<'a> RequestFacts<'a> {
    /// The values of a header field, by its name in lower case.
    pub fn header(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_ref())
    }

    /// The values of a query parameter; its name is case-sensitive.
    pub fn parameter(&self, name: &str) -> impl Iterator<Item = &str> {
        self.query.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_ref())
    }

    /// Adds the parameters of a raw query string (`a=b&c=d`). What is not UTF-8 becomes U+FFFD, and
    /// so can be no token.
    pub fn add_raw_query(&mut self, query: &'a str) {
        self.query.extend(form_urlencoded::parse(query.as_bytes()));
    }
}
