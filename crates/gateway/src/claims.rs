//! The claims of a verified token as rules, context and identity headers ask for them.
//!
//! Made of `Verified` alone. Which claim a name means is said by `ClaimName` and nowhere else: as it is (`sub`,
//! `cognito:groups`, `https://a.example/roles`) or by a JSON Pointer (`/realm_access/roles`, RFC 6901), never both.

use countersign_jose::{
    ClaimName, ClaimValue, Verified,
    json::{DEFAULT_DEPTH, Object, string},
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

    /// What the token may do: `scope` (RFC 8693 §4.2) and `scp` (Okta, Entra), each a list or one text with blanks.
    pub(crate) fn scopes(&self) -> Vec<Cow<'a, str>> {
        let mut scopes = Vec::new();
        for raw in ["scope", "scp"].into_iter().filter_map(|name| self.object.get(name)) {
            match string(raw) {
                Some(Cow::Borrowed(text)) => scopes.extend(words(text).map(Cow::Borrowed)),
                Some(Cow::Owned(text)) => scopes.extend(words(&text).map(|word| Cow::Owned(word.to_owned()))),
                None => {
                    let list: Vec<String> = serde_json::from_str(raw.get()).unwrap_or_default();
                    scopes.extend(list.into_iter().map(Cow::Owned));
                }
            }
        }
        scopes
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}
