//! Route rules: which requests need what. The first rule that matches decides; a request that no
//! rule matches is refused.

use crate::{claims::Claims, path::Target, pattern::PathPattern};
use countersign_jose::{ClaimName, ClaimValue};
use countersign_verifier::{Accepted, dpop::Binding};

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The methods it is about, in capitals; empty for all.
    pub methods: Vec<String>,
    /// The paths it is about.
    pub path: PathPattern,
    /// Who may pass.
    pub access: Access,
}

/// Who may pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Access {
    /// Everyone, with or without a token.
    Public,
    /// The holder of a verified token that says all this.
    Token(Requirement),
}

/// What a verified token must say beyond what its issuer's policy demands. The default demands
/// nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Requirement {
    /// It must be of one of these issuers, by their configured names; empty for all that are
    /// trusted.
    pub issuers: Vec<String>,
    /// It must have at least one of these scopes; empty for none.
    pub any_scope: Vec<String>,
    /// It must have all of these scopes.
    pub all_scopes: Vec<String>,
    /// Claims and their values. A claim that is a list must contain the value.
    pub claims: Vec<(ClaimName, ClaimValue)>,
    /// It must be bound to a key (RFC 9449).
    pub dpop: bool,
}

/// What of a rule a verified token does not meet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// Another issuer's.
    #[error("the route is not for tokens of this issuer")]
    Issuer,
    /// Without the scope; these are the ones that would do.
    #[error("the token has not the scope that the route needs")]
    Scope(Vec<String>),
    /// Without the claim, or with another value.
    #[error("the claim `{0}` has not the value that the route needs")]
    Claim(String),
    /// One that anybody could use who has it.
    #[error("the route is for tokens that are bound to a key (DPoP)")]
    Dpop,
}

impl Unmet {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Issuer => "route_issuer",
            Self::Scope(_) => "route_scope",
            Self::Claim(_) => "route_claim",
            Self::Dpop => "route_dpop",
        }
    }
}

impl Route {
    /// The rules of a gate for which none are given: any verified token, everywhere.
    pub fn any_token() -> Vec<Self> {
        let rule = |path| Self { methods: Vec::new(), path, access: Access::Token(Requirement::default()) };
        vec![rule(PathPattern::everything()), rule(PathPattern::connect())]
    }

    /// Whether it matches every request that `later` matches.
    pub(crate) fn covers(&self, later: &Self) -> bool {
        let has = |method: &String| self.methods.contains(method);
        let methods = self.methods.is_empty() || !later.methods.is_empty() && later.methods.iter().all(has);
        methods && self.path.covers(&later.path)
    }

    pub(crate) fn matches(&self, method: &str, target: &Target<'_>) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|m| m == method)) && self.path.matches(target)
    }
}

impl Requirement {
    /// Whether there is anything to check.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What the token does not meet, in the order it is checked.
    pub(crate) fn unmet(&self, accepted: &Accepted, claims: &Claims<'_>) -> Vec<Unmet> {
        let mut unmet = Vec::new();
        if !self.issuers.is_empty() && !self.issuers.iter().any(|issuer| issuer == accepted.issuer()) {
            unmet.push(Unmet::Issuer);
        }
        if !self.any_scope.is_empty() || !self.all_scopes.is_empty() {
            let scopes = claims.scopes();
            let has = |scope: &&String| scopes.iter().any(|s| s == scope.as_str());
            let has_one = self.any_scope.is_empty() || self.any_scope.iter().any(|scope| has(&scope));
            if !has_one || !self.all_scopes.iter().all(|scope| has(&scope)) {
                // All that the caller has to ask for, so that it asks once: of alternatives those
                // it has, else each of them.
                let any = self.any_scope.iter().filter(|scope| !has_one || has(scope));
                let mut needed: Vec<String> = any.chain(&self.all_scopes).cloned().collect();
                let mut seen = std::collections::HashSet::new();
                needed.retain(|scope| seen.insert(scope.clone()));
                unmet.push(Unmet::Scope(needed));
            }
        }
        // Whose holder has not proved to be it was refused before.
        if self.dpop && !matches!(Binding::of(accepted.verified()), Ok(Some(_))) {
            unmet.push(Unmet::Dpop);
        }
        for (name, value) in &self.claims {
            if !claims.has(name, value) {
                unmet.push(Unmet::Claim(name.to_string()));
            }
        }
        unmet
    }
}
