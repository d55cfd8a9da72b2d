//! `Explanation`: every check of a token with what it expected and found, and the outcome that
//! `verify` would have.
//!
//! Made by a listener to the same proof. What comes after a step that failed was not looked at and
//! is listed as such; the claims, once they may be read, are all reported. Holds values of the
//! token, so it is for the holder of the token, and not for logs. Pinned by
//! `tests/suite/explanations.rs`.

use super::{
    Accepted, Verifier,
    proof::{Listener, Step, Words},
};
use crate::error::VerifyError;
use countersign_jose::{Check, Policy, Signed, Timestamp, Verdict};

/// What was looked at in a token, and whether it is to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The checks in their order. None failed if and only if the outcome is `Ok`; else the first
    /// that failed is the outcome's reason.
    pub checks: Vec<Check>,
    /// What [`Verifier::verify`] says of the token at the same instant.
    pub outcome: Result<Accepted, VerifyError>,
}

impl Verifier {
    /// Proves a token as [`Verifier::verify`] does and reports every check. For people who hold the
    /// token and want to know what is wrong with it; code that lets requests in calls `verify`. May
    /// fetch keys just as well, but neither looks into the cache of verified tokens nor adds to it.
    pub async fn explain(&self, token: &str, now: Timestamp) -> Explanation {
        let mut record = Record { reached: None, steps: Vec::new(), claims: self.claims_of_anybody() };
        let outcome = self.prove(token, now, &mut record).await.map(|proof| proof.accepted);
        Explanation { checks: record.into_checks(), outcome }
    }

    /// The checks of the claims, as far as they are known before the issuer is.
    fn claims_of_anybody(&self) -> Vec<Check> {
        if let [only] = self.trusted.as_slice()
            && let [identity] = only.issuer.identities.as_slice()
        {
            return identity.policy.unreached();
        }
        vec![not_reached("claims", "what the policy of the issuer says")]
    }
}

/// Keeps every step as a check.
struct Record {
    reached: Option<Step>,
    steps: Vec<(Step, Check)>,
    claims: Vec<Check>,
}

impl Listener for Record {
    fn step<T>(
        &mut self,
        step: Step,
        outcome: Result<T, VerifyError>,
        words: impl FnOnce(Option<&T>) -> Option<Words>,
    ) -> Result<T, VerifyError> {
        self.reached = Some(step);
        let verdict = match &outcome {
            Ok(_) => Verdict::Passed,
            Err(why) => Verdict::Failed { code: why.code(), why: why.to_string() },
        };
        // A failure is told even if there are no words for it.
        let none = || Words { expected: String::new(), found: String::new() };
        let words = words(outcome.as_ref().ok()).or_else(|| outcome.is_err().then(none));
        if let Some(Words { expected, found }) = words {
            self.steps.push((step, Check { name: name(step).into(), expected, found, verdict }));
        }
        outcome
    }

    fn again_from(&mut self, step: Step) {
        self.steps.retain(|(taken, _)| *taken < step);
    }

    fn claims_expected(&mut self, policy: &Policy) {
        self.claims = policy.unreached();
    }

    fn claims_reached(&mut self, signed: &Signed, policy: &Policy, now: Timestamp) {
        self.claims = signed.explain(policy, now);
    }
}

impl Record {
    fn into_checks(self) -> Vec<Check> {
        let left = Step::ALL.into_iter().filter(|step| Some(*step) > self.reached);
        let left = left.filter_map(|step| Some(not_reached(name(step), always_expected(step)?)));
        let mut checks: Vec<Check> = self.steps.into_iter().map(|(_, check)| check).collect();
        checks.extend(left);
        checks.extend(self.claims);
        checks
    }
}

fn not_reached(name: &'static str, expected: &str) -> Check {
    Check {
        name: name.into(),
        expected: expected.to_owned(),
        found: String::new(),
        verdict: Verdict::NotReached,
    }
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Form => "form",
        Step::Issuer => "issuer",
        Step::Algorithm => "alg",
        Step::Keys => "keys",
        Step::Key => "kid",
        Step::Certificate => "certificate",
        Step::Owner => "key owner",
        Step::Signature => "signature",
        Step::LoadBalancer => "load balancer",
        Step::Revocation => "revocation",
    }
}

/// What a step expects of any token; `None` for a step that only some keys have.
fn always_expected(step: Step) -> Option<&'static str> {
    match step {
        Step::Form => Some("a compact JWS with a readable header"),
        Step::Issuer => Some("a trusted issuer"),
        Step::Algorithm => Some("an algorithm of the issuer"),
        Step::Keys => Some("the keys of the issuer"),
        Step::Key => Some("the name of one of the keys"),
        Step::Certificate | Step::Owner | Step::LoadBalancer | Step::Revocation => None,
        Step::Signature => Some("made with that key"),
    }
}
