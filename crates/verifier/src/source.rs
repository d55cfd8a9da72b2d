//! Where an issuer's keys come from, and which addresses may be asked for them.
//!
//! A `KeyUrl` can only be https, or http on loopback, and carries no user name or password. The address always comes
//! from the configuration or from the discovery document of a configured issuer, never from a token; there are no
//! templates in it. Used by `trusted` (configuration) and `discovery` (`jwks_uri`).

use countersign_jose::{KeySet, SymmetricKey};
use std::fmt;
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
    /// One or the other at this address, told apart by the document: an object with an array `keys` is a JWK Set. For
    /// settings that people fill with either.
    KeyDocument(String),
    /// A JWK Set as text. Private members in it are not read.
    InlineJwks(String),
    /// One public key (or the public half of a private one) as PEM, for one algorithm; the token's `kid` is not looked at.
    InlinePem(String),
    /// Keys read elsewhere, each bound to its algorithm, shared secrets among them. The algorithms of the issuer must name
    /// those that are to be used.
    Keys(KeySet),
    /// One shared secret, for one HMAC algorithm; the token's `kid` is not looked at.
    HmacSecret(SymmetricKey),
}

impl fmt::Debug for KeySource {
    /// Shows no inline text: people paste private keys where a public one would do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery => f.write_str("Discovery"),
            Self::DiscoveryAt(url) => f.debug_tuple("DiscoveryAt").field(url).finish(),
            Self::JwksUrl(url) => f.debug_tuple("JwksUrl").field(url).finish(),
            Self::X509Map(url) => f.debug_tuple("X509Map").field(url).finish(),
            Self::KeyDocument(url) => f.debug_tuple("KeyDocument").field(url).finish(),
            Self::InlineJwks(_) => f.write_str("InlineJwks(..)"),
            Self::InlinePem(_) => f.write_str("InlinePem(..)"),
            Self::Keys(_) => f.write_str("Keys(..)"),
            Self::HmacSecret(_) => f.write_str("HmacSecret(..)"),
        }
    }
}

/// An address keys may be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyUrl(Url);

/// Why an address may not be asked for keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyUrlError {
    /// Not an absolute URL with a host.
    #[error("not an absolute URL")]
    Malformed,
    /// Whoever is on the way could replace the keys.
    #[error("keys are fetched over https only (http on loopback)")]
    NotHttps,
    /// A user name or password in the URL ends up in logs.
    #[error("a user name or password does not belong into a URL")]
    HasCredentials,
}

impl KeyUrl {
    /// Checks an address: https, or http on loopback (`localhost`, `127.0.0.0/8`, `::1`); no credentials.
    pub fn parse(text: &str) -> Result<Self, KeyUrlError> {
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
        Ok(Self(url))
    }

    /// The discovery address of an issuer (OpenID Connect Discovery 1.0 §4: a final slash is dropped before joining).
    pub fn discovery_of(issuer: &str) -> Result<Self, KeyUrlError> {
        let url = Self::parse(issuer)?;
        if url.0.query().is_some() || issuer.contains('#') {
            return Err(KeyUrlError::Malformed);
        }
        Self::parse(&format!(
            "{}/.well-known/openid-configuration",
            issuer.strip_suffix('/').unwrap_or(issuer)
        ))
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the address is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }
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
        ] {
            assert_eq!(KeyUrl::parse(bad), Err(why), "{bad}");
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
