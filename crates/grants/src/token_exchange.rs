//! `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693) for subject tokens that are JWTs of other issuers.
//!
//! What is minted is about the subject, for the client: there is no actor in it, so one that is sent is refused and not
//! passed over. The scope of the subject token, where it has one, bounds what may be asked for.

use crate::{
    error::TokenError,
    exchange,
    form::Form,
    request::{Asked, Request},
};
use countersign_issuer::GrantType;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// What a subject token is worth.
pub(crate) async fn ask(request: &Request<'_>) -> Result<Asked, TokenError> {
    let form = request.form;
    let subject_token = form.require("subject_token")?;
    if ![ACCESS_TOKEN, JWT, ID_TOKEN].contains(&form.require("subject_token_type")?) {
        return Err(TokenError::Unacceptable(
            "`subject_token_type` must be access_token, id_token or jwt, for the subject token has to be a JWT",
        ));
    }
    if form.get("actor_token").is_some() || form.get("actor_token_type").is_some() {
        return Err(TokenError::Unacceptable("there is no delegation: leave out `actor_token`"));
    }
    let issued_token_type = issued(form)?;
    // What is malformed spends no token.
    let scope = request.scope()?;
    let asked = exchange::ask(request, GrantType::TokenExchange, subject_token, scope).await;
    let asked = asked.map_err(TokenError::SubjectToken)?;
    Ok(Asked { issued_token_type: Some(issued_token_type), ..asked })
}

/// An access token, which is a JWT (RFC 9068): it is called what it was asked for as.
fn issued(form: &Form) -> Result<&'static str, TokenError> {
    match form.get("requested_token_type") {
        None | Some(ACCESS_TOKEN) => Ok(ACCESS_TOKEN),
        Some(JWT) => Ok(JWT),
        Some(_) => Err(TokenError::Unacceptable("`requested_token_type` must be access_token or jwt")),
    }
}
