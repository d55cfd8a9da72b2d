//! `refresh_token` (RFC 6749 §6, RFC 9700 §4.14): a family of tokens, of which each is used for the next one.
//!
//! `token` is the text and how it follows from the one before, `family` what a family is and may become, `stored` the
//! only code that reads and writes one. What a family was granted only narrows: the scope of a request is within that of
//! the family, the rule and the client as they are now, and so is the audience. A family is granted by a rule of exchange
//! that says so (`refresh = true`), to a client that has this grant, and dies with either.
//! Pinned by `conformance`, which the tests of every store engine call, and by `tests/e2e/test_refresh.py`.

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod family;
mod stored;
mod token;

pub use family::RefreshLimits;
pub(crate) use {
    error::{PAUSE, RefreshError},
    family::Granting,
    stored::{Begun, Families, Found, Looked},
    token::{PREFIX as REFRESH_PREFIX, RefreshToken},
};

use crate::{
    dpop,
    error::TokenError,
    exchange::ExchangeRule,
    request::{Asked, Refresh, Request},
};
use countersign_issuer::{AudienceRequest, Scope};

/// What a refresh token is worth to the client that shows it.
pub(crate) async fn ask(
    request: &Request<'_>,
    audience: Option<AudienceRequest>,
) -> Result<Asked, TokenError> {
    let shown = request.form.require("refresh_token")?;
    // What is malformed turns no token.
    let scope = request.scope()?;
    let token = RefreshToken::parse(shown).ok_or(RefreshError::Unknown)?;
    let families = request.families.ok_or(RefreshError::NoRule)?;
    let found = match families.look(request.client, &token, request.now).await? {
        Looked::Worth(found) => found,
        Looked::Replay(_) => {
            // What ends a family needs a proof that was not used before, as everything else does.
            dpop::take(request.proof, request.seen).await?;
            families.find(request.client, &token, request.now).await?
        }
    };
    let granting = &found.family.granting;
    if granting.jkt.is_some() && granting.jkt.as_deref() != request.jkt() {
        return Err(RefreshError::OtherKey.into());
    }
    let revoked = request.revocations.whole(request.now).await?;
    let (subject, client) = (Some(granting.subject.as_str()), Some(request.client));
    let family = token.family.to_string();
    if revoked.revokes_family(&family) || revoked.revokes_issued(subject, client, Some(found.family.began)) {
        return Err(RefreshError::Revoked.into());
    }
    let rule = granted_by(granting, request.rules).ok_or(RefreshError::NoRule)?;
    let actor_rule = granting.actor_rule.as_ref().and_then(|name| rule.actor_rule(name, request.rules));
    let allows = |name: &str| {
        let actor = actor_rule.is_none_or(|actor| actor.scopes().allows(name));
        actor && rule.scopes().allows(name) && request.scopes.allows(name)
    };
    let granted = granting.scope();
    let scope = match (scope, granted) {
        (Some(asked), Some(granted))
            if asked.names().all(|name| granted.names().any(|own| own == name) && allows(name)) =>
        {
            Some(asked)
        }
        (Some(_), _) => return Err(RefreshError::Scope.into()),
        (None, None) => None,
        // What rule and client have lost since is lost here too; all of it is no scope at all.
        (None, Some(granted)) => {
            let kept: Vec<&str> = granted.names().filter(|name| allows(name)).collect();
            Some(Scope::parse(&kept.join(" ")).map_err(|_| RefreshError::Scope)?)
        }
    };
    Ok(Asked {
        subject: Some(granting.subject.clone()),
        scope,
        longest: [rule.longest(), actor_rule.and_then(|actor| actor.longest()), granting.longest()]
            .into_iter()
            .flatten()
            .min(),
        claims: granting.claims(|name| rule.gives(name)),
        actors: granting.actors.clone(),
        rule: Some(rule.name().to_owned()),
        audience: Some(granting.audience(audience).ok_or(RefreshError::Audience)?),
        refresh: Refresh::Turn(Box::new(found), token),
        ..Asked::default()
    })
}

/// The rule by which a family was granted, if it would grant it still. A family that does not know its rule's name has to
/// have one alone: which of several it was, nobody can tell.
fn granted_by<'r>(family: &Granting, rules: &'r [ExchangeRule]) -> Option<&'r ExchangeRule> {
    let mut fitting = rules.iter().filter(|rule| rule.refreshes(family, rules));
    let first = fitting.next()?;
    (family.rule.is_some() || fitting.next().is_none()).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{
        Holder, Impersonation, Mode, OwnTokens, Refreshes, RuleSettings, RuleSource, Terms,
    };
    use countersign_issuer::GrantType;

    fn rule(name: &str) -> ExchangeRule {
        ExchangeRule::new(RuleSettings {
            name: name.to_owned(),
            clients: ["app".to_owned()].into(),
            grants: [GrantType::TokenExchange].into(),
            mode: Mode::Enforce,
            provider: None,
            source: RuleSource::Own(OwnTokens {
                audiences: ["api://theirs".to_owned()].into(),
                clients: [].into(),
            }),
            terms: Terms::default(),
            scopes: std::iter::empty::<String>().collect(),
            longest: None,
            refresh: Refreshes::ByClients,
            impersonation: Impersonation::Allowed,
            delegation: None,
            holder: Holder::Client,
            id_jags: Vec::new(),
            meeting: None,
            upload: None,
        })
        .unwrap()
    }

    #[test]
    fn a_family_that_does_not_know_its_rule_is_refreshed_by_the_only_one_that_fits() {
        let family = |named: Option<&str>| Granting {
            client: "app".to_owned(),
            provider: String::new(),
            trust: rule("narrow").trust().to_owned(),
            grant: GrantType::TokenExchange.name().to_owned(),
            rule: named.map(str::to_owned),
            subject: "login:alice".to_owned(),
            scope: None,
            audiences: vec!["api://default".to_owned()],
            jkt: None,
            claims: None,
            actors: Vec::new(),
            actor_rule: None,
            actor_trust: None,
            longest: None,
        };
        let rules = [rule("narrow"), rule("wide")];
        let of = |granting, rules| granted_by(&granting, rules).map(ExchangeRule::name);
        assert_eq!(of(family(None), &rules[..1]), Some("narrow"));
        assert_eq!(of(family(None), &rules), None);
        assert_eq!(of(family(Some("wide")), &rules), Some("wide"));
        assert_eq!(of(family(Some("other")), &rules), None);
    }
}
