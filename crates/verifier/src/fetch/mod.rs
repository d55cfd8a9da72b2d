//! `Fetch`: how key documents are asked for. The real one is [`HttpsFetch`]; unit tests on virtual
//! time use a fake.
//!
//! An implementation returns the body and how long the answer says it may be kept, and nothing
//! else: the content type is not trusted for anything, and a redirect is an error. Errors say what
//! kind of failure it was, so that an operator can act on it.

mod cache_control;
mod https;
mod key_server;
mod lookups;
mod outgoing;
mod resolve;
mod standstill;

pub use cache_control::Stated;
pub use https::{FetchLimits, HttpsFetch, MAX_KEY_BYTES};
pub use key_server::{KeyServer, Reread};
pub use lookups::Lookups;
pub use outgoing::{HttpsClient, https_client};
pub(crate) use standstill::ask;

use crate::source::{KeyUrl, KeyUrlError};
use async_trait::async_trait;
use bytes::Bytes;
use countersign_jose::{KeyError, json::JsonError};
use std::{fmt::Debug, time::Duration};

/// Asks for a key document.
#[async_trait]
pub trait Fetch: Send + Sync + Debug {
    /// The document at `url`, in one piece and within limits of size and time. Follows no redirect.
    async fn fetch(&self, url: &KeyUrl) -> Result<Fetched, FetchError>;

    /// How long [`Fetch::fetch`] takes at most while the process runs; it is ended then, and 30 s
    /// is the most that counts. An error that comes later by more than a second is one of a process
    /// that stood still, and the address is asked again.
    fn limit(&self) -> Duration {
        standstill::LONGEST_FETCH
    }
}

/// A document as it was served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The bytes.
    pub body: Bytes,
    /// How long the answer says it stays fresh (RFC 9111 §4.2: `max-age` less `Age`); `None` if it
    /// does not say.
    pub fresh_for: Option<Duration>,
    /// What else the answer says of itself. Nothing here believes it; it is for who looks whether a
    /// document is served as it should be.
    pub stated: Stated,
}

/// Why an issuer's keys could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No connection, or it broke. Holds what the network or TLS library said.
    #[error("the request failed: {0}")]
    Connection(String),
    /// What is needed to ask, authorities or a token, cannot be read.
    #[error("what is needed to ask for the keys cannot be had: {0}")]
    Access(String),
    /// Not done within the time limit.
    #[error("no complete answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// Another status than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// A redirect; none is followed.
    #[error("answered with a redirect, and redirects are not followed; configure the final address")]
    Redirect,
    /// The body is larger than the limit.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The document is not the JSON it should be (an HTML page, cut off, ...).
    #[error("the answer is not a JSON object: {0}")]
    NotJson(JsonError),
    /// Not a JWK Set.
    #[error("the answer is not a key set: {0}")]
    NotAKeySet(KeyError),
    /// The document reports an error instead of keys.
    #[error("the answer is an error document")]
    ErrorDocument,
    /// Not one key in it can be used with this issuer's algorithms.
    #[error("the key set holds no usable key")]
    NoUsableKey,
    /// The discovery document is not the JSON it should be.
    #[error("the discovery document is not a JSON object: {0}")]
    DiscoveryNotJson(JsonError),
    /// The discovery document is another issuer's (OpenID Connect Discovery 1.0 §4.3).
    #[error("the discovery document names another issuer than the configured one")]
    WrongIssuer,
    /// The discovery document has no `jwks_uri`, or one keys may not be fetched from.
    #[error("the discovery document's jwks_uri cannot be used: {0}")]
    JwksUri(KeyUrlError),
    /// Keys of other names are being asked for, or were and are not there, as many as may be in a
    /// while.
    #[error(
        "as many unknown `kid`s were asked for lately as may be; those of good tokens are asked for again soon"
    )]
    ManyUnknownKids,
    /// The fetch ended without a result: the runtime is shutting down, or the implementation
    /// panicked.
    #[error("the fetch was interrupted")]
    Interrupted,
}

/// What an address answers where there is nothing.
const MISSING: [u16; 3] = [403, 404, 410];

impl FetchError {
    /// Whether the answer says that the address does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Status(status) if MISSING.contains(status))
    }

    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connection(_) => "fetch_connection",
            Self::Access(_) => "fetch_access",
            Self::Timeout(_) => "fetch_timeout",
            Self::Status(_) => "fetch_status",
            Self::Redirect => "fetch_redirect",
            Self::TooLarge(_) => "fetch_too_large",
            Self::NotJson(_) => "fetch_not_json",
            Self::NotAKeySet(_) => "fetch_not_a_key_set",
            Self::ErrorDocument => "fetch_error_document",
            Self::NoUsableKey => "fetch_no_usable_key",
            Self::DiscoveryNotJson(_) => "discovery_not_json",
            Self::WrongIssuer => "discovery_wrong_issuer",
            Self::JwksUri(_) => "discovery_jwks_uri",
            Self::ManyUnknownKids => "fetch_many_unknown_kids",
            Self::Interrupted => "fetch_interrupted",
        }
    }
}
