//! The grants of the configuration: who may do what at `/token`, and with which keys clients sign their assertions.
//!
//! A grant that could never give a token does not start, and neither does a setting of grants for a
//! client that has none.

use super::{
    raw::{RawAssertions, RawClient, RawConfig, RawExchange},
    resolve::{at, parse, positive},
};
use crate::{
    failure::{Outcome, configuration},
    files,
};
use countersign_gateway::settings::{RawTrust, Surroundings, trusted};
use countersign_grants::{AssertionKeys, Assertions, ClientGrants, ExchangeRule, Grants, Once, RuleSettings};
use countersign_issuer::{GrantType, IssuerUrl, Scope, TOKEN_PATH};
use countersign_jose::Algorithm;
use countersign_verifier::KeySource;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Grants that are worth nothing without a rule of exchange.
const BY_RULE: [GrantType; 2] = [GrantType::JwtBearer, GrantType::TokenExchange];

const PROFILE: &str = "access_token";

/// What clients sign with unless it is said. A key without `alg` is bound to the first that takes its kind.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256, Algorithm::Ed25519];

/// Whether any client has a grant. Checks what can be checked before profiles are known.
pub(super) fn check(raw: &RawConfig) -> Outcome<bool> {
    for client in &raw.clients {
        check_client(client)?;
    }
    for client in &raw.clients {
        let has_rule = |grant: &&str| {
            raw.exchange
                .iter()
                .any(|rule| rule.clients.contains(&client.id) && rule.grants.iter().any(|name| name == grant))
        };
        let without =
            BY_RULE.iter().map(|grant| grant.name()).filter(|name| client.grants.iter().any(|g| g == name));
        if let Some(grant) = without.into_iter().find(|grant| !has_rule(grant)) {
            let why = format!("no rule (`exchange`) says what this client may exchange by {grant}; add one");
            return Err(at(&format!("clients.{}.grants", client.id), why));
        }
    }
    Ok(raw.clients.iter().any(|client| !client.grants.is_empty()))
}

fn check_client(client: &RawClient) -> Outcome {
    let fail = |setting: &str, why: String| Err(at(&format!("clients.{}.{setting}", client.id), why));
    let names = |name: &str| client.profiles.iter().any(|profile| profile == name);
    if client.grants.is_empty() {
        let idle = "has no effect without `grants`";
        return match () {
            () if names(PROFILE) => {
                fail("profiles", format!("profile {PROFILE} {idle}, which alone mint its tokens"))
            }
            () if !client.default_scope.is_empty() => fail("default_scope", idle.to_owned()),
            () if client.assertions.is_some() => fail("assertions", idle.to_owned()),
            () => Ok(()),
        };
    }
    if !names(PROFILE) && !names("*") {
        let why = format!("they mint tokens of profile {PROFILE}; add it to `profiles`");
        return fail("grants", why);
    }
    if client.audiences.is_empty() {
        return fail("audiences", "every access token has an audience; name at least one".to_owned());
    }
    if client.secret_hashes.is_empty() && client.assertions.is_none() {
        let why = "nobody can prove to be this client; add a hash to `secret_hashes`, or `assertions`";
        return fail("grants", why.to_owned());
    }
    Ok(())
}

pub(super) fn resolve(
    raw: &RawConfig,
    issuer: &IssuerUrl,
    around: Surroundings<'_>,
) -> Outcome<Option<Grants>> {
    let (mut clients, mut keys) = (BTreeMap::new(), Vec::new());
    for client in &raw.clients {
        let about = format!("clients.{}", client.id);
        clients.insert(client.id.clone(), grants(client, &about)?);
        if let Some(assertions) = &client.assertions {
            keys.push(assertion_keys(assertions, client, &format!("{about}.assertions"), around.folder)?);
        }
    }
    let assertions = Assertions::new(issuer.as_str(), &issuer.join(TOKEN_PATH), keys);
    let assertions = assertions.map_err(|why| at("clients.assertions", why))?;
    let rules = raw.exchange.iter().enumerate();
    let rules = rules.map(|(index, rule)| exchange(rule, &format!("exchange[{index}]"), raw, issuer, around));
    Ok(Grants::new(clients, assertions, rules.collect::<Outcome<_>>()?))
}

/// One rule of exchange. What would take more tokens than its author can have meant is refused.
fn exchange(
    rule: &RawExchange,
    about: &str,
    raw: &RawConfig,
    issuer: &IssuerUrl,
    around: Surroundings<'_>,
) -> Outcome<ExchangeRule> {
    let key = |name: &str| format!("{about}.{name}");
    if rule.clients.is_empty() {
        return Err(at(&key("clients"), "nobody may use this rule; name a client"));
    }
    let named = |name: &String| GrantType::named(name).filter(|grant| BY_RULE.contains(grant));
    let mut grants = BTreeSet::new();
    for name in &rule.grants {
        let known = BY_RULE.map(GrantType::name).join(", ");
        let unknown = || at(&key("grants"), format!("{name:?} exchanges nothing; there is {known}"));
        grants.insert(named(name).ok_or_else(unknown)?);
    }
    if grants.is_empty() {
        return Err(at(&key("grants"), "nobody may use this rule; name a grant"));
    }
    for id in &rule.clients {
        let client = raw.clients.iter().find(|client| client.id == *id);
        let client = client.ok_or_else(|| at(&key("clients"), format!("there is no client {id:?}")))?;
        if let Some(grant) = rule.grants.iter().find(|grant| !client.grants.contains(grant)) {
            return Err(at(&key("clients"), format!("client {id:?} does not have the grant {grant:?}")));
        }
    }
    let trust = &rule.trust;
    for (name, is_set) in [
        ("dangerously_accept_any_audience", trust.dangerously_accept_any_audience),
        ("dangerously_accept_any_issuer", trust.dangerously_accept_any_issuer),
        ("dangerously_ignore_expiry", trust.dangerously_ignore_expiry),
    ] {
        if is_set {
            let why = "such tokens cannot be exchanged: anybody who has seen one could";
            return Err(at(&key(&format!("trust.{name}")), why));
        }
    }
    let mut trust: RawTrust = trust.clone();
    if trust.audiences.is_empty() {
        trust.audiences = vec![issuer.as_str().to_owned(), issuer.join(TOKEN_PATH)];
    }
    let trusted = trusted(&trust, &key("trust"), around).map_err(configuration)?;
    let longest = rule.max_lifetime.as_ref();
    let longest = longest.map(|text| positive(&key("max_lifetime"), text)).transpose()?;
    let once = if rule.once { Once::Required } else { Once::GivenUp };
    ExchangeRule::new(RuleSettings {
        clients: rule.clients.iter().cloned().collect(),
        grants,
        provider: parse(&key("provider"), &rule.provider)?,
        issuer: trusted,
        scopes: rule.scopes.iter().cloned().collect(),
        longest,
        once,
    })
    .map_err(|why| at(&key("trust"), why))
}

fn grants(client: &RawClient, about: &str) -> Outcome<ClientGrants> {
    let mut grants = BTreeSet::new();
    for name in &client.grants {
        let known = GrantType::ALL.map(GrantType::name).join(", ");
        let grant = GrantType::named(name);
        let unknown = || at(&format!("{about}.grants"), format!("{name:?} is not a grant; there is {known}"));
        grants.insert(grant.ok_or_else(unknown)?);
    }
    let key = format!("{about}.default_scope");
    let is_own = |name: &String| client.scopes.iter().any(|scope| scope == "*" || scope == name);
    if let Some(other) = client.default_scope.iter().find(|name| !is_own(name)) {
        return Err(at(&key, format!("{other:?} is not one of its `scopes`")));
    }
    let default_scope = match client.default_scope.as_slice() {
        [] => None,
        names => Some(Scope::parse(&names.join(" ")).map_err(|why| at(&key, why))?),
    };
    Ok(ClientGrants { grants, default_scope })
}

fn assertion_keys(
    raw: &RawAssertions,
    client: &RawClient,
    about: &str,
    folder: &Path,
) -> Outcome<AssertionKeys> {
    let text = |name: &str, value: &String| match value.strip_prefix("file:") {
        None => Ok(value.clone()),
        Some(path) => {
            let path = folder.join(path);
            let unreadable = |why| at(&format!("{about}.{name}"), format!("{}: {why}", path.display()));
            files::read_text(&path).map_err(unreadable)
        }
    };
    let source = match (&raw.keys_url, &raw.jwks, &raw.pem) {
        (Some(url), None, None) => KeySource::JwksUrl(url.clone()),
        (None, Some(jwks), None) => KeySource::InlineJwks(text("jwks", jwks)?),
        (None, None, Some(pem)) => KeySource::InlinePem(text("pem", pem)?),
        (None, None, None) => return Err(at(about, "where are its keys? add jwks, keys_url or pem")),
        _ => return Err(at(about, "the keys have two sources; keep one of keys_url, jwks and pem")),
    };
    let algorithms = raw.algorithms.iter().map(|name| parse(&format!("{about}.algorithms"), name));
    let mut algorithms = algorithms.collect::<Outcome<Vec<Algorithm>>>()?;
    if algorithms.is_empty() {
        algorithms.extend(ALGORITHMS);
    }
    Ok(AssertionKeys { client_id: client.id.clone(), source, algorithms })
}
