//! The claims of a verified token as rules, context and identity headers ask for them.
//!
//! Made of `Verified` alone. A claim is named as it is (`sub`, `cognito:groups`, `https://a.example/roles`) or, inside an
//! object, by a JSON Pointer (`/realm_access/roles`, RFC 6901).

use countersign_jose::{
    Verified,
    json::{DEFAULT_DEPTH, Object, string},
};
use serde_json::{Value, value::RawValue};
use std::borrow::Cow;

/// The claims of one token.
#[derive(Debug)]
pub(crate) struct Claims<'a> {
    object: Object<'a>,
}

impl<'a> Claims<'a> {
    /// Those of a token. `None` can not occur: what is verified has been read as an object before.
    pub(crate) fn of(verified: &'a Verified) -> Option<Self> {
        Object::parse(verified.payload(), DEFAULT_DEPTH).ok().map(|object| Self { object })
    }

    /// A claim's JSON text; `None` if it is not there or null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.object.get(name).or_else(|| self.at(name.strip_prefix('/')?));
        found.filter(|raw| raw.get() != "null")
    }

    fn at(&self, pointer: &str) -> Option<&'a RawValue> {
        let mut names = pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~"));
        let mut found = self.object.get(&names.next()?)?;
        for name in names {
            found = Object::parse(found.get().as_bytes(), DEFAULT_DEPTH).ok()?.get(&name)?;
        }
        Some(found)
    }

    /// A claim that is a string.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(string)
    }

    /// Whether a claim has this value, or is a list that has it.
    pub(crate) fn has(&self, name: &str, expected: &Value) -> bool {
        let Some(found) = self.get(name).and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()) else {
            return false;
        };
        found == *expected || found.as_array().is_some_and(|list| list.contains(expected))
    }

    /// What the token may do: `scope` (RFC 8693 §4.2) and `scp` (Okta, Entra), each a list or one text with blanks.
    pub(crate) fn scopes(&self) -> Vec<Cow<'a, str>> {
        let mut scopes = Vec::new();
        for raw in ["scope", "scp"].into_iter().filter_map(|name| self.get(name)) {
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
