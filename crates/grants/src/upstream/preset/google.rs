//! Google: `tokeninfo`, whose `aud` and `azp` must be applications of ours, then OpenID Connect's
//! userinfo.
//!
//! `tokeninfo` takes the token in its query. Userinfo names no application, so it is never asked
//! alone.

use super::refusal;
use crate::upstream::{
    address::ProviderUrl,
    error::{Endpoint, UpstreamError},
    http::{Ask, Http},
    profile::{Bound, Profile, names, subject},
};
use countersign_jose::Timestamp;

pub(in crate::upstream) const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
pub(in crate::upstream) const CHECK_URL: &str = "https://oauth2.googleapis.com/tokeninfo";
pub(in crate::upstream) const PROFILE_URL: &str = "https://openidconnect.googleapis.com/v1/userinfo";

/// Users of Google.
#[derive(Debug)]
pub(in crate::upstream) struct Google {
    pub(in crate::upstream) applications: Vec<String>,
    pub(in crate::upstream) check: ProviderUrl,
    pub(in crate::upstream) profile: ProviderUrl,
}

impl Google {
    pub(in crate::upstream) async fn bind(
        &self,
        http: &Http,
        token: &str,
        now: Timestamp,
    ) -> Result<Bound, UpstreamError> {
        let ask = Ask::get(Endpoint::Check, self.check.with(&[("access_token", token)]), None);
        let answer = http.ask(ask, now).await?;
        let members = answer.ok().ok_or_else(|| refusal(&answer))?;
        let named =
            ["aud", "azp"].into_iter().filter(|name| members.raw(name).is_some_and(|raw| raw != "null"));
        let named: Vec<Option<String>> = named.map(|name| members.string(name)).collect();
        if named.is_empty() {
            return Err(UpstreamError::NoApplication);
        }
        let is_ours =
            |named: &Option<String>| named.as_ref().is_some_and(|id| self.applications.contains(id));
        if !named.iter().all(is_ours) {
            return Err(UpstreamError::OtherApplication);
        }
        let ends = members.integer("exp").map(Timestamp::from_unix_seconds).ok_or(UpstreamError::NoExpiry)?;
        let granted = members.string("scope").map(|scope| names(&scope));
        // Of a token without the scope `openid` it says no `sub`, and neither does userinfo.
        let subject = members.raw("sub").map(|_| subject(&members, "sub")).transpose()?;
        Ok(Bound { subject, granted, ends: Some(ends) })
    }

    pub(in crate::upstream) async fn profile(
        &self,
        http: &Http,
        token: &str,
        bound: Bound,
        now: Timestamp,
    ) -> Result<Profile, UpstreamError> {
        let ask = Ask::get(Endpoint::Profile, self.profile.with(&[]), Some(token));
        let answer = http.ask(ask, now).await?;
        bound.with("sub", &answer.ok().ok_or_else(|| refusal(&answer))?)
    }
}
