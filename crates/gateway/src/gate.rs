//! The gate: `(request facts, now) → decision`, and nothing else. Adapters on both sides of it know
//! the world.
//!
//! In this order: the path must be one that everybody reads alike; the first rule that matches says
//! what is needed; the one credential is verified, and that it was shown by its holder (`dpop`);
//! the rule is checked. Whatever is not let in by a rule is kept out. Where a public rule matches,
//! a good token still says who it is, and a bad one says nothing. The credential is verified also
//! where the path is refused: an answer that is remembered must be that caller's own. Called by
//! `lambda` and `forward_auth`; pinned by `tests/decisions.rs`.

mod explanation;

use crate::{
    claims::Claims,
    credential::{Credential, CredentialSources, Scheme},
    decision::{Decision, Denial, Grant, Refusal, RefusalKind},
    dpop::Dpop,
    facts::RequestFacts,
    path::Target,
    route::{Access, Route, Unmet},
};
use countersign_jose::Timestamp;
use countersign_verifier::{Accepted, Verifier};
use std::cell::OnceCell;

/// Whose tokens are accepted, where they may be, and which requests need what.
#[derive(Debug)]
pub struct Gate {
    verifier: Verifier,
    sources: CredentialSources,
    routes: Vec<Route>,
    dpop: Dpop,
}

impl Gate {
    /// A gate with these rules. Without any rule it keeps everybody out; see [`Route::any_token`].
    pub fn new(verifier: Verifier, sources: CredentialSources, routes: Vec<Route>, dpop: Dpop) -> Self {
        Self { verifier, sources, routes, dpop }
    }

    /// Judges one request at the instant `now`, which must be the present.
    pub async fn decide(&self, facts: &RequestFacts<'_>, now: Timestamp) -> Decision {
        let selected = self.sources.select(facts);
        let shown = selected.ok().map(|credential| credential.scheme);
        let caller = match selected {
            Ok(credential) => self.accept(&credential, facts, now).await,
            Err(why) => Err(why.into()),
        };
        self.conclude(facts, target(facts), shown, caller)
    }

    async fn accept(
        &self,
        credential: &Credential<'_>,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> Result<Accepted, Refusal> {
        let accepted = self.verifier.verify(credential.token, now).await?;
        self.dpop.check(accepted, credential, facts, now)
    }

    /// How proofs are judged.
    pub(crate) fn dpop(&self) -> &Dpop {
        &self.dpop
    }

    pub(crate) fn dpop_mut(&mut self) -> &mut Dpop {
        &mut self.dpop
    }

    /// Whose tokens are accepted.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The rules, in the order they are tried.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Which of the rules let this caller in.
    pub(crate) fn admitting(&self, caller: Option<&Accepted>) -> Vec<bool> {
        let claims = OnceCell::new();
        let admits = |route: &Route| match (&route.access, caller) {
            (Access::Public, _) => true,
            (Access::Token(_), None) => false,
            (Access::Token(requirement), Some(_)) if requirement.is_empty() => true,
            (Access::Token(requirement), Some(caller)) => claims
                .get_or_init(|| Claims::of(caller.verified()))
                .as_ref()
                .is_some_and(|claims| requirement.unmet(caller, claims).is_empty()),
        };
        self.routes.iter().map(admits).collect()
    }

    /// The first rule that matches, and its number.
    fn route(&self, facts: &RequestFacts<'_>, target: &Target<'_>) -> Option<(usize, &Route)> {
        self.routes.iter().enumerate().find(|(_, route)| route.matches(&facts.method, target))
    }

    fn conclude(
        &self,
        facts: &RequestFacts<'_>,
        target: Result<Target<'_>, Refusal>,
        shown: Option<Scheme>,
        caller: Result<Accepted, Refusal>,
    ) -> Decision {
        let deny = |caller, refusal| Decision::Deny(Denial { caller, shown, refusal });
        let target = match (target, &caller) {
            (Ok(target), _) => target,
            // Whose request it is cannot be told now; any other answer would be remembered for a
            // good token.
            (Err(_), Err(why)) if why.kind() == RefusalKind::Unavailable => return deny(None, why.clone()),
            (Err(refusal), _) => return deny(caller.ok(), refusal),
        };
        match (self.route(facts, &target), caller) {
            (Some((index, Route { access: Access::Public, .. })), caller) => {
                Decision::Allow(Grant::public(caller, index))
            }
            (_, Err(refusal)) => deny(None, refusal),
            (None, Ok(caller)) => deny(Some(caller), Refusal::NoRoute),
            (Some((index, route)), Ok(caller)) => match first_unmet(&route.access, &caller) {
                None => Decision::Allow(Grant::new(Some(caller), index)),
                Some(unmet) => deny(Some(caller), unmet.into()),
            },
        }
    }
}

fn first_unmet(access: &Access, caller: &Accepted) -> Option<Unmet> {
    unmet(access, caller).into_iter().next()
}

/// What of a rule a caller does not meet.
fn unmet(access: &Access, caller: &Accepted) -> Vec<Unmet> {
    let requirement = match access {
        Access::Token(requirement) if !requirement.is_empty() => requirement,
        Access::Token(_) | Access::Public => return Vec::new(),
    };
    match Claims::of(caller.verified()) {
        Some(claims) => requirement.unmet(caller, &claims),
        None => vec![Unmet::Issuer],
    }
}

fn target<'f>(facts: &'f RequestFacts<'_>) -> Result<Target<'f>, Refusal> {
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
    if facts.method.is_empty() || facts.method.len() > 32 || !facts.method.bytes().all(plain) {
        return Err(Refusal::Method);
    }
    Ok(Target::parse(&facts.path)?)
}
