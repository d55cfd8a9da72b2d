//! Schemas as clients meet them, and numbers at the edges of what binary floating point can tell
//! apart.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use super::*;
use countersign_jose::json::Object;
use proptest::prelude::*;
use serde_json::json;

fn check(schema: &str, data: &str) -> Result<(), Unaccepted> {
    let schema = Schema::compile(schema).unwrap();
    schema.check(Object::parse(data.as_bytes(), 8).unwrap().members())
}

#[test]
fn claims_outside_the_schema_are_refused_with_their_place() {
    let schema = json!({
        "type": "object",
        "required": ["sub"],
        "properties": { "sub": { "type": "string", "pattern": "^user:" }, "level": { "maximum": 3 } },
        "additionalProperties": false,
    })
    .to_string();
    assert_eq!(check(&schema, r#"{"sub":"user:1","level":3}"#), Ok(()));
    for (data, place) in [
        (r#"{}"#, ""),
        (r#"{"sub":"1"}"#, "/sub"),
        (r#"{"sub":"user:1","level":4}"#, "/level"),
        (r#"{"sub":"user:1","x":1}"#, ""),
    ] {
        assert_eq!(check(&schema, data), Err(Unaccepted::Value(place.to_owned())), "{data}");
    }
}

#[test]
fn a_schema_that_is_none_or_points_elsewhere_is_refused_when_it_is_made() {
    for schema in [
        json!({ "type": "nonsense" }),
        json!({ "$ref": "https://schema.example/x.json" }),
        json!({ "$ref": "file:///etc/passwd" }),
    ] {
        assert!(matches!(Schema::compile(&schema.to_string()), Err(SchemaError::Invalid(_))), "{schema}");
    }
    assert!(matches!(Schema::compile("{"), Err(SchemaError::NotJson(_))));
}

#[test]
fn a_number_that_a_comparison_would_round_is_refused_by_the_name_of_its_claim() {
    let schema = r#"{"properties":{"n":{"maximum":3}}}"#;
    for number in ["3", "3.0", "-0", "-0.0", "0e5", "1e0", "-9223372036854775808", "2.5", "0.1", "1E-7"] {
        assert_eq!(check(schema, &format!("{{\"n\":{number}}}")), Ok(()), "{number}");
    }
    for number in ["4", "9007199254740993", "18446744073709551615", "3.0000001"] {
        let data = format!("{{\"n\":{number}}}");
        assert_eq!(check(schema, &data), Err(Unaccepted::Value("/n".to_owned())), "{number}");
    }
    for number in [
        "3.0000000000000000001",
        "0.10000000000000000001",
        "18446744073709551616",
        "-9223372036854775809",
        "9007199254740993.0",
        "1e20",
        "1e-400",
        "123456789012345678901234567890",
    ] {
        for data in
            [format!("{{\"n\":{number}}}"), format!("{{\"n\":{{\"\\\"1\":[\"2\",{{\"x\":{number}}}]}}}}")]
        {
            assert_eq!(check(schema, &data), Err(Unaccepted::Number("n".to_owned())), "{data}");
        }
    }
    let text = r#"{"n":"3.0000000000000000001 \" 1e20","3.0000000000000000001":1}"#;
    assert_eq!(check(schema, text), Ok(()), "digits in strings and names are no numbers");
}

#[test]
fn a_schema_with_a_number_that_would_be_rounded_is_not_used() {
    for number in ["20000000000000000000", "3.0000000000000000001", "1e400", "1e30"] {
        let schema = format!(r#"{{"properties":{{"tenant":{{"const":{number}}}}}}}"#);
        assert!(Schema::compile(&schema).is_err(), "{number}");
    }
    let odd = r#"{"properties":{"n":{"multipleOf":2}}}"#;
    assert_eq!(check(odd, r#"{"n":9007199254740992}"#), Ok(()));
    assert_eq!(check(odd, r#"{"n":9007199254740993}"#), Err(Unaccepted::Number("n".to_owned())));
}

/// Whole numbers and fractions around the places where `f64` begins to round, as people and
/// machines write them.
fn numbers() -> impl Strategy<Value = String> {
    let near = |center: i128| (-3..=3_i128).prop_map(move |d| (center + d).to_string());
    let whole = prop_oneof![
        near(0),
        near(1 << 53),
        near(-(1 << 53)),
        near(i64::MAX.into()),
        near(u64::MAX.into()),
        any::<i64>().prop_map(|n| n.to_string()),
    ];
    let forms = ["", ".0", ".5", "e0", ".000000000000000001", "e1", "E-2", ".10", "e-18"];
    (whole, proptest::sample::select(forms.to_vec())).prop_map(|(whole, form)| format!("{whole}{form}"))
}

/// A number in units of 10^-18, exact for every one below 10^20 that the strategy makes. Larger
/// ones are never compared.
fn exact(number: &str) -> i128 {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let scale = 18 + exponent.parse::<i32>().unwrap() - i32::try_from(fraction.len()).unwrap();
    let digits: i128 = format!("{whole}{fraction}").parse().unwrap();
    digits.saturating_mul(10_i128.pow(scale.try_into().unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever is accepted or refused by value is so exactly; only a refusal by name says that
    /// nothing was compared.
    #[test]
    fn a_schema_never_says_of_a_number_what_its_digits_do_not(value in numbers(), limit in numbers()) {
        for (keyword, holds) in [
            ("maximum", exact(&value) <= exact(&limit)),
            ("exclusiveMinimum", exact(&value) > exact(&limit)),
            ("const", exact(&value) == exact(&limit)),
        ] {
            let Ok(schema) = Schema::compile(&format!("{{\"properties\":{{\"n\":{{\"{keyword}\":{limit}}}}}}}")) else {
                continue;
            };
            let data = format!("{{\"n\":{value}}}");
            let object = Object::parse(data.as_bytes(), 8).unwrap();
            match schema.check(object.members()) {
                Ok(()) => prop_assert!(holds, "{} is not {} {}", value, keyword, limit),
                Err(Unaccepted::Value(_)) => prop_assert!(!holds, "{} is {} {}", value, keyword, limit),
                Err(Unaccepted::Number(_)) => {}
            }
        }
    }
}
