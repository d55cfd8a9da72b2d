//! Kinds of uploads of the configuration, and that clients which name them can use them.
//!
//! What would be dangerous does not start: a key that a claim could choose, a file without a type
//! or a size, an endpoint in plain text. What is only unwise (files that browsers run) is told.

use super::{
    raw::{RawClient, RawConfig, RawExchange, RawUpload},
    values::at,
};
use crate::failure::Outcome;
use countersign_grants::UploadTerms;
use countersign_issuer::{GrantType, UPLOAD_PROFILE};
use countersign_settings::duration;
use std::{ops::RangeInclusive, time::Duration};

#[cfg(feature = "uploads")]
pub(super) use built_in::profile;
#[cfg(not(feature = "uploads"))]
pub(super) use left_out::profile;

/// The uploads for which a rule of exchange gives tokens, within what each of its clients may have.
pub(super) fn terms(rule: &RawExchange, about: &str, raw: &RawConfig) -> Outcome<Option<UploadTerms>> {
    let Some(upload) = &rule.upload else { return Ok(None) };
    let fail = |setting: &str, why: String| Err(at(&format!("{about}.{setting}"), why));
    if upload.to.is_empty() {
        return fail("upload.to", "name at least one of `uploads`".to_owned());
    }
    if let Some(name) = upload.to.iter().find(|name| !raw.uploads.contains_key(*name)) {
        return fail("upload.to", format!("there is no `uploads.{name}` in this configuration"));
    }
    if rule.grants != [GrantType::TokenExchange.name()] {
        return fail(
            "grants",
            format!("tokens for uploads are given by {} alone", GrantType::TokenExchange.name()),
        );
    }
    for (setting, is_set) in [
        ("id_jags", !rule.id_jags.is_empty()),
        ("meeting", rule.meeting.is_some()),
        ("delegation", rule.delegation.is_some()),
        ("refresh", rule.refresh),
        ("scopes", !rule.scopes.is_empty()),
    ] {
        if is_set {
            return fail(
                setting,
                "has no place in a rule with `upload`; make another rule for it".to_owned(),
            );
        }
    }
    for client in raw.clients.iter().filter(|client| rule.clients.contains(&client.id)) {
        let may = |names: &[String], name: &str| names.iter().any(|n| n == name || n == "*");
        if let Some(name) = upload.to.iter().find(|name| !may(&client.uploads, name)) {
            return fail(
                "upload.to",
                format!("client {:?} may not have {name:?}; add it to its `uploads`", client.id),
            );
        }
    }
    Ok(Some(UploadTerms { to: upload.to.clone() }))
}

/// How long a form may live: time to choose a file, and no more than every service takes (they look
/// at when it was signed, too).
const LIFETIMES: RangeInclusive<Duration> = Duration::from_secs(30)..=Duration::from_secs(3600);

fn lifetime(name: &str, upload: &RawUpload) -> Outcome<Duration> {
    duration::parse_within(&upload.lifetime, LIFETIMES)
        .map_err(|why| at(&format!("uploads.{name}.lifetime"), why))
}

/// The origin that a URL is of, where it is not one itself (RFC 6454 section 6.2): no path, not
/// even a slash, no user, no usual port, and lower case. `None` for what is an origin, or no URL.
fn origin_of(audience: &str) -> Option<String> {
    let lower = audience.to_ascii_lowercase();
    let (scheme, rest) = lower.split_once("://").filter(|(scheme, _)| matches!(*scheme, "https" | "http"))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let origin = format!("{scheme}://{}", host.strip_suffix(usual).unwrap_or(host));
    (origin != audience).then_some(origin)
}

/// What a client says of uploads must mean something. `check` looks at one that has some.
fn check_clients(
    raw: &RawConfig,
    warnings: &mut Vec<String>,
    check: impl Fn(&RawClient) -> Outcome,
) -> Outcome {
    for client in &raw.clients {
        let fail = |setting: &str, why: String| Err(at(&format!("clients.{}.{setting}", client.id), why));
        let known = |name: &&String| *name == "*" || raw.uploads.contains_key(*name);
        if let Some(name) = client.uploads.iter().find(|name| !known(name)) {
            return fail("uploads", format!("there is no `uploads.{name}` in this configuration"));
        }
        let named = client.profiles.iter().any(|profile| profile == UPLOAD_PROFILE);
        let has_profile = named || client.profiles.iter().any(|profile| profile == "*");
        match (client.uploads.is_empty(), has_profile) {
            (true, _) if named => {
                return fail(
                    "uploads",
                    format!("profile {UPLOAD_PROFILE} needs one: name what it may upload to"),
                );
            }
            (true, _) => {}
            (false, false) => {
                return fail(
                    "uploads",
                    format!("has no effect without profile {UPLOAD_PROFILE}; add it to `profiles`"),
                );
            }
            (false, true) if client.audiences.is_empty() => {
                let why =
                    "a token for an upload is for one page; name its origin, like https://app.example.com";
                return fail("audiences", why.to_owned());
            }
            (false, true) => {
                let alone = client.profiles.iter().all(|profile| profile == UPLOAD_PROFILE);
                for (audience, origin) in client.audiences.iter().filter_map(|a| Some((a, origin_of(a)?))) {
                    let why = format!(
                        "{audience:?} is no origin, which a page of it is compared with; write {origin:?}"
                    );
                    match alone {
                        true => return fail("audiences", why),
                        // Audiences of its other tokens may be any URL.
                        false => warnings.push(format!(
                            "clients.{}.audiences: if this is for profile {UPLOAD_PROFILE}: {why}",
                            client.id
                        )),
                    }
                }
                check(client)?;
            }
        }
    }
    Ok(())
}

#[cfg(not(feature = "uploads"))]
mod left_out {
    use super::{check_clients, lifetime};
    use crate::{
        config::{raw::RawConfig, values::at},
        failure::Outcome,
    };
    use countersign_gateway::settings::Surroundings;
    use countersign_issuer::Profile;
    use std::sync::Arc;

    pub(in crate::config) fn profile(
        raw: &RawConfig,
        _: Surroundings<'_>,
        warnings: &mut Vec<String>,
    ) -> Outcome<Option<Arc<dyn Profile>>> {
        if raw.uploads.is_empty() {
            return check_clients(raw, warnings, |_| Ok(())).map(|()| None);
        }
        raw.uploads.iter().try_for_each(|(name, upload)| lifetime(name, upload).map(|_| ()))?;
        let why = "this program was built without uploads; use one that was built with --features uploads";
        Err(at("uploads", why))
    }
}

#[cfg(feature = "uploads")]
mod built_in {
    use super::{LIFETIMES, check_clients, lifetime};
    use crate::{
        config::{
            raw::{RawClient, RawConfig, RawUpload},
            values::{at, duration, parse},
        },
        failure::Outcome,
    };
    use countersign_aws::credentials::{Chain, Credentials};
    use countersign_gateway::settings::Surroundings;
    use countersign_issuer::Profile;
    use countersign_keyring::RingName;
    use countersign_settings::{SecretRef, duration::words};
    use countersign_uploads::{
        Access, Bucket, ContentType, Destination, KeyTemplate, Place, SizeRange, UploadProfile,
    };
    use std::{collections::BTreeMap, sync::Arc};
    use zeroize::Zeroizing;

    /// The claim that is always there.
    const SUBJECT: &str = "sub";

    pub(in crate::config) fn profile(
        raw: &RawConfig,
        around: Surroundings<'_>,
        warnings: &mut Vec<String>,
    ) -> Outcome<Option<Arc<dyn Profile>>> {
        let region = raw.uploads.values().next().map(|upload| upload.region.clone());
        let chain = Arc::new(Chain::new(region));
        let backdate = duration("tokens.backdate", &raw.tokens.backdate)?;
        let mut destinations = BTreeMap::new();
        for (name, upload) in &raw.uploads {
            let destination = destination(name, upload, &chain, around)?;
            let shortest = *LIFETIMES.start();
            if destination.lifetime < shortest.saturating_add(backdate) {
                let why = format!(
                    "must be {} more than tokens.backdate, {}, at least",
                    words(shortest),
                    words(backdate)
                );
                return Err(at(&format!("uploads.{name}.lifetime"), why));
            }
            for active in destination.content_types.iter().filter(|kind| kind.is_active()) {
                warnings.push(format!(
                    "uploads.{name}.content_types: browsers run scripts in files of type {active}; serve them from a host of \
                     their own, or with Content-Disposition: attachment"
                ));
            }
            let same = |other: &&Destination| {
                other.place.bucket() == destination.place.bucket() && other.key.overlaps(&destination.key)
            };
            if let Some(other) = destinations.values().find(same) {
                warnings.push(format!(
                    "uploads.{name}.key: objects of uploads.{} may lie in the same places of the bucket; begin each with text of \
                     its own, so that nobody takes one kind for the other",
                    other.name
                ));
            }
            destinations.insert(name.as_str(), destination);
        }
        check_clients(raw, warnings, |client| check_claims(client, &destinations))?;
        if destinations.is_empty() {
            return Ok(None);
        }
        let ring: RingName = parse("profiles.upload.ring", &raw.profiles.upload.ring)?;
        Ok(Some(Arc::new(UploadProfile::new(ring, destinations.into_values().collect()))))
    }

    /// A client must be able to set each claim of which a key is made.
    fn check_claims(client: &RawClient, destinations: &BTreeMap<&str, Destination>) -> Outcome {
        let may = |name: &str| client.uploads.iter().any(|upload| upload == name || upload == "*");
        let sets = |claim: &str| {
            let is_allowed = client.claims.allow.iter().any(|name| name == claim || name == "*");
            is_allowed || client.claims.fixed.contains_key(claim)
        };
        for (name, destination) in destinations.iter().filter(|(name, _)| may(name)) {
            let by_grant = |claim: &str| claim == SUBJECT && !client.grants.is_empty();
            let missing = |claim: &&str| !sets(claim) && !by_grant(claim);
            if let Some(claim) = destination.key.claims().find(missing) {
                let why = format!(
                    "it may not set the claim {claim:?}, of which uploads.{name}.key is made; add it to `claims.allow` or \
                     `claims.fixed`"
                );
                return Err(at(&format!("clients.{}.uploads", client.id), why));
            }
        }
        Ok(())
    }

    fn destination(
        name: &str,
        raw: &RawUpload,
        chain: &Arc<Chain>,
        around: Surroundings<'_>,
    ) -> Outcome<Destination> {
        let about = format!("uploads.{name}");
        let key = |setting: &str| format!("{about}.{setting}");
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(fits) {
            return Err(at(&about, "a name is 1 to 64 lower-case letters, digits, `-` or `_`"));
        }
        let bucket: Bucket = parse(&key("bucket"), &raw.bucket)?;
        let place = Place::new(bucket, &raw.region, raw.endpoint.as_deref(), raw.path_style);
        let template: KeyTemplate = parse(&key("key"), &raw.key)?;
        if raw.content_types.is_empty() {
            let why = "what may the files be? name at least one exact type, like image/png";
            return Err(at(&key("content_types"), why));
        }
        let types = raw.content_types.iter().map(|text| {
            text.parse::<ContentType>().map_err(|why| at(&key("content_types"), format!("{text:?}: {why}")))
        });
        Ok(Destination {
            name: name.to_owned(),
            place: place.map_err(|why| at(&about, why))?,
            key: template,
            content_types: types.collect::<Outcome<_>>()?,
            size: SizeRange::new(raw.min_bytes, raw.max_bytes).map_err(|why| at(&key("max_bytes"), why))?,
            lifetime: lifetime(name, raw)?,
            requires_sha256: raw.require_sha256,
            access: access(raw, &about, chain, around)?,
        })
    }

    /// A pair of keys, or the chain.
    fn access(raw: &RawUpload, about: &str, chain: &Arc<Chain>, around: Surroundings<'_>) -> Outcome<Access> {
        let key = |setting: &str| format!("{about}.{setting}");
        match (&raw.access_key_id, &raw.secret_access_key) {
            (None, None) => Ok(Access::Chain(Arc::clone(chain))),
            (Some(id), Some(secret)) => {
                let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
                if !(1..=128).contains(&id.len()) || !id.bytes().all(fits) {
                    let why = "an access key id is 1 to 128 letters, digits and - _ .";
                    return Err(at(&key("access_key_id"), why));
                }
                let reference: SecretRef = parse(&key("secret_access_key"), secret)?;
                let read = reference.read(around.folder, around.environment);
                let read = read.map_err(|why| at(&key("secret_access_key"), why))?;
                // Editors end a file with a line break.
                let secret = Zeroizing::new(read.trim().to_owned());
                if secret.is_empty() {
                    return Err(at(&key("secret_access_key"), "is empty"));
                }
                let credentials = Credentials { key_id: id.clone(), secret, token: None, ends: None };
                Ok(Access::Keys(Arc::new(credentials)))
            }
            (None, Some(_)) => Err(at(&key("access_key_id"), "is missing; it belongs to secret_access_key")),
            (Some(_), None) => Err(at(&key("secret_access_key"), "is missing; it belongs to access_key_id")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port_and_nothing_else() {
        for (audience, origin) in [
            ("https://app.example.com", None),
            ("http://127.0.0.1:8080", None),
            ("https://app.example.com:8443", None),
            ("api://files", None),
            ("files", None),
            ("https://app.example.com/", Some("https://app.example.com")),
            ("https://app.example.com/page?x#y", Some("https://app.example.com")),
            ("https://App.Example.com", Some("https://app.example.com")),
            ("HTTPS://app.example.com", Some("https://app.example.com")),
            ("https://app.example.com:443", Some("https://app.example.com")),
            ("http://app.example.com:80/", Some("http://app.example.com")),
            ("http://app.example.com:443", None),
            ("https://me@app.example.com", Some("https://app.example.com")),
        ] {
            assert_eq!(origin_of(audience).as_deref(), origin, "{audience}");
        }
    }
}
