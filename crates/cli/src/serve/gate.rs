//! `/gate`: hands requests to the gate before anything else of the server sees them.
//!
//! At the root and below the issuer's path. What the gate is told about the caller is the address
//! of the connection, never what a header says.

use axum::{body::Body, http::Response};
use countersign_gateway::forward_auth::{ForwardAuth, PATH};
use countersign_issuer::http::Metrics;
use countersign_store::Clock;
use hyper::{Request, body::Incoming};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The gate and where it is, or that nobody may ask it.
#[derive(Debug)]
pub(super) enum GateDoor {
    Open(Box<GateRoute>),
    /// There is a gate, or none, and no proxy that may ask: the path is one like any other that is
    /// not there.
    Shut {
        issuer_path: String,
        /// Whether the log has been told.
        told: AtomicBool,
    },
}

impl GateDoor {
    pub(super) fn route(&self) -> Option<&GateRoute> {
        match self {
            Self::Open(route) => Some(route),
            Self::Shut { .. } => None,
        }
    }

    /// Tells the log, once, why a request for the gate finds nothing. The caller learns no more
    /// than at any other path.
    pub(super) fn notice(&self, path: &str) {
        if let Self::Shut { issuer_path, told } = self
            && rest(path, issuer_path).is_some()
            && !told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "{PATH} was asked, and no proxy may ask it: name the proxies in [[gate.proxies]] (with [[trust]] for whose tokens they bring)"
            );
        }
    }
}

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

    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        rest(path, &self.issuer_path)
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

/// What of a path follows `/gate`, at the root or below the issuer's path, if it begins so.
fn rest<'p>(path: &'p str, issuer_path: &str) -> Option<&'p str> {
    let below =
        |path: &'p str| path.strip_prefix(PATH).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    below(path).or_else(|| below(path.strip_prefix(issuer_path)?))
}
