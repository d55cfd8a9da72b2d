//! Who asks: exactly one of HTTP Basic, `client_id` and `client_secret` in the body, or an
//! assertion that the client signed (RFC 6749 §2.3, RFC 7521 §4.2). Two at once are a malformed
//! request, even if they agree.

use crate::{assertion::AssertionError, error::TokenError, form::Form, seen::Seen, settings::Grants};
use axum::http::HeaderMap;
use countersign_issuer::{
    Client, Clients,
    http::{HttpError, basic},
};
use countersign_jose::Timestamp;
use std::sync::Arc;

/// `client_assertion_type` (RFC 7523 §2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The client that a request proves to come from.
pub(crate) async fn authenticate(
    headers: &HeaderMap,
    form: &Form,
    clients: &Clients,
    grants: &Grants,
    seen: &Seen,
    now: Timestamp,
) -> Result<Arc<Client>, TokenError> {
    let basic = basic(headers)?;
    let (id, secret) = (form.get("client_id"), form.get("client_secret"));
    let (assertion, kind) = (form.get("client_assertion"), form.get("client_assertion_type"));
    let methods = [basic.is_some(), secret.is_some(), assertion.is_some() || kind.is_some()];
    if methods.iter().filter(|shown| **shown).count() > 1 {
        return Err(TokenError::Contradiction("send the client's credentials in one way, not in two"));
    }
    if let Some(shown) = basic {
        if id.is_some_and(|id| id != shown.id) {
            return Err(TokenError::Contradiction("`client_id` is another client than that of the header"));
        }
        return by_secret(clients, &shown.id, &shown.secret);
    }
    if let Some(secret) = secret {
        return by_secret(clients, id.ok_or(TokenError::Missing("client_id"))?, secret);
    }
    match (assertion, kind) {
        (Some(assertion), Some(JWT_BEARER)) => {
            let assertions = grants.assertions.as_ref().ok_or(AssertionError::NotInUse)?;
            let signer = assertions.accept(assertion, now, id, seen).await?;
            clients.find(&signer).map(Arc::clone).ok_or(HttpError::InvalidClient.into())
        }
        (Some(_), None) => Err(TokenError::Missing("client_assertion_type")),
        (None, Some(_)) => Err(TokenError::Missing("client_assertion")),
        // A kind of assertion that is not known, or nothing that proves anything.
        (Some(_), Some(_)) | (None, None) => Err(HttpError::InvalidClient.into()),
    }
}

fn by_secret(clients: &Clients, id: &str, secret: &str) -> Result<Arc<Client>, TokenError> {
    let client = clients.authenticate(id, secret.as_bytes());
    client.map(Arc::clone).ok_or(HttpError::InvalidClient.into())
}
