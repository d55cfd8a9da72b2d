//! Attacks on keys: weak, malformed, of another purpose, off the curve, or put together from two
//! keys.
//!
//! RFC 7517 §4, RFC 7518 §6, RFC 8037 §2, RFC 8725 §3.4 (invalid curve points). Keys made by
//! openssl, and RSA under 2048 bits, are in `keys.rs`.

use countersign_jose::{
    Algorithm, Curve, Jwk, KeyError, KeySize, MAX_RSA_BITS, PrivateKey, PublicJwk, PublicKey, SigningKey,
    SymmetricKey, VerifyingKey,
    base64url::{decode, encode},
};
use serde_json::{Value, json};

fn public(algorithm: Algorithm) -> PublicKey {
    PrivateKey::generate(algorithm, KeySize::default()).unwrap().public_key()
}

/// The published form of a fresh key, to be spoiled.
fn jwk(algorithm: Algorithm) -> Value {
    let jwk = PublicJwk { kid: "k1".into(), algorithm, key: public(algorithm) };
    serde_json::to_value(jwk).unwrap()
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk.as_object_mut().unwrap().insert(name.into(), value);
    jwk
}

fn without(mut jwk: Value, name: &str) -> Value {
    jwk.as_object_mut().unwrap().remove(name).unwrap();
    jwk
}

/// Reads and binds a JWK for verifying, as a key set does.
fn load(jwk: &Value) -> Result<VerifyingKey, KeyError> {
    Jwk::parse(jwk.to_string().as_bytes())?.verifying_key(None)
}

fn code(jwk: &Value) -> &'static str {
    load(jwk).expect_err(&jwk.to_string()).code()
}

#[test]
fn refuses_rsa_exponents_that_sign_nothing_or_that_no_library_agrees_on() {
    let key = jwk(Algorithm::RS256);
    assert!(load(&key).is_ok());
    let n = decode(key["n"].as_str().unwrap()).unwrap();
    let expected = "key_rsa_exponent";
    for e in [&[1][..], &[0, 1], &[0], &[2], &[4], &[1, 0, 0], &[2, 0, 0, 0, 1], &[0xff; 16], &n] {
        assert_eq!(code(&with(key.clone(), "e", encode(e).into())), expected, "{e:?}");
        let spoiled = with(key.clone(), "e", encode(e).into()).to_string();
        let parsed = Jwk::parse(spoiled.as_bytes());
        assert_eq!(parsed.unwrap_err(), KeyError::RsaExponent, "refused when read, not only when bound");
        // The type has public fields, so the same must hold for a key that never was a JWK.
        let built = PublicKey::Rsa { n: n.clone(), e: e.to_vec() };
        assert!(VerifyingKey::new(&built, Algorithm::RS256, None).is_err(), "{e:?}");
    }
    assert_eq!(code(&with(key.clone(), "e", "".into())), "key_malformed_member");
    assert_eq!(code(&without(key, "e")), "key_missing_member");
}

#[test]
fn refuses_rsa_moduli_that_are_even_too_large_or_absent() {
    let key = jwk(Algorithm::RS256);
    let mut n = decode(key["n"].as_str().unwrap()).unwrap();
    let padded = [&[0, 0][..], &n].concat();
    assert!(load(&with(key.clone(), "n", encode(&padded).into())).is_ok(), "leading zeros do not count");
    *n.last_mut().unwrap() &= 0xfe;
    assert_eq!(code(&with(key.clone(), "n", encode(&n).into())), "key_weak");
    let huge = encode(&vec![0xff; MAX_RSA_BITS / 8 + 1]);
    assert_eq!(code(&with(key.clone(), "n", huge.into())), "key_rsa_too_large");
    let built = PublicKey::Rsa { n: vec![0xff; MAX_RSA_BITS / 8 + 1], e: vec![1, 0, 1] };
    assert!(VerifyingKey::new(&built, Algorithm::RS256, None).is_err());
    assert_eq!(code(&with(key.clone(), "n", "AA".into())), "key_inconsistent");
    assert_eq!(code(&without(key, "n")), "key_missing_member");
}

#[test]
fn refuses_a_point_that_is_not_on_its_curve() {
    for (algorithm, width) in [(Algorithm::ES256, 32), (Algorithm::ES384, 48), (Algorithm::ES512, 66)] {
        let key = jwk(algorithm);
        assert!(load(&key).is_ok());
        let mut y = decode(key["y"].as_str().unwrap()).unwrap();
        y[width - 1] ^= 1;
        assert_eq!(code(&with(key.clone(), "y", encode(&y).into())), "key_inconsistent");
        let zero = Value::from(encode(&vec![0; width]));
        let infinity = with(with(key.clone(), "x", zero.clone()), "y", zero.clone());
        assert_eq!(code(&infinity), "key_inconsistent");
        assert_eq!(code(&with(key.clone(), "x", zero)), "key_inconsistent");
        // A coordinate beyond the field's prime.
        assert_eq!(code(&with(key, "x", encode(&vec![0xff; width]).into())), "key_inconsistent");
    }
    for (x, y) in [(vec![], vec![]), (vec![0; 32], vec![]), (vec![4; 31], vec![4; 33])] {
        let built = PublicKey::Ec { curve: Curve::P256, x, y };
        assert!(VerifyingKey::new(&built, Algorithm::ES256, None).is_err());
    }
}

#[test]
fn refuses_coordinates_of_another_length_than_the_curve_has() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDSA] {
        let key = jwk(algorithm);
        let x = decode(key["x"].as_str().unwrap()).unwrap();
        for wrong in
            [[&[0], &x[..]].concat(), x[1..].to_vec(), x[..x.len() - 1].to_vec(), vec![], vec![0; 4096]]
        {
            assert_eq!(code(&with(key.clone(), "x", encode(&wrong).into())), "key_malformed_member");
        }
        assert_eq!(code(&without(key, "x")), "key_missing_member");
    }
}

#[test]
fn refuses_a_key_whose_alg_is_for_another_kind_or_curve() {
    for (algorithm, alg) in [
        (Algorithm::ES256, "ES384"),
        (Algorithm::ES256, "EdDSA"),
        (Algorithm::ES384, "ES256"),
        (Algorithm::ES512, "ES256"),
        (Algorithm::RS256, "ES256"),
        (Algorithm::RS256, "HS256"),
        (Algorithm::EdDSA, "ES256"),
        (Algorithm::EdDSA, "RS256"),
    ] {
        assert_eq!(
            code(&with(jwk(algorithm), "alg", alg.into())),
            "key_algorithm_mismatch",
            "{algorithm} {alg}"
        );
    }
    let secret = json!({"kty": "oct", "alg": "RS256", "k": encode(&[1; 64])});
    assert_eq!(code(&secret), "key_algorithm_mismatch");
    for alg in ["none", "RSA-OAEP", "ECDH-ES", "A128KW", "ES256K", "", "rs256"] {
        assert_eq!(
            code(&with(jwk(Algorithm::RS256), "alg", alg.into())),
            "key_unsupported_algorithm",
            "{alg}"
        );
    }
    // The point of one curve under the name of another.
    let renamed = with(without(jwk(Algorithm::ES256), "alg"), "crv", "P-384".into());
    assert_eq!(code(&renamed), "key_malformed_member");
}

#[test]
fn refuses_a_key_that_is_for_another_purpose() {
    let key = jwk(Algorithm::ES256);
    for purpose in ["enc", "", "SIG", "sig ", "tls"] {
        assert_eq!(code(&with(key.clone(), "use", purpose.into())), "key_not_for_signatures", "{purpose:?}");
    }
    for ops in [json!([]), json!(["sign"]), json!(["encrypt", "wrapKey"]), json!(["VERIFY"])] {
        assert_eq!(code(&with(key.clone(), "key_ops", ops)), "key_operation_not_allowed");
    }
    assert!(load(&with(key.clone(), "key_ops", json!(["verify"]))).is_ok());
    for twice in [json!(["verify", "verify"]), json!(["sign", "verify", "sign"])] {
        assert_eq!(code(&with(key.clone(), "key_ops", twice)), "key_malformed_member");
    }
    for (name, value) in
        [("use", json!(1)), ("use", json!(["sig"])), ("key_ops", json!("verify")), ("key_ops", json!([1]))]
    {
        assert_eq!(code(&with(key.clone(), name, value)), "key_wrong_type");
    }
    let secret = json!({"kty": "oct", "alg": "HS256", "k": encode(&[1; 32]), "key_ops": ["verify"]});
    let secret = Jwk::parse(secret.to_string().as_bytes()).unwrap();
    assert!(secret.verifying_key(None).is_ok());
    assert_eq!(secret.signing_key(None).unwrap_err(), KeyError::OperationNotAllowed("sign"));
}

#[test]
fn a_public_key_does_not_sign() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let jwk = Jwk::parse(jwk(algorithm).to_string().as_bytes()).unwrap();
        assert_eq!(jwk.signing_key(None).unwrap_err(), KeyError::NotPrivate);
        assert_eq!(jwk.into_private_key().unwrap_err(), KeyError::NotPrivate);
    }
}

#[test]
fn refuses_a_secret_one_byte_shorter_than_the_hash() {
    for (algorithm, min) in [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)] {
        let short = SymmetricKey::new(vec![7; min - 1].into());
        let refused = KeyError::SecretTooShort { algorithm, bytes: min - 1, min };
        assert_eq!(SigningKey::symmetric(&short, algorithm).unwrap_err(), refused);
        assert_eq!(VerifyingKey::symmetric(&short, algorithm, None).unwrap_err(), refused);
        let jwk = json!({"kty": "oct", "alg": algorithm, "k": encode(&vec![7; min - 1])});
        assert_eq!(load(&jwk).unwrap_err(), refused);
        let enough = SymmetricKey::new(vec![7; min].into());
        assert!(SigningKey::symmetric(&enough, algorithm).is_ok());
        assert!(VerifyingKey::symmetric(&enough, algorithm, None).is_ok());
        assert_eq!(SymmetricKey::generate(algorithm).unwrap().expose_secret().len(), min);
    }
    let empty = json!({"kty": "oct", "alg": "HS256", "k": ""});
    assert_eq!(code(&empty), "key_malformed_member");
    let unnamed = json!({"kty": "oct", "k": encode(&[7; 64])});
    assert_eq!(load(&unnamed).unwrap_err(), KeyError::NoAlgorithm);
}

#[test]
fn refuses_members_of_the_wrong_type_or_in_another_base64() {
    for (algorithm, name) in
        [(Algorithm::RS256, "n"), (Algorithm::RS256, "e"), (Algorithm::ES256, "x"), (Algorithm::EdDSA, "x")]
    {
        for value in [json!(1), json!(null), json!([]), json!({}), json!(true)] {
            assert_eq!(code(&with(jwk(algorithm), name, value)), "key_wrong_type");
        }
        let key = jwk(algorithm);
        let text = key[name].as_str().unwrap();
        for junk in [format!("{text}="), format!("{text}\n"), format!(" {text}"), format!("+/{text}")] {
            assert_eq!(code(&with(key.clone(), name, junk.into())), "key_malformed_member");
        }
    }
    for name in ["kty", "crv", "alg", "kid"] {
        assert_eq!(code(&with(jwk(Algorithm::ES256), name, json!(["P-256"]))), "key_wrong_type");
    }
    assert_eq!(code(&without(jwk(Algorithm::ES256), "kty")), "key_missing_member");
    assert_eq!(code(&without(jwk(Algorithm::ES256), "crv")), "key_missing_member");
}

#[test]
fn refuses_key_names_that_are_empty_long_or_not_printable() {
    for kid in ["", "a\nb", "a\u{0}", "ä", "\u{7f}", &"k".repeat(257), &"k".repeat(64 * 1024)] {
        assert_eq!(code(&with(jwk(Algorithm::ES256), "kid", kid.into())), "key_bad_kid", "{kid:.20}");
    }
    for kid in ["a b", "../../etc/passwd", "' OR 1=1 --", &"k".repeat(256)] {
        let key = load(&with(jwk(Algorithm::ES256), "kid", kid.into())).unwrap();
        assert_eq!(key.kid(), Some(kid));
    }
}

#[test]
fn refuses_a_private_jwk_whose_halves_belong_to_different_keys() {
    // RFC 8037 appendix A.1 and A.2, and the same seed beside another public key.
    let seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    let right = json!({"kty": "OKP", "crv": "Ed25519", "d": seed, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert!(Jwk::parse(right.to_string().as_bytes()).is_ok());
    let mut mixed = without(jwk(Algorithm::EdDSA), "alg");
    mixed = with(mixed, "d", seed.into());
    assert_eq!(code(&mixed), "key_inconsistent");
    for (algorithm, width) in [(Algorithm::ES256, 32), (Algorithm::ES384, 48), (Algorithm::ES512, 66)] {
        let scalar = [vec![0; width - 1], vec![9]].concat();
        assert_eq!(code(&with(jwk(algorithm), "d", encode(&scalar).into())), "key_inconsistent");
        for bad in [vec![0; width], vec![0xff; width]] {
            assert_eq!(code(&with(jwk(algorithm), "d", encode(&bad).into())), "key_inconsistent");
        }
        assert_eq!(code(&with(jwk(algorithm), "d", encode(&[9]).into())), "key_malformed_member");
    }
    assert_eq!(code(&with(jwk(Algorithm::RS256), "d", encode(&[9; 256]).into())), "key_inconsistent");
}
