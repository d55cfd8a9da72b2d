//! `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523 §2.1): a client shows a token of another issuer for one of ours.
//!
//! Client authentication is demanded, so that a stolen assertion alone is worth nothing. What is minted is about the
//! assertion's subject, for the client; it ends before the assertion does, and its scope is within the rule's and the client's.

use crate::{
    error::TokenError,
    exchange::{self, ExchangeError, ExchangeRule},
    form::Form,
    seen::Seen,
    settings::ClientGrants,
};
use countersign_issuer::Scope;
use countersign_jose::Timestamp;
use std::time::Duration;

/// What a token is minted for.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) scope: Option<Scope>,
    pub(crate) longest: Duration,
}

/// Takes the assertion of a request. `backdate` is what a token's life begins with in the past.
pub(crate) async fn subject(
    form: &Form,
    rules: &[ExchangeRule],
    client: (&str, &ClientGrants),
    now: Timestamp,
    backdate: Duration,
    seen: &Seen,
) -> Result<Subject, TokenError> {
    let (id, own) = client;
    let assertion = form.require("assertion")?;
    // What is malformed spends no assertion.
    let asked = form.get("scope").map(Scope::parse).transpose()?;
    let exchanged = exchange::take(rules, id, assertion, now, seen).await?;
    if exchanged.longest <= backdate {
        return Err(ExchangeError::Ending.into());
    }
    let scope = match asked {
        Some(asked) => Some(exchanged.allow(asked)?),
        None => own.default_scope.as_ref().and_then(|default| exchanged.narrow(default)),
    };
    Ok(Subject { longest: exchanged.longest, name: exchanged.subject, scope })
}
