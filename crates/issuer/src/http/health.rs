//! `/healthz` (the process runs), `/readyz` (it can mint with keys known to be current) and
//! `/metrics` (Prometheus).

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

/// The first line is the answer, each further one something to look at. The log says more.
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let concerns = app.issuer.concerns();
    let ready = !concerns.iter().any(|concern| concern.ends_readiness());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = if ready { "ready\n" } else { "not ready\n" }.to_owned();
    for concern in concerns {
        text.push_str(&format!("{}: {}\n", concern.code(), concern.text()));
    }
    (status, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}

pub(super) async fn metrics(State(app): State<Arc<App>>, Extension(peer): Extension<Peer>) -> Response {
    if !(app.metrics_access)(peer.0) {
        return HttpError::Forbidden.into_response();
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = app.issuer.metrics().encode(&app.issuer);
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
