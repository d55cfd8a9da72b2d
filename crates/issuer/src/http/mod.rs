//! The HTTP routes of the issuer: one file per endpoint, mounted at the issuer's path and at the root.
//!
//! The caller serves [`Routes`] and tells it the peer's address; sizes of headers, connections
//! and times are the listener's business. Nothing here reads `Host` or `X-Forwarded-*` to make a URL.

mod body;
mod credentials;
mod error;
mod health;
mod metrics;
mod public;
mod rate;
mod sign;

pub use metrics::Metrics;
pub use rate::{Rate, RateLimits};

pub(crate) use public::Answers;

use crate::Issuer;
use axum::{
    Router,
    body::Body,
    http::Request,
    response::Response,
    routing::{get, post},
};
use error::HttpError;
use rate::RateLimiters;
use std::{net::IpAddr, sync::Arc};
use tower::Service;

/// The address a request comes from, behind proxies that are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// A name for a request that is refused before it gets to a route; `None` without randomness.
pub fn request_id() -> Option<axum::http::HeaderValue> {
    crate::mint::random_id().ok()?.try_into().ok()
}

/// Whether a peer may read `/metrics`.
pub type MetricsAccess = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

struct App {
    issuer: Arc<Issuer>,
    rates: RateLimiters,
    metrics_access: MetricsAccess,
}

/// All routes of the issuer.
#[derive(Clone)]
pub struct Routes {
    issuer: Arc<Issuer>,
    router: Router,
}

impl Routes {
    /// The routes of `issuer`, at its path and at the root.
    pub fn new(issuer: Arc<Issuer>, metrics_access: MetricsAccess) -> Self {
        let rates = RateLimiters::new(&issuer.settings().rates, &issuer.settings().clients);
        let path = issuer.settings().issuer.path().to_owned();
        let routes = Router::new().route("/sign", post(sign::sign).fallback(method_not_allowed));
        let operations = Router::new()
            .route("/healthz", get(health::healthz).fallback(method_not_allowed))
            .route("/readyz", get(health::readyz).fallback(method_not_allowed))
            .route("/metrics", get(health::metrics).fallback(method_not_allowed));
        let mut router = routes.clone().merge(operations);
        if !path.is_empty() {
            router = router.nest(&path, routes);
        }
        let app = Arc::new(App { issuer: Arc::clone(&issuer), rates, metrics_access });
        Self { issuer, router: router.fallback(not_found).with_state(app) }
    }

    /// Answers one request from `peer`. Public documents come first and straight from memory.
    pub async fn answer(&mut self, request: Request<Body>, peer: Peer) -> Response {
        let keys = self.issuer.keys();
        let is_stale = || self.issuer.standing().is_stale();
        let public =
            keys.answers().respond(request.method(), request.uri().path(), request.headers(), is_stale);
        drop(keys);
        match public {
            Some(response) => response,
            None => {
                let mut request = request;
                request.extensions_mut().insert(peer);
                let Ok(response) = self.router.call(request).await;
                response
            }
        }
    }
}

async fn not_found() -> HttpError {
    HttpError::NotFound
}

async fn method_not_allowed() -> HttpError {
    HttpError::MethodNotAllowed
}
