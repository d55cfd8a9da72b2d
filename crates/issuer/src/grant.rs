//! How a token is asked for: by `POST /sign` and the command line, or by a grant of `POST /token`.
//!
//! Every way ends in the same admission and mint; a grant adds what only it knows, whom the token is about. Its name is
//! in the audit and, as `grant_type`, in requests and in discovery (RFC 6749 §4.4).

use crate::scope::Scope;
use std::time::Duration;

/// A grant of `POST /token`. The name that a request, a client's entry and discovery have for it is one and the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantType {
    /// A client asks for itself (RFC 6749 §4.4).
    ClientCredentials,
    /// A client shows a token of an issuer that a rule trusts, for whom that token is about (RFC 7523 §2.1).
    JwtBearer,
    /// The same in the words of RFC 8693, whose subject token may be one that was made for others.
    TokenExchange,
}

impl GrantType {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::ClientCredentials, Self::JwtBearer, Self::TokenExchange];

    /// `grant_type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }

    /// The grant of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.name() == name)
    }
}

/// What a grant adds to a request for a token.
#[derive(Debug)]
pub struct Granted<'a> {
    /// Which.
    pub grant: GrantType,
    /// Whom the token is about; the client itself if none.
    pub subject: Option<&'a str>,
    /// What it is to be good for.
    pub scope: Option<&'a Scope>,
    /// The longest it may live, where that is less than the client's policy says.
    pub longest: Option<Duration>,
}
