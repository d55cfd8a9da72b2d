//! What answers requests, as one configuration says: issuer, gate, limits, trusted proxies.
//! Replaced whole by a reload.
//!
//! A request takes the site it begins with and finishes with it. Nothing here changes; the DPoP
//! proofs that the gate has taken are handed on to the next one.

use super::{
    endpoints::Endpoints,
    gate::GateDoor,
    peer::{self, Origin, contains},
    request::{objection, refuse},
};
use crate::config::Limits;
use axum::{
    body::Body,
    http::{HeaderMap, Request, Response, StatusCode, header, uri::Authority},
};
use countersign_issuer::{Issuer, http::Peer};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::TokioTimer;
use ipnet::IpNet;
use std::{net::IpAddr, sync::Arc};

const METRICS: &str = "/metrics";

/// One configuration at work.
pub(super) struct Site {
    pub(super) issuer: Arc<Issuer>,
    pub(super) endpoints: Endpoints,
    pub(super) gate: GateDoor,
    pub(super) limits: Limits,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) untrusted_proxies: peer::UntrustedProxies,
    pub(super) metrics_allow: Vec<IpNet>,
    pub(super) http: http1::Builder,
}

/// How connections are read. Times are `Link`'s business, so that no request costs a timer.
pub(super) fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // 100 headers at most is hyper's default, and cheaper than the same number set by hand.
    http.timer(TokioTimer::new())
        .header_read_timeout(None)
        .half_close(true)
        .max_buf_size(limits.header_bytes);
    http
}

impl Site {
    /// Takes over what the site before it has to remember.
    pub(super) fn follow(&mut self, before: &Self) {
        self.endpoints.follow(&before.endpoints);
        if let (GateDoor::Open(gate), Some(before)) = (&mut self.gate, before.gate.route()) {
            gate.forward_auth.follow(&before.forward_auth);
        }
    }

    /// Whether connections from this address carry the requests of many clients.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        contains(&self.trusted_proxies, address)
            || self.gate.route().is_some_and(|gate| gate.forward_auth.is_proxy(address))
    }

    /// Answers one request that came over a connection from `connection`.
    pub(super) async fn answer(&self, request: Request<Incoming>, connection: IpAddr) -> Response<Body> {
        if let Some(refusal) = objection(&request, &self.limits) {
            return refusal;
        }
        if let Some(gate) = self.gate.route().filter(|gate| gate.takes(&request)) {
            return gate.answer(request, connection, self.issuer.metrics()).await;
        }
        self.gate.notice(request.uri().path());
        let origin = peer::origin(connection, request.headers(), &self.trusted_proxies);
        if !origin.is_known {
            self.untrusted_proxies.notice(connection, request.headers(), &self.trusted_proxies);
        }
        if request.uri().path() == METRICS
            && let Err(why) = self.may_read_metrics(origin, request.headers())
        {
            return refuse(StatusCode::FORBIDDEN, why);
        }
        self.endpoints.answer(request.map(Body::new), Peer(origin.address)).await
    }

    /// Who the caller is must be known, and a browser must not have been led here by a name that
    /// means this machine.
    fn may_read_metrics(&self, origin: Origin, headers: &HeaderMap) -> Result<(), &'static str> {
        if !origin.is_known {
            return Err(
                "this request was handed on by a proxy that is not in server.trusted_proxies, or that does not \
                        say for whom",
            );
        }
        if !contains(&self.metrics_allow, origin.address) {
            return Err("only the addresses in server.metrics_allow may read this");
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        if origin.address.is_loopback() && !host.is_none_or(|host| self.is_own_host(host)) {
            return Err("from this machine, ask by an address, by localhost or by the issuer's host name");
        }
        Ok(())
    }

    /// A name of somebody else's that resolves to loopback is how a web page reads what only this
    /// machine may (DNS rebinding).
    fn is_own_host(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let issuer = &self.issuer.settings().issuer;
        let own = issuer.as_str().parse::<hyper::Uri>().ok();
        address.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || own.and_then(|uri| uri.host().map(|own| own.eq_ignore_ascii_case(name))).unwrap_or(false)
    }
}
