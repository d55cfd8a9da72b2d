//! Who asks: exactly one of HTTP Basic, `client_id` and `client_secret` in the body, an assertion
//! that the client signed (RFC 6749 §2.3, RFC 7521 §4.2), or a token by which its platform says
//! that it is this client (`workload`). Two at once are a malformed request, even if they agree. A
//! public client shows its `client_id` and nothing else.

use crate::{assertion::AssertionError, error::TokenError, form::Form, seen::Seen, settings::Grants};
use axum::http::HeaderMap;
use countersign_issuer::{
    Client, Clients, ShownToken,
    http::{HttpError, basic},
};
use countersign_jose::Timestamp;
use countersign_verifier::VerifyError;
use std::sync::Arc;

/// `client_assertion_type` (RFC 7523 §2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client, and the token by which it has proved who it is, if it was one.
pub(crate) type Proved = (Arc<Client>, Option<ShownToken>);

/// The client that a request proves to come from.
pub(crate) async fn authenticate(
    headers: &HeaderMap,
    form: &Form,
    clients: &Clients,
    grants: &Grants,
    seen: &Seen,
    now: Timestamp,
) -> Result<Proved, TokenError> {
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
        return by_secret(clients, &shown.id, shown.readings()).map(|client| (client, None));
    }
    if let Some(secret) = secret {
        let id = id.ok_or(TokenError::Missing("client_id"))?;
        return by_secret(clients, id, [secret.as_bytes()]).map(|client| (client, None));
    }
    match (assertion, kind) {
        (Some(assertion), Some(JWT_BEARER)) => {
            let shown = Shown { assertion, client_id: id };
            let (id, token) = by_assertion(shown, grants, seen, now).await?;
            let client = clients.find(&id).map(Arc::clone).ok_or(HttpError::InvalidClient)?;
            Ok((client, Some(token)))
        }
        (Some(_), None) => Err(TokenError::Missing("client_assertion_type")),
        (None, Some(_)) => Err(TokenError::Missing("client_assertion")),
        (None, None) => {
            let public = id.filter(|id| grants.is_public(id)).and_then(|id| clients.find(id));
            let public = public.map(Arc::clone).ok_or(HttpError::InvalidClient)?;
            Ok((public, None))
        }
        // A kind of assertion that is not known.
        (Some(_), Some(_)) => Err(HttpError::InvalidClient.into()),
    }
}

fn by_secret<'s>(
    clients: &Clients,
    id: &str,
    readings: impl IntoIterator<Item = &'s [u8]>,
) -> Result<Arc<Client>, TokenError> {
    let client = clients.authenticate(id, readings);
    client.map(Arc::clone).ok_or(HttpError::InvalidClient.into())
}

/// An assertion, and the client that the request names beside it.
struct Shown<'a> {
    assertion: &'a str,
    client_id: Option<&'a str>,
}

/// The client that an assertion proves: by a token of its platform, or by one that it signed. Which
/// of the two it is follows from the issuer; no platform's issuer is the name of a client.
async fn by_assertion(
    shown: Shown<'_>,
    grants: &Grants,
    seen: &Seen,
    now: Timestamp,
) -> Result<(String, ShownToken), TokenError> {
    let Shown { assertion, client_id } = shown;
    let unknown = AssertionError::Refused(VerifyError::UnknownIssuer);
    if let (Some(id), Some(workloads)) = (client_id, &grants.workloads) {
        match workloads.accept(id, assertion, now, seen).await {
            Ok(token) => return Ok((id.to_owned(), token)),
            Err(why) if why == unknown => {}
            Err(why) => return Err(why.into()),
        }
    }
    let signer = match &grants.assertions {
        Some(assertions) => assertions.accept(assertion, now, client_id, seen).await,
        None if client_id.is_some_and(|id| grants.is_workload(id)) => Err(unknown),
        None => Err(AssertionError::NotInUse),
    };
    match signer {
        // A platform's token names no client.
        Err(why) if grants.workloads.is_some() && client_id.is_none() && why.is_of_a_stranger() => {
            Err(TokenError::Missing("client_id"))
        }
        signer => Ok(signer?),
    }
}
