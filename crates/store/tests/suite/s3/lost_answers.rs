//! A relay between store and S3 that drops answers: what was asked was done, and nobody says so.

use countersign_store::{Expect, Store, StoreError};
use countersign_testbed::{Relay, s3};

use super::{key, open};

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_known_again_and_succeeds() {
    let bucket = s3().bucket();
    let relay = Relay::to_http(s3().port()).await;
    let store = open(&bucket, "p", relay.port()).await.unwrap();
    let other = open(&bucket, "p", s3().port()).await.unwrap();
    let k = key("k");
    let mut version = None;
    for number in 0..3_u8 {
        let expect = version.clone().map_or(Expect::Absent, Expect::Version);
        relay.lose_answers_from("PUT ", 1);
        let made = store.put(&k, &[number], expect.clone(), None).await.unwrap();
        let found = other.get(&k).await.unwrap().unwrap();
        assert_eq!((found.version, found.bytes), (made.clone(), vec![number]), "said to be done, and done");
        assert_eq!(
            store.put(&k, b"again", expect, None).await,
            Err(StoreError::Conflict { key: k.clone() }),
            "and only once"
        );
        version = Some(made);
    }
    relay.lose_answers_from("PUT ", 1);
    store.delete(&k, &version.unwrap()).await.unwrap();
    assert_eq!(other.get(&k).await.unwrap(), None);
}

#[tokio::test]
async fn a_lost_write_that_another_has_replaced_is_not_called_a_conflict() {
    let bucket = s3().bucket();
    let relay = Relay::to_http(s3().port()).await;
    let store = super::open_impatiently(&bucket, "p", relay.port()).await.unwrap();
    let other = open(&bucket, "p", s3().port()).await.unwrap();
    let k = key("k");
    let first = other.put(&k, b"first", Expect::Absent, None).await.unwrap();
    relay.freeze_after("PUT ");
    let (lost, ()) = tokio::join!(store.put(&k, b"lost", Expect::Version(first.clone()), None), async {
        // As soon as it is there, and before its author looks.
        loop {
            let found = other.get(&k).await.unwrap().unwrap();
            if found.version != first {
                other.put(&k, b"third", Expect::Version(found.version), None).await.unwrap();
                return relay.pass();
            }
        }
    });
    let error = lost.unwrap_err();
    assert_eq!(error.code(), "store_unavailable", "it may have taken effect, and did: {error}");
    assert!(error.to_string().contains("read again"), "{error}");
}
