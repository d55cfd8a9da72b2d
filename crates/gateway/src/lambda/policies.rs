//! Which policy an event is answered with: the caller's own, compiled once for each stage and each
//! set of rules that admit it.
//!
//! The request at hand is always answered as the gate has decided. Where the caller's policy says
//! otherwise, because IAM cannot say the rules or the path, the request alone is added to it or, if
//! that cannot be, allowed alone; a path that IAM cannot name is refused with the caller's policy
//! as it is, and the refusal in the outcome. Called by `reply`.

use super::{
    ApiSettings, Once,
    arn::MethodArn,
    policy::{MAX_RESOURCE_BYTES, Policy},
};
use crate::{
    decision::{Decision, Refusal},
    gate::Gate,
    path::Target,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Compiled policies that are kept. An API has few stages, and its callers few kinds of rights.
const MAX_KEPT: usize = 256;

/// By stage, then by the rules that admit the caller.
type Kept = HashMap<Box<str>, HashMap<Box<[bool]>, Arc<Policy>>>;

/// The policies of one gate.
#[derive(Debug, Default)]
pub(super) struct Policies {
    kept: Mutex<Kept>,
    /// Whether it was said that policies are narrower than the rules.
    narrow: Once,
}

/// A policy, and why it does not let in a request that the gate would.
pub(super) type Answered = (Arc<Policy>, Option<Refusal>);

impl Policies {
    pub(super) fn answer(
        &self,
        gate: &Gate,
        settings: &ApiSettings,
        arn: &MethodArn<'_>,
        decision: &Decision,
    ) -> Answered {
        let admitted = matches!(decision, Decision::Allow(_));
        if arn.path == Target::CONNECT && settings.authorized_apis.is_empty() {
            // The one route of a WebSocket API that is ever asked about.
            let nothing = || Arc::new(Policy::nothing(arn.stage(), false));
            return match (admitted, is_nameable(arn)) {
                (true, true) => (Arc::new(Policy::only(arn.as_str(), false)), None),
                (true, false) => (nothing(), Some(Refusal::Unnameable)),
                (false, _) => (nothing(), None),
            };
        }
        // The proof was for this request. Nothing should be remembered of it (`Answers`); if it is,
        // it is for no other path.
        if decision.is_of_bound() {
            return match (admitted, is_nameable(arn)) {
                (true, true) => (Arc::new(Policy::only(arn.as_str(), false)), None),
                (true, false) => (Arc::new(Policy::nothing(arn.stage(), false)), Some(Refusal::Unnameable)),
                (false, _) => (Arc::new(Policy::nothing(arn.stage(), false)), None),
            };
        }
        let own = self.own(gate, settings, arn, decision);
        let (policy, refusal) = match (admitted, own.admits(arn.as_str())) {
            (true, true) => (own, None),
            // Refused, and no reason to keep the caller out of anything else.
            (true, false) if !is_nameable(arn) => (own, Some(Refusal::Unnameable)),
            (true, false) => {
                let wider = own.and_allow(arn.as_str());
                (Arc::new(wider.unwrap_or_else(|| Policy::only(arn.as_str(), true))), None)
            }
            (false, true) if own.allows(arn.as_str()) => (Arc::new(own.and_deny(nearly(arn))), None),
            (false, _) => (own, None),
        };
        if policy.narrow && self.narrow.is_first() {
            tracing::warn!(
                "some route rules, or a path with percent-encodings, cannot be said in a policy that is right for every route; \
                 with caching, later requests of the same caller get 403: set the authorizer's TTL to 0, or add \
                 context.httpMethod and context.path to its identity sources"
            );
        }
        (policy, refusal)
    }

    /// What the caller may do everywhere.
    fn own(
        &self,
        gate: &Gate,
        settings: &ApiSettings,
        arn: &MethodArn<'_>,
        decision: &Decision,
    ) -> Arc<Policy> {
        let caller = match decision {
            Decision::Allow(grant) => grant.caller(),
            // It would be refused for the same reason everywhere.
            Decision::Deny(denial) if matches!(denial.refusal, Refusal::NoPrincipal(_)) => {
                return Arc::new(Policy::nothing(arn.stage(), false));
            }
            Decision::Deny(denial) => denial.caller.as_ref(),
        };
        if !settings.authorized_apis.is_empty() {
            let known = caller.is_some() || matches!(decision, Decision::Allow(_));
            return Arc::new(match known {
                true => Policy::of_apis(&settings.authorized_apis, arn.stage()),
                false => Policy::nothing(arn.stage(), false),
            });
        }
        let admitting = gate.admitting(caller);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = kept.get(arn.stage()).and_then(|of_stage| of_stage.get(admitting.as_slice())) {
            return Arc::clone(policy);
        }
        let policy = Arc::new(Policy::of_rules(gate.routes(), &admitting, arn.stage()));
        if kept.values().map(HashMap::len).sum::<usize>() >= MAX_KEPT {
            kept.clear();
        }
        let of_stage = kept.entry(arn.stage().into()).or_default();
        of_stage.insert(admitting.into(), Arc::clone(&policy));
        policy
    }
}

/// Whether an ARN is a resource that covers itself and nothing else.
fn is_nameable(arn: &MethodArn<'_>) -> bool {
    let text = arn.as_str();
    text.len() <= MAX_RESOURCE_BYTES && !text.contains(['*', '?']) && !text.contains("${")
}

/// The narrowest resource that covers an ARN, whatever is in its path: what means more than itself
/// to IAM becomes one character, whichever, and what is too long is cut off.
fn nearly(arn: &MethodArn<'_>) -> String {
    let behind = arn.as_str().get(arn.stage().len()..).unwrap_or_default();
    let mut resource = arn.stage().to_owned();
    for c in behind.chars() {
        if resource.len() + c.len_utf8() >= MAX_RESOURCE_BYTES {
            resource.push('*');
            break;
        }
        resource.push(if matches!(c, '*' | '$') { '?' } else { c });
    }
    resource
}
