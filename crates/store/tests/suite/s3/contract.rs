//! The S3 engine keeps the contract of every store, and what is its own about that.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use countersign_store::{Clock, Expect, Missing, S3Store, Store, StoreError, conformance};
use countersign_testbed::{Relay, S3, s3};

use super::{clock, config, get_raw, key, open, put_raw};

/// versitygw keeps an object as a file of its name: none has another below it, or a part of more
/// than 255 bytes.
const NOT_AS_FILES: [&str; 3] =
    ["keys_are_compared_byte_by_byte", "holds_the_longest_key", "lists_live_keys_in_byte_order"];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_s3_engine_conforms() {
    let bucket = s3().bucket();
    let cases = AtomicU32::new(0);
    conformance::run_except(&NOT_AS_FILES, |clock| {
        // A case for a prefix that is the beginning of another's.
        let prefix = format!("case-{}", "x".repeat(cases.fetch_add(1, Ordering::Relaxed) as usize));
        let config = config(&bucket, &prefix, s3().port());
        async move { Arc::new(S3Store::open(config, clock).await.unwrap()) as Arc<dyn Store> }
    })
    .await;
    assert!(cases.into_inner() > 20);
}

/// All of the contract, on a server that takes any name.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms_on_ministack_too() {
    let server = S3::ministack();
    let (bucket, cases) = (server.bucket(), AtomicU32::new(0));
    conformance::run(|clock| {
        let prefix = format!("case-{}", cases.fetch_add(1, Ordering::Relaxed));
        let config = config(&bucket, &prefix, server.port());
        async move { Arc::new(S3Store::open(config, clock).await.unwrap()) as Arc<dyn Store> }
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_goes_back_takes_no_key_from_a_server() {
    let bucket = s3().bucket();
    let count = AtomicU32::new(0);
    countersign_keyring::conformance::run(async || {
        let prefix = format!("p{}", count.fetch_add(1, Ordering::Relaxed));
        Arc::new(open(&bucket, &prefix, s3().port()).await.unwrap()) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn families_of_refresh_tokens_keep_their_promises() {
    let (bucket, count) = (s3().bucket(), AtomicU32::new(0));
    let figures = countersign_grants::refresh::conformance::run(20, async |clock: Arc<dyn Clock>| {
        let prefix = format!("refresh{}", count.fetch_add(1, Ordering::Relaxed));
        let open = async || {
            let config = config(&bucket, &prefix, s3().port());
            Arc::new(S3Store::open(config, Arc::clone(&clock)).await.unwrap()) as Arc<dyn Store>
        };
        [open().await, open().await]
    })
    .await;
    assert!(figures.histories == 20 && figures.uses > 500, "{figures:?}");
    println!("{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_stores_on_one_prefix_are_one() {
    let bucket = s3().bucket();
    let mut stores = Vec::new();
    for _ in 0..5 {
        stores.push(Arc::new(open(&bucket, "p", s3().port()).await.unwrap()) as Arc<dyn Store>);
    }
    conformance::run_shared(&stores).await;
}

#[tokio::test]
async fn two_prefixes_of_one_bucket_and_the_bucket_itself_are_three_stores() {
    let bucket = s3().bucket();
    let stores =
        [open(&bucket, "a", s3().port()).await.unwrap(), open(&bucket, "ab/c", s3().port()).await.unwrap()];
    for (number, store) in stores.iter().enumerate() {
        assert_eq!(store.get(&key("k")).await.unwrap(), None);
        store.put(&key("k"), &[u8::try_from(number).unwrap()], Expect::Absent, None).await.unwrap();
    }
    for (number, store) in stores.iter().enumerate() {
        assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, [u8::try_from(number).unwrap()]);
        assert_eq!(store.list("").await.unwrap(), [key("k")]);
    }
    let whole = open(&s3().bucket(), "", s3().port()).await.unwrap();
    whole.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    assert_eq!(whole.list("").await.unwrap(), [key("k")]);
}

#[tokio::test]
async fn a_store_leaves_documents_and_its_mark_and_nothing_of_the_probe() {
    let bucket = s3().bucket();
    let store = open(&bucket, "p", s3().port()).await.unwrap();
    let version = store.put(&key("k"), b"content", Expect::Absent, None).await.unwrap();
    let listed = super::config(&bucket, "", s3().port());
    let all = countersign_store::Bucket::connect(listed).await.unwrap().list("").await.unwrap();
    let names: Vec<_> = all.iter().map(|listed| listed.name.as_str()).collect();
    assert_eq!(names, ["p/!countersign", "p/k"]);
    let object = String::from_utf8(get_raw(&bucket, "p/k").await.unwrap()).unwrap();
    assert_eq!(
        object,
        format!("countersign document 1\nversion {}\nexpires never\nlength 7\n\ncontent", version.as_str())
    );
    store.delete(&key("k"), &version).await.unwrap();
    let object = String::from_utf8(get_raw(&bucket, "p/k").await.unwrap()).unwrap();
    assert!(object.ends_with("\nexpires deleted\nlength 0\n\n"), "nothing of the content is left: {object}");
}

#[tokio::test]
async fn a_store_that_has_to_be_there_is_not_begun() {
    let bucket = s3().bucket();
    let existing = async || {
        let mut config = config(&bucket, "p", s3().port());
        config.missing = Missing::Refuse;
        let clock: Arc<dyn Clock> = clock();
        S3Store::open(config, clock).await.map(|_| ())
    };
    let error = existing().await.unwrap_err();
    assert_eq!(error.code(), "store_missing");
    assert!(error.to_string().contains("there is no store"), "{error}");
    assert_eq!(get_raw(&bucket, "p/!countersign").await, None);
    open(&bucket, "p", s3().port()).await.unwrap();
    existing().await.unwrap();
}

#[tokio::test]
async fn marks_of_others_and_of_newer_versions_are_refused_and_left() {
    let bucket = s3().bucket();
    for (mark, hint) in [(&b"countersign store 2\n"[..], "newer version"), (b"mine", "not this program's")] {
        put_raw(&bucket, "p/!countersign", mark).await;
        let error = open(&bucket, "p", s3().port()).await.unwrap_err();
        assert_eq!(error.code(), "store_misconfigured");
        assert!(error.to_string().contains(hint), "{error}");
        assert_eq!(get_raw(&bucket, "p/!countersign").await.unwrap(), mark);
    }
}

#[tokio::test]
async fn objects_of_others_are_damage_that_is_named_and_never_overwritten() {
    let bucket = s3().bucket();
    let store = open(&bucket, "p", s3().port()).await.unwrap();
    let mine = store.put(&key("mine"), b"x", Expect::Absent, None).await.unwrap();
    for (name, content) in [
        ("k", &b"hello"[..]),
        ("k", b""),
        ("k", b"countersign document 2\nversion 0\n\n"),
        ("k", &[b'x'; 500_000]),
        ("not a key", b"x"),
    ] {
        put_raw(&bucket, &format!("p/{name}"), content).await;
        let error = store.list("").await.unwrap_err();
        assert_eq!(error.code(), "store_corrupt", "{error}");
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        if name != "k" {
            continue;
        }
        let version = mine.clone();
        for outcome in [
            store.get(&key("k")).await.map(|_| ()),
            store.put(&key("k"), b"x", Expect::Absent, None).await.map(|_| ()),
            store.put(&key("k"), b"x", Expect::Version(version.clone()), None).await.map(|_| ()),
            store.delete(&key("k"), &version).await,
        ] {
            assert_eq!(outcome.unwrap_err().code(), "store_corrupt");
        }
        assert_eq!(get_raw(&bucket, "p/k").await.unwrap(), content);
    }
    assert_eq!(store.get(&key("mine")).await.unwrap().unwrap().version, mine, "the others are as they were");
}

#[tokio::test]
async fn listing_goes_on_behind_the_first_thousand() {
    let bucket = s3().bucket();
    let store = Arc::new(open(&bucket, "p", s3().port()).await.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..1050 {
        let store = Arc::clone(&store);
        tasks.spawn(
            async move { store.put(&key(&format!("k/{number:04}")), b"x", Expect::Absent, None).await },
        );
        if tasks.len() >= 32 {
            tasks.join_next().await.unwrap().unwrap().unwrap();
        }
    }
    for outcome in tasks.join_all().await {
        outcome.unwrap();
    }
    let keys = store.list("k/").await.unwrap();
    assert_eq!((keys.len(), keys.first(), keys.last()), (1050, Some(&key("k/0000")), Some(&key("k/1049"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_that_open_an_empty_bucket_at_once_all_succeed_and_one_creates_the_document() {
    let bucket = s3().bucket();
    for round in 0..3 {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let bucket = bucket.clone();
            tasks.spawn(async move {
                let store = open(&bucket, &format!("round-{round}"), s3().port()).await?;
                store.put(&key("k"), b"x", Expect::Absent, None).await
            });
        }
        let (won, lost): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}: {lost:?}");
        let conflicts = lost.iter().all(|lost| matches!(lost, Err(StoreError::Conflict { .. })));
        assert!(conflicts, "round {round}: {lost:?}");
    }
}

#[tokio::test]
async fn a_document_without_content_is_corrupt() {
    let bucket = s3().bucket();
    let store = Arc::new(open(&bucket, "p", s3().port()).await.unwrap());
    conformance::run_damaged(store, async |key| {
        let name = format!("p/{key}");
        let object = get_raw(&bucket, &name).await.unwrap();
        let head = object.windows(2).position(|pair| pair == b"\n\n").unwrap() + 2;
        put_raw(&bucket, &name, &object[..head]).await;
    })
    .await;
}

/// By a request's method: what is read, and what writes.
fn methods(relay: &Relay) -> (usize, usize) {
    let asked = relay.asked();
    let reads = asked.iter().filter(|asked| asked.head.starts_with("GET ")).count();
    (reads, asked.len() - reads)
}

/// A role that may read and nothing else, and a cold start that asks nothing that is not needed.
#[tokio::test]
async fn opening_reads_the_mark_and_opening_for_reading_writes_nothing() {
    let bucket = s3().bucket();
    let relay = Relay::to_http(s3().port()).await;
    let denied = "<Error><Code>AccessDenied</Code></Error>";
    let reading = async || {
        let mut config = config(&bucket, "p", relay.port());
        config.missing = Missing::Refuse;
        S3Store::open(config, clock()).await
    };
    let store = open(&bucket, "p", relay.port()).await.unwrap();
    let version = store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();

    let before = methods(&relay);
    open(&bucket, "p", relay.port()).await.unwrap();
    assert_eq!(methods(&relay), (before.0 + 1, before.1), "one request, for the mark");
    let store = reading().await.unwrap();
    assert_eq!(methods(&relay), (before.0 + 2, before.1), "one request, for the mark");
    assert_eq!(store.list("").await.unwrap(), [key("k")]);
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().version, version);
    assert_eq!(methods(&relay).1, before.1, "nothing was written");

    // Moved along by somebody: the mark speaks of another place.
    put_raw(&bucket, "p/!countersign", b"countersign store 1\nproven https://elsewhere.example other\n")
        .await;
    relay.answer_only("PUT ", usize::MAX, "403 Forbidden", &[], denied);
    let store = reading().await.unwrap();
    assert_eq!(store.list("").await.unwrap(), [key("k")]);
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().version, version);
    assert_eq!(methods(&relay).1, before.1, "nothing was written");
    assert_eq!(
        open(&bucket, "p", relay.port()).await.unwrap_err().code(),
        "store_denied",
        "it is tried again"
    );
    let put = store.put(&key("k"), b"y", Expect::Version(version.clone()), None).await;
    assert_eq!(put.unwrap_err().code(), "store_denied");
    relay.pass();
    store.put(&key("k"), b"y", Expect::Version(version), None).await.unwrap();
    let mark = String::from_utf8(get_raw(&bucket, "p/!countersign").await.unwrap()).unwrap();
    let here = format!("\nproven {} {bucket}\n", relay.url());
    assert!(mark.contains("https://elsewhere.example other\n") && mark.ends_with(&here), "{mark}");
}

/// Copied to a service that ignores conditions, the mark moves along and does not speak for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mark_that_was_copied_does_not_vouch_for_another_service() {
    let port = super::liars::serve(super::liars::Manner::IgnoresConditions).await;
    let mark = b"countersign store 1\nproven http://127.0.0.1:1 bucket\n";
    super::liars::put(port, "bucket/p/%21countersign", mark).await;
    let error = open("bucket", "p", port).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("this service ignores `If-None-Match`"), "{error}");
    let mut config = config("bucket", "p", port);
    config.missing = Missing::Refuse;
    let store = S3Store::open(config, clock()).await.unwrap();
    assert_eq!(store.get(&key("k")).await.unwrap(), None, "reading needs no conditions");
    let error = store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap_err();
    assert!(error.to_string().contains("this service ignores `If-None-Match`"), "{error}");
}

#[tokio::test]
async fn a_prefix_with_objects_of_others_is_not_taken() {
    for (name, content) in [
        ("index.html", &b"<html>"[..]),
        ("a/b", b""),
        ("a/b", b"countersign document 1\nversion 0\n\n"),
        ("not a key", b"x"),
    ] {
        let bucket = s3().bucket();
        put_raw(&bucket, &format!("p/{name}"), content).await;
        let error = open(&bucket, "p", s3().port()).await.unwrap_err();
        assert_eq!(error.code(), "store_misconfigured", "{name}: {error}");
        assert!(error.to_string().contains(&format!("objects of another program, like {name:?}")), "{error}");
        assert_eq!(get_raw(&bucket, "p/!countersign").await, None, "{name}: no mark is left");
        assert_eq!(get_raw(&bucket, &format!("p/{name}")).await.unwrap(), content);
    }
    // Our own, without the mark: it is written again.
    let bucket = s3().bucket();
    let store = open(&bucket, "p", s3().port()).await.unwrap();
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    let object = get_raw(&bucket, "p/k").await.unwrap();
    put_raw(&bucket, "copy/k", &object).await;
    let copy = open(&bucket, "copy", s3().port()).await.unwrap();
    assert_eq!(copy.get(&key("k")).await.unwrap().unwrap().bytes, b"x");
}
