//! Attacks on the header: `none`, extensions, keys that the token brings along, twice the same
//! member, wrong types.
//!
//! RFC 7515 §4, RFC 8725 §3.1 and §3.10; CVE-2018-0114 and CVE-2026-27962 (`jwk`), CVE-2026-35042
//! (`crit`), CVE-2025-59420 (`b64`).

use super::{
    forge::{Es256, SECRET, hs256, hs256_key, input, with_claims, with_header},
    verify,
};
use countersign_jose::{
    Policy, PublicKey, Timestamp, TokenError, Unverified, base64url::encode, json::JsonError,
};

#[test]
fn refuses_alg_none_in_any_casing_with_and_without_a_signature() {
    for bits in 0..16u8 {
        let casing = |(i, c): (usize, char)| if bits >> i & 1 == 1 { c.to_ascii_uppercase() } else { c };
        let none: String = "none".chars().enumerate().map(casing).collect();
        let input = input(&format!(r#"{{"alg":"{none}"}}"#), "{}");
        let unsigned = Unverified::parse(&format!("{input}.")).unwrap_err();
        assert_eq!(unsigned.code(), "token_unsigned", "{none}");
        for token in [format!("{input}.AAAA"), hs256(&input, &SECRET), hs256(&input, b"")] {
            let signed = Unverified::parse(&token).unwrap_err();
            assert_eq!(signed.code(), "token_unsupported_algorithm", "{none}");
        }
    }
}

#[test]
fn refuses_an_algorithm_name_that_is_not_exactly_one_of_the_table() {
    for alg in [
        "",
        "hs256",
        "Hs256",
        "HS256 ",
        " HS256",
        "HS256\\u0000",
        "HS1",
        "HS256,none",
        "ES256K",
        "dir",
        "A128KW",
    ] {
        let code = Unverified::parse(&with_header(&format!(r#"{{"alg":"{alg}"}}"#))).unwrap_err().code();
        assert_eq!(code, "token_unsupported_algorithm", "{alg:?}");
    }
}

#[test]
fn refuses_every_crit_and_every_member_that_changes_how_the_token_is_read() {
    for extra in [
        r#""crit":[]"#,
        r#""crit":["exp"],"exp":1"#,
        r#""crit":["alg"]"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":["b64"],"b64":true"#,
        r#""crit":["http://example.invalid/UNDEFINED"],"http://example.invalid/UNDEFINED":true"#,
        r#""crit":["x"]"#,
        r#""crit":"x""#,
        r#""crit":null"#,
        r#""crit":{}"#,
        r#""crit":[1]"#,
        r#""\u0063rit":["x"]"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""zip":"DEF""#,
        r#""enc":"A128GCM""#,
    ] {
        let token = with_header(&format!(r#"{{"alg":"HS256",{extra}}}"#));
        assert_eq!(Unverified::parse(&token), Err(TokenError::CriticalHeader), "{extra}");
    }
}

#[test]
fn verifies_only_with_its_own_key_whatever_key_the_header_brings() {
    let (ours, attacker) = (Es256::generate(), Es256::generate());
    let PublicKey::Ec { x, y, .. } = attacker.public_key() else { panic!() };
    let spki = attacker.public_key().to_spki_der().unwrap();
    let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, encode(&x), encode(&y));
    for extra in [
        format!(r#""jwk":{jwk}"#),
        format!(r#""jwk":{jwk},"kid":"k1""#),
        r#""jku":"https://attacker.example/jwks.json""#.into(),
        r#""jku":"http://169.254.169.254/latest/meta-data""#.into(),
        r#""x5u":"file:///etc/passwd""#.into(),
        format!(r#""x5c":["{}"]"#, encode(&spki)),
        format!(r#""x5t":"{}""#, encode(&[0; 20])),
        r#""jwk":null,"x5c":7"#.into(),
    ] {
        let input = input(&format!(r#"{{"alg":"ES256",{extra}}}"#), r#"{"sub":"admin"}"#);
        assert!(verify(&attacker.sign(&input), &attacker.key()).is_ok(), "control: {extra}");
        assert_eq!(verify(&attacker.sign(&input), &ours.key()), Err(TokenError::BadSignature), "{extra}");
        // Such members are passed over, so an issuer that writes them is still understood.
        assert!(verify(&ours.sign(&input), &ours.key()).is_ok(), "{extra}");
    }
}

#[test]
fn refuses_the_same_header_member_twice_in_any_spelling() {
    for header in [
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"HS256","x":1,"x":1}"#,
        r#"{"alg":"HS256","jwk":{"k":1,"k":2}}"#,
    ] {
        let error = Unverified::parse(&with_header(header)).unwrap_err();
        assert_eq!(error, TokenError::Header(JsonError::DuplicateMember), "{header}");
    }
}

#[test]
fn refuses_header_members_of_the_wrong_type() {
    for value in ["1", "null", "true", "[]", "[\"HS256\"]", "{}", "{\"$gt\":\"\"}"] {
        for (name, header) in [
            ("alg", format!(r#"{{"alg":{value}}}"#)),
            ("kid", format!(r#"{{"alg":"HS256","kid":{value}}}"#)),
            ("typ", format!(r#"{{"alg":"HS256","typ":{value}}}"#)),
        ] {
            match Unverified::parse(&with_header(&header)) {
                Err(TokenError::HeaderType(wrong)) => assert_eq!(wrong.name, name),
                other => panic!("{header}: {other:?}"),
            }
        }
    }
    assert_eq!(Unverified::parse(&with_header("{}")), Err(TokenError::NoAlgorithm));
    assert_eq!(Unverified::parse(&with_header(r#"{"ALG":"HS256"}"#)), Err(TokenError::NoAlgorithm));
}

#[test]
fn refuses_a_header_that_is_not_one_json_object() {
    for header in [
        "",
        "null",
        "[]",
        "\"HS256\"",
        "{",
        r#"{"alg":"HS256"}{}"#,
        r#"{"alg":"HS256"} x"#,
        "\u{feff}{\"alg\":\"HS256\"}",
        r#"{'alg':'HS256'}"#,
        r#"{"alg":"HS256",}"#,
        r#"{"alg":"HS256","x":NaN}"#,
        r#"{"alg":"HS256","x":"\ud800"}"#,
        r#"{"alg":"HS256"/**/}"#,
    ] {
        let error = Unverified::parse(&with_header(header)).unwrap_err();
        assert_eq!(error.code(), "token_header_malformed", "{header}");
    }
    let not_utf8 = hs256(&format!("{}.e30", encode(b"{\"alg\":\"HS256\",\"x\":\"\xff\"}")), &SECRET);
    assert_eq!(Unverified::parse(&not_utf8).unwrap_err().code(), "token_header_malformed");
}

#[test]
fn refuses_nesting_that_would_exhaust_the_stack() {
    let deep = format!(r#"{{"alg":"HS256","x":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(Unverified::parse(&with_header(&deep)), Err(TokenError::Header(JsonError::TooDeep)));
    let deep = format!(r#"{{"iss":"a","x":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let token = with_claims(&deep);
    let issuer = Unverified::parse(&token).unwrap().unverified_issuer();
    assert_eq!(issuer, Ok(Some("a".into())), "what is behind it is not looked at");
    let signed = verify(&token, &hs256_key()).expect("any bytes can be signed; only `check` reads them");
    let error = signed.check(&Policy::new(), Timestamp::from_unix_seconds(0)).unwrap_err();
    assert_eq!(error, TokenError::Payload(JsonError::TooDeep));
}

#[test]
fn a_kid_is_only_ever_compared() {
    // Paths, queries and operators are just names that no key has; they come back as they went in.
    for kid in [
        "../../../../dev/null",
        "k1' OR '1'='1",
        "k1\u{0}",
        "/proc/self/environ",
        "${jndi:ldap://a}",
        "k1 ",
        "K1",
    ] {
        let kid_json = serde_json::to_string(kid).unwrap();
        let token = with_header(&format!(r#"{{"alg":"HS256","kid":{kid_json}}}"#));
        let parsed = Unverified::parse(&token).unwrap();
        assert_eq!(parsed.unverified_kid(), Some(kid));
        let set = countersign_jose::KeySet::from(vec![hs256_key()]);
        assert_eq!(set.verify(parsed), Err(TokenError::NoKey), "{kid:?}");
    }
}
