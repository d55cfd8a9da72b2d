//! `/healthz` (the process runs), `/readyz` (it can mint with keys known to be current) and `/metrics` (Prometheus).

use super::{App, Peer, error::HttpError};
use axum::{
    Extension,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;

pub(super) async fn healthz() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], "ok\n").into_response()
}

pub(super) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    if app.issuer.is_ready() {
        (no_store, "ready\n").into_response()
    } else {
        let why = "not ready: no active key, or the keys in the store could not be read for too long; the log has the reason\n";
        (StatusCode::SERVICE_UNAVAILABLE, no_store, why).into_response()
    }
}

pub(super) async fn metrics(State(app): State<Arc<App>>, Extension(peer): Extension<Peer>) -> Response {
    if !(app.metrics_access)(peer.0) {
        return HttpError::Forbidden.into_response();
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = app.issuer.metrics().encode(app.issuer.is_ready(), app.issuer.audit_log().figures());
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
