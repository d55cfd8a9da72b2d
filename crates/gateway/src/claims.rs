//! The claims of a verified token as rules, context and identity headers ask for them.
//!
//! Made of `Verified` alone. Which claim a name means is said by `ClaimName` and nowhere else: as
//! it is (`sub`, `cognito:groups`, `https://a.example/roles`) or by a JSON Pointer
//! (`/realm_access/roles`, RFC 6901), never both.

use countersign_jose::{
    ClaimName, ClaimValue, Verified,
    json::{DEFAULT_DEPTH, Object, string},
    scopes,
};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The claims of one token.
#[derive(Debug)]
pub(crate) struct Claims<'a> {
    object: Object<'a>,
}

impl<'a> Claims<'a> {
    /// Those of a token. `None` cannot occur: what is verified has been read as an object before.
    pub(crate) fn of(verified: &'a Verified) -> Option<Self> {
        Object::parse(verified.payload(), DEFAULT_DEPTH).ok().map(|object| Self { object })
    }

    /// A claim's JSON text; `None` if it is not there or null.
    pub(crate) fn get(&self, name: &ClaimName) -> Option<&'a RawValue> {
        name.find(&self.object).filter(|raw| raw.get() != "null")
    }

    /// A claim that is a string.
    pub(crate) fn text(&self, name: &ClaimName) -> Option<Cow<'a, str>> {
        self.get(name).and_then(string)
    }

    /// Whether a claim has this value, or is a list that has it.
    pub(crate) fn has(&self, name: &ClaimName, expected: &ClaimValue) -> bool {
        let Some(found) = self.get(name) else { return false };
        let list = || found.get().starts_with('[').then(|| serde_json::from_str(found.get()).ok()).flatten();
        expected.is(found)
            || list().is_some_and(|list: Vec<&RawValue>| list.into_iter().any(|entry| expected.is(entry)))
    }

    /// What the token may do.
    pub(crate) fn scopes(&self) -> Vec<Cow<'a, str>> {
        scopes(&self.object).unwrap_or_default()
    }

    /// What is handed on where `scope` is to be: the text that the routes were judged by. `None`
    /// for every other claim, and where a token has no `scp`, so that `scope` is handed on as it
    /// is.
    pub(crate) fn scope_with_scp(&self, name: &ClaimName) -> Option<String> {
        if name.top_level() != Some("scope") || self.get(&ClaimName::member("scp")).is_none() {
            return None;
        }
        let mut scopes = self.scopes();
        // An entry of a list with a blank in it is one name to the routes, and would be two here.
        scopes.retain(|scope| !scope.is_empty() && !scope.contains(char::is_whitespace));
        Some(scopes.join(" "))
    }
}
