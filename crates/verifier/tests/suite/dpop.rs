//! DPoP proofs: RFC 9449's own examples, every fault with its error, URLs in all spellings, nonces,
//! replays, and bindings.

use countersign_jose::{
    Algorithm, Header, KeySize, Policy, PublicJwk, SigningInput, SigningKey, Timestamp, Unverified, Verified,
    VerifyingKey, base64url,
};
use countersign_verifier::dpop::{
    ALGORITHMS, Binding, HttpUri, MAX_JTI_BYTES, NONCE_LIFETIME, NonceAuthenticator, NonceKey, ProofError,
    ProofRules, Proven, ReplayError, Replays, ath, single,
};
use serde_json::{Value, json};
use std::{sync::LazyLock, time::Duration};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const WINDOW: Duration = Duration::from_secs(60);
const URL: &str = "https://tokens.example/prod/token";

/// RFC 9449, figures 2 and 9: the proof at a token endpoint, and the thumbprint of its key.
const RFC_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
const RFC_JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
/// RFC 9449, figures 12 and 13: the proof and access token at a resource.
const RFC_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const RFC_RESOURCE_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

static NONCES: LazyLock<NonceKey> = LazyLock::new(|| NonceKey::from_secret(&[7; 32]).unwrap());
static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());

fn uri(text: &str) -> HttpUri {
    HttpUri::parse(text).unwrap()
}

fn rules<'a>(urls: &'a [HttpUri], method: &'a str, access_token: Option<&'a str>) -> ProofRules<'a> {
    ProofRules { method, urls, access_token, window: WINDOW, nonces: &*NONCES, require_nonce: false }
}

fn jwk(key: &SigningKey) -> Value {
    let public = key.public_key().unwrap().clone();
    let jwk = PublicJwk { kid: "k".into(), algorithm: key.algorithm(), key: public };
    serde_json::to_value(jwk).unwrap()
}

/// A proof with this header and these claims, signed by `key`.
fn sealed(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| base64url::encode(value.to_string().as_bytes());
    let input = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign_bytes(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(&signature))
}

fn merged(mut value: Value, changes: &Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            value[name] = change.clone();
        }
    }
    value
}

fn header() -> Value {
    json!({ "typ": "dpop+jwt", "alg": KEY.algorithm(), "jwk": jwk(&KEY) })
}

fn claims() -> Value {
    json!({ "jti": "one", "htm": "POST", "htu": URL, "iat": NOW.unix_seconds() })
}

/// A good proof for the token endpoint but for these changes; null removes a member.
fn proof(header_changes: Value, changes: Value) -> String {
    sealed(&KEY, &merged(header(), &header_changes), &merged(claims(), &changes))
}

fn check(proof: &str) -> Result<Proven, ProofError> {
    rules(&[uri(URL)], "POST", None).check(proof, NOW)
}

#[test]
fn the_examples_of_the_specification_are_accepted() {
    let now = Timestamp::from_unix_seconds(1_562_262_616);
    let urls = [uri("https://server.example.com/token")];
    let proven = rules(&urls, "POST", None).check(RFC_PROOF, now).unwrap();
    assert_eq!((proven.jkt(), proven.jti()), (RFC_JKT, "-BwC3ESc6acc2lTc"));
    assert_eq!(ath(RFC_TOKEN), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    let urls = [uri("https://resource.example.org/protectedresource")];
    let proven = rules(&urls, "GET", Some(RFC_TOKEN)).check(RFC_RESOURCE_PROOF, now).unwrap();
    assert_eq!((proven.jkt(), proven.jti()), (RFC_JKT, "e1j3V_bKic8-LAEB"));
    let other = rules(&urls, "GET", Some("another token")).check(RFC_RESOURCE_PROOF, now);
    assert_eq!(other, Err(ProofError::AccessToken));
}

#[test]
fn every_algorithm_with_a_public_key_will_do_and_names_its_key() {
    for algorithm in ALGORITHMS {
        let key = SigningKey::generate(algorithm, KeySize::default()).unwrap();
        let proof =
            sealed(&key, &merged(header(), &json!({ "alg": algorithm, "jwk": jwk(&key) })), &claims());
        assert_eq!(check(&proof).unwrap().jkt(), key.public_key().unwrap().thumbprint(), "{algorithm}");
        // A bare JWK: without `alg`, `use` and `kid`.
        let bare = merged(jwk(&key), &json!({ "alg": null, "use": null, "kid": null }));
        let proof = sealed(&key, &merged(header(), &json!({ "alg": algorithm, "jwk": bare })), &claims());
        assert!(check(&proof).is_ok(), "{algorithm}");
    }
}

#[test]
fn every_fault_of_a_proof_has_its_error() {
    let other = SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
    let p384 = SigningKey::generate(Algorithm::ES384, KeySize::default()).unwrap();
    let with_jwk = |changes: Value| json!({ "jwk": merged(jwk(&KEY), &changes) });
    let secret = json!({ "kty": "oct", "k": base64url::encode(&[1; 64]) });
    let (now, minute) = (NOW.unix_seconds(), 60);
    let long = "x".repeat(MAX_JTI_BYTES + 1);
    let good = proof(json!({}), json!({}));
    let mut faults: Vec<(&str, String, &str)> = vec![
        ("no typ", proof(json!({ "typ": null }), json!({})), "dpop_proof_invalid"),
        ("typ JWT", proof(json!({ "typ": "JWT" }), json!({})), "dpop_proof_invalid"),
        ("typ in capitals", proof(json!({ "typ": "DPOP+JWT" }), json!({})), "dpop_proof_invalid"),
        (
            "typ with application/",
            proof(json!({ "typ": "application/dpop+jwt" }), json!({})),
            "dpop_proof_invalid",
        ),
        ("alg none", proof(json!({ "alg": "none" }), json!({})), "dpop_proof_invalid"),
        ("alg HS256", proof(json!({ "alg": "HS256", "jwk": secret }), json!({})), "dpop_proof_invalid"),
        ("a shared secret", proof(json!({ "jwk": secret }), json!({})), "dpop_proof_invalid"),
        ("another alg than the key's", proof(json!({ "alg": "ES384" }), json!({})), "dpop_proof_invalid"),
        ("another key", proof(json!({ "jwk": jwk(&other) }), json!({})), "dpop_proof_invalid"),
        ("a key of another curve", proof(json!({ "jwk": jwk(&p384) }), json!({})), "dpop_proof_invalid"),
        ("no jwk", proof(json!({ "jwk": null }), json!({})), "dpop_proof_invalid"),
        ("jwk is a text", proof(json!({ "jwk": "x" }), json!({})), "dpop_proof_invalid"),
        ("crit", proof(json!({ "crit": ["b64"] }), json!({})), "dpop_proof_invalid"),
        ("for encryption", proof(with_jwk(json!({ "use": "enc" })), json!({})), "dpop_proof_invalid"),
        ("only to sign", proof(with_jwk(json!({ "key_ops": ["sign"] })), json!({})), "dpop_proof_invalid"),
        (
            "off the curve",
            proof(with_jwk(json!({ "x": base64url::encode(&[1; 32]) })), json!({})),
            "dpop_proof_invalid",
        ),
        ("no signature", format!("{}.", good.rsplit_once('.').unwrap().0), "dpop_proof_invalid"),
        ("not a token", "x".to_owned(), "dpop_proof_invalid"),
        ("empty", String::new(), "dpop_proof_invalid"),
        ("huge", "x".repeat(100_000), "dpop_proof_invalid"),
        ("claims twice", doubled(), "dpop_claims_malformed"),
        ("no jti", proof(json!({}), json!({ "jti": null })), "dpop_claim_missing"),
        ("empty jti", proof(json!({}), json!({ "jti": "" })), "dpop_claim_missing"),
        ("jti is a number", proof(json!({}), json!({ "jti": 1 })), "dpop_claim_missing"),
        ("jti too long", proof(json!({}), json!({ "jti": long })), "dpop_claim_missing"),
        ("no htm", proof(json!({}), json!({ "htm": null })), "dpop_claim_missing"),
        ("htm GET", proof(json!({}), json!({ "htm": "GET" })), "dpop_method"),
        ("htm post", proof(json!({}), json!({ "htm": "post" })), "dpop_method"),
        ("no htu", proof(json!({}), json!({ "htu": null })), "dpop_claim_missing"),
        ("no iat", proof(json!({}), json!({ "iat": null })), "dpop_claim_missing"),
        ("iat is a text", proof(json!({}), json!({ "iat": now.to_string() })), "dpop_claim_missing"),
        ("iat in milliseconds", proof(json!({}), json!({ "iat": now * 1000 })), "dpop_claim_missing"),
        ("iat below 0", proof(json!({}), json!({ "iat": -1 })), "dpop_claim_missing"),
        ("too old", proof(json!({}), json!({ "iat": now - minute - 1 })), "dpop_time"),
        ("of the future", proof(json!({}), json!({ "iat": now + 11 })), "dpop_time"),
        ("a nonce that was made up", proof(json!({}), json!({ "nonce": "AAAA" })), "dpop_nonce"),
        ("a nonce that is a number", proof(json!({}), json!({ "nonce": 1 })), "dpop_claim_missing"),
    ];
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        faults.push((
            "private member",
            proof(with_jwk(json!({ name: "AQAB" })), json!({})),
            "dpop_proof_invalid",
        ));
    }
    for (name, proof, code) in faults {
        let why = check(&proof).expect_err(name);
        assert_eq!(why.code(), code, "{name}: {why}");
        let error = if code == "dpop_nonce" { "use_dpop_nonce" } else { "invalid_dpop_proof" };
        assert_eq!(why.error(), error, "{name}");
        assert!(proof.len() < 40 || !why.to_string().contains(&proof[..40]), "{name}: {why}");
    }
    assert!(check(&good).is_ok());
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(check(std::str::from_utf8(&changed).unwrap()).is_err(), "byte {at}");
    }
}

/// A payload that says two times what it is for.
fn doubled() -> String {
    let text = claims().to_string().replacen('{', r#"{"htm":"POST","#, 1);
    let input = format!(
        "{}.{}",
        base64url::encode(header().to_string().as_bytes()),
        base64url::encode(text.as_bytes())
    );
    let signature = KEY.sign_bytes(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(&signature))
}

#[test]
fn a_weak_key_proves_nothing() {
    // An RSA key of 1024 bits, and an Ed25519 point of small order under which one signature
    // verifies every message.
    let rsa = json!({ "kty": "RSA", "e": "AQAB", "n": base64url::encode(&[0xc5; 128]) });
    let ed25519 =
        json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url::encode(&[&[1][..], &[0; 31]].concat()) });
    for (alg, jwk) in [("RS256", rsa), ("EdDSA", ed25519)] {
        let why = check(&proof(json!({ "alg": alg, "jwk": jwk }), json!({}))).unwrap_err();
        assert!(why.to_string().contains("jwk"), "{why}");
    }
}

#[test]
fn there_is_exactly_one_proof() {
    assert_eq!(single([].into_iter()), Ok(None));
    assert_eq!(single(["a.b.c"].into_iter()), Ok(Some("a.b.c")));
    for several in [&["a", "b"][..], &["a", "a"], &["a,b"], &["a, b"], &["a,"], &[","]] {
        assert_eq!(single(several.iter().copied()), Err(ProofError::Several), "{several:?}");
    }
}

#[test]
fn a_wrong_clock_is_told_by_how_much() {
    let why = check(&proof(json!({}), json!({ "iat": 1_799_999_000 }))).unwrap_err().to_string();
    for part in ["1799999000", "1800000000", "60 s", "DPoP-Nonce"] {
        assert!(why.contains(part), "{why}");
    }
    for iat in [json!(1_799_999_940), json!(1_800_000_010), json!(1_800_000_000.75)] {
        assert!(check(&proof(json!({}), json!({ "iat": iat }))).is_ok(), "{iat}");
    }
}

#[test]
fn with_a_nonce_the_clients_clock_does_not_matter_and_the_servers_does() {
    let nonces: &dyn NonceAuthenticator = &*NONCES;
    let nonce = nonces.issue(NOW).unwrap();
    let at = |nonce: &str, iat: i64, later: u64| {
        let urls = [uri(URL)];
        let rules = ProofRules { require_nonce: true, ..rules(&urls, "POST", None) };
        let proof = proof(json!({}), json!({ "nonce": nonce, "iat": iat }));
        rules.check(&proof, NOW.plus(Duration::from_secs(later)))
    };
    for iat in [0, 1_700_000_000, 1_800_000_000, 4_000_000_000] {
        let proven = at(&nonce, iat, 0).unwrap();
        assert!(
            proven.until() > NOW.plus(NONCE_LIFETIME),
            "it is remembered for as long as the nonce is good"
        );
        assert!(at(&nonce, iat, NONCE_LIFETIME.as_secs()).is_ok(), "{iat}");
        assert_eq!(at(&nonce, iat, NONCE_LIFETIME.as_secs() + 1), Err(ProofError::Nonce), "{iat}");
    }
    // Of a server whose clock is ahead; of one that is far ahead; and of nobody.
    let ahead = |seconds| nonces.issue(NOW.plus(Duration::from_secs(seconds))).unwrap();
    assert!(at(&ahead(60), 0, 0).is_ok());
    assert_eq!(at(&ahead(61), 0, 0), Err(ProofError::Nonce));
    let other: &dyn NonceAuthenticator = &NonceKey::random().unwrap();
    assert_eq!(at(&other.issue(NOW).unwrap(), 0, 0), Err(ProofError::Nonce));
    let bytes = base64url::decode(&nonce).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(at(&base64url::encode(&changed), 0, 0), Err(ProofError::Nonce), "bit {bit}");
    }
    for short in [0, 7, 8, 23] {
        assert_eq!(at(&base64url::encode(&bytes[..short]), 0, 0), Err(ProofError::Nonce), "{short} bytes");
    }
    let urls = [uri(URL)];
    let demanding = ProofRules { require_nonce: true, ..rules(&urls, "POST", None) };
    assert_eq!(demanding.check(&proof(json!({}), json!({})), NOW), Err(ProofError::Nonce));
    assert!(NonceKey::from_secret(&[1; 31]).is_err());
}

#[test]
fn urls_that_mean_the_same_are_the_same_and_no_others() {
    for same in [
        "https://tokens.example/prod/token",
        "HTTPS://Tokens.EXAMPLE/prod/token",
        "https://tokens.example:443/prod/token",
        "https://tokens.example:/prod/token",
        "https://tokens.example/prod/token?a=b",
        "https://tokens.example/prod/token#top",
        "https://tokens.example/prod/token?a#b?c",
        "https://tokens.example/prod/./token",
        "https://tokens.example/x/../prod/token",
        "https://tokens.example/%70rod/%74oken",
        "https://tokens.example/x/%2E%2e/prod/token",
    ] {
        assert!(check(&proof(json!({}), json!({ "htu": same }))).is_ok(), "{same}");
    }
    for other in [
        "http://tokens.example/prod/token",
        "https://tokens.example/token",
        "https://tokens.example/prod/token/",
        "https://tokens.example/prod//token",
        "https://tokens.example//prod/token",
        "https://tokens.example/prod/Token",
        "https://tokens.example/prod%2Ftoken",
        "https://tokens.example:8443/prod/token",
        "https://tokens.example.:443/prod/token",
        "https://other.example/prod/token",
        "https://tokens.example@other.example/prod/token",
        "https://user@tokens.example/prod/token",
        "https://user:@tokens.example/prod/token",
        "https://tokens.example\\@other.example/prod/token",
        "https://tokens.example\\prod\\token",
        "https:\\\\tokens.example/prod/token",
        "https:/tokens.example/prod/token",
        "https:tokens.example/prod/token",
        "//tokens.example/prod/token",
        "/prod/token",
        " https://tokens.example/prod/token",
        "https://tokens.example/prod/token ",
        "https://tokens.example/prod/to\tken",
        "https://tokens.example/prod/to\nken",
        "https://t%6Fkens.example/prod/token",
        "https://tokens.example/prod/token%",
        "https://tokens.example/prod/token%zz",
        "https://tok\u{212a}ens.example/prod/token",
        "https://tokens.example/prod/token%00",
        "https:///prod/token",
        "",
    ] {
        let outcome = check(&proof(json!({}), json!({ "htu": other })));
        assert!(matches!(outcome, Err(ProofError::Url { .. })), "{other:?}: {outcome:?}");
    }
    // What is escaped stays apart from what is not, in one spelling.
    assert_eq!(uri("https://a.example/%e4%2f%7e"), uri("https://a.example/%E4%2F~"));
    assert_eq!(uri("http://a.example:80"), uri("http://a.example/"));
    assert_eq!(uri("https://[::1]:443/a").as_str(), "https://[::1]/a");
    for (base, path, url) in [
        ("https://api.example", "/orders/7", "https://api.example/orders/7"),
        ("https://api.example/", "/orders/7", "https://api.example/orders/7"),
        ("https://api.example/v1", "/orders/7", "https://api.example/v1/orders/7"),
        ("https://api.example/v1/", "/", "https://api.example/v1/"),
        ("https://api.example/v1", "", "https://api.example/v1/"),
        ("https://api.example", "/caf\u{e9} au%20lait", "https://api.example/caf%C3%A9%20au%20lait"),
        ("https://api.example", "/100%", "https://api.example/100%25"),
        ("https://api.example", "/a?b#c", "https://api.example/a%3Fb%23c"),
        ("https://api.example", "/a\\b", "https://api.example/a%5Cb"),
    ] {
        assert_eq!(uri(base).join(path).unwrap(), uri(url), "{base} {path}");
    }
}

#[test]
fn a_proof_is_taken_once_until_nobody_would_take_it_and_room_is_bounded() {
    let at = |seconds: u64| NOW.plus(Duration::from_secs(seconds));
    let named = |jti: &str| check(&proof(json!({}), json!({ "jti": jti }))).unwrap();
    let replays = Replays::new(3);
    let first = named("a");
    assert_eq!(replays.once(&first, NOW), Ok(()));
    for later in [0, 1, 60, 61] {
        assert_eq!(replays.once(&first, at(later)), Err(ReplayError::Replayed), "{later}");
    }
    // By a clock that was set back, after it was forgotten.
    assert_eq!(replays.once(&named("b"), at(62)), Err(ReplayError::Replayed));
    assert_eq!(replays.once(&first, NOW), Err(ReplayError::Replayed));

    let replays = Replays::new(6);
    for jti in ["a", "b", "c"] {
        assert_eq!(replays.once(&named(jti), NOW), Ok(()), "{jti}");
    }
    assert_eq!(replays.once(&named("d"), NOW), Err(ReplayError::Full));
    assert_eq!(replays.once(&named("a"), NOW), Err(ReplayError::Replayed), "what was taken is known still");
    let urls = [uri(URL)];
    let newer = proof(json!({}), json!({ "jti": "e", "iat": at(62).unix_seconds() }));
    let newer = rules(&urls, "POST", None).check(&newer, at(62)).unwrap();
    assert_eq!(replays.once(&newer, at(62)), Ok(()), "what has ended makes room");
    // The same name by another key is another proof.
    let other = SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
    let of_other = sealed(&other, &merged(header(), &json!({ "jwk": jwk(&other) })), &claims());
    let replays = Replays::new(3);
    assert_eq!(replays.once(&named("one"), NOW), Ok(()));
    assert_eq!(replays.once(&check(&of_other).unwrap(), NOW), Ok(()));
}

#[test]
fn what_was_forgotten_is_not_taken_again_when_the_window_has_grown() {
    let at = |seconds: u64| NOW.plus(Duration::from_secs(seconds));
    let urls = [uri(URL)];
    let judged = |claims: Value, window: u64, now: Timestamp| {
        let rules = ProofRules { window: Duration::from_secs(window), ..rules(&urls, "POST", None) };
        rules.check(&proof(json!({}), claims), now).unwrap()
    };
    let made = |seconds: u64| json!({ "iat": at(seconds).unix_seconds(), "jti": seconds.to_string() });
    let replays = Replays::new(100);
    assert_eq!(replays.once(&judged(made(0), 1, NOW), NOW), Ok(()));
    assert_eq!(replays.once(&judged(made(3), 1, at(3)), at(3)), Ok(()));
    for (proof, expected) in [
        (made(0), Err(ReplayError::Replayed)),
        (json!({ "iat": NOW.unix_seconds(), "jti": "another" }), Err(ReplayError::Replayed)),
        (made(1), Ok(())),
        (made(3), Err(ReplayError::Replayed)),
    ] {
        assert_eq!(replays.once(&judged(proof.clone(), 600, at(4)), at(4)), expected, "{proof}");
    }
    // What a nonce tells does not depend on the window.
    let nonces: &dyn NonceAuthenticator = &*NONCES;
    let nonce = nonces.issue(NOW).unwrap();
    let by_nonce = judged(json!({ "nonce": nonce, "jti": "by nonce" }), 1, at(4));
    assert_eq!(replays.once(&by_nonce, at(4)), Ok(()));
    assert_eq!(by_nonce.until_at_most(), by_nonce.until());
    let by_clock = judged(made(0), 1, NOW);
    assert_eq!((by_clock.until(), by_clock.until_at_most()), (at(2), at(601)));
}

#[test]
fn one_key_leaves_room_for_others() {
    let urls = [uri(URL)];
    let other = SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
    let of_other = |jti: &str| {
        let claims = merged(claims(), &json!({ "jti": jti }));
        let proof = sealed(&other, &merged(header(), &json!({ "jwk": jwk(&other) })), &claims);
        rules(&urls, "POST", None).check(&proof, NOW).unwrap()
    };
    let own = |jti: &str| check(&proof(json!({}), json!({ "jti": jti }))).unwrap();
    let replays = Replays::new(8);
    for (proof, expected) in [
        (own("1"), Ok(())),
        (own("2"), Ok(())),
        (own("3"), Ok(())),
        (own("4"), Ok(())),
        (own("5"), Err(ReplayError::Full)),
        (own("1"), Err(ReplayError::Replayed)),
        (of_other("1"), Ok(())),
        (of_other("2"), Ok(())),
        (of_other("3"), Err(ReplayError::Full)),
        (own("5"), Err(ReplayError::Full)),
    ] {
        assert_eq!(replays.once(&proof, NOW), expected, "{proof:?}");
    }
}

/// A verified token with these claims.
fn token(claims: &Value) -> Verified {
    let header = Header { alg: KEY.algorithm(), kid: None, typ: None }.encode();
    let input = SigningInput::new(&header, claims.to_string().as_bytes());
    let signature = KEY.sign(&input).unwrap();
    let key = VerifyingKey::new(KEY.public_key().unwrap(), KEY.algorithm(), None).unwrap();
    let token = input.finish(&signature);
    let signed = Unverified::parse(&token).unwrap().verify(&key).unwrap();
    signed.check(&Policy::new().allow_missing_expiry(), NOW).unwrap()
}

#[test]
fn a_token_is_bound_by_the_thumbprint_of_one_key_or_in_a_way_that_is_not_known() {
    let bound = Binding::of(&token(&json!({ "cnf": { "jkt": RFC_JKT } }))).unwrap().unwrap();
    assert!(bound.is_to(RFC_JKT) && !bound.is_to("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4J"));
    for free in [
        json!({}),
        json!({ "scope": "cnf" }),
        json!({ "a": { "cnf": { "jkt": RFC_JKT } } }),
        json!({ "x": "\"cnf\"" }),
    ] {
        assert_eq!(Binding::of(&token(&free)), Ok(None), "{free}");
    }
    for unknown in [
        json!({ "cnf": {} }),
        json!({ "cnf": null }),
        json!({ "cnf": "x" }),
        json!({ "cnf": { "jkt": "" } }),
        json!({ "cnf": { "jkt": 1 } }),
        json!({ "cnf": { "jkt": "AAAA" } }),
        json!({ "cnf": { "x5t#S256": RFC_JKT } }),
        json!({ "cnf": { "jkt": RFC_JKT, "x5t#S256": RFC_JKT } }),
    ] {
        assert!(Binding::of(&token(&unknown)).is_err(), "{unknown}");
    }
    // The claim's name with an escape in it.
    let header = Header { alg: KEY.algorithm(), kid: None, typ: None }.encode();
    let input = SigningInput::new(&header, format!(r#"{{"c\u006ef":{{"jkt":"{RFC_JKT}"}}}}"#).as_bytes());
    let signature = KEY.sign(&input).unwrap();
    let key = VerifyingKey::new(KEY.public_key().unwrap(), KEY.algorithm(), None).unwrap();
    let text = input.finish(&signature);
    let signed = Unverified::parse(&text).unwrap().verify(&key).unwrap();
    let verified = signed.check(&Policy::new().allow_missing_expiry(), NOW).unwrap();
    assert!(Binding::of(&verified).unwrap().is_some());
}
