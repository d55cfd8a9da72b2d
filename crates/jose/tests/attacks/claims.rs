//! Attacks on the claims of a properly signed token: values of the wrong type, numbers no clock
//! has, one name twice, and audiences that only look alike. RFC 7519 §4.1; CVE-2026-25537 (`exp` as
//! a string), CVE-2024-5798 (audience).

use super::{
    forge::{hs256_key, with_claims},
    verify,
};
use countersign_jose::{ClaimError, Policy, Timestamp, TokenError, Verified, json::JsonError};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);

fn check(claims: &str, policy: &Policy) -> Result<Verified, TokenError> {
    verify(&with_claims(claims), &hs256_key()).unwrap().check(policy, NOW)
}

#[test]
fn refuses_times_that_are_not_whole_seconds_of_this_era() {
    let lenient = Policy::new().allow_missing_expiry();
    for value in [
        "\"1700000060\"",
        "\"\"",
        "1700000060.0",
        "1700000060.5",
        "17e8",
        "1E9",
        "-1",
        "-1700000060",
        "253402300800",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "999999999999999999999999999999999999999999",
        "null",
        "true",
        "[]",
        "[1700000060]",
        "{}",
        "{\"$date\":1700000060}",
    ] {
        for name in ["exp", "nbf", "iat"] {
            for policy in [&Policy::new(), &lenient, &Policy::new().dangerously_ignore_expiry()] {
                let claims = match name {
                    "exp" => format!(r#"{{"exp":{value}}}"#),
                    _ => format!(r#"{{"exp":1700000060,"{name}":{value}}}"#),
                };
                match check(&claims, policy) {
                    Err(TokenError::Claim(ClaimError::WrongType { name: n, .. })) => assert_eq!(n, name),
                    other => panic!("{claims}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn refuses_a_number_beyond_what_any_reader_holds() {
    for claims in
        [r#"{"exp":1e400}"#, r#"{"exp":1700000060,"nbf":-1e400}"#, r#"{"exp":1700000060,"x":[1e400]}"#]
    {
        assert!(matches!(
            check(claims, &Policy::new()),
            Err(TokenError::Payload(JsonError::NumberTooLarge { number })) if number.contains("1e400")
        ));
    }
}

#[test]
fn refuses_an_issuer_subject_or_name_that_is_not_a_string() {
    for value in ["[]", "[\"https://issuer.example\"]", "1", "true", "null", "{}"] {
        for name in ["iss", "sub", "jti"] {
            let claims = format!(r#"{{"exp":1700000060,"{name}":{value}}}"#);
            for policy in [Policy::new(), Policy::new().issuer("https://issuer.example")] {
                match check(&claims, &policy) {
                    Err(TokenError::Claim(ClaimError::WrongType { name: n, .. })) => assert_eq!(n, name),
                    other => panic!("{claims}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn refuses_an_audience_that_is_missing_empty_or_not_made_of_strings() {
    let policy = Policy::new().audiences(["app"]);
    let code = |aud: &str| check(&format!(r#"{{"exp":1700000060{aud}}}"#), &policy).unwrap_err().code();
    assert!(check(r#"{"exp":1700000060,"aud":["other","app"]}"#, &policy).is_ok());
    assert_eq!(code(""), "claim_missing");
    assert_eq!(code(r#","aud":[]"#), "claim_missing");
    assert_eq!(code(r#","aud":"""#), "claim_mismatch");
    assert_eq!(code(r#","aud":[""]"#), "claim_mismatch");
    for aud in [
        r#"["app",1]"#,
        r#"[1,"app"]"#,
        r#"["app",null]"#,
        r#"[["app"]]"#,
        r#"{"0":"app"}"#,
        r#"{"app":true}"#,
        "null",
        "1",
        "true",
    ] {
        assert_eq!(code(&format!(r#","aud":{aud}"#)), "claim_wrong_type", "{aud}");
        // Even when nobody asked for an audience.
        let error = check(&format!(r#"{{"exp":1700000060,"aud":{aud}}}"#), &Policy::new()).unwrap_err();
        assert_eq!(error.code(), "claim_wrong_type", "{aud}");
    }
}

#[test]
fn compares_audience_and_issuer_exactly_and_never_by_prefix_pattern_or_case() {
    let policy = Policy::new().issuer("https://issuer.example").audiences(["https://app.example/a"]);
    for aud in [
        "https://app.example/",
        "https://app.example/ab",
        "https://app.example/a/",
        "https://APP.example/a",
        "https://app.example/a ",
        "https://app.example/*",
        "*",
        "https://app.example/a,https://app.example/b",
    ] {
        let claims = format!(r#"{{"exp":1700000060,"iss":"https://issuer.example","aud":"{aud}"}}"#);
        let error = check(&claims, &policy).unwrap_err();
        assert_eq!(error, TokenError::Claim(ClaimError::Mismatch("aud".into())), "{aud}");
    }
    for iss in
        ["https://issuer.example/", "https://issuer.exampl", "https://issuer.example.attacker.example", ""]
    {
        let claims = format!(r#"{{"exp":1700000060,"iss":"{iss}","aud":"https://app.example/a"}}"#);
        let error = check(&claims, &policy).unwrap_err();
        assert_eq!(error, TokenError::Claim(ClaimError::Mismatch("iss".into())), "{iss}");
    }
    // An escaped spelling is the same string.
    let claims = r#"{"exp":1700000060,"iss":"https:\/\/issuer.example","aud":"https://app.example/\u0061"}"#;
    assert!(check(claims, &policy).is_ok());
}

#[test]
fn a_pattern_in_the_expected_audience_is_just_text() {
    let policy = Policy::new().audiences(["https://*.example", ".*", ""]);
    for aud in ["https://a.example", "anything"] {
        let claims = format!(r#"{{"exp":1700000060,"aud":"{aud}"}}"#);
        assert_eq!(check(&claims, &policy).unwrap_err().code(), "claim_mismatch");
    }
}

#[test]
fn refuses_the_same_claim_twice_at_any_level() {
    for claims in [
        r#"{"exp":1,"exp":1700000060}"#,
        r#"{"exp":1700000060,"aud":"a","aud":"app"}"#,
        r#"{"exp":1700000060,"e\u0078p":1700000060}"#,
        r#"{"exp":1700000060,"realm_access":{"roles":[],"roles":["admin"]}}"#,
        r#"{"exp":1700000060,"a":[{"b":1,"b":1}]}"#,
    ] {
        let error = check(claims, &Policy::new()).unwrap_err();
        assert_eq!(error, TokenError::Payload(JsonError::DuplicateMember), "{claims}");
    }
}

#[test]
fn refuses_claims_that_are_not_one_json_object() {
    for claims in ["", "null", "[]", "\"exp\"", "{", "{}{}", "Payload", "\u{feff}{\"exp\":1700000060}"] {
        let error = check(claims, &Policy::new().allow_missing_expiry()).unwrap_err();
        assert_eq!(error.code(), "token_claims_malformed", "{claims}");
    }
}
