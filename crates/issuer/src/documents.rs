//! The public documents: discovery, JWKS and the map of certificates, rendered once per change of
//! the keys by one pure function.
//!
//! `serve` answers from the result and `publish` writes the same bytes; no request renders
//! anything. Paths are those below the issuer. Specifications: OpenID Connect Discovery 1.0 §3 and
//! §4, RFC 8414 §2 and §3, RFC 7517 §4.7, §4.9 and §5.

use crate::{GrantType, IssuerUrl, freshness, http::AUTHORIZE};
use aws_lc_rs::digest;
use bytes::Bytes;
use countersign_jose::{Algorithm, KeyKind, PublicJwk, base64url, hex};
use countersign_keyring::{Certificate, PublishedKey};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// One document as it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Cache-Control` that allows the longest time; a server answers with one that allows as much
    /// or less.
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
/// Where grants are asked for.
pub const TOKEN: &str = "/token";
/// Where tokens are revoked (RFC 7009).
pub const REVOKE: &str = "/revoke";
/// Where it is asked what tokens are worth (RFC 7662).
pub const INTROSPECT: &str = "/introspect";
pub(crate) const PUBLIC_KEYS: &str = "/public-keys";
pub(crate) const JWKS_RSA: &str = "/.well-known/jwks-rsa.json";
pub(crate) const X509: &str = "/.well-known/x509.json";

/// What the keys of a JWKS have beside their own members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JwksCertificates {
    /// Nothing: the set is as small as it can be. Nobody needs certificates there, and some read
    /// 150 KB at most (ALB).
    #[default]
    Left,
    /// `x5c` and `x5t#S256`, where a key has a certificate.
    Shown,
}

/// The name of authentication that is none (RFC 7591 §2), for public clients.
pub const NO_AUTHENTICATION: &str = "none";

/// What discovery says of `POST /token`: exactly what some client may do there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenEndpoint {
    /// Grants that some client has.
    pub grants: Vec<GrantType>,
    /// How clients that have one authenticate (RFC 8414 §2,
    /// `token_endpoint_auth_methods_supported`).
    pub auth_methods: Vec<&'static str>,
    /// The algorithms that assertions of clients may be signed with.
    pub auth_algorithms: Vec<Algorithm>,
    /// Profiles of grants that some rule takes (`authorization_grant_profiles_supported`).
    pub grant_profiles: Vec<&'static str>,
    /// Whether some client may introspect tokens.
    pub introspects: bool,
    /// The algorithms that DPoP proofs may be signed with (RFC 9449 §5.1).
    pub dpop_algorithms: Vec<Algorithm>,
}

/// Renders every public document from the public keys of the issuer. `sequence` counts the changes
/// of the keyring they are from: a reader that remembers it notices when the keys go back to an
/// older state.
pub fn render(
    issuer: &IssuerUrl,
    keys: &[PublishedKey],
    sequence: Option<u64>,
    certificates: JwksCertificates,
    token_endpoint: Option<&TokenEndpoint>,
    max_age: Duration,
) -> PublicDocuments {
    let cache_control = freshness::cache_control(max_age.as_secs());
    let document = |content_type, body: String| {
        let body = Bytes::from(body);
        let hash = digest::digest(&digest::SHA256, &body);
        let etag = format!("\"{}\"", base64url::encode(hash.as_ref().get(..16).unwrap_or_default()));
        Document { content_type, cache_control: cache_control.clone(), etag, body }
    };
    let mut algorithms: Vec<Algorithm> = keys.iter().map(|key| key.jwk.algorithm).collect();
    algorithms.sort();
    algorithms.dedup();
    let introspection = token_endpoint.filter(|endpoint| endpoint.introspects);
    let discovery = document(
        "application/json",
        text(&Discovery {
            issuer: issuer.as_str(),
            jwks_uri: issuer.join(JWKS),
            authorization_endpoint: issuer.join(AUTHORIZE),
            response_types_supported: ["id_token"],
            grant_types_supported: grant_types(token_endpoint),
            token: token_endpoint.map(|endpoint| TokenDiscovery::new(issuer, endpoint)),
            introspection: introspection
                .map(|endpoint| IntrospectionDiscovery::new(issuer, endpoint, &algorithms)),
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: &algorithms,
        }),
    );
    let jwk = |key| JwkWithCertificate::new(key, certificates);
    let all: Vec<_> = keys.iter().map(jwk).collect();
    let jwks =
        document("application/jwk-set+json", text(&JwkSet { keys: &all, countersign_sequence: sequence }));
    let rsa: Vec<_> = keys.iter().filter(|key| key.jwk.key.kind() == KeyKind::Rsa).map(jwk).collect();
    let jwks_rsa =
        document("application/jwk-set+json", text(&JwkSet { keys: &rsa, countersign_sequence: sequence }));
    let certified = keys.iter().filter_map(|key| Some((&key.jwk, key.certificate.as_ref()?)));
    let x509 = document("application/json", x509_map(certified));
    let mut documents = BTreeMap::from([
        (OPENID_CONFIGURATION.to_owned(), discovery.clone()),
        (OAUTH_AUTHORIZATION_SERVER.to_owned(), discovery),
        (JWKS.to_owned(), jwks.clone()),
        (PUBLIC_KEYS.to_owned(), jwks),
        (JWKS_RSA.to_owned(), jwks_rsa),
        (X509.to_owned(), x509),
    ]);
    for key in keys {
        // A key that is in a JWKS has a PEM form too.
        let Ok(pem) = key.jwk.key.to_pem() else { continue };
        documents.insert(asap_path(&key.jwk.kid), document("application/x-pem-file", pem));
    }
    PublicDocuments(documents)
}

/// The x509 map: `kid` to certificate as PEM, for RSA and EC keys, as Firebase publishes its own
/// and Jitsi's `cache_keys_url` reads them. Its readers know an Ed25519 certificate as little as an
/// Ed25519 JWK.
pub fn x509_map<'a>(keys: impl IntoIterator<Item = (&'a PublicJwk, &'a Certificate)>) -> String {
    let map: BTreeMap<&str, String> = keys
        .into_iter()
        .filter(|(jwk, _)| matches!(jwk.key.kind(), KeyKind::Rsa | KeyKind::Ec(_)))
        // With a member `keys` it is taken for a JWKS, with `error` for a failure: one such key
        // would hide all others.
        .filter(|(jwk, _)| !matches!(jwk.kid.as_str(), "keys" | "error"))
        .map(|(jwk, certificate)| (jwk.kid.as_str(), certificate.to_pem()))
        .collect();
    text(&map)
}

/// Where Jitsi's Prosody looks for a key: the SHA-256 of the `kid` in hexadecimal (jitsi-meet,
/// `asap_key_server`).
pub fn asap_path(kid: &str) -> String {
    format!("/asap/{}.pem", hex(digest::digest(&digest::SHA256, kid.as_bytes()).as_ref()))
}

/// The grants of `/token`. Where it has none the list must not be empty (Discovery §4.2, RFC 8414
/// §3.2), and its absence means `authorization_code` and `implicit`, which demand a token endpoint.
/// `implicit` alone is the grant of the response type `id_token` and the one that needs none.
fn grant_types(endpoint: Option<&TokenEndpoint>) -> Vec<&'static str> {
    let grants = endpoint.map(|endpoint| endpoint.grants.as_slice()).unwrap_or_default();
    match grants {
        [] => vec!["implicit"],
        grants => grants.iter().map(|grant| grant.name()).collect(),
    }
}

/// OpenID Connect Discovery §3 and RFC 8414 §2. Nobody signs in here, so no response type can be
/// asked for; an authorization endpoint and a response type are required all the same. So it says
/// what static issuers say, `id_token`, and a place that refuses every caller ([`AUTHORIZE`]). Of
/// the token endpoint there is nothing where nobody may ask it.
#[derive(Serialize)]
struct Discovery<'a> {
    issuer: &'a str,
    jwks_uri: String,
    authorization_endpoint: String,
    response_types_supported: [&'static str; 1],
    grant_types_supported: Vec<&'static str>,
    #[serde(flatten)]
    token: Option<TokenDiscovery<'a>>,
    #[serde(flatten)]
    introspection: Option<IntrospectionDiscovery<'a>>,
    subject_types_supported: [&'static str; 1],
    #[serde(skip_serializing_if = "no_algorithms")]
    id_token_signing_alg_values_supported: &'a [Algorithm],
}

/// What there is where a client may ask for tokens. It may revoke them too, in the same way.
#[derive(Serialize)]
struct TokenDiscovery<'a> {
    token_endpoint: String,
    #[serde(skip_serializing_if = "no_names")]
    token_endpoint_auth_methods_supported: &'a [&'static str],
    #[serde(skip_serializing_if = "no_algorithms")]
    token_endpoint_auth_signing_alg_values_supported: &'a [Algorithm],
    #[serde(skip_serializing_if = "no_algorithms")]
    dpop_signing_alg_values_supported: &'a [Algorithm],
    #[serde(skip_serializing_if = "no_names")]
    authorization_grant_profiles_supported: &'a [&'static str],
    revocation_endpoint: String,
    #[serde(skip_serializing_if = "no_names")]
    revocation_endpoint_auth_methods_supported: &'a [&'static str],
    #[serde(skip_serializing_if = "no_algorithms")]
    revocation_endpoint_auth_signing_alg_values_supported: &'a [Algorithm],
}

/// What there is where a client may introspect (RFC 8414 §2, RFC 9701 §7).
#[derive(Serialize)]
struct IntrospectionDiscovery<'a> {
    introspection_endpoint: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "no_algorithms")]
    introspection_endpoint_auth_signing_alg_values_supported: &'a [Algorithm],
    #[serde(skip_serializing_if = "no_algorithms")]
    introspection_signing_alg_values_supported: &'a [Algorithm],
}

impl<'a> TokenDiscovery<'a> {
    fn new(issuer: &IssuerUrl, endpoint: &'a TokenEndpoint) -> Self {
        Self {
            token_endpoint: issuer.join(TOKEN),
            token_endpoint_auth_methods_supported: &endpoint.auth_methods,
            token_endpoint_auth_signing_alg_values_supported: &endpoint.auth_algorithms,
            dpop_signing_alg_values_supported: &endpoint.dpop_algorithms,
            authorization_grant_profiles_supported: &endpoint.grant_profiles,
            revocation_endpoint: issuer.join(REVOKE),
            revocation_endpoint_auth_methods_supported: &endpoint.auth_methods,
            revocation_endpoint_auth_signing_alg_values_supported: &endpoint.auth_algorithms,
        }
    }
}

impl<'a> IntrospectionDiscovery<'a> {
    fn new(issuer: &IssuerUrl, endpoint: &'a TokenEndpoint, signing: &'a [Algorithm]) -> Self {
        // RFC 7662 §2.1: nobody introspects without proving who it is.
        let proofs = endpoint.auth_methods.iter().copied().filter(|method| *method != NO_AUTHENTICATION);
        Self {
            introspection_endpoint: issuer.join(INTROSPECT),
            introspection_endpoint_auth_methods_supported: proofs.collect(),
            introspection_endpoint_auth_signing_alg_values_supported: &endpoint.auth_algorithms,
            introspection_signing_alg_values_supported: signing,
        }
    }
}

fn no_names(names: &&[&str]) -> bool {
    names.is_empty()
}

fn no_algorithms(algorithms: &&[Algorithm]) -> bool {
    algorithms.is_empty()
}

#[derive(Serialize)]
struct JwkSet<'a, K> {
    keys: &'a [K],
    /// RFC 7517 §5: members that are not understood are ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    countersign_sequence: Option<u64>,
}

#[derive(Serialize)]
struct JwkWithCertificate<'a> {
    #[serde(flatten)]
    jwk: &'a PublicJwk,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5c: Option<[String; 1]>,
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    x5t_s256: Option<String>,
}

impl<'a> JwkWithCertificate<'a> {
    fn new(key: &'a PublishedKey, certificates: JwksCertificates) -> Self {
        let certificate = match certificates {
            JwksCertificates::Left => None,
            // Go's jwkset takes a certificate of such a key to mean `EdDSA`, and throws the whole
            // set away because the names differ.
            JwksCertificates::Shown if key.jwk.algorithm == Algorithm::Ed25519 => None,
            JwksCertificates::Shown => key.certificate.as_ref(),
        };
        Self {
            jwk: &key.jwk,
            x5c: certificate.map(|certificate| [certificate.to_base64()]),
            x5t_s256: certificate.map(Certificate::thumbprint),
        }
    }
}

/// Strings, numbers, and lists and maps of them: serialising them cannot fail.
fn text(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_default()
}
