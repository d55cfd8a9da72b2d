//! A key server on loopback that replies exactly as told, well or badly, and counts who asked for
//! what.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::sleep,
};

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// The same, after a while.
    Late(Duration, Vec<u8>),
    /// The same, once the test gives a permit.
    Held(Arc<Semaphore>, Vec<u8>),
    /// Sends one byte every 50 ms.
    Drip(Vec<u8>),
    /// A good head, then spaces without end.
    Endless,
    /// Nothing, forever.
    Silence,
}

impl Reply {
    /// A full answer with this status line, headers and body.
    pub(crate) fn new(status: &str, headers: &[&str], body: &str) -> Self {
        let mut head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
        for header in headers {
            head += header;
            head += "\r\n";
        }
        Self::Bytes(format!("{head}\r\n{body}").into_bytes())
    }

    pub(crate) fn json(body: &str) -> Self {
        Self::new("200 OK", &["Content-Type: application/json"], body)
    }
}

#[derive(Default)]
struct Scene {
    replies: HashMap<String, Reply>,
    hits: HashMap<String, usize>,
}

/// A server that stops when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    scene: Arc<Mutex<Scene>>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scene = Arc::<Mutex<Scene>>::default();
        let accepting = tokio::spawn({
            let scene = scene.clone();
            async move {
                // Dropped with this task, and the connections with it.
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(answer(stream, scene.clone()));
                }
            }
        });
        Self { address, scene, accepting }
    }

    /// A server that serves this body at `/jwks`.
    pub(crate) async fn with_jwks(body: &str) -> Self {
        let server = Self::start().await;
        server.on("/jwks", Reply::json(body));
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn on(&self, path: &str, reply: Reply) {
        self.scene.lock().unwrap().replies.insert(path.into(), reply);
    }

    /// How often `path` was asked for.
    pub(crate) fn hits(&self, path: &str) -> usize {
        self.scene.lock().unwrap().hits.get(path).copied().unwrap_or(0)
    }

    /// Waits until `path` was asked for so often. What is fetched in the background comes when it
    /// comes.
    pub(crate) async fn is_asked(&self, path: &str, times: usize) {
        super::until(path, || self.hits(path) >= times).await;
    }

    /// How often anything was asked for.
    pub(crate) fn all_hits(&self) -> usize {
        self.scene.lock().unwrap().hits.values().sum()
    }
}

async fn answer(mut stream: TcpStream, scene: Arc<Mutex<Scene>>) {
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => request.extend_from_slice(&chunk[..n]),
            _ => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let reply = {
        let mut scene = scene.lock().unwrap();
        *scene.hits.entry(path.clone()).or_default() += 1;
        scene.replies.get(&path).cloned().unwrap_or_else(|| Reply::new("404 Not Found", &[], ""))
    };
    // The client may hang up at any time; that is what some tests are about.
    let _ = send(&mut stream, reply).await;
}

async fn send(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Bytes(bytes) => stream.write_all(&bytes).await?,
        Reply::Late(wait, bytes) => {
            sleep(wait).await;
            stream.write_all(&bytes).await?;
        }
        Reply::Held(permits, bytes) => {
            let _permit = permits.acquire().await;
            stream.write_all(&bytes).await?;
        }
        Reply::Drip(bytes) => {
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                sleep(Duration::from_millis(50)).await;
            }
        }
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n").await?;
            loop {
                stream.write_all(&[b' '; 16 * 1024]).await?;
            }
        }
        Reply::Silence => std::future::pending::<()>().await,
    }
    stream.shutdown().await
}
