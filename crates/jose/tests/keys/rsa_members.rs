//! Private RSA keys as JWKs: with all CRT members, with none (the primes are recovered), and with
//! wrong ones.
//!
//! RFC 7518 §6.3.2. A wrong member would make signatures that give the key away (Boneh, DeMillo,
//! Lipton), so loading must notice it.

use super::{assert_pair, openssl::OpenSsl};
use countersign_jose::{Jwk, KeyError, PrivateKey, base64url::encode};
use num_bigint::BigUint;
use pkcs1::{RsaPrivateKey, UintRef};
use pkcs8::{PrivateKeyInfoRef, der::Decode};
use serde_json::{Map, Value};

const NAMES: [&str; 8] = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];

/// The members of a fresh openssl key, in the order of [`NAMES`], and the key as read from its PEM
/// text.
fn fresh(test: &str, bits: u32) -> ([BigUint; 8], PrivateKey) {
    let openssl = OpenSsl::new(test);
    let text = openssl.genpkey(&format!("RSA -pkeyopt rsa_keygen_bits:{bits}"), "key.pem");
    let der = pem::parse(&text).unwrap();
    let info = PrivateKeyInfoRef::from_der(der.contents()).unwrap();
    let key = RsaPrivateKey::<UintRef<'_>>::from_der(info.private_key.as_bytes()).unwrap();
    let members = [
        key.modulus,
        key.public_exponent,
        key.private_exponent,
        key.prime1,
        key.prime2,
        key.exponent1,
        key.exponent2,
        key.coefficient,
    ];
    (members.map(|m| BigUint::from_bytes_be(m.as_bytes())), PrivateKey::from_pem(&text).unwrap())
}

fn jwk(members: &[BigUint]) -> Map<String, Value> {
    let member = |(name, value): (&&str, &BigUint)| ((*name).to_owned(), encode(&value.to_bytes_be()).into());
    let mut jwk: Map<String, Value> = NAMES.iter().zip(members).map(member).collect();
    jwk.insert("kty".into(), "RSA".into());
    jwk
}

fn load(jwk: Map<String, Value>) -> Result<PrivateKey, KeyError> {
    Jwk::parse(Value::Object(jwk).to_string().as_bytes())?.into_private_key()
}

#[test]
fn recovers_the_primes_of_a_key_that_came_without_them() {
    for bits in [2048, 3072] {
        let (members, key) = fresh(&format!("recovers_primes_{bits}"), bits);
        let full = load(jwk(&members)).unwrap();
        let bare = load(jwk(&members[..3])).unwrap();
        assert_eq!(full.to_pkcs8_der().unwrap(), key.to_pkcs8_der().unwrap());
        // openssl puts the larger prime first, as the recovery does, so even the bytes are the
        // same.
        let (p, q) = (&members[3], &members[4]);
        if p > q {
            assert_eq!(bare.to_pkcs8_der().unwrap(), key.to_pkcs8_der().unwrap());
        }
        assert_pair(&bare, &full.public_key(), "recovered");
        assert_pair(&full, &bare.public_key(), "full");
    }
}

#[test]
fn recovers_the_primes_from_either_of_the_two_private_exponents() {
    let (mut members, key) = fresh("recovers_from_either", 2048);
    let one = BigUint::from(1u32);
    let phi = (&members[3] - &one) * (&members[4] - &one);
    // RFC 8017 takes d modulo λ(n), the textbook modulo φ(n); both are in use.
    let textbook = members[1].modinv(&phi).unwrap();
    members[2] = textbook;
    let bare = load(jwk(&members[..3])).unwrap();
    assert_pair(&bare, &key.public_key(), "d modulo φ(n)");
}

#[test]
fn takes_the_primes_in_either_order_when_the_other_members_agree() {
    let (members, key) = fresh("primes_in_either_order", 2048);
    let [n, e, d, p, q, dp, dq, _] = members;
    let qi = p.modinv(&q).unwrap();
    let swapped = load(jwk(&[n, e, d, q, p, dq, dp, qi])).unwrap();
    assert_pair(&swapped, &key.public_key(), "swapped");
}

#[test]
fn refuses_a_key_with_any_one_member_wrong() {
    let (members, _) = fresh("refuses_a_wrong_member", 2048);
    for (at, name) in NAMES.into_iter().enumerate() {
        let two = BigUint::from(2u32);
        let own = &members[at];
        for wrong in [own + &two, own - &two, BigUint::ZERO, BigUint::from(3u32), own << 1] {
            let mut members = members.clone();
            members[at] = wrong;
            assert!(load(jwk(&members)).is_err(), "{name}");
        }
    }
    let mut swapped = members.clone();
    swapped.swap(3, 4);
    assert_eq!(load(jwk(&swapped)).unwrap_err(), KeyError::Inconsistent);
}

#[test]
fn refuses_a_wrong_private_exponent_when_there_is_nothing_else() {
    let (members, _) = fresh("refuses_a_wrong_exponent", 2048);
    let one = BigUint::from(1u32);
    let [n, e, d, ..] = &members;
    for wrong in [d + &one, d - &one, d + 2u32, one, n - 1u32, e.clone(), d >> 1] {
        let refused = load(jwk(&[n.clone(), e.clone(), wrong.clone()]));
        assert_eq!(refused.unwrap_err(), KeyError::Inconsistent, "{wrong}");
    }
    let other = load(jwk(&[n + 2u32, e.clone(), d.clone()]));
    assert_eq!(other.unwrap_err(), KeyError::Inconsistent);
    // The square of a prime has no two different factors.
    let squared = load(jwk(&[&members[3] * &members[3], e.clone(), d.clone()]));
    assert_eq!(squared.unwrap_err(), KeyError::Inconsistent);
}

#[test]
fn refuses_some_but_not_all_of_the_crt_members() {
    let (members, _) = fresh("refuses_some_members", 2048);
    for name in &NAMES[3..] {
        let mut partial = jwk(&members);
        partial.remove(*name);
        assert_eq!(load(partial).unwrap_err(), KeyError::MissingMember(name));
    }
    let mut more = jwk(&members);
    more.insert("oth".into(), Value::Array(Vec::new()));
    assert!(load(more).unwrap_err().to_string().contains("more than two primes"));
}
