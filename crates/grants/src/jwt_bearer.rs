//! `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523 §2.1): a client shows a token of another
//! issuer for one of ours.
//!
//! Client authentication is demanded, so that a stolen assertion alone is worth nothing.

use crate::{
    error::TokenError,
    exchange::{self, Presented, Tokens},
    request::{Asked, Request},
};
use countersign_issuer::GrantType;

/// What an assertion is worth.
pub(crate) async fn ask(request: &Request<'_>) -> Result<Asked, TokenError> {
    let assertion = request.form.require("assertion")?;
    // What is malformed spends no assertion.
    let scope = request.scope()?;
    let tokens = Tokens { subject: Presented::jwt(assertion), actor: None };
    let asked = exchange::ask(request, GrantType::JwtBearer, &tokens, scope).await;
    asked.map_err(TokenError::Assertion)
}
