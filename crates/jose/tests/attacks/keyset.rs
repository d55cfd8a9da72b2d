//! Attacks on key selection: names that clash, tokens without a name, bad keys among good ones,
//! sets without an end.
//!
//! RFC 7517 §5; CVE-2026-31837 and CVE-2025-64527 (sets that cannot be read). A set that is not one
//! fails as a whole; a key that is not one is skipped with its reason.

use super::forge::{Es256, SECRET, hs256, input};
use countersign_jose::{
    Algorithm, Jwk, KeySet, KeySize, MAX_KEYS, PrivateKey, PublicJwk, PublicKey, TokenError, Unverified,
    base64url::encode,
};

fn jwk(key: &Es256, kid: &str) -> String {
    let jwk = PublicJwk { kid: kid.into(), algorithm: Algorithm::ES256, key: key.public_key() };
    serde_json::to_string(&jwk).unwrap()
}

fn oct(kid: &str) -> String {
    format!(r#"{{"kty":"oct","kid":"{kid}","alg":"HS256","k":"{}"}}"#, encode(&SECRET))
}

fn set(keys: &[String]) -> KeySet {
    KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes(), None).unwrap()
}

fn verify(set: &KeySet, token: &str) -> Result<(), TokenError> {
    set.verify(Unverified::parse(token).unwrap()).map(|_| ())
}

fn es256(key: &Es256, kid: Option<&str>) -> String {
    let kid = kid.map(|kid| format!(r#","kid":"{kid}""#)).unwrap_or_default();
    key.sign(&input(&format!(r#"{{"alg":"ES256"{kid}}}"#), "{}"))
}

#[test]
fn tells_two_keys_of_one_name_apart_by_their_own_algorithm() {
    let key = Es256::generate();
    for keys in [[oct("k"), jwk(&key, "k")], [jwk(&key, "k"), oct("k")]] {
        let set = set(&keys);
        assert_eq!(verify(&set, &es256(&key, Some("k"))), Ok(()));
        assert_eq!(verify(&set, &hs256(&input(r#"{"alg":"HS256","kid":"k"}"#, "{}"), &SECRET)), Ok(()));
        let foreign = hs256(&input(r#"{"alg":"HS256","kid":"k"}"#, "{}"), &[1; 32]);
        assert_eq!(verify(&set, &foreign), Err(TokenError::BadSignature));
        // An algorithm that neither is for says so.
        let other = hs256(&input(r#"{"alg":"HS512","kid":"k"}"#, "{}"), &SECRET);
        assert_eq!(verify(&set, &other).unwrap_err().code(), "token_algorithm_mismatch");
    }
}

#[test]
fn a_second_key_of_the_same_name_and_algorithm_never_shadows_the_first() {
    let (first, second) = (Es256::generate(), Es256::generate());
    let set = set(&[jwk(&first, "k"), jwk(&second, "k")]);
    assert_eq!(verify(&set, &es256(&first, Some("k"))), Ok(()));
    assert_eq!(verify(&set, &es256(&second, Some("k"))), Err(TokenError::BadSignature));
}

#[test]
fn takes_a_token_without_a_kid_only_where_there_is_exactly_one_key() {
    let (key, other) = (Es256::generate(), Es256::generate());
    assert_eq!(verify(&set(&[jwk(&key, "a")]), &es256(&key, None)), Ok(()));
    let two = set(&[jwk(&key, "a"), jwk(&other, "b")]);
    assert_eq!(verify(&two, &es256(&key, None)), Err(TokenError::NoKey));
    assert_eq!(verify(&set(&[]), &es256(&key, None)), Err(TokenError::NoKey));
    // Two keys, of which only one is for the algorithm: still not guessed.
    let mixed = set(&[jwk(&key, "a"), oct("b")]);
    assert_eq!(verify(&mixed, &es256(&key, None)), Err(TokenError::NoKey));
}

#[test]
fn a_kid_that_no_key_has_finds_no_key_even_when_there_is_only_one() {
    let key = Es256::generate();
    let set = set(&[jwk(&key, "a")]);
    for kid in ["b", "A", "", "a ", "a/../a"] {
        assert_eq!(verify(&set, &es256(&key, Some(kid))), Err(TokenError::NoKey), "{kid:?}");
    }
}

#[test]
fn keeps_the_good_keys_of_a_set_and_says_why_others_were_skipped() {
    let (first, last) = (Es256::generate(), Es256::generate());
    let PublicKey::Ec { x, .. } = first.public_key() else { panic!() };
    let bad = [
        (r#"null"#.into(), "key_malformed_json"),
        (r#"{}"#.into(), "key_missing_member"),
        (r#"{"kty":"quantum","kid":"x"}"#.into(), "key_unsupported_kind"),
        (r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#.into(), "key_unsupported_kind"),
        (r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#.into(), "key_unsupported_kind"),
        (r#"{"kty":"RSA","n":"AQ","e":"AQAB"}"#.into(), "key_rsa_too_small"),
        (r#"{"kty":"RSA","n":5,"e":"AQAB"}"#.into(), "key_wrong_type"),
        (format!(r#"{{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}}"#, encode(&x)), "key_inconsistent"),
        (jwk(&first, "enc").replace(r#""use":"sig""#, r#""use":"enc""#), "key_not_for_signatures"),
        (jwk(&first, "alg").replace("ES256", "ECDH-ES"), "key_unsupported_algorithm"),
    ];
    for (bad, code) in bad {
        let set = set(&[jwk(&first, "a"), bad.clone(), jwk(&last, "b")]);
        let skipped: Vec<_> = set.skipped().iter().map(|skipped| skipped.why.code()).collect();
        assert_eq!((set.keys().len(), skipped), (2, vec![code]), "{bad}");
        assert_eq!(verify(&set, &es256(&first, Some("a"))), Ok(()));
        assert_eq!(verify(&set, &es256(&last, Some("b"))), Ok(()));
    }
}

#[test]
fn an_empty_set_is_a_set_that_verifies_nothing() {
    let empty = set(&[]);
    assert!(empty.keys().is_empty() && empty.skipped().is_empty());
    assert_eq!(verify(&empty, &es256(&Es256::generate(), Some("a"))), Err(TokenError::NoKey));
}

#[test]
fn refuses_what_is_not_a_key_set() {
    let one = jwk(&Es256::generate(), "a");
    for (text, code) in [
        (String::new(), "key_malformed_json"),
        ("<!doctype html><title>500</title>".into(), "key_malformed_json"),
        ("null".into(), "key_malformed_json"),
        (format!("[{one}]"), "key_malformed_json"),
        (r#"{"keys":null}"#.into(), "key_wrong_type"),
        (r#"{"keys":{}}"#.into(), "key_wrong_type"),
        (r#"{"keys":"[]"}"#.into(), "key_wrong_type"),
        (format!(r#"{{"keys":{one}}}"#), "key_wrong_type"),
        (format!(r#"{{"keys":[],"keys":[{one}]}}"#), "key_malformed_json"),
        (format!(r#"{{"keys":[{one}]"#), "key_malformed_json"),
        (format!(r#"{{"keys":[{one}]}}{{}}"#), "key_malformed_json"),
    ] {
        assert_eq!(KeySet::parse(text.as_bytes(), None).unwrap_err().code(), code, "{text}");
    }
    // One JWK in place of a set is a set of one; anything else in its place is a set of none.
    assert_eq!(KeySet::parse(one.as_bytes(), None).unwrap().keys().len(), 1);
    assert_eq!(KeySet::parse(b"{}", None).unwrap().skipped().len(), 1);
}

#[test]
fn takes_a_set_of_as_many_keys_as_the_limit_and_refuses_a_larger_one_whole() {
    let mut keys: Vec<String> = (0..MAX_KEYS).map(|i| oct(&format!("k{i}"))).collect();
    assert_eq!(set(&keys).keys().len(), MAX_KEYS);
    keys.push("null".into());
    let text = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    assert_eq!(KeySet::parse(text.as_bytes(), None).unwrap_err().code(), "key_set_too_large");
    assert_eq!(Jwk::parse_set(text.as_bytes()).unwrap_err().code(), "key_set_too_large");
}

#[test]
fn does_not_look_at_the_private_members_of_a_key_it_verifies_with() {
    // A private RSA key without CRT members would cost seconds to complete; this one could not even
    // be completed.
    let key = PrivateKey::generate(Algorithm::RS256, KeySize::default()).unwrap().public_key();
    let PublicKey::Rsa { n, .. } = key else { unreachable!() };
    let n = encode(&n);
    let text = format!(r#"{{"keys":[{{"kty":"RSA","kid":"k","n":"{n}","e":"AQAB","d":"{n}"}}]}}"#);
    assert_eq!(KeySet::parse(text.as_bytes(), None).unwrap().keys().len(), 1);
    assert!(Jwk::parse_set(text.as_bytes()).unwrap()[0].is_err());
}
