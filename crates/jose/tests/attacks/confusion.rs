//! Algorithm confusion: a token that names another algorithm than its key is for. The algorithm
//! comes from the key.
//!
//! RFC 8725 §2.1 and §3.1; CVE-2026-22817 (a key without `alg` verified HS256 under the public
//! key's own text).

use super::verify;
use countersign_jose::{
    Algorithm, Header, Jwk, KeySet, KeySize, PrivateKey, PublicJwk, SigningInput, SigningKey, SymmetricKey,
    TokenError, Unverified, VerifyingKey, base64url::encode,
};
use std::sync::LazyLock;

/// A signing and a verifying key for each algorithm; the algorithms of one kind of key share the
/// key.
static KEYS: LazyLock<Vec<(SigningKey, VerifyingKey)>> = LazyLock::new(|| {
    let rsa = PrivateKey::generate(Algorithm::RS256, KeySize::Rsa2048).unwrap();
    let ed25519 = PrivateKey::generate(Algorithm::EdDSA, KeySize::default()).unwrap();
    let secret = SymmetricKey::new(vec![7; 64].into());
    let pair = |algorithm: Algorithm| {
        if algorithm.is_symmetric() {
            let signing = SigningKey::symmetric(&secret, algorithm).unwrap();
            return (signing, VerifyingKey::symmetric(&secret, algorithm, None).unwrap());
        }
        let fresh;
        let key = if algorithm.key_kind() == rsa.kind() {
            &rsa
        } else if algorithm.key_kind() == ed25519.kind() {
            &ed25519
        } else {
            fresh = PrivateKey::generate(algorithm, KeySize::default()).unwrap();
            &fresh
        };
        let verifying = VerifyingKey::new(&key.public_key(), algorithm, None).unwrap();
        (SigningKey::new(key, algorithm).unwrap(), verifying)
    };
    Algorithm::ALL.into_iter().map(pair).collect()
});

fn token(key: &SigningKey, alg: Algorithm) -> String {
    let input = SigningInput::new(&Header { alg, kid: None, typ: None }.encode(), b"{}");
    let signature = key.sign(&input).unwrap();
    input.finish(&signature)
}

#[test]
fn refuses_a_token_whose_alg_differs_from_the_key_for_every_pair_of_algorithms() {
    for (signing, _) in KEYS.iter() {
        let (alg, mut accepted) = (signing.algorithm(), Vec::new());
        for (_, verifying) in KEYS.iter() {
            match verify(&token(signing, alg), verifying) {
                Ok(_) => accepted.push(verifying.algorithm()),
                Err(why) => {
                    assert_eq!(why, TokenError::AlgorithmMismatch { key: verifying.algorithm(), token: alg });
                }
            }
        }
        assert_eq!(accepted, [alg]);
    }
}

#[test]
fn refuses_a_signature_of_another_algorithm_under_the_name_of_the_right_one() {
    // The same key, the right name in the header, but signed with a sister algorithm: PS256 as
    // RS256, HS512 as HS256.
    for (signing, _) in KEYS.iter() {
        for (_, verifying) in KEYS.iter() {
            let (made_with, alg) = (signing.algorithm(), verifying.algorithm());
            // `EdDSA` and `Ed25519` are two names of one algorithm (RFC 9864 §2.2).
            let same = made_with == alg || made_with.kms_name() == alg.kms_name() && !alg.is_symmetric();
            let result = verify(&token(signing, alg), verifying);
            assert_eq!(result.is_ok(), same, "{made_with} as {alg}: {result:?}");
        }
    }
}

#[test]
fn refuses_an_hs256_token_made_with_the_public_key_as_the_secret() {
    for alg in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA] {
        let (signing, verifying) = KEYS.iter().find(|(key, _)| key.algorithm() == alg).unwrap();
        let public = signing.public_key().unwrap().clone();
        let pem = public.to_pem().unwrap();
        let spki = public.to_spki_der().unwrap();
        let published = PublicJwk { kid: "k1".into(), algorithm: alg, key: public.clone() };
        let jwk = serde_json::to_string(&published).unwrap();
        // An RSA SPKI ends with its PKCS#1 form; 24 bytes of algorithm stand in front of it.
        let inner = &spki[24..];
        let pkcs1_pem = pem::encode(&pem::Pem::new("RSA PUBLIC KEY", inner));
        let secrets: [&[u8]; 10] = [
            pem.as_bytes(),
            pem.trim_end().as_bytes(),
            &pem.replace('\n', "\r\n").into_bytes(),
            &pem.replace('\n', "\\n").into_bytes(),
            &spki,
            inner,
            pkcs1_pem.as_bytes(),
            jwk.as_bytes(),
            encode(&spki).as_bytes(),
            public.thumbprint().as_bytes(),
        ]
        .map(|secret| &*secret.to_vec().leak());
        let without_alg = jwk.replace(&format!(r#""alg":"{alg}","#), "");
        assert_ne!(jwk, without_alg);
        for secret in secrets {
            for hs in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let Ok(forger) = SigningKey::symmetric(&SymmetricKey::new(secret.to_vec().into()), hs) else {
                    continue; // too short even for the attacker
                };
                let header = Header { alg: hs, kid: Some("k1"), typ: None }.encode();
                let input = SigningInput::new(&header, b"{}");
                let signature = forger.sign(&input).unwrap();
                let token = input.finish(&signature);
                let refused = Err(TokenError::AlgorithmMismatch { key: alg, token: hs });
                assert_eq!(verify(&token, verifying), refused);
                let set = KeySet::parse(jwk.as_bytes(), None).unwrap();
                assert_eq!(set.verify(Unverified::parse(&token).unwrap()), refused);
                // A key without `alg` is bound to its usual algorithm when it is loaded, never to
                // the token's.
                for assumed in [None, Some(hs)] {
                    let key = Jwk::parse(without_alg.as_bytes()).unwrap().verifying_key(assumed).unwrap();
                    assert_eq!(verify(&token, &key).unwrap_err().code(), "token_algorithm_mismatch");
                }
            }
        }
    }
}

#[test]
fn a_public_key_cannot_be_bound_to_a_shared_secret_algorithm() {
    for (signing, _) in KEYS.iter() {
        let Some(public) = signing.public_key() else { continue };
        for hs in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let code = VerifyingKey::new(public, hs, None).unwrap_err().code();
            assert_eq!(code, "key_algorithm_mismatch");
            let jwk = PublicJwk { kid: "k1".into(), algorithm: hs, key: public.clone() };
            let jwk = Jwk::parse(&serde_json::to_vec(&jwk).unwrap()).unwrap();
            assert_eq!(jwk.verifying_key(None).unwrap_err().code(), "key_algorithm_mismatch");
        }
    }
}
