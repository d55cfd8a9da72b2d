//! Addresses of a provider: https, or http on loopback; from the configuration or a preset, never
//! from a request.
//!
//! What is sent there may have tokens in its query, so a request's address is made by
//! [`ProviderUrl::with`], kept out of every message and never shown.

use countersign_verifier::{KeyUrl, KeyUrlError};
use url::Url;

/// An address of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProviderUrl(Url);

/// Why an address is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    #[error("write an absolute URL, with a host and without placeholders")]
    Malformed,
    #[error("tokens and secrets are sent over https only (http on loopback)")]
    NotHttps,
    #[error("a user name or password does not belong into a URL; there is client_secret")]
    HasCredentials,
    #[error("parameters do not belong into this URL; they are added to each request")]
    HasQuery,
}

impl ProviderUrl {
    /// Checks an address as those of keys are checked.
    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
        let checked = KeyUrl::parse(text).map_err(|why| match why {
            KeyUrlError::NotHttps => AddressError::NotHttps,
            KeyUrlError::HasCredentials => AddressError::HasCredentials,
            KeyUrlError::Malformed | KeyUrlError::HasPlaceholder | KeyUrlError::Local => {
                AddressError::Malformed
            }
        })?;
        let url = Url::parse(checked.as_str()).map_err(|_| AddressError::Malformed)?;
        if url.query().is_some() { Err(AddressError::HasQuery) } else { Ok(Self(url)) }
    }

    /// The address below this one, each part a segment of the path.
    pub(super) fn below(mut self, parts: &[&str]) -> Self {
        if let Ok(mut segments) = self.0.path_segments_mut() {
            segments.pop_if_empty().extend(parts);
        }
        self
    }

    /// The address of one request.
    pub(super) fn with(&self, query: &[(&str, &str)]) -> String {
        let mut url = self.0.clone();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_over_https_and_every_value_into_its_place() {
        for (text, why) in [
            ("http://api.example/me", AddressError::NotHttps),
            ("https://u:p@api.example/me", AddressError::HasCredentials),
            ("https://api.example/me?a=b", AddressError::HasQuery),
            ("https://{tenant}.example/me", AddressError::Malformed),
            ("/me", AddressError::Malformed),
        ] {
            assert_eq!(ProviderUrl::parse(text), Err(why), "{text}");
        }
        let url = ProviderUrl::parse("https://api.example/applications/").unwrap();
        assert_eq!(url.with(&[("t", "a&b=c#d")]), "https://api.example/applications/?t=a%26b%3Dc%23d");
        let url = url.below(&["../x/y", "token"]);
        assert_eq!(url.with(&[]), "https://api.example/applications/..%2Fx%2Fy/token");
        assert!(ProviderUrl::parse("http://127.0.0.1:1/me").is_ok());
    }
}
