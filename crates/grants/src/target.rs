//! For whom a token is asked: `resource` (RFC 8707 §2) and `audience` (RFC 8693 §2.1), together the
//! audience of the token.
//!
//! Whether the client may have it is decided by its policy; here it is only read.

use crate::{error::TokenError, form::Form};
use countersign_issuer::AudienceRequest;

/// The audience that a request asks for, each once; `None` for the client's own.
pub(crate) fn audience(form: &Form) -> Result<Option<AudienceRequest>, TokenError> {
    let mut names: Vec<String> = Vec::new();
    for resource in form.all("resource") {
        // RFC 8707 §2: an absolute URI without a fragment.
        let is_absolute = url::Url::parse(resource).is_ok();
        if !is_absolute || resource.contains('#') {
            return Err(TokenError::InvalidTarget(
                "`resource` must be an absolute URI without a fragment (RFC 8707 section 2)",
            ));
        }
        names.push(resource.to_owned());
    }
    names.extend(form.all("audience").map(str::to_owned));
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let request = match <[String; 1]>::try_from(names) {
        Ok([one]) => AudienceRequest::one(one),
        Err(names) if names.is_empty() => return Ok(None),
        Err(names) => AudienceRequest::many(names),
    };
    request.map(Some).map_err(|_| TokenError::InvalidTarget("at most 20 resources and audiences together"))
}
