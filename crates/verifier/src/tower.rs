//! A tower layer: only requests with a verified bearer token reach the service behind it (RFC 6750
//! §2.1, §3).
//!
//! The token comes from the one `Authorization` header; two of them are refused. A service behind
//! the layer finds [`Accepted`] in the request's extensions. The caller learns nothing but the
//! standard error; the log has the reason. A token that is bound to a key (`cnf`) is refused,
//! because no proof is looked at here. 503, not 401, when the issuer's keys cannot be had. Pinned
//! by `tests/suite/tower_layer.rs`.

use crate::{
    dpop::{Binding, UnknownBinding},
    error::Fault,
    verifier::{Accepted, Verifier},
};
use countersign_jose::Timestamp;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Lets in only requests with a verified bearer token.
#[derive(Clone)]
pub struct RequireBearer {
    verifier: Arc<Verifier>,
    clock: Clock,
}

impl fmt::Debug for RequireBearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireBearer").finish_non_exhaustive()
    }
}

impl RequireBearer {
    /// Verifies with `verifier`; `clock` tells the present time.
    pub fn new(verifier: Arc<Verifier>, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { verifier, clock: Arc::new(clock) }
    }

    async fn check(&self, authorization: Credential) -> Result<Accepted, Refusal> {
        let token = match authorization {
            Credential::None => return Err(Refusal::NoToken),
            Credential::Malformed => return Err(Refusal::InvalidRequest),
            Credential::Bearer(token) => token,
        };
        let verified = self.verifier.verify(&token, (self.clock)()).await;
        let accepted = verified.map_err(|why| {
            tracing::info!(code = why.code(), "a request was refused: {why}");
            match why.fault() {
                Fault::Token => Refusal::InvalidToken,
                Fault::Keys => Refusal::Unavailable,
            }
        })?;
        // No proof is looked at here, and without one such a token may be anybody's (RFC 9449
        // §7.1).
        match Binding::of(accepted.verified()) {
            Ok(None) => Ok(accepted),
            Ok(Some(_)) | Err(UnknownBinding) => {
                tracing::info!(
                    code = "dpop_bound_as_bearer",
                    "a request was refused: its token is bound to a key"
                );
                Err(Refusal::InvalidToken)
            }
        }
    }
}

impl<S> Layer<S> for RequireBearer {
    type Service = BearerRequired<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BearerRequired { inner, gate: self.clone() }
    }
}

/// The service that [`RequireBearer`] makes of another.
#[derive(Debug, Clone)]
pub struct BearerRequired<S> {
    inner: S,
    gate: RequireBearer,
}

impl<S, B, R> Service<Request<B>> for BearerRequired<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The clone takes the place of the one that said it was ready.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let gate = self.gate.clone();
        Box::pin(async move {
            match gate.check(credential(request.headers())).await {
                Ok(accepted) => {
                    request.extensions_mut().insert(accepted);
                    inner.call(request).await
                }
                Err(refusal) => Ok(refusal.response()),
            }
        })
    }
}

enum Credential {
    None,
    Malformed,
    Bearer(String),
}

fn credential(headers: &HeaderMap) -> Credential {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Credential::None };
    if values.next().is_some() {
        return Credential::Malformed;
    }
    match value.to_str().ok().and_then(|value| value.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Credential::Bearer(token.trim_start_matches(' ').to_owned())
        }
        Some(_) => Credential::None,
        None => Credential::Malformed,
    }
}

enum Refusal {
    NoToken,
    InvalidRequest,
    InvalidToken,
    Unavailable,
}

impl Refusal {
    fn response<R: Default>(&self) -> Response<R> {
        let (status, challenge) = match self {
            Self::NoToken => (StatusCode::UNAUTHORIZED, Some("Bearer")),
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, Some("Bearer error=\"invalid_request\"")),
            Self::InvalidToken => (StatusCode::UNAUTHORIZED, Some("Bearer error=\"invalid_token\"")),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, None),
        };
        let mut response = Response::new(R::default());
        *response.status_mut() = status;
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
