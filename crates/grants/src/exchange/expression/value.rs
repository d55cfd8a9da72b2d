//! Claims as values of CEL, and such values as JSON: types kept, numbers exact or refused.
//!
//! A whole number is an integer of 64 bits, with or without a sign; any other number is a double if
//! the double is written with the same decimal. What is neither is not rounded: an expression that
//! would compute with it has no value.

use super::{EvaluationError, subset::Reads};
use cel::{
    Value,
    objects::{Key, Map},
};
use countersign_jose::{
    MAX_CLAIMS_DEPTH,
    json::{Object, same, string},
};
use serde_json::value::RawValue;
use std::{collections::HashMap, sync::Arc};

/// How many values an expression looks at: every member and element counts.
const MAX_VALUES: usize = 512;

/// The claims that an expression reads.
pub(super) fn of_claims(claims: &Object<'_>, reads: &Reads) -> Result<Value, EvaluationError> {
    let mut left = MAX_VALUES;
    let mut members = HashMap::new();
    for (name, raw) in claims.members().filter(|(name, _)| reads.has(name)) {
        let value = of_json(raw, &mut left).map_err(|why| match why {
            EvaluationError::Inexact(_) => EvaluationError::Inexact(name.to_owned()),
            other => other,
        })?;
        members.insert(Key::from(name), value);
    }
    Ok(Value::Map(Map { map: Arc::new(members) }))
}

fn of_json(raw: &RawValue, left: &mut usize) -> Result<Value, EvaluationError> {
    *left = left.checked_sub(1).ok_or(EvaluationError::TooMuch)?;
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'"') => Value::String(Arc::new(string(raw).ok_or(EvaluationError::Failed)?.into_owned())),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') => Value::Null,
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| EvaluationError::Failed)?;
            let elements = elements.into_iter().map(|element| of_json(element, left));
            Value::List(Arc::new(elements.collect::<Result<_, _>>()?))
        }
        Some(b'{') => {
            let object = Object::parse_text(text, MAX_CLAIMS_DEPTH).map_err(|_| EvaluationError::TooMuch)?;
            let members = object.members().map(|(name, raw)| Ok((Key::from(name), of_json(raw, left)?)));
            Value::Map(Map { map: Arc::new(members.collect::<Result<_, EvaluationError>>()?) })
        }
        _ => number(raw)?,
    })
}

fn number(raw: &RawValue) -> Result<Value, EvaluationError> {
    let text = raw.get();
    let inexact = || EvaluationError::Inexact(String::new());
    if !text.contains(['.', 'e', 'E']) {
        return match (text.parse(), text.parse()) {
            (Ok(signed), _) => Ok(Value::Int(signed)),
            (Err(_), Ok(unsigned)) => Ok(Value::UInt(unsigned)),
            (Err(_), Err(_)) => Err(inexact()),
        };
    }
    let double: f64 = text.parse().map_err(|_| inexact())?;
    let written = serde_json::value::to_raw_value(&double).map_err(|_| inexact())?;
    if double.is_finite() && same(&written, raw) { Ok(Value::Float(double)) } else { Err(inexact()) }
}

/// A value as JSON, of at most `longest` bytes.
pub(super) fn to_json(value: &Value, longest: usize) -> Result<String, EvaluationError> {
    let mut text = String::new();
    write(value, &mut text, longest)?;
    Ok(text)
}

fn write(value: &Value, text: &mut String, longest: usize) -> Result<(), EvaluationError> {
    let quoted = |text: &str| serde_json::to_string(text).map_err(|_| EvaluationError::NotJson);
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => text.push_str(&value.to_string()),
        Value::UInt(value) => text.push_str(&value.to_string()),
        Value::Float(value) if value.is_finite() => {
            text.push_str(&serde_json::to_string(value).map_err(|_| EvaluationError::NotJson)?);
        }
        Value::String(value) if value.len() <= longest => text.push_str(&quoted(value)?),
        Value::String(_) => return Err(EvaluationError::TooLong(longest)),
        Value::List(elements) => {
            text.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(element, text, longest)?;
            }
            text.push(']');
        }
        Value::Map(members) => {
            let mut sorted: Vec<_> = members.map.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                let Key::String(name) = name else { return Err(EvaluationError::NotJson) };
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&quoted(name)?);
                text.push(':');
                write(member, text, longest)?;
            }
            text.push('}');
        }
        _ => return Err(EvaluationError::NotJson),
    }
    if text.len() > longest { Err(EvaluationError::TooLong(longest)) } else { Ok(()) }
}
