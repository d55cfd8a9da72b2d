//! Authorization codes, redeemed at the provider by us (RFC 6749 §4.1.3, RFC 7636 §4.5).
//!
//! The provider takes a code only from the application that it was issued to, and with the verifier
//! of who has asked for it: so the token that it answers with is bound, whatever the provider says
//! about its tokens. Each code is taken once, whichever server it comes to: the rule takes its name
//! (`exchange`) before anything is minted. A code that the provider was not reached with is not
//! spent.

use super::{
    Application,
    address::ProviderUrl,
    error::{Endpoint, Failure, MAX_PRESENTED, UpstreamError},
    http::{Answer, Ask, Content, Http, unavailable},
    is_printable,
    profile::{Bound, names},
};
use countersign_jose::Timestamp;
use hyper::{Method, StatusCode};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a code that was used is remembered: RFC 6749 §4.1.2 recommends ten minutes as the
/// longest life of one.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(3600);

/// A code as it is shown.
#[derive(Clone, Copy)]
pub(crate) struct Code<'a> {
    pub(crate) code: &'a str,
    pub(crate) verifier: &'a str,
    pub(crate) redirect_uri: &'a str,
}

/// How the application proves who it is at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credentials {
    /// HTTP Basic.
    Basic,
    /// `client_id` and `client_secret` in the body.
    Body,
}

/// What is between the scopes of a token endpoint's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    /// RFC 6749 §3.3.
    Space,
    /// GitHub.
    Comma,
}

/// The codes that a rule takes.
#[derive(Debug)]
pub(super) struct Codes {
    pub(super) url: ProviderUrl,
    pub(super) application: Application,
    pub(super) credentials: Credentials,
    pub(super) separator: Separator,
    pub(super) redirect_uris: Vec<String>,
}

/// A token that a code was redeemed for.
pub(super) struct Redeemed {
    pub(super) token: Zeroizing<String>,
    pub(super) bound: Bound,
}

impl Codes {
    /// Refuses what cannot be a request of ours, before anything is spent.
    fn check(&self, shown: &Code<'_>) -> Result<(), UpstreamError> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        if shown.code.len() > MAX_PRESENTED || !is_printable(shown.code) {
            return Err(UpstreamError::Malformed);
        }
        if !self.redirect_uris.iter().any(|uri| uri == shown.redirect_uri) {
            return Err(UpstreamError::RedirectUri);
        }
        let fits = (43..=128).contains(&shown.verifier.len()) && shown.verifier.bytes().all(unreserved);
        if fits { Ok(()) } else { Err(UpstreamError::Verifier) }
    }

    /// The token that the provider gives for a code.
    pub(super) async fn redeem(
        &self,
        http: &Http,
        shown: Code<'_>,
        now: Timestamp,
    ) -> Result<Redeemed, UpstreamError> {
        self.check(&shown)?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", shown.code),
            ("redirect_uri", shown.redirect_uri),
            ("code_verifier", shown.verifier),
            ("client_id", self.application.id.as_str()),
        ];
        let authorization = match self.credentials {
            Credentials::Basic => Some(self.application.basic()),
            Credentials::Body => {
                form.push(("client_secret", self.application.secret.expose()));
                None
            }
        };
        let ask = Ask {
            endpoint: Endpoint::Token,
            method: Method::POST,
            url: self.url.with(&[]),
            authorization,
            body: Some(Content::form(&form)),
        };
        token(&http.ask(ask, now).await?, self.separator, now)
    }
}

/// The answer of a token endpoint. GitHub says with 200 that it has refused.
fn token(answer: &Answer, separator: Separator, now: Timestamp) -> Result<Redeemed, UpstreamError> {
    let fail = |why| unavailable(Endpoint::Token, why);
    let members = answer.members();
    let error = members.as_ref().and_then(|members| members.string("error"));
    let of_application = ["invalid_client", "unauthorized_client", "incorrect_client_credentials"];
    if answer.status == StatusCode::UNAUTHORIZED
        || error.as_deref().is_some_and(|error| of_application.contains(&error))
    {
        return Err(fail(Failure::Credentials));
    }
    let has_error = members.as_ref().is_some_and(|members| members.raw("error").is_some());
    if answer.status == StatusCode::BAD_REQUEST || has_error {
        return Err(UpstreamError::Refused);
    }
    let members = answer.ok().ok_or_else(|| answer.unexpected())?;
    // RFC 6749 §7.1: a token of a type that is not known must not be used.
    let is_bearer = members.string("token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    let token = members.string("access_token").map(Zeroizing::new);
    let token = token.filter(|token| is_bearer && token.len() <= MAX_PRESENTED && is_printable(token));
    let token = token.ok_or_else(|| members.lacks("access_token"))?;
    let ends = match members.raw("expires_in") {
        None | Some("null") => None,
        Some(_) => {
            let seconds = members.integer("expires_in").and_then(|seconds| seconds.try_into().ok());
            Some(now.plus(Duration::from_secs(seconds.ok_or_else(|| members.lacks("expires_in"))?)))
        }
    };
    let granted = members.string("scope").map(|scope| match separator {
        Separator::Space => names(&scope),
        Separator::Comma => names(&scope.replace(',', " ")),
    });
    Ok(Redeemed { token, bound: Bound { subject: None, granted, ends } })
}
