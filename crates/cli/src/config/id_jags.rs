//! Rules that give ID-JAGs: for which authorization servers, and that their clients may have them.
//!
//! What such a rule says is said by the policy of its clients too, as of every token: profile
//! `id_jag`, and the server among the audiences.

use super::{
    raw::{RawConfig, RawExchange},
    values::at,
};
use crate::failure::Outcome;
use countersign_grants::{ID_JAG_TYP, IdJagTarget};
use countersign_issuer::{GrantType, IdJagProfile, IssuerUrl};
use std::collections::BTreeSet;

/// The most authorization servers of one rule.
const MAX_TARGETS: usize = 64;

/// Whether some rule gives them.
pub(super) fn are_given(raw: &RawConfig) -> bool {
    raw.exchange.iter().any(|rule| !rule.id_jags.is_empty())
}

/// The authorization servers of a rule.
pub(super) fn targets(
    rule: &RawExchange,
    about: &str,
    raw: &RawConfig,
    issuer: &IssuerUrl,
) -> Outcome<Vec<IdJagTarget>> {
    if rule.id_jags.is_empty() {
        return Ok(Vec::new());
    }
    let fail = |setting: &str, why: String| Err(at(&format!("{about}.{setting}"), why));
    if rule.id_jags.len() > MAX_TARGETS {
        return fail("id_jags", format!("{} entries are more than {MAX_TARGETS}", rule.id_jags.len()));
    }
    if rule.grants != [GrantType::TokenExchange.name()] {
        let why = format!("ID-JAGs are given by {} alone", GrantType::TokenExchange.name());
        return fail("grants", why);
    }
    if rule.refresh {
        return fail("refresh", "has no effect with `id_jags`: they are not refreshed; leave it out".into());
    }
    if !rule.claims.is_empty() || rule.delegation.is_some() {
        let why = "ID-JAGs have neither claims of a rule nor actors; leave out `claims` and `delegation`";
        return fail("id_jags", why.to_owned());
    }
    if rule.trust.as_ref().is_none_or(|trust| trust.typ.as_deref() == Some(ID_JAG_TYP)) {
        let why = "ID-JAGs are given for tokens of a login provider, which `trust` describes";
        return fail("id_jags", why.to_owned());
    }
    let mut seen = BTreeSet::new();
    for target in &rule.id_jags {
        let audience = target.audience.as_str();
        if audience.is_empty() || audience == issuer.as_str() {
            let why = "name the issuer of another authorization server as `audience`";
            return fail("id_jags", why.to_owned());
        }
        if !seen.insert(audience) {
            return fail("id_jags", format!("{audience:?} occurs twice"));
        }
        if target.client_id.is_some() && rule.clients.len() > 1 {
            let why = "`client_id` is one client there, and the rule has several here; make a rule for each";
            return fail("id_jags", why.to_owned());
        }
        for client in raw.clients.iter().filter(|client| rule.clients.contains(&client.id)) {
            let has = |names: &[String], name: &str| names.iter().any(|n| n == name || n == "*");
            if !has(&client.profiles, IdJagProfile::NAME) {
                let why =
                    format!("client {:?} may not have them; add \"id_jag\" to its `profiles`", client.id);
                return fail("id_jags", why);
            }
            if !client.audiences.iter().any(|name| name == audience) {
                let why =
                    format!("client {:?} may not have {audience:?}; add it to its `audiences`", client.id);
                return fail("id_jags", why);
            }
        }
    }
    let targets = rule.id_jags.iter().map(|target| IdJagTarget {
        audience: target.audience.clone(),
        client_id: target.client_id.clone(),
        resources: target.resources.clone(),
    });
    Ok(targets.collect())
}
