//! The HTTP/1.1 listener: caps on connections, headers, URLs and time around the issuer's routes.
//!
//! hyper directly, because axum's own `serve` has no such caps. HTTP/2 is left to the proxy in front, which also ends
//! TLS (docs/decisions/0006).

use super::{gate::GateRoute, peer};
use crate::config::Limits;
use axum::{
    body::Body,
    http::{Request, Response, StatusCode, header},
    response::IntoResponse,
};
use countersign_issuer::{
    Issuer,
    http::{Peer, Routes},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use ipnet::IpNet;
use std::{convert::Infallible, future::Future, net::IpAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};

/// How long requests in flight may still take after the program was asked to stop, beyond their own limit.
const GRACE: Duration = Duration::from_secs(5);

/// Settings of the listener.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) limits: Limits,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) metrics_allow: Vec<IpNet>,
    pub(super) gate: Option<GateRoute>,
}

impl Listener {
    /// Serves until `stop` ends, then finishes what is in flight.
    pub(super) async fn run(
        self,
        socket: TcpListener,
        routes: Routes,
        issuer: Arc<Issuer>,
        stop: impl Future<Output = ()>,
    ) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.limits.request_time)
            .max_buf_size(self.limits.header_bytes)
            .max_headers(100);
        let connections = Arc::new(Semaphore::new(self.limits.connections));
        let graceful = GracefulShutdown::new();
        let listener = Arc::new(self);
        let mut stop = std::pin::pin!(stop);
        loop {
            // Taken before accepting: connections above the limit wait in the kernel's queue.
            let permit = tokio::select! {
                permit = Arc::clone(&connections).acquire_owned() => permit,
                () = &mut stop => break,
            };
            let Ok(permit) = permit else { break };
            let (stream, from) = tokio::select! {
                accepted = socket.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(why) => {
                        // Out of file descriptors, mostly: give others time to close theirs.
                        tracing::warn!("a connection could not be accepted: {why}");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
                () = &mut stop => break,
            };
            // Without it a small answer waits for the peer's delayed acknowledgement.
            let _ = stream.set_nodelay(true);
            let (listener, routes, issuer) = (Arc::clone(&listener), routes.clone(), Arc::clone(&issuer));
            let service = service_fn(move |request| {
                let (listener, routes, issuer) = (Arc::clone(&listener), routes.clone(), Arc::clone(&issuer));
                async move { listener.answer(request, from.ip(), routes, &issuer).await }
            });
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                // A peer that breaks off or talks nonsense is its own business; hyper has answered what it could.
                let _ = connection.await;
                drop(permit);
            });
        }
        drop(socket);
        let patience = listener.limits.request_time + GRACE;
        if tokio::time::timeout(patience, graceful.shutdown()).await.is_err() {
            tracing::warn!("some connections did not end in {} s and were cut off", patience.as_secs());
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: IpAddr,
        mut routes: Routes,
        issuer: &Issuer,
    ) -> Result<Response<Body>, Infallible> {
        let length = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        let response = if length > self.limits.url_bytes {
            refuse(StatusCode::URI_TOO_LONG, "the path and query are too long")
        } else {
            let answer = async {
                if let Some(gate) = self.gate.as_ref().filter(|gate| gate.takes(&request)) {
                    return gate.answer(request, connection, issuer.metrics()).await;
                }
                let address = peer::address(connection, request.headers(), &self.trusted_proxies);
                routes.answer(request.map(Body::new), Peer(address)).await
            };
            match tokio::time::timeout(self.limits.request_time, answer).await {
                Ok(response) => response,
                Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
            }
        };
        issuer.metrics().responded(response.status().as_u16());
        Ok(response)
    }
}

fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    let body = serde_json::json!({ "error": "invalid_request", "error_description": why });
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        // What was not read of the request would be taken for the next one.
        (header::CONNECTION, "close"),
    ];
    (status, headers, body.to_string()).into_response()
}
