//! The proxies that ask, and how each kind says which request it asks about.
//!
//! What a header says is believed only if it comes from a proxy's address, and only the headers of
//! that kind of proxy are read: every other one may be the client's.

use crate::{decision::Refusal, facts::RequestFacts};
use http::{HeaderMap, request::Parts};
use ipnet::IpNet;
use std::{net::IpAddr, str::FromStr};

/// A kind of proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// nginx `auth_request`, with `X-Original-Method` and `X-Original-URI` set by its
    /// configuration.
    Nginx,
    /// The Ingress controller ingress-nginx, with the annotation `auth-url`: `X-Original-Method`,
    /// `X-Original-URL`.
    IngressNginx,
    /// Traefik `ForwardAuth`: `X-Forwarded-Method`, `X-Forwarded-Uri`.
    Traefik,
    /// Caddy `forward_auth`: `X-Forwarded-Method`, `X-Forwarded-Uri`.
    Caddy,
    /// Envoy `ext_authz` over HTTP: method and path of the request itself, behind the prefix
    /// `/gate`.
    Envoy,
}

impl ProxyKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Nginx, Self::IngressNginx, Self::Traefik, Self::Caddy, Self::Envoy];

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::IngressNginx => "ingress-nginx",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
        }
    }

    /// The request the proxy asks about. `rest` is what of the path follows `/gate`.
    pub(super) fn facts<'r>(self, request: &'r Parts, rest: &'r str) -> Result<RequestFacts<'r>, Refusal> {
        let headers = &request.headers;
        let said = |name: &'static str| one(headers, name);
        let (method, target) = match self {
            Self::Nginx => (said("x-original-method")?, said("x-original-uri")?),
            Self::IngressNginx => (said("x-original-method")?, target_of_url(headers)?),
            Self::Traefik | Self::Caddy => (said("x-forwarded-method")?, said("x-forwarded-uri")?),
            Self::Envoy => (request.method.as_str(), rest),
        };
        // A fragment never reaches a server (RFC 9110 §7.1). In a header its sign is refused with
        // the path; in the target of the request itself, which is how Envoy asks, the HTTP library
        // has cut it off, and Envoy answers 400 to it.
        let (path, query) = match self {
            Self::Envoy => (target, request.uri.query().unwrap_or_default()),
            Self::Nginx | Self::IngressNginx | Self::Traefik | Self::Caddy => {
                target.split_once('?').unwrap_or((target, ""))
            }
        };
        let mut facts = RequestFacts { method: method.into(), path: path.into(), ..RequestFacts::default() };
        facts.add_raw_query(query);
        for (name, value) in &request.headers {
            // Byte by byte: a value that is not UTF-8 must not hide a token beside what is not, and
            // U+FFFD can be in none.
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

/// The target in `X-Original-URL`, which ingress-nginx puts together from the scheme, the header
/// `Host` and the target. `Host` is the client's, so a name in it that could end early in another
/// reading is refused: `a?b` would make the path a query. `X-Original-URI` is set with the
/// annotation `auth-method` alone, and is the client's without it: if it is there, it agrees.
fn target_of_url(headers: &HeaderMap) -> Result<&str, Refusal> {
    const URL: Refusal = Refusal::Proxy("x-original-url");
    let url = one(headers, "x-original-url")?;
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).ok_or(URL)?;
    let (host, target) = rest.split_at(rest.find('/').ok_or(URL)?);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_plain) {
        return Err(URL);
    }
    if headers.contains_key("x-original-uri") && one(headers, "x-original-uri").ok() != Some(target) {
        return Err(Refusal::Proxy("x-original-uri that agrees with x-original-url"));
    }
    Ok(target)
}

/// The one value of a header. A client may write letters that are not ASCII into a target, and
/// proxies hand them on; they are read as the same letters in percent-encoding are.
fn one<'r>(headers: &'r HeaderMap, name: &'static str) -> Result<&'r str, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => std::str::from_utf8(value.as_bytes()).map_err(|_| Refusal::ProxyText(name)),
        _ => Err(Refusal::Proxy(name)),
    }
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
