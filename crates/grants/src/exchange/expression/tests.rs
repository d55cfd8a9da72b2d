//! What expressions say of claims, and what cannot be said.

use super::*;
use serde_json::json;

const CLAIMS: &str = r#"{
    "sub": "alice", "name": "Alice \u00e9", "age": 41, "id": 12345678901234567890, "huge": 123456789012345678901234567890,
    "ratio": 1.0, "third": 0.1, "precise": 0.1234567890123456789, "email_verified": true, "none": null, "tags": ["a", "b"],
    "org": {"name": "Acme", "roles": ["admin"], "big": 98765432109876543210},
    "https://a.example/role": "r", "long": "xxxxxxxxxxxxxxxxxxxx"
}"#;

fn compiled(text: &str) -> Expression {
    Expression::compile(text).unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn json_of(text: &str) -> Result<Option<String>, EvaluationError> {
    compiled(text).json(&claims_of(CLAIMS).unwrap(), 4096)
}

fn holds(text: &str) -> Result<bool, EvaluationError> {
    compiled(text).holds(&claims_of(CLAIMS).unwrap())
}

#[test]
fn values_keep_their_types_and_numbers_their_digits() {
    for (text, value) in [
        ("claims.name", r#""Alice \u00e9""#),
        ("claims.id", "12345678901234567890"),
        // What only names a claim is copied, whatever its size.
        ("claims.huge", "123456789012345678901234567890"),
        ("claims.precise", "0.1234567890123456789"),
        ("claims.ratio", "1.0"),
        ("claims.org.big", "98765432109876543210"),
        (r#"claims["https://a.example/role"]"#, r#""r""#),
        (r#"claims["org"].name"#, r#""Acme""#),
        // What is computed keeps types too.
        ("claims.age + 1", "42"),
        ("true ? claims.id : claims.id", "12345678901234567890"),
        ("true ? claims.ratio : 0.0", "1.0"),
        ("claims.third + 0.0", "0.1"),
        ("[claims.age, claims.ratio]", "[41,1.0]"),
        ("{'b': claims.age, 'a': claims.tags}", r#"{"a":["a","b"],"b":41}"#),
        ("'x:' + claims.sub", r#""x:alice""#),
        ("string(claims.age)", r#""41""#),
        ("int('7')", "7"),
        ("size(claims.tags)", "2"),
        ("claims.tags.filter(t, t != 'a')", r#"["b"]"#),
        ("claims.tags.map(t, [t, claims.sub])", r#"[["a","alice"],["b","alice"]]"#),
        ("claims.tags[1]", r#""b""#),
        ("has(claims.missing) ? claims.missing : 'guest'", r#""guest""#),
    ] {
        assert_eq!(json_of(text), Ok(Some(value.to_owned())), "{text}");
    }
    for nothing in ["claims.none", "null", "has(claims.missing) ? claims.missing : null"] {
        assert_eq!(json_of(nothing), Ok(None), "{nothing}");
    }
}

#[test]
fn a_number_that_cannot_be_held_exactly_is_never_rounded() {
    for (text, claim) in [
        ("claims.huge + 1", "huge"),
        ("claims.huge == claims.huge", "huge"),
        ("[claims.precise]", "precise"),
        ("claims.org.big > 1", "org"),
        ("claims", "huge"),
    ] {
        assert_eq!(json_of(text), Err(EvaluationError::Inexact(claim.to_owned())), "{text}");
    }
    // Claims that are not looked at are no hindrance.
    assert_eq!(holds("claims.age == 41 && claims.email_verified"), Ok(true));
    assert_eq!(json_of("9223372036854775807 + claims.age"), Err(EvaluationError::Failed));
}

#[test]
fn what_is_missing_or_of_another_type_is_refused_by_name() {
    let missing = |name: &str| Err(EvaluationError::Missing(name.to_owned()));
    assert_eq!(json_of("claims.missing"), missing("missing"));
    assert_eq!(json_of("claims.org.missing"), missing("org.missing"));
    assert_eq!(json_of("claims.sub.missing"), missing("sub.missing"));
    assert_eq!(holds("claims.missing == 'a'"), missing("missing").map(|_: Option<String>| false));
    assert_eq!(holds("claims.sub"), Err(EvaluationError::NotBoolean));
    assert!(matches!(holds("claims.sub < 3"), Err(EvaluationError::WrongType(_))));
    assert_eq!(holds("claims.email_verified == 'true'"), Ok(false));
}

#[test]
fn patterns_and_loops_say_what_they_say_in_cel() {
    for (text, expected) in [
        ("claims.sub.matches('^ali')", true),
        ("claims.sub.matches('^li')", false),
        ("matches(claims.sub, 'c')", true),
        ("claims.tags.exists(t, t.matches('^[b-z]$'))", true),
        ("claims.tags.all(t, t in ['a', 'b', 'c'])", true),
        ("claims.tags.exists_one(t, t == 'a')", true),
        ("'a' in claims.tags && !('c' in claims.tags)", true),
        ("has(claims.name) && !has(claims.missing)", true),
    ] {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_a_rule_may_not_say_is_refused_when_it_is_read() {
    for text in [
        "claims.",
        "",
        "other.sub",
        "sub",
        "claims.tags.map(t, claims.tags.map(u, u))",
        "claims.tags.map(t, t + t)",
        "claims.tags.exists(t, t + t == 'aa')",
        "claims.tags.map(t, size(t) > 0, t + 'a')",
        "claims.tags.map(claims, claims)",
        "claims[claims.sub]",
        "claims.sub.matches(claims.name)",
        "b'abc'",
        "duration('1s')",
        "timestamp(0)",
        "type(claims)",
        "dyn(claims.sub)",
        "double(claims.id)",
        "bytes('a')",
        "claims.sub.matches('(')",
        "claims.sub.matches('(\\\\w{100}){100}')",
        "{1: 2}",
        "Msg{a: 1}",
    ] {
        assert!(Expression::compile(text).is_err(), "{text}");
    }
    let long = format!("claims.sub == '{}'", "x".repeat(MAX_EXPRESSION));
    assert_eq!(Expression::compile(&long).map(|_| ()), Err(ExpressionError::TooLong(long.len())));
}

#[test]
fn nesting_of_every_kind_is_refused_and_overflows_nothing() {
    let times = |open: &str, inner: &str, close: &str, n: usize| {
        format!("{}{inner}{}", open.repeat(n), close.repeat(n))
    };
    for text in [
        times("(", "1", ")", 500),
        times("[", "1", "]", 500),
        times("{'a':", "1", "}", 150),
        times("!", "true", "", 999),
        times("-", "claims.age", "", 999),
        times("true?1:", "1", "", 140),
        times("", "1", "+1", 500),
        times("", "claims", ".a", 480),
        times("", "claims.a", "[0]", 300),
    ] {
        // An even number of signs is taken out by the parser.
        if let Ok(expression) = Expression::compile(&text) {
            let _ = expression.json(&claims_of(CLAIMS).unwrap(), 100);
        }
    }
    let brackets = times("(", "1", ")", 200);
    assert_eq!(Expression::compile(&brackets).map(|_| ()), Err(ExpressionError::TooDeep));
    let deepest = times("[", "1", "]", subset::MAX_DEPTH - 1);
    assert!(compiled(&deepest).json(&claims_of(CLAIMS).unwrap(), 200).is_ok());
    assert!(Expression::compile(&times("[", "1", "]", subset::MAX_DEPTH)).is_err());
}

#[test]
fn what_is_looked_at_and_what_comes_out_is_capped() {
    let many: Vec<usize> = (0..600).collect();
    let text = json!({ "many": many, "few": [1] }).to_string();
    let claims = claims_of(&text).unwrap();
    assert_eq!(compiled("size(claims.many) > 0").holds(&claims), Err(EvaluationError::TooMuch));
    assert_eq!(compiled("size(claims.few) > 0").holds(&claims), Ok(true));
    let large = json!({ "a": "x".repeat(20_000) }).to_string();
    assert_eq!(claims_of(&large).map(|_| ()), Err(EvaluationError::TooMuch));
    let claims = claims_of(CLAIMS).unwrap();
    for text in [
        "claims.long",
        "claims.long + claims.long",
        "[claims.long]",
        "{'a': claims.long}",
        "[1,2,3,4,5,6,7,8,9,10]",
    ] {
        assert_eq!(compiled(text).json(&claims, 20), Err(EvaluationError::TooLong(20)), "{text}");
    }
}
