//! `Gate::explain`: the decision, with every check that led to it, for people who ask why.
//!
//! The decision is made by the same steps as `decide`; this file only puts them into words. Where a
//! rule is public, checks of a token may fail and the request passes all the same.

use super::{Gate, target, unmet};
use crate::{
    credential::{Credential, CredentialError, CredentialSources, Scheme},
    decision::{Decision, Refusal},
    facts::RequestFacts,
    path::Target,
    route::{Access, Requirement, Route, Unmet},
};
use countersign_jose::{Timestamp, excerpt, quoted};
use countersign_verifier::{Accepted, Check, Verdict};

impl Gate {
    /// Judges a request as [`Gate::decide`] does, and reports every check. The checks hold values
    /// of the token: they are for its holder, and not for logs.
    pub async fn explain(&self, facts: &RequestFacts<'_>, now: Timestamp) -> (Decision, Vec<Check>) {
        let target = target(facts);
        let route = target.as_ref().ok().map(|target| self.route(facts, target));
        let credential = self.sources.select(facts);
        let shown = credential.ok().map(|credential| credential.scheme);
        let mut checks = vec![path(facts, target.as_ref())];
        checks.extend(route.map(of_route));
        checks.push(of_credential(&self.sources, credential));
        let caller = match credential {
            Ok(credential) => {
                let explanation = self.verifier.explain(credential.token, now).await;
                checks.extend(explanation.checks);
                let accepted = explanation.outcome.map_err(Refusal::from);
                let held = accepted.and_then(|accepted| self.dpop.check(accepted, &credential, facts, now));
                checks.extend(of_holder(credential.scheme, held.as_ref()));
                held
            }
            Err(why) => Err(why.into()),
        };
        if let Some(Some((_, Route { access: Access::Token(requirement), .. }))) = route {
            checks.extend(requirements(requirement, caller.as_ref().ok()));
        }
        (self.conclude(facts, target, shown, caller), checks)
    }
}

fn check(name: &'static str, expected: impl Into<String>, found: String, failure: Option<Refusal>) -> Check {
    let verdict = match failure {
        None => Verdict::Passed,
        Some(refusal) => Verdict::Failed { code: refusal.code(), why: refusal.to_string() },
    };
    Check { name: name.into(), expected: expected.into(), found, verdict }
}

fn path(facts: &RequestFacts<'_>, target: Result<&Target<'_>, &Refusal>) -> Check {
    let found = excerpt(&format!("{} {}", facts.method, facts.path));
    check("request", "a method in capitals and a path with one reading", found, target.err().cloned())
}

fn of_route(route: Option<(usize, &Route)>) -> Check {
    let found = route.map_or_else(String::new, |(index, route)| {
        let methods =
            if route.methods.is_empty() { "any method".to_owned() } else { route.methods.join(", ") };
        let access = if route.access == Access::Public { ", public" } else { "" };
        format!("rule {index}: {methods} {}{access}", route.path)
    });
    check("route", "a rule that matches", found, route.is_none().then_some(Refusal::NoRoute))
}

/// Whether it was shown by its holder, where that is a question.
fn of_holder(scheme: Scheme, held: Result<&Accepted, &Refusal>) -> Option<Check> {
    let failure = held.err().filter(|why| matches!(why, Refusal::Dpop(_))).cloned();
    if scheme == Scheme::Bearer && failure.is_none() {
        return None;
    }
    let found = if scheme == Scheme::Dpop { "the scheme DPoP" } else { "the scheme Bearer" };
    let expected = "a bound token with the scheme DPoP and a proof, any other with the scheme Bearer";
    Some(match held {
        Err(_) if failure.is_none() => Check {
            name: "holder".into(),
            expected: expected.to_owned(),
            found: found.to_owned(),
            verdict: Verdict::NotReached,
        },
        _ => check("holder", expected, found.to_owned(), failure),
    })
}

fn of_credential(sources: &CredentialSources, credential: Result<Credential<'_>, CredentialError>) -> Check {
    let mut places = Vec::new();
    places.extend(sources.authorization.then(|| "the Authorization header".to_owned()));
    places.extend(sources.query.as_ref().map(|name| format!("the query parameter {}", quoted(name))));
    places.extend(sources.cookie.as_ref().map(|name| format!("the cookie {}", quoted(name))));
    places.extend(
        sources.websocket_marker.as_ref().map(|m| format!("Sec-WebSocket-Protocol behind {}", quoted(m))),
    );
    places.extend(sources.load_balancer.then(|| "x-amzn-oidc-data".to_owned()));
    let expected = format!("one token, in {}", places.join(", "));
    let found = credential
        .map(|one| format!("a token of {}", countersign_jose::bytes(one.token.len())))
        .unwrap_or_default();
    check("credential", expected, found, credential.err().map(Refusal::from))
}

/// What the rule asks of the token beyond its issuer's policy.
fn requirements(requirement: &Requirement, caller: Option<&Accepted>) -> Vec<Check> {
    let unmet = caller.map(|caller| unmet(&Access::Token(requirement.clone()), caller));
    let verdict = |is: &dyn Fn(&Unmet) -> bool| match &unmet {
        None => Verdict::NotReached,
        Some(unmet) => match unmet.iter().find(|unmet| is(unmet)) {
            None => Verdict::Passed,
            Some(unmet) => Verdict::Failed { code: unmet.code(), why: unmet.to_string() },
        },
    };
    let mut checks = Vec::new();
    let mut add = |name: String, expected: String, found: String, verdict: Verdict| {
        checks.push(Check { name: name.into(), expected, found, verdict });
    };
    let claims = caller.and_then(|caller| crate::claims::Claims::of(caller.verified()));
    if !requirement.issuers.is_empty() {
        let found = caller.map(|caller| quoted(caller.issuer())).unwrap_or_default();
        let is = |unmet: &Unmet| *unmet == Unmet::Issuer;
        add("route issuer".to_owned(), excerpt(&requirement.issuers.join(" or ")), found, verdict(&is));
    }
    if !requirement.any_scope.is_empty() || !requirement.all_scopes.is_empty() {
        let mut expected = Vec::new();
        if !requirement.any_scope.is_empty() {
            expected.push(requirement.any_scope.join(" or "));
        }
        if !requirement.all_scopes.is_empty() {
            expected.push(requirement.all_scopes.join(" and "));
        }
        let found = claims.as_ref().map(|claims| excerpt(&claims.scopes().join(" "))).unwrap_or_default();
        let is = |unmet: &Unmet| matches!(unmet, Unmet::Scope(_));
        add("route scope".to_owned(), excerpt(&expected.join("; ")), found, verdict(&is));
    }
    if requirement.dpop {
        let is = |unmet: &Unmet| *unmet == Unmet::Dpop;
        add(
            "route dpop".to_owned(),
            "a token that is bound to a key".to_owned(),
            String::new(),
            verdict(&is),
        );
    }
    for (name, value) in &requirement.claims {
        let found = claims.as_ref().and_then(|claims| claims.get(name)).map(|raw| excerpt(raw.get()));
        let is = |unmet: &Unmet| matches!(unmet, Unmet::Claim(claim) if claim == name.as_str());
        let label = format!("route claim {}", excerpt(name.as_str()));
        add(label, excerpt(value.as_str()), found.unwrap_or_default(), verdict(&is));
    }
    checks
}
