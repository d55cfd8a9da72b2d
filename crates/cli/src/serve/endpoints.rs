//! Everything that is answered to anybody: the issuer's routes, `POST /token` where a client has a
//! grant, events of others where they are taken, and what the service behind the gate says of
//! itself (RFC 9728).
//!
//! The server and the Lambda function answer with the same; what comes before (connections or
//! events, limits, the gate) is theirs.

use super::peer::contains;
use crate::authority::Authority;
use axum::{
    body::Body,
    http::{Request, Response},
};
use countersign_gateway::Resource;
use countersign_grants::{Grants, TokenRoute};
use countersign_issuer::{
    Issuer,
    http::{Peer, Routes},
};
use countersign_webhooks::{JaasWebhook, JaasWebhookSettings};
use ipnet::IpNet;
use std::{net::IpAddr, sync::Arc};

/// What one configuration answers.
pub(super) struct Endpoints {
    routes: Routes,
    /// `POST /token`, where a client has a grant.
    token: Option<Arc<TokenRoute>>,
    /// `POST /webhooks/jaas`, where events are taken.
    webhook: Option<Arc<JaasWebhook>>,
    resource: Option<Resource>,
}

impl Endpoints {
    pub(super) fn new(
        issuer: &Arc<Issuer>,
        metrics_allow: Vec<IpNet>,
        grants: Option<Grants>,
        webhook: Option<JaasWebhookSettings>,
        authority: &Authority,
        resource: Option<Resource>,
    ) -> Self {
        let may_read_metrics = move |address: IpAddr| contains(&metrics_allow, address);
        let routes = Routes::new(Arc::clone(issuer), Arc::new(may_read_metrics));
        let token = grants.map(|grants| {
            let (rates, keyring) = (routes.rates(), authority.keyring.clone());
            Arc::new(TokenRoute::new(grants, Arc::clone(issuer), rates, authority.store(), keyring))
        });
        let webhook = webhook.map(|settings| {
            Arc::new(JaasWebhook::new(settings, Arc::clone(issuer), routes.rates(), authority.store()))
        });
        Self { routes, token, webhook, resource }
    }

    /// Takes over the state that the endpoints of the previous configuration keep in memory.
    pub(super) fn follow(&mut self, before: &Self) {
        // Nothing else holds the route before its first request.
        if let (Some(token), Some(before)) = (self.token.as_mut().and_then(Arc::get_mut), &before.token) {
            token.follow(before);
        }
    }

    pub(super) async fn answer(&self, request: Request<Body>, peer: Peer) -> Response<Body> {
        if let Some(resource) = self.resource.as_ref().filter(|resource| resource.is_at(request.uri().path()))
        {
            return resource.answer(request.method()).map(Body::from);
        }
        if let Some(webhook) = self.webhook.as_ref().filter(|webhook| webhook.takes(request.uri().path())) {
            return webhook.answer(request, peer).await;
        }
        match self.token.as_ref().filter(|token| token.takes(request.uri().path())) {
            Some(token) => token.answer(request, peer).await,
            None => self.routes.answer(request, peer).await,
        }
    }
}
