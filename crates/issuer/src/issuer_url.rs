//! The issuer identifier: one URL from the configuration, never derived from a request.
//!
//! RFC 8414 §2: https, no query, no fragment. Compared byte for byte everywhere, so it is kept as
//! it was typed and must be in the form every URL library leaves alone. `http` is for loopback, or
//! when asked for by name.

use std::{fmt, net::IpAddr};
use url::{Host, Url};

/// The authority's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl {
    text: String,
    path: String,
}

/// Whether an `http://` issuer that is not loopback is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpIssuer {
    /// Only on loopback.
    LoopbackOnly,
    /// Anywhere: anyone on the network can then replace the keys verifiers see.
    Insecure,
}

/// Why a text is not an issuer identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerUrlError {
    /// Not an absolute URL.
    #[error("the issuer must be a URL, like https://tokens.example.com or https://example.com/jwt")]
    NotUrl,
    /// A URL without its scheme.
    #[error("the issuer has no scheme; write https:// in front of it")]
    NoScheme,
    /// Scheme or host in upper case, or otherwise not as URL libraries write them.
    #[error(
        "scheme and host of the issuer must be in lower case, without blanks around them, as every URL library writes them"
    )]
    NotLowerCase,
    /// A host in letters that are not ASCII; holds its ASCII form.
    #[error(
        "the host of the issuer has letters that are not ASCII; write it in its ASCII form, {0} (RFC 5891), as it stands in tokens"
    )]
    International(String),
    /// The port that the scheme has anyway.
    #[error(
        "the issuer must be without the port that its scheme has anyway (:443, or :80 for http), because URL libraries drop it"
    )]
    DefaultPort,
    /// A path that is read in two ways.
    #[error(
        "the path of the issuer must be plain: no `//`, `.`, `..` or `%`, and only letters, digits, and - . _ ~"
    )]
    Path,
    /// The address of a document below it.
    #[error(
        "this is the address of the discovery document; the issuer is what stands in front of /.well-known/"
    )]
    WellKnown,
    /// Neither http nor https.
    #[error("the issuer must begin with https:// (or http:// on loopback)")]
    Scheme,
    /// `http://` off loopback.
    #[error(
        "an http:// issuer that is not on loopback lets anyone on the network replace your keys; use https://, or pass --insecure-http-issuer"
    )]
    InsecureHttp,
    /// User, query or fragment.
    #[error("the issuer must not have a user name, a query or a fragment (RFC 8414 section 2)")]
    ExtraParts,
    /// AWS consumers take at most 255 characters.
    #[error("the issuer must not be longer than 255 characters")]
    TooLong,
}

impl IssuerUrl {
    /// Checks an issuer identifier.
    pub fn parse(text: &str, http: HttpIssuer) -> Result<Self, IssuerUrlError> {
        let url = Url::parse(text).map_err(|_| match text.contains("://") || text.trim().is_empty() {
            true => IssuerUrlError::NotUrl,
            false => IssuerUrlError::NoScheme,
        })?;
        // `localhost:8080` is a URL whose scheme is localhost.
        let host = url.host().ok_or(match text.contains("://") {
            true => IssuerUrlError::NotUrl,
            false => IssuerUrlError::NoScheme,
        })?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&host) || http == HttpIssuer::Insecure => {}
            "http" => return Err(IssuerUrlError::InsecureHttp),
            _ => return Err(IssuerUrlError::Scheme),
        }
        let extra = !url.username().is_empty() || url.password().is_some();
        if extra || url.query().is_some() || url.fragment().is_some() {
            return Err(IssuerUrlError::ExtraParts);
        }
        if text.len() > 255 {
            return Err(IssuerUrlError::TooLong);
        }
        // A bare host may be written with or without the slash that the parser adds.
        let normal = url.as_str();
        if text != normal && Some(text) != normal.strip_suffix('/') {
            let (authority, normal) = (authority(text), authority(normal));
            if !authority.is_ascii() {
                return Err(IssuerUrlError::International(host.to_string()));
            }
            return Err(match authority.strip_prefix(normal) {
                Some("") => IssuerUrlError::Path,
                Some(":443" | ":80") => IssuerUrlError::DefaultPort,
                Some(_) | None => IssuerUrlError::NotLowerCase,
            });
        }
        let path = url.path().trim_end_matches('/').to_owned();
        // The path is matched as text by the router; only plain segments mean the same thing to
        // everyone.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
        if !path.chars().all(plain) || path.contains("//") {
            return Err(IssuerUrlError::Path);
        }
        if path.contains("/.well-known") {
            return Err(IssuerUrlError::WellKnown);
        }
        Ok(Self { text: text.to_owned(), path })
    }

    /// The issuer exactly as configured: what stands in `iss`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path of the issuer, without a slash at its end; empty for a bare host.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The URL of something below the issuer; `suffix` begins with a slash (OpenID Connect
    /// Discovery §4.1).
    pub fn join(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.text.trim_end_matches('/'))
    }

    /// The port, when the issuer is on loopback and has one.
    pub fn loopback_port(&self) -> Option<u16> {
        let url = Url::parse(&self.text).ok()?;
        url.host().filter(is_loopback).and_then(|_| url.port_or_known_default())
    }
}

/// Scheme, host and port of a URL as they were typed.
fn authority(text: &str) -> &str {
    let begin = text.find("://").map_or(0, |at| at + 3);
    let path = text.get(begin..).and_then(|rest| rest.find('/'));
    path.and_then(|at| text.get(..begin + at)).unwrap_or(text)
}

fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref() == "localhost",
        Host::Ipv4(ip) => IpAddr::V4(*ip).is_loopback(),
        Host::Ipv6(ip) => IpAddr::V6(*ip).is_loopback(),
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<IssuerUrl, IssuerUrlError> {
        IssuerUrl::parse(text, HttpIssuer::LoopbackOnly)
    }

    #[test]
    fn keeps_the_issuer_as_it_was_typed_and_knows_its_path() {
        for (text, path) in [
            ("https://a.example", ""),
            ("https://a.example/", ""),
            ("https://a.example/jwt-server", "/jwt-server"),
            ("https://a.example:8443/x/y/", "/x/y"),
            ("http://127.0.0.1:8080", ""),
            ("http://localhost:1", ""),
            ("http://[::1]:8080", ""),
        ] {
            let url = parse(text).expect(text);
            assert_eq!((url.as_str(), url.path()), (text, path));
        }
        assert_eq!(parse("https://a.example/").unwrap().join("/x"), "https://a.example/x");
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        use IssuerUrlError::*;
        for (text, why) in [
            ("", NotUrl),
            ("https://", NotUrl),
            ("a.example", NoScheme),
            ("localhost:8080", NoScheme),
            ("HTTPS://a.example", NotLowerCase),
            ("https://A.example", NotLowerCase),
            ("https://a.example ", NotLowerCase),
            ("https://bücher.example", International("xn--bcher-kva.example".to_owned())),
            ("https://BÜCHER.example/x", International("xn--bcher-kva.example".to_owned())),
            ("https://a.example/ü", Path),
            ("https://a.example:443", DefaultPort),
            ("http://127.0.0.1:80/x", DefaultPort),
            ("https://a.example/a/../b", Path),
            ("https://a.example/a%2fb", Path),
            ("https://a.example//b", Path),
            ("https://a.example/.well-known/openid-configuration", WellKnown),
            ("ftp://a.example", Scheme),
            ("http://a.example", InsecureHttp),
            ("http://10.0.0.1", InsecureHttp),
            ("http://localhost.a.example", InsecureHttp),
            ("https://u@a.example", ExtraParts),
            ("https://a.example?x", ExtraParts),
            ("https://a.example#x", ExtraParts),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
        assert_eq!(parse(&format!("https://a.example/{}", "x".repeat(250))), Err(TooLong));
        assert!(IssuerUrl::parse("http://a.example", HttpIssuer::Insecure).is_ok());
    }
}
