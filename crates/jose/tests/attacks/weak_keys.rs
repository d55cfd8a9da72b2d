//! Keys that are well-formed and keep nobody out, each with the same key unspoiled as its control.
//!
//! Published ones: the ROCA modulus is one of those of the detection tool of its discoverers (crocs-muni/roca); the points of
//! small order are those of RFC 8032's curve as libsodium lists them. Others are made here: a product of neighbouring
//! primes, a square, a prime of the form 2^n - 1. CVE-2017-15361, CVE-2022-26320, NIST SP 800-89 §5.3.3.

use countersign_jose::{
    Algorithm, Jwk, KeyError, KeySize, PrivateKey, PublicKey, Unverified, VerifyingKey, Weakness,
    base64url::encode,
};
use serde_json::json;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.bytes().map(|digit| char::from(digit).to_digit(16).unwrap().try_into().unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}

fn rsa(n: Vec<u8>) -> PublicKey {
    PublicKey::Rsa { n, e: vec![1, 0, 1] }
}

/// Through every door a key comes in by.
fn weakness(key: &PublicKey, algorithm: Algorithm) -> Option<Weakness> {
    let weak = |why: KeyError| match why {
        KeyError::Weak(weakness) => weakness,
        other => unreachable!("{other:?}"),
    };
    let bound = VerifyingKey::new(key, algorithm, None).err().map(weak);
    let jwk = match key {
        PublicKey::Rsa { n, e } => json!({ "kty": "RSA", "n": encode(n), "e": encode(e) }),
        PublicKey::Ed25519 { x } => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(x) }),
        PublicKey::Ec { .. } => unreachable!(),
    };
    let jwk = Jwk::parse(jwk.to_string().as_bytes()).unwrap().verifying_key(None).err().map(weak);
    assert_eq!(bound, jwk);
    let pem = PublicKey::from_pem(&key.to_pem().unwrap()).unwrap();
    assert_eq!(VerifyingKey::new(&pem, algorithm, None).err().map(weak), bound);
    if algorithm == Algorithm::RS256 {
        assert_eq!(VerifyingKey::legacy_weak_rsa(key, algorithm, None).err().map(weak), bound);
    }
    bound
}

const ROCA: &str = "9dcd7420e420c270a68060eb8b5aa7457a9f6648f86fafed2775cc1f79ae962f1e63f1b9e51c55f9ea6fdc7332e9b0058c9ff2eb1fc89855029cf6aafe21e689feb38ac9ffb12f1ce371bb5d0e9aae64161abce74b4244bf68f1edb4411f756a097c8929c14740245ea355f8332d1aa36bb50c7dcb4505da8de02e4e53d38f8df06097da7524df0df93db48eac8cc4af2d3a16257eb2b2adca6ba464e5974fa92550d31b1babf161e7692d00b86e3dd886ecab4abfbe1a8f8cc263ff4af55cdb45f4249a5193925f5e983d762f0b6800943eb0267b08f42ed311ce1f5c86eacbc8ce4d3cb7a2fee1ef5641423a1cf4114e5ecf50034a60a412523af9e6f4aa11";
/// Of the same collection, and not made by that library.
const NOT_ROCA_MODULUS: &str = "af659676197f1db06da7ac111a0a0ec175b8b7ef07192ffcd1f6b854c327785f1a7fd3db7da45cd4a31b2b2e5ce0d823a68e28c8adf1747316becce1fe5768064039ad2062260c8d1a34e0586dce9bc13090fcc9fb8b8b2c08ed3ae8d61b29818a669689a7d9c1dab053b557fb8d3f9c44faad3e18c55e739b00d3c9126558bc8e980cd2af377126ef5b1374136774b8bd370e3c1c149db395c8f99696b628b105946fea20106fe24d103ac062661a9248e8c3f628e00b308d33953aabe555132e218e74ef4b578716b4fe7cf340e8e604a319bf6e9951e1942601d34291032db54999d09e5d036dde3544ad35256bbb97d5e3fffd38166c21eae9199548853b";
const NOT_ROCA: &str = "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAuifwOO3sz3yHUO4Kg67/ovYtMvzj6X8lf25wimtdIjoAkq/hxe44
vaNkNxsCtTi+oVmw0ZGUwxpU4P5q64LlA6gxwF5cYj7L7G3FXjm0ICduZkp/jicO
GU/I5kYjnyjjPgt9aozfVVfC3bqJ3WYNXw4oxb11HemqvRvQcC+4PY13JMsvkz/s
XUFFSjcILQuGONNuAoTtlfJ81SsmlSpQlHfsefYk/SDoZQSagP0b5dAU6QikK0Cj
uP//Y7+ihtzZBKisWjia84H2U35U7cjbKYw2AzLlytjUr0fB/7aeuk4eRmqMVQwC
YDtvUpdQlJtM3YrbRw0wUvMEtxXgc0CGVQIDAQAB
-----END RSA PUBLIC KEY-----
";

#[test]
fn keys_of_the_infineon_library_are_refused_and_others_are_not() {
    assert_eq!(weakness(&rsa(bytes(ROCA)), Algorithm::RS256), Some(Weakness::Roca));
    let published = PublicKey::from_pem(NOT_ROCA).unwrap();
    assert_eq!(weakness(&published, Algorithm::PS256), None);
    assert_eq!(weakness(&rsa(bytes(NOT_ROCA_MODULUS)), Algorithm::RS256), None);
    for size in [KeySize::Rsa2048, KeySize::Rsa3072] {
        let good = PrivateKey::generate(Algorithm::RS256, size).unwrap().public_key();
        assert_eq!(weakness(&good, Algorithm::RS256), None);
    }
}

/// A modulus of these many bits that is `2^bits - below`, by hand.
fn close_to_a_power(bits: usize, below: u8) -> Vec<u8> {
    let mut n = vec![0xff; bits / 8];
    if !bits.is_multiple_of(8) {
        n.insert(0, (1 << (bits % 8)) - 1);
    }
    *n.last_mut().unwrap() = 0xff - below + 1;
    n
}

#[test]
fn moduli_that_anybody_factors_are_refused() {
    assert_eq!(weakness(&rsa(close_to_a_power(2048, 1)), Algorithm::RS256), Some(Weakness::SmallFactor(3)));
    assert_eq!(weakness(&rsa(close_to_a_power(2048, 2)), Algorithm::RS256), Some(Weakness::SmallFactor(2)));
    // A Mersenne prime: no factor at all, and so the private exponent is a matter of one inversion.
    assert_eq!(weakness(&rsa(close_to_a_power(2203, 1)), Algorithm::RS256), Some(Weakness::PowerOfTwo));
    // Squares of what has no small factor: the product of a number with itself, and with its
    // neighbour.
    let PublicKey::Rsa { n, .. } =
        PrivateKey::generate(Algorithm::RS256, KeySize::Rsa2048).unwrap().public_key()
    else {
        unreachable!()
    };
    assert_eq!(weakness(&rsa(multiply(&n, &n)), Algorithm::RS256), Some(Weakness::CloseFactors));
    let mut neighbour = n.clone();
    *neighbour.last_mut().unwrap() ^= 0x80;
    let found = weakness(&rsa(multiply(&n, &neighbour)), Algorithm::RS256);
    assert!(matches!(found, Some(Weakness::CloseFactors | Weakness::SmallFactor(_))), "{found:?}");
}

/// Schoolbook multiplication of big-endian numbers.
fn multiply(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut product = vec![0_u8; a.len() + b.len()];
    for (i, x) in a.iter().rev().enumerate() {
        let mut carry = 0_u16;
        for (j, y) in b.iter().rev().enumerate() {
            let at = product.len() - 1 - i - j;
            let sum = u16::from(*x) * u16::from(*y) + u16::from(product[at]) + carry;
            product[at] = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        let at = product.len() - 1 - i - b.len();
        product[at] = carry.to_le_bytes()[0];
    }
    product
}

#[test]
fn points_of_small_order_are_refused_in_both_encodings_and_so_is_every_second_spelling() {
    let order_8 = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let little = |low: u8, rest: u8, top: u8| [&[low][..], &[rest; 30], &[top]].concat();
    let small =
        [little(0, 0, 0), little(1, 0, 0), little(0xec, 0xff, 0x7f), bytes(order_8[0]), bytes(order_8[1])];
    let second = [little(0xed, 0xff, 0x7f), little(0xee, 0xff, 0x7f), little(0xff, 0xff, 0x7f)];
    for (points, expected) in [(&small[..], Weakness::SmallOrder), (&second[..], Weakness::SecondEncoding)] {
        for point in points {
            for sign in [0, 0x80] {
                let mut x = point.clone();
                x[31] |= sign;
                let found = weakness(&PublicKey::Ed25519 { x: x.clone() }, Algorithm::EdDSA);
                assert_eq!(found, Some(expected), "{x:02x?}");
            }
        }
    }
    let good = PrivateKey::generate(Algorithm::EdDSA, KeySize::default()).unwrap().public_key();
    assert_eq!(weakness(&good, Algorithm::Ed25519), None);
}

#[test]
fn what_the_identity_point_would_verify_is_every_message() {
    // The reason for the rule: R is the same point, S is 0, and no message is part of the equation.
    let identity = [&[1][..], &[0; 31]].concat();
    let signature = [&identity[..], &[0; 32]].concat();
    let raw = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, &identity);
    assert!(raw.verify(b"any message", &signature).is_ok() && raw.verify(b"another", &signature).is_ok());
    let token = format!("{}.{}.{}", encode(br#"{"alg":"EdDSA"}"#), encode(b"{}"), encode(&signature));
    assert!(Unverified::parse(&token).is_ok());
    assert!(VerifyingKey::new(&PublicKey::Ed25519 { x: identity }, Algorithm::EdDSA, None).is_err());
}
