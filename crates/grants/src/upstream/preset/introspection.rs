//! Any authorization server with token introspection (RFC 7662): what it says of a token is the
//! profile.
//!
//! `active` must be `true`, nothing may say that it is another token than an access token,
//! `client_id` one of our applications or `aud` one of our audiences (both, where the rule has
//! both), `exp` ahead. Where there is a `scope`, nothing beyond it can be asked for, as with an
//! access token that is a JWT.

use super::of_application;
use crate::upstream::{
    Application,
    address::ProviderUrl,
    error::{Endpoint, UpstreamError},
    http::{Ask, Content, Http, Members},
    profile::{Bound, Profile, names},
};
use countersign_jose::Timestamp;
use hyper::Method;

/// Tokens that an authorization server tells us about.
#[derive(Debug)]
pub(in crate::upstream) struct Introspection {
    pub(in crate::upstream) application: Application,
    pub(in crate::upstream) check: ProviderUrl,
    /// Values that `client_id` may have.
    pub(in crate::upstream) applications: Vec<String>,
    /// Values one of which `aud` has.
    pub(in crate::upstream) audiences: Vec<String>,
    /// The member that is the subject.
    pub(in crate::upstream) subject: String,
}

impl Introspection {
    /// What the server says of a token, and what is thereby known of it. `redeemed` is what its
    /// token endpoint has said.
    pub(in crate::upstream) async fn profile(
        &self,
        http: &Http,
        token: &str,
        redeemed: Bound,
        now: Timestamp,
    ) -> Result<(Profile, Bound), UpstreamError> {
        let ask = Ask {
            endpoint: Endpoint::Check,
            method: Method::POST,
            url: self.check.with(&[]),
            authorization: Some(self.application.basic()),
            body: Some(Content::form(&[("token", token), ("token_type_hint", "access_token")])),
        };
        let answer = http.ask(ask, now).await?;
        let members = answer.ok().ok_or_else(|| of_application(&answer))?;
        match members.raw("active") {
            Some("true") => {}
            Some("false") => return Err(UpstreamError::Refused),
            _ => return Err(members.lacks("active")),
        }
        check_kind(&members)?;
        self.check(&members)?;
        let ends = members.integer("exp").map(Timestamp::from_unix_seconds).ok_or(UpstreamError::NoExpiry)?;
        let ends = redeemed.ends.map_or(ends, |other| ends.min(other));
        let scopes = members.raw("scope").map(|_| names(&members.string("scope").unwrap_or_default()));
        let bound = Bound { subject: None, granted: scopes.clone().or(redeemed.granted), ends: Some(ends) };
        let profile = bound.clone().with(&self.subject, &members)?;
        Ok((Profile { scopes, ..profile }, bound))
    }

    fn check(&self, members: &Members<'_>) -> Result<(), UpstreamError> {
        let one = |name| members.string(name).map(|value| vec![value]);
        for (found, accepted) in [
            (one("client_id"), &self.applications),
            (one("aud").or_else(|| members.strings("aud")), &self.audiences),
        ] {
            if accepted.is_empty() {
                continue;
            }
            let found = found.ok_or(UpstreamError::NoApplication)?;
            if !found.iter().any(|found| accepted.contains(found)) {
                return Err(UpstreamError::OtherApplication);
            }
        }
        Ok(())
    }
}

/// Refuses what the server says is not an access token: servers introspect refresh tokens too (RFC
/// 7662 §2.1).
fn check_kind(members: &Members<'_>) -> Result<(), UpstreamError> {
    let said =
        |name| members.raw(name).map(|_| members.string(name).unwrap_or_default().to_ascii_lowercase());
    let is_used = said("token_type").is_none_or(|kind| ["bearer", "dpop"].contains(&kind.as_str()));
    // RFC 9449 §6.2: without the key there is nothing to check it by.
    let is_used = is_used && (said("token_type").as_deref() != Some("dpop") || members.raw("cnf").is_some());
    let others = ["refresh", "refresh_token", "offline", "id", "id_token"];
    let is_other = |name| said(name).is_some_and(|kind| others.contains(&kind.as_str()));
    if is_used && !is_other("typ") && !is_other("token_use") { Ok(()) } else { Err(UpstreamError::OtherKind) }
}
