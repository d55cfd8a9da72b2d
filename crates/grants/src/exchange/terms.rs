//! What a rule says about claims: the condition that a token must meet, and the claims that it
//! gives to what is minted.

use super::{
    error::ExchangeError,
    expression::{Expression, claims_of},
};
use countersign_jose::{MAX_CLAIMS_DEPTH, json::Object};
use std::collections::BTreeMap;

/// The longest claims that a rule gives, together, in bytes of JSON.
const MAX_MAPPED: usize = 4096;

/// Claims that no rule gives: they are the issuer's and the grant's, or bind a token to who may use
/// it.
pub const RESERVED: [&str; 17] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "scope",
    "scp",
    "client_id",
    "azp",
    "cid",
    "act",
    "may_act",
    "cnf",
    "sid",
    "auth_time",
];

/// The condition and the claims of a rule.
#[derive(Debug, Default)]
pub struct Terms {
    /// Must be true of the token that is shown.
    pub when: Option<Expression>,
    /// The claims of what is minted, by name.
    pub claims: BTreeMap<String, Expression>,
}

impl Terms {
    /// Whether a token with these claims meets the condition.
    pub(super) fn admit(&self, claims: &str) -> Result<(), ExchangeError> {
        let Some(when) = &self.when else { return Ok(()) };
        let holds =
            claims_of(claims).and_then(|claims| when.holds(&claims)).map_err(ExchangeError::Condition)?;
        if holds { Ok(()) } else { Err(ExchangeError::When) }
    }

    /// The claims for a token with these claims, as the text of a JSON object; `None` if there are
    /// none.
    pub(super) fn mapped(&self, claims: &str) -> Result<Option<String>, ExchangeError> {
        let mut text = String::new();
        for (name, expression) in &self.claims {
            let value = claims_of(claims).and_then(|claims| expression.json(&claims, MAX_MAPPED));
            let failed = |why| ExchangeError::Claim { name: name.clone(), why };
            let Some(value) = value.map_err(failed)? else { continue };
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push_str(&serde_json::Value::from(name.as_str()).to_string());
            text.push(':');
            text.push_str(&value);
        }
        if text.len() > MAX_MAPPED {
            return Err(ExchangeError::ClaimsTooLong(MAX_MAPPED));
        }
        if text.is_empty() {
            return Ok(None);
        }
        text.push('}');
        // Each value was read where it stood in claims; in a list or map of the rule's it is
        // deeper.
        Object::parse_text(&text, MAX_CLAIMS_DEPTH).map_err(|_| ExchangeError::ClaimsTooDeep)?;
        Ok(Some(text))
    }
}
