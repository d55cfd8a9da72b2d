//! What a token says, once it is believed: the same for every kind of source.
//!
//! Everything after a source (scopes, lifetimes, families) knows a token by this alone. That it was
//! verified, or looked up where it was made, is what the source has done before there is one.

use crate::spend::SingleUse;
use countersign_issuer::ShownToken;
use countersign_jose::{MAX_CLAIMS_DEPTH, Timestamp, json::Object, scopes};
use std::{borrow::Cow, fmt};

/// What a believed token says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Whom it is about, as its provider says it.
    pub(crate) subject: String,
    /// Whose it is, for people: the trusted issuer or the provider.
    pub(crate) trust: String,
    /// Its claims, or the profile: the text of a JSON object.
    pub(crate) claims: String,
    /// The scopes it has, where it has any.
    pub(crate) scopes: Option<Vec<String>>,
    /// When it ends; `None` where its provider does not say.
    pub(crate) ends: Option<Timestamp>,
    /// What it is called, for the audit; nothing of what is opaque.
    pub(crate) token: Option<ShownToken>,
    /// The name that is taken when it is exchanged, where it is taken once.
    pub(crate) single: Option<SingleUse>,
}

impl fmt::Debug for Shown {
    /// Without its claims.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// The scopes among claims. What cannot be read allows none.
pub(super) fn scopes_of(claims: &str) -> Option<Vec<String>> {
    let Ok(claims) = Object::parse_text(claims, MAX_CLAIMS_DEPTH) else { return Some(Vec::new()) };
    let shown = scopes(&claims)?;
    Some(shown.into_iter().map(Cow::into_owned).collect())
}
