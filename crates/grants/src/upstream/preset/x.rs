//! X: `GET /2/users/me` with a user's token (OAuth 2.0 with PKCE), which has the scopes
//! `tweet.read` and `users.read`.
//!
//! No address of X says for which application a token was issued. A token that is shown is
//! therefore worth nothing unless the rule gives that up by name; a code that we have redeemed is
//! bound. The profile is the member `data`.

use super::refusal;
use crate::upstream::{
    address::ProviderUrl,
    error::{Endpoint, UpstreamError},
    http::{Ask, Http},
    profile::{Bound, Profile},
};
use countersign_jose::Timestamp;

pub(in crate::upstream) const TOKEN_URL: &str = "https://api.x.com/2/oauth2/token";
pub(in crate::upstream) const PROFILE_URL: &str = "https://api.x.com/2/users/me";

/// Users of X.
#[derive(Debug)]
pub(in crate::upstream) struct X {
    pub(in crate::upstream) profile: ProviderUrl,
    /// Members beyond `id`, `name` and `username` (`user.fields`).
    pub(in crate::upstream) fields: Vec<String>,
    /// Whether a token of any application will do.
    pub(in crate::upstream) any_application: bool,
}

impl X {
    pub(in crate::upstream) fn bind(&self) -> Result<Bound, UpstreamError> {
        if self.any_application { Ok(Bound::default()) } else { Err(UpstreamError::Unbound) }
    }

    pub(in crate::upstream) async fn profile(
        &self,
        http: &Http,
        token: &str,
        bound: Bound,
        now: Timestamp,
    ) -> Result<Profile, UpstreamError> {
        let fields = self.fields.join(",");
        let query = [("user.fields", fields.as_str())];
        let query = if fields.is_empty() { &[][..] } else { &query };
        let ask = Ask::get(Endpoint::Profile, self.profile.with(query), Some(token));
        let answer = http.ask(ask, now).await?;
        let members = answer.ok().ok_or_else(|| refusal(&answer))?;
        bound.with("id", &members.object("data")?)
    }
}
