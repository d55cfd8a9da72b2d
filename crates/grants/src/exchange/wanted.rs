//! What a client asks for by the token that it shows: a request, or what `exchange --explain` is
//! asked about.
//!
//! Everything that is decided about the two is decided here, so that an explanation says what
//! `POST /token` would do: which rules are tried, who holds the token's key, the meeting or the
//! upload, scope, audience, and what the mint is asked for. Pinned by tests/suite/explain_agrees.rs.

use super::{
    error::{ExchangeError, Kind, Others},
    id_jag,
    judge::Exchanged,
    rule::{ExchangeRule, Holder, Mode},
    select,
    source::Presented,
};
use crate::{request::Asked, settings::ClientGrants, spend::Spends};
use countersign_issuer::{AudienceRequest, GrantType, Names, Scope};
use countersign_verifier::dpop::{Binding, UnknownBinding};
use std::{collections::BTreeSet, time::Duration};

/// The most characters of a scope that a refusal names.
const SHOWN_SCOPE: usize = 64;

/// What is asked for beside the tokens.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) client: &'a str,
    pub(super) own: &'a ClientGrants,
    /// The scopes of the client's policy.
    pub(super) scopes: &'a Names,
    pub(super) grant: GrantType,
    /// The profile of what is wanted in place of an access token.
    pub(super) profile: Option<&'static str>,
    pub(super) scope: Option<Scope>,
    /// For whom, whatever it was called.
    pub(super) audience: Option<AudienceRequest>,
    /// What was called `audience`.
    pub(super) audiences: Vec<String>,
    /// What was called `resource`.
    pub(super) resources: Vec<String>,
    pub(super) room: Option<&'a str>,
    /// To which destination somebody would upload.
    pub(super) destination: Option<&'a str>,
    pub(super) holds: Holds<'a>,
    /// How far in the past a token's life begins.
    pub(super) backdate: Duration,
}

/// The key that the client proves to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds<'a> {
    /// The one with this thumbprint, or none.
    Key(Option<&'a str>),
    /// Whichever is needed: nobody is here to prove anything.
    Whichever,
}

impl Wanted<'_> {
    /// The rules that are tried, in order.
    pub(super) fn rules<'r>(
        &self,
        rules: &'r [ExchangeRule],
        presented: &Presented<'_>,
    ) -> Result<Vec<&'r ExchangeRule>, ExchangeError> {
        let own = rules.iter().filter(|rule| rule.is_for(self.client, self.grant));
        let of_kind = own.filter(|rule| rule.profile() == self.profile);
        select(of_kind, presented).map_err(|why| self.or_of_another_kind(rules, why))
    }

    /// What no rule takes, a rule that gives something else may take: then what to ask for is said.
    pub(super) fn or_of_another_kind(&self, rules: &[ExchangeRule], why: ExchangeError) -> ExchangeError {
        if !matches!(why, ExchangeError::NoRule | ExchangeError::NoSuchRule) {
            return why;
        }
        let minting =
            |rule: &&ExchangeRule| rule.is_for(self.client, self.grant) && rule.mode() == Mode::Enforce;
        let kinds: BTreeSet<Kind> = rules
            .iter()
            .filter(minting)
            .map(|rule| Kind(rule.profile()))
            .filter(|kind| kind.0 != self.profile)
            .collect();
        if kinds.is_empty() {
            return why;
        }
        let instead = Others(kinds.into_iter().collect());
        ExchangeError::OtherKind { wanted: Kind(self.profile), instead }
    }

    /// What a rule that has accepted a token makes of it for this client: the rule has decided,
    /// whatever comes of it.
    pub(super) fn settled<'r>(&self, mut exchanged: Exchanged<'r>) -> Result<Exchanged<'r>, ExchangeError> {
        self.check_holder(exchanged.rule, &exchanged.shown.claims)?;
        if let Some(meeting) = exchanged.rule.meeting() {
            exchanged.claims = Some(meeting.data(&exchanged, self.room)?);
        }
        if let Some(upload) = exchanged.rule.upload() {
            upload.destination(self.destination)?;
        }
        if let Some(actor) = &exchanged.actor {
            let holds = self.check_holder(actor.rule, &actor.shown.claims);
            holds.map_err(|why| ExchangeError::Actor(Box::new(why)))?;
        }
        Ok(exchanged)
    }

    /// Of a token that is bound to a key (RFC 7800), that the client holds it, as the request's
    /// DPoP proof says. Where the rule says so by name, a subject token may be bound to the key of
    /// a third party, who has shown it to the client; but an assertion may not, nor what is shown
    /// by a client that anyone can be.
    fn check_holder(&self, rule: &ExchangeRule, claims: &str) -> Result<(), ExchangeError> {
        match (self.holder(rule), Binding::in_claims(claims.as_bytes())) {
            (Holder::Other, _) | (Holder::Client, Ok(None)) => Ok(()),
            (Holder::ClientAlways, Ok(None)) => Err(ExchangeError::NotBound),
            (_, Ok(Some(binding))) if self.holds.is(|jkt| binding.is_to(jkt)) => Ok(()),
            (_, Ok(Some(_)) | Err(UnknownBinding)) => Err(ExchangeError::NotTheHolder),
        }
    }

    /// Whose key a token of this rule may be bound to, if this client shows it.
    pub(super) fn holder(&self, rule: &ExchangeRule) -> Holder {
        if self.grant == GrantType::JwtBearer || self.own.is_public() {
            rule.holder().without_others()
        } else {
            rule.holder()
        }
    }

    /// What the mint is asked for. No family begins.
    pub(super) fn of_mint(&self, exchanged: &Exchanged<'_>) -> Result<Asked, ExchangeError> {
        if exchanged.longest <= self.backdate {
            return Err(ExchangeError::Ending);
        }
        let actor = exchanged.actor.as_ref().and_then(|actor| actor.shown.token.clone());
        let (mut audience, mut default) = (None, self.own.default_scope.clone());
        if exchanged.rule.takes_id_jags() {
            audience = id_jag::audience(&exchanged.shown, self.audience.clone())?;
            default = id_jag::scope(&exchanged.shown, self.scopes);
        }
        let scope = exchanged.scope(self.grant, self.scope.clone(), default.as_ref())?;
        let profile = exchanged.rule.profile();
        if profile.is_some() && !exchanged.actors.is_empty() {
            // None of them has a place for who acts.
            return Err(ExchangeError::TooManyActors(0));
        }
        let asked = Asked {
            subject: Some(exchanged.subject.clone()),
            scope,
            longest: Some(exchanged.longest),
            profile,
            rule: Some(exchanged.rule.name().to_owned()),
            shown: [exchanged.shown.token.clone(), actor],
            spends: Spends { subject: exchanged.shown.single.clone(), actor: exchanged.actor_single() },
            ..Asked::default()
        };
        if !exchanged.rule.id_jags().is_empty() {
            let (audience, id_jag) = id_jag::issue(exchanged.rule.id_jags(), self)?;
            let longest = Some(exchanged.longest.min(id_jag::LIFETIME));
            return Ok(Asked { longest, audience: Some(audience), id_jag: Some(id_jag), ..asked });
        }
        let upload = exchanged.rule.upload();
        let destination = upload.map(|upload| upload.destination(self.destination)).transpose()?;
        Ok(Asked {
            audience,
            claims: exchanged.claims.clone(),
            actors: exchanged.actors.clone(),
            destination: destination.map(str::to_owned),
            ..asked
        })
    }
}

impl Holds<'_> {
    fn is(self, is_to: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Key(jkt) => jkt.is_some_and(is_to),
            Self::Whichever => true,
        }
    }
}

impl Exchanged<'_> {
    /// The scope: what is asked for, if all of it is allowed; else what is allowed of the client's
    /// default.
    fn scope(
        &self,
        grant: GrantType,
        asked: Option<Scope>,
        default: Option<&Scope>,
    ) -> Result<Option<Scope>, ExchangeError> {
        match asked {
            Some(asked) => {
                let refused = asked.names().find_map(|name| self.narrower(grant, name).map(|by| (name, by)));
                match refused {
                    None => Ok(Some(asked)),
                    Some((name, by)) => {
                        Err(ExchangeError::Scope { name: name.chars().take(SHOWN_SCOPE).collect(), by })
                    }
                }
            }
            None => Ok(default.and_then(|default| {
                let kept: Vec<&str> = default.names().filter(|name| self.allows(grant, name)).collect();
                Scope::parse(&kept.join(" ")).ok()
            })),
        }
    }
}
