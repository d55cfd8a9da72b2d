//! Tables that are not there, items of others, identities without rights; and what errors must not
//! show.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use countersign_store::{DynamoDbStore, Expect, Store, StoreError, Version};
use countersign_testbed::{Relay, ministack};

use super::{
    key,
    tables::{self, JSON, SECRETS, refusal},
};

#[tokio::test]
async fn a_table_that_is_missing_is_not_made_by_opening_it() {
    let name = tables::name();
    for _ in 0..2 {
        let error = DynamoDbStore::open(tables::config(&name, &ministack().url()), tables::clock())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "store_misconfigured");
        assert!(error.to_string().contains("make it with `countersign store create`"), "{error}");
    }
}

#[tokio::test]
async fn a_table_that_goes_away_under_a_store_is_reported() {
    let table = tables::table().await;
    let store = tables::open(&table).await;
    let client = tables::client();
    client.update_table().table_name(&table).deletion_protection_enabled(false).send().await.unwrap();
    client.delete_table().table_name(&table).send().await.unwrap();
    let put = store.put(&key("k"), b"x", Expect::Absent, None).await.map(drop);
    for outcome in [put, store.get(&key("k")).await.map(drop), store.list("").await.map(drop)] {
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("there is no such table"), "{error}");
    }
}

async fn put_item(table: &str, key: &str, more: &[(&str, AttributeValue)]) {
    let mut item = HashMap::from([("key".to_owned(), AttributeValue::S(key.to_owned()))]);
    item.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    tables::client().put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
}

#[tokio::test]
async fn an_item_of_somebody_else_is_reported_with_what_was_found_and_never_overwritten() {
    let table = tables::table().await;
    let store = tables::open(&table).await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |text: &str| AttributeValue::N(text.to_owned());
    let bytes = AttributeValue::B(b"CONTENT"[..].into());
    let (v, b) = (("version", text("v")), ("bytes", bytes.clone()));
    for (name, item, says) in [
        ("bare", vec![], "its `version` should be a string (S) and is nothing"),
        (
            "version",
            vec![("version", number("1")), b.clone()],
            "its `version` should be a string (S) and is another number (N)",
        ),
        ("none", vec![v.clone()], "its `bytes` should be binary (B) and is nothing"),
        (
            "bytes",
            vec![v.clone(), ("bytes", text("CONTENT"))],
            "its `bytes` should be binary (B) and is a string (S)",
        ),
        ("list", vec![v.clone(), ("bytes", AttributeValue::L(vec![]))], "is a list (L)"),
        (
            "text",
            vec![v.clone(), b.clone(), ("expires_at", text("soon"))],
            "its `expires_at` should be a whole number (N) or nothing and is a string (S)",
        ),
        (
            "part",
            vec![v.clone(), b.clone(), ("expires_at", number("4000000000.5"))],
            "and is another number (N)",
        ),
        ("huge", vec![v.clone(), b.clone(), ("expires_at", number("1e30"))], "and is another number (N)"),
        ("null", vec![v.clone(), b.clone(), ("expires_at", AttributeValue::Null(true))], "is null (NULL)"),
    ] {
        put_item(&table, name, &item).await;
        let k = key(name);
        let other = Version::from_engine("0123456789abcdef");
        let outcomes = [
            store.get(&k).await.map(drop),
            store.delete(&k, &other).await,
            store.put(&k, b"x", Expect::Absent, None).await.map(drop),
            store.put(&k, b"x", Expect::Version(other), None).await.map(drop),
        ];
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert_eq!(error.code(), "store_corrupt", "{name}: {error}");
            let shown = error.to_string();
            assert!(shown.contains(&format!("the item `{name}` was written by something else: ")), "{shown}");
            assert!(shown.contains(says) && !shown.contains("CONTENT"), "{name}: {shown}");
        }
    }
    assert_eq!(store.list("").await.unwrap().len(), 9, "they are listed, for those who look through a store");
    store.put(&key("ours"), b"x", Expect::Absent, None).await.unwrap();
    assert_eq!(store.get(&key("ours")).await.unwrap().unwrap().bytes, b"x", "the others can be read");
    put_item(&table, "k/../SECRET", &[v, b]).await;
    let error = store.list("k").await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }) && !error.to_string().contains("SECRET"), "{error}");
}

#[tokio::test]
async fn an_identity_that_is_not_let_in_is_denied_at_once() {
    let (_, store, relay) = tables::relayed(|_| {}).await;
    for (code, says) in [
        ("AccessDeniedException", "says AWS; give this identity the rights of the policy in docs/stores.md"),
        ("UnrecognizedClientException", "does not accept the credentials (UnrecognizedClientException)"),
        ("InvalidSignatureException", "this machine's clock"),
        ("IncompleteSignatureException", "does not accept the credentials"),
        ("MissingAuthenticationTokenException", "does not accept the credentials"),
        ("ExpiredTokenException", "have expired; renew them"),
    ] {
        let before = relay.asked().len();
        relay.answer(usize::MAX, "400 Bad Request", JSON, &refusal(code));
        let error = store.get(&key("k")).await.unwrap_err();
        assert_eq!(error.code(), "store_denied", "{code}: {error}");
        assert!(error.to_string().contains(says), "{error}");
        let opened = DynamoDbStore::open(tables::config("any-table", &relay.url()), tables::clock()).await;
        assert_eq!(opened.unwrap_err().code(), "store_denied");
        assert_eq!(relay.asked().len() - before, 2, "asking again would not help");
    }
    relay.answer(1, "400 Bad Request", JSON, &refusal("ValidationException"));
    let error = store.get(&key("k")).await.unwrap_err();
    assert_eq!(error.code(), "store_misconfigured", "{error}");
}

#[tokio::test]
async fn no_error_and_no_debug_shows_credentials_or_content() {
    let (_, store, relay) = tables::relayed(|_| {}).await;
    let mut shown = vec![format!("{store:?}"), format!("{:?}", tables::config("table", &ministack().url()))];
    let k = key("k");
    for (status, body) in [
        ("400 Bad Request", refusal("InvalidSignatureException")),
        ("400 Bad Request", refusal("UnrecognizedClientException")),
        ("400 Bad Request", refusal("ProvisionedThroughputExceededException")),
        ("400 Bad Request", refusal("ConditionalCheckFailedException")),
        ("500 Internal Server Error", refusal("InternalServerError")),
        ("200 OK", "nonsense".to_owned()),
    ] {
        relay.answer(usize::MAX, status, JSON, &body);
        let error = store.put(&k, b"CONTENT-never-shown", Expect::Absent, None).await.unwrap_err();
        shown.push(format!("{error} {error:?}"));
    }
    relay.refuse();
    let error = store.put(&k, b"CONTENT-never-shown", Expect::Absent, None).await.unwrap_err();
    shown.push(format!("{error} {error:?}"));
    for text in shown {
        assert!(!text.contains("never-shown") && !text.contains("AKIA"), "{text}");
        assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
    }
    // The secrets really were in use.
    let asked = relay.asked();
    assert!(asked.iter().any(|asked| asked.head.contains(SECRETS[0]) && asked.head.contains(SECRETS[2])));
}

#[tokio::test]
async fn a_text_of_a_hostile_server_is_one_short_line() {
    let relay = Relay::to_http(ministack().port()).await;
    let text = format!("{}\\n\\u001b[31m{}", "x".repeat(10), "y".repeat(10_000));
    let body = format!(r#"{{"__type":"AccessDeniedException","message":"{text}"}}"#);
    relay.answer(usize::MAX, "400 Bad Request", JSON, &body);
    let config = tables::config("any-table", &relay.url());
    let error = DynamoDbStore::open(config, tables::clock()).await.unwrap_err().to_string();
    assert!(error.len() < 600 && !error.contains(char::is_control), "{error}");
}
