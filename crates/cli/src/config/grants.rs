//! The grants of the configuration: who may do what at `/token`, and with which keys clients sign
//! their assertions.
//!
//! A grant that could never give a token does not start, and neither does a setting of grants for a
//! client that has none.

use super::{
    exchange,
    raw::{RawAssertions, RawClient, RawConfig, RawExchange},
    values::{at, duration, parse},
    workloads,
};
use crate::{failure::Outcome, files};
use countersign_gateway::settings::Surroundings;
use countersign_grants::{
    AssertionKeys, Assertions, ClientGrants, ClientKind, DpopSettings, Grants, Provider, RefreshLimits,
};
use countersign_issuer::{GrantType, IssuerUrl, Scope, TOKEN_PATH};
use countersign_jose::Algorithm;
use countersign_settings::duration::words;
use countersign_verifier::KeySource;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

/// Grants that are worth nothing without a rule of exchange.
pub(super) const BY_RULE: [GrantType; 2] = [GrantType::JwtBearer, GrantType::TokenExchange];

/// The grant of refresh tokens.
pub(super) const REFRESH: &str = GrantType::RefreshToken.name();

const PROFILE: &str = "access_token";

/// What clients sign with unless it is said. A key without `alg` is bound to the first that takes
/// its kind.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256, Algorithm::Ed25519];

/// Whether any client has a grant. Checks what can be checked before profiles are known.
pub(super) fn check(raw: &RawConfig) -> Outcome<bool> {
    for client in &raw.clients {
        check_client(client, raw)?;
    }
    workloads::check_public(raw)?;
    for client in &raw.clients {
        let has_rule = |grant: &&str| {
            raw.exchange
                .iter()
                .any(|rule| rule.clients.contains(&client.id) && rule.grants.iter().any(|name| name == grant))
        };
        let without =
            BY_RULE.iter().map(|grant| grant.name()).filter(|name| client.grants.iter().any(|g| g == name));
        let gives = |rule: &RawExchange| rule.refresh && rule.clients.contains(&client.id);
        if client.grants.iter().any(|name| name == REFRESH) && !raw.exchange.iter().any(gives) {
            let why = "no rule (`exchange`) gives this client refresh tokens; add `refresh = true` to one";
            return Err(at(&format!("clients.{}.grants", client.id), why));
        }
        if let Some(grant) = without.into_iter().find(|grant| !has_rule(grant)) {
            let why = format!("no rule (`exchange`) says what this client may exchange by {grant}; add one");
            return Err(at(&format!("clients.{}.grants", client.id), why));
        }
    }
    for (index, rule) in raw.exchange.iter().enumerate() {
        if let Some(provider) = &rule.provider {
            parse::<Provider>(&format!("exchange[{index}].provider"), provider)?;
        }
    }
    let has_grants = raw.clients.iter().any(|client| !client.grants.is_empty());
    if let Some(client) = raw.clients.iter().find(|client| !client.introspect.is_empty() && !has_grants) {
        let why = "no client has a grant (`grants`), so nobody may ask about tokens here";
        return Err(at(&format!("clients.{}.introspect", client.id), why));
    }
    Ok(has_grants)
}

/// How long refresh tokens live.
fn refresh_limits(raw: &RawConfig, skew: Duration) -> Outcome<RefreshLimits> {
    let limits = RefreshLimits {
        grace: duration("refresh.grace", &raw.refresh.grace)?,
        idle: duration("refresh.idle", &raw.refresh.idle)?,
        absolute: duration("refresh.absolute", &raw.refresh.absolute)?,
        skew,
    };
    if limits.idle > limits.absolute {
        let why =
            format!("{} is longer than refresh.absolute, {}", words(limits.idle), words(limits.absolute));
        return Err(at("refresh.idle", why));
    }
    if limits.grace >= limits.idle {
        let why = format!("{} is not less than refresh.idle, {}", words(limits.grace), words(limits.idle));
        return Err(at("refresh.grace", why));
    }
    Ok(limits)
}

fn check_client(client: &RawClient, raw: &RawConfig) -> Outcome {
    let fail = |setting: &str, why: String| Err(at(&format!("clients.{}.{setting}", client.id), why));
    let names = |name: &str| client.profiles.iter().any(|profile| profile == name);
    if client.grants.is_empty() {
        let idle = "has no effect without `grants`";
        return match () {
            () if names(PROFILE) => {
                fail("profiles", format!("profile {PROFILE} {idle}, which alone mint its tokens"))
            }
            () if !client.default_scope.is_empty() => fail("default_scope", idle.to_owned()),
            () if client.dpop_bound_access_tokens => fail("dpop_bound_access_tokens", idle.to_owned()),
            () if client.assertions.is_some() && client.introspect.is_empty() => {
                fail("assertions", idle.to_owned())
            }
            () if !client.workloads.is_empty() && client.introspect.is_empty() => {
                fail("workloads", idle.to_owned())
            }
            () => Ok(()),
        };
    }
    let gets_access_tokens = gets_access_tokens(client, raw);
    if gets_access_tokens && !names(PROFILE) && !names("*") {
        let why = format!("they mint tokens of profile {PROFILE}; add it to `profiles`");
        return fail("grants", why);
    }
    if gets_access_tokens && client.audiences.is_empty() {
        return fail("audiences", "every access token has an audience; name at least one".to_owned());
    }
    let proves =
        !client.secret_hashes.is_empty() || client.assertions.is_some() || !client.workloads.is_empty();
    if !proves && !client.public {
        let why =
            "nobody can prove to be this client; add a hash to `secret_hashes`, `assertions` or `workloads`";
        return fail("grants", why.to_owned());
    }
    Ok(())
}

/// Whether a client's grants mint access tokens for it: by others than rules that give something in
/// their place.
fn gets_access_tokens(client: &RawClient, raw: &RawConfig) -> bool {
    let mut rules = raw.exchange.iter().filter(|rule| rule.clients.contains(&client.id)).peekable();
    let exchanges_alone = client.grants == [GrantType::TokenExchange.name()] && rules.peek().is_some();
    !(exchanges_alone && rules.all(|rule| rule.meeting.is_some() || rule.upload.is_some()))
}

pub(super) fn resolve(
    raw: &RawConfig,
    issuer: &IssuerUrl,
    skew: Duration,
    around: Surroundings<'_>,
    warnings: &mut Vec<String>,
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
    let workloads = workloads::resolve(raw, issuer, around)?;
    let rules = exchange::rules(raw, issuer, around, warnings)?;
    let limits = refresh_limits(raw, skew)?;
    let dpop = DpopSettings {
        window: duration("dpop.window", &raw.dpop.window)?,
        require_nonce: raw.dpop.require_nonce,
    };
    Ok(Grants::new(clients, assertions, workloads, rules, limits, dpop))
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
    let introspect = client.introspect.iter().cloned().collect();
    let kind = if client.public { ClientKind::Public } else { ClientKind::Confidential };
    let dpop_bound = client.dpop_bound_access_tokens;
    Ok(ClientGrants { grants, default_scope, introspect, kind, dpop_bound })
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
