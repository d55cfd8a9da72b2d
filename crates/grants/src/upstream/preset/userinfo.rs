//! Any provider that answers a bearer with a profile (OpenID Connect's userinfo and the like).
//!
//! Such an answer says nothing about the application unless a member of it does: `binding` names
//! members and the values they must have. Without one, only codes that we redeem are taken.

use super::refusal;
use crate::upstream::{
    address::ProviderUrl,
    error::{Endpoint, UpstreamError},
    http::{Ask, Http, Members},
    profile::{Bound, Profile},
};
use countersign_jose::Timestamp;
use std::collections::BTreeMap;

/// Users of a provider.
#[derive(Debug)]
pub(in crate::upstream) struct Userinfo {
    pub(in crate::upstream) profile: ProviderUrl,
    /// The member that is the subject.
    pub(in crate::upstream) subject: String,
    /// Members that prove for which application a token was issued, and the values each may have.
    pub(in crate::upstream) binding: BTreeMap<String, Vec<String>>,
    /// Whether a token of any application will do.
    pub(in crate::upstream) any_application: bool,
}

/// Whether something else has bound the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Origin {
    /// It was shown to us.
    Shown,
    /// We have redeemed a code for it.
    Redeemed,
}

impl Userinfo {
    pub(in crate::upstream) async fn profile(
        &self,
        http: &Http,
        token: &str,
        bound: Bound,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Profile, UpstreamError> {
        if origin == Origin::Shown && self.binding.is_empty() && !self.any_application {
            return Err(UpstreamError::Unbound);
        }
        let ask = Ask::get(Endpoint::Profile, self.profile.with(&[]), Some(token));
        let answer = http.ask(ask, now).await?;
        let members = answer.ok().ok_or_else(|| refusal(&answer))?;
        self.check(&members)?;
        bound.with(&self.subject, &members)
    }

    fn check(&self, members: &Members<'_>) -> Result<(), UpstreamError> {
        for (name, accepted) in &self.binding {
            let found = members.string(name).map(|value| vec![value]).or_else(|| members.strings(name));
            let found = found.ok_or(UpstreamError::NoApplication)?;
            if !found.iter().any(|found| accepted.contains(found)) {
                return Err(UpstreamError::OtherApplication);
            }
        }
        Ok(())
    }
}
