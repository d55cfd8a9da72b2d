//! The rules of exchange of the configuration: who may show whose tokens for what.
//!
//! A rule has exactly one source. What would take more tokens than its author can have meant is
//! refused, and so is a rule that nobody could use: its clients must have its grants, and what it
//! gives must be in their policies. Expressions are read here, and looked at by the linter of
//! `countersign-grants`; what it warns of is told and starts all the same.

use super::{
    grants::{BY_RULE, REFRESH},
    id_jags, meetings,
    raw::{RawClient, RawConfig, RawExchange, RawMode},
    subjects, uploads,
    upstream::{RawUpstream, check_redirects, upstream},
    values::{at, parse, positive},
};
use crate::failure::{Failure, Outcome, configuration};
use countersign_gateway::settings::{RawTrust, Surroundings, trusted};
use countersign_grants::{
    Delegation, ExchangeRule, Expression, Finding, Holder, ID_JAG_TYP, Impersonation, MAX_ACTORS, Mode, Once,
    OwnTokens, RESERVED, Refreshes, RuleSettings, RuleSource, Severity, SourceFacts, Terms, lint,
    lint_meeting,
};
use countersign_issuer::{GrantType, IssuerUrl, TOKEN_PATH};
use countersign_verifier::TrustedIssuer;
use serde_json::Value;
use std::collections::BTreeSet;

const EXCHANGE: &str = GrantType::TokenExchange.name();
/// The most claims that one rule gives.
const MAX_CLAIMS: usize = 32;
/// Whose tokens anyone with an account there has, for an audience of their choice.
const GITHUB_ACTIONS: &str = "https://token.actions.githubusercontent.com";

/// A rule, and where it is.
struct At<'a> {
    rule: &'a RawExchange,
    about: String,
    raw: &'a RawConfig,
}

impl At<'_> {
    fn fail(&self, setting: &str, why: impl std::fmt::Display) -> Failure {
        at(&format!("{}.{setting}", self.about), why)
    }

    /// The same where the rule has to be known by its name.
    fn of(&self, setting: &str, why: impl std::fmt::Display) -> Failure {
        self.fail(setting, format!("rule {}: {why}", name(self.rule)))
    }

    fn client(&self, id: &str) -> Option<&RawClient> {
        self.raw.clients.iter().find(|client| client.id == id)
    }
}

/// What a rule is called.
pub(super) fn name(rule: &RawExchange) -> &str {
    let default = if rule.own.is_some() { "own" } else { "exchange" };
    rule.name.as_deref().or(rule.provider.as_deref()).unwrap_or(default)
}

/// All rules. What is to be told of them is added to `warnings`.
pub(super) fn rules(
    raw: &RawConfig,
    issuer: &IssuerUrl,
    around: Surroundings<'_>,
    warnings: &mut Vec<String>,
) -> Outcome<Vec<ExchangeRule>> {
    check_redirects(&raw.exchange)?;
    let each = raw.exchange.iter().enumerate();
    let rules = each
        .map(|(index, rule)| {
            resolve(&At { rule, about: format!("exchange[{index}]"), raw }, issuer, around, warnings)
        })
        .collect::<Outcome<Vec<_>>>()?;
    subjects::check(&raw.exchange, &rules)?;
    for (index, rule) in raw.exchange.iter().enumerate() {
        let both = |one: &[String], other: &[String]| one.iter().any(|name| other.contains(name));
        let shares =
            |other: &RawExchange| both(&other.clients, &rule.clients) && both(&other.grants, &rule.grants);
        if raw.exchange.iter().take(index).any(|other| name(other) == name(rule) && shares(other)) {
            let why = format!(
                "another rule of its clients for its grant is called {:?} too; set `name`",
                name(rule)
            );
            return Err(at(&format!("exchange[{index}].name"), why));
        }
    }
    Ok(rules)
}

fn resolve(
    here: &At<'_>,
    issuer: &IssuerUrl,
    around: Surroundings<'_>,
    warnings: &mut Vec<String>,
) -> Outcome<ExchangeRule> {
    let rule = here.rule;
    let is_empty = |text: &String| text.is_empty() || text.len() > 64 || text.contains(char::is_control);
    if rule.name.as_ref().is_some_and(is_empty) {
        return Err(here.fail("name", "a name has 1 to 64 characters and no control characters"));
    }
    let grants = if rule.clients.is_empty() { of_actors(here)? } else { of_clients(here)? };
    let longest = rule.max_lifetime.as_ref();
    let longest = longest.map(|text| positive(&format!("{}.max_lifetime", here.about), text)).transpose()?;
    let refresh = if rule.refresh { Refreshes::ByClients } else { Refreshes::No };
    let provider = match (&rule.provider, &rule.own) {
        (Some(_), Some(_)) => {
            return Err(here.fail("provider", "has no effect with `own`: subjects keep the names they have"));
        }
        (None, None) => return Err(here.fail("provider", "what stands in front of its subjects? add a name")),
        (None, Some(_)) => None,
        (Some(provider), None) => Some(parse(&format!("{}.provider", here.about), provider)?),
    };
    let source = source(here, issuer, around)?;
    let terms = terms(here, warnings)?;
    let meeting = meetings::terms(rule, &here.about, here.raw)?;
    if let Some(meeting) = &meeting {
        let compared = compared(rule);
        tell(here, lint_meeting(meeting, &terms, facts(rule, &compared)), warnings)?;
    }
    ExchangeRule::new(RuleSettings {
        name: name(rule).to_owned(),
        clients: rule.clients.iter().cloned().collect(),
        grants,
        mode: match rule.mode {
            RawMode::Enforce => Mode::Enforce,
            RawMode::Audit => Mode::Audit,
        },
        provider,
        source,
        terms,
        scopes: rule.scopes.iter().cloned().collect(),
        longest,
        refresh,
        impersonation: if rule.impersonate { Impersonation::Allowed } else { Impersonation::Refused },
        delegation: delegation(here)?,
        holder: holder(here)?,
        id_jags: id_jags::targets(rule, &here.about, here.raw, issuer)?,
        meeting,
        upload: uploads::terms(rule, &here.about, here.raw)?,
    })
    .map_err(|why| here.fail("trust", why))
}

/// The grants of a rule for clients, which both sides must name.
fn of_clients(here: &At<'_>) -> Outcome<BTreeSet<GrantType>> {
    let rule = here.rule;
    let named = |name: &String| GrantType::named(name).filter(|grant| BY_RULE.contains(grant));
    let mut grants = BTreeSet::new();
    for name in &rule.grants {
        let known = BY_RULE.map(GrantType::name).join(", ");
        let unknown = || here.fail("grants", format!("{name:?} exchanges nothing; there is {known}"));
        grants.insert(named(name).ok_or_else(unknown)?);
    }
    if grants.is_empty() {
        return Err(here.fail("grants", "nobody may use this rule; name a grant"));
    }
    for id in &rule.clients {
        let client = here.client(id);
        let client = client.ok_or_else(|| here.fail("clients", format!("there is no client {id:?}")))?;
        if let Some(grant) = rule.grants.iter().find(|grant| !client.grants.contains(grant)) {
            return Err(here.fail("clients", format!("client {id:?} does not have the grant {grant:?}")));
        }
    }
    let refreshes = |client: &RawClient| client.grants.iter().any(|name| name == REFRESH);
    if rule.refresh {
        if rule.own.is_some() {
            let why = "has no place with `own`: what is minted would outlive the token that was shown";
            return Err(here.fail("refresh", why));
        }
        if !rule.clients.iter().filter_map(|id| here.client(id)).any(refreshes) {
            let why = format!(
                "has no effect: none of its clients has the grant {REFRESH:?}; add it to `grants` of one"
            );
            return Err(here.fail("refresh", why));
        }
    }
    let asserts = rule.grants.iter().any(|name| name == GrantType::JwtBearer.name());
    if asserts && rule.delegation.is_some() && !rule.impersonate {
        let why = format!(
            "{} needs no actor, so this would let go round it; write another rule for that grant",
            GrantType::JwtBearer.name()
        );
        return Err(here.of("delegation", why));
    }
    match (rule.grants.iter().any(|name| name == EXCHANGE), rule.impersonate, &rule.delegation) {
        (false, true, _) => {
            Err(here.fail("impersonate", format!("has no effect without the grant {EXCHANGE:?}; leave it out")))
        }
        (false, _, Some(_)) => {
            Err(here.fail("delegation", format!("has no effect without the grant {EXCHANGE:?}; leave it out")))
        }
        (true, false, None) => Err(here.of(
            "impersonate",
            "may a client have a token for somebody without an actor in it? add `impersonate = true`, or say who may act in `delegation`",
        )),
        _ => Ok(grants),
    }
}

/// A rule without clients judges actor tokens, for rules that name it.
fn of_actors(here: &At<'_>) -> Outcome<BTreeSet<GrantType>> {
    let rule = here.rule;
    let names = |other: &RawExchange| {
        let actors =
            other.delegation.as_ref().map(|delegation| delegation.actors.as_slice()).unwrap_or_default();
        actors.iter().any(|actor| actor == name(rule))
    };
    if !here.raw.exchange.iter().any(names) {
        let why =
            "nobody may use this rule; name a client, or name the rule in `delegation.actors` of another";
        return Err(here.fail("clients", why));
    }
    for (setting, is_set) in [
        ("grants", rule.grants != super::raw::jwt_bearer()),
        ("mode", rule.mode != RawMode::Enforce),
        ("claims", !rule.claims.is_empty()),
        ("impersonate", rule.impersonate),
        ("delegation", rule.delegation.is_some()),
        ("bound_to_others", rule.bound_to_others),
        ("refresh", rule.refresh),
    ] {
        if is_set {
            return Err(
                here.fail(setting, "has no effect in a rule without `clients`, which judges actor tokens")
            );
        }
    }
    Ok(BTreeSet::new())
}

/// Who has to hold the key that a token is bound to.
fn holder(here: &At<'_>) -> Outcome<Holder> {
    let rule = here.rule;
    let is_demanded = rule.trust.as_ref().is_some_and(|trust| trust.dpop);
    if !rule.bound_to_others {
        return Ok(if is_demanded { Holder::ClientAlways } else { Holder::Client });
    }
    let why = if is_demanded {
        "and `trust.dpop`: either the client proves to hold the key of each token, or another may hold it; keep one of them".to_owned()
    } else if !rule.grants.iter().any(|name| name == EXCHANGE) {
        format!("has no effect without the grant {EXCHANGE:?}: an assertion is shown by who holds its key")
    } else if let Some(public) =
        rule.clients.iter().filter_map(|id| here.client(id)).find(|client| client.public)
    {
        format!(
            "client {:?} is public: anybody who has seen such a token could exchange it; leave it out",
            public.id
        )
    } else {
        return Ok(Holder::Other);
    };
    Err(here.of("bound_to_others", why))
}

/// Who may act: rules that are there, once each and without clients.
fn delegation(here: &At<'_>) -> Outcome<Option<Delegation>> {
    let Some(raw) = &here.rule.delegation else { return Ok(None) };
    if raw.actors.is_empty() {
        return Err(
            here.fail("delegation.actors", "nobody may act; name a rule for actor tokens, or leave it out")
        );
    }
    if !(1..=MAX_ACTORS).contains(&raw.depth) {
        return Err(here.fail("delegation.depth", format!("{} is not 1 to {MAX_ACTORS}", raw.depth)));
    }
    for actor in &raw.actors {
        let named: Vec<_> = here.raw.exchange.iter().filter(|rule| name(rule) == actor).collect();
        match named.as_slice() {
            [one] if one.clients.is_empty() => {}
            [_] => {
                let why =
                    format!("the rule {actor:?} has clients; actor tokens are judged by a rule without");
                return Err(here.fail("delegation.actors", why));
            }
            [] => return Err(here.fail("delegation.actors", format!("there is no rule {actor:?}"))),
            _ => {
                return Err(
                    here.fail("delegation.actors", format!("several rules are called {actor:?}; set `name`"))
                );
            }
        }
    }
    Ok(Some(Delegation { actors: raw.actors.clone(), depth: raw.depth }))
}

/// The condition and the claims, each within what every client of the rule may have.
fn terms(here: &At<'_>, warnings: &mut Vec<String>) -> Outcome<Terms> {
    let rule = here.rule;
    let compile =
        |setting: &str, text: &String| Expression::compile(text).map_err(|why| here.of(setting, why));
    let mut terms = Terms::default();
    if let Some(when) = &rule.when {
        terms.when = Some(compile("when", when)?);
    }
    if rule.claims.len() > MAX_CLAIMS {
        return Err(here.of("claims", format!("{} claims; at most {MAX_CLAIMS}", rule.claims.len())));
    }
    for (claim, text) in &rule.claims {
        let setting = format!("claims.{claim}");
        check_claim(here, &setting, claim)?;
        terms.claims.insert(claim.clone(), compile(&setting, text)?);
    }
    let compared: Vec<String> = compared(rule);
    tell(here, lint(&terms, facts(rule, &compared)), warnings)?;
    Ok(terms)
}

/// What the linter has to know of a rule's source.
fn facts<'a>(rule: &RawExchange, compared: &'a [String]) -> SourceFacts<'a> {
    SourceFacts {
        is_open_to_all: rule.trust.as_ref().is_some_and(is_github_actions),
        compared,
        verifies_email: rule.trust.as_ref().is_some_and(verifies_email),
    }
}

/// Ends with the first error, and adds what is to be told to `warnings`.
fn tell(here: &At<'_>, found: Vec<Finding>, warnings: &mut Vec<String>) -> Outcome {
    for finding in found {
        match finding.severity {
            Severity::Error => return Err(here.of(&finding.setting, finding.why)),
            Severity::Warning => {
                warnings.push(format!(
                    "{}.{}: rule {}: {}",
                    here.about,
                    finding.setting,
                    name(here.rule),
                    finding.why
                ));
            }
        }
    }
    Ok(())
}

/// A claim that no rule gives, or that a client of the rule may not have.
fn check_claim(here: &At<'_>, setting: &str, claim: &str) -> Outcome {
    if RESERVED.contains(&claim) {
        return Err(here.of(setting, "the issuer or the grant sets this claim; a rule cannot"));
    }
    if claim.is_empty() || claim.len() > 128 || claim.starts_with('/') {
        return Err(here.of(setting, "the name of a claim has 1 to 128 bytes and does not begin with `/`"));
    }
    for client in here.rule.clients.iter().filter_map(|id| here.client(id)) {
        let why = |why: &str| Err(here.of(setting, format!("client {:?} {why}", client.id)));
        if !client.claims.allow.iter().any(|allowed| allowed == claim || allowed == "*") {
            return why("may not have this claim; add it to `claims.allow` in its entry");
        }
        if client.claims.deny.iter().any(|denied| denied == claim) {
            return why("may not have this claim: it is in `claims.deny` in its entry");
        }
        if client.claims.fixed.contains_key(claim) {
            return why("has a value for this claim in `claims.fixed`; keep one of them");
        }
    }
    Ok(())
}

fn is_github_actions(trust: &RawTrust) -> bool {
    trust.preset.as_deref() == Some("github-actions") || trust.issuer.as_deref() == Some(GITHUB_ACTIONS)
}

fn verifies_email(trust: &RawTrust) -> bool {
    let value = trust.claims.get("email_verified");
    value.is_some_and(|value| *value == Value::Bool(true) || value.as_str() == Some("true"))
}

/// Claims that the source compares with a value.
fn compared(rule: &RawExchange) -> Vec<String> {
    let Some(trust) = &rule.trust else { return Vec::new() };
    let by_preset = trust.preset.as_deref() == Some("github-actions");
    let owner = by_preset.then(|| "repository_owner_id".to_owned());
    trust.claims.keys().cloned().chain(owner).collect()
}

/// Where its tokens come from: exactly one source.
fn source(here: &At<'_>, issuer: &IssuerUrl, around: Surroundings<'_>) -> Outcome<RuleSource> {
    match (&here.rule.trust, &here.rule.own, &here.rule.upstream) {
        (Some(trust), None, None) => jwt(trust, here, issuer, around),
        (None, Some(own), None) => {
            if own.audiences.is_empty() || own.audiences.iter().any(|audience| audience == "*") {
                let why = "for whom were the tokens minted? name audiences; any would let everybody who is shown one exchange it";
                return Err(here.of("own.audiences", why));
            }
            if !here.rule.clients.is_empty() && here.rule.grants != [EXCHANGE] {
                let why = format!("tokens of our own are exchanged by {EXCHANGE} alone; name this one grant");
                return Err(here.fail("grants", why));
            }
            if here.rule.once.is_some() {
                return Err(here.fail("once", "has no effect with `own`: a token of our own is not used up"));
            }
            let known = |id: &&String| here.client(id).is_none();
            if let Some(id) = own.clients.iter().find(known) {
                let why = format!(
                    "there is no client {id:?}; name those whose own tokens (client_credentials) may be exchanged"
                );
                return Err(here.of("own.clients", why));
            }
            if here.rule.clients.is_empty() && !own.clients.is_empty() {
                let why = "has no effect in a rule for actor tokens: an actor that is a client shows its own";
                return Err(here.of("own.clients", why));
            }
            let audiences = own.audiences.iter().cloned().collect();
            let clients = own.clients.iter().cloned().collect();
            Ok(RuleSource::Own(OwnTokens { audiences, clients }))
        }
        (None, None, Some(raw)) => provider(raw, here, around),
        (None, None, None) => {
            Err(at(&here.about, "whose tokens does it take? add `trust`, `upstream` or `own`"))
        }
        _ => Err(at(&here.about, "it has two sources; keep one of `trust`, `upstream` and `own`")),
    }
}

/// Opaque tokens or codes of a provider.
fn provider(raw: &RawUpstream, here: &At<'_>, around: Surroundings<'_>) -> Outcome<RuleSource> {
    let rule = here.rule;
    if rule.clients.is_empty() {
        return Err(here.fail("upstream", "an actor token is a JWT; take `trust` or `own`"));
    }
    if rule.grants != [EXCHANGE] {
        let why = format!("what providers give is exchanged by {EXCHANGE} alone");
        return Err(here.fail("grants", why));
    }
    if rule.max_lifetime.is_none() {
        let why = "is missing: not every provider says when its tokens end, so the rule says how long what is minted lives";
        return Err(here.fail("max_lifetime", why));
    }
    if rule.once.is_some() {
        let why = "has no effect with `upstream`: codes are taken once, and tokens as often as they are shown; remove it";
        return Err(here.fail("once", why));
    }
    if rule.mode == RawMode::Audit {
        let why = "a rule with `upstream` cannot be `audit`: a provider is shown a token, and takes a code, for one rule alone, so there would be \
                   nothing left for the next one; try the rule with `countersign exchange --explain`";
        return Err(here.fail("mode", why));
    }
    Ok(RuleSource::Upstream(upstream(raw, &format!("{}.upstream", here.about), around)?))
}

/// JWTs of another issuer. What would take tokens of anybody, for anybody or without end is
/// refused.
fn jwt(trust: &RawTrust, here: &At<'_>, issuer: &IssuerUrl, around: Surroundings<'_>) -> Outcome<RuleSource> {
    let about = format!("{}.trust", here.about);
    for (name, is_set) in [
        ("dangerously_accept_any_audience", trust.dangerously_accept_any_audience),
        ("dangerously_accept_any_issuer", trust.dangerously_accept_any_issuer),
        ("dangerously_ignore_expiry", trust.dangerously_ignore_expiry),
    ] {
        if is_set {
            let why = "such tokens cannot be exchanged: anybody who has seen one could";
            return Err(at(&format!("{about}.{name}"), why));
        }
    }
    if trust.typ.as_deref() == Some(ID_JAG_TYP) {
        return id_jag(trust, here, issuer, around);
    }
    let mut trust: RawTrust = trust.clone();
    if trust.audiences.is_empty() {
        trust.audiences = vec![issuer.as_str().to_owned(), issuer.join(TOKEN_PATH)];
    }
    let trusted = of_another_issuer(&trust, here, issuer, around)?;
    let once = if here.rule.once.unwrap_or(true) { Once::Required } else { Once::GivenUp };
    Ok(RuleSource::Jwt(Box::new(trusted), once))
}

/// ID-JAGs of another issuer: each for this issuer alone, and taken once.
fn id_jag(
    trust: &RawTrust,
    here: &At<'_>,
    issuer: &IssuerUrl,
    around: Surroundings<'_>,
) -> Outcome<RuleSource> {
    let rule = here.rule;
    if rule.clients.is_empty() {
        return Err(
            here.fail("trust.typ", "an assertion of this `typ` is for a client, and names nobody who acts")
        );
    }
    if rule.grants != [GrantType::JwtBearer.name()] {
        let why = format!("assertions of this `typ` are shown by {} alone", GrantType::JwtBearer.name());
        return Err(here.fail("grants", why));
    }
    if rule.once == Some(false) {
        return Err(here.fail("once", "an assertion of this `typ` is taken once; leave it out"));
    }
    if !trust.audiences.is_empty() {
        let why = "an assertion of this `typ` is for this issuer; leave it out";
        return Err(here.fail("trust.audiences", why));
    }
    let trust = RawTrust { audiences: vec![issuer.as_str().to_owned()], ..trust.clone() };
    Ok(RuleSource::IdJag(Box::new(of_another_issuer(&trust, here, issuer, around)?)))
}

/// Whom a rule trusts. Our own tokens would be taken here without everything that `own` asks of
/// them: revocation, an audience, the scope they have, and which clients may be whom they are
/// about.
fn of_another_issuer(
    trust: &RawTrust,
    here: &At<'_>,
    issuer: &IssuerUrl,
    around: Surroundings<'_>,
) -> Outcome<TrustedIssuer> {
    let about = format!("{}.trust", here.about);
    let trusted = trusted(trust, &about, around).map_err(configuration)?;
    if trusted.is_called(issuer.as_str()) {
        return Err(at(&about, "this is the issuer itself; take `own` for its tokens"));
    }
    Ok(trusted)
}
