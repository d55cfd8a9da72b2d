//! `client_credentials` (RFC 6749 §4.4): a client asks for itself. The token is about the client: `sub` is its id.

use crate::{
    error::TokenError,
    request::{Asked, Request},
};

/// What the client may have: the scope it asks for, or its default.
pub(crate) fn ask(request: &Request<'_>) -> Result<Asked, TokenError> {
    let scope = request.scope()?.or_else(|| request.own.default_scope.clone());
    Ok(Asked { scope, ..Asked::default() })
}
