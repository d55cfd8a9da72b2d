//! The HTTP routes of the issuer: one file per endpoint, mounted at the issuer's path and at the
//! root. What the crate `grants` needs to answer another route in the same way is public: bodies,
//! credentials, rates, refusals.
//!
//! The caller serves [`Routes`] and tells it the peer's address; sizes of headers, connections and
//! times are the listener's business. Nothing here reads `Host` or `X-Forwarded-*` to make a URL.

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
pub use error::{HttpError, UNPREPARED, error_response};
pub use metrics::{Metrics, RingPlan, Route, StoreOperation, StoreTimes};
pub use rate::{Rate, RateLimiters, RateLimits};

pub(crate) use public::Answers;

use crate::{Issuer, upload::UPLOAD_PROFILE};
use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Method, Request, header},
    response::{IntoResponse, Response},
    routing::{any, get},
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
    /// Where tokens for uploads are, if there is such a profile.
    uploads: Option<[Arc<str>; 2]>,
    router: Router,
}

/// The path of [`sign`] below the root and below the issuer's path.
const SIGN: &str = "/sign";

/// The same for uploads.
const UPLOADS: &str = "/uploads";

/// Where discovery says that people sign in, because its readers demand such a place.
pub(crate) const AUTHORIZE: &str = "/authorize";

impl Routes {
    /// The routes of `issuer`, at its path and at the root.
    pub fn new(issuer: Arc<Issuer>, metrics_access: MetricsAccess) -> Self {
        let rates = Arc::new(RateLimiters::new(&issuer.settings().rates, &issuer.settings().clients));
        let path = issuer.settings().issuer.path().to_owned();
        let mut routes = Router::new()
            .route(SIGN, any(post_only))
            .route(AUTHORIZE, get(no_login).fallback(method_not_allowed));
        let has_uploads = issuer.profile(UPLOAD_PROFILE).is_some();
        if has_uploads {
            routes = routes.route(UPLOADS, any(post_only));
        }
        let operations = Router::new()
            .route("/healthz", get(health::healthz).fallback(method_not_allowed))
            .route("/readyz", get(health::readyz).fallback(method_not_allowed))
            .route("/metrics", get(health::metrics).fallback(method_not_allowed));
        let mut router = routes.clone().merge(operations);
        if !path.is_empty() {
            router = router.nest(&path, routes);
        }
        let at = |name: &str| [name.into(), format!("{path}{name}").into()];
        let (sign, uploads) = (at(SIGN), has_uploads.then(|| at(UPLOADS)));
        let app = Arc::new(App { issuer, rates, metrics_access });
        Self { router: router.fallback(not_found).with_state(Arc::clone(&app)), sign, uploads, app }
    }

    /// What other routes charge too, so that a client has one rate for all of them.
    pub fn rates(&self) -> Arc<RateLimiters> {
        Arc::clone(&self.app.rates)
    }

    /// Answers one request from `peer`. Public documents come first and straight from memory, then
    /// the request that is most frequent; a router is asked about the rest.
    pub async fn answer(&self, request: Request<Body>, peer: Peer) -> Response {
        let issuer = &self.app.issuer;
        let keys = issuer.keys();
        let is_stale = || issuer.standing().is_stale();
        let public =
            keys.answers().respond(request.method(), request.uri().path(), request.headers(), is_stale);
        drop(keys);
        match public {
            Some(response) => response,
            None => {
                let wanted = self.wanted(request.uri().path()).filter(|_| request.method() == Method::POST);
                if let Some(wanted) = wanted {
                    let (parts, body) = request.into_parts();
                    return sign::answer(&self.app, peer, &parts.headers, body, wanted).await;
                }
                let mut request = request;
                request.extensions_mut().insert(peer);
                let Ok(response) = self.router.clone().call(request).await;
                response
            }
        }
    }

    fn wanted(&self, path: &str) -> Option<sign::Wanted> {
        let is = |paths: &[Arc<str>; 2]| paths.iter().any(|known| **known == *path);
        if is(&self.sign) {
            return Some(sign::Wanted::Token);
        }
        self.uploads.as_ref().is_some_and(is).then_some(sign::Wanted::Upload)
    }
}

/// The same to everyone: nothing of the request is read, and nobody is redirected (RFC 6749
/// §4.1.2.1).
async fn no_login() -> HttpError {
    HttpError::NoLogin
}

async fn not_found() -> HttpError {
    HttpError::NotFound
}

async fn method_not_allowed() -> HttpError {
    HttpError::MethodNotAllowed
}

/// Where tokens are asked for; a `POST` does not come to the router.
async fn post_only() -> Response {
    let mut response = HttpError::MethodNotAllowed.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}
