//! The HTTP routes of the issuer: one file per endpoint, mounted at the issuer's path and at the root.
//!
//! The caller serves the router and tells it the peer's address (extension [`Peer`]); sizes of headers, connections
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

use crate::{Issuer, documents};
use axum::{
    Router,
    routing::{get, post},
};
use error::HttpError;
use rate::RateLimiters;
use std::{net::IpAddr, sync::Arc};

/// The address a request comes from, behind proxies that are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Whether a peer may read `/metrics`.
pub type MetricsAccess = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

#[derive(Clone)]
struct App {
    issuer: Arc<Issuer>,
    rates: Arc<RateLimiters>,
    metrics_access: MetricsAccess,
}

/// All routes of the issuer.
pub fn router(issuer: Arc<Issuer>, metrics_access: MetricsAccess) -> Router {
    let rates = Arc::new(RateLimiters::new(&issuer.settings().rates, &issuer.settings().clients));
    let path = issuer.settings().issuer.path().to_owned();
    let app = App { issuer, rates, metrics_access };

    let public = || get(public::document).options(public::preflight).fallback(method_not_allowed);
    let routes = Router::new()
        .route(documents::OPENID_CONFIGURATION, public())
        .route(documents::OAUTH_AUTHORIZATION_SERVER, public())
        .route(documents::JWKS, public())
        .route(documents::PUBLIC_KEYS, public())
        .route("/sign", post(sign::sign).fallback(method_not_allowed));
    let operations = Router::new()
        .route("/healthz", get(health::healthz).fallback(method_not_allowed))
        .route("/readyz", get(health::readyz).fallback(method_not_allowed))
        .route("/metrics", get(health::metrics).fallback(method_not_allowed));
    let mut router = routes.clone().merge(operations);
    if !path.is_empty() {
        // RFC 8414 §3.1 puts the well-known part between host and path; OpenID Connect appends it.
        let inserted = format!("{}{path}", documents::OAUTH_AUTHORIZATION_SERVER);
        router = router.nest(&path, routes).route(&inserted, public());
    }
    router.fallback(not_found).with_state(app)
}

async fn not_found() -> HttpError {
    HttpError::NotFound
}

async fn method_not_allowed() -> HttpError {
    HttpError::MethodNotAllowed
}
