//! Opaque tokens and authorization codes of providers: X, GitHub, Google, Facebook, and any with
//! introspection or userinfo.
//!
//! An access token proves that some application may act for a user, never that the user logs in
//! here: so it is taken only where the provider proves that it was issued to the rule's own
//! application (`preset`), and where none can prove it, we redeem the authorization code ourselves
//! (`code`, decision 0051). What is then believed is a [`Profile`]: the subject, and the provider's
//! claims as they were sent. Providers are asked over one small client (`http`), at addresses of
//! the configuration alone (looked up in `lookup`), and once for all who ask about a token
//! (`recent`). Tokens and secrets occur in no error, log or name. Called by the rules of
//! `exchange`; pinned by `tests/e2e/test_providers.py`.

mod address;
mod code;
mod error;
mod http;
mod limit;
mod preset;
mod profile;
mod recent;
mod settings;

pub(crate) use code::{Code, REMEMBERED as CODE_REMEMBERED};
pub(crate) use error::UpstreamError;
pub(crate) use profile::Profile;
pub use settings::{ApplicationSecret, UpstreamPreset, UpstreamSettings, UpstreamSettingsError};

use crate::refresh::REFRESH_PREFIX;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use code::{Codes, Redeemed};
use countersign_jose::{Timestamp, base64url};
use error::MAX_PRESENTED;
use http::Http;
use preset::{
    facebook::Facebook,
    github::GitHub,
    google::Google,
    introspection::Introspection,
    userinfo::{Origin, Userinfo},
    x::X,
};
use profile::Bound;
use recent::Recent;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What secrets of clients begin with.
const SECRET_PREFIX: &str = "cssec_";

/// What is shown to us.
#[derive(Clone, Copy)]
pub(crate) enum Presented<'a> {
    /// An access token of the provider.
    Token(&'a str),
    /// An authorization code, and who has asked for it.
    Code(Code<'a>),
}

/// A provider as one rule trusts it.
#[derive(Debug, Clone)]
pub struct Upstream(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The provider and the application.
    name: String,
    /// The name, and a digest of everything that binds: what else is trusted is another trust.
    trust: String,
    /// Where a subject is the same user.
    subjects_of: String,
    provider: Provider,
    codes: Option<Codes>,
    require_scopes: Vec<String>,
    http: Http,
    recent: Recent,
}

#[derive(Debug)]
enum Provider {
    X(X),
    GitHub(GitHub),
    Google(Google),
    Facebook(Facebook),
    Introspection(Introspection),
    Userinfo(Userinfo),
}

/// An application that is registered with a provider.
#[derive(Debug, Clone)]
struct Application {
    id: String,
    secret: ApplicationSecret,
}

impl Application {
    fn new(id: String, secret: ApplicationSecret) -> Self {
        Self { id, secret }
    }

    /// HTTP Basic; id and secret are form-encoded first (RFC 6749 §2.3.1).
    fn basic(&self) -> Zeroizing<String> {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = Zeroizing::new(format!("{}:{}", encode(&self.id), encode(self.secret.expose())));
        Zeroizing::new(format!("Basic {}", BASE64.encode(pair.as_bytes())))
    }
}

impl Upstream {
    /// Who gave the codes: the provider and the application.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Whose word is believed, and about what: it changes with everything that binds a token.
    pub(crate) fn trust(&self) -> &str {
        &self.0.trust
    }

    /// Where a subject is the same user, whatever the application.
    pub(crate) fn subjects_of(&self) -> &str {
        &self.0.subjects_of
    }

    /// What is believed about what is shown.
    pub(crate) async fn take(
        &self,
        shown: Presented<'_>,
        now: Timestamp,
    ) -> Result<Arc<Profile>, UpstreamError> {
        let (Presented::Token(text) | Presented::Code(Code { code: text, .. })) = shown;
        if is_secret_of_ours(text) || (!self.0.provider.gives_jwts() && is_jwt(text)) {
            return Err(UpstreamError::NotTheirs);
        }
        match shown {
            Presented::Token(token) if token.len() > MAX_PRESENTED || !is_printable(token) => {
                Err(UpstreamError::Malformed)
            }
            Presented::Token(token) => {
                let (shared, shown) = (Arc::clone(&self.0), Zeroizing::new(token.to_owned()));
                let ask = Box::pin(async move { shared.of_token(&shown, now).await });
                self.0.recent.of(token, now, ask).await
            }
            Presented::Code(code) => {
                let codes = self.0.codes.as_ref().ok_or(UpstreamError::NoCodes)?;
                let ask = Box::pin(async {
                    let Redeemed { token, bound } = codes.redeem(&self.0.http, code, now).await?;
                    self.0.profile(&token, bound, Origin::Redeemed, now).await
                });
                self.0.recent.of_code(code.code, now, ask).await
            }
        }
    }
}

impl Shared {
    async fn of_token(&self, token: &str, now: Timestamp) -> Result<Profile, UpstreamError> {
        let http = &self.http;
        let bound = match &self.provider {
            Provider::X(x) => x.bind()?,
            Provider::GitHub(github) => github.bind(http, token, now).await?,
            Provider::Google(google) => google.bind(http, token, now).await?,
            Provider::Facebook(facebook) => facebook.bind(http, token, now).await?,
            // Their one answer is proof and profile.
            Provider::Introspection(_) | Provider::Userinfo(_) => Bound::default(),
        };
        self.profile(token, bound, Origin::Shown, now).await
    }

    /// The profile of a token that is bound, or that its profile binds.
    async fn profile(
        &self,
        token: &str,
        bound: Bound,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Profile, UpstreamError> {
        let http = &self.http;
        match &self.provider {
            Provider::X(x) => x.profile(http, token, self.admit(bound, now)?, now).await,
            Provider::GitHub(github) => github.profile(http, token, self.admit(bound, now)?, now).await,
            Provider::Google(google) => google.profile(http, token, self.admit(bound, now)?, now).await,
            Provider::Facebook(facebook) => facebook.profile(http, token, self.admit(bound, now)?, now).await,
            Provider::Userinfo(userinfo) => {
                userinfo.profile(http, token, self.admit(bound, now)?, origin, now).await
            }
            Provider::Introspection(introspection) => {
                let (profile, bound) = introspection.profile(http, token, bound, now).await?;
                self.admit(bound, now).map(|_| profile)
            }
        }
    }

    /// Refuses a token that has ended or lacks a scope.
    fn admit(&self, bound: Bound, now: Timestamp) -> Result<Bound, UpstreamError> {
        if bound.ends.is_some_and(|ends| ends <= now) {
            return Err(UpstreamError::Expired);
        }
        bound.require(&self.require_scopes).map(|()| bound)
    }
}

impl Provider {
    /// Whether a token or code of it may be a JWT.
    fn gives_jwts(&self) -> bool {
        matches!(self, Self::Introspection(_) | Self::Userinfo(_))
    }
}

/// Whether it is a refresh token or a client's secret of this issuer.
fn is_secret_of_ours(text: &str) -> bool {
    [REFRESH_PREFIX, SECRET_PREFIX].iter().any(|prefix| text.starts_with(prefix))
}

/// Whether a text has the form of a JWT, signed or encrypted: its header is JSON.
pub(crate) fn is_jwt(text: &str) -> bool {
    let header = text.split('.').next().unwrap_or_default();
    [2, 4].contains(&text.matches('.').count())
        && base64url::decode(header).is_ok_and(|header| header.trim_ascii_start().starts_with(b"{"))
}

/// Whether a token or code can be one: it goes into headers and forms.
fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}
