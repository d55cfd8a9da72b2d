//! The public documents: discovery and JWKS, rendered once per change of the keys by one pure function.
//!
//! `serve` answers from the result and `publish` writes the same bytes; no request renders anything. Paths are
//! those below the issuer. Specifications: OpenID Connect Discovery 1.0 §3 and §4, RFC 8414 §2 and §3, RFC 7517 §5.

use crate::IssuerUrl;
use aws_lc_rs::digest;
use bytes::Bytes;
use countersign_jose::{Algorithm, KeyKind, PublicJwk, base64url};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// One document as it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Cache-Control`.
    pub cache_control: String,
    /// A strong `ETag`, with its quotes.
    pub etag: String,
    /// The body.
    pub body: Bytes,
}

/// All public documents by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicDocuments(BTreeMap<String, Document>);

impl PublicDocuments {
    /// The document at a path below the issuer.
    pub fn get(&self, path: &str) -> Option<&Document> {
        self.0.get(path)
    }

    /// Paths and documents.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Document)> {
        self.0.iter().map(|(path, document)| (path.as_str(), document))
    }
}

/// The paths of the documents, all below the issuer.
pub(crate) const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
pub(crate) const OAUTH_AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
/// Where the JWKS is.
pub const JWKS: &str = "/.well-known/jwks.json";
pub(crate) const PUBLIC_KEYS: &str = "/public-keys";
pub(crate) const JWKS_RSA: &str = "/.well-known/jwks-rsa.json";

/// Renders every public document from the public keys of the issuer.
pub fn render(issuer: &IssuerUrl, keys: &[PublicJwk], max_age: Duration) -> PublicDocuments {
    let cache_control = format!("public, max-age={}", max_age.as_secs());
    let document = |content_type, body: String| {
        let body = Bytes::from(body);
        let hash = digest::digest(&digest::SHA256, &body);
        let etag = format!("\"{}\"", base64url::encode(hash.as_ref().get(..16).unwrap_or_default()));
        Document { content_type, cache_control: cache_control.clone(), etag, body }
    };
    let mut algorithms: Vec<Algorithm> = keys.iter().map(|key| key.algorithm).collect();
    algorithms.sort();
    algorithms.dedup();
    let discovery = document(
        "application/json",
        text(&Discovery {
            issuer: issuer.as_str(),
            jwks_uri: issuer.join(JWKS),
            response_types_supported: [],
            grant_types_supported: [],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: algorithms,
        }),
    );
    let jwks = document("application/jwk-set+json", text(&JwkSet { keys }));
    let rsa: Vec<&PublicJwk> = keys.iter().filter(|key| key.key.kind() == KeyKind::Rsa).collect();
    let jwks_rsa = document("application/jwk-set+json", text(&JwkSet { keys: &rsa }));
    let mut documents = BTreeMap::from([
        (OPENID_CONFIGURATION.to_owned(), discovery.clone()),
        (OAUTH_AUTHORIZATION_SERVER.to_owned(), discovery),
        (JWKS.to_owned(), jwks.clone()),
        (PUBLIC_KEYS.to_owned(), jwks),
        (JWKS_RSA.to_owned(), jwks_rsa),
    ]);
    for key in keys {
        // A key that is in a JWKS has a PEM form too.
        let Ok(pem) = key.key.to_pem() else { continue };
        documents.insert(asap_path(&key.kid), document("application/x-pem-file", pem));
    }
    PublicDocuments(documents)
}

/// Where Jitsi's Prosody looks for a key: the SHA-256 of the `kid` in hexadecimal (jitsi-meet, `asap_key_server`).
fn asap_path(kid: &str) -> String {
    let hash = digest::digest(&digest::SHA256, kid.as_bytes());
    let name: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/asap/{name}.pem")
}

/// OpenID Connect Discovery §3 and RFC 8414 §2. There is no authorization or token endpoint, so no response type and no
/// grant is offered; both lists are there because their absence would mean "authorization_code and implicit".
#[derive(Serialize)]
struct Discovery<'a> {
    issuer: &'a str,
    jwks_uri: String,
    response_types_supported: [&'static str; 0],
    grant_types_supported: [&'static str; 0],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: Vec<Algorithm>,
}

#[derive(Serialize)]
struct JwkSet<'a, K> {
    keys: &'a [K],
}

/// Strings and lists of strings: serialising them can not fail.
fn text(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_default()
}
