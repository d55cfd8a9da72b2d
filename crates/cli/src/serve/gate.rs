//! `/gate`: hands requests to the gate before anything else of the server sees them.
//!
//! At the root and below the issuer's path. What the gate is told about the caller is the address of the connection, never what
//! a header says.

use axum::{body::Body, http::Response};
use countersign_gateway::forward_auth::{ForwardAuth, PATH};
use countersign_issuer::http::Metrics;
use countersign_store::Clock;
use hyper::{Request, body::Incoming};
use std::{net::IpAddr, sync::Arc};

/// The gate and where it is.
#[derive(Debug)]
pub(super) struct GateRoute {
    pub(super) forward_auth: ForwardAuth,
    pub(super) clock: Arc<dyn Clock>,
    /// The issuer's path, empty for none.
    pub(super) issuer_path: String,
}

impl GateRoute {
    /// Whether a request is for the gate.
    pub(super) fn takes(&self, request: &Request<Incoming>) -> bool {
        self.rest(request.uri().path()).is_some()
    }

    /// What of a path follows `/gate`, if it begins so.
    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let below =
            |path: &'p str| path.strip_prefix(PATH).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        below(path).or_else(|| below(path.strip_prefix(&self.issuer_path)?))
    }

    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        connection: IpAddr,
        metrics: &Metrics,
    ) -> Response<Body> {
        let (parts, _) = request.into_parts();
        let rest = self.rest(parts.uri.path()).unwrap_or_default();
        let answer = self.forward_auth.answer(&parts, rest, connection, self.clock.now()).await;
        metrics.decided(answer.code);
        answer.response.map(Body::from)
    }
}
