//! Which tokens are the issuer's own: to be let in by, to be taken back, and to be kept from
//! others.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say what they expect by failing")]

#[expect(dead_code, reason = "each of the test files uses a part of it")]
mod support;

use countersign_issuer::{Issuer, OwnToken};
use countersign_jose::{
    Algorithm, Header, KeySize, SigningInput, SigningKey, SymmetricKey, Timestamp, base64url,
};
use countersign_keyring::{LoadedKeyring, LocalSigner, Signer};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use support::{House, NOW};

const ISSUER: &str = "https://tokens.example";
/// Of `House`.
const SKEW: Duration = Duration::from_secs(60);

fn key(kid: &str) -> Arc<LocalSigner> {
    key_for(Algorithm::ES256, kid)
}

fn key_for(algorithm: Algorithm, kid: &str) -> Arc<LocalSigner> {
    let key = SigningKey::generate(algorithm, KeySize::default()).unwrap();
    Arc::new(LocalSigner::new(kid.to_owned(), key))
}

fn secret(kid: &str, byte: u8) -> Arc<LocalSigner> {
    let key = SigningKey::symmetric(&SymmetricKey::new(vec![byte; 32].into()), Algorithm::HS256).unwrap();
    Arc::new(LocalSigner::new(kid.to_owned(), key))
}

async fn signed(signer: &dyn Signer, typ: &str, claims: &Value) -> String {
    let header = Header { alg: signer.algorithm(), kid: Some(signer.kid()), typ: Some(typ) }.encode();
    let input = SigningInput::new(&header, claims.to_string().as_bytes());
    let signature = signer.sign(&input).await.unwrap();
    input.finish(&signature)
}

/// Claims of a token that lives for ten minutes from now.
fn claims(more: &Value) -> Value {
    let now = NOW.unix_seconds();
    let mut claims = json!({ "iss": ISSUER, "sub": "alice", "aud": "api://one", "jti": "1", "client_id": "app",
                             "iat": now, "nbf": now, "exp": now + 600 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

/// An issuer with a published ring, one that is not, and a shared secret.
struct World {
    house: House,
    default: Arc<LocalSigner>,
    jaas: Arc<LocalSigner>,
    shared: Arc<LocalSigner>,
}

impl World {
    fn new() -> Self {
        let house = House::new(ISSUER);
        let (default, shared) = (key("k1"), secret("s1", 1));
        let jaas = key_for(Algorithm::RS256, "app/1");
        let keys = LoadedKeyring::default()
            .with_ring("default".parse().unwrap(), Arc::clone(&default) as _)
            .with_ring("jaas".parse().unwrap(), Arc::clone(&jaas) as _)
            .with_ring("shared".parse().unwrap(), Arc::clone(&shared) as _);
        house.issuer_handle.replace_keys(keys).unwrap();
        Self { house, default, jaas, shared }
    }

    fn issuer(&self) -> &Issuer {
        &self.house.issuer_handle
    }
}

#[tokio::test]
async fn a_token_can_be_taken_back_from_before_it_begins_until_no_clock_takes_it_for_good() {
    let world = World::new();
    let (now, second) = (NOW.unix_seconds(), Duration::from_secs(1));
    let token = signed(world.default.as_ref(), "at+jwt", &claims(&json!({}))).await;
    let ends = Timestamp::from_unix_seconds(now + 600);
    for (at, is_in, is_alive) in [
        (NOW, true, true),
        (ends.minus(second), true, true),
        (ends, false, true),
        (ends.plus(SKEW).minus(second), false, true),
        (ends.plus(SKEW), false, false),
        // A server whose clock is ahead has made it.
        (NOW.minus(second), false, true),
        (NOW.minus(Duration::from_secs(86_400)), false, true),
    ] {
        assert_eq!(world.issuer().own(&token, at).is_some(), is_in, "{at}");
        let alive = world.issuer().own_unended(&token, at);
        assert_eq!(matches!(alive, Some(OwnToken::ForRequests(_))), is_alive, "{at}: {alive:?}");
        assert!(world.issuer().may_be_own(&token), "{at}");
    }
    let endless = claims(&json!({ "exp": null }));
    let mut endless = endless.as_object().unwrap().clone();
    endless.remove("exp");
    let endless = signed(world.default.as_ref(), "at+jwt", &endless.into()).await;
    assert!(matches!(world.issuer().own_unended(&endless, NOW), Some(OwnToken::ForRequests(_))));
}

#[tokio::test]
async fn what_is_for_something_else_is_ours_too_and_is_not_taken_for_a_token_of_requests() {
    let world = World::new();
    let ended = json!({ "exp": NOW.unix_seconds() - 60 });
    let meeting = json!({ "iss": "chat", "aud": "jitsi" });
    let (default, jaas): (&dyn Signer, &dyn Signer) = (world.default.as_ref(), world.jaas.as_ref());
    for (signer, typ, more) in [
        (default, "oauth-id-jag+jwt", json!({})),
        (default, "upload+jwt", json!({})),
        (default, "JWT", json!({ "iss": "mine" })),
        (jaas, "JWT", meeting),
    ] {
        let token = signed(signer, typ, &claims(&more)).await;
        assert_eq!(world.issuer().own(&token, NOW), None, "{typ} {more}");
        assert_eq!(world.issuer().own_unended(&token, NOW), Some(OwnToken::OfAnotherKind), "{typ} {more}");
        assert!(world.issuer().may_be_own(&token), "{typ} {more}");
        let mut over = claims(&more);
        over.as_object_mut().unwrap().extend(ended.as_object().unwrap().clone());
        let over = signed(signer, typ, &over).await;
        assert_eq!(world.issuer().own_unended(&over, NOW), None, "{typ} {more}");
        assert!(world.issuer().may_be_own(&over), "{typ} {more}: nobody else is to see it");
    }
    // What a ring that is not published signs for requests can be taken back; nobody is let in by
    // it here.
    let token = signed(world.jaas.as_ref(), "JWT", &claims(&json!({}))).await;
    assert_eq!(world.issuer().own(&token, NOW), None);
    assert!(matches!(world.issuer().own_unended(&token, NOW), Some(OwnToken::ForRequests(_))));
    let shared = signed(world.shared.as_ref(), "JWT", &claims(&json!({ "iss": "mine" }))).await;
    assert_eq!(world.issuer().own_unended(&shared, NOW), Some(OwnToken::OfAnotherKind));
    assert!(world.issuer().may_be_own(&shared));
}

#[tokio::test]
async fn what_others_have_made_is_not_ours_and_what_says_to_be_ours_is_kept_all_the_same() {
    let world = World::new();
    let theirs = json!({ "iss": "https://login.example" });
    for (signer, more, may_be_own) in [
        (key("k1") as Arc<dyn Signer>, theirs.clone(), false),
        (key("other"), theirs.clone(), false),
        (secret("s2", 1), theirs, false),
        // By a key that is not here any more, perhaps.
        (key("k1"), json!({}), true),
        (key("gone"), json!({}), true),
    ] {
        let token = signed(signer.as_ref(), "at+jwt", &claims(&more)).await;
        assert_eq!(world.issuer().own(&token, NOW), None, "{more}");
        assert_eq!(world.issuer().own_unended(&token, NOW), None, "{more}");
        assert_eq!(world.issuer().may_be_own(&token), may_be_own, "{} {more}", signer.kid());
    }
    let unsigned = base64url::encode(br#"{"alg":"none"}"#);
    for text in ["", "x", "a.b.c", "csref_x", &format!("{unsigned}.{unsigned}."), &"a".repeat(60_000)] {
        assert_eq!(world.issuer().own_unended(text, NOW), None);
        assert!(!world.issuer().may_be_own(text));
    }
}
