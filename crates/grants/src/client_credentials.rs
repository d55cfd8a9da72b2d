//! `client_credentials` (RFC 6749 §4.4): a client asks for itself. The token is about the client: `sub` is its id.

use crate::{error::TokenError, form::Form, settings::ClientGrants};
use countersign_issuer::Scope;

/// The scope a request asks for, or the client's default.
pub(crate) fn scope(form: &Form, client: &ClientGrants) -> Result<Option<Scope>, TokenError> {
    match form.get("scope") {
        Some(asked) => Ok(Some(Scope::parse(asked)?)),
        None => Ok(client.default_scope.clone()),
    }
}
