//! `POST /webhooks/jaas`: order, answers and records.
//!
//! Order: method, the header and its time, size of the body, signature, event, whether it was taken
//! before, delivery. A caller whose signature is not right has its address charged, as everywhere.
//! Answers: 200 for what was handed on, now or before; 401 for what is not 8x8's; 400 for what 8x8
//! has signed and is no event of this AppID, because sending it again changes nothing; 503 for
//! everything that may pass.

use crate::{
    event::Event,
    once::{Events, Known},
    signature::{Claimed, SignatureError, WebhookSecret},
    target::{AGAIN, SIGNATURE, Target},
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, Method, Request, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use countersign_issuer::{
    Ids, Issuer, RefusedRequest,
    http::{HttpError, Peer, RateLimiters, error_response, read_body},
};
use countersign_settings::log::EVENTS;
use countersign_store::Store;
use std::{sync::Arc, time::Duration};

/// Where events come in, at the root and below the issuer's path.
pub const PATH: &str = "/webhooks/jaas";

/// The longest event, in bytes.
const MAX_EVENT: usize = 256 * 1024;
/// When to send again what could not be handed on.
const PAUSE: HeaderValue = HeaderValue::from_static("60");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the configuration says.
#[derive(Debug)]
pub struct JaasWebhookSettings {
    /// Whose events.
    pub app_id: String,
    /// The secrets of the webhook.
    pub secrets: Vec<WebhookSecret>,
    /// How far the time of a signature may be from now.
    pub window: Duration,
    /// Where events are sent on to; the log if none.
    pub target: Option<Target>,
}

/// The route.
#[derive(Debug)]
pub struct JaasWebhook {
    settings: JaasWebhookSettings,
    issuer: Arc<Issuer>,
    rates: Arc<RateLimiters>,
    events: Events,
    paths: [String; 2],
}

/// Why an event is not handed on.
enum Refused {
    /// Not 8x8's.
    Stranger(SignatureError),
    /// Something about the request itself, before anybody has proved anything.
    Http(HttpError),
    /// 8x8's, and no use in sending it again.
    Useless(String),
    /// It may be taken later.
    Later(String),
}

impl From<SignatureError> for Refused {
    fn from(why: SignatureError) -> Self {
        Self::Stranger(why)
    }
}

/// What became of an event.
#[derive(Clone, Copy)]
enum Outcome {
    Delivered,
    Known,
}

impl JaasWebhook {
    /// The route of an issuer. `rates` are those of its other routes, `store` is where it is noted
    /// which events were taken.
    pub fn new(
        settings: JaasWebhookSettings,
        issuer: Arc<Issuer>,
        rates: Arc<RateLimiters>,
        store: Arc<dyn Store>,
    ) -> Self {
        // A signature is good from `window` before its time until `window` after it.
        let kept = settings.window.saturating_mul(2).saturating_add(Duration::from_secs(60));
        let paths = [PATH.to_owned(), format!("{}{PATH}", issuer.settings().issuer.path())];
        Self { settings, rates, events: Events::new(store, kept), paths, issuer }
    }

    /// Whether a request for this path is answered here.
    pub fn takes(&self, path: &str) -> bool {
        self.paths.iter().any(|own| own == path)
    }

    /// Answers one request from `peer`.
    pub async fn answer(self: &Arc<Self>, request: Request<Body>, peer: Peer) -> Response {
        let ids = match Ids::random() {
            Ok(ids) => ids,
            Err(why) => return HttpError::Mint(why).into_response(),
        };
        let (parts, body) = request.into_parts();
        let mut response = match self.take(&parts, body, &ids).await {
            Ok(Outcome::Delivered | Outcome::Known) => {
                ([(header::CACHE_CONTROL, "no-store")], StatusCode::OK).into_response()
            }
            Err(why) => self.refuse(why, peer, &ids.request),
        };
        if let Ok(id) = HeaderValue::try_from(ids.request) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    async fn take(self: &Arc<Self>, parts: &Parts, body: Body, ids: &Ids) -> Result<Outcome, Refused> {
        if parts.method != Method::POST {
            return Err(Refused::Http(HttpError::MethodNotAllowed));
        }
        let mut headers = parts.headers.get_all(SIGNATURE).iter();
        let header = match (headers.next(), headers.next()) {
            (Some(one), None) => one,
            (None, _) => return Err(SignatureError::Missing.into()),
            (Some(_), Some(_)) => return Err(SignatureError::Malformed.into()),
        };
        let claimed = Claimed::parse(header.to_str().map_err(|_| SignatureError::Malformed)?)?;
        let now = self.issuer.now();
        claimed.check_time(now, self.settings.window)?;
        let body = read_body(body, MAX_EVENT).await.map_err(Refused::Http)?;
        claimed.verify(&self.settings.secrets, &body)?;
        let event = Event::parse(&body, &self.settings.app_id);
        let event = event.map_err(|why| Refused::Useless(why.to_string()))?;
        // In a task of its own: a request that is given up (`limits.request_time`) leaves no event
        // half handed on.
        let (own, signature, request_id) = (Arc::clone(self), header.clone(), ids.request.clone());
        let handed_on =
            tokio::spawn(async move { own.hand_on(&event, &signature, &body, &request_id).await }).await;
        handed_on.unwrap_or_else(|_| Err(Refused::Later("the task that handed it on has ended".to_owned())))
    }

    async fn hand_on(
        &self,
        event: &Event,
        signature: &HeaderValue,
        body: &Bytes,
        request_id: &str,
    ) -> Result<Outcome, Refused> {
        let now = self.issuer.now();
        let taken = self.events.take(&self.settings.app_id, event.key(), now).await;
        let taken = match taken {
            Ok(Ok(taken)) => taken,
            Ok(Err(Known::Delivered)) => return Ok(Outcome::Known),
            Ok(Err(Known::BeingDelivered)) => {
                return Err(Refused::Later("the event is being handed on already".to_owned()));
            }
            Err(why) => {
                return Err(Refused::Later(format!("it cannot be known whether the event was taken: {why}")));
            }
        };
        if let Err(why) = self.deliver(event, signature, body, request_id).await {
            if let Err(store) = self.events.give_back(taken).await {
                tracing::warn!("an event that was not handed on is held for a minute: {store}");
            }
            return Err(Refused::Later(why));
        }
        if let Err(store) = self.events.keep(taken, self.issuer.now()).await {
            tracing::warn!(
                idempotency_key = event.key(),
                "an event was handed on, and it could not be noted: it may be handed on again: {store}"
            );
        }
        Ok(Outcome::Delivered)
    }

    async fn deliver(
        &self,
        event: &Event,
        signature: &HeaderValue,
        body: &Bytes,
        request_id: &str,
    ) -> Result<(), String> {
        let Some(target) = &self.settings.target else {
            if !self.issuer.log_has_room().await {
                return Err("the log cannot be written".to_owned());
            }
            tracing::info!(
                target: EVENTS,
                request_id,
                kind = event.kind,
                room = event.room,
                session = event.session,
                idempotency_key = event.key(),
                // It was read as JSON, so it is UTF-8.
                event = String::from_utf8_lossy(body).as_ref(),
            );
            return Ok(());
        };
        let delivered = target.deliver(event, signature, body).await;
        if delivered.is_ok() {
            tracing::info!(
                target: "countersign::webhooks",
                request_id,
                kind = event.kind,
                idempotency_key = event.key(),
                "handed on"
            );
        }
        delivered.map_err(|why| why.to_string())
    }

    fn refuse(&self, why: Refused, peer: Peer, request_id: &str) -> Response {
        match why {
            Refused::Stranger(why) => self.refuse_stranger(
                error_response(StatusCode::UNAUTHORIZED, "invalid_signature", &why.to_string()),
                ("invalid_signature", &why.to_string()),
                peer,
                request_id,
            ),
            Refused::Http(why) => {
                let (code, reason) = (why.code(), why.to_string());
                let is_method = why == HttpError::MethodNotAllowed;
                let mut response = why.into_response();
                if is_method {
                    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
                }
                self.refuse_stranger(response, (code, &reason), peer, request_id)
            }
            Refused::Useless(why) => {
                tracing::warn!(target: "countersign::webhooks", request_id, "an event is not taken: {why}");
                error_response(StatusCode::BAD_REQUEST, "invalid_request", &why)
            }
            Refused::Later(why) => {
                tracing::warn!(target: "countersign::webhooks", request_id, "an event was not handed on: {why}");
                let mut response = error_response(AGAIN, "temporarily_unavailable", "send the event again");
                response.headers_mut().insert(header::RETRY_AFTER, PAUSE);
                response
            }
        }
    }

    fn refuse_stranger(
        &self,
        response: Response,
        (code, reason): (&'static str, &str),
        peer: Peer,
        request_id: &str,
    ) -> Response {
        let response = match self.rates.charge_address(peer.0) {
            Ok(()) => response,
            Err(wait) => HttpError::TooManyRequests(wait).into_response(),
        };
        let request =
            RefusedRequest { request_id, address: peer.0, client: None, client_token: None, grant: None };
        self.issuer.refuse(&request, code, reason);
        response
    }
}
