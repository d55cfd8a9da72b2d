//! `Relay`: a port that leads to a server, until the test says otherwise.
//!
//! Works on bytes, so it stands in front of any protocol; made-up answers and the list of requests
//! are for HTTP/1.1 with `Content-Length` ([`Relay::to_http`]). Modes last until the next one is
//! set; connections are held to the mode of the moment at each piece of bytes.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// What happens to the bytes.
#[derive(Debug, Clone)]
enum Mode {
    Pass,
    LoseAnswers(usize),
    /// The last byte of the next answers is missing, and their connections are cut.
    CutAnswers(usize),
    /// Once an HTTP request whose head holds this text has been passed on, what follows.
    Then {
        only: Arc<str>,
        next: Box<Mode>,
    },
    Freeze,
    Refuse,
    /// `only`: requests whose head holds this text; the others pass.
    Answer {
        bytes: Arc<[u8]>,
        times: usize,
        only: Arc<str>,
    },
}

/// An HTTP request that came by.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Request line and headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    http: bool,
    asked: Vec<Asked>,
}

/// A port in front of a server.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    state: Arc<Mutex<State>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Listens on a free port and passes everything on to `server` of 127.0.0.1.
    pub async fn to(server: u16) -> Self {
        Self::start(server, false).await
    }

    /// The same for a server that speaks HTTP/1.1: it can be answered for, and what it is asked is
    /// written down.
    pub async fn to_http(server: u16) -> Self {
        Self::start(server, true).await
    }

    async fn start(server: u16, http: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { mode: Mode::Pass, http, asked: Vec::new() }));
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if matches!(shared.lock().unwrap().mode, Mode::Refuse) {
                    continue;
                }
                tokio::spawn(connection(client, server, Arc::clone(&shared)));
            }
        });
        Self { port, state, accepting }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn set(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    /// From now on everything passes.
    pub fn pass(&self) {
        self.set(Mode::Pass);
    }

    /// The next `times` answers are waited for and dropped and their connections cut: what was
    /// asked was done.
    pub fn lose_answers(&self, times: usize) {
        self.set(Mode::LoseAnswers(times));
    }

    /// The next `times` answers come without their last byte, and their connections are cut: what
    /// was asked was done.
    pub fn cut_answers(&self, times: usize) {
        self.set(Mode::CutAnswers(times));
    }

    /// [`lose_answers`](Self::lose_answers) from the next HTTP request on whose head holds `only`.
    pub fn lose_answers_from(&self, only: &str, times: usize) {
        self.set(Mode::Then { only: only.into(), next: Box::new(Mode::LoseAnswers(times)) });
    }

    /// The next HTTP request whose head holds `only` is done; its answer is dropped, and then it is
    /// as after [`freeze`](Self::freeze).
    pub fn freeze_after(&self, only: &str) {
        self.set(Mode::Then { only: only.into(), next: Box::new(Mode::Freeze) });
    }

    /// From now on nothing is passed on and nothing is answered, but connections stay open.
    pub fn freeze(&self) {
        self.set(Mode::Freeze);
    }

    /// From now on connections are cut at once: the server is away.
    pub fn refuse(&self) {
        self.set(Mode::Refuse);
    }

    /// The next `times` HTTP requests get this answer and do not reach the server. `usize::MAX`:
    /// all from now on.
    pub fn answer(&self, times: usize, status: &str, headers: &[(&str, &str)], body: &str) {
        self.answer_only("", times, status, headers, body);
    }

    /// The same for those HTTP requests whose head holds `only`; the others pass.
    pub fn answer_only(&self, only: &str, times: usize, status: &str, headers: &[(&str, &str)], body: &str) {
        self.set(Mode::Answer { bytes: made_up(status, headers, body), times, only: only.into() });
    }

    /// Every HTTP request so far, answered or not, in the order in which they were complete.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }
}

fn made_up(status: &str, headers: &[(&str, &str)], body: &str) -> Arc<[u8]> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    text.into_bytes().into()
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connection(client: TcpStream, server: u16, state: Arc<Mutex<State>>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    tokio::select! {
        () = questions(from_client, to_server, Arc::clone(&to_client), &state) => {}
        () = answers(from_server, to_client, &state) => {}
    }
}

/// Returns when the connection is to be cut.
async fn questions(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    back: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    state: &Mutex<State>,
) {
    let mut buffer = vec![0; 65536];
    let mut unfinished = Vec::new();
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let piece = buffer.get(..count).unwrap_or_default();
        let (mode, made_up, spared) = {
            let mut state = state.lock().unwrap();
            let mut complete = None;
            if state.http {
                unfinished.extend_from_slice(piece);
                while let Some((asked, length)) = request(&unfinished) {
                    let bytes: Vec<u8> = unfinished.drain(..length).collect();
                    complete = Some((asked.head.clone(), bytes));
                    state.asked.push(asked);
                }
            }
            let mode = match &state.mode {
                Mode::Then { only, next }
                    if complete.as_ref().is_some_and(|(head, _)| head.contains(&**only)) =>
                {
                    state.mode = Mode::clone(next);
                    Mode::Pass
                }
                mode => mode.clone(),
            };
            let (mut made_up, mut spared) = (None, None);
            if let Mode::Answer { bytes, times, only } = &mut state.mode
                && let Some((head, request)) = complete
            {
                if head.contains(&**only) {
                    made_up = Some(Arc::clone(bytes));
                    *times -= usize::from(*times != usize::MAX);
                    if *times == 0 {
                        state.mode = Mode::Pass;
                    }
                } else {
                    spared = Some(request);
                }
            }
            (mode, made_up, spared)
        };
        if let Some(answer) = made_up {
            let _ = back.lock().await.write_all(&answer).await;
            let _ = back.lock().await.shutdown().await;
            return;
        }
        if let Some(request) = spared
            && to.write_all(&request).await.is_err()
        {
            return;
        }
        match mode {
            Mode::Pass | Mode::Then { .. } | Mode::LoseAnswers(_) | Mode::CutAnswers(_) => {
                if to.write_all(piece).await.is_err() {
                    return;
                }
            }
            Mode::Freeze | Mode::Answer { .. } => {}
            Mode::Refuse => return,
        }
    }
}

/// Returns when the connection is to be cut.
async fn answers(mut from: OwnedReadHalf, to: Arc<tokio::sync::Mutex<OwnedWriteHalf>>, state: &Mutex<State>) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let piece = buffer.get(..count).unwrap_or_default();
        let mode = {
            let mut state = state.lock().unwrap();
            let mut mode = state.mode.clone();
            if let (Mode::CutAnswers(_), true) = (&mode, piece.ends_with(b"\r\n\r\n")) {
                // The head alone: the body is what is cut.
                mode = Mode::Pass;
            } else if let Mode::LoseAnswers(times) | Mode::CutAnswers(times) = &mut state.mode {
                *times -= 1;
                if *times == 0 {
                    state.mode = Mode::Pass;
                }
            }
            mode
        };
        match mode {
            Mode::Pass | Mode::Then { .. } | Mode::Answer { .. } => {
                if to.lock().await.write_all(piece).await.is_err() {
                    return;
                }
            }
            Mode::CutAnswers(_) => {
                let _ = to.lock().await.write_all(piece.get(..count - 1).unwrap_or_default()).await;
                return;
            }
            Mode::Freeze => {}
            Mode::LoseAnswers(_) | Mode::Refuse => return,
        }
    }
    // A server that hangs up is not heard either.
    if matches!(state.lock().unwrap().mode, Mode::Freeze) {
        std::future::pending::<()>().await;
    }
}

/// The HTTP/1.1 request at the start of `bytes`, if it is complete, and its length.
fn request(bytes: &[u8]) -> Option<(Asked, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    let lengths = head.lines().filter_map(|line| line.split_once(':'));
    let length = lengths
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.trim().parse::<usize>().ok())
        .unwrap_or(0);
    let body = bytes.get(end + 4..end + 4 + length)?.to_vec();
    Some((Asked { head, body }, end + 4 + length))
}
