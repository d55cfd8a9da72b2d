//! What must never leave: private members in a published key, key or token text in `Debug` or in an
//! error.
//!
//! "Mixing up Public and Private Keys" (Böck): `d`, `p`, `q`, `dp`, `dq`, `qi` and `k` in a JWKS.
//! Here the published type has no such members; these tests pin the exact set for every kind of
//! key.

use super::{
    forge::{SECRET, hs256, hs256_key, input, with_claims, with_header},
    verify,
};
use countersign_jose::{
    Algorithm, Header, Jwk, KeySet, KeySize, Policy, PrivateKey, PublicJwk, SigningInput, SigningKey,
    SymmetricKey, Timestamp, Unverified, VerifyingKey, base64url::encode,
};
use serde_json::Value;
use std::fmt::Debug;

const ASYMMETRIC: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDSA];

/// The private parts of a key in every spelling that a `Debug` could show them in.
fn spellings(bytes: &[u8]) -> Vec<String> {
    let list = format!("{bytes:?}");
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    vec![encode(bytes), list.trim_matches(['[', ']']).to_owned(), hex.to_uppercase(), hex]
}

fn assert_silent(shown: &dyn Debug, secrets: &[Vec<u8>], what: &str) {
    for text in [format!("{shown:?}"), format!("{shown:#?}").replace(['\n', ' '], "").replace(',', ", ")] {
        for secret in secrets {
            for spelling in spellings(secret) {
                assert!(!text.contains(&spelling), "{what} shows {spelling}: {text}");
            }
        }
    }
}

#[test]
fn a_published_key_has_exactly_its_public_members() {
    for algorithm in ASYMMETRIC {
        let key = PrivateKey::generate(algorithm, KeySize::default()).unwrap().public_key();
        let published =
            serde_json::to_value(PublicJwk { kid: "k1".into(), algorithm, key: key.clone() }).unwrap();
        let mut members: Vec<_> = published.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        let (kty, expected): (_, &[&str]) = match algorithm {
            Algorithm::RS256 => ("RSA", &["alg", "e", "kid", "kty", "n", "use"]),
            Algorithm::EdDSA => ("OKP", &["alg", "crv", "kid", "kty", "use", "x"]),
            _ => ("EC", &["alg", "crv", "kid", "kty", "use", "x", "y"]),
        };
        assert_eq!(members, expected, "{algorithm}");
        assert_eq!(published["kty"], kty);
        assert_eq!(published["use"], "sig");
        assert_eq!(published["alg"], algorithm.name());
        assert!(published.as_object().unwrap().values().all(Value::is_string));
        // And it reads back as the same key.
        let back = Jwk::parse(published.to_string().as_bytes()).unwrap();
        assert_eq!((back.kid(), back.algorithm()), (Some("k1"), Some(algorithm)));
        assert_eq!(back.public_key(), Some(key));
    }
}

#[test]
fn debug_of_a_private_key_shows_its_kind_alone() {
    for algorithm in ASYMMETRIC {
        let key = PrivateKey::generate(algorithm, KeySize::default()).unwrap();
        let der = key.to_pkcs8_der().unwrap();
        // Any eight bytes of the DER would be a leak; the front is the same for every key of its
        // kind.
        let secrets: Vec<Vec<u8>> = der[32..].chunks_exact(8).map(<[u8]>::to_vec).collect();
        assert_silent(&key, &secrets, "PrivateKey");
        assert_silent(&SigningKey::new(&key, algorithm).unwrap(), &secrets, "SigningKey");
        let verifying = VerifyingKey::new(&key.public_key(), algorithm, Some("k1".into())).unwrap();
        assert_silent(&verifying, &secrets, "VerifyingKey");
        assert_silent(&KeySet::from(vec![verifying]), &secrets, "KeySet");
        assert_eq!(format!("{key:?}"), format!("PrivateKey({:?}, ..)", key.kind()));
    }
}

#[test]
fn debug_of_a_secret_shows_nothing_of_it() {
    let secret: Vec<u8> = (100..164).collect();
    let key = SymmetricKey::new(secret.clone().into());
    let jwk = format!(r#"{{"kty":"oct","alg":"HS256","k":"{}"}}"#, encode(&secret));
    let jwk = Jwk::parse(jwk.as_bytes()).unwrap();
    let secrets: Vec<Vec<u8>> = secret.chunks_exact(4).map(<[u8]>::to_vec).collect();
    assert_silent(&key, &secrets, "SymmetricKey");
    assert_silent(&jwk, &secrets, "Jwk");
    assert_silent(&jwk.signing_key(None).unwrap(), &secrets, "SigningKey");
    assert_silent(&jwk.verifying_key(None).unwrap(), &secrets, "VerifyingKey");
    assert_silent(&jwk.into_symmetric_key().unwrap(), &secrets, "SymmetricKey");
}

#[test]
fn debug_of_a_private_jwk_shows_nothing_of_its_private_half() {
    // RFC 8037 appendix A.1.
    let d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k1","d":"{d}","x":"{x}"}}"#);
    let jwk = Jwk::parse(jwk.as_bytes()).unwrap();
    let seed = countersign_jose::base64url::decode(d).unwrap();
    let secrets: Vec<Vec<u8>> = seed.chunks_exact(4).map(<[u8]>::to_vec).collect();
    assert_silent(&jwk, &secrets, "Jwk");
    assert_silent(&jwk.into_private_key().unwrap(), &secrets, "PrivateKey");
}

#[test]
fn debug_of_a_token_shows_nothing_of_its_text_at_any_stage() {
    let claims = r#"{"sub":"SENTINEL-SUBJECT","exp":1700000060}"#;
    let token =
        hs256(&input(r#"{"alg":"HS256","kid":"SENTINEL-KID","typ":"SENTINEL-TYP"}"#, claims), &SECRET);
    let parsed = Unverified::parse(&token).unwrap();
    let mut shown = vec![format!("{parsed:?}")];
    let signed = parsed.verify(&hs256_key()).unwrap();
    shown.push(format!("{signed:?}"));
    let verified = signed.check(&Policy::new(), Timestamp::from_unix_seconds(1_700_000_000)).unwrap();
    shown.push(format!("{verified:?}"));
    for text in shown {
        assert!(!text.contains("SENTINEL"), "{text}");
        for part in token.split('.') {
            assert!(!text.contains(&part[..8]), "{text}");
        }
        assert!(text.contains("HS256"), "{text}");
    }
}

#[test]
fn errors_hold_nothing_of_the_token_or_the_key() {
    let long = format!("{}SENTINEL", "a".repeat(20_000));
    let mut errors: Vec<String> = Vec::new();
    for text in ["SENTINEL", "SENTINEL.SENTINEL", "SENTINEL.SENTINEL.SENTINEL", "SENTINEL..", &long] {
        let error = Unverified::parse(text).unwrap_err();
        errors.push(format!("{error} {error:?} {}", error.code()));
    }
    for header in [r#"{"SENTINEL":1"#, r#"{"alg":"SENTINEL"}"#, r#"{"alg":"HS256","kid":["SENTINEL"]}"#] {
        let error = Unverified::parse(&with_header(header)).unwrap_err();
        errors.push(format!("{error} {error:?}"));
    }
    for claims in [
        r#"{"SENTINEL"}"#,
        r#"{"exp":"SENTINEL"}"#,
        r#"{"exp":1700000060,"iss":"SENTINEL"}"#,
        r#"{"SENTINEL":1,"SENTINEL":2}"#,
    ] {
        let policy = Policy::new().issuer("expected").require(countersign_jose::ClaimName::member("other"));
        let signed = verify(&with_claims(claims), &hs256_key()).unwrap();
        let error = signed.check(&policy, Timestamp::from_unix_seconds(1_700_000_000)).unwrap_err();
        errors.push(format!("{error} {error:?}"));
    }
    for jwk in [
        r#"{"kty":"SENTINEL"}"#,
        r#"{"kty":"oct","k":"SENTINEL=="}"#,
        r#"{"kty":"oct","k":"AAAA","alg":"SENTINEL"}"#,
        r#"{"kty":"oct","k":"AAAA","kid":"SENTINEL\n"}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"SENTINEL","d":"SENTINEL"}"#,
    ] {
        let error = Jwk::parse(jwk.as_bytes()).unwrap_err();
        errors.push(format!("{error} {error:?}"));
    }
    for pem in ["SENTINEL", "-----BEGIN PRIVATE KEY-----\nSENTINEL\n-----END PRIVATE KEY-----\n"] {
        let error = PrivateKey::from_pem(pem).unwrap_err();
        errors.push(format!("{error} {error:?}"));
    }
    for text in errors {
        assert!(!text.contains("SENTINEL"), "{text}");
    }
}

#[test]
fn a_header_written_here_has_only_its_three_members() {
    let header = Header { alg: Algorithm::HS256, kid: Some("k\"1"), typ: Some("at+jwt") };
    let input = SigningInput::new(&header.encode(), b"{}");
    let text = std::str::from_utf8(input.as_bytes()).unwrap().split('.').next().unwrap();
    let json = countersign_jose::base64url::decode(text).unwrap();
    assert_eq!(json, br#"{"alg":"HS256","kid":"k\"1","typ":"at+jwt"}"#);
}
