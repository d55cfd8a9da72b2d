//! S3 that is slow, throttles, refuses, is away, or has no such bucket: what is said about it, and
//! that nothing waits forever.

use std::time::Duration;

use countersign_store::{Expect, S3Config, S3Store, Store, StoreError, StoreUrl};
use countersign_testbed::{Relay, free_port, s3, until};
use tokio::time::timeout;

use super::{clock, config, credentials, key, open, shows_no_secret};

/// Far more than anything may wait, and far less than forever.
const LONG: Duration = Duration::from_secs(600);

const SLOW_DOWN: &str =
    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// What a refused signature really comes with.
const SIGNATURE: &str = "<Error><Code>SignatureDoesNotMatch</Code><Message>AKIDSECRET</Message>\
     <AWSAccessKeyId>AKIDSECRET</AWSAccessKeyId><StringToSign>SECRET</StringToSign></Error>";

async fn all(store: &S3Store) -> [Result<(), StoreError>; 4] {
    let (k, version) = (key("k"), countersign_store::Version::from_engine("v"));
    let (get, put, delete, list) = tokio::join!(
        store.get(&k),
        store.put(&k, b"x", Expect::Absent, None),
        store.delete(&k, &version),
        store.list("")
    );
    [get.map(|_| ()), put.map(|_| ()), delete, list.map(|_| ())]
}

#[tokio::test]
async fn throttling_is_waited_out_and_told_when_it_does_not_end() {
    let bucket = s3().bucket();
    let relay = Relay::to_http(s3().port()).await;
    let store = open(&bucket, "p", relay.port()).await.unwrap();
    for answer in ["503 Slow Down", "500 Internal Server Error", "429 Too Many Requests"] {
        relay.answer(2, answer, &[], SLOW_DOWN);
        let version = store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
        relay.answer(2, answer, &[], SLOW_DOWN);
        assert!(store.get(&key("k")).await.unwrap().is_some());
        relay.answer(2, answer, &[], SLOW_DOWN);
        assert_eq!(store.list("").await.unwrap().len(), 1);
        relay.answer(2, answer, &[], SLOW_DOWN);
        store.delete(&key("k"), &version).await.unwrap();
    }
    relay.answer(usize::MAX, "503 Slow Down", &[], SLOW_DOWN);
    let before = relay.asked().len();
    for outcome in timeout(LONG, all(&store)).await.expect("bounded") {
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), "store_unavailable");
        assert!(error.to_string().contains("503 (SlowDown)"), "{error}");
        shows_no_secret(&error);
    }
    assert_eq!(relay.asked().len() - before, 16, "four attempts for each of four operations");
    let error = timeout(LONG, open(&bucket, "p", relay.port())).await.expect("bounded").unwrap_err();
    assert_eq!(error.code(), "store_unavailable", "{error}");
    relay.pass();
    assert_eq!(store.get(&key("k")).await.unwrap(), None, "and it goes on");
}

#[tokio::test]
async fn a_throttled_probe_is_begun_again() {
    let bucket = s3().bucket();
    let relay = Relay::to_http(s3().port()).await;
    for times in 1..4 {
        relay.answer(times, "503 Slow Down", &[], SLOW_DOWN);
        open(&bucket, &format!("p{times}"), relay.port()).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up_and_used_again_when_it_moves() {
    let bucket = s3().bucket();
    let relay = Relay::to_http(s3().port()).await;
    let store = super::open_impatiently(&bucket, "p", relay.port()).await.unwrap();
    relay.freeze();
    for outcome in timeout(LONG, all(&store)).await.expect("bounded") {
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), "store_unavailable");
        assert!(error.to_string().contains("did not answer in time"), "{error}");
    }
    relay.pass();
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
}

#[tokio::test]
async fn a_question_that_is_never_answered_is_asked_again() {
    let bucket = s3().bucket();
    let relay = Relay::to_http(s3().port()).await;
    let store = super::open_impatiently(&bucket, "p", relay.port()).await.unwrap();
    relay.freeze();
    let before = relay.asked().len();
    let k = key("k");
    let (got, ()) = tokio::join!(store.get(&k), async {
        until("it is asked", async || relay.asked().len() > before).await;
        relay.pass();
    });
    assert_eq!(got, Ok(None));
    assert!(relay.asked().len() - before >= 2);
}

#[tokio::test]
async fn a_server_that_is_away_is_told_and_used_again_when_it_is_back() {
    let bucket = s3().bucket();
    let relay = Relay::to_http(s3().port()).await;
    let store = open(&bucket, "p", relay.port()).await.unwrap();
    relay.refuse();
    for outcome in timeout(LONG, all(&store)).await.expect("bounded") {
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), "store_unavailable", "{error}");
        shows_no_secret(&error);
    }
    relay.pass();
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    let error = timeout(LONG, open(&bucket, "p", free_port())).await.expect("bounded").unwrap_err();
    assert_eq!(error.code(), "store_unavailable");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    let bucket = s3().bucket();
    let store = open(&bucket, "p", s3().port()).await.unwrap();
    let error = open("no-such-bucket", "p", s3().port()).await.unwrap_err();
    assert_eq!(error.code(), "store_misconfigured");
    assert!(error.to_string().contains("there is no bucket `no-such-bucket`"), "{error}");
    // One that goes away later is not taken for an empty store.
    let relay = Relay::to_http(s3().port()).await;
    let late = open(&bucket, "p", relay.port()).await.unwrap();
    relay.answer(usize::MAX, "404 Not Found", &[], "<Error><Code>NoSuchBucket</Code></Error>");
    for outcome in all(&late).await {
        assert_eq!(outcome.unwrap_err().code(), "store_misconfigured");
    }
    drop(store);
}

#[tokio::test]
async fn refusals_are_told_without_what_came_with_them() {
    let bucket = s3().bucket();
    let relay = Relay::to_http(s3().port()).await;
    let store = open(&bucket, "p", relay.port()).await.unwrap();
    let denied = "<Error><Code>AccessDenied</Code><Message>User: arn:aws:sts::1:assumed-role/r is not authorized to \
                  perform: s3:PutObject</Message></Error>";
    for (answer, body, code, hint) in [
        (
            "403 Forbidden",
            denied,
            "store_denied",
            "is not authorized to perform: s3:PutObject; give this role",
        ),
        ("403 Forbidden", "", "store_denied", "S3 refuses; give this role"),
        (
            "403 Forbidden",
            SIGNATURE,
            "store_denied",
            "the AWS credentials are not accepted (SignatureDoesNotMatch)",
        ),
        ("400 Bad Request", "<Error><Code>ExpiredToken</Code></Error>", "store_denied", "renew"),
        ("403 Forbidden", "<Error><Code>RequestTimeTooSkewed</Code></Error>", "store_denied", "clock"),
        ("301 Moved Permanently", "", "store_misconfigured", "another region"),
        (
            "400 Bad Request",
            "<Error><Code>AuthorizationHeaderMalformed</Code></Error>",
            "store_misconfigured",
            "region",
        ),
        ("501 Not Implemented", "", "store_misconfigured", "cannot do what is needed"),
        ("400 Bad Request", "SECRET", "store_misconfigured", "it refuses what is asked: 400"),
    ] {
        relay.answer(usize::MAX, answer, &[], body);
        for outcome in all(&store).await {
            let error = outcome.unwrap_err();
            assert_eq!(error.code(), code, "{answer} {body}: {error}");
            assert!(error.to_string().contains(hint), "{answer} {body}: {error}");
            shows_no_secret(&error);
        }
    }
    relay.answer(usize::MAX, "200 OK", &[("etag", "\"x\"")], "<html>SECRET</html>");
    for outcome in all(&store).await.into_iter().filter_map(Result::err) {
        shows_no_secret(&outcome);
    }
}

#[tokio::test]
async fn a_role_that_may_not_remove_the_probe_is_told_at_the_start() {
    let bucket = s3().bucket();
    let relay = Relay::to_http(s3().port()).await;
    relay.answer_only(
        "DELETE ",
        usize::MAX,
        "403 Forbidden",
        &[],
        "<Error><Code>AccessDenied</Code></Error>",
    );
    let error = open(&bucket, "p", relay.port()).await.unwrap_err();
    assert_eq!(error.code(), "store_denied");
    assert!(error.to_string().contains("s3:DeleteObject"), "{error}");
}

#[tokio::test]
async fn nothing_that_is_shown_holds_a_credential() {
    let mut config = config("bucket", "p", free_port());
    config.credentials = Some(credentials(Some("SECRET-token")));
    let store = S3Store::open(config.clone(), clock()).await;
    let relay = Relay::to_http(s3().port()).await;
    let good = open(&s3().bucket(), "p", relay.port()).await.unwrap();
    let shown = format!("{config:?} {store:?} {good:?}");
    assert!(!shown.contains("SECRET"), "{shown}");
    let url = "s3://SECRET-ID:SECRET@bucket/p?endpoint=SECRET";
    let error = S3Config::parse(&StoreUrl::parse(url).unwrap()).unwrap_err();
    shows_no_secret(&error);
    // What S3 itself needs to see is what proves who asks: the secret itself never travels.
    let asked = relay.asked();
    assert!(!asked.is_empty() && asked.iter().all(|asked| !asked.head.contains(s3().secret)));
}
