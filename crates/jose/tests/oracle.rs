//! Random tokens, keys and texts, with the crate `jsonwebtoken` as the second opinion.
//!
//! What is signed here verifies there with equal claims, and the other way round, for every
//! algorithm both know (it has no ES512). Any one bit flipped anywhere in a token's text is
//! refused. The shared properties of `properties/` hold for random input and for input that is
//! nearly right; the fuzz targets go on where these runs stop.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

pub mod properties;

use countersign_jose::{
    Algorithm, Header, KeySize, Policy, PrivateKey, SigningInput, SigningKey, SymmetricKey, Timestamp,
    Unverified, VerifyingKey,
};
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// One algorithm, with the same key in this crate's form and in the oracle's.
struct Pair {
    alg: Algorithm,
    signing: SigningKey,
    verifying: VerifyingKey,
    their_alg: jsonwebtoken::Algorithm,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    let rsa = PrivateKey::generate(Algorithm::RS256, KeySize::Rsa2048).unwrap();
    let secret = SymmetricKey::generate(Algorithm::HS512).unwrap();
    let pair = |alg: Algorithm| {
        let their_alg = alg.name().parse().ok()?;
        if alg.is_symmetric() {
            return Some(Pair {
                alg,
                signing: SigningKey::symmetric(&secret, alg).unwrap(),
                verifying: VerifyingKey::symmetric(&secret, alg, None).unwrap(),
                their_alg,
                encoding: EncodingKey::from_secret(secret.expose_secret()),
                decoding: DecodingKey::from_secret(secret.expose_secret()),
            });
        }
        let fresh;
        let key = if alg.key_kind() == rsa.kind() {
            &rsa
        } else {
            fresh = PrivateKey::generate(alg, KeySize::default()).unwrap();
            &fresh
        };
        let private = pem::encode(&pem::Pem::new("PRIVATE KEY", key.to_pkcs8_der().unwrap().to_vec()));
        let public = key.public_key().to_pem().unwrap();
        let (private, public) = (private.as_bytes(), public.as_bytes());
        let (encoding, decoding) = match &alg.name()[..2] {
            "ES" => (EncodingKey::from_ec_pem(private), DecodingKey::from_ec_pem(public)),
            "Ed" => (EncodingKey::from_ed_pem(private), DecodingKey::from_ed_pem(public)),
            _ => (EncodingKey::from_rsa_pem(private), DecodingKey::from_rsa_pem(public)),
        };
        Some(Pair {
            alg,
            signing: SigningKey::new(key, alg).unwrap(),
            verifying: VerifyingKey::new(&key.public_key(), alg, None).unwrap(),
            their_alg,
            encoding: encoding.unwrap(),
            decoding: decoding.unwrap(),
        })
    };
    Algorithm::ALL.into_iter().filter_map(pair).collect()
});

fn sign_here(pair: &Pair, claims: &Value) -> String {
    let header = Header { alg: pair.alg, kid: Some("k1"), typ: Some("JWT") }.encode();
    let input = SigningInput::new(&header, claims.to_string().as_bytes());
    let signature = pair.signing.sign(&input).unwrap();
    input.finish(&signature)
}

/// Random JSON values that both libraries read alike: integers, no floats.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let members = vec((any::<String>(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

fn claims() -> impl Strategy<Value = Value> {
    vec(("[a-z_:/.]{1,12}", value()), 0..6).prop_map(|members| {
        let mut claims =
            Map::from_iter(members.into_iter().map(|(name, value)| (format!("x-{name}"), value)));
        claims.insert("exp".into(), json!(1_700_000_060));
        Value::Object(claims)
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn the_oracle_knows_every_algorithm_but_es512_and_the_second_name_of_eddsa() {
    let common: Vec<_> = PAIRS.iter().map(|pair| pair.alg).collect();
    let expected = Algorithm::ALL.into_iter().filter(|a| !["ES512", "Ed25519"].contains(&a.name()));
    assert_eq!(common, expected.collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn what_is_signed_here_verifies_there_with_equal_claims(claims in claims()) {
        for pair in PAIRS.iter() {
            let token = sign_here(pair, &claims);
            let mut validation = Validation::new(pair.their_alg);
            validation.validate_exp = false;
            let theirs = jsonwebtoken::decode::<Value>(&token, &pair.decoding, &validation).unwrap();
            prop_assert_eq!(&theirs.claims, &claims);
            prop_assert_eq!(theirs.header.kid.as_deref(), Some("k1"));
        }
    }

    #[test]
    fn what_is_signed_there_verifies_here_with_equal_claims(claims in claims()) {
        for pair in PAIRS.iter() {
            let header = jsonwebtoken::Header::new(pair.their_alg);
            let token = jsonwebtoken::encode(&header, &claims, &pair.encoding).unwrap();
            let signed = Unverified::parse(&token).unwrap().verify(&pair.verifying).unwrap();
            let now = Timestamp::from_unix_seconds(1_700_000_000);
            let verified = signed.check(&Policy::new().typ("JWT"), now).unwrap();
            prop_assert_eq!(verified.claims::<Value>().unwrap(), claims.clone());
        }
    }

    #[test]
    fn any_one_bit_flipped_anywhere_in_a_token_is_refused(claims in claims(), at in any::<prop::sample::Index>()) {
        for pair in PAIRS.iter() {
            let mut bytes = sign_here(pair, &claims).into_bytes();
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A text that is no longer UTF-8 never reaches the parser.
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let result = Unverified::parse(&text).and_then(|token| token.verify(&pair.verifying));
            prop_assert!(result.is_err(), "{} bit {bit}", pair.alg);
        }
    }
}

#[test]
fn every_single_bit_of_a_token_counts() {
    for pair in PAIRS.iter().filter(|pair| ["HS256", "ES256", "EdDSA", "RS256"].contains(&pair.alg.name())) {
        let token = sign_here(pair, &json!({"sub": "a"})).into_bytes();
        for bit in 0..token.len() * 8 {
            let mut bytes = token.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let result = Unverified::parse(&text).and_then(|token| token.verify(&pair.verifying));
            assert!(result.is_err(), "{} bit {bit}", pair.alg);
        }
    }
}

/// One of a few words.
fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::sample::select(words).prop_map(str::to_owned)
}

/// A JSON document from a small vocabulary, so that equal names, deep nesting and odd escapes are
/// common.
fn document() -> impl Strategy<Value = String> {
    let name = word(&["a", "b", "\\u0061", "\\\\a", "", "ä", "\\ud83d\\ude00"]);
    // What makes a document invalid is rare, or no large document would be valid.
    let leaf = prop_oneof![
        16 => "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
        16 => "\"(\\\\[nrt\"/\\\\]|\\\\u[0-9a-f]{4}|[ -!#-Z])*\"",
        16 => word(&["null", "true", "false", "0", "\"\""]),
        1 => word(&["01", "nul", "'a'", "1e400", "-", "\"\\ud800\"", "\"\n\""]),
    ];
    let tree = leaf.prop_recursive(8, 48, 5, move |inner| {
        let members = vec((name.clone(), inner.clone()), 0..5).prop_map(|members| {
            let members: Vec<_> = members.iter().map(|(n, v)| format!("\"{n}\" : {v}")).collect();
            format!("{{{}}}", members.join(","))
        });
        let items = vec(inner, 0..4).prop_map(|items| format!("[ {}]", items.join(" ,")));
        prop_oneof![3 => members, 1 => items]
    });
    vec(("[a-f]", tree), 0..4).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(n, v)| format!("\"{n}\":{v}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

/// Claims that a policy looks at, with values near the edge.
fn near_claims() -> impl Strategy<Value = String> {
    let name = word(&["exp", "nbf", "iat", "iss", "aud", "sub", "x"]);
    let value = prop_oneof![
        6 => (1_699_999_960..1_700_000_040_i64).prop_map(|n| n.to_string()),
        3 => word(&["\"i\"", "\"a\"", "[\"a\"]", "[]", "[\"b\",\"a\"]"]),
        1 => word(&["-0", "1.7e9", "null", "{}", "[1]", "1e400"]),
    ];
    vec((name, value), 0..3).prop_map(|extra| {
        let members: Vec<_> = extra.iter().map(|(n, v)| format!(",\"{n}\":{v}")).collect();
        let base = r#""iss":"i","aud":"a","exp":1700000001"#;
        let kept = base.split(',').filter(|m| extra.iter().all(|(n, _)| !m.starts_with(&format!("\"{n}\""))));
        format!("{{{}{}}}", kept.collect::<Vec<_>>().join(","), members.concat()).replacen("{,", "{", 1)
    })
}

/// A JWK with members that are right, wrong or absent.
fn near_jwk() -> impl Strategy<Value = String> {
    let text = word(&["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "sig", "ES256", "HS256"]);
    let length = prop_oneof![Just(32), Just(64), Just(256), 0..70usize];
    let encoded = length
        .prop_flat_map(|n| vec(any::<u8>(), n))
        .prop_map(|bytes| countersign_jose::base64url::encode(&bytes));
    let value = prop_oneof![text, encoded, word(&["AQAB"])];
    let name = word(&[
        "kty", "crv", "alg", "use", "kid", "n", "e", "d", "p", "q", "dp", "dq", "qi", "x", "y", "k", "keys",
    ]);
    let base = word(&[
        r#""kty":"oct""#,
        r#""kty":"OKP","crv":"Ed25519""#,
        r#""kty":"EC","crv":"P-256""#,
        r#""kty":"RSA","e":"AQAB""#,
    ]);
    (base, prop::collection::btree_map(name, value, 0..6)).prop_map(|(base, members)| {
        let members: Vec<_> = members.iter().map(|(n, v)| format!(",\"{n}\":\"{v}\"")).collect();
        format!("{{{base}{}}}", members.concat())
    })
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn random_bytes_never_panic_anything(data in vec(any::<u8>(), 0..200), text in any::<String>()) {
        for data in [&data[..], text.as_bytes()] {
            properties::token(data);
            properties::header(data);
            properties::claims(data);
            properties::json(data);
            properties::jwk(data);
            properties::pem(data);
            properties::der(data);
        }
    }

    #[test]
    fn json_is_read_as_serde_json_reads_it_and_no_name_occurs_twice(document in document()) {
        properties::json(document.as_bytes());
        properties::header(document.as_bytes());
    }

    #[test]
    fn a_policy_accepts_what_a_naive_reader_accepts(claims in near_claims()) {
        properties::claims(claims.as_bytes());
    }

    #[test]
    fn a_key_that_loads_can_be_used_and_stays_the_same(jwk in near_jwk()) {
        properties::jwk(jwk.as_bytes());
        properties::jwk(format!(r#"{{"keys":[{jwk},{{}}]}}"#).as_bytes());
    }

    #[test]
    fn a_text_that_looks_like_a_token_is_no_token(
        text in r"[A-Za-z0-9_=-]{0,40}(\.[A-Za-z0-9_=-]{0,40}){0,4}",
        json in any::<String>(),
    ) {
        properties::token(text.as_bytes());
        properties::header(format!(r#"{{"alg":"HS256",{json}}}"#).as_bytes());
    }

    #[test]
    fn a_pem_text_with_random_der_is_refused_without_a_panic(
        der in vec(any::<u8>(), 0..120),
        label in word(&["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "PUBLIC KEY", "RSA PUBLIC KEY", "X509"]),
    ) {
        properties::pem(pem::encode(&pem::Pem::new(label, der)).as_bytes());
    }
}

#[test]
fn a_key_with_one_byte_changed_loads_as_a_usable_key_or_not_at_all() {
    for algorithm in [Algorithm::ES256, Algorithm::ES512, Algorithm::EdDSA] {
        let key = PrivateKey::generate(algorithm, KeySize::default()).unwrap();
        let der = key.to_pkcs8_der().unwrap();
        for at in 0..der.len() {
            let mut changed = der.to_vec();
            changed[at] ^= 1;
            properties::der(&changed);
            properties::der(&der[..at]);
            properties::pem(pem::encode(&pem::Pem::new("PRIVATE KEY", changed)).as_bytes());
        }
    }
}
