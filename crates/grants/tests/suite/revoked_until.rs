//! Until when a family that was ended is in the list: as long as any access token of it may live,
//! whatever the configuration says by now and whenever the keys came to sign for so long.

use crate::support::{self, Entry, ISSUER, NOW, SECRET, request, signed};
use axum::{body::to_bytes, http::StatusCode};
use countersign_grants::{ExchangeRule, Once, Refreshes, RuleSettings, TokenRoute};
use countersign_issuer::{GrantType, http::Peer};
use countersign_jose::{Algorithm, KeySize, SigningKey, Timestamp};
use countersign_keyring::{KeyPlace, LoadedKeyring, Needs, RingName, RingSpec, SealingKey, StoredKeyring};
use countersign_store::{Key, ManualClock, MemoryStore, Store};
use serde_json::{Value, json};
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

static LOGIN: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());
/// Of the client, and of clocks.
const LIFETIME: Duration = Duration::from_secs(600);
const SKEW: Duration = Duration::from_secs(60);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Keys that have signed tokens which live for so long.
async fn keys(longest: Duration) -> LoadedKeyring {
    let store = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))));
    let keyring = StoredKeyring::new(store, Arc::new(SealingKey::generate().unwrap().0));
    let name: RingName = "default".parse().unwrap();
    let spec = RingSpec {
        name: name.clone(),
        algorithm: Algorithm::ES256,
        size: KeySize::default(),
        make_first_key: true,
        place: KeyPlace::Here,
    };
    keyring.ensure(&[spec], NOW).await.unwrap();
    keyring.load_to_mint(&Needs::from([(name, longest)]), NOW).await.unwrap()
}

async fn send(route: &Arc<TokenRoute>, path: &str, body: String) -> (StatusCode, Value) {
    let mut asking = request(&format!("mine:{}", SECRET.expose()), body);
    *asking.uri_mut() = path.parse().unwrap();
    let response = route.answer(asking, Peer("127.0.0.1".parse().unwrap())).await;
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// The refresh token of a new family, or the next one of that of `token`.
async fn refresh_token(route: &Arc<TokenRoute>, jti: &str, token: Option<&str>) -> String {
    let body = match token {
        Some(token) => format!("grant_type=refresh_token&refresh_token={token}"),
        None => {
            let shown = json!({ "iss": "https://login.example", "aud": ISSUER, "exp": NOW.unix_seconds() + 9000,
                                "jti": jti, "sub": "alice" });
            format!("grant_type={}&assertion={}", GrantType::JwtBearer.name(), signed(&LOGIN, &shown))
        }
    };
    let (status, answer) = send(route, "/token", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["refresh_token"].as_str().unwrap().to_owned()
}

/// Until when the newest entry matters.
async fn until(store: &MemoryStore) -> Timestamp {
    let document = store.get(&Key::parse("revocations").unwrap()).await.unwrap().unwrap();
    let document: Value = serde_json::from_slice(&document.bytes).unwrap();
    let newest = document["content"]["entries"].as_array().unwrap().last().unwrap().clone();
    Timestamp::from_unix_seconds(newest["until"].as_i64().unwrap())
}

#[tokio::test]
async fn a_family_that_ends_is_in_the_list_for_as_long_as_any_key_has_signed_for() {
    let clock = Arc::new(ManualClock::at(NOW));
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as _));
    let mut entry = Entry::plain(GrantType::JwtBearer, Vec::new(), LIFETIME.as_secs());
    entry.refresh = true;
    let source = support::source("https://login.example", &LOGIN, ISSUER, Once::Required);
    let rule = RuleSettings { refresh: Refreshes::ByClients, ..support::rule("login", source) };
    let (clients, rules) = ([("mine", &entry)], vec![ExchangeRule::new(rule).unwrap()]);
    let grants = support::grants(&clients, rules);
    let (issuer, route) = support::route_on(Arc::clone(&store) as _, Arc::clone(&clock), &clients, grants);
    let route = route.unwrap();

    let revoke = async |token: String| send(&route, "/revoke", format!("token={token}")).await.0;
    assert_eq!(revoke(refresh_token(&route, "1", None).await).await, StatusCode::OK);
    assert_eq!(until(&store).await, NOW.plus(LIFETIME).plus(SKEW), "of what this configuration mints");
    // Another process signs for longer, or did before the configuration was changed.
    issuer.replace_keys(keys(WEEK).await).unwrap();
    assert_eq!(revoke(refresh_token(&route, "2", None).await).await, StatusCode::OK);
    assert_eq!(until(&store).await, NOW.plus(WEEK));
    let first = refresh_token(&route, "3", None).await;
    refresh_token(&route, "3", Some(&first)).await;
    clock.advance(Duration::from_secs(91));
    let replay = format!("grant_type=refresh_token&refresh_token={first}");
    assert_eq!(send(&route, "/token", replay).await.1["error"], "invalid_grant");
    assert_eq!(until(&store).await, NOW.plus(Duration::from_secs(91)).plus(WEEK));
}
