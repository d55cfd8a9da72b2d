//! What every grant is handed, and what it gives back for the mint.

use crate::{error::TokenError, exchange::ExchangeRule, form::Form, seen::Seen, settings::ClientGrants};
use countersign_issuer::Scope;
use countersign_jose::Timestamp;
use std::time::Duration;

/// A request of a client that has proved who it is and has the grant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) form: &'a Form,
    pub(crate) client: &'a str,
    pub(crate) own: &'a ClientGrants,
    pub(crate) rules: &'a [ExchangeRule],
    pub(crate) seen: &'a Seen,
    pub(crate) now: Timestamp,
    /// How far in the past a token's life begins.
    pub(crate) backdate: Duration,
}

impl Request<'_> {
    /// The scope that is asked for.
    pub(crate) fn scope(&self) -> Result<Option<Scope>, TokenError> {
        Ok(self.form.get("scope").map(Scope::parse).transpose()?)
    }
}

/// What a grant asks the mint for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Whom the token is about; the client itself if none.
    pub(crate) subject: Option<String>,
    pub(crate) scope: Option<Scope>,
    /// The longest it may live, where that is less than the client's policy says.
    pub(crate) longest: Option<Duration>,
    /// RFC 8693 §2.2.1.
    pub(crate) issued_token_type: Option<&'static str>,
}
