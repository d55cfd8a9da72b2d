//! What is sent: how sure writes and reads are to be, how long they may take, and that values are
//! values.

use countersign_store::{Expect, Store};
use mongodb::bson::{Bson, Document, doc};

use super::{
    key,
    world::{self, Database},
};

/// The one command of a name.
async fn one(database: &Database, command: &str) -> Document {
    let mut seen = database.seen(command).await;
    assert_eq!(seen.len(), 1, "{command}: {seen:?}");
    seen.remove(0)
}

#[tokio::test]
async fn writes_are_in_the_journals_of_a_majority_and_numbered_and_reads_are_linearizable() {
    let database = Database::new().await;
    let store = database.open().await.unwrap();
    let sure = Bson::from(doc! { "w": "majority", "wtimeout": 120_000, "j": true });

    let made = one(&database, "createIndexes").await;
    assert_eq!(made.get("writeConcern"), Some(&sure));
    let index =
        doc! { "key": { "expires_at": 1 }, "name": "countersign_documents_v1", "expireAfterSeconds": 3600 };
    let index_made = made.get_array("indexes").unwrap()[0].as_document().unwrap().clone();
    assert_eq!(index_made.len(), index.len(), "{index_made}");
    assert!(index.keys().all(|name| same(&index_made[name], &index[name])), "{index_made}");

    let version = store.put(&key("k"), b"1", Expect::Absent, None).await.unwrap();
    let put = one(&database, "update").await;
    assert_eq!(put.get("writeConcern"), Some(&sure));
    assert!(put.contains_key("txnNumber") && put.contains_key("lsid"), "{put}");

    let before = database.seen("find").await.len();
    store.get(&key("k")).await.unwrap();
    let get = database.seen("find").await.remove(before);
    assert_eq!(get.get_document("readConcern").unwrap().get_str("level").unwrap(), "linearizable");
    assert_eq!(get.get("filter"), Some(&Bson::from(doc! { "_id": "k" })), "by its name alone");
    assert!(same(&get["maxTimeMS"], &Bson::Int32(120_000)), "{get}");
    if let Ok(wish) = get.get_document("$readPreference") {
        assert!(wish.get_str("mode").unwrap().starts_with("primary"), "{wish}");
    }

    store.list("k").await.unwrap();
    let list = database.seen("find").await.remove(before + 1);
    assert_eq!(list.get_document("readConcern").unwrap().get_str("level").unwrap(), "majority");

    store.delete(&key("k"), &version).await.unwrap();
    assert_eq!(one(&database, "delete").await.get("writeConcern"), Some(&sure));
}

#[tokio::test]
async fn a_url_may_ask_for_majority_reads_where_a_server_has_no_others() {
    let database = Database::new().await;
    let store = world::open(&database.url("&readConcernLevel=majority&retryWrites=false")).await.unwrap();
    store.put(&key("k"), b"1", Expect::Absent, None).await.unwrap();
    assert!(!one(&database, "update").await.contains_key("txnNumber"));
    store.get(&key("k")).await.unwrap();
    let get = database.seen("find").await.pop().unwrap();
    assert_eq!(get.get_document("readConcern").unwrap().get_str("level").unwrap(), "majority");
}

/// The suite's hostile keys are refused before; these go as far as the wire.
#[tokio::test]
async fn keys_and_versions_are_texts_and_never_operators() {
    let database = Database::new().await;
    let store = database.open().await.unwrap();
    let version = countersign_store::Version::from_engine("{\"$ne\": null}");
    store.put(&key("k"), b"1", Expect::Absent, None).await.unwrap();
    let k = key("...=~-/_id");
    assert!(store.put(&k, b"x", Expect::Version(version.clone()), None).await.is_err());
    store.delete(&k, &version).await.unwrap();
    let delete = one(&database, "delete").await;
    let filter = delete.get_array("deletes").unwrap()[0].as_document().unwrap().get_document("q").unwrap();
    assert_eq!(filter, &doc! { "_id": "...=~-/_id", "version": "{\"$ne\": null}" });
    assert_eq!(store.list("").await.unwrap(), [key("k")], "nothing was changed");
}

/// Numbers come back as one or the other kind.
fn same(one: &Bson, other: &Bson) -> bool {
    let number = |value: &Bson| value.as_i64().or_else(|| value.as_i32().map(i64::from));
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        _ => match (one, other) {
            (Bson::Document(one), Bson::Document(other)) => {
                one.iter().zip(other).all(|((a, x), (b, y))| a == b && same(x, y))
            }
            _ => one == other,
        },
    }
}
