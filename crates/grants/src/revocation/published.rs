//! The signed list at `/.well-known/revoked.jwt`: the same for everybody who asks within a few
//! seconds.
//!
//! It is signed anew when something was revoked, and every minute, by one request for all that come
//! meanwhile. While the store or the key cannot be had, the last one is served until it expires,
//! which verifiers see.

use super::stored::{Revocations, RevocationsError};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use countersign_issuer::{Issuer, Statement, http::HttpError};
use countersign_jose::Timestamp;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long a list can be used.
const LIFETIME: Duration = Duration::from_secs(300);
/// How old one may be that is served, where nothing was revoked.
const RENEWED: Duration = Duration::from_secs(60);
/// How long the store is not looked at again, and caches may keep an answer.
const KEPT: Duration = Duration::from_secs(5);

/// The list that was signed last.
#[derive(Debug, Default)]
pub(crate) struct Published(Mutex<Option<Signed>>);

#[derive(Debug, Clone)]
struct Signed {
    text: String,
    sequence: u64,
    /// Whether it was the same list, but for names that expired.
    names: usize,
    at: Timestamp,
    looked_at: Timestamp,
}

impl Published {
    /// Answers a request for the list.
    pub(crate) async fn answer(
        &self,
        issuer: &Issuer,
        revocations: &Revocations,
        method: &Method,
        headers: &HeaderMap,
    ) -> Response {
        if ![Method::GET, Method::HEAD].contains(method) {
            let mut response = HttpError::MethodNotAllowed.into_response();
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match self.current(issuer, revocations).await {
            Ok(signed) => signed.answer(method, headers),
            Err(why) => {
                tracing::error!("the revocation list cannot be served: {why}");
                let headers = [(header::CACHE_CONTROL, "no-store"), (header::RETRY_AFTER, "5")];
                (StatusCode::SERVICE_UNAVAILABLE, headers).into_response()
            }
        }
    }

    async fn current(&self, issuer: &Issuer, revocations: &Revocations) -> Result<Signed, String> {
        let now = issuer.now();
        let mut kept = self.0.lock().await;
        if let Some(signed) = kept.as_ref().filter(|signed| signed.is_fresh(now)) {
            return Ok(signed.clone());
        }
        let signed = match Self::sign(issuer, revocations, kept.as_ref(), now).await {
            Ok(signed) => signed,
            // Verifiers see how old it is.
            Err(why) => match kept.as_ref().filter(|signed| now < signed.at.plus(LIFETIME)) {
                Some(last) => {
                    tracing::warn!("the revocation list cannot be renewed: {why}");
                    Signed { looked_at: now, ..last.clone() }
                }
                None => return Err(why),
            },
        };
        Ok(kept.insert(signed).clone())
    }

    async fn sign(
        issuer: &Issuer,
        revocations: &Revocations,
        last: Option<&Signed>,
        now: Timestamp,
    ) -> Result<Signed, String> {
        let list = revocations.list(now).await.map_err(|why: RevocationsError| why.to_string())?;
        let (sequence, names) = (list.sequence, list.tokens.len() + list.before.len());
        let same = |last: &&Signed| last.sequence == sequence && last.names == names;
        if let Some(last) = last.filter(same).filter(|last| now.since(last.at) < RENEWED && last.at <= now) {
            return Ok(Signed { looked_at: now, ..last.clone() });
        }
        let payload = list.claims(issuer.settings().issuer.as_str(), now, now.plus(LIFETIME));
        let text = issuer.state(Statement::RevocationList, &payload, now).await;
        let text = text.map_err(|why| why.to_string())?;
        Ok(Signed { text, sequence, names, at: now, looked_at: now })
    }
}

impl Signed {
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.looked_at <= now && now.since(self.looked_at) < KEPT && now.since(self.at) < LIFETIME
    }

    fn answer(&self, method: &Method, request: &HeaderMap) -> Response {
        let etag = format!("\"{}-{}\"", self.sequence, self.at.unix_seconds());
        let known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| value == etag.as_str());
        let headers = [
            (header::CONTENT_TYPE, "application/jwt".to_owned()),
            (header::CACHE_CONTROL, format!("public, max-age={}", KEPT.as_secs())),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
            (header::CONTENT_LENGTH, if known { 0 } else { self.text.len() }.to_string()),
            (header::ETAG, etag),
        ];
        match (known, method == Method::HEAD) {
            (true, _) => (StatusCode::NOT_MODIFIED, headers).into_response(),
            (false, true) => (headers, Body::empty()).into_response(),
            (false, false) => (headers, self.text.clone()).into_response(),
        }
    }
}
