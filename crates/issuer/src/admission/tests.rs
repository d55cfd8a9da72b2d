//! Names and values in claims rules: one reading of each.

use super::*;
use crate::{ClaimRules, JwtProfile};

/// The rule that refuses, or `invalid`.
fn refused(deny: &[&str], fixed: &[(&str, &str)], data: &str) -> Option<&'static str> {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    let claims = ClaimRules {
        allow: Names::Any,
        deny: deny.iter().map(|name| name.parse().unwrap()).collect(),
        fixed: fixed.iter().map(|(name, value)| ((*name).to_owned(), raw(value))).collect(),
        schema: None,
    };
    let policy = MintPolicy { claims, ..MintPolicy::operator() };
    let profile = JwtProfile { ring: "default".parse().unwrap() };
    match check_data(&profile, &policy, &Object::parse(data.as_bytes(), 16).unwrap()) {
        Ok(()) => None,
        Err(Refusal::Invalid(_)) => Some("invalid"),
        Err(Refusal::Denied(denial)) => Some(denial.rule().name()),
        Err(Refusal::Unprepared(_)) => Some("unprepared"),
    }
}

#[test]
fn a_denied_name_has_one_reading_and_reaches_inside_claims() {
    let nested = r#"{"realm_access":{"roles":["admin"]}}"#;
    for (deny, expected) in [
        ("realm_access", true),
        ("/realm_access", true),
        ("/realm_access/roles", true),
        ("/realm_access/roles/0", true),
        ("/realm_access/roles/1", false),
        ("/realm_access/groups", false),
        ("/~1realm_access~1roles", false),
        ("roles", false),
    ] {
        assert_eq!(refused(&[deny], &[], nested), expected.then_some("claims.deny"), "{deny}");
    }
}

#[test]
fn a_claim_that_is_named_like_a_pointer_is_not_minted_whatever_the_rules_are() {
    for name in ["/realm_access/roles", "/", "//", "\\u002fa"] {
        for deny in [&[][..], &["realm_access"], &["/realm_access/roles"]] {
            assert_eq!(refused(deny, &[], &format!("{{\"{name}\":1}}")), Some("invalid"), "{name}");
        }
    }
    assert_eq!(refused(&[], &[], r#"{"https://hasura.io/jwt/claims":{"/a":1}}"#), None);
}

#[test]
fn a_fixed_claim_may_be_sent_with_exactly_its_value_and_no_other_of_the_same_float() {
    let fixed = [("tenant", "36893488147419103232")];
    assert_eq!(refused(&[], &fixed, r#"{"tenant":36893488147419103232}"#), None);
    assert_eq!(refused(&[], &fixed, r#"{"tenant":36893488147419103233}"#), Some("claims.fixed"));
}
