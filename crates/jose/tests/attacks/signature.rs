//! Attacks on the signature: absent, cut, lengthened, zero, in another encoding, or the other of
//! two that fit.
//!
//! ECDSA with r = s = 0 is CVE-2022-21449. RFC 7518 §3.4 fixes the width of R‖S. ECDSA signatures
//! with a high s are accepted, as JOSE asks for no low s: a revocation must go by `jti`, never by a
//! hash of the token.

use super::{
    forge::{Es256, hs256_key, input, with_claims},
    verify,
};
use countersign_jose::{
    Algorithm, Header, KeySize, SigningInput, SigningKey, TokenError, Unverified, VerifyingKey,
    base64url::{decode, encode},
};
use num_bigint::BigUint;

const HEADER: &str = r#"{"alg":"ES256"}"#;
/// The order of P-256 (SEC 2 §2.4.2).
const P256_ORDER: &[u8] = b"FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551";
/// The order of the base point of Ed25519 (RFC 8032 §5.1), little-endian.
const ED25519_ORDER: &[u8] = b"1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED";

fn sample(algorithm: Algorithm) -> (String, VerifyingKey) {
    let key = SigningKey::generate(algorithm, KeySize::default()).unwrap();
    let input = SigningInput::new(&Header { alg: algorithm, kid: None, typ: None }.encode(), b"{}");
    let signature = key.sign(&input).unwrap();
    let verifying = VerifyingKey::new(key.public_key().unwrap(), algorithm, None).unwrap();
    (input.finish(&signature), verifying)
}

fn with_signature(token: &str, signature: &[u8]) -> String {
    format!("{}.{}", token.rsplit_once('.').unwrap().0, encode(signature))
}

fn assert_bad(token: &str, key: &VerifyingKey, what: &str) {
    assert_eq!(verify(token, key), Err(TokenError::BadSignature), "{what}: {token}");
}

#[test]
fn refuses_a_truncated_extended_or_replaced_signature_of_every_kind() {
    let mut samples: Vec<_> = [
        Algorithm::RS256,
        Algorithm::PS256,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::ES512,
        Algorithm::EdDSA,
    ]
    .map(sample)
    .into();
    samples.push((with_claims("{}"), hs256_key()));
    for (token, key) in samples {
        let signature = decode(token.rsplit_once('.').unwrap().1).unwrap();
        assert!(verify(&token, &key).is_ok());
        assert_eq!(Unverified::parse(&with_signature(&token, b"")), Err(TokenError::Unsigned));
        for keep in 1..signature.len() {
            assert_bad(&with_signature(&token, &signature[..keep]), &key, "cut at the end");
            assert_bad(&with_signature(&token, &signature[keep..]), &key, "cut at the front");
        }
        for (front, back) in [(1, 0), (0, 1), (signature.len(), 0), (0, signature.len()), (4, 4)] {
            let longer = [vec![0; front], signature.clone(), vec![0; back]].concat();
            assert_bad(&with_signature(&token, &longer), &key, "extended by zeros");
        }
        assert_bad(&with_signature(&token, &signature.repeat(2)), &key, "doubled");
        for byte in [0, 1, 0x7f, 0xff] {
            assert_bad(&with_signature(&token, &vec![byte; signature.len()]), &key, "constant");
        }
        let (other, _) = sample(Algorithm::ES256);
        let foreign = decode(other.rsplit_once('.').unwrap().1).unwrap();
        assert_bad(&with_signature(&token, &foreign), &key, "of another token");
    }
}

#[test]
fn refuses_ecdsa_signatures_whose_r_or_s_is_zero_or_the_order() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512] {
        let (token, key) = sample(algorithm);
        let signature = decode(token.rsplit_once('.').unwrap().1).unwrap();
        let (r, s) = signature.split_at(signature.len() / 2);
        let zero = vec![0; r.len()];
        let one = [&zero[1..], &[1]].concat();
        for (r, s) in [(&zero[..], &zero[..]), (r, &zero), (&zero, s), (&one, &one), (&one, &zero), (s, r)] {
            assert_bad(&with_signature(&token, &[r, s].concat()), &key, "r, s");
        }
    }
    let (token, key) = sample(Algorithm::ES256);
    let signature = decode(token.rsplit_once('.').unwrap().1).unwrap();
    let order = BigUint::parse_bytes(P256_ORDER, 16).unwrap().to_bytes_be();
    let (r, s) = signature.split_at(32);
    for (r, s) in [(&order[..], s), (r, &order[..]), (&order[..], &order[..])] {
        assert_bad(&with_signature(&token, &[r, s].concat()), &key, "the order");
    }
}

#[test]
fn refuses_ecdsa_signatures_in_der_or_of_another_width() {
    let (key, input) = (Es256::generate(), input(HEADER, "{}"));
    let fixed = key.signature(&input);
    let integer = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        let mut body = bytes[zeros..].to_vec();
        if body[0] & 0x80 != 0 {
            body.insert(0, 0);
        }
        [vec![2, body.len() as u8], body].concat()
    };
    let (r, s) = fixed.split_at(32);
    let body = [integer(r), integer(s)].concat();
    let der = [vec![0x30, body.len() as u8], body].concat();
    let wide = [&[0; 16][..], r, &[0; 16], s].concat();
    let token = format!("{input}.{}", encode(&fixed));
    assert!(verify(&token, &key.key()).is_ok());
    for (what, signature) in [("DER", der), ("width of P-384", wide), ("R alone", r.to_vec())] {
        assert_bad(&with_signature(&token, &signature), &key.key(), what);
    }
}

#[test]
fn accepts_an_ecdsa_signature_with_high_s_so_a_token_has_two_spellings() {
    let (key, input) = (Es256::generate(), input(HEADER, "{}"));
    let signature = key.signature(&input);
    let (r, s) = signature.split_at(32);
    let order = BigUint::parse_bytes(P256_ORDER, 16).unwrap();
    let other = (order - BigUint::from_bytes_be(s)).to_bytes_be();
    let other = [r, &vec![0; 32 - other.len()], &other].concat();
    assert_ne!(signature, other);
    let twin = format!("{input}.{}", encode(&other));
    assert!(verify(&twin, &key.key()).is_ok());
}

#[test]
fn refuses_the_second_spelling_of_an_ed25519_signature() {
    let (token, key) = sample(Algorithm::EdDSA);
    let signature = decode(token.rsplit_once('.').unwrap().1).unwrap();
    let (r, s) = signature.split_at(32);
    let order = BigUint::parse_bytes(ED25519_ORDER, 16).unwrap();
    let moved = (BigUint::from_bytes_le(s) + order).to_bytes_le();
    assert_bad(&with_signature(&token, &[r, &moved].concat()), &key, "S + L");
}

#[test]
fn refuses_a_signature_over_another_header_or_payload() {
    let key = Es256::generate();
    let signed = key.sign(&input(HEADER, r#"{"sub":"a"}"#));
    let signature = signed.rsplit_once('.').unwrap().1;
    for (header, payload) in [(HEADER, r#"{"sub":"b"}"#), (r#"{"alg":"ES256" }"#, r#"{"sub":"a"}"#)] {
        assert_bad(&format!("{}.{signature}", input(header, payload)), &key.key(), "moved");
    }
    assert_bad(&signed, &Es256::generate().key(), "another key");
}
