//! The gate's answer: let in, as whom and by which rule; or not, and why.
//!
//! A [`Grant`] can only be made by `gate`, and holds a verified token unless a public rule let the
//! request in.

use crate::{
    credential::{CredentialError, Scheme},
    dpop::DpopRefusal,
    path::PathError,
    route::Unmet,
};
use countersign_verifier::{Accepted, Fault, VerifyError, dpop::Binding};

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Let it in.
    Allow(Grant),
    /// Keep it out.
    Deny(Denial),
}

impl Decision {
    /// Whether it was made for the holder of a bound token.
    pub(crate) fn is_of_bound(&self) -> bool {
        let caller = match self {
            Self::Allow(grant) => grant.caller(),
            Self::Deny(denial) => denial.caller.as_ref(),
        };
        caller.is_some_and(|caller| !matches!(Binding::of(caller.verified()), Ok(None)))
    }
}

/// A request that is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    caller: Option<Accepted>,
    undetermined: Option<Refusal>,
    route: usize,
}

impl Grant {
    pub(crate) fn new(caller: Option<Accepted>, route: usize) -> Self {
        Self { caller, undetermined: None, route }
    }

    /// By a public rule, no matter who the caller is.
    pub(crate) fn public(caller: Result<Accepted, Refusal>, route: usize) -> Self {
        match caller {
            Ok(caller) => Self::new(Some(caller), route),
            Err(why) => {
                let undetermined = Some(why).filter(|why| why.kind() == RefusalKind::Unavailable);
                Self { caller: None, undetermined, route }
            }
        }
    }

    /// Why it could not be told whose request it is, though its token may be good: the keys of the
    /// issuer were not to be had. An answer that is remembered for the token must not be made of
    /// it.
    pub fn undetermined(&self) -> Option<&Refusal> {
        self.undetermined.as_ref()
    }

    /// Whose request it is; `None` only where a public rule let it in without a good token.
    pub fn caller(&self) -> Option<&Accepted> {
        self.caller.as_ref()
    }

    /// Which rule let it in, counted from 0.
    pub fn route(&self) -> usize {
        self.route
    }
}

/// A request that is kept out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Whose request it is, where that was proven.
    pub caller: Option<Accepted>,
    /// How its one token was shown, good or not; a challenge names the same scheme.
    pub shown: Option<Scheme>,
    /// Why.
    pub refusal: Refusal,
}

impl Denial {
    /// Before any token was looked at.
    pub(crate) fn of(refusal: Refusal) -> Self {
        Self { caller: None, shown: None, refusal }
    }
}

/// Why a request is kept out. For the log; a caller is told no more than [`Refusal::kind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No credential that could be looked at.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The token is not accepted.
    #[error(transparent)]
    Token(#[from] VerifyError),
    /// The token is bound to a key, or was shown as if it were.
    #[error(transparent)]
    Dpop(DpopRefusal),
    /// The path can be read in two ways.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The method is not one.
    #[error("the method is not a plain HTTP method in capitals")]
    Method,
    /// No rule matches.
    #[error("no route rule matches the request")]
    NoRoute,
    /// The token does not meet the rule.
    #[error(transparent)]
    Unmet(#[from] Unmet),
    /// The API is not among those that are authorized (`authorized_apis`).
    #[error("the request is for an API that is not among the authorized ones")]
    OtherApi,
    /// IAM has no name for the path, so no policy could let in this request and no other.
    #[error(
        "the path cannot be named in a policy: it has a `$`, `*` or `?`, or its ARN is over 512 characters"
    )]
    Unnameable,
    /// The answer would be larger than AWS takes.
    #[error("the answer would be larger than API Gateway takes; hand on fewer claims (gate.context)")]
    TooLarge,
    /// The token has nothing to call the caller by.
    #[error("the token has no usable `{0}` to name the caller by")]
    NoPrincipal(String),
    /// A claim cannot be put into a header.
    #[error("the claim `{0}` cannot be put into a header")]
    UnfitForHeader(String),
    /// The request carries an identity header in another spelling.
    #[error("the request has an identity header in another spelling, such as with underscores")]
    SpoofedHeader,
    /// The caller is not a configured proxy.
    #[error("the connection is from no configured proxy (gate.proxies)")]
    UnknownProxy,
    /// The proxy did not say which request it asks about.
    #[error("the proxy does not say exactly one {0}")]
    Proxy(&'static str),
    /// What the proxy said of the request cannot be read.
    #[error(
        "the proxy's {0} is not UTF-8; the client has written bytes into its URL that belong percent-encoded"
    )]
    ProxyText(&'static str),
    /// Not an event that an authorizer can be asked with, or a damaged one.
    #[error("not an authorizer event: {0}")]
    Event(String),
}

/// What a caller may know about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// No usable credential: 401.
    Unauthenticated,
    /// A token that is not accepted: 401, `invalid_token`.
    InvalidToken,
    /// A DPoP proof that is not accepted: 401, with the error code of RFC 9449.
    InvalidProof,
    /// The caller is known, or does not matter, and may not: 403.
    Forbidden,
    /// Nobody can tell now, because an issuer's keys cannot be had: 503.
    Unavailable,
}

impl Refusal {
    /// What a caller may know.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::Credential(_) | Self::Event(_) => RefusalKind::Unauthenticated,
            Self::Token(why) => match why.fault() {
                Fault::Token => RefusalKind::InvalidToken,
                Fault::Keys => RefusalKind::Unavailable,
            },
            Self::Dpop(DpopRefusal::Proof(_)) => RefusalKind::InvalidProof,
            Self::Dpop(DpopRefusal::Full) => RefusalKind::Unavailable,
            Self::Dpop(
                DpopRefusal::BoundAsBearer
                | DpopRefusal::NotBound
                | DpopRefusal::UnknownBinding(_)
                | DpopRefusal::UnknownUrl
                | DpopRefusal::NotHere(_),
            ) => RefusalKind::InvalidToken,
            Self::Path(_)
            | Self::Method
            | Self::NoRoute
            | Self::Unmet(_)
            | Self::OtherApi
            | Self::Unnameable
            | Self::TooLarge
            | Self::NoPrincipal(_)
            | Self::UnfitForHeader(_)
            | Self::SpoofedHeader
            | Self::UnknownProxy
            | Self::Proxy(_)
            | Self::ProxyText(_) => RefusalKind::Forbidden,
        }
    }

    /// A stable name for programs, from a closed list.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Credential(why) => why.code(),
            Self::Token(why) => why.code(),
            Self::Dpop(why) => why.code(),
            Self::Path(why) => why.code(),
            Self::Method => "method_malformed",
            Self::NoRoute => "route_none",
            Self::Unmet(why) => why.code(),
            Self::OtherApi => "api_not_authorized",
            Self::Unnameable => "path_unnameable",
            Self::TooLarge => "answer_too_large",
            Self::NoPrincipal(_) => "principal_missing",
            Self::UnfitForHeader(_) => "claim_unfit_for_header",
            Self::SpoofedHeader => "identity_header_spoofed",
            Self::UnknownProxy => "proxy_unknown",
            Self::Proxy(_) | Self::ProxyText(_) => "proxy_request_unclear",
            Self::Event(_) => "event_unknown",
        }
    }
}
