//! The one credential of a request: a bearer token from the `Authorization` header, a query
//! parameter, a cookie, or `Sec-WebSocket-Protocol`, or `x-amzn-oidc-data`; or a token under the
//! scheme `DPoP` from the header alone (RFC 9449 §7.1).
//!
//! All sources that are switched on are looked at, and every occurrence in them. The same token
//! twice is one; two different ones are refused, because the service behind the gate could look at
//! the other (RFC 6750 §2 allows one method only). Nothing here looks into a token. Called by
//! `gate`; pinned by `tests/credentials.rs`.

use crate::facts::RequestFacts;

/// Where a token may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSources {
    /// The header `Authorization: Bearer TOKEN`, in any casing, or with the bare token as API
    /// Gateway takes it too.
    pub authorization: bool,
    /// A query parameter.
    pub query: Option<String>,
    /// A cookie.
    pub cookie: Option<String>,
    /// The entry of `Sec-WebSocket-Protocol` behind which the token stands.
    pub websocket_marker: Option<String>,
    /// The header `x-amzn-oidc-data`, in which a load balancer of AWS says who has logged in.
    pub load_balancer: bool,
}

impl Default for CredentialSources {
    /// The header, the query parameter `authorization` and the WebSocket marker `bearer`; no cookie
    /// and no load balancer.
    fn default() -> Self {
        Self {
            authorization: true,
            query: Some("authorization".to_owned()),
            cookie: None,
            websocket_marker: Some("bearer".to_owned()),
            load_balancer: false,
        }
    }
}

/// A token, and how it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential<'f> {
    /// The token.
    pub token: &'f str,
    /// How.
    pub scheme: Scheme,
}

/// How a token was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// As one that is good for everybody who has it.
    Bearer,
    /// With a proof that its sender holds a key.
    Dpop,
}

/// Why a request has no credential that could be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// None of the sources has one.
    #[error("the request has no token")]
    Missing,
    /// Two different ones.
    #[error("the request has two different credentials")]
    Ambiguous,
    /// `Authorization` with another scheme than Bearer and DPoP.
    #[error("the Authorization header has another scheme than Bearer and DPoP")]
    OtherScheme,
    /// A source is there but has no token in it.
    #[error("the credential is not one token")]
    Malformed,
}

impl CredentialError {
    /// A stable name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "credential_missing",
            Self::Ambiguous => "credential_ambiguous",
            Self::OtherScheme => "credential_other_scheme",
            Self::Malformed => "credential_malformed",
        }
    }
}

impl CredentialSources {
    /// The one token of a request.
    pub fn select<'f>(&self, facts: &'f RequestFacts<'_>) -> Result<Credential<'f>, CredentialError> {
        let mut found = Found(None);
        if self.authorization {
            for value in facts.header("authorization") {
                found.add(dpop(value).unwrap_or_else(|| bearer(value)))?;
            }
        }
        if let Some(name) = &self.query {
            for value in facts.parameter(name) {
                found.add(bearer(value))?;
            }
        }
        if let Some(name) = &self.cookie {
            let cookies = facts.header("cookie").flat_map(|header| header.split(';'));
            let pairs = cookies.filter_map(|cookie| cookie.split_once('='));
            for (_, value) in pairs.filter(|(n, _)| n.trim() == name) {
                found.add(one_token(value.trim()).map(as_bearer))?;
            }
        }
        if let Some(marker) = &self.websocket_marker {
            let mut protocols =
                facts.header("sec-websocket-protocol").flat_map(|header| header.split(',')).map(str::trim);
            while let Some(protocol) = protocols.next() {
                if protocol == marker {
                    found.add(one_token(protocols.next().unwrap_or_default()).map(as_bearer))?;
                }
            }
        }
        if self.load_balancer {
            for value in facts.header("x-amzn-oidc-data") {
                found.add(one_token(value.trim()).map(as_bearer))?;
            }
        }
        found.0.unwrap_or(Err(CredentialError::Missing))
    }
}

type Candidate<'f> = Result<Credential<'f>, CredentialError>;

fn as_bearer(token: &str) -> Credential<'_> {
    Credential { token, scheme: Scheme::Bearer }
}

/// What was found so far. A credential of another scheme is one too.
struct Found<'f>(Option<Candidate<'f>>);

impl<'f> Found<'f> {
    fn add(&mut self, candidate: Candidate<'f>) -> Result<(), CredentialError> {
        match &self.0 {
            Some(before) if *before != candidate => Err(CredentialError::Ambiguous),
            Some(_) => Ok(()),
            None => {
                self.0 = Some(candidate);
                Ok(())
            }
        }
    }
}

/// `DPoP TOKEN` (RFC 9449 §7.1; the scheme in any casing); `None` for another scheme.
fn dpop(value: &str) -> Option<Candidate<'_>> {
    let value = value.trim();
    let (scheme, token) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    let token = scheme.eq_ignore_ascii_case("dpop").then(|| one_token(token.trim_start()))?;
    Some(token.map(|token| Credential { token, scheme: Scheme::Dpop }))
}

/// `Bearer TOKEN` (RFC 6750 §2.1; the scheme in any casing, RFC 9110 §11.1), or the token by
/// itself.
fn bearer(value: &str) -> Candidate<'_> {
    let value = value.trim();
    let token = match value.split_once([' ', '\t']) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => one_token(token.trim_start()),
        Some(_) => Err(CredentialError::OtherScheme),
        None => one_token(value),
    };
    token.map(as_bearer)
}

/// One text without blanks. A comma joins two header fields of one name.
fn one_token(text: &str) -> Result<&str, CredentialError> {
    // Nearly every token: one look at each byte, longer than the word itself.
    let plain = text.bytes().fold(true, |plain, byte| plain & (byte.is_ascii_graphic() & (byte != b',')));
    if plain && text.len() > "bearer".len() {
        return Ok(text);
    }
    if text.contains(',') {
        return Err(CredentialError::Ambiguous);
    }
    if text.is_empty() || text.eq_ignore_ascii_case("bearer") || text.contains(char::is_whitespace) {
        return Err(CredentialError::Malformed);
    }
    Ok(text)
}
