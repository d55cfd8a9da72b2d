//! Protected resource metadata (RFC 9728): which authorization servers a client of the service has
//! to ask, and for what.
//!
//! One document, made once from the configuration, at the resource's own name with
//! `/.well-known/oauth-protected-resource` put in front of its path (§3.1). Challenges name its
//! URL. Served by the program's server and Lambda function; an authorizer cannot.

use countersign_jose::Algorithm;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

/// What stands in front of the path of a resource.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// How long caches may keep the document.
const CACHE_CONTROL: &str = "public, max-age=300";

/// What the document says (RFC 9728 §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The resource's identifier, which clients compare byte by byte.
    pub resource: String,
    /// The issuers whose tokens are accepted.
    pub authorization_servers: Vec<String>,
    /// The scopes that routes ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    /// Where a token may be.
    pub bearer_methods_supported: Vec<&'static str>,
    /// What the service is called, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// Where people read about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_documentation: Option<String>,
    /// What DPoP proofs may be signed with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dpop_signing_alg_values_supported: Vec<Algorithm>,
    /// Whether every token has to be bound to a key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dpop_bound_access_tokens_required: bool,
}

/// The document, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    url: String,
    path: String,
    document: String,
}

impl Resource {
    /// `None` unless the resource is a URL with a scheme, an authority and perhaps a path.
    pub fn new(metadata: &Metadata) -> Option<Self> {
        let (scheme, rest) = metadata.resource.split_once("://")?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        // §3.1: a slash that ends the host is left out.
        let path = format!("{WELL_KNOWN}{}", if path == "/" { "" } else { path });
        let url = format!("{scheme}://{authority}{path}");
        // Strings, lists of them and a boolean: serialising them does not fail.
        let document = serde_json::to_string(metadata).unwrap_or_default();
        Some(Self { url, path, document })
    }

    /// Its address, for challenges.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether a request for this path is for the document.
    pub fn is_at(&self, path: &str) -> bool {
        path == self.path
    }

    /// The answer to a request for it.
    pub fn answer(&self, method: &Method) -> Response<String> {
        let mut response = Response::new(String::new());
        let mut set =
            |name, value| drop(response.headers_mut().insert(name, HeaderValue::from_static(value)));
        if ![Method::GET, Method::HEAD].contains(method) {
            set(header::ALLOW, "GET, HEAD");
            set(header::CACHE_CONTROL, "no-store");
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            return response;
        }
        set(header::CONTENT_TYPE, "application/json");
        set(header::CACHE_CONTROL, CACHE_CONTROL);
        // Clients in browsers read it too.
        set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        if method == Method::GET {
            *response.body_mut() = self.document.clone();
        }
        response
    }
}
