//! What a token is worth by one rule, step by step, and by the rules of a client, in order.
//!
//! Nothing is spent while a rule is tried: the names of tokens that are taken once are taken when a
//! rule has accepted them. A rule that is only tried (`mode = "audit"`) takes the same steps, is
//! recorded, and takes nothing. `exchange --explain` takes them too, and listens.

use super::{
    delegation::{MAX_ACTORS, Party, chain, may_act},
    error::{ExchangeError, Narrower},
    rule::{ExchangeRule, Impersonation},
    shown::Shown,
    source::Presented,
};
use crate::{revocation::Revocations, revoke::client_in, spend::SingleUse};
use countersign_issuer::{GrantType, Issuer};
use countersign_jose::{MAX_CLAIMS_DEPTH, Timestamp, json::Object};
use std::time::Duration;

/// Who shows something, to whom, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judging<'a> {
    pub(crate) rules: &'a [ExchangeRule],
    pub(crate) client: &'a str,
    pub(crate) grant: GrantType,
    pub(crate) issuer: &'a Issuer,
    pub(crate) revocations: &'a Revocations,
    pub(crate) now: Timestamp,
}

/// The tokens of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens<'a> {
    pub(crate) subject: Presented<'a>,
    pub(crate) actor: Option<Presented<'a>>,
}

/// What a token is worth by a rule.
#[derive(Debug)]
pub(crate) struct Exchanged<'r> {
    pub(super) rule: &'r ExchangeRule,
    /// Whom it is about, with the provider.
    pub(super) subject: String,
    /// The longest life of what is minted for it: never beyond its own end, nor that of its actor.
    pub(super) longest: Duration,
    /// Claims of the rule, as a JSON object.
    pub(super) claims: Option<String>,
    /// Who acts, the one that acts now first.
    pub(super) actors: Vec<String>,
    pub(super) shown: Shown,
    pub(super) actor: Option<Actor<'r>>,
}

/// Who acts now, as a rule has judged it.
#[derive(Debug)]
pub(super) struct Actor<'r> {
    pub(super) rule: &'r ExchangeRule,
    name: String,
    pub(super) shown: Shown,
}

impl Exchanged<'_> {
    /// The name of the token of who acts, where that is taken once.
    pub(super) fn actor_single(&self) -> Option<SingleUse> {
        self.actor.as_ref().and_then(|actor| actor.shown.single.clone())
    }

    /// Whether the rule has this scope, and the token and the actor too, where theirs bound it.
    pub(super) fn allows(&self, grant: GrantType, name: &str) -> bool {
        self.narrower(grant, name).is_none()
    }

    /// Who does not allow this scope, if somebody does not.
    pub(super) fn narrower(&self, grant: GrantType, name: &str) -> Option<Narrower> {
        let has = |scopes: &Vec<String>| scopes.iter().any(|scope| scope == name);
        let shown = match (grant, &self.shown.scopes) {
            // They say what the token is good for here, by whichever grant it is shown.
            (GrantType::TokenExchange | GrantType::JwtBearer, shown)
                if self.rule.source().has_scopes_of_ours() =>
            {
                shown.as_ref().is_some_and(has)
            }
            // RFC 8693: a grant only narrows.
            (GrantType::TokenExchange, Some(shown)) => has(shown),
            // An assertion's scopes are names of its issuer's own, about who it is made for.
            (GrantType::TokenExchange, None) | (GrantType::JwtBearer, _) => true,
            // Nothing is shown with these.
            (GrantType::ClientCredentials | GrantType::RefreshToken, _) => false,
        };
        let actor = self.actor.as_ref();
        let by_rule = actor.is_none_or(|actor| actor.rule.scopes().allows(name));
        let by_token = actor.is_none_or(|actor| actor.shown.scopes.as_ref().is_none_or(has));
        let all = [
            (self.rule.scopes().allows(name), Narrower::Rule),
            (shown, Narrower::Token),
            (by_rule, Narrower::ActorRule),
            (by_token, Narrower::ActorToken),
        ];
        all.into_iter().find(|(allows, _)| !allows).map(|(_, who)| who)
    }
}

/// What is told of the steps that a token has taken.
pub(super) trait Steps: Send {
    /// A step that was passed.
    fn passed(&mut self, step: impl FnOnce() -> String);
}

/// Nobody listens.
pub(super) struct Silent;

impl Steps for Silent {
    fn passed(&mut self, _: impl FnOnce() -> String) {}
}

impl Steps for Vec<String> {
    fn passed(&mut self, step: impl FnOnce() -> String) {
        self.push(step());
    }
}

/// What a token is worth by one rule.
pub(super) async fn judge<'r, S: Steps>(
    rule: &'r ExchangeRule,
    judging: &Judging<'r>,
    tokens: &Tokens<'_>,
    steps: &mut S,
) -> Result<Exchanged<'r>, ExchangeError> {
    let shown = rule.source().judge(&tokens.subject, judging).await?;
    if rule.source().own().is_some_and(|own| !own.takes(&shown.subject)) {
        return Err(ExchangeError::OfClient);
    }
    let subject = rule.named(&shown.subject);
    steps.passed(|| format!("the token is accepted: of {}, about {subject}", shown.trust));
    rule.terms().admit(&shown.claims)?;
    if let Some(when) = &rule.terms().when {
        steps.passed(|| format!("`when` holds: {}", when.text()));
    }
    let claims = rule.terms().mapped(&shown.claims)?;
    if let Some(claims) = &claims {
        steps.passed(|| format!("`claims` give {claims}"));
    }
    let (actor, actors) = match judging.grant {
        GrantType::TokenExchange => acting(rule, judging, tokens, &shown, steps).await?,
        // An assertion is its subject's own word to this issuer (RFC 7523), so nobody acts beside
        // whom it names.
        _ => (None, alone(rule, judging, &claims_in(&shown)?)?),
    };
    let left = |shown: &Shown| shown.ends.map(|ends| ends.since(judging.now));
    let of_actor = actor.as_ref().map(|actor| [left(&actor.shown), actor.rule.longest()]);
    let bounds = [left(&shown), rule.longest()].into_iter().chain(of_actor.into_iter().flatten());
    // A source that does not say when its tokens end has a rule that says how long what is minted
    // lives.
    let longest = bounds.flatten().min().ok_or(ExchangeError::TooLong)?;
    if tokens.subject.issuer.is_some_and(|meant| meant != rule.name()) {
        return Err(ExchangeError::AnotherRule);
    }
    Ok(Exchanged { rule, subject, longest, claims, actors, shown, actor })
}

fn claims_in(shown: &Shown) -> Result<Object<'_>, ExchangeError> {
    Object::parse_text(&shown.claims, MAX_CLAIMS_DEPTH).map_err(|_| ExchangeError::MalformedAct)
}

/// Who has acted where nobody acts now, if the subject token lets the client have it alone.
fn alone(
    rule: &ExchangeRule,
    judging: &Judging<'_>,
    claims: &Object<'_>,
) -> Result<Vec<String>, ExchangeError> {
    let issuer = judging.issuer.settings().issuer.as_str();
    may_act(claims, Party::Client { issuer, id: judging.client })?;
    chain(claims, |subject| rule.named(subject))
}

/// Who acts, as far as the rule and the subject token let anyone.
async fn acting<'r, S: Steps>(
    rule: &'r ExchangeRule,
    judging: &Judging<'r>,
    tokens: &Tokens<'_>,
    shown: &Shown,
    steps: &mut S,
) -> Result<(Option<Actor<'r>>, Vec<String>), ExchangeError> {
    let claims = claims_in(shown)?;
    let before = chain(&claims, |subject| rule.named(subject))?;
    let Some(presented) = &tokens.actor else {
        if rule.impersonation() == Impersonation::Refused {
            return Err(ExchangeError::NoActor);
        }
        let before = alone(rule, judging, &claims)?;
        steps.passed(|| "no actor: `impersonate = true`".to_owned());
        return Ok((None, before));
    };
    let delegation = rule.delegation().ok_or(ExchangeError::NoDelegation)?;
    let actor = actor(&delegation.actors, judging, presented).await.map_err(|why| match why {
        why @ (ExchangeError::OtherClient | ExchangeError::ActorActs) => why,
        why => ExchangeError::Actor(Box::new(why)),
    })?;
    {
        let own = claims_in(&actor.shown)?;
        may_act(&claims, Party::Holder(&own))?;
    }
    if before.len() >= delegation.depth.min(MAX_ACTORS) {
        return Err(ExchangeError::TooManyActors(delegation.depth));
    }
    let actors: Vec<String> = std::iter::once(actor.name.clone()).chain(before).collect();
    steps.passed(|| format!("{} acts, by rule {}", actors.join(", for it "), actor.rule.name()));
    Ok((Some(actor), actors))
}

/// Judges an actor token by the rules for actors, in the order they are named.
async fn actor<'r>(
    names: &[String],
    judging: &Judging<'r>,
    presented: &Presented<'_>,
) -> Result<Actor<'r>, ExchangeError> {
    let mut refusal = ExchangeError::NoRule;
    for rule in judging
        .rules
        .iter()
        .filter(|rule| rule.judges_actors() && names.iter().any(|name| name == rule.name()))
    {
        match actor_by(rule, judging, presented).await {
            Ok(actor) => return Ok(actor),
            Err(why) if why.is_of_another_source() => {}
            Err(why) if why.ends_the_search() => return Err(why),
            Err(why) => refusal = why,
        }
    }
    Err(refusal)
}

async fn actor_by<'r>(
    rule: &'r ExchangeRule,
    judging: &Judging<'r>,
    presented: &Presented<'_>,
) -> Result<Actor<'r>, ExchangeError> {
    let shown = rule.source().judge(presented, judging).await?;
    rule.terms().admit(&shown.claims)?;
    {
        let claims = claims_in(&shown)?;
        if claims.get("act").is_some() {
            return Err(ExchangeError::ActorActs);
        }
        // Who has seen another client's token is not that client.
        if rule.source().own().is_some() && client_in(&claims).as_deref() != Some(judging.client) {
            return Err(ExchangeError::OtherClient);
        }
    }
    Ok(Actor { rule, name: rule.named(&shown.subject), shown })
}
