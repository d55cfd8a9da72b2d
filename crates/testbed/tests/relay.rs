//! The relay does to a connection what the test said, so that tests that use it mean something.
#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use countersign_testbed::{Relay, ministack};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

const QUESTION: &[u8] = b"GET /_ministack/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

async fn ask(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _ = stream.write_all(QUESTION).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn answers_pass_are_lost_made_up_and_refused() {
    let relay = Relay::to_http(ministack().port()).await;
    assert!(ask(relay.port()).await.starts_with("HTTP/1.1 200"));
    relay.lose_answers(1);
    assert_eq!(ask(relay.port()).await, "");
    assert!(ask(relay.port()).await.starts_with("HTTP/1.1 200"), "one only");
    relay.answer(1, "503 Slow Down", &[("x-reason", "test")], "busy");
    let answer = ask(relay.port()).await;
    assert!(answer.starts_with("HTTP/1.1 503 Slow Down\r\nx-reason: test\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nbusy"), "{answer}");
    assert!(ask(relay.port()).await.starts_with("HTTP/1.1 200"), "one only");
    relay.refuse();
    assert_eq!(ask(relay.port()).await, "");
    relay.freeze();
    assert!(timeout(Duration::from_millis(300), ask(relay.port())).await.is_err(), "no answer, no end");
    relay.pass();
    assert!(ask(relay.port()).await.starts_with("HTTP/1.1 200"));
    relay.lose_answers_from("PUT ", 1);
    assert!(ask(relay.port()).await.starts_with("HTTP/1.1 200"), "not a PUT");
    relay.lose_answers_from("GET ", 1);
    assert_eq!(ask(relay.port()).await, "");
    assert!(ask(relay.port()).await.starts_with("HTTP/1.1 200"), "one only");
    relay.freeze_after("GET ");
    for _ in 0..2 {
        assert!(timeout(Duration::from_millis(300), ask(relay.port())).await.is_err(), "no answer, no end");
    }
    relay.pass();
    let asked = relay.asked();
    assert!(
        asked.len() >= 9 && asked.iter().all(|asked| asked.head.starts_with("GET /_ministack/health")),
        "{asked:?}"
    );
}
