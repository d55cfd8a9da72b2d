//! The HTTP/1.1 listener: who gets a connection, what each may take of it, and how all of them end.
//!
//! hyper directly, because axum's own `serve` has no caps. HTTP/2 is left to the proxy in front,
//! which also ends TLS (docs/decisions/0006). Who has to wait and who gives way is `table`'s
//! decision, times are `link`'s, and stopping goes in three stages, so that no request is lost
//! (docs/decisions/0031). Pinned by `tests/e2e/test_shutdown_and_limits.py`,
//! `test_hostile_clients.py` and `test_rolling_restarts.py`.

use super::{
    link::{Link, Step},
    request::{self, refuse},
    signals::{Signals, Stop},
    site::Site,
    stream::Stream,
    table::{NoPlace, Place, Places, Table},
};
use arc_swap::ArcSwap;
use axum::{
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, header},
};
use countersign_issuer::http::Route;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::Instant,
};

/// How long requests in flight may still take after the port was closed, beyond their own limit.
const GRACE: Duration = Duration::from_secs(5);
/// How long handshakes that have begun may take once new ones are turned away.
const SETTLE: Duration = Duration::from_millis(100);
/// How often a newcomer without a place looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Everything connections share.
pub(super) struct Server {
    site: ArcSwap<Site>,
    table: Arc<Table>,
    stopping: AtomicBool,
    epoch: Instant,
    told: Told,
}

/// What was told about connections that could not be had, each at most once a second.
#[derive(Debug, Default)]
struct Told {
    not_accepted: Seldom,
    all_busy: Seldom,
    address_busy: Seldom,
}

/// How far the server is with stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Connections are accepted.
    Serve,
    /// Those that are queued are accepted, then the port is closed. Whether handshakes that have
    /// begun are waited for.
    Close { settle: bool },
}

impl Server {
    pub(super) fn new(site: Site) -> Self {
        Self {
            site: ArcSwap::from_pointee(site),
            table: Arc::default(),
            stopping: AtomicBool::new(false),
            epoch: Instant::now(),
            told: Told::default(),
        }
    }

    /// What answers requests that begin now.
    pub(super) fn site(&self) -> Arc<Site> {
        self.site.load_full()
    }

    /// Requests that begin from now on are answered by `site`.
    pub(super) fn replace(&self, site: Site) {
        self.site.store(Arc::new(site));
    }

    /// Accepts connections in a task of its own.
    pub(super) fn open(self: &Arc<Self>, socket: TcpListener) -> Door {
        let (stage, stages) = watch::channel(Stage::Serve);
        Door {
            server: Arc::clone(self),
            stage,
            acceptor: tokio::spawn(Arc::clone(self).accept(socket, stages)),
        }
    }

    async fn accept(self: Arc<Self>, socket: TcpListener, mut stages: watch::Receiver<Stage>) {
        let settle = loop {
            tokio::select! {
                biased;
                settle = closing(&mut stages) => break settle,
                accepted = socket.accept() => self.take_or_wait(accepted, &mut stages).await,
            }
        };
        if settle && turn_away(&socket).is_ok() {
            let end = Instant::now() + SETTLE;
            while let Ok(accepted) = tokio::time::timeout_at(end, socket.accept()).await {
                self.take_or_wait(accepted, &mut stages).await;
            }
        }
        if let Err(why) = self.take_the_queue(socket) {
            tracing::warn!("connections that were not yet accepted may have been lost: {why}");
        }
    }

    /// As tightly as can be: what comes between the last look and the close is lost.
    fn take_the_queue(self: &Arc<Self>, socket: TcpListener) -> io::Result<()> {
        let socket = socket.into_std()?;
        let mut queued = Vec::new();
        loop {
            match socket.accept() {
                Ok(accepted) => queued.push(accepted),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
                Err(why) => return Err(why),
            }
        }
        drop(socket);
        for (tcp, from) in queued {
            tcp.set_nonblocking(true)?;
            let link = self.link(from.ip());
            let place = self.table.admit_anyway(&link);
            self.start(TcpStream::from_std(tcp)?, link, place);
        }
        Ok(())
    }

    async fn take_or_wait(
        self: &Arc<Self>,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        stages: &mut watch::Receiver<Stage>,
    ) {
        match accepted {
            Ok((tcp, from)) => self.take(tcp, from, stages).await,
            Err(why) => {
                // Out of file descriptors, mostly: give others time to close theirs.
                self.told.not_accepted.warn(|| format!("a connection could not be accepted: {why}"));
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    async fn take(self: &Arc<Self>, tcp: TcpStream, from: SocketAddr, stages: &mut watch::Receiver<Stage>) {
        let link = self.link(from.ip());
        loop {
            let limits = &self.site.load().limits;
            let places = Places::new(limits.connections, limits.connections_per_address);
            match self.table.admit(&link, places) {
                Ok(place) => return self.start(tcp, link, place),
                Err(NoPlace::Address) => return self.turn_down(&tcp, &link, places),
                // The next one waits in the kernel's queue.
                Err(NoPlace::All) => {}
            }
            self.told
                .all_busy
                .warn(|| format!("all {} connections of limits.connections are busy", places.all));
            tokio::select! {
                () = self.table.left() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                _ = closing(stages) => {
                    let place = self.table.admit_anyway(&link);
                    return self.start(tcp, link, place);
                }
            }
        }
    }

    fn link(&self, from: IpAddr) -> Arc<Link> {
        Arc::new(Link::new(from, self.site.load().is_proxy(from.to_canonical()), self.epoch))
    }

    fn turn_down(&self, tcp: &TcpStream, link: &Link, places: Places) {
        self.told.address_busy.warn(|| {
            format!(
                "{} has {} connections open, as many as limits.connections_per_address lets one address have; if it is \
                 a proxy, name it in server.trusted_proxies",
                link.address, places.per_address
            )
        });
        self.count(503);
        if let Some(refusal) = request::raw(503) {
            // A client that cannot even take this much at once gets nothing.
            let _ = tcp.try_write(&refusal);
        }
    }

    fn count(&self, status: u16) {
        self.site.load().issuer.metrics().responded(status);
    }

    fn start(self: &Arc<Self>, tcp: TcpStream, link: Arc<Link>, place: Place) {
        tokio::spawn(Arc::clone(self).connection(tcp, link, place));
    }

    /// One connection from its first byte to its end.
    async fn connection(self: Arc<Self>, tcp: TcpStream, link: Arc<Link>, _place: Place) {
        // Without it a small answer waits for the peer's delayed acknowledgement.
        let _ = tcp.set_nodelay(true);
        let counting = Arc::clone(&self);
        let stream = Stream::new(tcp, Arc::clone(&link), Box::new(move |status| counting.count(status)));
        let service = service_fn(|request| self.answer(&link, request));
        let mut connection = pin!(self.site().http.serve_connection(TokioIo::new(stream), service));
        let mut look = pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            let step = tokio::select! {
                biased;
                // A peer that breaks off or talks nonsense is its own business; hyper has answered
                // what it could.
                _ = connection.as_mut() => return,
                () = link.ordered() => link.obey(),
                () = look.as_mut() => link.look(&self.site.load().limits),
            };
            match step {
                Step::Look(at) => look.as_mut().reset(at),
                Step::Poll => look.as_mut().reset(Instant::now() + LOOK_AGAIN),
                Step::WindUp => {
                    connection.as_mut().graceful_shutdown();
                    look.as_mut().reset(Instant::now() + LOOK_AGAIN);
                }
                Step::Drop => return,
            }
        }
    }

    async fn answer(&self, link: &Link, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        link.begins();
        let (site, began) = (self.site(), Instant::now());
        let route = Route::of(request.uri().path(), &site.issuer.settings().issuer);
        let mut answer = pin!(site.answer(request, link.address));
        let answer = poll_fn(|cx| match link.is_late() {
            true => Poll::Ready(None),
            false => answer.as_mut().poll(cx).map(Some),
        });
        let mut response = match answer.await {
            Some(response) => response,
            None => refuse(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
        };
        if self.is_stopping() || link.is_last() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        site.issuer.metrics().answered(route, response.status().as_u16(), began.elapsed());
        link.answered();
        Ok(response)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }
}

/// The open port.
pub(super) struct Door {
    server: Arc<Server>,
    stage: watch::Sender<Stage>,
    acceptor: tokio::task::JoinHandle<()>,
}

impl Door {
    /// Stops as `stop` says. A second signal ends it at once.
    pub(super) async fn close(self, stop: Stop, drain: Duration, signals: &mut Signals) {
        let server = Arc::clone(&self.server);
        tokio::select! {
            () = self.finish(stop, drain) => {}
            _ = signals.stop() => tracing::warn!("asked to stop again: {} connections were cut off", server.table.open()),
        }
    }

    async fn finish(self, stop: Stop, drain: Duration) {
        let Self { server, stage, acceptor } = self;
        server.stopping.store(true, Relaxed);
        server.site().issuer.stops();
        let drains = stop.drains && !drain.is_zero();
        if drains {
            tracing::info!(
                "stopping: not ready from now on, and the port is closed in {drain:?} (server.drain)"
            );
            tokio::time::sleep(drain).await;
        }
        // Nobody receives it when the acceptor has ended, which then needs no telling.
        let _ = stage.send(Stage::Close { settle: drains });
        let _ = acceptor.await;
        server.table.finish();
        let patience = server.site.load().limits.request_time + GRACE;
        let empty = async {
            while server.table.open() > 0 {
                server.table.left().await;
            }
        };
        if tokio::time::timeout(patience, empty).await.is_err() {
            let open = server.table.open();
            tracing::warn!("{open} connections did not end in {} s and were cut off", patience.as_secs());
        }
    }
}

/// Ends when the port is to be closed.
async fn closing(stages: &mut watch::Receiver<Stage>) -> bool {
    let stage = stages.wait_for(|stage| *stage != Stage::Serve).await;
    // Without a sender there is nobody left to serve for.
    stage.is_ok_and(|stage| *stage == Stage::Close { settle: true })
}

/// From here on the kernel drops what opens a new connection, and lets those finish that have
/// begun: a client that tries again a moment later finds a closed port, and no connection is ever
/// made that nobody accepts.
#[cfg(target_os = "linux")]
fn turn_away(socket: &TcpListener) -> io::Result<()> {
    use socket2::SockFilter;
    // Classic BPF on the TCP header: load the byte with the flags; if SYN is set, keep 0 bytes,
    // else all.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let filter = [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(JUMP_IF_SET, 0, 1, 0x02),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    socket2::SockRef::from(socket).attach_filter(&filter)
}

#[cfg(not(target_os = "linux"))]
fn turn_away(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Warnings that could come for every connection: one a second, with how many were left out.
#[derive(Debug, Default)]
struct Seldom(std::sync::Mutex<(Option<Instant>, u64)>);

impl Seldom {
    fn warn(&self, message: impl FnOnce() -> String) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        if state.0.is_some_and(|last| now.duration_since(last) < Duration::from_secs(1)) {
            state.1 += 1;
            return;
        }
        let left_out = std::mem::take(&mut state.1);
        state.0 = Some(now);
        drop(state);
        tracing::warn!(left_out, "{}", message());
    }
}
