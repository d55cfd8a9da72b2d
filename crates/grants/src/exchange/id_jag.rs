//! Identity assertion authorization grants (ID-JAG): an identity provider says that a user may use
//! an API by an application, in a JWT for the authorization server of that API, which is this
//! issuer (draft-ietf-oauth-identity-assertion-authz-grant §4.4).
//!
//! Such a token is taken by rules whose `trust.typ` says so, and by no other. It is for this issuer
//! and nobody else, for the client that shows it (`client_id`), and taken once (`jti`). Its `scope`
//! bounds what may be asked for, and so does its `resource` where it has one.
//!
//! In the other direction, rules that have `id_jags` give one for a subject token, for one of these
//! authorization servers and the APIs that the rule names there (§4.3). Such a rule gives no access
//! tokens. Pinned by `tests/e2e/test_id_jag.py`; decision 0053.

use super::{error::ExchangeError, shown::Shown, wanted::Wanted};
use crate::request::GrantedIdJag;
use countersign_issuer::{AudienceRequest, Names, Scope};
use countersign_jose::{
    MAX_CLAIMS_DEPTH,
    json::{Object, string},
};
use std::time::Duration;

/// The header's `typ`.
pub const ID_JAG_TYP: &str = "oauth-id-jag+jwt";

/// What discovery calls the profile (`authorization_grant_profiles_supported`).
pub(crate) const PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";

/// The longest life of one that is given (§4.3.2 recommends five minutes at most).
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// An authorization server for which a rule gives ID-JAGs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdJagTarget {
    /// Its issuer, which a request names as `audience`.
    pub audience: String,
    /// What it calls the client; the client's id here if none.
    pub client_id: Option<String>,
    /// The APIs that may be named as `resource`.
    pub resources: Vec<String>,
}

/// What is asked for, within what the rule has: one authorization server, and of its APIs those
/// that are named, or all.
pub(super) fn issue(
    targets: &[IdJagTarget],
    wanted: &Wanted<'_>,
) -> Result<(AudienceRequest, GrantedIdJag), ExchangeError> {
    let [audience] = wanted.audiences.as_slice() else { return Err(ExchangeError::Target) };
    let target = targets.iter().find(|target| target.audience == *audience).ok_or(ExchangeError::Target)?;
    let asked = wanted.resources.clone();
    if !asked.iter().all(|resource| target.resources.contains(resource)) {
        return Err(ExchangeError::Target);
    }
    let resources = if asked.is_empty() { target.resources.clone() } else { asked };
    let client_id = target.client_id.clone().unwrap_or_else(|| wanted.client.to_owned());
    let audience = AudienceRequest::one(target.audience.clone()).map_err(|_| ExchangeError::Target)?;
    Ok((audience, GrantedIdJag { client_id, resources }))
}

/// Whether a `typ` says that a token is one, in whichever case and with or without `application/`
/// in front (RFC 7515 §4.1.9).
pub(super) fn is_typ(typ: Option<&str>) -> bool {
    let typ = typ.map(str::to_ascii_lowercase).unwrap_or_default();
    typ.strip_prefix("application/").unwrap_or(&typ) == ID_JAG_TYP
}

/// Checks what such tokens must say beyond those of other rules. That this issuer is among those
/// that it is for was checked when it was verified.
pub(super) fn check(shown: &Shown, client: &str) -> Result<(), ExchangeError> {
    let claims = parse(shown)?;
    if claims.get("client_id").and_then(string).as_deref() != Some(client) {
        return Err(ExchangeError::ForAnotherClient);
    }
    match texts(&claims, "aud").as_deref() {
        Some([_]) => Ok(()),
        _ => Err(ExchangeError::ForOthersToo),
    }
}

/// The scope, where none is asked for: what the token has of what the client may have.
pub(super) fn scope(shown: &Shown, may: &Names) -> Option<Scope> {
    let names = shown.scopes.iter().flatten().map(String::as_str);
    let kept: Vec<&str> = names.filter(|name| may.allows(name)).collect();
    Scope::parse(&kept.join(" ")).ok()
}

/// The audience: what is asked for, if the token names all of it as `resource`, or else what it
/// names. `None` where it names nothing, so that the client's policy alone decides.
pub(super) fn audience(
    shown: &Shown,
    asked: Option<AudienceRequest>,
) -> Result<Option<AudienceRequest>, ExchangeError> {
    let claims = parse(shown)?;
    if claims.get("resource").is_none() {
        return Ok(None);
    }
    let resources = texts(&claims, "resource").ok_or(ExchangeError::Resource)?;
    match asked {
        Some(asked) if asked.names().iter().all(|name| resources.contains(name)) => Ok(Some(asked)),
        Some(_) => Err(ExchangeError::Resource),
        None => {
            let named = match resources.as_slice() {
                [one] => AudienceRequest::one(one.clone()),
                _ => AudienceRequest::many(resources),
            };
            named.map(Some).map_err(|_| ExchangeError::Resource)
        }
    }
}

fn parse(shown: &Shown) -> Result<Object<'_>, ExchangeError> {
    // It was parsed as JSON when it was verified.
    Object::parse_text(&shown.claims, MAX_CLAIMS_DEPTH).map_err(|_| ExchangeError::Resource)
}

/// The values of a claim that is a text, or a list of at least one.
fn texts(claims: &Object<'_>, name: &str) -> Option<Vec<String>> {
    let raw = claims.get(name)?;
    if let Some(one) = string(raw) {
        return Some(vec![one.into_owned()]);
    }
    serde_json::from_str::<Vec<String>>(raw.get()).ok().filter(|many| !many.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typ_is_known_in_every_way_to_write_it() {
        for typ in
            [ID_JAG_TYP, "OAuth-ID-JAG+jwt", "application/oauth-id-jag+jwt", "Application/OAUTH-ID-JAG+JWT"]
        {
            assert!(is_typ(Some(typ)), "{typ}");
        }
        for typ in
            [None, Some(""), Some("JWT"), Some("at+jwt"), Some("oauth-id-jag"), Some("application/jwt")]
        {
            assert!(!is_typ(typ), "{typ:?}");
        }
    }
}
