//! The HTTP routes of the issuer: one file per endpoint, mounted at the issuer's path and at the root. What the crate
//! `grants` needs to answer another route in the same way is public: bodies, credentials, rates, refusals.
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

pub use body::{is_form, read as read_body};
pub use credentials::{Credentials, basic, form_decode};
pub use error::{HttpError, error_response};
pub use metrics::Metrics;
pub use rate::{Rate, RateLimiters, RateLimits};

pub(crate) use public::Answers;

use crate::Issuer;
use axum::{
    Router,
    body::Body,
    http::{Method, Request},
    response::Response,
    routing::{get, post},
};
use std::{net::IpAddr, sync::Arc};
use tower::Service;

/// The address a request comes from, behind proxies that are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// A name for a request that is refused before it gets to a route; `None` without randomness.
pub fn request_id() -> Option<axum::http::HeaderValue> {
    crate::Ids::random().ok()?.request.try_into().ok()
}

/// Whether a peer may read `/metrics`.
pub type MetricsAccess = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

struct App {
    issuer: Arc<Issuer>,
    rates: Arc<RateLimiters>,
    metrics_access: MetricsAccess,
}

/// All routes of the issuer.
#[derive(Clone)]
pub struct Routes {
    app: Arc<App>,
    /// Where tokens are asked for: at the root, and below the issuer's path if it has one.
    sign: [Arc<str>; 2],
    router: Router,
}

/// The path of [`sign`] below the root and below the issuer's path.
const SIGN: &str = "/sign";

impl Routes {
    /// The routes of `issuer`, at its path and at the root.
    pub fn new(issuer: Arc<Issuer>, metrics_access: MetricsAccess) -> Self {
        let rates = Arc::new(RateLimiters::new(&issuer.settings().rates, &issuer.settings().clients));
        let path = issuer.settings().issuer.path().to_owned();
        let routes = Router::new().route(SIGN, post(sign::sign).fallback(method_not_allowed));
        let operations = Router::new()
            .route("/healthz", get(health::healthz).fallback(method_not_allowed))
            .route("/readyz", get(health::readyz).fallback(method_not_allowed))
            .route("/metrics", get(health::metrics).fallback(method_not_allowed));
        let mut router = routes.clone().merge(operations);
        if !path.is_empty() {
            router = router.nest(&path, routes);
        }
        let sign = [SIGN.into(), format!("{path}{SIGN}").into()];
        let app = Arc::new(App { issuer, rates, metrics_access });
        Self { router: router.fallback(not_found).with_state(Arc::clone(&app)), sign, app }
    }

    /// What other routes charge too, so that a client has one rate for all of them.
    pub fn rates(&self) -> Arc<RateLimiters> {
        Arc::clone(&self.app.rates)
    }

    /// Answers one request from `peer`. Public documents come first and straight from memory, then the request that is
    /// most frequent; a router is asked about the rest.
    pub async fn answer(&self, request: Request<Body>, peer: Peer) -> Response {
        let issuer = &self.app.issuer;
        let keys = issuer.keys();
        let is_stale = || issuer.standing().is_stale();
        let public =
            keys.answers().respond(request.method(), request.uri().path(), request.headers(), is_stale);
        drop(keys);
        match public {
            Some(response) => response,
            None if request.method() == Method::POST && self.is_sign(request.uri().path()) => {
                let (parts, body) = request.into_parts();
                sign::answer(&self.app, peer, &parts.headers, body).await
            }
            None => {
                let mut request = request;
                request.extensions_mut().insert(peer);
                let Ok(response) = self.router.clone().call(request).await;
                response
            }
        }
    }

    fn is_sign(&self, path: &str) -> bool {
        self.sign.iter().any(|sign| **sign == *path)
    }
}

async fn not_found() -> HttpError {
    HttpError::NotFound
}

async fn method_not_allowed() -> HttpError {
    HttpError::MethodNotAllowed
}
