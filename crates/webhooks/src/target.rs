//! Where events are sent on to: one address of the configuration, by `POST`, by the client that all
//! requests of this program have (`countersign-verifier`, `outgoing`).
//!
//! No redirect is followed, no proxy used; the answer's body is not read. A few attempts within one
//! time, for what may pass (no connection, 5xx, 429); then it is 8x8 that tries again. The target
//! learns the event's key, and the signature, which it can verify itself. Nothing of the address or
//! the token is in any message.

use crate::event::Event;
use axum::body::Bytes;
use countersign_verifier::{HttpsClient, KeyUrl, https_client};
use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode, Uri,
    header::{self, HeaderName, HeaderValue},
};
use std::{fmt, time::Duration};
use tokio::sync::{OnceCell, Semaphore};
use zeroize::Zeroizing;

/// Until the TCP connection stands.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// One attempt.
const ATTEMPT_TIME: Duration = Duration::from_secs(3);
/// All attempts. Less than `limits.request_time` by default (10 s), and than a sender waits.
const TOTAL_TIME: Duration = Duration::from_secs(8);
/// Before each attempt.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(200), Duration::from_secs(1)];
/// Events on their way at the same time; others wait for their turn, within the same time.
const AT_ONCE: usize = 32;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const SIGNATURE: HeaderName = HeaderName::from_static("x-jaas-signature");

/// A token by which the target knows this server. `Debug` does not show it.
pub struct TargetToken(HeaderValue);

impl fmt::Debug for TargetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetToken").finish_non_exhaustive()
    }
}

/// Where events are sent on to.
pub struct Target {
    uri: Uri,
    token: Option<TargetToken>,
    /// Made with the first event, because the system's roots are read for it.
    client: OnceCell<HttpsClient<Full<Bytes>>>,
    turns: Semaphore,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

/// An address or a token that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not an address.
    #[error("write an absolute http or https URL without user name, password and fragment")]
    Malformed,
    /// Events have people's names in them.
    #[error("events have people's names in them and go over https (http on loopback, or with allow_http)")]
    NotHttps,
    /// A token with characters that no header has.
    #[error("the token has characters that no HTTP header can have")]
    Token,
}

impl TargetToken {
    /// A bearer token.
    ///
    /// # Errors
    ///
    /// If no header can hold it.
    pub fn new(token: &Zeroizing<String>) -> Result<Self, TargetError> {
        let text = Zeroizing::new(format!("Bearer {}", token.as_str()));
        let mut value = HeaderValue::from_str(&text).map_err(|_| TargetError::Token)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// Why an event was not handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undelivered {
    #[error("the target (webhooks.jaas.target) cannot be reached")]
    Unreachable,
    #[error("the target (webhooks.jaas.target) did not answer in time")]
    TimedOut,
    #[error("the target (webhooks.jaas.target) answered {0}")]
    Status(u16),
    #[error(
        "this system has no certificates of authorities, by which the target (webhooks.jaas.target) is known; install them (the package \
         ca-certificates)"
    )]
    NoRoots,
    #[error("the program is stopping")]
    Stopping,
}

impl Undelivered {
    /// Whether another attempt may end otherwise.
    fn may_pass(self) -> bool {
        match self {
            Self::Unreachable | Self::TimedOut => true,
            Self::Status(status) => status >= 500 || status == 429,
            Self::NoRoots | Self::Stopping => false,
        }
    }
}

impl Target {
    /// An address: https, or http on loopback, or anywhere with `allow_http`.
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    pub fn new(address: &str, allow_http: bool, token: Option<TargetToken>) -> Result<Self, TargetError> {
        let uri: Uri = address.parse().map_err(|_| TargetError::Malformed)?;
        let is_plain = uri.scheme_str() == Some("http");
        let authority = uri.authority().ok_or(TargetError::Malformed)?;
        if !(is_plain || uri.scheme_str() == Some("https"))
            || authority.as_str().contains('@')
            || authority.host().is_empty()
            || address.contains('#')
        {
            return Err(TargetError::Malformed);
        }
        // The same judgement of what is loopback as for addresses of keys.
        if is_plain && !allow_http && KeyUrl::parse(address).is_err() {
            return Err(TargetError::NotHttps);
        }
        Ok(Self { uri, token, client: OnceCell::new(), turns: Semaphore::new(AT_ONCE) })
    }

    /// Hands an event on: done when the target has answered 2xx.
    pub(crate) async fn deliver(
        &self,
        event: &Event,
        signature: &HeaderValue,
        body: &Bytes,
    ) -> Result<(), Undelivered> {
        let attempts = async {
            let client = self.client().await?;
            let _turn = self.turns.acquire().await.map_err(|_| Undelivered::Stopping)?;
            let mut last = Undelivered::Unreachable;
            for pause in PAUSES {
                tokio::time::sleep(pause).await;
                let sent = client.request(self.request(event, signature, body));
                last = match tokio::time::timeout(ATTEMPT_TIME, sent).await {
                    Err(_) => Undelivered::TimedOut,
                    Ok(Err(_)) => Undelivered::Unreachable,
                    Ok(Ok(response)) if response.status().is_success() => return Ok(()),
                    Ok(Ok(response)) => Undelivered::Status(response.status().as_u16()),
                };
                if !last.may_pass() {
                    break;
                }
            }
            Err(last)
        };
        // On the heap: what the libraries' futures hold is not part of every future that waits for
        // them.
        tokio::time::timeout(TOTAL_TIME, Box::pin(attempts)).await.unwrap_or(Err(Undelivered::TimedOut))
    }

    async fn client(&self) -> Result<&HttpsClient<Full<Bytes>>, Undelivered> {
        let made = self.client.get_or_try_init(async || {
            let made = tokio::task::spawn_blocking(|| https_client(CONNECT_TIME)).await;
            made.map_err(|_| Undelivered::Stopping)?.map_err(|_| Undelivered::NoRoots)
        });
        made.await
    }

    fn request(&self, event: &Event, signature: &HeaderValue, body: &Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.clone()));
        (*request.method_mut(), *request.uri_mut()) = (Method::POST, self.uri.clone());
        let token = self.token.as_ref().map(|token| (header::AUTHORIZATION, token.0.clone()));
        let agent = HeaderValue::from_static(concat!("countersign/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().extend(token);
        request.headers_mut().extend([
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::USER_AGENT, agent),
            (IDEMPOTENCY_KEY, event.idempotency_key.clone()),
            (SIGNATURE, signature.clone()),
        ]);
        request
    }
}

/// What an undelivered event is answered with.
pub(crate) const AGAIN: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_go_over_https_unless_somebody_says_otherwise() {
        let made = |address: &str, allow: bool| Target::new(address, allow, None).map(|_| ());
        for (address, allow, outcome) in [
            ("https://hooks.example/jaas?x=1", false, Ok(())),
            ("http://127.0.0.1:9000/jaas", false, Ok(())),
            ("http://hooks.internal/jaas", false, Err(TargetError::NotHttps)),
            ("http://hooks.internal/jaas", true, Ok(())),
            ("http://127.0.0.1.example/jaas", false, Err(TargetError::NotHttps)),
            ("https://u:p@hooks.example/", false, Err(TargetError::Malformed)),
            ("ftp://hooks.example/", true, Err(TargetError::Malformed)),
            ("/jaas", true, Err(TargetError::Malformed)),
            ("https://hooks.example/#a", false, Err(TargetError::Malformed)),
            ("", true, Err(TargetError::Malformed)),
        ] {
            assert_eq!(made(address, allow), outcome, "{address}");
        }
        assert!(TargetToken::new(&Zeroizing::new("a\nb".to_owned())).is_err());
        let token = TargetToken::new(&Zeroizing::new("very-secret".to_owned())).unwrap();
        assert!(!format!("{token:?}").contains("secret"));
    }
}
