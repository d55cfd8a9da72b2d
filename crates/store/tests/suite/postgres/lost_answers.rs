//! A relay between store and server that cuts the connection when the question has arrived and
//! before the answer does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use countersign_store::{Expect, Store, StoreError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{cluster, cluster::PASSWORD, key};

/// A port behind which the server is. Once `swallow` is set, the next answer is waited for,
/// dropped, and all connections cut.
async fn relay(server: u16) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let swallow = Arc::new(AtomicBool::new(false));
    let signal = Arc::clone(&swallow);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let swallow = Arc::clone(&signal);
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (mut from_server, mut to_server) = server.into_split();
                let out =
                    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut buffer = vec![0; 65536];
                while let Ok(count) = from_server.read(&mut buffer).await {
                    if count == 0 || swallow.swap(false, Ordering::SeqCst) {
                        break;
                    }
                    if to_client.write_all(buffer.get(..count).unwrap()).await.is_err() {
                        break;
                    }
                }
                out.abort();
            });
        }
    });
    (port, swallow)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_whose_answer_is_lost_is_unavailable_and_cannot_be_done_twice() {
    let database = cluster::database().await;
    let (port, swallow) = relay(database.cluster.port()).await;
    let url = format!("postgres://tester:{PASSWORD}@127.0.0.1:{port}/{}", database.name);
    let store = cluster::open(&url).await.unwrap();
    let k = key("k");
    // Once with each kind of statement prepared on the connection, so that the one answer to come
    // is the commit's.
    let first = store.put(&k, b"first", Expect::Absent, None).await.unwrap();
    let second = store.put(&k, b"second", Expect::Version(first), None).await.unwrap();

    swallow.store(true, Ordering::SeqCst);
    let lost = store.put(&k, b"third", Expect::Version(second.clone()), None).await.unwrap_err();
    assert_eq!(lost.code(), "store_unavailable", "{lost}");
    // Done or not: the same again finds that out and changes nothing.
    let again = store.put(&k, b"third", Expect::Version(second.clone()), None).await;
    assert_eq!(again, Err(StoreError::Conflict { key: k.clone() }));
    let found = store.get(&k).await.unwrap().unwrap();
    assert_eq!(found.bytes, b"third", "it was done");
    store.put(&k, b"fourth", Expect::Version(found.version.clone()), None).await.unwrap();
    // A delete that is repeated never takes away what came after.
    assert_eq!(store.delete(&k, &found.version).await, Err(StoreError::Conflict { key: k.clone() }));

    let version = store.get(&k).await.unwrap().unwrap().version;
    store.delete(&key("other"), &version).await.unwrap();
    swallow.store(true, Ordering::SeqCst);
    assert_eq!(store.delete(&k, &version).await.unwrap_err().code(), "store_unavailable");
    assert_eq!(store.get(&k).await.unwrap(), None, "it was done");
    assert_eq!(store.delete(&k, &version).await, Ok(()), "and can be asked for again");

    swallow.store(true, Ordering::SeqCst);
    let lost = store.put(&k, b"new", Expect::Absent, None).await.unwrap_err();
    assert_eq!(lost.code(), "store_unavailable");
    // Here the lost answer may have been an earlier one than the commit's: then the same again does
    // it.
    let again = store.put(&k, b"new", Expect::Absent, None).await;
    assert!(matches!(again, Ok(_) | Err(StoreError::Conflict { .. })), "{again:?}");
    assert_eq!(store.get(&k).await.unwrap().unwrap().bytes, b"new");
}

/// A caller that stops waiting leaves nothing behind that the next one could take for an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_that_are_dropped_half_way_do_not_mix_up_answers() {
    let database = cluster::database().await;
    let store = database.open().await.unwrap();
    for number in 0..20_u8 {
        store.put(&key(&format!("k/{number}")), &vec![number; 100_000], Expect::Absent, None).await.unwrap();
    }
    for round in 0..300_u64 {
        let number = u8::try_from(round % 20).unwrap();
        let name = key(&format!("k/{number}"));
        if let Ok(found) = tokio::time::timeout(Duration::from_micros(round * 10), store.get(&name)).await {
            assert!(found.unwrap().unwrap().bytes == vec![number; 100_000], "round {round}");
        }
    }
    assert_eq!(store.get(&key("k/7")).await.unwrap().unwrap().bytes[0], 7);
}
