//! JSON Schemas for what a client sends. They judge the numbers that leave in the token, digit for
//! digit.
//!
//! A schema compares numbers as binary floating point, while a claim leaves as the text it came in.
//! A number that the two do not agree on (`3.0000000000000000001` is 3 to one of them) is refused
//! by the claim's name, and a schema that has such a number is not used. What is left is ordered
//! the same way in both, so every comparison is exact. The rules are in docs/decisions/0029. Pinned
//! by the tests below and by `tests/mint_properties.rs`.

use serde_json::value::RawValue;

/// A compiled JSON Schema for the claims a client sets.
pub struct Schema {
    #[cfg(feature = "json-schema")]
    validator: jsonschema::Validator,
    #[cfg(feature = "json-schema")]
    numbers: Numbers,
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Not JSON.
    #[error("not valid JSON: {0}")]
    NotJson(String),
    /// Not a valid schema.
    #[error("not a valid JSON Schema: {0}")]
    Invalid(String),
    /// A number in it has more digits than can be compared.
    #[error("the number {0} cannot be compared exactly; {EXACT_NUMBERS}")]
    Number(String),
    /// This build has no JSON Schema.
    #[error("this build of countersign has no JSON Schema; build it with --features full")]
    NotInThisBuild,
}

/// What a schema does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unaccepted {
    /// The value at this JSON Pointer, or the whole object.
    Value(String),
    /// A number in this claim, which no comparison can be trusted with.
    #[cfg_attr(
        not(feature = "json-schema"),
        expect(dead_code, reason = "a build without JSON Schema compares nothing")
    )]
    Number(String),
}

/// What to do about a number that cannot be compared.
pub(crate) const EXACT_NUMBERS: &str =
    "use an integer of 64 bits, or a decimal below 2^53 with at most 15 significant digits";

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schema(..)")
    }
}

#[cfg(feature = "json-schema")]
impl Schema {
    /// Compiles the text of a schema. References to other documents are not fetched.
    ///
    /// # Errors
    ///
    /// If it is not a JSON Schema, or has a number that cannot be compared exactly.
    pub fn compile(schema: &str) -> Result<Self, SchemaError> {
        let raw: &RawValue =
            serde_json::from_str(schema).map_err(|why| SchemaError::NotJson(why.to_string()))?;
        let value: serde_json::Value =
            serde_json::from_str(schema).map_err(|why| SchemaError::NotJson(why.to_string()))?;
        // As written anew, so that no spelling hides it.
        let numbers =
            if value.to_string().contains("multipleOf") { Numbers::Divided } else { Numbers::Compared };
        if let Some(number) = numbers.first_inexact(raw.get()) {
            return Err(SchemaError::Number(countersign_jose::excerpt(number)));
        }
        let validator =
            jsonschema::validator_for(&value).map_err(|why| SchemaError::Invalid(why.to_string()))?;
        Ok(Self { validator, numbers })
    }

    /// Judges an object that has these members.
    pub(crate) fn check<'a>(
        &self,
        members: impl Iterator<Item = (&'a str, &'a RawValue)>,
    ) -> Result<(), Unaccepted> {
        let mut object = serde_json::Map::new();
        for (name, raw) in members {
            if self.numbers.first_inexact(raw.get()).is_some() {
                return Err(Unaccepted::Number(name.to_owned()));
            }
            let unreadable = |_| Unaccepted::Value(format!("/{name}"));
            object.insert(name.to_owned(), serde_json::from_str(raw.get()).map_err(unreadable)?);
        }
        let object = serde_json::Value::Object(object);
        let place = |why: jsonschema::ValidationError<'_>| Unaccepted::Value(why.instance_path().to_string());
        self.validator.validate(&object).map_err(place)
    }
}

#[cfg(not(feature = "json-schema"))]
impl Schema {
    /// Says that this build has no JSON Schema.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn compile(_: &str) -> Result<Self, SchemaError> {
        Err(SchemaError::NotInThisBuild)
    }

    pub(crate) fn check<'a>(
        &self,
        _: impl Iterator<Item = (&'a str, &'a RawValue)>,
    ) -> Result<(), Unaccepted> {
        Err(Unaccepted::Value(String::new()))
    }
}

/// What a schema does with numbers.
#[cfg(feature = "json-schema")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// It compares them: integers of 64 bits as such.
    Compared,
    /// It also divides them (`multipleOf`), as `f64` whatever they are.
    Divided,
}

/// Up to here every whole number is an `f64` of its own.
#[cfg(feature = "json-schema")]
const LARGEST_SAFE: u64 = 1 << 53;

#[cfg(feature = "json-schema")]
impl Numbers {
    /// The first number of a JSON text that does not mean the same as text and as the value a
    /// schema sees.
    fn first_inexact(self, json: &str) -> Option<&str> {
        number_tokens(json).find(|token| !self.is_exact(token))
    }

    fn is_exact(self, token: &str) -> bool {
        if !token.contains(['.', 'e', 'E']) {
            let magnitude = token.parse::<i64>().map(i64::unsigned_abs).or_else(|_| token.parse::<u64>());
            return magnitude.is_ok_and(|n| self == Self::Compared || n <= LARGEST_SAFE);
        }
        // Below 2^53, a decimal that is the shortest text of its own `f64` has that `f64` to
        // itself, and larger ones have larger `f64`s. The parser is the one whose value the schema
        // is given.
        let Ok(value) = serde_json::from_str::<f64>(token) else { return false };
        // Exact up to this power of two.
        #[expect(clippy::cast_precision_loss, reason = "2^53 is an f64")]
        let safe = value.abs() <= LARGEST_SAFE as f64;
        safe && Decimal::parse(token).is_some_and(|d| Some(d) == Decimal::parse(&format!("{value:e}")))
    }
}

/// The numbers of a valid JSON text, as they are written.
#[cfg(feature = "json-schema")]
fn number_tokens(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit())?;
            let (_, found) = rest.split_at_checked(start)?;
            if let Some(string) = found.strip_prefix('"') {
                rest = string.get(end_of_string(string)..)?;
                continue;
            }
            let end = found
                .find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9'))
                .unwrap_or(found.len());
            let (token, behind) = found.split_at_checked(end)?;
            rest = behind;
            return Some(token);
        }
    })
}

/// Where a string ends, behind its closing quote.
#[cfg(feature = "json-schema")]
fn end_of_string(string: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in string.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    string.len()
}

/// A decimal number as its significant digits and a power of ten; one form for each value, but for
/// the sign of zero.
#[cfg(feature = "json-schema")]
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

#[cfg(feature = "json-schema")]
impl Decimal {
    fn parse(token: &str) -> Option<Self> {
        let (negative, token) = token.strip_prefix('-').map_or((false, token), |rest| (true, rest));
        let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0').trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let cut = all.len() - all.trim_end_matches('0').len();
        let exponent: i64 = exponent.parse().ok()?;
        let exponent = exponent
            .checked_sub(i64::try_from(fraction.len()).ok()?)?
            .checked_add(i64::try_from(cut).ok()?)?;
        Some(Self { negative, digits: digits.to_owned(), exponent })
    }
}

#[cfg(all(test, feature = "json-schema"))]
mod tests;
