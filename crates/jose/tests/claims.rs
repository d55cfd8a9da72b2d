//! Every expectation of `Policy`: claim absent, of the wrong type, another value, the right value;
//! and every boundary in time, one second on either side. RFC 7519 §4.1, RFC 8725 §3.8 to §3.11.
//! Hostile values are in `attacks.rs`.

#![expect(clippy::unwrap_used, reason = "tests")]

use countersign_jose::{
    Algorithm, ClaimError, ClaimName, ClaimValue, Header, Policy, SigningInput, SigningKey, SymmetricKey,
    Timestamp, TokenError, Unverified, Verified, VerifyingKey,
};
use serde_json::{Value, json};
use std::{sync::LazyLock, time::Duration};

const NOW: i64 = 1_700_000_000;

static KEYS: LazyLock<(SigningKey, VerifyingKey)> = LazyLock::new(|| {
    let secret = SymmetricKey::generate(Algorithm::HS256).unwrap();
    let signing = SigningKey::symmetric(&secret, Algorithm::HS256).unwrap();
    (signing, VerifyingKey::symmetric(&secret, Algorithm::HS256, Some("k1".into())).unwrap())
});

fn check_typ(typ: Option<&str>, claims: &Value, policy: &Policy, now: i64) -> Result<Verified, ClaimError> {
    let (signing, verifying) = &*KEYS;
    let header = Header { alg: Algorithm::HS256, kid: Some("k1"), typ }.encode();
    let input = SigningInput::new(&header, claims.to_string().as_bytes());
    let signature = signing.sign(&input).unwrap();
    let token = input.finish(&signature);
    let signed = Unverified::parse(&token).unwrap().verify(verifying).unwrap();
    signed.check(policy, Timestamp::from_unix_seconds(now)).map_err(|error| match error {
        TokenError::Claim(claim) => claim,
        other => unreachable!("{other:?}"),
    })
}

fn value(value: Value) -> ClaimValue {
    ClaimValue::of(&value).unwrap()
}

/// Checks claims at `now`.
fn at(now: i64, claims: &Value, policy: &Policy) -> Result<(), ClaimError> {
    check_typ(None, claims, policy, now).map(|_| ())
}

/// Checks claims that do not expire for a minute.
fn check(mut claims: Value, policy: &Policy) -> Result<(), ClaimError> {
    claims.as_object_mut().unwrap().entry("exp").or_insert_with(|| (NOW + 60).into());
    at(NOW, &claims, policy)
}

fn missing(name: &str) -> Result<(), ClaimError> {
    Err(ClaimError::Missing(name.into()))
}

fn mismatch(name: &str) -> Result<(), ClaimError> {
    Err(ClaimError::Mismatch(name.into()))
}

fn wrong_type(result: Result<(), ClaimError>, expected: &str) {
    assert!(matches!(result, Err(ClaimError::WrongType { name, .. }) if name == expected), "{result:?}");
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn an_expected_issuer_must_be_there_a_string_and_equal() {
    let policy = Policy::new().issuer("https://a.example");
    assert_eq!(check(json!({}), &policy), missing("iss"));
    wrong_type(check(json!({"iss": ["https://a.example"]}), &policy), "iss");
    assert_eq!(check(json!({"iss": "https://b.example"}), &policy), mismatch("iss"));
    assert_eq!(check(json!({"iss": "https://a.example"}), &policy), Ok(()));
}

#[test]
fn an_expected_subject_must_be_there_a_string_and_equal() {
    let policy = Policy::new().subject("alice");
    assert_eq!(check(json!({}), &policy), missing("sub"));
    wrong_type(check(json!({"sub": 7}), &policy), "sub");
    assert_eq!(check(json!({"sub": "Alice"}), &policy), mismatch("sub"));
    assert_eq!(check(json!({"sub": "alice"}), &policy), Ok(()));
}

#[test]
fn one_of_the_expected_audiences_must_be_named_exactly() {
    let policy = Policy::new().audiences(["a", "b"]);
    assert_eq!(check(json!({}), &policy), missing("aud"));
    assert_eq!(check(json!({"aud": []}), &policy), missing("aud"));
    wrong_type(check(json!({"aud": {"a": 1}}), &policy), "aud");
    wrong_type(check(json!({"aud": ["a", 1]}), &policy), "aud");
    assert_eq!(check(json!({"aud": "c"}), &policy), mismatch("aud"));
    assert_eq!(check(json!({"aud": ["c", "d", "ab"]}), &policy), mismatch("aud"));
    assert_eq!(check(json!({"aud": "b"}), &policy), Ok(()));
    assert_eq!(check(json!({"aud": ["c", "a"]}), &policy), Ok(()));
}

#[test]
fn an_empty_list_of_audiences_accepts_no_token() {
    let policy = Policy::new().audiences(Vec::<String>::new());
    assert_eq!(check(json!({}), &policy), missing("aud"));
    assert_eq!(check(json!({"aud": "a"}), &policy), mismatch("aud"));
    assert_eq!(check(json!({"aud": ""}), &policy), mismatch("aud"));
}

#[test]
fn without_an_expectation_the_registered_claims_may_be_absent_but_not_malformed() {
    let policy = Policy::new();
    assert_eq!(check(json!({}), &policy), Ok(()));
    for name in ["iss", "sub", "jti", "aud", "nbf", "iat", "exp"] {
        wrong_type(check(json!({ name: {} }), &policy), name);
        wrong_type(check(json!({ name: null }), &policy), name);
    }
}

#[test]
fn typ_is_compared_as_a_media_type_and_must_be_there_when_expected() {
    let claims = json!({"exp": NOW + 60});
    let with = |expected: &str, typ: Option<&str>| {
        check_typ(typ, &claims, &Policy::new().typ(expected), NOW).map(|_| ())
    };
    for expected in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        for typ in ["at+jwt", "at+JWT", "application/at+jwt", "APPLICATION/at+jwt"] {
            assert_eq!(with(expected, Some(typ)), Ok(()), "{expected} {typ}");
        }
        assert_eq!(with(expected, None), missing("typ"));
        for typ in [
            "JWT",
            "",
            "at+jw",
            "at+jwt ",
            "text/at+jwt",
            "application/application/at+jwt",
            "application/",
            "ät+jwt",
        ] {
            assert_eq!(with(expected, Some(typ)), Err(ClaimError::WrongTyp), "{expected} {typ}");
        }
    }
    // Not expected, not looked at.
    assert!(check_typ(Some("anything"), &claims, &Policy::new(), NOW).is_ok());
}

#[test]
fn a_token_is_good_until_the_second_before_exp_and_leeway_moves_that() {
    let claims = json!({"exp": NOW});
    for (leeway, last) in [(0, NOW - 1), (1, NOW), (60, NOW + 59)] {
        let policy = Policy::new().leeway(seconds(leeway));
        assert_eq!(at(last, &claims, &policy), Ok(()), "leeway {leeway}");
        assert_eq!(at(last + 1, &claims, &policy), Err(ClaimError::Expired), "leeway {leeway}");
    }
    assert_eq!(at(i64::MAX, &claims, &Policy::new()), Err(ClaimError::Expired));
    assert_eq!(at(i64::MIN, &claims, &Policy::new()), Ok(()));
}

#[test]
fn a_token_begins_at_nbf_and_leeway_moves_that() {
    let claims = json!({"exp": NOW + 600, "nbf": NOW});
    for (leeway, first) in [(0, NOW), (1, NOW - 1), (60, NOW - 60)] {
        let policy = Policy::new().leeway(seconds(leeway));
        assert_eq!(at(first, &claims, &policy), Ok(()), "leeway {leeway}");
        assert_eq!(at(first - 1, &claims, &policy), Err(ClaimError::NotYetValid), "leeway {leeway}");
    }
}

#[test]
fn a_token_issued_in_the_future_is_refused_beyond_the_leeway() {
    let claims = json!({"exp": NOW + 600, "iat": NOW});
    for (leeway, first) in [(0, NOW), (1, NOW - 1), (60, NOW - 60)] {
        let policy = Policy::new().leeway(seconds(leeway));
        assert_eq!(at(first, &claims, &policy), Ok(()), "leeway {leeway}");
        assert_eq!(at(first - 1, &claims, &policy), Err(ClaimError::IssuedInTheFuture), "leeway {leeway}");
    }
}

#[test]
fn max_age_requires_iat_and_holds_to_the_second() {
    let claims = json!({"exp": NOW + 9_000, "iat": NOW});
    for (leeway, last) in [(0, NOW + 300), (1, NOW + 301), (60, NOW + 360)] {
        let policy = Policy::new().max_age(seconds(300)).leeway(seconds(leeway));
        assert_eq!(at(last, &claims, &policy), Ok(()), "leeway {leeway}");
        assert_eq!(at(last + 1, &claims, &policy), Err(ClaimError::TooOld), "leeway {leeway}");
    }
    let policy = Policy::new().max_age(seconds(300));
    assert_eq!(check(json!({}), &policy), missing("iat"));
    wrong_type(check(json!({"iat": "now"}), &policy), "iat");
    // A maximum age of zero still takes a token in the second it was made.
    let policy = Policy::new().max_age(Duration::ZERO);
    assert_eq!(at(NOW, &claims, &policy), Ok(()));
    assert_eq!(at(NOW + 1, &claims, &policy), Err(ClaimError::TooOld));
}

#[test]
fn durations_beyond_every_clock_do_not_overflow() {
    let claims = json!({"exp": 253_402_300_799_i64, "iat": NOW, "nbf": NOW});
    let policy = Policy::new().leeway(Duration::MAX).max_age(Duration::MAX);
    for now in [0, NOW, i64::MAX - 1] {
        assert_eq!(at(now, &claims, &policy), Ok(()), "{now}");
    }
}

#[test]
fn exp_is_required_unless_given_up_by_name_and_checked_whenever_it_is_there() {
    let (none, past, future) = (json!({}), json!({"exp": NOW}), json!({"exp": NOW + 1}));
    assert_eq!(at(NOW, &none, &Policy::new()), missing("exp"));
    assert_eq!(at(NOW, &none, &Policy::default()), missing("exp"));
    let optional = Policy::new().allow_missing_expiry();
    assert_eq!(at(NOW, &none, &optional), Ok(()));
    assert_eq!(at(NOW, &past, &optional), Err(ClaimError::Expired));
    assert_eq!(at(NOW, &future, &optional), Ok(()));
}

#[test]
fn ignoring_expiry_ignores_nothing_but_expiry() {
    let policy = Policy::new().dangerously_ignore_expiry().issuer("a");
    assert_eq!(at(NOW, &json!({"iss": "a"}), &policy), Ok(()));
    assert_eq!(at(NOW, &json!({"iss": "a", "exp": 1}), &policy), Ok(()));
    assert_eq!(at(NOW, &json!({"iss": "b", "exp": 1}), &policy), mismatch("iss"));
    assert_eq!(at(NOW, &json!({"iss": "a", "nbf": NOW + 1}), &policy), Err(ClaimError::NotYetValid));
    assert_eq!(at(NOW, &json!({"iss": "a", "iat": NOW + 1}), &policy), Err(ClaimError::IssuedInTheFuture));
    wrong_type(at(NOW, &json!({"iss": "a", "exp": "never"}), &policy), "exp");
}

#[test]
fn a_required_claim_may_have_any_value_but_null() {
    let policy = Policy::new().require(ClaimName::member("tenant"));
    assert_eq!(check(json!({}), &policy), missing("tenant"));
    assert_eq!(check(json!({"tenant": null}), &policy), missing("tenant"));
    assert_eq!(check(json!({"Tenant": 1}), &policy), missing("tenant"));
    assert_eq!(check(json!({"x": {"tenant": 1}}), &policy), missing("tenant"));
    for value in [json!(0), json!(false), json!(""), json!([]), json!({}), json!([null])] {
        assert_eq!(check(json!({ "tenant": value }), &policy), Ok(()));
    }
    let both = policy.require(ClaimName::member("jti"));
    assert_eq!(check(json!({"tenant": 1}), &both), missing("jti"));
    assert_eq!(check(json!({"tenant": 1, "jti": "1"}), &both), Ok(()));
}

#[test]
fn a_required_value_must_be_equal_in_type_and_depth() {
    let policy = Policy::new()
        .require_value(ClaimName::member("context"), value(json!({"room": ["a", 1], "deep": {"x": null}})));
    assert_eq!(check(json!({}), &policy), missing("context"));
    assert_eq!(check(json!({"context": null}), &policy), missing("context"));
    assert_eq!(check(json!({"context": {"deep": {"x": null}, "room": ["a", 1]}}), &policy), Ok(()));
    for other in [
        json!({"room": ["a", 1], "deep": {}}),
        json!({"room": ["a", 1], "deep": {"x": null}, "more": 1}),
        json!({"room": [1, "a"], "deep": {"x": null}}),
        json!({"room": ["a", "1"], "deep": {"x": null}}),
        json!({"room": ["a", 1.0], "deep": {"x": null}}),
        json!("context"),
        json!([{"room": ["a", 1], "deep": {"x": null}}]),
    ] {
        assert_eq!(check(json!({ "context": other }), &policy), mismatch("context"));
    }
    let verified = Policy::new().require_value(ClaimName::member("email_verified"), value(json!(true)));
    assert_eq!(check(json!({"email_verified": true}), &verified), Ok(()));
    for other in [json!("true"), json!(1), json!(false), json!([true])] {
        assert_eq!(check(json!({ "email_verified": other }), &verified), mismatch("email_verified"));
    }
    // Null means "not there", so a policy that wants it cannot be met.
    let null = Policy::new().require_value(ClaimName::member("x"), value(Value::Null));
    assert_eq!(check(json!({"x": null}), &null), missing("x"));
}

#[test]
fn a_verified_token_gives_its_claims_in_their_types_and_as_they_were_signed() {
    let claims = json!({
        "iss": "https://a.example", "sub": "alice", "aud": ["x", "y"], "exp": NOW + 60, "nbf": NOW, "iat": NOW,
        "jti": "1", "n": 9_007_199_254_740_993_u64,
    });
    let verified = check_typ(Some("JWT"), &claims, &Policy::new(), NOW).unwrap();
    let registered = verified.registered();
    assert_eq!(registered.iss.as_deref(), Some("https://a.example"));
    assert_eq!(registered.sub.as_deref(), Some("alice"));
    assert_eq!(registered.aud, ["x", "y"]);
    let [exp, nbf, iat] =
        [registered.exp, registered.nbf, registered.iat].map(|t| t.map(Timestamp::unix_seconds));
    assert_eq!((exp, nbf, iat), (Some(NOW + 60), Some(NOW), Some(NOW)));
    assert_eq!(registered.jti.as_deref(), Some("1"));
    assert_eq!((verified.kid(), verified.algorithm()), (Some("k1"), Algorithm::HS256));
    assert_eq!(verified.claims::<Value>().unwrap(), claims);
    assert_eq!(verified.payload(), claims.to_string().as_bytes());
}

/// Checks claims as they are typed.
fn check_text(claims: &str, policy: &Policy) -> Result<Verified, ClaimError> {
    let (signing, verifying) = &*KEYS;
    let header = Header { alg: Algorithm::HS256, kid: Some("k1"), typ: None }.encode();
    let input = SigningInput::new(&header, claims.as_bytes());
    let signature = signing.sign(&input).unwrap();
    let token = input.finish(&signature);
    let signed = Unverified::parse(&token).unwrap().verify(verifying).unwrap();
    signed.check(policy, Timestamp::from_unix_seconds(NOW)).map_err(|error| match error {
        TokenError::Claim(claim) => claim,
        other => unreachable!("{other:?}"),
    })
}

#[test]
fn numbers_that_are_one_float_are_two_values() {
    let policy = |expected: Value| {
        Policy::new().allow_missing_expiry().require_value(ClaimName::member("n"), value(expected))
    };
    let largest = policy(json!(u64::MAX));
    assert!(check_text(r#"{"n":18446744073709551615}"#, &largest).is_ok());
    for other in ["18446744073709551616", "18446744073709551614", "1.8446744073709551615e19"] {
        assert!(check_text(&format!(r#"{{"n":{other}}}"#), &largest).is_err(), "{other}");
    }
    let fraction = policy(json!(0.3));
    assert!(check_text(r#"{"n":0.30}"#, &fraction).is_ok());
    assert!(check_text(r#"{"n":0.30000000000000000001}"#, &fraction).is_err());
    // 2^65 was rounded when it was read: it cannot be expected.
    for rounded in ["36893488147419103232", "[{\"x\":-36893488147419103232}]", "1e300"] {
        let rounded: Value = serde_json::from_str(rounded).unwrap();
        assert!(ClaimValue::of(&rounded).unwrap_err().to_string().contains("beyond 2^53"), "{rounded}");
    }
}

#[test]
fn fractions_of_seconds_are_refused_unless_the_policy_takes_them_and_then_never_lengthen_a_token() {
    let strict = Policy::new();
    let lenient = Policy::new().accept_fractional_dates();
    let aged = lenient.clone().max_age(Duration::from_secs(60));
    let wrong = |name| Err(ClaimError::WrongType { name, expected: "a whole number of seconds since 1970" });
    for (claims, policy, expected) in [
        (format!(r#"{{"exp":{}.5}}"#, NOW + 9), &strict, wrong("exp")),
        (format!(r#"{{"exp":{}.0}}"#, NOW + 9), &strict, wrong("exp")),
        (format!(r#"{{"exp":{},"nbf":{NOW}.25}}"#, NOW + 9), &strict, wrong("nbf")),
        (format!(r#"{{"exp":{}.5}}"#, NOW + 9), &lenient, Ok(NOW + 9)),
        (format!(r#"{{"exp":{}.999999}}"#, NOW), &lenient, Err(ClaimError::Expired)),
        (format!(r#"{{"exp":{}.000001}}"#, NOW + 1), &lenient, Ok(NOW + 1)),
        (format!(r#"{{"exp":{},"nbf":{}.9}}"#, NOW + 9, NOW - 1), &lenient, Ok(NOW + 9)),
        (format!(r#"{{"exp":{},"nbf":{NOW}.000}}"#, NOW + 9), &lenient, Ok(NOW + 9)),
        (format!(r#"{{"exp":{},"nbf":{NOW}.001}}"#, NOW + 9), &lenient, Err(ClaimError::NotYetValid)),
        (format!(r#"{{"exp":{},"iat":{}.9}}"#, NOW + 9, NOW - 61), &aged, Err(ClaimError::TooOld)),
        (format!(r#"{{"exp":{},"iat":{}.9}}"#, NOW + 9, NOW - 60), &aged, Ok(NOW + 9)),
    ] {
        let checked = check_text(&claims, policy);
        let exp = checked.map(|verified| verified.registered().exp.map(Timestamp::unix_seconds).unwrap());
        assert_eq!(exp, expected, "{claims}");
    }
    for text in ["1e10", "-1.5", "1700000009.5e0", "\"1700000009.5\"", "253402300800.5", "[1700000009.5]"] {
        let refused = check_text(&format!(r#"{{"exp":{text}}}"#), &lenient);
        assert!(matches!(refused, Err(ClaimError::WrongType { name: "exp", .. })), "{text}");
    }
}
