//! `client_credentials` (RFC 6749 §4.4): a client asks for itself. The token is about the client:
//! `sub` is its id.

use crate::{
    error::TokenError,
    request::{Asked, Request},
    upload,
};
use countersign_issuer::UPLOAD_PROFILE;

/// What the client may have: the scope it asks for, or its default.
pub(crate) fn ask(request: &Request<'_>) -> Result<Asked, TokenError> {
    if request.upload.is_some() {
        if request.scope()?.is_some() {
            return Err(TokenError::Unacceptable("a token for an upload has no `scope`; leave it out"));
        }
        let (profile, issued_token_type) = (Some(UPLOAD_PROFILE), Some(upload::TYPE));
        return Ok(Asked { profile, issued_token_type, ..Asked::default() });
    }
    let scope = request.scope()?.or_else(|| request.own.default_scope.clone());
    Ok(Asked { scope, ..Asked::default() })
}
