//! Tokens and headers: nobody without the key gets anything accepted, and what is accepted says
//! what it seems to say.

use countersign_jose::{
    Algorithm, KeySet, MAX_TOKEN_BYTES, PrivateKey, SymmetricKey, Unverified, VerifyingKey,
    base64url::{decode, encode},
};
use serde_json::Value;
use std::sync::LazyLock;

/// Fresh keys that no input can know, for every kind of algorithm that is quick to make.
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let secrets = [Algorithm::HS256, Algorithm::HS512].map(|algorithm| {
        let secret = SymmetricKey::generate(algorithm).expect("a secret");
        VerifyingKey::symmetric(&secret, algorithm, None).expect("a key")
    });
    let pairs = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA].map(|algorithm| {
        let key = PrivateKey::generate(algorithm, Default::default()).expect("a key pair");
        VerifyingKey::new(&key.public_key(), algorithm, None).expect("a key")
    });
    Vec::from_iter(secrets.into_iter().chain(pairs)).into()
});

/// Any text: taken apart strictly or refused, and never verified by a key that did not sign it.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(parsed) = Unverified::parse(text) else { return };
    assert!(text.len() <= MAX_TOKEN_BYTES);
    let parts: Vec<&str> = text.split('.').collect();
    let [header, _, signature] = parts[..] else { panic!("{} parts were accepted", parts.len()) };
    assert!(!signature.is_empty());
    let header = decode(header).expect("canonical base64url");
    describes(&header, &parsed);
    assert!(!format!("{parsed:?}").contains(text));
    let _ = parsed.unverified_issuer();
    assert!(KEYS.verify(parsed.clone()).is_err());
    for key in KEYS.keys() {
        assert!(parsed.clone().verify(key).is_err(), "forged under {:?}", key.algorithm());
    }
}

/// Any bytes as the header of a token: what the parser reads from it, serde_json reads too.
pub fn header(data: &[u8]) {
    let text = format!("{}.e30.AAAA", encode(data));
    if let Ok(parsed) = Unverified::parse(&text) {
        describes(data, &parsed);
        assert!(parsed.verify(&KEYS.keys()[0]).is_err());
    }
}

fn describes(header: &[u8], parsed: &Unverified<'_>) {
    let header: Value = serde_json::from_slice(header).expect("a JSON header");
    let header = header.as_object().expect("a JSON object");
    let alg = header.get("alg").and_then(Value::as_str);
    assert_eq!(alg, Some(parsed.unverified_algorithm().name()));
    assert_eq!(header.get("kid").map(|kid| kid.as_str().expect("a string")), parsed.unverified_kid());
    assert!(header.get("typ").is_none_or(Value::is_string));
    for name in ["crit", "b64", "enc", "zip"] {
        assert!(!header.contains_key(name), "{name} was accepted");
    }
}
