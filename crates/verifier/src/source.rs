//! Where an issuer's keys come from, and which addresses may be asked for them.
//!
//! A `KeyUrl` can only be https, or http on loopback, and carries no user name or password. The
//! address always comes from the configuration or from the discovery document of a configured
//! issuer, never from a token; there are no templates in it. Used by `trusted` (configuration) and
//! `discovery` (`jwks_uri`).

use countersign_jose::{KeySet, SymmetricKey};
use std::{fmt, net::IpAddr};
use url::{Host, Url};

/// Where an issuer's verification keys come from.
pub enum KeySource {
    /// OpenID Connect discovery at the issuer: `{iss}/.well-known/openid-configuration`.
    Discovery,
    /// OpenID Connect discovery at this address, for issuers whose document is elsewhere.
    DiscoveryAt(String),
    /// A JWK Set at this address.
    JwksUrl(String),
    /// A JSON object `{kid: PEM certificate}` at this address (Firebase, Jitsi).
    X509Map(String),
    /// One or the other at this address, told apart by the document: an object with an array `keys`
    /// is a JWK Set. For settings that people fill with either.
    KeyDocument(String),
    /// One PEM public key for each `kid`, below this address under that name, as AWS has those of
    /// its load balancers. For issuers that are described so
    /// ([`Preset::AwsAlb`](crate::Preset::AwsAlb)) alone.
    PemByKid(String),
    /// A JWK Set as text. Private members in it are not read.
    InlineJwks(String),
    /// One public key (or the public half of a private one) as PEM, for one algorithm; the token's
    /// `kid` is not looked at.
    InlinePem(String),
    /// Keys read elsewhere, each bound to its algorithm, shared secrets among them. The algorithms
    /// of the issuer must name those that are to be used.
    Keys(KeySet),
    /// One shared secret, for one HMAC algorithm; the token's `kid` is not looked at.
    HmacSecret(SymmetricKey),
}

impl fmt::Debug for KeySource {
    /// Shows no inline text: people paste private keys where a public one would do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery => f.write_str("Discovery"),
            Self::DiscoveryAt(url) => f.debug_tuple("DiscoveryAt").field(&without_credentials(url)).finish(),
            Self::JwksUrl(url) => f.debug_tuple("JwksUrl").field(&without_credentials(url)).finish(),
            Self::X509Map(url) => f.debug_tuple("X509Map").field(&without_credentials(url)).finish(),
            Self::KeyDocument(url) => f.debug_tuple("KeyDocument").field(&without_credentials(url)).finish(),
            Self::PemByKid(url) => f.debug_tuple("PemByKid").field(&without_credentials(url)).finish(),
            Self::InlineJwks(_) => f.write_str("InlineJwks(..)"),
            Self::InlinePem(_) => f.write_str("InlinePem(..)"),
            Self::Keys(_) => f.write_str("Keys(..)"),
            Self::HmacSecret(_) => f.write_str("HmacSecret(..)"),
        }
    }
}

/// Whether a text is a URL with a user name or password in it, or could be one that is mistyped.
pub(crate) fn has_credentials(text: &str) -> bool {
    match Url::parse(text) {
        Ok(url) => !url.username().is_empty() || url.password().is_some(),
        Err(_) => text.contains("://") && text.contains('@'),
    }
}

/// A text for messages: where it has, or could have, a user name or password, `…` stands for
/// everything in front of the last `@`.
pub(crate) fn without_credentials(text: &str) -> String {
    let scheme_end = text.find("://").map(|at| at + 3);
    match (has_credentials(text), scheme_end, text.rsplit_once('@')) {
        (false, ..) => text.to_owned(),
        (true, Some(end), Some((_, rest))) => format!("{}…@{rest}", text.get(..end).unwrap_or_default()),
        (true, ..) => "…".to_owned(),
    }
}

/// An address keys may be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyUrl {
    url: Url,
    named_by: NamedBy,
}

/// Who has named an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NamedBy {
    /// The operator: it may be on this machine.
    Configuration,
    /// A document from another machine: it may not, whatever its name resolves to.
    Document,
}

/// Why an address may not be asked for keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyUrlError {
    /// Not an absolute URL with a host.
    #[error("not an absolute URL")]
    Malformed,
    /// Anyone on the way could replace the keys.
    #[error("keys are fetched over https only (http on loopback)")]
    NotHttps,
    /// A user name or password in the URL ends up in logs.
    #[error("a user name or password does not belong into a URL")]
    HasCredentials,
    /// Nothing is ever put into an address, and least of all what a token says.
    #[error("an address of keys has no placeholders; write it as it is fetched")]
    HasPlaceholder,
    /// A document of another machine names an address of this one, or of its link, where clouds
    /// answer with secrets.
    #[error("a document from elsewhere cannot send anybody to this machine or its link")]
    Local,
}

impl KeyUrl {
    /// Checks an address: https, or http on loopback (`localhost`, `127.0.0.0/8`, `::1`); no
    /// credentials, no braces. Private networks are as good as others: identity providers and
    /// Kubernetes are there.
    pub fn parse(text: &str) -> Result<Self, KeyUrlError> {
        if text.contains(['{', '}']) {
            return Err(KeyUrlError::HasPlaceholder);
        }
        let mut url = Url::parse(text).map_err(|_| KeyUrlError::Malformed)?;
        let url_is_loopback = is_loopback(&url);
        if url.host().is_none() {
            return Err(KeyUrlError::Malformed);
        }
        match url.scheme() {
            "https" => {}
            "http" if url_is_loopback => {}
            _ => return Err(KeyUrlError::NotHttps),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(KeyUrlError::HasCredentials);
        }
        url.set_fragment(None);
        Ok(Self { url, named_by: NamedBy::Configuration })
    }

    /// The discovery address of an issuer (OpenID Connect Discovery 1.0 §4: a final slash is
    /// dropped before joining).
    pub fn discovery_of(issuer: &str) -> Result<Self, KeyUrlError> {
        let url = Self::parse(issuer)?;
        if url.url.query().is_some() || issuer.contains('#') {
            return Err(KeyUrlError::Malformed);
        }
        Self::parse(&format!(
            "{}/.well-known/openid-configuration",
            issuer.strip_suffix('/').unwrap_or(issuer)
        ))
    }

    /// Whether both are of one server: scheme, host and port.
    pub(crate) fn is_at_server_of(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin()
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The address for messages: a query may hold a key of some service.
    pub(crate) fn without_query(&self) -> &str {
        let text = self.url.as_str();
        text.split_once(['?', '#']).map_or(text, |(address, _)| address)
    }

    /// The address as a document fetched from `from` names it. What is on the operator's own
    /// machine may be named by a document from there, or from the very host the operator named.
    pub(crate) fn named_in_document_from(self, from: &Self) -> Result<Self, KeyUrlError> {
        if from.is_local() || self.url.host() == from.url.host() {
            return Ok(self);
        }
        if self.is_local() {
            return Err(KeyUrlError::Local);
        }
        Ok(Self { named_by: NamedBy::Document, ..self })
    }

    /// The address of this name below it. The name has to be of letters, digits and hyphens, so
    /// that it stays below.
    pub(crate) fn below(&self, name: &str) -> Result<Self, KeyUrlError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || !name.bytes().all(is_plain) || self.url.query().is_some() {
            return Err(KeyUrlError::Malformed);
        }
        Self::parse(&format!("{}/{name}", self.as_str().trim_end_matches('/')))
    }

    /// Who has named it.
    pub(crate) fn named_by(&self) -> NamedBy {
        self.named_by
    }

    /// Whether the address is on this machine, however it is written, or on its link
    /// (169.254.0.0/16, fe80::/10).
    pub(crate) fn is_local(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name == "localhost" || name.ends_with(".localhost")
            }
            Some(Host::Ipv4(ip)) => is_local(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => is_local(IpAddr::V6(ip).to_canonical()),
            None => false,
        }
    }
}

/// Whether an address, in its canonical form, leads to this machine, to its link, or to many.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    let on_link = match ip {
        // 0.0.0.0/8 is "this host on this network" (RFC 1122 §3.2.1.3).
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast() || ip.octets().first() == Some(&0),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    on_link || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_is_one_scheme_host_and_port() {
        let keys = KeyUrl::parse("https://keys.example/a").unwrap();
        let is_there = |text| KeyUrl::parse(text).unwrap().is_at_server_of(&keys);
        assert!(is_there("https://keys.example/b?c") && is_there("https://keys.example:443/a"));
        for other in ["https://keys.example:444/a", "https://a.keys.example/a", "http://127.0.0.1/a"] {
            assert!(!is_there(other), "{other}");
        }
    }

    #[test]
    fn a_name_stays_below_its_address() {
        for base in ["https://keys.example", "https://keys.example/", "https://keys.example/a/"] {
            let below = KeyUrl::parse(base).unwrap().below("a-1").unwrap();
            assert_eq!(below.as_str(), format!("{}/a-1", base.trim_end_matches('/')));
        }
        let keys = KeyUrl::parse("https://keys.example/a").unwrap();
        for name in ["", "..", ".", "a/b", "a?b", "a#b", "%2e%2e", "a\\b", "a b", "\u{e4}", "//b.example"] {
            assert_eq!(keys.below(name), Err(KeyUrlError::Malformed), "{name}");
        }
        assert!(KeyUrl::parse("https://keys.example/a?b").unwrap().below("c").is_err());
    }

    #[test]
    fn takes_https_anywhere_and_http_on_loopback_only() {
        for good in
            ["https://a.example/jwks", "http://127.0.0.1:8080/k", "http://localhost/k", "http://[::1]:1/k"]
        {
            assert!(KeyUrl::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://a.example/jwks", KeyUrlError::NotHttps),
            ("http://10.0.0.1/jwks", KeyUrlError::NotHttps),
            ("http://127.0.0.1.evil.example/", KeyUrlError::NotHttps),
            ("file:///etc/passwd", KeyUrlError::Malformed),
            ("ftp://a.example/", KeyUrlError::NotHttps),
            ("/jwks", KeyUrlError::Malformed),
            ("https://user:pass@a.example/", KeyUrlError::HasCredentials),
            ("https://a.example/{tenantid}/keys", KeyUrlError::HasPlaceholder),
            ("https://{iss}/keys", KeyUrlError::HasPlaceholder),
        ] {
            assert_eq!(KeyUrl::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn private_networks_are_not_this_machine_and_every_spelling_of_it_is() {
        for elsewhere in
            ["10.0.0.1:6443", "192.168.1.1", "172.16.0.1", "[fd00::1]", "a.example", "localhost.example"]
        {
            assert!(!KeyUrl::parse(&format!("https://{elsewhere}/k")).unwrap().is_local(), "{elsewhere}");
        }
        for local in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "2130706433",
            "0x7f.1",
            "0.0.0.0",
            "169.254.169.254",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:169.254.169.254]",
            "[fe80::1]",
        ] {
            assert!(KeyUrl::parse(&format!("https://{local}/k")).unwrap().is_local(), "{local}");
        }
    }

    #[test]
    fn debug_output_shows_no_inline_key() {
        let secret = SymmetricKey::new(b"MARKER".to_vec().into());
        let sources = [
            KeySource::InlineJwks("MARKER".into()),
            KeySource::InlinePem("MARKER".into()),
            KeySource::HmacSecret(secret),
        ];
        for source in sources {
            let builder = crate::TrustedIssuer::builder("i").keys(source);
            assert!(!format!("{builder:?}").contains("MARKER"), "{builder:?}");
        }
    }

    #[test]
    fn joins_the_discovery_path_with_and_without_a_final_slash() {
        let at = |iss: &str| KeyUrl::discovery_of(iss).unwrap().as_str().to_owned();
        assert_eq!(at("https://a.example"), "https://a.example/.well-known/openid-configuration");
        assert_eq!(at("https://a.example/t/"), "https://a.example/t/.well-known/openid-configuration");
        assert!(KeyUrl::discovery_of("https://a.example/?x=1").is_err());
    }
}
