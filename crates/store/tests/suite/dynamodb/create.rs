//! `store create`: made once and whole, however often, by however many, and with whatever is there.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TimeToLiveSpecification,
};
use countersign_store::{Clock, DynamoDbStore, Expect, Store, StoreError};
use countersign_testbed::{Relay, ministack};
use tokio::task::JoinSet;

use super::{
    key,
    tables::{self, JSON, count, refusal},
};

/// A table of somebody else's making.
pub(crate) async fn foreign_table(keys: &[(&str, KeyType, ScalarAttributeType)]) -> String {
    let name = tables::name();
    let mut request =
        tables::client().create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    for (name, role, of) in keys {
        let definition = AttributeDefinition::builder().attribute_name(*name).attribute_type(of.clone());
        let element = KeySchemaElement::builder().attribute_name(*name).key_type(role.clone());
        request =
            request.attribute_definitions(definition.build().unwrap()).key_schema(element.build().unwrap());
    }
    request.send().await.unwrap();
    name
}

async fn time_to_live_on(table: &str, attribute: &str) {
    let on = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build().unwrap();
    let request = tables::client().update_time_to_live().table_name(table);
    request.time_to_live_specification(on).send().await.unwrap();
}

#[tokio::test]
async fn a_new_table_is_on_demand_protected_recoverable_and_forgets_what_has_expired() {
    let table = tables::table().await;
    let client = tables::client();
    let found = client.describe_table().table_name(&table).send().await.unwrap().table.unwrap();
    assert_eq!(found.deletion_protection_enabled(), Some(true));
    let billing = found.billing_mode_summary().and_then(|summary| summary.billing_mode());
    assert_eq!(billing, Some(&BillingMode::PayPerRequest));
    let live = client.describe_time_to_live().table_name(&table).send().await.unwrap();
    let live = live.time_to_live_description.unwrap();
    assert_eq!(live.attribute_name(), Some("ttl"));
    assert_eq!(live.time_to_live_status().unwrap().as_str(), "ENABLED");
    let backups = client.describe_continuous_backups().table_name(&table).send().await.unwrap();
    let recovery =
        backups.continuous_backups_description.unwrap().point_in_time_recovery_description.unwrap();
    assert_eq!(recovery.point_in_time_recovery_status().unwrap().as_str(), "ENABLED");
}

#[tokio::test]
async fn made_again_it_is_found_with_its_documents() {
    let table = tables::table().await;
    let store = tables::open(&table).await;
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    let config = tables::config(&table, &ministack().url());
    let again = DynamoDbStore::create(config.clone(), &|_| {}).await.unwrap();
    assert!(!again.made && again.notes.is_empty(), "{again:?}");
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"x");
    assert_eq!(DynamoDbStore::remarks(config).await, Ok(Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_one_makes_it_and_all_succeed() {
    for _ in 0..5 {
        let name = tables::name();
        let mut tasks = JoinSet::new();
        for _ in 0..12 {
            let config = tables::config(&name, &ministack().url());
            tasks.spawn(async move { DynamoDbStore::create(config, &|_| {}).await });
        }
        let created = tasks.join_all().await;
        let made = created.iter().filter(|created| created.as_ref().unwrap().made).count();
        assert_eq!(made, 1, "{created:?}");
        tables::open(&name).await;
    }
}

#[tokio::test]
async fn a_table_of_another_shape_is_refused_and_left_as_it_is() {
    for (keys, what) in [
        (vec![("key", KeyType::Hash, ScalarAttributeType::N)], "partition key `key` is of type N"),
        (vec![("key", KeyType::Hash, ScalarAttributeType::B)], "partition key `key` is of type B"),
        (vec![("id", KeyType::Hash, ScalarAttributeType::S)], "partition key is \"id\""),
        (
            vec![
                ("key", KeyType::Hash, ScalarAttributeType::S),
                ("version", KeyType::Range, ScalarAttributeType::S),
            ],
            "a sort key too",
        ),
    ] {
        let table = foreign_table(&keys).await;
        let config = tables::config(&table, &ministack().url());
        let created = DynamoDbStore::create(config.clone(), &|_| {}).await.map(drop);
        let opened = DynamoDbStore::open(config, tables::clock()).await.map(drop);
        for outcome in [created, opened] {
            let error = outcome.unwrap_err();
            assert_eq!(error.code(), "store_misconfigured");
            assert!(error.to_string().contains(what), "{error}");
        }
        let live = tables::client().describe_time_to_live().table_name(&table).send().await.unwrap();
        assert_eq!(
            live.time_to_live_description.unwrap().time_to_live_status().unwrap().as_str(),
            "DISABLED"
        );
    }
}

#[tokio::test]
async fn time_to_live_that_is_off_is_remarked_on_and_switched_on() {
    let table = foreign_table(&[("key", KeyType::Hash, ScalarAttributeType::S)]).await;
    let config = tables::config(&table, &ministack().url());
    tables::open(&table).await;
    let [remark] = DynamoDbStore::remarks(config.clone()).await.unwrap().try_into().unwrap();
    assert!(remark.contains("time to live is off"), "{remark}");
    let created = DynamoDbStore::create(config.clone(), &|_| {}).await.unwrap();
    assert!(!created.made && created.notes[0].contains("is on now"), "{created:?}");
    assert_eq!(DynamoDbStore::remarks(config).await, Ok(Vec::new()));
}

#[tokio::test]
async fn time_to_live_on_another_attribute_is_not_touched() {
    let table = foreign_table(&[("key", KeyType::Hash, ScalarAttributeType::S)]).await;
    time_to_live_on(&table, "expires_at").await;
    let config = tables::config(&table, &ministack().url());
    let error = DynamoDbStore::create(config.clone(), &|_| {}).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Misconfigured { .. }) && error.to_string().contains("\"expires_at\""),
        "{error}"
    );
    assert!(DynamoDbStore::remarks(config).await.unwrap()[0].contains("\"expires_at\""));
}

#[tokio::test]
async fn the_answer_to_making_a_table_may_get_lost() {
    let relay = Relay::to_http(ministack().port()).await;
    let name = tables::name();
    relay.lose_answers_from("DynamoDB_20120810.CreateTable", 1);
    let created = DynamoDbStore::create(tables::config(&name, &relay.url()), &|_| {}).await.unwrap();
    assert_eq!(count(&relay, "CreateTable"), 2);
    assert!(created.made, "an attempt whose answer was lost is one's own");
    assert_eq!(count(&relay, "UpdateContinuousBackups"), 1);
    tables::open(&name).await;
}

#[tokio::test]
async fn what_may_not_be_switched_on_or_looked_at_is_said_and_stops_nobody() {
    let relay = Relay::to_http(ministack().port()).await;
    let name = tables::name();
    let config = tables::config(&name, &relay.url());
    let denied = refusal("AccessDeniedException");
    relay.answer_only("UpdateContinuousBackups", usize::MAX, "400 Bad Request", JSON, &denied);
    let created = DynamoDbStore::create(config.clone(), &|_| {}).await.unwrap();
    assert!(created.made && created.notes.len() == 1, "{created:?}");
    assert!(created.notes[0].contains("point-in-time recovery could not be switched on"), "{created:?}");

    relay.answer_only("DescribeTimeToLive", usize::MAX, "400 Bad Request", JSON, &denied);
    let says = "whether time to live is on cannot be seen: dynamodb:DescribeTimeToLive is not allowed";
    assert_eq!(DynamoDbStore::remarks(config.clone()).await, Ok(vec![says.to_owned()]));
    let again = DynamoDbStore::create(config, &|_| {}).await.unwrap();
    assert_eq!((again.made, again.notes), (false, vec![says.to_owned()]));

    let table = foreign_table(&[("key", KeyType::Hash, ScalarAttributeType::S)]).await;
    relay.answer_only("UpdateTimeToLive", usize::MAX, "400 Bad Request", JSON, &denied);
    let error = DynamoDbStore::create(tables::config(&table, &relay.url()), &|_| {}).await.unwrap_err();
    assert_eq!(error.code(), "store_denied", "documents would never go: {error}");
}

/// AWS takes a moment until a new table can have it.
#[tokio::test]
async fn point_in_time_recovery_is_asked_for_until_the_table_can_have_it() {
    let relay = Relay::to_http(ministack().port()).await;
    let early = refusal("ContinuousBackupsUnavailableException");
    relay.answer_only("UpdateContinuousBackups", 3, "400 Bad Request", JSON, &early);
    let created =
        DynamoDbStore::create(tables::config(&tables::name(), &relay.url()), &|_| {}).await.unwrap();
    assert!(created.made && created.notes.is_empty(), "{created:?}");
    assert_eq!(count(&relay, "UpdateContinuousBackups"), 4);
}

fn description(status: &str) -> String {
    format!(
        r#"{{"Table":{{"TableStatus":"{status}","KeySchema":[{{"AttributeName":"key","KeyType":"HASH"}}],
        "AttributeDefinitions":[{{"AttributeName":"key","AttributeType":"S"}}]}}}}"#
    )
}

#[tokio::test]
async fn a_table_that_is_still_being_made_is_waited_for_and_not_opened() {
    let table = tables::table().await;
    let relay = Relay::to_http(ministack().port()).await;
    let config = tables::config(&table, &relay.url());
    // A request for items of a table that is not ready is told that there is no such table.
    let early = tables::config(&tables::name(), &relay.url());
    relay.answer_only("DescribeTable", usize::MAX, "200 OK", JSON, &description("CREATING"));
    let error = DynamoDbStore::open(early, tables::clock()).await.unwrap_err();
    assert_eq!(error.code(), "store_unavailable");
    assert!(error.to_string().contains("the table is CREATING; wait until it is ACTIVE"), "{error}");

    let told = AtomicUsize::new(0);
    let progress = |text: &str| {
        assert_eq!(text, "the table is CREATING");
        told.fetch_add(1, Ordering::SeqCst);
    };
    relay.answer_only("DescribeTable", 4, "200 OK", JSON, &description("CREATING"));
    DynamoDbStore::create(config.clone(), &progress).await.unwrap();
    assert_eq!(told.into_inner(), 3, "the first look is whether it is there");

    let mut impatient = config.clone();
    impatient.ready_timeout = Duration::from_millis(300);
    relay.answer_only("DescribeTable", usize::MAX, "200 OK", JSON, &description("CREATING"));
    let error = DynamoDbStore::create(impatient, &|_| {}).await.unwrap_err();
    assert_eq!(error.code(), "store_unavailable", "{error}");
    relay.answer(usize::MAX, "200 OK", JSON, &description("DELETING"));
    let error = DynamoDbStore::create(config, &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("DELETING"), "{error}");
}

#[tokio::test]
async fn a_table_with_items_of_another_program_is_refused_and_left_as_it_is() {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |text: &str| AttributeValue::N(text.to_owned());
    let bytes = AttributeValue::B(b"x"[..].into());
    let version = text("0123456789abcdef0123456789abcdef");
    for item in [
        vec![],
        vec![("value", text("SECRET"))],
        vec![("version", text("3")), ("bytes", bytes.clone())],
        vec![("version", version.clone())],
        vec![("version", version.clone()), ("bytes", text("SECRET"))],
        vec![("version", version.clone()), ("bytes", bytes.clone()), ("expires_at", text("SECRET"))],
        vec![("version", version.clone()), ("bytes", bytes.clone()), ("more", number("1"))],
    ] {
        let table = foreign_table(&[("key", KeyType::Hash, ScalarAttributeType::S)]).await;
        let request = tables::client().put_item().table_name(&table).item("key", text("session"));
        let request = item.iter().fold(request, |request, (name, value)| request.item(*name, value.clone()));
        request.send().await.unwrap();
        let config = tables::config(&table, &ministack().url());
        let created = DynamoDbStore::create(config.clone(), &|_| {}).await.map(drop);
        let opened = DynamoDbStore::open(config, tables::clock()).await.map(drop);
        for refused in [created, opened] {
            let error = refused.unwrap_err();
            assert_eq!(error.code(), "store_misconfigured", "{item:?}: {error}");
            assert!(error.to_string().contains("items of another program"), "{item:?}: {error}");
        }
        let live = tables::client().describe_time_to_live().table_name(&table).send().await.unwrap();
        let live = live.time_to_live_description.unwrap().time_to_live_status().unwrap().clone();
        assert_eq!(live.as_str(), "DISABLED", "{item:?}");
        let left = tables::client().scan().table_name(&table).send().await.unwrap();
        assert_eq!(left.count(), 1, "{item:?}");
    }
}

/// Made by CloudFormation, or restored by something that left the mark out.
#[tokio::test]
async fn a_table_without_the_mark_is_ours_while_all_items_are_and_gets_it_again() {
    let table = foreign_table(&[("key", KeyType::Hash, ScalarAttributeType::S)]).await;
    let store = tables::open(&table).await;
    store.put(&key("k"), b"x", Expect::Absent, Some(tables::clock().now())).await.unwrap();
    store.put(&key("l"), b"x", Expect::Absent, None).await.unwrap();
    assert_eq!(tables::open(&table).await.get(&key("l")).await.unwrap().unwrap().bytes, b"x");
    let config = tables::config(&table, &ministack().url());
    assert!(!DynamoDbStore::create(config, &|_| {}).await.unwrap().made);
    let relay = Relay::to_http(ministack().port()).await;
    let store = DynamoDbStore::open(tables::config(&table, &relay.url()), tables::clock()).await.unwrap();
    assert_eq!(relay.asked().len(), 1, "the mark is all that is looked at");
    assert_eq!(store.list("").await.unwrap(), [key("l")], "and no document");
    assert_eq!(count(&relay, "PutItem"), 0, "opening writes nothing");
}
