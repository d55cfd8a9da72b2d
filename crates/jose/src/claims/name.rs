//! Which claim a setting means, and which value it expects: one reading for each text.
//!
//! A text that begins with `/` is a JSON Pointer (RFC 6901) and nothing else; any other text is
//! the name of a member of the claims object. So a claim that somebody else may add, such as one
//! literally named `/roles/admin`, can never stand in for the one a pointer means; that claim is
//! reached only as `/~1roles~1admin`. A value is compared exactly: numbers as decimals, never as
//! floats, so that 2^65 is not 2^65 + 1. Used wherever settings name claims: by `Policy`, the
//! gate's rules, headers and context, and the issuer's mint policies. Pinned by
//! `tests/claim_names.rs`.

use crate::json::{self, DEFAULT_DEPTH, Object};
use serde_json::{Value, value::RawValue};
use std::{fmt, str::FromStr};

/// A claim, at the top or inside an object or array.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimName {
    text: String,
    /// The member at the top, then what is looked up in each value found.
    first: String,
    rest: Vec<String>,
}

/// Why a text names no claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimNameError {
    /// No text at all.
    #[error("a claim's name is empty; write a name like sub, or a JSON Pointer like /realm_access/roles")]
    Empty,
    /// `~` in a pointer that is neither `~0` nor `~1` (RFC 6901 §3).
    #[error("a JSON Pointer has a `~` that is neither `~0` (for ~) nor `~1` (for /)")]
    Escape,
}

impl ClaimName {
    /// The member of the claims object that has exactly this name, whatever characters are in it.
    pub fn member(name: &str) -> Self {
        let text = match name.strip_prefix('/') {
            None => name.to_owned(),
            Some(_) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        };
        Self { text, first: name.to_owned(), rest: Vec::new() }
    }

    /// The claim's JSON text, if it is there.
    pub fn find<'a>(&self, claims: &Object<'a>) -> Option<&'a RawValue> {
        let top = claims.get(&self.first)?;
        self.rest.iter().try_fold(top, |value, name| child(value, name))
    }

    /// The name as it is written in settings.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of the top-level member this is, or is inside of.
    pub fn top(&self) -> &str {
        &self.first
    }

    /// The name of the top-level member this is, or `None` for a claim inside another one.
    pub fn top_level(&self) -> Option<&str> {
        self.rest.is_empty().then_some(self.first.as_str())
    }
}

/// What a pointer's next token selects in a value (RFC 6901 §4).
fn child<'a>(value: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    if value.get().starts_with('[') {
        let canonical = name == "0" || !name.starts_with('0') && name.bytes().all(|b| b.is_ascii_digit());
        let index: usize = name.parse().ok().filter(|_| canonical)?;
        let values: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
        return values.get(index).copied();
    }
    Object::parse(value.get().as_bytes(), DEFAULT_DEPTH).ok()?.get(name)
}

impl FromStr for ClaimName {
    type Err = ClaimNameError;

    fn from_str(text: &str) -> Result<Self, ClaimNameError> {
        let Some(pointer) = text.strip_prefix('/') else {
            return if text.is_empty() { Err(ClaimNameError::Empty) } else { Ok(Self::member(text)) };
        };
        let mut tokens = pointer.split('/').map(unescape);
        let first = tokens.next().ok_or(ClaimNameError::Empty)??;
        Ok(Self { text: text.to_owned(), first, rest: tokens.collect::<Result<_, _>>()? })
    }
}

fn unescape(token: &str) -> Result<String, ClaimNameError> {
    let mut parts = token.split('~');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match (part.strip_prefix('0'), part.strip_prefix('1')) {
            (Some(rest), _) => name.extend(["~", rest]),
            (_, Some(rest)) => name.extend(["/", rest]),
            (None, None) => return Err(ClaimNameError::Escape),
        }
    }
    Ok(name)
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A value that a claim is expected to have.
#[derive(Debug, Clone)]
pub struct ClaimValue(Box<RawValue>);

/// A number in settings that was rounded when they were read, so that it cannot be compared
/// exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the number {0} is beyond 2^53 and not exact; expect a claim of that size as text, or leave it out")]
pub struct InexactNumber(String);

impl ClaimValue {
    /// The value as settings have it.
    pub fn of(value: &Value) -> Result<Self, InexactNumber> {
        match inexact(value) {
            Some(number) => Err(InexactNumber(number)),
            // A `Value` has string keys and finite numbers: it is always JSON.
            None => Ok(Self(serde_json::value::to_raw_value(value).unwrap_or_default())),
        }
    }

    /// Whether a claim has exactly this value.
    pub fn is(&self, found: &RawValue) -> bool {
        json::same(&self.0, found)
    }

    /// Its JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for ClaimValue {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

/// The first number that is a float so large that the integers beside it became the same one.
fn inexact(value: &Value) -> Option<String> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            number.as_f64().is_some_and(|float| float.abs() >= EXACT).then(|| number.to_string())
        }
        Value::Array(values) => values.iter().find_map(inexact),
        Value::Object(members) => members.values().find_map(inexact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
