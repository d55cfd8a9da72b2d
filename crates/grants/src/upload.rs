//! Tokens for uploads at `POST /token`: what is asked for, and which destinations a rule of
//! exchange gives.
//!
//! `requested_token_type` says that one is wanted, and the parameter `upload` what is to be
//! uploaded, as the same JSON object that `POST /uploads` has. Client credentials give one to a
//! client for itself, and token exchange one for whom the subject token is about, by rules that
//! name destinations. The client's policy has its say as at every mint.

use crate::{error::TokenError, exchange::ExchangeError, form::Form};
use countersign_issuer::{GrantType, UploadRequest, http::HttpError};

/// What such a token is called (RFC 8693 §3).
pub(crate) const TYPE: &str = "urn:countersign:params:oauth:token-type:upload";

/// What is asked for, where that is an upload.
pub(crate) fn asked(form: &Form, grant: GrantType) -> Result<Option<UploadRequest<'_>>, TokenError> {
    let is_wanted = form.get("requested_token_type") == Some(TYPE);
    let gives = matches!(grant, GrantType::ClientCredentials | GrantType::TokenExchange);
    match (is_wanted, form.get("upload")) {
        (false, None) => Ok(None),
        (false, Some(_)) => Err(TokenError::Unacceptable(
            "`upload` says what is to be uploaded; ask for `requested_token_type` urn:countersign:params:oauth:token-type:upload",
        )),
        (true, _) if !gives => {
            Err(TokenError::Unacceptable("this grant gives no tokens for uploads; use token exchange"))
        }
        (true, None) => Ok(Some(UploadRequest::default())),
        (true, Some(text)) => {
            let upload = UploadRequest::parse(text);
            Ok(Some(upload.map_err(HttpError::InvalidRequest)?))
        }
    }
}

/// The destinations to which a rule lets people upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadTerms {
    /// Their names; one at least.
    pub to: Vec<String>,
}

impl UploadTerms {
    /// The destination that is asked for, if it is one of the rule; the only one where none is
    /// asked for.
    pub(crate) fn destination(&self, asked: Option<&str>) -> Result<&str, ExchangeError> {
        let found = match (asked, self.to.as_slice()) {
            (Some(asked), all) => all.iter().find(|name| *name == asked),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        found.map(String::as_str).ok_or(ExchangeError::Destination)
    }
}
