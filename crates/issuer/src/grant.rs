//! How a token is asked for: by `POST /sign` and the command line, or by a grant of `POST /token`.
//!
//! Every way ends in the same admission and mint; a grant adds what only it knows, whom the token
//! is about. Its name is in the audit and, as `grant_type`, in requests and in discovery (RFC 6749
//! §4.4).

use crate::scope::Scope;
use std::time::Duration;

/// A grant of `POST /token`. The name that a request, a client's entry and discovery have for it is
/// one and the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantType {
    /// A client asks for itself (RFC 6749 §4.4).
    ClientCredentials,
    /// A client shows a token of an issuer that a rule trusts, for whom that token is about (RFC
    /// 7523 §2.1).
    JwtBearer,
    /// The same in the words of RFC 8693, whose subject token may be one that was made for others.
    TokenExchange,
    /// A client shows a refresh token for the next access token (RFC 6749 §6).
    RefreshToken,
}

impl GrantType {
    /// All there are.
    pub const ALL: [Self; 4] =
        [Self::ClientCredentials, Self::JwtBearer, Self::TokenExchange, Self::RefreshToken];

    /// `grant_type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::RefreshToken => "refresh_token",
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
    /// The profile of the token: `access_token`, or what a rule of exchange gives in its place.
    pub profile: &'a str,
    /// Whom the token is about; the client itself if none.
    pub subject: Option<&'a str>,
    /// What it is to be good for.
    pub scope: Option<&'a Scope>,
    /// The longest it may live, where that is less than the client's policy says.
    pub longest: Option<Duration>,
    /// The thumbprint of the key that it is bound to (RFC 9449 §6.1).
    pub jkt: Option<&'a str>,
    /// Who acts for whom it is about, the one that acts now first (RFC 8693 §4.1).
    pub actors: &'a [String],
    /// The rule of exchange by which it is granted, for the audit.
    pub rule: Option<&'a str>,
    /// The tokens that were shown for it, for the audit.
    pub shown: ShownTokens<'a>,
    /// That it is an ID-JAG and no access token.
    pub id_jag: Option<IdJag<'a>>,
}

/// A token of a request, by what it says of itself once it was verified. Names of tokens, and no
/// secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownToken {
    /// Who made it.
    pub iss: Option<String>,
    /// Whom it is about.
    pub sub: Option<String>,
    /// What it is called.
    pub jti: Option<String>,
}

/// The tokens of a request, as far as it has any.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShownTokens<'a> {
    /// By which the client has proved who it is: its own assertion, or its platform's token.
    pub client: Option<&'a ShownToken>,
    /// For which it gets one: the assertion or subject token.
    pub subject: Option<&'a ShownToken>,
    /// That of who acts.
    pub actor: Option<&'a ShownToken>,
}

/// What an ID-JAG says beside its audience, which is the authorization server that takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdJag<'a> {
    /// What that server calls the client.
    pub client_id: &'a str,
    /// The APIs it is for.
    pub resources: &'a [String],
}

/// What a rule of exchange that is only tried says of a token, for the audit.
#[derive(Debug, Default)]
pub struct Judged<'a> {
    /// The rule.
    pub rule: &'a str,
    /// Whom a token would be about.
    pub subject: Option<&'a str>,
    /// Who would act for them, the one that acts now first.
    pub actors: &'a [String],
    /// Why there would be none.
    pub refusal: Option<String>,
}
