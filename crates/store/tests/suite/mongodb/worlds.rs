//! Servers and collections that are not as they should be, and what is said then.

use std::time::Duration;

use countersign_store::{Expect, Store};
use countersign_testbed::Relay;
use mongodb::bson::{Document, doc};
use tokio::time::Instant;

use super::{
    key,
    world::{self, Database, is},
};

fn failure(code: i32, name: &str) -> Document {
    doc! { "ok": 0.0, "code": code, "codeName": name, "errmsg": "SECRET: { update: SECRET }" }
}

#[tokio::test]
async fn what_the_server_refuses_is_told_apart_without_its_texts() {
    let database = Database::new().await;
    let store = database.open().await.unwrap();
    for (answer, code, hint) in [
        (failure(13, "Unauthorized"), "store_denied", "readWrite"),
        (failure(18, "AuthenticationFailed"), "store_denied", "authSource"),
        (failure(8000, "AtlasError"), "store_denied", "password"),
        (failure(20, "IllegalOperation"), "store_misconfigured", "retryWrites=false"),
        (failure(59, "CommandNotFound"), "store_misconfigured", "CommandNotFound, 59"),
        (failure(115, "CommandNotSupported"), "store_misconfigured", "CommandNotSupported, 115"),
        (failure(121, "DocumentValidationFailure"), "store_misconfigured", "DocumentValidationFailure, 121"),
        (failure(148, "ReadConcernMajorityNotEnabled"), "store_misconfigured", "MongoDB 4.4 or newer"),
        (failure(166, "CommandNotSupportedOnView"), "store_misconfigured", "CommandNotSupportedOnView, 166"),
        (failure(238, "NotImplemented"), "store_misconfigured", "or a service that has it"),
        (failure(303, ""), "store_misconfigured", "error 303"),
        (failure(323, "APIStrictError"), "store_misconfigured", "APIStrictError, 323"),
        (failure(40415, "Location40415"), "store_misconfigured", "Location40415, 40415"),
        (failure(10107, "NotWritablePrimary"), "store_unavailable", "no server takes writes at the moment"),
        (failure(189, "PrimarySteppedDown"), "store_unavailable", "PrimarySteppedDown, 189"),
        (failure(50, "MaxTimeMSExpired"), "store_unavailable", "took too long"),
        (failure(14031, "OutOfDiskSpace"), "store_unavailable", "OutOfDiskSpace, 14031"),
        (failure(99999, "SECRET not a name"), "store_unavailable", "error 99999"),
    ] {
        database.plan("update", doc! { "answer": answer, "times": 2 }).await;
        let put = store.put(&key("k"), b"x", Expect::Absent, None).await;
        is(&put.unwrap_err(), code, hint);
        // What was left of the plan.
        let _ = store.put(&key("other"), b"x", Expect::Absent, None).await;
    }
    assert_eq!(store.get(&key("k")).await.unwrap(), None);
    database.plan("find", doc! { "answer": failure(123, "NotAReplicaSet") }).await;
    is(&store.get(&key("k")).await.unwrap_err(), "store_misconfigured", "stands alone");
    database.plan("find", doc! { "answer": { "ok": 1.0, "SECRET": 1 } }).await;
    is(&store.get(&key("k")).await.unwrap_err(), "store_unavailable", "does not speak as MongoDB does");
}

#[tokio::test]
async fn a_write_that_no_majority_confirmed_is_unavailable_though_it_may_have_taken_effect() {
    let database = Database::new().await;
    let store = database.open().await.unwrap();
    let unsure = doc! { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "SECRET", "errInfo": { "wtimeout": true } };
    let answer = doc! { "n": 1, "nModified": 0, "ok": 1.0, "writeConcernError": unsure.clone() };
    database.plan("update", doc! { "answer": answer, "after": true }).await;
    let put = store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap_err();
    is(
        &put,
        "store_unavailable",
        "a majority of the servers did not answer in time (WriteConcernFailed, 64)",
    );
    let never = doc! { "code": 100, "codeName": "UnsatisfiableWriteConcern", "errmsg": "SECRET" };
    let answer = doc! { "n": 1, "nModified": 0, "ok": 1.0, "writeConcernError": never };
    database.plan("update", doc! { "answer": answer }).await;
    let put = store.put(&key("other"), b"x", Expect::Absent, None).await.unwrap_err();
    is(&put, "store_misconfigured", "UnsatisfiableWriteConcern, 100");
    let found = store.get(&key("k")).await.unwrap().unwrap();
    database.plan("delete", doc! { "answer": { "n": 1, "ok": 1.0, "writeConcernError": unsure } }).await;
    is(&store.delete(&key("k"), &found.version).await.unwrap_err(), "store_unavailable", "majority");
}

#[tokio::test]
async fn a_primary_that_steps_down_in_the_middle_is_asked_again_as_its_successor() {
    let database = Database::new().await;
    let store = database.open().await.unwrap();
    let mut stepped_down = failure(189, "PrimarySteppedDown");
    stepped_down.insert("errorLabels", ["RetryableWriteError"]);
    database.plan("update", doc! { "answer": stepped_down }).await;
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
}

#[tokio::test]
async fn what_is_put_off_is_asked_again_later_each_time_and_given_up_in_the_end() {
    let database = Database::new().await;
    let store = world::open(&database.url("&retryWrites=false")).await.unwrap();
    let begun = Instant::now();
    database.plan("update", doc! { "answer": failure(16500, "TooManyRequests"), "times": 3 }).await;
    let version = store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(350), "50, 100 and 200 ms: {:?}", begun.elapsed());
    assert_eq!(database.seen("update").await.len(), 4);
    let conflict =
        doc! { "n": 0, "ok": 1.0, "writeErrors": [{ "index": 0, "code": 112, "errmsg": "SECRET" }] };
    database.plan("update", doc! { "answer": conflict, "times": 5 }).await;
    let put = store.put(&key("k"), b"y", Expect::Version(version), None).await.unwrap_err();
    is(&put, "store_unavailable", "too many requests (error 112)");
    assert_eq!(database.seen("update").await.len(), 9);
    database.plan("find", doc! { "answer": failure(16500, "TooManyRequests"), "times": 2 }).await;
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"x");
}

/// The protocol's versions of MongoDB 3.6 and 4.2, and of a server that is yet to come.
#[tokio::test]
async fn a_server_of_another_age_is_told_with_what_was_found_and_what_is_needed() {
    for (versions, hint) in [
        (["0", "6"], "too old: its newest wire version is 6, and at least 9, MongoDB 4.4 is needed"),
        (["0", "8"], "too old: its newest wire version is 8, and at least 9, MongoDB 4.4 is needed"),
        (["90", "99"], "too new: its oldest wire version is 90, and this program knows up to 29"),
    ] {
        for standalone in [&[][..], &["--standalone"]] {
            let options = [&["--wire-versions"], &versions[..], standalone].concat();
            let server = countersign_testbed::start_mongo(&options);
            let database = Database::on(server.port()).await;
            let error = world::open(&impatient(&database, server.port())).await.unwrap_err();
            is(&error, "store_misconfigured", hint);
        }
    }
}

#[tokio::test]
async fn a_collection_of_another_program_is_refused_and_left_as_it_is() {
    let database = Database::new().await;
    let bytes =
        mongodb::bson::Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes: vec![1] };
    let ours = |name: &str| doc! { "_id": name, "version": "0123456789abcdef0123456789abcdef", "bytes": bytes.clone() };
    let past = mongodb::bson::DateTime::from_millis(0);
    let with = |name: &str, value: mongodb::bson::Bson| {
        let mut document = ours("k");
        document.insert(name, value);
        document
    };
    let without = |name: &str| {
        let mut document = ours("k");
        document.remove(name);
        document
    };
    let many = |last: Document| (0..40).map(|n| ours(&format!("k/{n}"))).chain([last]).collect::<Vec<_>>();
    for (number, theirs) in [
        vec![doc! { "_id": "SECRET", "name": "SECRET" }],
        vec![doc! { "_id": "settings", "version": "3" }],
        vec![doc! { "_id": "settings", "version": "3", "expires_at": past }],
        vec![doc! { "_id": "file", "version": "3", "bytes": bytes.clone(), "expires_at": past }],
        vec![without("bytes")],
        vec![without("version")],
        vec![with("bytes", "SECRET".into())],
        vec![with("version", "SECRET".into())],
        vec![with("expires_at", 7.into())],
        vec![with("more", "SECRET".into())],
        vec![with("_id", "a//b".into())],
        many(doc! { "_id": "settings", "version": "3", "expires_at": past }),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("theirs_{number}");
        let documents = database.collection(&name);
        documents.insert_many(&theirs).await.unwrap();
        let url = database.url(&format!("&collection={name}"));
        let clock = std::sync::Arc::new(countersign_store::SystemClock);
        let existing = countersign_store::open_existing(&url, "/".as_ref(), clock).await.map(|_| ());
        for refused in [world::open(&url).await.map(|_| ()), existing] {
            is(&refused.unwrap_err(), "store_misconfigured", "documents of another program");
        }
        assert_eq!(documents.list_index_names().await.unwrap(), ["_id_"], "{theirs:?}");
        assert_eq!(documents.count_documents(doc! {}).await.unwrap(), theirs.len() as u64);
    }
    assert_eq!(database.seen("createIndexes").await, []);

    database.run(doc! { "create": "folded", "collation": { "locale": "en", "strength": 2 } }).await;
    let folded = world::open(&database.url("&collection=folded")).await;
    is(&folded.unwrap_err(), "store_misconfigured", "collation");

    let index =
        doc! { "key": { "expires_at": 1 }, "name": "countersign_documents_v2", "expireAfterSeconds": 60 };
    database.run(doc! { "createIndexes": "newer", "indexes": [index] }).await;
    let newer = world::open(&database.url("&collection=newer")).await;
    is(&newer.unwrap_err(), "store_misconfigured", "shape 2, this one knows up to 1");

    let index = doc! { "key": { "expires_at": 1 }, "name": "theirs", "expireAfterSeconds": 1 };
    database.run(doc! { "createIndexes": "indexed", "indexes": [index] }).await;
    let indexed = world::open(&database.url("&collection=indexed")).await;
    is(&indexed.unwrap_err(), "store_misconfigured", "an index on `expires_at` of another kind");
}

#[tokio::test]
async fn a_store_whose_index_was_lost_gets_it_again() {
    let database = Database::new().await;
    let store = database.open().await.unwrap();
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    let copy = database.collection("copy");
    copy.insert_one(database.documents().find_one(doc! {}).await.unwrap().unwrap()).await.unwrap();
    let store = world::open(&database.url("&collection=copy")).await.unwrap();
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"x");
    let mut indexes = copy.list_index_names().await.unwrap();
    indexes.sort();
    assert_eq!(indexes, ["_id_", "countersign_documents_v1"]);
}

/// Rights to read and write, and none to make an index.
#[tokio::test]
async fn a_user_who_may_not_make_the_collection_can_use_it_where_it_is() {
    let database = Database::new().await;
    database.plan("createIndexes", doc! { "answer": failure(13, "Unauthorized") }).await;
    is(&database.open().await.unwrap_err(), "store_denied", "readWrite");
    database.open().await.unwrap();
    database.plan("createIndexes", doc! { "answer": failure(13, "Unauthorized") }).await;
    database.open().await.unwrap();
}

fn impatient(database: &Database, port: u16) -> String {
    database.url_at(port, "&connectTimeoutMS=2000&serverSelectionTimeoutMS=3000")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_freezes_is_unavailable_within_bounds_and_used_again_when_it_thaws() {
    let database = Database::new().await;
    let relay = Relay::to(database.port).await;
    let mut config = world::config(&impatient(&database, relay.port()));
    config.operation_timeout = Duration::from_secs(2);
    let clock = std::sync::Arc::new(countersign_store::SystemClock);
    let store = countersign_store::MongoStore::open(config.clone(), clock.clone()).await.unwrap();
    let store = std::sync::Arc::new(store);
    let version = store.put(&key("k"), b"old", Expect::Absent, None).await.unwrap();

    relay.freeze();
    let start = Instant::now();
    let put = store.put(&key("k"), b"new", Expect::Version(version.clone()), None).await.unwrap_err();
    is(&put, "store_unavailable", "");
    // Ten that want to use four connections: those that get none do not wait forever either.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let store = std::sync::Arc::clone(&store);
        tasks.spawn(async move { store.get(&key("k")).await.map(|_| ()) });
    }
    for outcome in tasks.join_all().await {
        is(&outcome.unwrap_err(), "store_unavailable", "");
    }
    let fresh = countersign_store::MongoStore::open(config, clock).await.unwrap_err();
    is(&fresh, "store_unavailable", "");
    assert!(start.elapsed() < Duration::from_secs(100), "not forever: {:?}", start.elapsed());

    relay.pass();
    // The put may have arrived, and nobody saw its answer. Whichever it was, a compare-and-set
    // finds out.
    let found = again(async || store.get(&key("k")).await).await.unwrap();
    assert!(found.bytes == b"new" || found.version == version);
    store.put(&key("k"), b"newer", Expect::Version(found.version), None).await.unwrap();
}

#[tokio::test]
async fn a_server_that_goes_away_is_unavailable_and_comes_back_by_itself() {
    let database = Database::new().await;
    let relay = Relay::to(database.port).await;
    let store = world::open(&impatient(&database, relay.port())).await.unwrap();
    let version = store.put(&key("k"), b"old", Expect::Absent, None).await.unwrap();
    relay.refuse();
    for _ in 0..2 {
        is(&store.get(&key("k")).await.unwrap_err(), "store_unavailable", "look at the servers");
        let put = store.put(&key("k"), b"new", Expect::Version(version.clone()), None).await.unwrap_err();
        is(&put, "store_unavailable", "look at the servers");
    }
    relay.pass();
    assert_eq!(again(async || store.get(&key("k")).await).await.unwrap().bytes, b"old");
    store.put(&key("k"), b"new", Expect::Version(version), None).await.unwrap();
}

#[tokio::test]
async fn where_nobody_listens_and_where_something_else_does_is_said() {
    let url = |port: u16, more: &str| {
        format!("mongodb://SECRET:SECRET@127.0.0.1:{port}/db?serverSelectionTimeoutMS=700{more}")
    };
    let nobody = world::open(&url(countersign_testbed::free_port(), "")).await.unwrap_err();
    is(&nobody, "store_unavailable", "Connection refused");
    assert!(nobody.to_string().contains("mongodb://***@127.0.0.1:"), "{nobody}");
    let none =
        world::open("mongodb+srv://SECRET:SECRET@cluster.invalid/db?serverSelectionTimeoutMS=700").await;
    is(&none.unwrap_err(), "store_unavailable", "mongodb+srv://***@cluster.invalid/db");
    let other = url(countersign_testbed::mongo().port(), "&replicaSet=other").replace("SECRET:SECRET@", "");
    is(&world::open(&other).await.unwrap_err(), "store_unavailable", "no server takes writes");
    for (more, hint) in
        [("&tlsCAFile=/nowhere.pem", "/nowhere.pem"), ("&tlsCAFile=/dev/null", "no certificate in PEM")]
    {
        is(&world::open(&url(1, more)).await.unwrap_err(), "store_misconfigured", hint);
    }
}

#[tokio::test]
async fn a_login_that_fails_is_denied_and_nothing_of_it_is_shown() {
    let server = countersign_testbed::start_mongo(&["--standalone"]);
    let database = Database::on(server.port()).await;
    let url = database.url("").replace("mongodb://", "mongodb://SECRET:SECRET@");
    for more in ["", "&authMechanism=SCRAM-SHA-256", "&authMechanism=MONGODB-AWS"] {
        let error = world::open(&format!("{url}{more}")).await.unwrap_err();
        is(&error, "store_denied", "authSource and authMechanism in the store URL");
    }
}

#[tokio::test]
async fn debug_shows_where_a_store_is_and_not_as_whom() {
    let database = Database::new().await;
    let store = world::open(&database.url("&appName=SECRET")).await.unwrap();
    let shown = format!("{store:?}");
    assert!(shown.contains(&format!("mongodb://127.0.0.1:{}/{}", database.port, database.name)), "{shown}");
    assert!(!shown.contains("SECRET"), "{shown}");
}

/// What works again after a while: the driver looks at a server that was away every half second.
async fn again<T, E: std::fmt::Debug>(ask: impl AsyncFn() -> Result<T, E>) -> T {
    let mut outcome = ask().await;
    for _ in 0..100 {
        if outcome.is_ok() {
            break;
        }
        outcome = ask().await;
    }
    outcome.expect("it comes back")
}
