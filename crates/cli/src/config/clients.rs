//! The clients of the configuration: who may ask, and what each may have.
//!
//! An entry that cannot work does not start, and neither does a setting that does nothing for a
//! profile of its client: the message names client, setting and profile. What the rules mean is
//! said once, in `countersign_issuer::admission`.

use super::{
    meetings,
    raw::{RawClient, RawConfig, RawExchange},
    values::{at, parse, positive},
};
use crate::{failure::Outcome, files};
use countersign_issuer::{
    ClaimRules, Client, Clients, MintPolicy, Profile, RuleClaims, Schema, Ways, check_policy, profile_lacks,
};
use countersign_jose::ClaimName;
use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

pub(super) fn resolve(
    raw: &RawConfig,
    profiles: &[Arc<dyn Profile>],
    backdate: Duration,
    folder: &Path,
) -> Outcome<Clients> {
    let profiles: Vec<&dyn Profile> = profiles.iter().map(AsRef::as_ref).collect();
    let mut ids = BTreeSet::new();
    let by_rules = |id: &String| {
        let gives = |rule: &RawExchange| !rule.claims.is_empty() && rule.clients.contains(id);
        if raw.exchange.iter().any(gives) { RuleClaims::Some } else { RuleClaims::None }
    };
    let mut clients = Vec::new();
    for raw in &raw.clients {
        if !ids.insert(&raw.id) {
            return Err(at("clients", format!("two clients have the id {:?}", raw.id)));
        }
        let about = format!("clients.{}", raw.id);
        let unknown = |name: &&String| *name != "*" && !profiles.iter().any(|p| p.name() == name.as_str());
        if let Some(name) = raw.profiles.iter().find(unknown) {
            let lacks = profile_lacks(name).map_or_else(
                || {
                    let known: Vec<_> = profiles.iter().map(|profile| profile.name()).collect();
                    format!("there is {}", known.join(", "))
                },
                str::to_owned,
            );
            return Err(at(
                &about,
                format!("profiles: there is no profile {name:?} in this configuration; {lacks}"),
            ));
        }
        let client = client(raw, &about, folder)?;
        // Tokens of the grants are for clients that have one, and nothing of them concerns the
        // others.
        let may_use = |profile: &&&dyn Profile| profile.ways() != Ways::Granted || !raw.grants.is_empty();
        let profiles: Vec<&dyn Profile> = profiles.iter().filter(may_use).copied().collect();
        check_policy(&client.policy, &profiles, backdate, by_rules(&raw.id))
            .map_err(|error| at(&format!("{about}.{}", error.setting), error.why))?;
        clients.push(client);
    }
    Ok(clients.into_iter().collect())
}

fn client(client: &RawClient, about: &str, folder: &Path) -> Outcome<Client> {
    let key = |name: &str| format!("{about}.{name}");
    if client.audiences.iter().any(|audience| audience == "*" || audience.is_empty()) {
        return Err(at(
            &key("audiences"),
            "audiences are compared exactly; there is no `*` and none may be empty",
        ));
    }
    let deny = client.claims.deny.iter().map(|name| parse(&key("claims.deny"), name));
    let deny = deny.collect::<Outcome<_>>()?;
    let mut allow = Vec::new();
    for name in &client.claims.allow {
        allow.push(top_level(&key("claims.allow"), name)?);
    }
    let mut fixed = Vec::new();
    for (name, value) in &client.claims.fixed {
        let name = top_level(&key("claims.fixed"), name)?;
        let value = serde_json::value::to_raw_value(value).map_err(|why| at(&key("claims.fixed"), why))?;
        fixed.push((name, value));
    }
    let schema = match &client.claims.schema {
        None => None,
        Some(reference) => Some(schema(reference, folder).map_err(|why| at(&key("claims.schema"), why))?),
    };
    let hashes = client.secret_hashes.iter().map(|hash| parse(&key("secret_hashes"), hash));
    Ok(Client {
        id: parse(about, &client.id)?,
        secret_hashes: hashes.collect::<Outcome<_>>()?,
        policy: MintPolicy {
            audiences: client.audiences.iter().cloned().collect(),
            max_lifetime: positive(&key("max_lifetime"), &client.max_lifetime)?,
            scopes: client.scopes.iter().cloned().collect(),
            claims: ClaimRules { allow: allow.into_iter().collect(), deny, fixed, schema },
            profiles: client.profiles.iter().cloned().collect(),
            uploads: client.uploads.iter().cloned().collect(),
            jaas: meetings::jaas_grant(&client.jaas, about)?,
            jitsi: meetings::jitsi_grant(&client.jitsi, about)?,
        },
    })
}

/// The member of a token's claims that a name means.
fn top_level(key: &str, name: &str) -> Outcome<String> {
    let claim: ClaimName = parse(key, name)?;
    claim
        .top_level()
        .map(str::to_owned)
        .ok_or_else(|| at(key, format!("{name:?} names a claim inside another one; name the one at the top")))
}

fn schema(reference: &str, folder: &Path) -> Result<Schema, String> {
    let path = reference.strip_prefix("file:").ok_or("write file:PATH")?;
    let path = folder.join(path);
    let text = files::read_text(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    Schema::compile(&text).map_err(|why| format!("{}: {why}", path.display()))
}
