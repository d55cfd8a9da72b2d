//! Everything that is answered to anybody: the issuer's routes, and `POST /token` where a client has a grant.
//!
//! The server and the Lambda function answer with the same; what comes before (connections or
//! events, limits, the gate) is theirs.

use super::peer::contains;
use crate::authority::Authority;
use axum::{
    body::Body,
    http::{Request, Response},
};
use countersign_grants::{Grants, TokenRoute};
use countersign_issuer::{
    Issuer,
    http::{Peer, Routes},
};
use ipnet::IpNet;
use std::{net::IpAddr, sync::Arc, time::Duration};

/// What one configuration answers.
pub(super) struct Endpoints {
    routes: Routes,
    /// `POST /token`, where a client has a grant.
    token: Option<TokenRoute>,
}

impl Endpoints {
    pub(super) fn new(
        issuer: &Arc<Issuer>,
        metrics_allow: Vec<IpNet>,
        grants: Option<Grants>,
        authority: &Authority,
        skew: Duration,
    ) -> Self {
        let may_read_metrics = move |address: IpAddr| contains(&metrics_allow, address);
        let routes = Routes::new(Arc::clone(issuer), Arc::new(may_read_metrics));
        let token = grants.map(|grants| {
            TokenRoute::new(grants, Arc::clone(issuer), routes.rates(), authority.store(), skew)
        });
        Self { routes, token }
    }

    pub(super) async fn answer(&self, request: Request<Body>, peer: Peer) -> Response<Body> {
        match self.token.as_ref().filter(|token| token.takes(request.uri().path())) {
            Some(token) => token.answer(request, peer).await,
            None => self.routes.answer(request, peer).await,
        }
    }
}
