//! OpenID Connect discovery (1.0 §4.3) and RFC 8414 §3.3: the document must be the configured
//! issuer's own.
//!
//! Only `issuer` and `jwks_uri` are read. `issuer` must equal the configured identity exactly (for
//! a multi-tenant issuer its template, which is what Entra's shared document says). A document from
//! the network cannot point the fetcher at this machine: `jwks_uri` is https unless the document
//! itself came from loopback, names no address of this machine, and `fetch::https` checks what its
//! name resolves to.

use crate::{
    fetch::FetchError,
    source::{KeyUrl, KeyUrlError},
};
use countersign_jose::json::{DEFAULT_DEPTH, Object};

/// The `jwks_uri` of a discovery document fetched from `from`, which must be that of `issuer`.
pub(crate) fn jwks_uri(body: &[u8], issuer: &str, from: &KeyUrl) -> Result<KeyUrl, FetchError> {
    let document = Object::parse(body, DEFAULT_DEPTH).map_err(FetchError::DiscoveryNotJson)?;
    if document.string("issuer").ok().flatten().as_deref() != Some(issuer) {
        return Err(FetchError::WrongIssuer);
    }
    let uri =
        document.string("jwks_uri").ok().flatten().ok_or(FetchError::JwksUri(KeyUrlError::Malformed))?;
    KeyUrl::parse(&uri).and_then(|uri| uri.named_in_document_from(from)).map_err(FetchError::JwksUri)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://a.example";

    fn read(document: &str) -> Result<KeyUrl, FetchError> {
        let from = KeyUrl::discovery_of(ISSUER).unwrap();
        jwks_uri(document.as_bytes(), ISSUER, &from)
    }

    #[test]
    fn the_document_must_name_exactly_the_configured_issuer() {
        assert!(read(r#"{"issuer":"https://a.example","jwks_uri":"https://b.example/k"}"#).is_ok());
        for issuer in
            [r#""https://a.example/""#, r#""https://A.example""#, r#"["https://a.example"]"#, "null"]
        {
            let document = format!(r#"{{"issuer":{issuer},"jwks_uri":"https://b.example/k"}}"#);
            assert_eq!(read(&document), Err(FetchError::WrongIssuer), "{issuer}");
        }
        assert_eq!(read(r#"{"jwks_uri":"https://b.example/k"}"#), Err(FetchError::WrongIssuer));
    }

    #[test]
    fn a_remote_document_cannot_send_the_fetcher_to_clear_text_or_to_this_machine() {
        for (uri, why) in [
            ("http://b.example/k", KeyUrlError::NotHttps),
            ("http://10.0.0.1/k", KeyUrlError::NotHttps),
            ("http://169.254.169.254/latest", KeyUrlError::NotHttps),
            ("http://[fd00:ec2::254]/latest", KeyUrlError::NotHttps),
            ("http://127.0.0.1/k", KeyUrlError::Local),
            ("https://localhost/k", KeyUrlError::Local),
            ("https://0.0.0.0/k", KeyUrlError::Local),
            ("https://169.254.169.254/latest", KeyUrlError::Local),
            ("https://[::ffff:127.0.0.1]/k", KeyUrlError::Local),
            ("https://b.example/{tenantid}/k", KeyUrlError::HasPlaceholder),
        ] {
            let document = format!(r#"{{"issuer":"https://a.example","jwks_uri":"{uri}"}}"#);
            assert_eq!(read(&document), Err(FetchError::JwksUri(why)), "{uri}");
        }
        // The API server of a Kubernetes cluster names its own address.
        for uri in ["https://10.0.0.1:6443/openid/v1/jwks", "https://[fd00::1]/k"] {
            let document = format!(r#"{{"issuer":"https://a.example","jwks_uri":"{uri}"}}"#);
            assert!(read(&document).is_ok(), "{uri}");
        }
        for document in
            [r#"{"issuer":"https://a.example"}"#, r#"{"issuer":"https://a.example","jwks_uri":7}"#]
        {
            assert_eq!(read(document), Err(FetchError::JwksUri(KeyUrlError::Malformed)), "{document}");
        }
    }
}
