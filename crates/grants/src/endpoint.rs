//! `POST /token`, `/revoke` and `/introspect`: order, audit, rates and the response; and the list
//! of what is revoked.
//!
//! Order of the first: method, kind and size of the body, parameters, who is asking, per-client
//! rate, the DPoP proof, the grant, what is used up by it (`spend`), policy, signature. As at
//! `POST /sign`, a caller that does not prove who it is has its address charged, and there is one
//! audit record for every request, whatever became of it: from its body on a request runs to its
//! end in a task of its own (`to_the_end`), so that one that is given up has not used anything up
//! for nothing. Pinned by tests/suite/hung_up.rs.

use crate::{
    client_auth, client_credentials,
    dpop::Proofs,
    error::TokenError,
    form::Form,
    introspect, jwt_bearer,
    refresh::{self, Begun, Families, Found, RefreshError, RefreshToken},
    request::{Asked, Refresh, Said},
    revocation::{Owner, Published, Revocations},
    revoke,
    seen::Seen,
    settings::Grants,
    target,
    to_the_end::ToTheEnd,
    token_exchange, upload,
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, Method, Request, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use countersign_issuer::{
    AudienceRequest, Caller, Client, GrantType, INTROSPECT_PATH, Ids, Issuer, Minted, REVOKE_PATH,
    RefusedRequest, Scope, ShownToken, TOKEN_PATH,
    http::{HttpError, Peer, RateLimiters, error_response, is_form, read_body},
};
use countersign_jose::Timestamp;
use countersign_keyring::StoredKeyring;
use countersign_store::Store;
use countersign_verifier::{REVOCATIONS_PATH, dpop::Proven};
use std::{borrow::Cow, mem, sync::Arc};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `POST /token`, at the root and below the issuer's path.
#[derive(Debug)]
pub struct TokenRoute {
    grants: Grants,
    issuer: Arc<Issuer>,
    rates: Arc<RateLimiters>,
    seen: Seen,
    /// Families of refresh tokens, where a client may have one.
    families: Option<Families>,
    revocations: Revocations,
    published: Published,
    proofs: Proofs,
    under_way: ToTheEnd,
}

/// What is asked, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Token,
    Revoke,
    Introspect,
    Revoked,
}

impl Place {
    const ALL: [(&'static str, Self); 4] = [
        (TOKEN_PATH, Self::Token),
        (REVOKE_PATH, Self::Revoke),
        (INTROSPECT_PATH, Self::Introspect),
        (REVOCATIONS_PATH, Self::Revoked),
    ];

    /// The parameter without which nothing is done.
    fn requires(self) -> &'static str {
        match self {
            Self::Token => "grant_type",
            Self::Revoke | Self::Introspect | Self::Revoked => "token",
        }
    }
}

/// A request that has come whole.
struct Incoming<'a> {
    parts: &'a Parts,
    body: &'a Bytes,
    peer: Peer,
    ids: &'a Ids,
}

impl<'a> Incoming<'a> {
    fn by(&self, client: &'a Client) -> RefusedRequest<'a> {
        let client = Some(client.id.as_str());
        let (request_id, address) = (self.ids.request.as_str(), self.peer.0);
        RefusedRequest { request_id, address, client, grant: None, client_token: None }
    }
}

/// What is known of a request while it is answered.
#[derive(Debug, Default)]
struct Progress {
    client: Option<Arc<Client>>,
    /// The token by which it has proved who it is.
    client_token: Option<ShownToken>,
    /// It is a public client, and the address was charged for the request.
    is_public: bool,
    grant: Option<GrantType>,
}

/// A token and the scope it is good for.
struct Answer {
    minted: Minted,
    /// `token_type`.
    kind: &'static str,
    scope: Option<Scope>,
    issued_token_type: Option<&'static str>,
    refresh: Option<RefreshToken>,
}

impl TokenRoute {
    /// The route of an issuer. `rates` are those of its other routes, `store` is where what may be
    /// used once and refresh tokens are noted, and `keyring` has what authenticates the latter.
    pub fn new(
        grants: Grants,
        issuer: Arc<Issuer>,
        rates: Arc<RateLimiters>,
        store: Arc<dyn Store>,
        keyring: StoredKeyring,
    ) -> Self {
        let (limits, refreshes) = (grants.refresh, grants.offers(GrantType::RefreshToken));
        let families = refreshes.then(|| Families::new(Arc::clone(&store), keyring.clone(), limits));
        let longest = issuer.settings().clients.iter().map(|client| client.policy.max_lifetime).max();
        let longest = longest.unwrap_or_default().saturating_add(limits.skew);
        let endpoint = issuer.settings().issuer.join(TOKEN_PATH);
        let proofs = Proofs::new(&endpoint, grants.dpop, keyring.clone());
        let revocations = Revocations::new(Arc::clone(&store), keyring, longest).of(Arc::clone(&issuer));
        issuer.metrics().expect_refusals(TokenError::CODES);
        let (seen, published) = (Seen::new(store, limits.skew), Published::default());
        let under_way = ToTheEnd::default();
        Self { grants, issuer, rates, seen, families, revocations, published, proofs, under_way }
    }

    /// Takes over the state that the route of the previous configuration keeps in memory.
    pub fn follow(&mut self, before: &Self) {
        self.revocations.follow(&before.revocations);
    }

    /// Whether a request for this path is answered here.
    pub fn takes(&self, path: &str) -> bool {
        self.place(path).is_some()
    }

    fn place(&self, path: &str) -> Option<Place> {
        let below = path.strip_prefix(self.issuer.settings().issuer.path());
        let found = Place::ALL.into_iter().find(|(known, _)| path == *known || below == Some(known));
        found.map(|(_, place)| place)
    }

    /// Answers one request from `peer`. Given up while the body comes in, it leaves nothing behind;
    /// later, it runs to its end.
    pub async fn answer(self: &Arc<Self>, request: Request<Body>, peer: Peer) -> Response {
        let ids = match Ids::random() {
            Ok(ids) => ids,
            Err(why) => return HttpError::Mint(why).into_response(),
        };
        let (parts, body) = request.into_parts();
        let place = self.place(parts.uri.path()).unwrap_or(Place::Token);
        if place == Place::Revoked {
            let (method, headers) = (&parts.method, &parts.headers);
            return self.published.answer(&self.issuer, &self.revocations, method, headers).await;
        }
        let body = self.body(&parts, body).await;
        let own = Arc::clone(self);
        let answering = async move { own.answer_whole(place, &parts, body, peer, ids).await };
        self.under_way.run(answering).await.unwrap_or_else(|| {
            error_response(
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "the server is stopping",
            )
        })
    }

    async fn body(&self, parts: &Parts, body: Body) -> Result<Bytes, TokenError> {
        if parts.method != Method::POST {
            return Err(HttpError::MethodNotAllowed.into());
        }
        if !is_form(&parts.headers) {
            return Err(TokenError::NotAForm);
        }
        Ok(read_body(body, self.issuer.settings().limits.body_bytes).await?)
    }

    async fn answer_whole(
        &self,
        place: Place,
        parts: &Parts,
        body: Result<Bytes, TokenError>,
        peer: Peer,
        ids: Ids,
    ) -> Response {
        let mut progress = Progress::default();
        let outcome = match &body {
            Err(why) => Err(why.clone()),
            Ok(body) => {
                let asked = Incoming { parts, body, peer, ids: &ids };
                match place {
                    Place::Revoke => self.revoke(&asked, &mut progress).await,
                    Place::Introspect => self.introspect(&asked, &mut progress).await,
                    Place::Token | Place::Revoked => {
                        self.grant(&asked, &mut progress).await.map(|answer| success(&answer))
                    }
                }
            }
        };
        // A nonce for the next proof goes with each answer to one, and where one was missing (RFC
        // 9449 §8.2).
        let proves = place == Place::Token && Proofs::is_shown(&parts.headers)
            || matches!(outcome, Err(TokenError::Dpop(_)));
        let mut response = match outcome {
            Ok(response) => response,
            Err(why) => self.refuse(why, peer, &ids.request, &progress).into_response(),
        };
        if proves && let Some((name, nonce)) = self.proofs.nonce(self.issuer.now()) {
            response.headers_mut().insert(name, nonce);
        }
        if let Ok(id) = HeaderValue::try_from(ids.request) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    /// Records a refusal, charges the address of a caller that is nobody, and gives back what is
    /// answered.
    fn refuse(&self, why: TokenError, peer: Peer, request_id: &str, progress: &Progress) -> TokenError {
        // The name of a public client is no proof: what is refused to it is recorded as a
        // stranger's.
        let client = progress.client.as_ref().filter(|_| !progress.is_public);
        let client = client.map(|client| client.id.as_str());
        let why = match client {
            Some(_) => why,
            None if progress.is_public => why,
            None => match self.rates.charge_address(peer.0) {
                Ok(()) => why,
                Err(wait) => HttpError::TooManyRequests(wait).into(),
            },
        };
        if !why.is_of_the_mint() {
            let grant = progress.grant.map(GrantType::name);
            let client_token = progress.client_token.as_ref();
            let request = RefusedRequest { request_id, address: peer.0, client, grant, client_token };
            self.issuer.refuse(&request, why.code(), &why.to_string());
        }
        why
    }

    /// The parameters of a request, and the client that proves to have sent it.
    async fn authenticated(
        &self,
        place: Place,
        asked: &Incoming<'_>,
        progress: &mut Progress,
    ) -> Result<(Form, Arc<Client>, Timestamp), TokenError> {
        let Incoming { parts, body, .. } = asked;
        let form = Form::parse(body)?;
        let required = form.require(place.requires())?;
        if place == Place::Token {
            progress.grant = GrantType::named(required);
        }
        let clients = &self.issuer.settings().clients;
        let now = self.issuer.now();
        let (client, client_token) =
            client_auth::authenticate(&parts.headers, &form, clients, &self.grants, &self.seen, now).await?;
        (progress.client, progress.client_token) = (Some(Arc::clone(&client)), client_token);
        progress.is_public = self.grants.is_public(client.id.as_str());
        let charged = if progress.is_public {
            // Anybody can name it: its rate would be anybody's to use up.
            self.rates.charge_address(asked.peer.0)
        } else {
            self.rates.check_client(client.id.as_str())
        };
        charged.map_err(HttpError::TooManyRequests)?;
        Ok((form, client, now))
    }

    async fn revoke(&self, asked: &Incoming<'_>, progress: &mut Progress) -> Result<Response, TokenError> {
        let (form, client, now) = self.authenticated(Place::Revoke, asked, progress).await?;
        if !self.grants.clients.contains_key(client.id.as_str()) {
            return Err(TokenError::UnauthorizedClient);
        }
        let families = self.families.as_ref();
        let (issuer, revocations) = (&self.issuer, &self.revocations);
        let is_public = progress.is_public;
        let done = revoke::revoke(&form, &client, is_public, issuer, families, revocations, now).await?;
        if let Some(done) = done {
            self.issuer.revoked(&asked.by(&client), done.reach, &done.name);
        }
        // RFC 7009 §2.2: whatever was there, it is revoked now.
        Ok([(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")].into_response())
    }

    async fn introspect(
        &self,
        asked: &Incoming<'_>,
        progress: &mut Progress,
    ) -> Result<Response, TokenError> {
        let (form, client, now) = self.authenticated(Place::Introspect, asked, progress).await?;
        // RFC 7662 §2.1: a client has to prove who it is.
        if progress.is_public {
            return Err(HttpError::InvalidClient.into());
        }
        let own = self.grants.clients.get(client.id.as_str()).ok_or(TokenError::MayNotIntrospect)?;
        let asking =
            introspect::Asking { client: &client, audiences: &own.introspect, headers: &asked.parts.headers };
        let answer = introspect::introspect(&form, &asking, &self.issuer, &self.revocations, now).await?;
        let (kind, body) = match answer {
            introspect::Answer::Json(body) => ("application/json", body),
            introspect::Answer::Jwt(body) => (introspect::JWT, body),
        };
        let headers =
            [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
        Ok((headers, body).into_response())
    }

    async fn grant(&self, asked: &Incoming<'_>, progress: &mut Progress) -> Result<Answer, TokenError> {
        let (form, client, now) = self.authenticated(Place::Token, asked, progress).await?;
        let (peer, ids) = (asked.peer, asked.ids);
        let grant = progress.grant.filter(|grant| self.grants.offers(*grant));
        let grant = grant.ok_or(TokenError::UnsupportedGrantType)?;
        let own = self.grants.clients.get(client.id.as_str());
        let own = own.filter(|own| own.has(grant)).ok_or(TokenError::UnauthorizedClient)?;
        let audience = target::audience(&form)?;
        let upload = upload::asked(&form, grant)?;
        // Before the grant, and taken after it: a caller that shows nothing worth a token writes
        // nothing.
        let proof = self.proofs.check(&asked.parts.headers, own.dpop_bound, now)?;
        let jkt = proof.as_ref().map(Proven::jkt);
        // What the mint takes where nothing is asked for.
        let first = || AudienceRequest::one(client.policy.audiences.first()?.to_owned()).ok();
        let default = audience.clone().or_else(first);
        let request = crate::request::Request {
            form: &form,
            client: client.id.as_str(),
            own,
            rules: &self.grants.rules,
            issuer: &self.issuer,
            record: RefusedRequest { grant: Some(grant.name()), ..asked.by(&client) },
            seen: &self.seen,
            families: self.families.as_ref(),
            revocations: &self.revocations,
            scopes: &client.policy.scopes,
            audience: default.as_ref(),
            upload: upload.as_ref(),
            proof: proof.as_ref(),
            now,
            backdate: self.issuer.settings().backdate,
        };
        let outcome = match grant {
            GrantType::ClientCredentials => client_credentials::ask(&request)?,
            GrantType::JwtBearer => jwt_bearer::ask(&request).await?,
            GrantType::TokenExchange => token_exchange::ask(&request).await?,
            GrantType::RefreshToken => {
                let outcome = refresh::ask(&request, audience.clone()).await;
                self.end_replayed(outcome, &client, now).await?
            }
        };
        let mut outcome = outcome;
        let refresh = Refreshed::prepare(mem::take(&mut outcome.refresh), now)?;
        let client_token = progress.client_token.as_ref();
        let request = outcome.of_mint(grant, Said { jkt, client_token, audience, upload })?;
        let ids = refresh.ids(ids);
        let taken = outcome.spends.take(proof.as_ref(), grant, &self.seen).await?;
        let minted = self.issuer.mint(Caller::Client(&client), &request, now, &ids, Some(peer.0)).await;
        let minted = match minted {
            Ok(minted) => minted,
            Err(why) => {
                self.seen.give_back(taken).await;
                return Err(HttpError::Mint(why).into());
            }
        };
        // After the mint: what could not be minted turns no token, so that the client can try as
        // long as it takes.
        let refresh = match self.refreshed(refresh, now).await {
            Ok(refresh) => refresh,
            Err(why) => {
                // Nobody gets to see what was minted.
                self.seen.give_back(taken).await;
                return Err(why);
            }
        };
        let kind = match (outcome.profile, jkt) {
            // RFC 8693 §2.2.1: it is not an access token.
            (Some(_), _) => "N_A",
            (None, Some(_)) => "DPoP",
            (None, None) => "Bearer",
        };
        let Asked { scope, issued_token_type, .. } = outcome;
        Ok(Answer { minted, kind, scope, issued_token_type, refresh })
    }

    /// Of a family that a replay has ended, the access tokens are revoked too. Where that fails
    /// they expire by themselves.
    async fn end_replayed(
        &self,
        outcome: Result<Asked, TokenError>,
        client: &Client,
        now: Timestamp,
    ) -> Result<Asked, TokenError> {
        let Err(TokenError::Refresh(RefreshError::Replayed { family, subject, .. })) = &outcome else {
            return outcome;
        };
        let client = client.id.as_str();
        let owner =
            Owner { client, is_public: self.grants.is_public(client), subject: Some(subject.as_str()) };
        if let Err(why) = revoke::end_access(&self.revocations, &family.to_string(), owner, now).await {
            tracing::error!("the access tokens of a family that was replayed are not revoked: {why}");
        }
        outcome
    }

    async fn refreshed(
        &self,
        refresh: Refreshed,
        now: Timestamp,
    ) -> Result<Option<RefreshToken>, TokenError> {
        match (refresh, &self.families) {
            (Refreshed::No, _) | (_, None) => Ok(None),
            (Refreshed::Begun(begun), Some(families)) => Ok(Some(families.begin(*begun).await?)),
            (Refreshed::Turn(found, token), Some(families)) => {
                Ok(Some(families.turn(*found, &token, now).await?))
            }
        }
    }
}

/// What becomes of refresh tokens, ready to be written.
enum Refreshed {
    No,
    Begun(Box<Begun>),
    Turn(Box<Found>, RefreshToken),
}

impl Refreshed {
    fn prepare(refresh: Refresh, now: Timestamp) -> Result<Self, RefreshError> {
        Ok(match refresh {
            Refresh::No => Self::No,
            Refresh::Begin(granting) => Self::Begun(Box::new(Begun::new(*granting, now)?)),
            Refresh::Turn(found, token) => Self::Turn(found, token),
        })
    }

    /// The names of a request and its token. The family's name is in front of the `jti` of its
    /// access tokens, so that they can be revoked together.
    fn ids<'i>(&self, ids: &'i Ids) -> Cow<'i, Ids> {
        let family = match self {
            Self::No => return Cow::Borrowed(ids),
            Self::Begun(begun) => begun.family(),
            Self::Turn(_, token) => token.family,
        };
        Cow::Owned(Ids { request: ids.request.clone(), token: format!("{family}.{}", ids.token) })
    }
}

/// RFC 6749 §5.1. The scope is told whether it was asked for or is the client's default.
fn success(answer: &Answer) -> Response {
    let (token, expires_in) = (&answer.minted.token, answer.minted.expires_in.as_secs());
    // A scope has no character that JSON would escape, and neither has a compact token.
    let scope = answer.scope.as_ref().map(|scope| format!(r#","scope":"{}""#, scope.as_str()));
    let issued = answer.issued_token_type.map(|issued| format!(r#","issued_token_type":"{issued}""#));
    let refresh =
        answer.refresh.as_ref().map(|token| format!(r#","refresh_token":"{}""#, token.text().as_str()));
    let kind = answer.kind;
    let body = format!(
        r#"{{"access_token":"{token}","token_type":"{kind}","expires_in":{expires_in}{}{}{}}}"#,
        scope.unwrap_or_default(),
        issued.unwrap_or_default(),
        refresh.unwrap_or_default(),
    );
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::PRAGMA, "no-cache"),
    ];
    (headers, body).into_response()
}
