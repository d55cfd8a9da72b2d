//! The published examples of RFC 7515, 7520, 7638, 7797 and 8037, in `vectors/`, against this
//! crate.
//!
//! Tokens verify and give their payload byte for byte; what is deterministic and has a header this
//! crate would write is signed again to the same bytes; thumbprints agree; what must be refused is.
//! A file that is missing, or one that no test here knows, fails.

#![expect(clippy::unwrap_used, reason = "tests")]

use countersign_jose::{
    Algorithm, Header, Jwk, KeySet, SigningInput, TokenError, Unverified, base64url::encode,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// Every vector file by its name.
fn vectors() -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
        })
        .collect()
}

/// The vectors that have these members and no `refuse`, with their names.
fn accepted_with(members: &[&str]) -> Vec<(String, Value)> {
    let has = |v: &Value| v.get("refuse").is_none() && members.iter().all(|m| v.get(m).is_some());
    vectors().into_iter().filter(|(_, v)| has(v)).collect()
}

fn jwk(vector: &Value) -> Jwk {
    Jwk::parse(vector["jwk"].to_string().as_bytes()).unwrap()
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap()
}

fn algorithm(vector: &Value) -> Algorithm {
    text(vector, "alg").parse().unwrap()
}

#[test]
fn every_vector_is_there_and_belongs_to_a_test() {
    let names: Vec<String> = vectors().into_keys().collect();
    assert_eq!(
        names,
        [
            "rfc7515-a1-hs256",
            "rfc7515-a2-rs256",
            "rfc7515-a3-es256",
            "rfc7515-a4-es512",
            "rfc7515-a5-none",
            "rfc7515-e-crit",
            "rfc7520-4-1-rs256",
            "rfc7520-4-2-ps384",
            "rfc7520-4-3-es512",
            "rfc7520-4-4-hs256",
            "rfc7638-3-1",
            "rfc7797-4-1-hs256",
            "rfc7797-4-2-b64-false",
            "rfc8037-a3-thumbprint",
            "rfc8037-a4-ed25519",
        ]
    );
    assert_eq!(accepted_with(&["token"]).len(), 10);
    assert_eq!(accepted_with(&["thumbprint"]).len(), 2);
    assert_eq!(vectors().values().filter(|v| v.get("refuse").is_some()).count(), 3);
}

#[test]
fn published_tokens_verify_and_give_their_payload_byte_for_byte() {
    for (name, vector) in accepted_with(&["token"]) {
        let key = jwk(&vector).verifying_key(Some(algorithm(&vector))).unwrap();
        let token = Unverified::parse(text(&vector, "token")).unwrap();
        assert_eq!(token.unverified_algorithm(), algorithm(&vector), "{name}");
        let signed = token.verify(&key).unwrap();
        assert_eq!(signed.payload(), text(&vector, "payload").as_bytes(), "{name}");
    }
}

#[test]
fn published_tokens_verify_with_the_public_key_alone() {
    let vectors = accepted_with(&["token", "public_jwk"]);
    assert_eq!(vectors.len(), 4);
    for (name, vector) in vectors {
        let public = Jwk::parse(vector["public_jwk"].to_string().as_bytes()).unwrap();
        assert_eq!(public.public_key(), jwk(&vector).public_key(), "{name}");
        assert!(public.signing_key(None).is_err(), "{name}");
        let token = text(&vector, "token");
        let key = public.verifying_key(Some(algorithm(&vector))).unwrap();
        assert!(Unverified::parse(token).unwrap().verify(&key).is_ok(), "{name}");
        // The same through a key set, by `kid` where the token has one.
        let set = format!(r#"{{"keys":[{}]}}"#, vector["public_jwk"]);
        let set = KeySet::parse(set.as_bytes(), Some(algorithm(&vector))).unwrap();
        assert!(set.verify(Unverified::parse(token).unwrap()).is_ok(), "{name}");
    }
}

#[test]
fn a_published_token_with_one_character_changed_is_refused() {
    for (name, vector) in accepted_with(&["token"]) {
        let key = jwk(&vector).verifying_key(Some(algorithm(&vector))).unwrap();
        let token = text(&vector, "token");
        for at in (0..token.len()).step_by(7).filter(|at| token.as_bytes().get(*at) != Some(&b'.')) {
            let other = if token.as_bytes().get(at) == Some(&b'A') { "B" } else { "A" };
            let mut changed = token.to_owned();
            changed.replace_range(at..=at, other);
            let result = Unverified::parse(&changed).and_then(|token| token.verify(&key));
            assert!(result.is_err(), "{name} at {at}");
        }
    }
}

#[test]
fn deterministic_signatures_are_made_again_to_the_same_bytes() {
    let mut made_again = Vec::new();
    for (name, vector) in accepted_with(&["token"]) {
        let (alg, token) = (algorithm(&vector), text(&vector, "token"));
        if !(alg.name().starts_with("RS") || alg.name().starts_with("HS") || alg == Algorithm::EdDSA) {
            continue;
        }
        let key = jwk(&vector);
        let signing = key.signing_key(Some(alg)).unwrap();
        let header = Header { alg, kid: key.kid(), typ: None }.encode();
        let input = SigningInput::new(&header, text(&vector, "payload").as_bytes());
        let published = token.rsplit_once('.').unwrap().0;
        if input.as_bytes() != published.as_bytes() {
            continue;
        }
        let signature = signing.sign(&input).unwrap();
        assert_eq!(input.finish(&signature), token, "{name}");
        made_again.push(name);
    }
    // Only RFC 7515 A.1 is left out: its header has line breaks that no signer here writes.
    assert_eq!(
        made_again,
        [
            "rfc7515-a2-rs256",
            "rfc7520-4-1-rs256",
            "rfc7520-4-4-hs256",
            "rfc7797-4-1-hs256",
            "rfc8037-a4-ed25519"
        ]
    );
}

#[test]
fn published_private_keys_sign_tokens_that_their_public_halves_verify() {
    for (name, vector) in accepted_with(&["token"]) {
        let (alg, key) = (algorithm(&vector), jwk(&vector));
        let signing = key.signing_key(Some(alg)).unwrap();
        let input = SigningInput::new(&Header { alg, kid: None, typ: None }.encode(), b"{}");
        let signature = signing.sign(&input).unwrap();
        let token = input.finish(&signature);
        let verifying = key.verifying_key(Some(alg)).unwrap();
        assert!(Unverified::parse(&token).unwrap().verify(&verifying).is_ok(), "{name}");
        assert_eq!(signing.public_key().cloned(), key.public_key(), "{name}");
    }
}

#[test]
fn thumbprints_are_the_published_ones() {
    for (name, vector) in accepted_with(&["thumbprint"]) {
        assert_eq!(jwk(&vector).public_key().unwrap().thumbprint(), text(&vector, "thumbprint"), "{name}");
    }
    // The private key of RFC 8037 A.1 has the thumbprint of its public half.
    let vectors = vectors();
    let (private, public) = (&vectors["rfc8037-a4-ed25519"], &vectors["rfc8037-a3-thumbprint"]);
    assert_eq!(jwk(private).public_key().unwrap().thumbprint(), text(public, "thumbprint"));
}

#[test]
fn refuses_the_unsecured_token_of_rfc_7515_a5() {
    let vectors = vectors();
    let token = text(&vectors["rfc7515-a5-none"], "token");
    assert_eq!(Unverified::parse(token), Err(TokenError::Unsigned));
    let signed = format!("{token}{}", encode(&[0; 32]));
    assert_eq!(Unverified::parse(&signed).unwrap_err().code(), "token_unsupported_algorithm");
}

#[test]
fn refuses_the_critical_header_of_rfc_7515_e() {
    let vectors = vectors();
    let token = text(&vectors["rfc7515-e-crit"], "token");
    assert_eq!(Unverified::parse(token), Err(TokenError::Unsigned));
    // With something in the place of the signature, `crit` is the reason.
    assert_eq!(Unverified::parse(&format!("{token}AAAA")), Err(TokenError::CriticalHeader));
}

#[test]
fn refuses_the_unencoded_payload_of_rfc_7797() {
    let vectors = vectors();
    let vector = &vectors["rfc7797-4-2-b64-false"];
    assert_eq!(Unverified::parse(text(vector, "token")), Err(TokenError::CriticalHeader));
    // Attached, the payload has a dot, which is one more reason.
    let attached = text(vector, "token").replace("..", &format!(".{}.", text(vector, "payload")));
    assert!(matches!(Unverified::parse(&attached), Err(TokenError::NotCompact { .. })));
}
