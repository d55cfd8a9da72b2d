//! Collections of other programs are read as they are, in bounds, and nothing is written.

use countersign_store::{ForeignLimits, read_foreign_collection};
use mongodb::bson::doc;

use super::world::{self, Database};

const LIMITS: ForeignLimits = ForeignLimits { documents: 50, bytes: 100_000 };

#[tokio::test]
async fn documents_come_as_json_in_the_order_of_their_names() {
    let database = Database::new().await;
    let all =
        (0..50).rev().map(|number| doc! { "_id": number, "kid": format!("k-{number}"), "list": ["sign"] });
    database.collection("keys").insert_many(all).await.unwrap();
    let found = read_foreign_collection(world::config(&database.url("")), "keys", LIMITS).await.unwrap();
    assert_eq!(found.len(), 50);
    assert_eq!(found[7], "{\"_id\":7,\"kid\":\"k-7\",\"list\":[\"sign\"]}");
    assert_eq!(
        read_foreign_collection(world::config(&database.url("")), "none", LIMITS).await.unwrap(),
        [""; 0]
    );
    for command in ["update", "delete", "create", "createIndexes"] {
        assert_eq!(database.seen(command).await, [], "{command}");
    }
}

#[tokio::test]
async fn too_many_or_too_large_documents_are_refused() {
    let database = Database::real().await;
    database.collection("many").insert_many((0..51).map(|number| doc! { "_id": number })).await.unwrap();
    database.collection("large").insert_one(doc! { "x": "SECRET".repeat(20_000) }).await.unwrap();
    for collection in ["many", "large"] {
        let config = world::config(&database.url(""));
        let error = read_foreign_collection(config, collection, LIMITS).await.unwrap_err();
        world::is(&error, "store_misconfigured", "more than 50 documents or 100000 bytes");
    }
    for name in ["", "$cmd", "a\0b"] {
        let error =
            read_foreign_collection(world::config(&database.url("")), name, LIMITS).await.unwrap_err();
        world::is(&error, "store_misconfigured", "a collection has a name");
    }
}
