//! One request to a provider, by the client that all requests of this program have
//! (`countersign-verifier`, `outgoing`).
//!
//! Guarantees, as for key documents (`countersign-verifier`, `fetch`): no redirect followed, no
//! proxy, no cookie; the body is dropped as soon as it exceeds the cap; one time limit for
//! everything, so that a server which drips is cut off; only JSON is read, strictly. Requests have
//! tokens and secrets in them, which no error repeats: addresses do not occur in any, and what the
//! libraries say knows of none.

use super::{
    error::{Endpoint, Failure, UpstreamError},
    limit,
};
use countersign_jose::{
    Timestamp,
    json::{DEFAULT_DEPTH, Object},
};
use countersign_verifier::{HttpsClient, https_client};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    header::{self, HeaderMap, HeaderValue},
};
use std::{error::Error, fmt, time::Duration};
use tokio::sync::{OnceCell, Semaphore};
use zeroize::Zeroizing;

/// The most a provider may answer with.
const MAX_BYTES: usize = 64 * 1024;
/// Until the TCP connection stands.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// From the wish to ask until the last byte. Two requests fit into `limits.request_time`.
const TOTAL_TIME: Duration = Duration::from_secs(4);
/// Requests to one provider at the same time; others wait for their turn, within the same time.
const AT_ONCE: usize = 64;

/// Asks one provider.
pub(super) struct Http {
    /// Made with the first request, because the system's roots are read for it.
    client: OnceCell<HttpsClient<Full<Bytes>>>,
    turns: Semaphore,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

/// What is asked. Not `Debug`: there are tokens in it.
pub(super) struct Ask {
    pub(super) endpoint: Endpoint,
    pub(super) method: Method,
    /// With the query.
    pub(super) url: String,
    pub(super) authorization: Option<Zeroizing<String>>,
    pub(super) body: Option<Content>,
}

/// What is sent.
pub(super) struct Content {
    pub(super) kind: &'static str,
    pub(super) bytes: Zeroizing<String>,
}

impl Content {
    /// A form of these parameters.
    pub(super) fn form(parameters: &[(&str, &str)]) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        Self { kind: "application/x-www-form-urlencoded", bytes: Zeroizing::new(form) }
    }
}

impl Ask {
    /// `GET`, with the token in the header (RFC 6750 §2.1) where one is given.
    pub(super) fn get(endpoint: Endpoint, url: String, token: Option<&str>) -> Self {
        let authorization = token.map(|token| Zeroizing::new(format!("Bearer {token}")));
        Self { endpoint, method: Method::GET, url, authorization, body: None }
    }
}

/// What a provider has answered: a status of 200, or one that refuses.
pub(super) struct Answer {
    endpoint: Endpoint,
    pub(super) status: StatusCode,
    /// A JSON object, which was read strictly. Of a 401 it may be missing.
    body: Option<String>,
}

impl fmt::Debug for Answer {
    /// Without the body, in which there may be tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Answer {
    /// The object, if the answer is a 200.
    pub(super) fn ok(&self) -> Option<Members<'_>> {
        if self.status == StatusCode::OK { self.members() } else { None }
    }

    /// The object, whatever the status.
    pub(super) fn members(&self) -> Option<Members<'_>> {
        Members::parse(self.endpoint, self.body.as_deref()?)
    }

    /// An answer that says nothing about the token, for this reason.
    pub(super) fn fails(&self, why: Failure) -> UpstreamError {
        unavailable(self.endpoint, why)
    }

    /// An answer that has no meaning for this request.
    pub(super) fn unexpected(&self) -> UpstreamError {
        self.fails(Failure::Status(self.status.as_u16()))
    }
}

/// A JSON object of an answer.
pub(super) struct Members<'a> {
    endpoint: Endpoint,
    /// As it was sent.
    pub(super) text: &'a str,
    object: Object<'a>,
}

impl<'a> Members<'a> {
    fn parse(endpoint: Endpoint, text: &'a str) -> Option<Self> {
        let object = Object::parse_text(text, DEFAULT_DEPTH).ok()?;
        Some(Self { endpoint, text, object })
    }

    /// The text of a member's value.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.object.get(name).map(|raw| raw.get())
    }

    /// A member that has to be an object.
    pub(super) fn object(&self, name: &'static str) -> Result<Members<'a>, UpstreamError> {
        let found = self.raw(name).and_then(|text| Members::parse(self.endpoint, text));
        found.ok_or_else(|| unavailable(self.endpoint, Failure::Member(name)))
    }

    /// A member that is a string.
    pub(super) fn string(&self, name: &str) -> Option<String> {
        countersign_jose::json::string(self.object.get(name)?).map(std::borrow::Cow::into_owned)
    }

    /// A member that is a whole number, or a string of digits.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.string(name).map_or_else(|| self.raw(name)?.parse().ok(), |text| text.parse().ok())
    }

    /// Whether a member is `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.raw(name) == Some("true")
    }

    /// A member that is an array of strings.
    pub(super) fn strings(&self, name: &str) -> Option<Vec<String>> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    /// The answer is not what it should be.
    pub(super) fn lacks(&self, name: &'static str) -> UpstreamError {
        unavailable(self.endpoint, Failure::Member(name))
    }
}

/// It cannot be asked, and does not say for how long.
pub(super) fn unavailable(endpoint: Endpoint, why: Failure) -> UpstreamError {
    UpstreamError::Unavailable { endpoint, why, wait: None }
}

impl Http {
    pub(super) fn new() -> Self {
        Self { client: OnceCell::new(), turns: Semaphore::new(AT_ONCE) }
    }

    /// Asks once. Answers that say nothing about the token are errors: limits, redirects, failures,
    /// what is not JSON.
    pub(super) async fn ask(&self, ask: Ask, now: Timestamp) -> Result<Answer, UpstreamError> {
        let endpoint = ask.endpoint;
        // On the heap: what the libraries' futures hold is not part of every future that waits for
        // them.
        match tokio::time::timeout(TOTAL_TIME, Box::pin(self.answer(ask, now))).await {
            Ok(answered) => answered,
            Err(_) => Err(unavailable(endpoint, Failure::Timeout(TOTAL_TIME))),
        }
    }

    async fn answer(&self, ask: Ask, now: Timestamp) -> Result<Answer, UpstreamError> {
        let endpoint = ask.endpoint;
        let fail = |why| unavailable(endpoint, why);
        let client = self.client().await.map_err(fail)?;
        let _turn = self.turns.acquire().await.map_err(|_| fail(Failure::Interrupted))?;
        let response = client.request(request(ask).map_err(fail)?).await;
        let response = response.map_err(|why| fail(connection(&why)))?;
        let (status, wait) = (response.status(), limit::wait(response.headers(), now));
        if limit::is_limit(status, response.headers()) {
            return Err(UpstreamError::Limited(wait.unwrap_or(limit::UNSAID)));
        }
        if status.is_redirection() {
            return Err(fail(Failure::Redirect));
        }
        if status != StatusCode::OK && !status.is_client_error() {
            let why = Failure::Status(status.as_u16());
            return Err(UpstreamError::Unavailable { endpoint, why, wait });
        }
        if !is_json(response.headers()) {
            // RFC 6750 §3: a refused token needs no body. Any other page is not about the token.
            return if status == StatusCode::UNAUTHORIZED {
                Ok(Answer { endpoint, status, body: None })
            } else if status == StatusCode::OK {
                Err(fail(Failure::NotJson))
            } else {
                Err(fail(Failure::Status(status.as_u16())))
            };
        }
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await.map_err(|why| {
            fail(if why.is::<LengthLimitError>() { Failure::TooLarge(MAX_BYTES) } else { connection(&*why) })
        })?;
        let body = body.to_bytes();
        Object::parse(&body, DEFAULT_DEPTH).map_err(|why| fail(Failure::Json(why)))?;
        // It was read as JSON, so it is UTF-8.
        Ok(Answer { endpoint, status, body: String::from_utf8(body.into()).ok() })
    }

    async fn client(&self) -> Result<&HttpsClient<Full<Bytes>>, Failure> {
        let made = self.client.get_or_try_init(async || {
            let made = tokio::task::spawn_blocking(|| https_client(CONNECT_TIME))
                .await
                .map_err(|_| Failure::Interrupted)?;
            made.map_err(|why| Failure::Connection(format!("no certificate roots on this system: {why}")))
        });
        made.await
    }
}

fn request(ask: Ask) -> Result<Request<Full<Bytes>>, Failure> {
    let malformed = || Failure::Connection("the request cannot be made".to_owned());
    let mut request = Request::builder()
        .method(ask.method)
        .uri(ask.url)
        .header(header::ACCEPT, "application/json")
        // GitHub answers nobody without one.
        .header(header::USER_AGENT, concat!("countersign/", env!("CARGO_PKG_VERSION")));
    if let Some(authorization) = ask.authorization {
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| malformed())?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let body = match ask.body {
        None => Full::default(),
        Some(Content { kind, bytes }) => {
            request = request.header(header::CONTENT_TYPE, kind);
            Full::new(Bytes::copy_from_slice(bytes.as_bytes()))
        }
    };
    // Not what the library says: it may quote the address.
    request.body(body).map_err(|_| malformed())
}

/// `application/json`, or another kind of JSON (RFC 6839 §3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// An error with its causes: the outermost alone says only "client error".
fn connection(why: &(dyn Error + 'static)) -> Failure {
    let mut text = why.to_string();
    let mut source = why.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    Failure::Connection(text)
}
