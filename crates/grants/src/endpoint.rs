//! `POST /token` itself: order, audit, rates and the response.
//!
//! Order: method, kind and size of the body, parameters, who is asking, per-client rate, the grant,
//! policy, signature. As at `POST /sign`, a caller that does not prove who it is has its address
//! charged, and there is one audit record for every request, whatever became of it.

use crate::{
    client_auth, client_credentials, error::TokenError, form::Form, jwt_bearer, request::Asked, seen::Seen,
    settings::Grants, target, token_exchange,
};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, Request, header, request::Parts},
    response::{IntoResponse, Response},
};
use countersign_issuer::{
    Caller, Client, GrantType, Granted, Ids, Issuer, Minted, RefusedRequest, Scope, SignRequest, TOKEN_PATH,
    http::{HttpError, Peer, RateLimiters, is_form, read_body},
};
use countersign_store::Store;
use std::{sync::Arc, time::Duration};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `POST /token`, at the root and below the issuer's path.
#[derive(Debug)]
pub struct TokenRoute {
    grants: Grants,
    issuer: Arc<Issuer>,
    rates: Arc<RateLimiters>,
    seen: Seen,
}

/// What is known of a request while it is answered.
#[derive(Debug, Default)]
struct Progress {
    client: Option<Arc<Client>>,
    grant: Option<GrantType>,
}

/// A token and the scope it is good for.
struct Answer {
    minted: Minted,
    scope: Option<Scope>,
    issued_token_type: Option<&'static str>,
}

impl TokenRoute {
    /// The route of an issuer. `rates` are those of its other routes, `store` is where what may be
    /// used once is noted, and `skew` is how far the clocks of servers may differ.
    pub fn new(
        grants: Grants,
        issuer: Arc<Issuer>,
        rates: Arc<RateLimiters>,
        store: Arc<dyn Store>,
        skew: Duration,
    ) -> Self {
        Self { grants, issuer, rates, seen: Seen::new(store, skew) }
    }

    /// Whether a request for this path is answered here.
    pub fn takes(&self, path: &str) -> bool {
        let below = path.strip_prefix(self.issuer.settings().issuer.path());
        path == TOKEN_PATH || below == Some(TOKEN_PATH)
    }

    /// Answers one request from `peer`.
    pub async fn answer(&self, request: Request<Body>, peer: Peer) -> Response {
        let ids = match Ids::random() {
            Ok(ids) => ids,
            Err(why) => return HttpError::Mint(why).into_response(),
        };
        let (parts, body) = request.into_parts();
        let mut progress = Progress::default();
        let mut response = match self.grant(&parts, body, peer, &ids, &mut progress).await {
            Ok(answer) => success(&answer),
            Err(why) => self.refuse(why, peer, &ids.request, &progress).into_response(),
        };
        if let Ok(id) = HeaderValue::try_from(ids.request) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    /// Records a refusal, charges the address of a caller that is nobody, and gives back what is answered.
    fn refuse(&self, why: TokenError, peer: Peer, request_id: &str, progress: &Progress) -> TokenError {
        let client = progress.client.as_ref().map(|client| client.id.as_str());
        let why = match client {
            Some(_) => why,
            None => match self.rates.charge_address(peer.0) {
                Ok(()) => why,
                Err(wait) => HttpError::TooManyRequests(wait).into(),
            },
        };
        if !why.is_of_the_mint() {
            let grant = progress.grant.map(GrantType::name);
            let request = RefusedRequest { request_id, address: peer.0, client, grant };
            self.issuer.refuse(&request, why.code(), &why.to_string());
        }
        why
    }

    async fn grant(
        &self,
        parts: &Parts,
        body: Body,
        peer: Peer,
        ids: &Ids,
        progress: &mut Progress,
    ) -> Result<Answer, TokenError> {
        if parts.method != Method::POST {
            return Err(HttpError::MethodNotAllowed.into());
        }
        if !is_form(&parts.headers) {
            return Err(TokenError::NotAForm);
        }
        let body = read_body(body, self.issuer.settings().limits.body_bytes).await?;
        let form = Form::parse(&body)?;
        let asked = form.require("grant_type")?;
        progress.grant = GrantType::named(asked);
        let clients = &self.issuer.settings().clients;
        let now = self.issuer.now();
        let client =
            client_auth::authenticate(&parts.headers, &form, clients, &self.grants, &self.seen, now).await?;
        progress.client = Some(Arc::clone(&client));
        self.rates.check_client(client.id.as_str()).map_err(HttpError::TooManyRequests)?;

        let grant = progress.grant.filter(|grant| self.grants.offers(*grant));
        let grant = grant.ok_or(TokenError::UnsupportedGrantType)?;
        let own = self.grants.clients.get(client.id.as_str());
        let own = own.filter(|own| own.grants.contains(&grant)).ok_or(TokenError::UnauthorizedClient)?;
        let audience = target::audience(&form)?;
        let request = crate::request::Request {
            form: &form,
            client: client.id.as_str(),
            own,
            rules: &self.grants.rules,
            seen: &self.seen,
            now,
            backdate: self.issuer.settings().backdate,
        };
        let asked = match grant {
            GrantType::ClientCredentials => client_credentials::ask(&request)?,
            GrantType::JwtBearer => jwt_bearer::ask(&request).await?,
            GrantType::TokenExchange => token_exchange::ask(&request).await?,
        };
        let Asked { subject, scope, longest, issued_token_type } = asked;
        let granted = Granted { grant, subject: subject.as_deref(), scope: scope.as_ref(), longest };
        let request = SignRequest::by_grant(granted, audience);
        let minted = self
            .issuer
            .mint(Caller::Client(&client), &request, now, ids, Some(peer.0))
            .await
            .map_err(HttpError::Mint)?;
        Ok(Answer { minted, scope, issued_token_type })
    }
}

/// RFC 6749 §5.1. The scope is told whether it was asked for or is the client's default.
fn success(answer: &Answer) -> Response {
    let (token, expires_in) = (&answer.minted.token, answer.minted.expires_in.as_secs());
    // A scope has no character that JSON would escape, and neither has a compact token.
    let scope = answer.scope.as_ref().map(|scope| format!(r#","scope":"{}""#, scope.as_str()));
    let issued = answer.issued_token_type.map(|issued| format!(r#","issued_token_type":"{issued}""#));
    let body = format!(
        r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{expires_in}{}{}}}"#,
        scope.unwrap_or_default(),
        issued.unwrap_or_default(),
    );
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::PRAGMA, "no-cache"),
    ];
    (headers, body).into_response()
}
