//! Why a foreign token is not worth a token here. Told to the client, which has proved who it is;
//! no text of the token is in it.

use super::expression::EvaluationError;
use crate::{
    error::HIDDEN, refresh::RefreshError, revocation::RevocationsError, seen::SeenError, token_exchange,
    upstream::UpstreamError,
};
use countersign_jose::MAX_CLAIMS_DEPTH;
use countersign_verifier::{Fault, VerifyError};
use std::{fmt, time::Duration};

/// What a rule gives: the profile in place of access tokens, or none for those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind(pub(super) Option<&'static str>);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("access tokens"),
            Some(profile) => write!(f, "tokens of profile {profile}"),
        }
    }
}

/// What else the rules of a client give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Others(pub(super) Vec<Kind>);

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, kind) in self.0.iter().enumerate() {
            let separator = if at > 0 { "; " } else { "" };
            write!(f, "{separator}it has one that gives {kind}: ")?;
            match kind.0.and_then(token_exchange::type_of) {
                None => f.write_str("leave `requested_token_type` out")?,
                Some(wanted) => write!(f, "send requested_token_type={wanted}")?,
            }
        }
        Ok(())
    }
}

/// Who allows less than is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Narrower {
    /// The rule of the token that is shown.
    Rule,
    /// That token.
    Token,
    /// The rule of the actor.
    ActorRule,
    /// The token of the actor.
    ActorToken,
}

impl fmt::Display for Narrower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rule => "the rule (`exchange.scopes`)",
            Self::Token => "the token shown",
            Self::ActorRule => "the rule of the actor (`exchange.scopes`)",
            Self::ActorToken => "the actor token",
        })
    }
}

/// Why a token that was shown is not exchanged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("no rule of this client (`exchange`) takes tokens of this issuer")]
    NoRule,
    #[error("no rule of this client (`exchange`) gives {wanted} for what is shown; {instead}")]
    OtherKind {
        /// What was asked for.
        wanted: Kind,
        /// What there is, and how to ask for it.
        instead: Others,
    },
    #[error("no rule of this client (`exchange`) for what is shown has the name that `subject_issuer` says")]
    NoSuchRule,
    #[error(
        "several rules of this client ask providers, or the token could be a JWT: say by `subject_issuer`, the name of a rule, \
         which provider it is of"
    )]
    WhichRule,
    #[error(
        "another rule of this client (`exchange`) comes first and takes what is shown than the one that `subject_issuer` says"
    )]
    AnotherRule,
    #[error("what is shown: {0}")]
    Upstream(#[from] UpstreamError),
    #[error("the token shown is not accepted: {0}")]
    Refused(#[from] VerifyError),
    #[error("the token shown is not one of this issuer's that is valid now")]
    NotOwn,
    #[error("the token shown was minted for another audience than the rule takes (`own.audiences`)")]
    OwnAudience,
    #[error("the token shown was not minted by a grant, so it says nothing about whom it was given to")]
    NotGranted,
    #[error(
        "the token shown is about a client, which got it for itself; a rule takes such tokens of the clients that `own.clients` names"
    )]
    OfClient,
    #[error("the token shown was revoked")]
    Revoked,
    #[error("{0}")]
    Revocations(#[from] RevocationsError),
    #[error("the token shown is about nobody (`sub`)")]
    NoSubject,
    #[error("the token shown is valid for more than a day from now (`exp`)")]
    TooLong,
    #[error("the token shown expires before a token for it could be used (`exp`)")]
    Ending,
    #[error("the token shown has no name (`jti`), and the rule takes each one once")]
    NoJti,
    #[error("the token shown: {0}")]
    Seen(#[from] SeenError),
    #[error("the token shown is bound to a key (`cnf`); send a DPoP proof that this key has signed")]
    NotTheHolder,
    #[error("the token shown is not bound to a key (`cnf`), and the rule takes no others (`trust.dpop`)")]
    NotBound,
    #[error("{by} does not allow the scope {name}")]
    Scope {
        /// What was asked for, cut.
        name: String,
        /// Who does not allow it.
        by: Narrower,
    },
    #[error("the token shown is an ID-JAG, and the rule takes none (`trust.typ`)")]
    IdJag,
    #[error("the token shown is for another client (`client_id`)")]
    ForAnotherClient,
    #[error("the token shown is for others too: its one `aud` must be this issuer")]
    ForOthersToo,
    #[error("the token shown does not allow this audience, or its `resource` cannot be read")]
    Resource,
    #[error("the claims of the token shown do not meet the rule's condition (`when`)")]
    When,
    #[error("the rule's condition (`when`): {0}")]
    Condition(EvaluationError),
    #[error("the claim `{name}` of the rule (`claims`): {why}")]
    Claim { name: String, why: EvaluationError },
    #[error("the claims of the rule (`claims`) are longer than {0} bytes together")]
    ClaimsTooLong(usize),
    #[error("the claims of the rule (`claims`) are nested more deeply than {MAX_CLAIMS_DEPTH} levels")]
    ClaimsTooDeep,
    #[error(
        "the rule gives tokens to actors alone: send `actor_token` (or set `impersonate = true` in the rule)"
    )]
    NoActor,
    #[error("nobody may act by this rule: leave out `actor_token` (or say who may in `delegation`)")]
    NoDelegation,
    #[error("the actor token: {0}")]
    Actor(Box<ExchangeError>),
    #[error("the actor token is another client's; an actor that is a client of this issuer shows its own")]
    OtherClient,
    #[error("the actor token names actors of its own (`act`); the actor is who it is about")]
    ActorActs,
    #[error("there would be more actors in a row (`act`) than {0}")]
    TooManyActors(usize),
    #[error(
        "the actors in the token shown (`act`) cannot be read: each has a `sub`, and `act` for the one before"
    )]
    MalformedAct,
    #[error("the token shown does not let this actor act (`may_act`)")]
    MayNotAct,
    #[error(
        "name one authorization server of the rule (`id_jags`) as `audience`, and as `resource` APIs that it has there"
    )]
    Target,
    #[error("the rule (`exchange.meeting`) gives this user no token for this room")]
    Room,
    #[error("a room has 1 to 200 characters, and no `*` and no control characters among them")]
    RoomName,
    #[error("the rule gives tokens for more than one room: say which (`room`)")]
    WhichRoom,
    #[error("`{setting}` of the rule (`exchange.meeting`): {why}")]
    Meeting { setting: String, why: EvaluationError },
    #[error(
        "the rule (`exchange.upload`) gives no token for this destination, or has several: say which (`upload.to`)"
    )]
    Destination,
    #[error("{0}")]
    Family(RefreshError),
    #[error("the rule {0} would take it, and is only tried (`mode = \"audit\"`)")]
    OnlyTried(String),
}

impl ExchangeError {
    /// Whether it may be good, and only cannot be judged now.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(why) => why.fault() == Fault::Keys,
            Self::Seen(why) => why.is_temporary(),
            Self::Upstream(why) => why.is_temporary(),
            Self::Actor(why) => why.is_temporary(),
            Self::Revocations(_) => true,
            Self::Family(why) => why.is_temporary(),
            Self::NoRule
            | Self::OtherKind { .. }
            | Self::NoSuchRule
            | Self::WhichRule
            | Self::AnotherRule
            | Self::NotOwn
            | Self::OwnAudience
            | Self::NotGranted
            | Self::OfClient
            | Self::NotBound
            | Self::Revoked
            | Self::NoSubject
            | Self::TooLong
            | Self::Ending
            | Self::NoJti
            | Self::NotTheHolder
            | Self::Scope { .. }
            | Self::IdJag
            | Self::ForAnotherClient
            | Self::ForOthersToo
            | Self::Resource
            | Self::When
            | Self::Condition(_)
            | Self::Claim { .. }
            | Self::ClaimsTooLong(_)
            | Self::ClaimsTooDeep
            | Self::NoActor
            | Self::NoDelegation
            | Self::OtherClient
            | Self::ActorActs
            | Self::TooManyActors(_)
            | Self::MalformedAct
            | Self::MayNotAct
            | Self::Target
            | Self::Room
            | Self::RoomName
            | Self::WhichRoom
            | Self::Meeting { .. }
            | Self::Destination
            | Self::OnlyTried(_) => false,
        }
    }

    /// What a caller is told. It may be anybody who is a public client, so where something else
    /// than the token is at fault, what the store, the network or a server of keys said of it is
    /// not repeated.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Upstream(why) => format!("what is shown: {}", why.description()),
            Self::Actor(why) => format!("the actor token: {}", why.description()),
            why if why.is_temporary() => HIDDEN.to_owned(),
            why => why.to_string(),
        }
    }

    /// Whether the rule has nothing to do with such a token, so that another rule's refusal says
    /// more.
    pub(super) fn is_of_another_source(&self) -> bool {
        matches!(self, Self::Refused(VerifyError::UnknownIssuer) | Self::NotOwn)
    }

    /// Whether no rule that comes later is asked.
    pub(super) fn ends_the_search(&self) -> bool {
        *self == Self::AnotherRule || self.is_temporary()
    }

    /// Whether it is the scope that is refused, the token being fine.
    pub(crate) fn is_scope(&self) -> bool {
        matches!(self, Self::Scope { .. })
    }

    /// When to try again, where a provider says so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Upstream(why) => why.retry_after(),
            _ => None,
        }
    }

    /// Whether it is the rate limit of a provider.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self, Self::Upstream(why) if why.is_limit())
    }
}
