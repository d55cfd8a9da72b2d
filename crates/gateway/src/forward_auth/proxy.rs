//! The proxies that ask, and how each kind says which request it asks about.
//!
//! What a header says is believed only if it comes from a proxy's address, and only the headers of that kind of proxy are read:
//! every other one may be the client's.

use crate::{decision::Refusal, facts::RequestFacts};
use http::{HeaderMap, request::Parts};
use ipnet::IpNet;
use std::{net::IpAddr, str::FromStr};

/// A kind of proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// nginx `auth_request`, with `X-Original-Method` and `X-Original-URI` set by its configuration.
    Nginx,
    /// Traefik `ForwardAuth`: `X-Forwarded-Method`, `X-Forwarded-Uri`.
    Traefik,
    /// Caddy `forward_auth`: `X-Forwarded-Method`, `X-Forwarded-Uri`.
    Caddy,
    /// Envoy `ext_authz` over HTTP: method and path of the request itself, behind the prefix `/gate`.
    Envoy,
}

impl ProxyKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Traefik, Self::Caddy, Self::Envoy];

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
        }
    }

    /// The headers that carry method and URI of the original request.
    const fn headers(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Nginx => Some(("x-original-method", "x-original-uri")),
            Self::Traefik | Self::Caddy => Some(("x-forwarded-method", "x-forwarded-uri")),
            Self::Envoy => None,
        }
    }

    /// The request the proxy asks about. `rest` is what of the path follows `/gate`.
    pub(super) fn facts<'r>(self, request: &'r Parts, rest: &'r str) -> Result<RequestFacts<'r>, Refusal> {
        let (method, uri) = match self.headers() {
            Some((method, uri)) => (
                one(&request.headers, method).ok_or(Refusal::Proxy(method))?,
                one(&request.headers, uri).ok_or(Refusal::Proxy(uri))?,
            ),
            None => (request.method.as_str(), rest),
        };
        // A fragment never reaches a server (RFC 9110 §7.1). In a header its sign is refused with the path; in the target
        // of the request itself, which is how Envoy asks, the HTTP library has cut it off, and Envoy answers 400 to it.
        let (path, query) = match self {
            Self::Envoy => (uri, request.uri.query().unwrap_or_default()),
            Self::Nginx | Self::Traefik | Self::Caddy => uri.split_once('?').unwrap_or((uri, "")),
        };
        let mut facts = RequestFacts { method: method.into(), path: path.into(), ..RequestFacts::default() };
        facts.add_raw_query(query);
        for (name, value) in &request.headers {
            // Byte by byte: a value that is not UTF-8 must not hide a token beside what is not, and U+FFFD can be in none.
            facts.headers.push((name.as_str().into(), String::from_utf8_lossy(value.as_bytes())));
        }
        Ok(facts)
    }
}

impl FromStr for ProxyKind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(())
    }
}

/// The one value of a header.
fn one<'r>(headers: &'r HeaderMap, name: &str) -> Option<&'r str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Addresses of proxies of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxies {
    /// Their kind.
    pub kind: ProxyKind,
    /// Where their connections come from.
    pub networks: Vec<IpNet>,
}

impl Proxies {
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}
