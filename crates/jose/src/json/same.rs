//! Whether two JSON values are the same: objects whatever the order of their members, strings
//! whatever their escapes, numbers as the decimals they are written as.
//!
//! Never through floats: 2^65 and 2^65 + 1 are two numbers, and so are 0.3 and
//! 0.30000000000000000001. `1` and `1.0` are of two types, as most readers have it; `1.0` and
//! `10e-1` are one. Used for claims that must have a value.

use super::{DEFAULT_DEPTH, Object, string};
use serde_json::value::RawValue;

/// Compares two values, which were both read strictly before.
pub fn same(one: &RawValue, other: &RawValue) -> bool {
    let (a, b) = (one.get(), other.get());
    if a == b {
        return true;
    }
    match (a.as_bytes().first(), b.as_bytes().first()) {
        (Some(b'"'), Some(b'"')) => string(one).is_some_and(|text| string(other) == Some(text)),
        (Some(b'['), Some(b'[')) => match (list(a), list(b)) {
            (Some(a), Some(b)) => a.len() == b.len() && a.into_iter().zip(b).all(|(a, b)| same(a, b)),
            _ => false,
        },
        (Some(b'{'), Some(b'{')) => match (object(a), object(b)) {
            (Some(a), Some(b)) => {
                let has = |(name, value)| b.get(name).is_some_and(|found| same(value, found));
                a.members().len() == b.members().len() && a.members().all(has)
            }
            _ => false,
        },
        _ => Decimal::of(a).is_some_and(|number| Decimal::of(b) == Some(number)),
    }
}

fn list(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

fn object(text: &str) -> Option<Object<'_>> {
    Object::parse(text.as_bytes(), DEFAULT_DEPTH).ok()
}

/// A JSON number (RFC 8259 §6): digits without zeros at their ends, times a power of ten.
#[derive(PartialEq, Eq)]
struct Decimal {
    /// Written without a fraction and without an exponent.
    integer: bool,
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn of(text: &str) -> Option<Self> {
        let integer = !text.contains(['.', 'e', 'E']);
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            // Zero has no sign: it is the same claim.
            return Some(Self { integer, negative: false, digits: String::new(), exponent: 0 });
        }
        let zeros = digits.len() - digits.trim_end_matches('0').len();
        let power: i64 = power.parse().ok()?;
        let shift = i64::try_from(zeros).ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        Some(Self { integer, negative, digits: significant.to_owned(), exponent: power.checked_add(shift)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_same(one: &str, other: &str) -> bool {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let (one, other) = (raw(one), raw(other));
        assert_eq!(same(&one, &other), same(&other, &one));
        same(&one, &other)
    }

    #[test]
    fn a_value_is_itself_in_every_spelling_and_no_other_of_any_size() {
        for (one, other) in [
            ("1.0", "1.00"),
            ("1.0", "10e-1"),
            ("100.0", "1e2"),
            ("-0", "0"),
            ("0.10", "1E-1"),
            ("36893488147419103232.0", "3.6893488147419103232e19"),
            (r#""\u0061""#, r#""a""#),
            ("[1, [true,null]]", "[1,[true, null]]"),
            (r#"{"a":1,"b":{"c":[]}}"#, r#"{"b":{"c":[ ]},"\u0061":1}"#),
        ] {
            assert!(are_same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("36893488147419103232", "36893488147419103233"),
            ("18446744073709551616", "18446744073709551617"),
            ("9007199254740993", "9007199254740992"),
            ("0.3", "0.30000000000000000001"),
            ("36893488147419103232.0", "36893488147419103233.0"),
            ("1", "1.0"),
            ("100", "1e2"),
            ("1", "-1"),
            ("1", "10"),
            ("1", r#""1""#),
            ("0", "false"),
            ("null", "0"),
            ("true", "false"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
            (r#"{"a":1,"c":2}"#, r#"{"a":1,"b":2}"#),
            (r#"{"a":[36893488147419103232]}"#, r#"{"a":[36893488147419103233]}"#),
            (r#""a""#, r#""A""#),
        ] {
            assert!(!are_same(one, other), "{one} {other}");
        }
    }
}
