//! Claims chosen by configuration, in the form that the other side takes: `context` of an
//! authorizer's answer.
//!
//! REST and WebSocket APIs take strings, numbers and booleans (API Gateway developer guide, "Output
//! from an API Gateway Lambda authorizer"), HTTP APIs with simple responses also lists and maps of
//! those. What does not fit is given as its JSON text; null is left out; the key `claims` is
//! reserved. A value that would make the answer too large is left out and logged. Called by
//! `lambda/reply`.

use crate::claims::Claims;
use countersign_jose::{ClaimName, json::string};
use countersign_verifier::Accepted;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, value::RawValue};
use std::borrow::Cow;

/// All values together, as JSON. An authorizer's answer may have 8 KB in all.
const MAX_CONTEXT_BYTES: usize = 1792;
/// Integers that every JSON reader takes as they are (RFC 8259 §6).
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Which claims are handed on, and under which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextRules {
    /// Key in the context, claim of the token.
    pub entries: Vec<(String, ClaimName)>,
}

impl Default for ContextRules {
    /// `sub`, `iss`, `scope` and `exp`: who, whose word it is, what they may do, until when.
    fn default() -> Self {
        let entry = |name: &str| (name.to_owned(), ClaimName::member(name));
        Self { entries: ["sub", "iss", "scope", "exp"].map(entry).to_vec() }
    }
}

/// What values the other side takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueForm {
    /// Strings, numbers and booleans.
    Flat,
    /// Also lists and maps of them.
    Nested,
}

/// The context of one answer.
#[derive(Debug, Default)]
pub(crate) struct Context<'a> {
    entries: Vec<(&'a str, ContextValue<'a>)>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ContextValue<'a> {
    AsItIs(&'a RawValue),
    Text(Cow<'a, str>),
}

impl<'a> Context<'a> {
    pub(crate) fn of(accepted: Option<&'a Accepted>, rules: &'a ContextRules, form: ValueForm) -> Self {
        let mut context = Self::default();
        let Some(claims) = accepted.and_then(|accepted| Claims::of(accepted.verified())) else {
            return context;
        };
        let mut size = 2;
        for (key, claim) in &rules.entries {
            let value = match (claims.scope_with_scp(claim), claims.get(claim)) {
                (Some(scopes), _) => ContextValue::Text(Cow::Owned(scopes)),
                (None, Some(raw)) => value(raw, form),
                (None, None) => continue,
            };
            size += key.len() + 4 + value.len();
            if size > MAX_CONTEXT_BYTES {
                tracing::warn!(
                    key,
                    "claims too large for the context of an authorizer's answer were left out"
                );
                return context;
            }
            context.entries.push((key, value));
        }
        context
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Serialize for Context<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (key, value) in &self.entries {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl ContextValue<'_> {
    /// Bytes it takes as JSON, at most.
    fn len(&self) -> usize {
        match self {
            Self::AsItIs(raw) => raw.get().len(),
            // A quote or backslash becomes two characters; a text with controls has them escaped
            // already.
            Self::Text(text) => text.len() * 2 + 2,
        }
    }
}

fn value(raw: &RawValue, form: ValueForm) -> ContextValue<'_> {
    let text = raw.get();
    let fits = match text.as_bytes().first() {
        Some(b'"' | b't' | b'f') => true,
        Some(b'{' | b'[') => form == ValueForm::Nested && is_flat(text),
        _ => is_plain_number(text),
    };
    if fits { ContextValue::AsItIs(raw) } else { ContextValue::Text(Cow::Borrowed(text)) }
}

fn is_plain_number(text: &str) -> bool {
    text.strip_prefix('-').unwrap_or(text).parse::<u64>().is_ok_and(|number| number <= MAX_INTEGER)
}

/// A list or map of strings, numbers and booleans.
fn is_flat(text: &str) -> bool {
    let scalar = |value: &Value| match value {
        Value::String(_) | Value::Bool(_) => true,
        Value::Number(number) => is_plain_number(&number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    match serde_json::from_str(text) {
        Ok(Value::Array(list)) => list.iter().all(scalar),
        Ok(Value::Object(map)) => map.values().all(scalar),
        _ => false,
    }
}

/// The text a claim has outside JSON: a string as it is, anything else as its JSON text.
pub(crate) fn plain_text(raw: &RawValue) -> Cow<'_, str> {
    string(raw).unwrap_or(Cow::Borrowed(raw.get()))
}
