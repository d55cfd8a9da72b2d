//! A stand-in for KMS that answers by hand: HTTP/1.1, one answer for each request, as late as the
//! test says.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// What it says.
pub(crate) struct Answer {
    status: &'static str,
    body: String,
}

impl Answer {
    pub(crate) fn json(value: serde_json::Value) -> Self {
        Self { status: "200 OK", body: value.to_string() }
    }
}

type Answers = dyn Fn(&str, &serde_json::Value) -> Answer + Send + Sync;

#[derive(Default)]
struct Counts {
    asked: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

pub(crate) struct StandIn {
    port: u16,
    counts: Arc<Counts>,
    accepting: tokio::task::JoinHandle<()>,
    /// Each answer takes one of these; there are plenty unless the test holds them back.
    pub(crate) gate: Arc<Semaphore>,
}

impl StandIn {
    pub(crate) async fn start(
        answers: impl Fn(&str, &serde_json::Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (counts, gate) = (Arc::<Counts>::default(), Arc::new(Semaphore::new(1 << 20)));
        let answers: Arc<Answers> = Arc::new(answers);
        let (shared, opened) = (Arc::clone(&counts), Arc::clone(&gate));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answers), Arc::clone(&shared), Arc::clone(&opened)));
            }
        });
        Self { port, counts, accepting, gate }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many requests there were.
    pub(crate) fn asked(&self) -> usize {
        self.counts.asked.load(Ordering::SeqCst)
    }

    /// How many there were at once at most.
    pub(crate) fn most_at_once(&self) -> usize {
        self.counts.most.load(Ordering::SeqCst)
    }

    pub(crate) fn base64(bytes: &[u8]) -> String {
        let text = countersign_jose::base64url::encode(bytes).replace('-', "+").replace('_', "/");
        let padding = "=".repeat((4 - text.len() % 4) % 4);
        text + &padding
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, answers: Arc<Answers>, counts: Arc<Counts>, gate: Arc<Semaphore>) {
    let mut bytes = Vec::new();
    loop {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let header = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
        };
        let length: usize = header("content-length").unwrap().parse().unwrap();
        while bytes.len() < end + 4 + length {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = serde_json::from_slice(&bytes[end + 4..end + 4 + length]).unwrap();
        bytes.drain(..end + 4 + length);
        counts.asked.fetch_add(1, Ordering::SeqCst);
        let now = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most.fetch_max(now, Ordering::SeqCst);
        gate.acquire().await.unwrap().forget();
        let target = match header("x-amz-target").unwrap().as_str() {
            "trentservice.sign" => "Sign",
            "trentservice.getpublickey" => "GetPublicKey",
            "trentservice.decrypt" => "Decrypt",
            "trentservice.generatedatakey" => "GenerateDataKey",
            other => panic!("{other}"),
        };
        let Answer { status, body } = answers(target, &body);
        counts.now.fetch_sub(1, Ordering::SeqCst);
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
