//! Keys of any origin: what loads is usable, and survives the way out and in again as the same key.

use countersign_jose::{
    Algorithm, Header, Jwk, KeySet, PrivateKey, PublicJwk, PublicKey, SigningInput, SigningKey, Unverified,
    VerifyingKey,
};

/// Any bytes as a JWK and as a JWK Set.
pub fn jwk(data: &[u8]) {
    if let Ok(jwk) = Jwk::parse(data) {
        let _ = format!("{jwk:?}");
        if let Some(key) = jwk.public_key() {
            public(&key, jwk.verifying_key(None).is_ok());
        }
        if let (Ok(signing), Ok(verifying)) = (jwk.signing_key(None), jwk.verifying_key(None)) {
            signs_for(&signing, &verifying);
        }
        if let Ok(key) = jwk.into_private_key() {
            private(&key);
        }
    }
    if let Ok(keys) = Jwk::parse_set(data) {
        let set = KeySet::parse(data, Some(Algorithm::RS256)).expect("a set that was read before");
        assert_eq!(set.keys().len() + set.skipped().len(), keys.len());
    }
}

/// Any text as a PEM file, private and public.
pub fn pem(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let key = PublicKey::from_pem(text);
    if let Ok(key) = &key {
        let usable = Algorithm::default_for(key.kind()).map(|alg| VerifyingKey::new(key, alg, None).is_ok());
        public(key, usable == Some(true));
    }
    if let Ok(secret) = PrivateKey::from_pem(text) {
        assert_eq!(key, Ok(secret.public_key()));
        private(&secret);
    }
}

/// Any bytes as PKCS#8.
pub fn der(data: &[u8]) {
    if let Ok(key) = PrivateKey::from_pkcs8_der(data) {
        private(&key);
    }
}

fn private(key: &PrivateKey) {
    let der = key.to_pkcs8_der().expect("PKCS#8 of a loaded key");
    let back = PrivateKey::from_pkcs8_der(&der).expect("its own PKCS#8");
    assert_eq!(back.public_key(), key.public_key());
    assert_eq!(back.to_pkcs8_der().expect("PKCS#8"), der);
    let algorithm = Algorithm::default_for(key.kind()).expect("an asymmetric key");
    let verifying = VerifyingKey::new(&key.public_key(), algorithm, None).expect("its public half");
    signs_for(&SigningKey::new(&back, algorithm).expect("a loaded key"), &verifying);
    public(&key.public_key(), true);
}

fn public(key: &PublicKey, usable: bool) {
    assert_eq!(key.thumbprint().len(), 43);
    let algorithm = Algorithm::default_for(key.kind()).expect("an asymmetric key");
    let published = PublicJwk { kid: key.thumbprint(), algorithm, key: key.clone() };
    let text = serde_json::to_vec(&published).expect("JSON");
    let back = Jwk::parse(&text).expect("a key that was just written").public_key();
    assert_eq!(back.as_ref(), Some(key));
    if usable {
        let pem = key.to_pem().expect("PEM of a usable key");
        assert_eq!(PublicKey::from_pem(&pem).as_ref(), Ok(key));
    }
}

fn signs_for(signing: &SigningKey, verifying: &VerifyingKey) {
    assert_eq!(signing.algorithm(), verifying.algorithm());
    let header = Header { alg: signing.algorithm(), kid: verifying.kid(), typ: None }.encode();
    let input = SigningInput::new(&header, b"{}");
    let signature = signing.sign(&input).expect("a signature");
    let token = input.finish(&signature);
    assert!(Unverified::parse(&token).expect("its own token").verify(verifying).is_ok());
}
