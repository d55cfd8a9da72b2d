//! Keys as users have them: made by the openssl command in every format it writes, read here, and
//! written back.
//!
//! Reading: PKCS#8, PKCS#1, SEC1, SPKI, PKCS#1 public, and what surrounds them in real files.
//! Refusing: encrypted, cut, doubled, weak and foreign keys. Private RSA keys without their primes.
//! One key has one thumbprint in every format.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/openssl.rs"]
mod openssl;
#[path = "keys/pem.rs"]
mod pem_text;
#[path = "keys/refused.rs"]
mod refused;
#[path = "keys/round_trip.rs"]
mod round_trip;
#[path = "keys/rsa_members.rs"]
mod rsa_members;

use countersign_jose::{
    Algorithm, Header, KeyError, PrivateKey, PublicKey, SigningInput, SigningKey, Unverified, VerifyingKey,
};

/// Signs with one key and verifies with the other, under every algorithm of their kind.
fn assert_pair(private: &PrivateKey, public: &PublicKey, what: &str) {
    let algorithms: Vec<_> = Algorithm::ALL.into_iter().filter(|a| a.key_kind() == private.kind()).collect();
    assert!(!algorithms.is_empty());
    for alg in algorithms {
        let signing = SigningKey::new(private, alg).unwrap();
        let input = SigningInput::new(&Header { alg, kid: None, typ: None }.encode(), b"{}");
        let signature = signing.sign(&input).unwrap();
        let token = input.finish(&signature);
        let verifying = VerifyingKey::new(public, alg, None).unwrap();
        assert!(Unverified::parse(&token).unwrap().verify(&verifying).is_ok(), "{what} {alg}");
    }
}

fn private_error(text: &str) -> KeyError {
    PrivateKey::from_pem(text).expect_err("a key that must be refused")
}

fn public_error(text: &str) -> KeyError {
    PublicKey::from_pem(text).expect_err("a key that must be refused")
}
