//! The answer to an authorizer event, in the form of its shape and small enough for AWS.
//!
//! | shape | let in | known but not allowed | not known | cannot be told now |
//! |---|---|---|---|---|
//! | REST, WebSocket | policy | policy | error `Unauthorized`, which becomes 401 | error `Unavailable`, 500 |
//! | HTTP 1.0, one that could be it, and 2.0 with policies | policy | policy | policy of the public rules | error `Unavailable`, 500 |
//! | HTTP 2.0 | `isAuthorized` | `isAuthorized: false` | `isAuthorized: false` | error `Unavailable`, 500 |
//! | AppSync | `isAuthorized` | `isAuthorized: false` | `isAuthorized: false` | the same: it is not remembered |
//!
//! An error is never remembered. What cannot be told now would be, for a token that may be good
//! (docs/decisions/0026).

use super::{
    ApiSettings,
    event::{Form, Shape},
    policy::Policy,
};
use crate::{
    claims::Claims,
    context::{Context, ValueForm},
    decision::{Decision, RefusalKind},
    gate::Gate,
};
use countersign_jose::Timestamp;
use countersign_verifier::{Accepted, TENANT_PLACEHOLDER, dpop::Binding};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What a Lambda function hands back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// This JSON.
    Json(String),
    /// An error whose message is exactly `Unauthorized`: API Gateway answers 401.
    Unauthorized,
    /// Any other error: API Gateway answers 500 and remembers nothing.
    Unavailable,
}

impl Reply {
    /// The error message that API Gateway turns into 401; any other becomes 500.
    pub const UNAUTHORIZED: &'static str = "Unauthorized";
    /// The error message where an issuer's keys cannot be had.
    pub const UNAVAILABLE: &'static str = "Unavailable";
}

/// The longest name of a caller.
const MAX_PRINCIPAL_BYTES: usize = 512;
/// The longest API key value (API Gateway: 20 to 128 characters).
const MAX_USAGE_KEY_BYTES: usize = 128;
/// The largest answer API Gateway takes from an authorizer.
const MAX_REPLY_BYTES: usize = 8 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyReply<'a> {
    principal_id: Cow<'a, str>,
    policy_document: &'a RawValue,
    #[serde(skip_serializing_if = "Context::is_empty")]
    context: Context<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_identifier_key: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SimpleReply<'a> {
    is_authorized: bool,
    #[serde(skip_serializing_if = "Context::is_empty")]
    context: Context<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AppSyncReply<'a> {
    is_authorized: bool,
    #[serde(skip_serializing_if = "Context::is_empty")]
    resolver_context: Context<'a>,
    ttl_override: u64,
}

/// Everything an answer is made of.
pub(super) struct Answer<'a> {
    pub(super) gate: &'a Gate,
    pub(super) settings: &'a ApiSettings,
    pub(super) shape: Shape,
    pub(super) form: Form,
    /// What is answered where the form is a policy.
    pub(super) policy: &'a Policy,
    pub(super) decision: &'a Decision,
}

impl Answer<'_> {
    /// `None` where it would be larger than AWS takes.
    pub(super) fn reply(&self, now: Timestamp) -> Option<Reply> {
        let admitted = matches!(self.decision, Decision::Allow(_));
        let caller = match self.decision {
            Decision::Allow(grant) => grant.caller(),
            Decision::Deny(denial) => denial.caller.as_ref(),
        };
        // A no is the end of it: nothing is said to what lies behind.
        let shown = caller.filter(|_| admitted);
        let context = |form| Context::of(shown, &self.settings.context, form);
        if self.shape != Shape::AppSync && self.cannot_be_told() {
            return Some(Reply::Unavailable);
        }
        let json = match (self.form, self.shape) {
            (Form::Simple, Shape::AppSync) => json(&AppSyncReply {
                is_authorized: admitted,
                resolver_context: context(ValueForm::Flat),
                ttl_override: self.appsync_ttl(shown, admitted, now),
            }),
            (Form::Simple, _) => {
                json(&SimpleReply { is_authorized: admitted, context: context(ValueForm::Nested) })
            }
            (Form::Policy, Shape::RestToken | Shape::RestRequest | Shape::WebSocket)
                if !admitted && caller.is_none() =>
            {
                return Some(Reply::Unauthorized);
            }
            (Form::Policy, _) => self.policy(caller),
        };
        json.filter(|json| json.len() <= MAX_REPLY_BYTES).map(Reply::Json)
    }

    fn cannot_be_told(&self) -> bool {
        let why = match self.decision {
            Decision::Allow(_) => None,
            Decision::Deny(denial) => Some(denial.refusal.kind()),
        };
        why == Some(RefusalKind::Unavailable)
    }

    /// The same whether this request is let in or not: API Gateway remembers all of it, and lets in
    /// by it what the caller may ask for next.
    fn policy(&self, caller: Option<&Accepted>) -> Option<String> {
        let usage_identifier_key = caller.and_then(|caller| {
            let claim = self.settings.usage_identifier_claim.as_ref()?;
            let key = Claims::of(caller.verified())?.text(claim)?.into_owned();
            (!key.is_empty() && key.len() <= MAX_USAGE_KEY_BYTES).then_some(Cow::Owned(key))
        });
        json(&PolicyReply {
            principal_id: caller
                .and_then(|caller| self.settings.principal(caller, self.gate))
                .unwrap_or(Cow::Borrowed("anonymous")),
            policy_document: self.policy.document(),
            context: Context::of(caller, &self.settings.context, ValueForm::Flat),
            usage_identifier_key,
        })
    }

    /// How long AppSync may remember the answer: as configured, but never past the token's end. A
    /// refusal is not remembered, and neither is the answer to a proof.
    fn appsync_ttl(&self, caller: Option<&Accepted>, admitted: bool, now: Timestamp) -> u64 {
        let end = caller.and_then(|caller| caller.verified().registered().exp);
        // The next request needs a proof of its own.
        let is_bound = caller.is_some_and(|caller| !matches!(Binding::of(caller.verified()), Ok(None)));
        match (admitted && !is_bound, end) {
            (true, Some(exp)) => exp.since(now).min(self.settings.appsync_ttl).as_secs(),
            _ => 0,
        }
    }
}

impl ApiSettings {
    /// What the caller is called: a claim that is a string, neither empty nor long, and can be
    /// shown. Where several issuers are trusted, `ISSUER#NAME`, since two of them may call two
    /// people by one name; in the issuer, `%` is written `%25` and `#` `%23`, so that the first `#`
    /// is the one between the two.
    pub(super) fn principal<'c>(&self, caller: &'c Accepted, gate: &Gate) -> Option<Cow<'c, str>> {
        let registered = caller.verified().registered();
        let name = if self.principal_claim.as_str() == "sub" {
            registered.sub.as_deref().map(Cow::Borrowed)
        } else {
            Claims::of(caller.verified())?.text(&self.principal_claim)
        };
        let name = name.filter(|name| !name.is_empty())?;
        let tenants = caller.issuer().contains(TENANT_PLACEHOLDER);
        let name = if tenants || gate.verifier().issuers().nth(1).is_some() {
            let issuer = if tenants { registered.iss.as_deref()? } else { caller.issuer() };
            Cow::Owned(format!("{}#{name}", issuer.replace('%', "%25").replace('#', "%23")))
        } else {
            name
        };
        Some(name).filter(|name| name.len() <= MAX_PRINCIPAL_BYTES && !name.contains(char::is_control))
    }
}

fn json(reply: &impl Serialize) -> Option<String> {
    // Most replies fit; growing costs more than a little room.
    let mut json = Vec::with_capacity(1024);
    serde_json::to_writer(&mut json, reply).ok()?;
    String::from_utf8(json).ok()
}
