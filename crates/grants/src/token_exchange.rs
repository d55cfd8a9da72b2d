//! `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693) for subject tokens that are JWTs,
//! of other issuers or our own, and opaque tokens or authorization codes of providers.
//!
//! What is minted is about the subject, for the client. With an `actor_token` it names who acts for
//! the subject; without, the rule must say by name that a client may have that. The scope of the
//! subject token, where it has one, and of the actor bound what may be asked for.

use crate::{
    dpop,
    error::TokenError,
    exchange::{self, Presented, PresentedKind, Tokens},
    form::Form,
    request::{Asked, Request},
    upload,
};
use countersign_issuer::{GrantType, IdJagProfile, MeetingService, UPLOAD_PROFILE};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// An authorization code. It is not a token, so the type is one of our own.
const CODE: &str = "urn:countersign:params:oauth:token-type:authorization_code";

/// What may be asked for (`requested_token_type`): an access token, or what is given in its place
/// by rules that say so. A rule is asked only for what it gives, so that nobody gets one kind for
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestedType {
    /// An access token.
    AccessToken,
    /// An assertion for another authorization server, by a rule that has `id_jags`.
    IdJag,
    /// A token for a meeting of 8x8 JaaS.
    Jaas,
    /// A token for a meeting of a Jitsi server.
    Jitsi,
    /// A token for an upload.
    Upload,
}

impl RequestedType {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::AccessToken, Self::IdJag, Self::Jaas, Self::Jitsi, Self::Upload];

    /// How a request names it.
    const fn urn(self) -> &'static str {
        match self {
            Self::AccessToken => ACCESS_TOKEN,
            Self::IdJag => "urn:ietf:params:oauth:token-type:id-jag",
            Self::Jaas => "urn:countersign:params:oauth:token-type:jaas",
            Self::Jitsi => "urn:countersign:params:oauth:token-type:jitsi",
            Self::Upload => upload::TYPE,
        }
    }

    /// The same without what stands in front of all of them.
    pub fn name(self) -> &'static str {
        self.urn().rsplit(':').next().unwrap_or_default()
    }

    /// The profile that mints it, where it is no access token.
    pub(crate) const fn profile(self) -> Option<&'static str> {
        match self {
            Self::AccessToken => None,
            Self::IdJag => Some(IdJagProfile::NAME),
            Self::Jaas => Some(MeetingService::Jaas.profile()),
            Self::Jitsi => Some(MeetingService::Jitsi.profile()),
            Self::Upload => Some(UPLOAD_PROFILE),
        }
    }

    fn named(urn: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.urn() == urn)
    }
}

/// The profile that is asked for in place of an access token.
pub(crate) fn profile(form: &Form) -> Option<&'static str> {
    RequestedType::named(form.get("requested_token_type")?)?.profile()
}

/// The type by which tokens of a profile are asked for in place of access tokens.
pub(crate) fn type_of(profile: &str) -> Option<&'static str> {
    RequestedType::ALL.into_iter().find(|kind| kind.profile() == Some(profile)).map(RequestedType::urn)
}

/// What a subject token is worth.
pub(crate) async fn ask(request: &Request<'_>) -> Result<Asked, TokenError> {
    let form = request.form;
    let subject_token = form.require("subject_token")?;
    let kind = kind(form)?;
    let actor = actor(form)?;
    let issued_token_type = issued(form)?;
    // What is malformed spends no token.
    let scope = request.scope()?;
    if matches!(kind, PresentedKind::Code { .. }) {
        // The provider takes it once, while it is judged: a proof that was used before is refused
        // first.
        dpop::check_unused(request.proof, request.seen).await?;
    }
    let subject = Presented { token: subject_token, kind, issuer: form.get("subject_issuer") };
    let asked = exchange::ask(request, GrantType::TokenExchange, &Tokens { subject, actor }, scope).await;
    let asked = asked.map_err(TokenError::SubjectToken)?;
    Ok(Asked { issued_token_type: Some(issued_token_type), ..asked })
}

/// What the subject token is said to be.
fn kind(form: &Form) -> Result<PresentedKind<'_>, TokenError> {
    match form.require("subject_token_type")? {
        ACCESS_TOKEN => Ok(PresentedKind::AccessToken),
        JWT | ID_TOKEN => Ok(PresentedKind::Jwt),
        CODE => {
            let (verifier, redirect_uri) = (form.require("code_verifier")?, form.require("redirect_uri")?);
            Ok(PresentedKind::Code { verifier, redirect_uri })
        }
        _ => Err(TokenError::Unacceptable(
            "`subject_token_type` must be access_token, id_token or jwt, or authorization_code of urn:countersign",
        )),
    }
}

/// The token of who acts, and what it is: both or neither (RFC 8693 §2.1).
fn actor(form: &Form) -> Result<Option<Presented<'_>>, TokenError> {
    match (form.get("actor_token"), form.get("actor_token_type")) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(TokenError::Missing("actor_token_type")),
        (None, Some(_)) => {
            Err(TokenError::Unacceptable("`actor_token_type` says what `actor_token` is, which is missing"))
        }
        (Some(token), Some(ACCESS_TOKEN | JWT | ID_TOKEN)) => Ok(Some(Presented::jwt(token))),
        (Some(_), Some(_)) => Err(TokenError::Unacceptable(
            "`actor_token_type` must be access_token, id_token or jwt, for the actor token has to be a JWT",
        )),
    }
}

/// An access token, which is a JWT (RFC 9068): it is called what it was asked for as.
fn issued(form: &Form) -> Result<&'static str, TokenError> {
    match form.get("requested_token_type") {
        None => Ok(ACCESS_TOKEN),
        Some(JWT) => Ok(JWT),
        Some(wanted) => {
            RequestedType::named(wanted).map(RequestedType::urn).ok_or(TokenError::Unacceptable(
                "`requested_token_type` must be access_token, jwt or id-jag, or jaas, jitsi or upload of urn:countersign",
            ))
        }
    }
}
