//! `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693) for subject tokens that are JWTs, of other issuers or our own,
//! and opaque tokens or authorization codes of providers.
//!
//! What is minted is about the subject, for the client. With an `actor_token` it names who acts for the subject; without,
//! the rule must say by name that a client may have that. The scope of the subject token, where it has one, and of the
//! actor bound what may be asked for.

use crate::{
    dpop,
    error::TokenError,
    exchange::{self, Presented, PresentedKind, Tokens},
    form::Form,
    request::{Asked, Request},
    upload,
};
use countersign_issuer::{GrantType, IdJagProfile, MeetingService};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// An authorization code. It is not a token, so the type is one of our own.
const CODE: &str = "urn:countersign:params:oauth:token-type:authorization_code";

/// An assertion for another authorization server, by a rule that has `id_jags`.
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// What is given in place of an access token, by rules that say so: its type, and the profile that mints it. A rule is
/// asked only for what it gives, so that nobody gets one kind for the other.
const IN_PLACE: [(&str, &str); 4] = [
    (ID_JAG, IdJagProfile::NAME),
    ("urn:countersign:params:oauth:token-type:jaas", MeetingService::Jaas.profile()),
    ("urn:countersign:params:oauth:token-type:jitsi", MeetingService::Jitsi.profile()),
    (upload::TYPE, upload::PROFILE),
];

/// The profile that is asked for in place of an access token.
pub(crate) fn profile(form: &Form) -> Option<&'static str> {
    let wanted = form.get("requested_token_type")?;
    IN_PLACE.into_iter().find(|(name, _)| *name == wanted).map(|(_, profile)| profile)
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
        // The provider takes it once, while it is judged: a proof that was used before is refused first.
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
        None | Some(ACCESS_TOKEN) => Ok(ACCESS_TOKEN),
        Some(JWT) => Ok(JWT),
        Some(wanted) => {
            let found = IN_PLACE.into_iter().find(|(name, _)| *name == wanted).map(|(name, _)| name);
            found.ok_or(TokenError::Unacceptable(
                "`requested_token_type` must be access_token, jwt or id-jag, or jaas, jitsi or upload of urn:countersign",
            ))
        }
    }
}
