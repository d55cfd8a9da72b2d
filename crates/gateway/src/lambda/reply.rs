//! The answer to an authorizer event, in the form of its shape and small enough for AWS.
//!
//! | shape | let in | known but not allowed | not known |
//! |---|---|---|---|
//! | REST, WebSocket | policy | policy | error `Unauthorized`, which becomes 401 |
//! | HTTP 1.0, and 2.0 with policies | policy | policy | policy that denies (an error would become 500) |
//! | HTTP 2.0 | `isAuthorized` | `isAuthorized: false` | `isAuthorized: false` |
//! | AppSync | `isAuthorized` | `isAuthorized: false` | `isAuthorized: false` |

use super::{
    ApiSettings, Once,
    arn::MethodArn,
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
use countersign_verifier::Accepted;
use serde::Serialize;
use std::borrow::Cow;

/// What a Lambda function hands back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// This JSON.
    Json(String),
    /// An error whose message is exactly `Unauthorized`: API Gateway answers 401.
    Unauthorized,
}

impl Reply {
    /// The error message that API Gateway turns into 401; any other becomes 500.
    pub const UNAUTHORIZED: &'static str = "Unauthorized";
}

/// The longest name of a caller.
const MAX_PRINCIPAL_BYTES: usize = 512;
/// The longest API key value (API Gateway: 20 to 128 characters).
const MAX_USAGE_KEY_BYTES: usize = 128;
/// The largest answer API Gateway takes from an authorizer.
const MAX_REPLY_BYTES: usize = 8 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyReply<'a, D: Serialize> {
    principal_id: Cow<'a, str>,
    policy_document: D,
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
    /// Whether it was said that policies are narrower than the rules.
    pub(super) narrow: &'a Once,
    pub(super) shape: Shape,
    pub(super) form: Form,
    pub(super) arn: Option<MethodArn<'a>>,
    pub(super) decision: &'a Decision,
}

impl Answer<'_> {
    pub(super) fn reply(&self, now: Timestamp) -> Reply {
        let admitted = matches!(self.decision, Decision::Allow(_));
        let caller = match self.decision {
            Decision::Allow(grant) => grant.caller(),
            Decision::Deny(denial) => denial.caller.as_ref(),
        };
        // What is not let in learns nothing, and nothing is said about it to what lies behind.
        let shown = caller.filter(|_| admitted);
        let context = |form| Context::of(shown, &self.settings.context, form);
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
                if self.is_unauthenticated() =>
            {
                None
            }
            (Form::Policy, _) => self.policy(caller, admitted, context(ValueForm::Flat)),
        };
        json.filter(|json| json.len() <= MAX_REPLY_BYTES).map_or(Reply::Unauthorized, Reply::Json)
    }

    fn is_unauthenticated(&self) -> bool {
        match self.decision {
            Decision::Allow(_) => false,
            Decision::Deny(denial) => match denial.refusal.kind() {
                RefusalKind::Unauthenticated | RefusalKind::InvalidToken | RefusalKind::Unavailable => true,
                RefusalKind::Forbidden => false,
            },
        }
    }

    fn policy(&self, caller: Option<&Accepted>, admitted: bool, context: Context<'_>) -> Option<String> {
        let policy = match &self.arn {
            _ if self.is_unauthenticated() => Policy::nothing(self.arn.as_ref()),
            None => Policy::nothing(None),
            Some(_) if admitted && !self.settings.authorized_apis.is_empty() => {
                Policy::of_apis(&self.settings.authorized_apis)
            }
            Some(arn) if !self.settings.authorized_apis.is_empty() => Policy::nothing(Some(arn)),
            Some(arn) => Policy::of_rules(self.gate, caller, arn, admitted),
        };
        if policy.narrow && self.narrow.is_first() {
            tracing::warn!(
                "some route rules can not be said in a policy that is right for every route; with caching, later requests of \
                 the same caller get 403: set the authorizer's TTL to 0, or add context.httpMethod and context.path to its \
                 identity sources"
            );
        }
        let usage_identifier_key = caller.filter(|_| admitted).and_then(|caller| {
            let claim = self.settings.usage_identifier_claim.as_deref()?;
            let key = Claims::of(caller.verified())?.text(claim)?.into_owned();
            (!key.is_empty() && key.len() <= MAX_USAGE_KEY_BYTES).then_some(Cow::Owned(key))
        });
        json(&PolicyReply {
            principal_id: caller
                .and_then(|caller| self.settings.principal(caller))
                .unwrap_or(Cow::Borrowed("anonymous")),
            policy_document: policy.document(),
            context,
            usage_identifier_key,
        })
    }

    /// How long AppSync may remember the answer: as configured, but never past the token's end. A refusal is not remembered.
    fn appsync_ttl(&self, caller: Option<&Accepted>, admitted: bool, now: Timestamp) -> u64 {
        let end = caller.and_then(|caller| caller.verified().registered().exp);
        match (admitted, end) {
            (true, Some(exp)) => exp.since(now).min(self.settings.appsync_ttl).as_secs(),
            _ => 0,
        }
    }
}

impl ApiSettings {
    /// What the caller is called: a claim that is a string, neither empty nor long, and can be shown.
    pub(super) fn principal<'c>(&self, caller: &'c Accepted) -> Option<Cow<'c, str>> {
        let name = if self.principal_claim == "sub" {
            caller.verified().registered().sub.as_deref().map(Cow::Borrowed)
        } else {
            Claims::of(caller.verified())?.text(&self.principal_claim)
        };
        name.filter(|n| !n.is_empty() && n.len() <= MAX_PRINCIPAL_BYTES && !n.contains(char::is_control))
    }
}

fn json(reply: &impl Serialize) -> Option<String> {
    // Most replies fit; growing costs more than a little room.
    let mut json = Vec::with_capacity(1024);
    serde_json::to_writer(&mut json, reply).ok()?;
    String::from_utf8(json).ok()
}
