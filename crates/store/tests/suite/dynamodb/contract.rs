//! The DynamoDB engine keeps the contract of every store, and what is its own about that.

use std::{sync::Arc, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use countersign_store::{Clock, DynamoDbStore, Expect, Store, conformance};
use countersign_testbed::ministack;

use super::{
    key,
    tables::{self, count},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_dynamodb_engine_conforms() {
    conformance::run(|clock| async move {
        let config = tables::config(&tables::table().await, &ministack().url());
        Arc::new(DynamoDbStore::open(config, clock).await.unwrap()) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn a_table_that_goes_back_takes_no_key_from_a_server() {
    countersign_keyring::conformance::run(async || {
        Arc::new(tables::open(&tables::table().await).await) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn families_of_refresh_tokens_keep_their_promises() {
    let figures = countersign_grants::refresh::conformance::run(20, async |clock: Arc<dyn Clock>| {
        let table = tables::table().await;
        let open = async || {
            let config = tables::config(&table, &ministack().url());
            Arc::new(DynamoDbStore::open(config, Arc::clone(&clock)).await.unwrap()) as Arc<dyn Store>
        };
        [open().await, open().await]
    })
    .await;
    assert!(figures.histories == 20 && figures.uses > 500, "{figures:?}");
    println!("{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_stores_on_one_table_are_one() {
    let table = tables::table().await;
    let mut stores = Vec::new();
    for _ in 0..5 {
        stores.push(Arc::new(tables::open(&table).await) as Arc<dyn Store>);
    }
    conformance::run_shared(&stores).await;
}

#[tokio::test]
async fn an_item_has_the_attributes_that_are_documented() {
    let table = tables::table().await;
    let store = tables::open(&table).await;
    let end = tables::clock().now().plus(Duration::from_secs(60));
    let version = store.put(&key("a/b"), b"\0bytes", Expect::Absent, Some(end)).await.unwrap();
    let key_of_item = AttributeValue::S("a/b".to_owned());
    let item = async || {
        let answer = tables::client().get_item().table_name(&table).key("key", key_of_item.clone());
        answer.send().await.unwrap().item.unwrap()
    };
    let found = item().await;
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(found["key"], key_of_item);
    assert_eq!(found["version"], AttributeValue::S(version.as_str().to_owned()));
    assert_eq!(found["bytes"], AttributeValue::B(b"\0bytes"[..].into()));
    assert_eq!(found["expires_at"], AttributeValue::N("1800000060".to_owned()));
    assert_eq!(
        found["ttl"],
        AttributeValue::N("1800003660".to_owned()),
        "an hour later, for clocks that differ"
    );
    store.put(&key("a/b"), b"", Expect::Version(version), None).await.unwrap();
    let found = item().await;
    assert!(found.len() == 3 && !found.contains_key("ttl"), "time to live takes nothing that has none");
}

/// DynamoDB answers a scan in pieces of one megabyte.
#[tokio::test]
async fn a_list_goes_on_where_dynamodb_stops() {
    let (_, store, relay) = tables::relayed(|_| {}).await;
    let names: Vec<_> = (0..8).map(|number| key(&format!("k/{number}"))).collect();
    for name in &names {
        store.put(name, &vec![7; 300_000], Expect::Absent, None).await.unwrap();
    }
    assert_eq!(store.list("").await.unwrap(), names);
    assert!(count(&relay, "Scan") > 1, "{}", count(&relay, "Scan"));
    assert_eq!(store.list("k/3").await.unwrap(), [key("k/3")]);
}

#[tokio::test]
async fn reads_are_strongly_consistent_and_changes_are_one_request_with_a_condition() {
    let (_, store, relay) = tables::relayed(|_| {}).await;
    let k = key("k");
    let version = store.put(&k, b"1", Expect::Absent, None).await.unwrap();
    let version = store.put(&k, b"2", Expect::Version(version), None).await.unwrap();
    store.get(&k).await.unwrap();
    store.list("k").await.unwrap();
    store.delete(&k, &version).await.unwrap();
    store.delete(&k, &version).await.unwrap();
    let asked: Vec<_> =
        relay.asked().into_iter().map(|asked| String::from_utf8(asked.body).unwrap()).collect();
    let [_mark, put, replace, get, scan, delete, delete_again, look] = asked.try_into().unwrap();
    for read in [get, scan, look] {
        assert!(read.contains(r#""ConsistentRead":true"#), "{read}");
    }
    for write in [put, replace, delete, delete_again] {
        assert!(write.contains("ConditionExpression"), "{write}");
    }
}

#[tokio::test]
async fn a_document_without_content_is_corrupt() {
    let table = tables::table().await;
    let store = Arc::new(tables::open(&table).await);
    conformance::run_damaged(store, async |key| {
        let request = tables::client().update_item().table_name(&table).update_expression("REMOVE #bytes");
        let request = request.expression_attribute_names("#bytes", "bytes");
        request.key("key", AttributeValue::S(key.to_string())).send().await.unwrap();
    })
    .await;
}
