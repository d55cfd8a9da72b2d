//! Refusals that arise on the way to the mint, and answers that are signed without it: each is
//! recorded once, with its code.

use crate::support::{self, Entry, ISSUER, NOW, SECRET, recorded_by, request, signed_text};
use axum::{
    body::to_bytes,
    http::{HeaderValue, StatusCode, header},
};
use countersign_grants::{ExchangeRule, Expression, Once, RuleSettings, Terms, TokenRoute};
use countersign_issuer::{GrantType, Names, http::Peer};
use countersign_jose::{Algorithm, KeySize, SigningKey};
use countersign_store::{ManualClock, MemoryStore};
use serde_json::{Value, json};
use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

static LOGIN: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());

/// The decision and the code of each record of the audit.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<String>>>);

struct Read<'a>(&'a mut String);

impl Visit for Read<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if ["decision", "client", "code"].contains(&field.name()) {
            self.0.push_str(&format!("{} ", value));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

impl Subscriber for Records {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "countersign::audit"
    }

    fn event(&self, event: &Event<'_>) {
        let mut record = String::new();
        event.record(&mut Read(&mut record));
        self.0.lock().unwrap().push(record.trim_end().to_owned());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What is answered to a request of the client `mine`, and what is recorded.
async fn answered(
    route: &Arc<TokenRoute>,
    path: &str,
    accept: &'static str,
    body: String,
) -> (StatusCode, Value, Vec<String>) {
    let records = Records::default();
    let _guard = recorded_by(records.clone());
    let mut asking = request(&format!("mine:{}", SECRET.expose()), body);
    *asking.uri_mut() = path.parse().unwrap();
    asking.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
    let response = route.answer(asking, Peer("127.0.0.1".parse().unwrap())).await;
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let records = records.0.lock().unwrap().clone();
    (status, serde_json::from_slice(&body).unwrap_or_default(), records)
}

#[tokio::test]
async fn claims_of_a_rule_that_no_token_can_hold_are_refused_and_recorded() {
    let source = support::source("https://login.example", &LOGIN, ISSUER, Once::GivenUp);
    let claims = [("x".to_owned(), Expression::compile("[claims.deep]").unwrap())].into();
    let terms = Terms { claims, when: None };
    let rule = ExchangeRule::new(RuleSettings { terms, ..support::rule("login", source) }).unwrap();
    let entry = Entry::plain(GrantType::TokenExchange, Vec::new(), 600);
    let (_issuer, route) = support::route(&[("mine", &entry)], vec![rule]);
    let route = route.unwrap();
    let grant = GrantType::TokenExchange.name();
    // A claim of a token is at most so deep; in a list it is deeper by one.
    for (levels, is_minted) in [(14, true), (15, false)] {
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let ends = NOW.unix_seconds() + 600;
        let shown = format!(
            r#"{{"iss":"https://login.example","aud":"{ISSUER}","exp":{ends},"sub":"alice","deep":{deep}}}"#
        );
        let token = signed_text(&LOGIN, &shown);
        let body = format!(
            "grant_type={grant}&subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:jwt"
        );
        let (status, answer, records) = answered(&route, "/token", "*/*", body).await;
        if is_minted {
            assert_eq!((status, records), (StatusCode::OK, vec!["minted mine".to_owned()]), "{answer}");
            continue;
        }
        assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
        let told = answer["error_description"].as_str().unwrap();
        assert!(
            told.contains("the claims of the rule (`claims`) are nested more deeply than 16 levels"),
            "{told}"
        );
        assert_eq!(records, ["refused mine invalid_request"]);
    }
}

#[tokio::test]
async fn an_introspection_that_cannot_be_signed_is_recorded() {
    let clock = Arc::new(ManualClock::at(NOW));
    let mut entry = Entry::plain(GrantType::ClientCredentials, Vec::new(), 600);
    entry.introspect = Names::Any;
    let clients = [("mine", &entry)];
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as _));
    let grants = support::grants(&clients, Vec::new());
    let (_issuer, route) = support::route_on(store, Arc::clone(&clock), &clients, grants);
    let route = route.unwrap();
    let jwt = "application/token-introspection+jwt";
    let ask = async || answered(&route, "/introspect", jwt, "token=x".to_owned()).await;
    assert_eq!((ask().await.0, ask().await.2), (StatusCode::OK, Vec::new()));
    // The store has been silent for so long that nothing is signed.
    clock.advance(Duration::from_secs(3601));
    let (status, answer, records) = ask().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer["error"], "temporarily_unavailable", "{answer}");
    assert_eq!(records, ["refused mine keys_stale"]);
}
