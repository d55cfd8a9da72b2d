//! The gate as a Lambda authorizer of API Gateway and AppSync: event JSON in, reply JSON out.
//!
//! Bytes → `event` (recognised, turned into request facts) → gate → `reply` (policy, simple
//! response or error). Whatever is in an event, it gets a reply that AWS does not turn into a 500,
//! unless nobody can tell now, because an issuer's keys cannot be had. Anything else gets the error
//! `Unauthorized`, and the log says what was wrong. Called by `countersign-authorizer` and
//! `countersign authorize`. Pinned by `tests/events.rs`, `tests/hostile_events.rs` and
//! `tests/cached_policies.rs`.

mod arn;
mod event;
mod policies;
mod policy;
mod reply;

pub use event::Shape;
pub use reply::Reply;

use crate::{
    context::ContextRules,
    decision::{Decision, Denial, Refusal, RefusalKind},
    gate::Gate,
    route::Route,
};
use arn::{MethodArn, covers};
use countersign_jose::{ClaimName, Timestamp};
use countersign_verifier::{Accepted, Check, Verdict};
use event::{Event, Form, Remembered};
use policies::Policies;
use policy::Policy;
use reply::Answer;
use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// How HTTP APIs with payload format 2.0 are answered; the authorizer is set up for one or the
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpApiResponse {
    /// `{"isAuthorized": …}` (`enableSimpleResponses`).
    #[default]
    Simple,
    /// An IAM policy.
    Policy,
}

/// What answers are made of.
#[derive(Debug)]
pub struct ApiSettings {
    /// Claims that are handed on.
    pub context: ContextRules,
    /// The claim that names the caller (`principalId`).
    pub principal_claim: ClaimName,
    /// The claim that holds the API key of a usage plan (`usageIdentifierKey`), where the API takes
    /// it from the authorizer.
    pub usage_identifier_claim: Option<ClaimName>,
    /// How HTTP APIs 2.0 are answered.
    pub http_api_response: HttpApiResponse,
    /// ARNs of the APIs that may be called, with IAM's wildcards; empty for the API of each event.
    pub authorized_apis: Vec<String>,
    /// How long AppSync may remember an answer, at most.
    pub appsync_ttl: Duration,
    /// Whether API Gateway remembers answers.
    pub answers: Answers,
}

/// Whether API Gateway remembers the answers of this authorizer. Nothing in an event says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answers {
    /// For its TTL, whatever that is. So no bound token is accepted: the answer to a proof would be
    /// given to requests without one.
    #[default]
    Remembered,
    /// Never: the TTL is 0.
    Forgotten,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            context: ContextRules::default(),
            principal_claim: ClaimName::member("sub"),
            usage_identifier_claim: None,
            http_api_response: HttpApiResponse::default(),
            authorized_apis: Vec::new(),
            appsync_ttl: Duration::from_secs(300),
            answers: Answers::default(),
        }
    }
}

/// The gate with the forms of API Gateway around it.
#[derive(Debug)]
pub struct Authorizer {
    gate: Gate,
    settings: ApiSettings,
    remembered_for_others: Once,
    policies: Policies,
}

/// Whether a warning has been given.
#[derive(Debug, Default)]
struct Once(AtomicBool);

impl Once {
    fn is_first(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What to hand back.
    pub reply: Reply,
    /// What was decided.
    pub decision: Decision,
    /// The shape of the event, if it had one.
    pub shape: Option<Shape>,
}

impl Authorizer {
    /// An authorizer that asks this gate.
    pub fn new(gate: Gate, settings: ApiSettings) -> Self {
        Self { gate, settings, remembered_for_others: Once::default(), policies: Policies::default() }
    }

    /// The gate it asks.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Answers one event at the instant `now`, which must be the present.
    pub async fn authorize(&self, event: &[u8], now: Timestamp) -> Outcome {
        self.respond(event, now, None).await
    }

    /// The same, with every check that led to the answer. For people; the checks hold values of the
    /// token.
    pub async fn explain(&self, event: &[u8], now: Timestamp) -> (Outcome, Vec<Check>) {
        let mut checks = Vec::new();
        let outcome = self.respond(event, now, Some(&mut checks)).await;
        (outcome, checks)
    }

    async fn respond(&self, event: &[u8], now: Timestamp, mut checks: Option<&mut Vec<Check>>) -> Outcome {
        let parsed = Event::parse(event);
        let recognised = parsed.and_then(|event| {
            let shape = event.shape()?;
            Ok((event, shape))
        });
        if let Some(checks) = checks.as_deref_mut() {
            checks.push(check_of_shape(recognised.as_ref().map(|(_, shape)| *shape)));
        }
        match recognised {
            Ok((event, shape)) => self.answer(&event, shape, now, checks).await,
            Err(why) => {
                let decision = Decision::Deny(Denial::of(Refusal::Event(why)));
                let outcome = Outcome { reply: Reply::Unauthorized, decision, shape: None };
                log(&outcome, None);
                outcome
            }
        }
    }

    async fn answer(
        &self,
        event: &Event<'_>,
        shape: Shape,
        now: Timestamp,
        mut checks: Option<&mut Vec<Check>>,
    ) -> Outcome {
        let arn = event.arn(shape);
        let form = self.form(shape);
        if shape == Shape::HttpV2 && form == Form::Simple {
            self.warn_if_remembered_for_others(event);
        }
        let mut facts = event.facts(shape, arn.as_ref(), form);
        if shape != Shape::AppSync && self.settings.answers == Answers::Remembered {
            facts.no_proofs.get_or_insert(
                "API Gateway could give the answer to requests without a proof; set the authorizer's TTL to 0, and \
                 gate.dpop.authorizer_ttl = \"0s\"",
            );
        }
        let decided = match (&arn, &mut checks) {
            (None, _) if shape != Shape::AppSync => {
                let refusal = Refusal::Event("its ARN is not one of execute-api".to_owned());
                Decision::Deny(Denial::of(refusal))
            }
            (_, None) => self.gate.decide(&facts, now).await,
            (_, Some(checks)) => {
                let (decision, of_gate) = self.gate.explain(&facts, now).await;
                checks.extend(of_gate);
                decision
            }
        };
        let decision = self.narrow(decided, arn.as_ref().map(|arn| arn.as_str()), shape, form);
        let (reply, decision) = self.reply(decision, shape, form, arn.as_ref(), now);
        if let (Some(checks), Decision::Deny(denial)) = (checks, &decision)
            && !checks.iter().any(Check::failed)
        {
            checks.push(check_of_answer(&denial.refusal));
        }
        let outcome = Outcome { reply, decision, shape: Some(shape) };
        log(&outcome, event.request_id());
        outcome
    }

    /// The reply, and the decision it carries out: where the form cannot say what was decided, that
    /// is a refusal.
    fn reply(
        &self,
        mut decision: Decision,
        shape: Shape,
        form: Form,
        arn: Option<&MethodArn<'_>>,
        now: Timestamp,
    ) -> (Reply, Decision) {
        let (gate, settings) = (&self.gate, &self.settings);
        let answered = arn
            .filter(|_| form == Form::Policy)
            .map(|arn| self.policies.answer(gate, settings, arn, &decision));
        let anywhere = || Arc::new(Policy::nothing_anywhere());
        let (policy, refusal) = answered.unwrap_or_else(|| (anywhere(), None));
        if let Some(refusal) = refusal {
            decision = refused(decision, refusal);
        }
        let reply = |decision: &Decision, policy: &Policy| {
            Answer { gate, settings, shape, form, policy, decision }.reply(now)
        };
        match reply(&decision, &policy) {
            Some(reply) => (reply, decision),
            None => {
                let decision = refused(decision, Refusal::TooLarge);
                (reply(&decision, &Policy::nothing_anywhere()).unwrap_or(Reply::Unauthorized), decision)
            }
        }
    }

    fn form(&self, shape: Shape) -> Form {
        match shape {
            Shape::AppSync => Form::Simple,
            Shape::HttpV2 if self.settings.http_api_response == HttpApiResponse::Simple => Form::Simple,
            Shape::RestToken
            | Shape::RestRequest
            | Shape::HttpV1
            | Shape::Unversioned
            | Shape::HttpV2
            | Shape::WebSocket => Form::Policy,
        }
    }

    /// What an answer needs beyond what the gate has decided: an authorized API, and a name for the
    /// caller.
    fn narrow(&self, decision: Decision, arn: Option<&str>, shape: Shape, form: Form) -> Decision {
        let Decision::Allow(grant) = &decision else { return decision };
        let apis = &self.settings.authorized_apis;
        let deny = |refusal| Decision::Deny(Denial { caller: grant.caller().cloned(), shown: None, refusal });
        if let Some(arn) = arn
            && !apis.is_empty()
            && !apis.iter().any(|api| covers(api, arn))
        {
            return deny(Refusal::OtherApi);
        }
        // A policy without the caller's rights would be remembered for a token that may be good.
        if let Some(why) = grant.undetermined().filter(|_| form == Form::Policy && shape != Shape::AppSync) {
            return deny(why.clone());
        }
        let nameless = |caller: &Accepted| self.settings.principal(caller, &self.gate).is_none();
        if form == Form::Policy && grant.caller().is_some_and(nameless) {
            return deny(Refusal::NoPrincipal(self.settings.principal_claim.to_string()));
        }
        decision
    }

    /// An HTTP API gives a simple response that it remembers to every request with the same
    /// identity sources: without the route among them on all routes of the authorizer, and with it
    /// on every method and path that the route stands for.
    fn warn_if_remembered_for_others(&self, event: &Event<'_>) {
        if self.gate.routes() == Route::any_token() {
            return;
        }
        match event.remembered() {
            Remembered::Request => {}
            _ if !self.remembered_for_others.is_first() => {}
            Remembered::Route(route) => tracing::warn!(
                route,
                "route rules are configured, and the identity source $context.routeKey does not tell the requests of this route \
                 apart: with caching, a yes to one of its methods and paths opens all others to the same token; answer with \
                 policies (gate.http_api_response = \"policy\", and no simple responses in the authorizer), or add \
                 $context.httpMethod and $context.path to the identity sources"
            ),
            Remembered::Everything => tracing::warn!(
                "route rules are configured, but neither $context.routeKey nor $context.httpMethod with $context.path is an \
                 identity source of this HTTP API's authorizer: with caching, a yes on one route opens all others to the same \
                 token; answer with policies (gate.http_api_response = \"policy\", and no simple responses in the authorizer), or \
                 add $context.httpMethod and $context.path to the identity sources"
            ),
        }
    }
}

/// What was let in and cannot be.
fn refused(decision: Decision, refusal: Refusal) -> Decision {
    let (caller, shown) = match decision {
        Decision::Allow(grant) => (grant.caller().cloned(), None),
        Decision::Deny(denial) => (denial.caller, denial.shown),
    };
    Decision::Deny(Denial { caller, shown, refusal })
}

/// What the event is, as a check.
fn check_of_shape(shape: Result<Shape, &String>) -> Check {
    let verdict = match shape {
        Ok(_) => Verdict::Passed,
        Err(why) => {
            let refusal = Refusal::Event(why.clone());
            Verdict::Failed { code: refusal.code(), why: refusal.to_string() }
        }
    };
    Check {
        name: "event".into(),
        expected: "an authorizer event of API Gateway or AppSync".to_owned(),
        found: shape.map(|shape| shape.name().to_owned()).unwrap_or_default(),
        verdict,
    }
}

/// What the answer needs beyond the gate's decision, where it is missing.
fn check_of_answer(refusal: &Refusal) -> Check {
    Check {
        name: "answer".into(),
        expected: "an authorized API, and a name for the caller".to_owned(),
        found: String::new(),
        verdict: Verdict::Failed { code: refusal.code(), why: refusal.to_string() },
    }
}

fn log(outcome: &Outcome, request_id: Option<&str>) {
    let shape = outcome.shape.map(Shape::name);
    match &outcome.decision {
        Decision::Allow(grant) => {
            let subject = grant.caller().and_then(|caller| caller.verified().registered().sub.as_deref());
            tracing::debug!(
                target: "countersign::gate", decision = "allow", shape, request_id, subject, route = grant.route()
            );
        }
        Decision::Deny(denial) => {
            let (code, reason) = (denial.refusal.code(), denial.refusal.to_string());
            let subject = denial.caller.as_ref().and_then(|c| c.verified().registered().sub.as_deref());
            if denial.refusal.kind() == RefusalKind::Unavailable {
                tracing::error!(target: "countersign::gate", decision = "deny", shape, request_id, code, reason);
            } else {
                tracing::info!(
                    target: "countersign::gate", decision = "deny", shape, request_id, subject, code, reason
                );
            }
        }
    }
}
