//! Rules of exchange: which client may show whose tokens, and what it gets for them at most.
//!
//! A rule (`rule`) trusts one source for this purpose alone: what opens the gate is not thereby
//! worth a token here. The source (`source`) judges what is shown and says what it is (`shown`);
//! everything after that is the same for all of them (`judge`): the condition and the claims of the
//! rule (`terms`, in `expression`s), who acts (`delegation`), lifetime and scope (`wanted`). The
//! tokens of a source must be made for this issuer (or whom the rule names), be about somebody, and
//! expire within a day. The subject of what is minted is the rule's provider, a colon and the
//! token's `sub`: no two providers, and no client, can have the same. Rules that are too wide are
//! found by `lint` at the start; `explain` says what a rule makes of a token. Decisions 0040, 0047
//! and 0048.

mod delegation;
mod error;
mod explain;
mod expression;
mod id_jag;
mod judge;
mod lint;
mod meeting;
mod rule;
mod shown;
mod source;
mod terms;
mod wanted;

pub use delegation::{Delegation, MAX_ACTORS};
pub(crate) use error::ExchangeError;
pub use explain::{AskedCode, Asking, Explained};
pub use expression::{Expression, ExpressionError, MAX_EXPRESSION};
pub(crate) use id_jag::PROFILE as ID_JAG_PROFILE;
pub use id_jag::{ID_JAG_TYP, IdJagTarget};
pub(crate) use judge::{Judging, Tokens};
pub use lint::{Finding, Severity, SourceFacts, lint, lint_meeting};
pub use meeting::{MeetingTerms, UserMember};
pub use rule::{ExchangeRule, Holder, Impersonation, Mode, Provider, ProviderError, Refreshes, RuleSettings};
pub use source::{Once, OwnTokens, RuleSource};
pub(crate) use source::{Presented, PresentedKind};
pub use terms::{RESERVED, Terms};

use crate::{
    refresh::Granting,
    request::{Asked, Refresh, Request},
    target, token_exchange,
};
use countersign_issuer::{GrantType, Judged, Scope};
use judge::{Exchanged, Silent, judge};
use wanted::{Holds, Wanted};

/// What a token is worth to the client that shows it.
pub(crate) async fn ask(
    request: &Request<'_>,
    grant: GrantType,
    tokens: &Tokens<'_>,
    scope: Option<Scope>,
) -> Result<Asked, ExchangeError> {
    let form = request.form;
    let texts = |name: &str| form.all(name).map(str::to_owned).collect();
    let wanted = Wanted {
        client: request.client,
        own: request.own,
        scopes: request.scopes,
        grant,
        profile: if grant == GrantType::TokenExchange { token_exchange::profile(form) } else { None },
        scope,
        audience: target::audience(form).map_err(|_| ExchangeError::Resource)?,
        audiences: texts("audience"),
        resources: texts("resource"),
        room: form.get("room"),
        destination: request.upload.and_then(|upload| upload.to.as_deref()),
        holds: Holds::Key(request.jkt()),
        backdate: request.backdate,
    };
    let exchanged = accepted(request, &wanted, tokens).await?;
    let asked = wanted.of_mint(&exchanged)?;
    if !exchanged.rule.id_jags().is_empty() {
        return Ok(asked);
    }
    let bound = Request { audience: asked.audience.as_ref().or(request.audience), ..*request };
    let refresh = family(&exchanged, &bound, grant, asked.scope.as_ref())?;
    Ok(Asked { refresh, ..asked })
}

/// What the first rule of this client that accepts a token says of it. It is used up later, when
/// nothing else refuses the request (`spend`).
async fn accepted<'r>(
    request: &Request<'r>,
    wanted: &Wanted<'_>,
    tokens: &Tokens<'_>,
) -> Result<Exchanged<'r>, ExchangeError> {
    let Request { rules, client, issuer, revocations, now, .. } = *request;
    let judging = Judging { rules, client, grant: wanted.grant, issuer, revocations, now };
    let mut refusal = ExchangeError::NoRule;
    for rule in wanted.rules(rules, &tokens.subject)? {
        let outcome = judge(rule, &judging, tokens, &mut Silent).await;
        if rule.mode() == Mode::Audit {
            record(request, rule, &outcome);
            if outcome.is_ok() {
                refusal = ExchangeError::OnlyTried(rule.name().to_owned());
            }
            continue;
        }
        match outcome {
            Err(why) if why.is_of_another_source() => {}
            // A rule that cannot judge now may be narrower than the next one.
            Err(why) if why.ends_the_search() => return Err(why),
            Err(why) => refusal = why,
            Ok(exchanged) => return wanted.settled(exchanged),
        }
    }
    Err(wanted.or_of_another_kind(rules, refusal))
}

/// The rules that are tried. A provider is shown nothing that could be another's: what is opaque
/// goes to the one that is meant, or to the only one there is; what could be a JWT to none that is
/// not meant by name.
fn select<'r>(
    rules: impl Iterator<Item = &'r ExchangeRule>,
    presented: &Presented<'_>,
) -> Result<Vec<&'r ExchangeRule>, ExchangeError> {
    let (upstream, verified): (Vec<_>, Vec<_>) = rules.partition(|rule| rule.source().is_upstream());
    let upstream = if presented.is_kind_of_upstream() { upstream } else { Vec::new() };
    let verified = if presented.is_code() { Vec::new() } else { verified };
    if let Some(name) = presented.issuer {
        let is_named = |rule: &&ExchangeRule| rule.name() == name;
        let named: Vec<_> = upstream.into_iter().filter(is_named).collect();
        // Among rules that verify, the caller does not choose: the first that accepts decides, and
        // has to be the one meant.
        return match (named.len(), verified.iter().any(is_named)) {
            (0, true) => Ok(verified),
            (0, false) => Err(ExchangeError::NoSuchRule),
            (1, _) => Ok(named),
            (_, _) => Err(ExchangeError::WhichRule),
        };
    }
    match (presented.is_opaque(), upstream.len(), verified.is_empty()) {
        (true, 1, _) => Ok(upstream),
        (true, 0, _) | (false, _, false) | (false, 0, true) => Ok(verified),
        (true, _, _) | (false, _, true) => Err(ExchangeError::WhichRule),
    }
}

/// Records what a rule that is only tried says. A token of another source is nothing to it.
fn record(request: &Request<'_>, rule: &ExchangeRule, outcome: &Result<Exchanged<'_>, ExchangeError>) {
    let judged = match outcome {
        Err(why) if why.is_of_another_source() => return,
        Err(why) => Judged { rule: rule.name(), refusal: Some(why.to_string()), ..Judged::default() },
        Ok(exchanged) => Judged {
            rule: rule.name(),
            subject: Some(&exchanged.subject),
            actors: &exchanged.actors,
            refusal: None,
        },
    };
    request.issuer.judged(&request.record, &judged);
}

/// The family of refresh tokens that begins with what is minted, where rule and client say so.
fn family(
    exchanged: &Exchanged<'_>,
    request: &Request<'_>,
    grant: GrantType,
    scope: Option<&Scope>,
) -> Result<Refresh, ExchangeError> {
    let has_grant = request.own.grants.contains(&GrantType::RefreshToken);
    let gives = has_grant && exchanged.rule.gives_refresh_tokens();
    let (Some(audience), Some(families)) = (request.audience.filter(|_| gives), request.families) else {
        return Ok(Refresh::No);
    };
    let remembered = |rule: &ExchangeRule| families.remembered(rule.trust()).map_err(ExchangeError::Family);
    let of_actor = exchanged.actor.as_ref().and_then(|actor| actor.rule.longest());
    let longest = [exchanged.rule.longest(), of_actor].into_iter().flatten().min();
    Ok(Refresh::Begin(Box::new(Granting {
        client: request.client.to_owned(),
        provider: exchanged.rule.provider().to_owned(),
        trust: remembered(exchanged.rule)?,
        grant: grant.name().to_owned(),
        rule: Some(exchanged.rule.name().to_owned()),
        subject: exchanged.subject.clone(),
        scope: scope.map(|scope| scope.as_str().to_owned()),
        audiences: audience.names().to_vec(),
        jkt: request.jkt().filter(|_| request.own.binds_refresh_tokens()).map(str::to_owned),
        claims: exchanged.claims.clone(),
        actors: exchanged.actors.clone(),
        actor_rule: exchanged.actor.as_ref().map(|actor| actor.rule.name().to_owned()),
        actor_trust: exchanged.actor.as_ref().map(|actor| remembered(actor.rule)).transpose()?,
        longest: longest.map(|longest| longest.as_secs()),
    })))
}
