//! Services that speak S3 and do not keep to it: each is refused at the start, with what it does
//! wrong.
//!
//! The server here is a few lines of S3 whose honest form passes, so what is refused is the lie.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use countersign_store::{Expect, Store};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{key, open};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Takes all conditions for true.
    IgnoresConditions,
    /// Knows `If-None-Match` and not `If-Match`, as S3 itself did for some months.
    IgnoresIfMatch,
    /// Looks, and writes a moment later.
    Racy,
    /// The same, but only where something is there already.
    RacyUpdates,
    /// Takes all conditions for false.
    RefusesConditions,
    /// Has never heard of conditions, and says so.
    NotImplemented,
    /// One ETag for everything.
    OneETag,
    /// Reads from a copy that is behind.
    StaleReads,
    /// Heed conditions while several write, and not afterwards.
    ForgetsIfNoneMatch,
    ForgetsIfMatch,
}

struct Object {
    etag: String,
    content: Vec<u8>,
}

#[derive(Default)]
struct Shelf {
    objects: HashMap<String, Vec<Object>>,
    written: u32,
    /// How many have found a condition to hold; for those who look too early.
    looked: u32,
    /// How many were refused in a race of eight; for those who then forget.
    refused: u32,
}

pub(crate) async fn serve(manner: Manner) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shelf = Arc::new(Mutex::new(Shelf::default()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, manner, Arc::clone(&shelf)));
        }
    });
    port
}

async fn connection(mut stream: TcpStream, manner: Manner, shelf: Arc<Mutex<Shelf>>) {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        let mut buffer = [0; 4096];
        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
        bytes.extend_from_slice(buffer.get(..count).unwrap());
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
            let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            break (head, length);
        }
    };
    while bytes.len() < length {
        let mut buffer = [0; 4096];
        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
        bytes.extend_from_slice(buffer.get(..count).unwrap());
    }
    let (status, etag, content) = answer(&head, bytes, manner, &shelf).await;
    let answer = format!(
        "HTTP/1.1 {status}\r\netag: {etag}\r\nlast-modified: Wed, 01 Jan 2025 00:00:00 GMT\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        content.len()
    );
    let _ = stream.write_all(&[answer.as_bytes(), &content].concat()).await;
}

/// Puts an object past the store.
pub(crate) async fn put(port: u16, path: &str, content: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!("PUT /{path} HTTP/1.1\r\ncontent-length: {}\r\n\r\n", content.len());
    stream.write_all(&[head.as_bytes(), content].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

async fn answer(
    head: &str,
    content: Vec<u8>,
    manner: Manner,
    shelf: &Mutex<Shelf>,
) -> (&'static str, String, Vec<u8>) {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap().to_owned());
    match method {
        "PUT" => {
            let (if_none_match, if_match) = (header(head, "if-none-match"), header(head, "if-match"));
            if manner == Manner::NotImplemented && if_none_match.or(if_match).is_some() {
                return (
                    "501 Not Implemented",
                    String::new(),
                    b"<Error><Code>NotImplemented</Code></Error>".to_vec(),
                );
            }
            let forgets = match manner {
                Manner::ForgetsIfNoneMatch => if_none_match.is_some(),
                Manner::ForgetsIfMatch => if_match.is_some(),
                _ => false,
            };
            let holds = |shelf: &Shelf| {
                let there = shelf.objects.get(&path).and_then(|states| states.last());
                match (if_none_match, if_match) {
                    (None, None) => true,
                    _ if manner == Manner::IgnoresConditions => true,
                    _ if manner == Manner::RefusesConditions => false,
                    (Some(_), _) => there.is_none(),
                    _ if manner == Manner::IgnoresIfMatch => true,
                    (_, Some(etag)) => there.is_some_and(|there| there.etag == etag),
                }
            };
            let write = |shelf: &mut Shelf| {
                shelf.written += 1;
                let number = if manner == Manner::OneETag { 0 } else { shelf.written };
                let etag = format!("\"{number}\"");
                shelf.objects.entry(path.clone()).or_default().push(Object { etag: etag.clone(), content });
                ("200 OK", etag, Vec::new())
            };
            let failed = ("412 Precondition Failed", String::new(), Vec::new());
            let racy = manner == Manner::Racy || manner == Manner::RacyUpdates && if_match.is_some();
            if racy {
                if !holds(&shelf.lock().unwrap()) {
                    return failed;
                }
                // Until another has looked too.
                let looked = |change: u32| {
                    let mut shelf = shelf.lock().unwrap();
                    shelf.looked += change;
                    shelf.looked
                };
                looked(1);
                for _ in 0..200 {
                    if looked(0) > 1 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                return write(&mut shelf.lock().unwrap());
            }
            let mut shelf = shelf.lock().unwrap();
            if holds(&shelf) || forgets && shelf.refused >= 7 {
                write(&mut shelf)
            } else {
                shelf.refused += u32::from(forgets);
                failed
            }
        }
        "GET" if path.contains("list-type=2") => {
            let nothing = b"<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
            ("200 OK", String::new(), nothing.to_vec())
        }
        "GET" => {
            let shelf = shelf.lock().unwrap();
            let states = shelf.objects.get(&path).map_or(&[][..], Vec::as_slice);
            let behind = usize::from(manner == Manner::StaleReads && states.len() > 1);
            match states.len().checked_sub(1 + behind).and_then(|index| states.get(index)) {
                Some(object) => ("200 OK", object.etag.clone(), object.content.clone()),
                None => ("404 Not Found", String::new(), b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
            }
        }
        "DELETE" => {
            shelf.lock().unwrap().objects.remove(&path);
            ("204 No Content", String::new(), Vec::new())
        }
        _ => ("405 Method Not Allowed", String::new(), Vec::new()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_honest_service_is_taken() {
    let store = open("bucket", "p", serve(Manner::Honest).await).await.unwrap();
    let version = store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().version, version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn services_that_lose_documents_are_refused_with_what_they_do() {
    for (manner, says) in [
        (Manner::IgnoresConditions, "this service ignores `If-None-Match`"),
        (Manner::IgnoresIfMatch, "this service ignores `If-Match`"),
        (Manner::Racy, "heeds `If-None-Match` only when nobody else writes: of 8 writers at once"),
        (Manner::RacyUpdates, "heeds `If-Match` only when nobody else writes: of 8 writers at once"),
        (Manner::RefusesConditions, "refuses `If-None-Match` even where it holds"),
        (Manner::NotImplemented, "cannot do what is needed (NotImplemented)"),
        (Manner::OneETag, "this service ignores `If-Match`"),
        (Manner::ForgetsIfNoneMatch, "this service ignores `If-None-Match`"),
        (Manner::ForgetsIfMatch, "this service ignores `If-Match`"),
        (Manner::StaleReads, "does not read back what was written last"),
    ] {
        let error = open("bucket", "p", serve(manner).await).await.map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "store_misconfigured", "{manner:?}: {error}");
        assert!(error.to_string().contains(says), "{manner:?}: {error}");
        assert!(!error.to_string().contains("SECRET"), "{manner:?}: {error}");
    }
}
