//! The IAM policy that API Gateway is answered with, made so that it is also right when it is used
//! again from a cache.
//!
//! API Gateway keeps a policy for the caller's identity source (300 s unless told otherwise) and
//! compares later requests with it, to whatever route. So the policy says what this caller may do
//! everywhere, whatever was asked: `compile` makes it of stage and rules. Where IAM's `*`, which
//! takes slashes, cannot say what a rule says, the rule is left out: narrower, never wider. Paths
//! that the gate refuses whatever the rules are denied as far as IAM has names for them.
//! docs/decisions/0010 and 0026. Called by `policies`; pinned by `tests/cached_policies.rs`.

mod resource;

use super::arn::covers;
use crate::{pattern::Segment, route::Route};
use resource::{Denied, Ruled, overlaps};
use serde::Serialize;
use serde_json::value::RawValue;

/// What API Gateway takes of one resource (API Gateway quotas: 512 characters).
pub(super) const MAX_RESOURCE_BYTES: usize = 512;
/// Resources of both kinds together, in bytes; an authorizer's answer may have 8 KB in all.
const MAX_RESOURCES_BYTES: usize = 4800;
/// What API Gateway knows as methods. `*` in their place would take the beginning of the path as
/// well.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Spellings that the gate refuses in every path, behind `STAGE/`. A segment that ends in a dot may
/// be a dot segment.
const REFUSED: [&str; 8] = ["*//*", "*./*", "*.", "*%20/*", "*%20", "*;*", "*\\*", "*#*"];
/// Encodings that it refuses: of a slash, backslash, dot, semicolon, percent sign, question mark,
/// hash, star and control, and the beginnings of overlong UTF-8. IAM compares letters in their
/// case.
const REFUSED_ENCODINGS: [&str; 22] = [
    "*%2F*", "*%2f*", "*%5C*", "*%5c*", "*%2E*", "*%2e*", "*%3B*", "*%3b*", "*%25*", "*%3F*", "*%3f*",
    "*%23*", "*%2A*", "*%2a*", "*%0?*", "*%1?*", "*%7F*", "*%7f*", "*%C0*", "*%c0*", "*%C1*", "*%c1*",
];
/// Every encoding, where a rule that keeps the caller out could be reached by one.
const EVERY_ENCODING: &str = "*%*";

/// What is allowed and what is denied; a Deny is stronger.
#[derive(Debug)]
pub(super) struct Policy {
    allow: Vec<String>,
    deny: Vec<String>,
    /// Denied too: what the gate refuses whatever the rules, so that no path it has taken is among
    /// it.
    refused: Vec<String>,
    /// Whether it refuses some requests that the rules would let in, other than encoded paths.
    pub(super) narrow: bool,
    document: Box<RawValue>,
}

impl Policy {
    /// What the rules let a caller do whom these of them admit.
    pub(super) fn of_rules(routes: &[Route], admitted: &[bool], stage: &str) -> Self {
        let mut compiled = Compiled::of(routes, admitted, stage);
        if compiled.allow.is_empty() {
            return Self::nothing(stage, compiled.narrow);
        }
        dedup(&mut compiled.allow);
        dedup(&mut compiled.deny);
        let Compiled { allow, mut deny, keeps_out, narrow } = compiled;
        // A path that is decoded stays within the rule whose literals it has, unless an earlier
        // rule takes it.
        let refused = refused(stage, &REFUSED_ENCODINGS);
        if !keeps_out && fits(allow.iter().chain(&deny).chain(&refused)) {
            return Self::new(allow, deny, refused, narrow);
        }
        deny.push(format!("{stage}/{EVERY_ENCODING}"));
        let refused = self::refused(stage, &[]);
        match fits(allow.iter().chain(&deny).chain(&refused)) {
            true => Self::new(allow, deny, refused, narrow),
            false => Self::nothing(stage, true),
        }
    }

    /// The configured ARNs, which came from no request.
    pub(super) fn of_apis(apis: &[String], stage: &str) -> Self {
        Self::new(apis.to_vec(), Vec::new(), refused(stage, &REFUSED_ENCODINGS), false)
    }

    /// Nobody may do anything anywhere, where it is not known what is asked for.
    pub(super) fn nothing_anywhere() -> Self {
        Self::new(Vec::new(), vec!["*".to_owned()], Vec::new(), false)
    }

    /// Nobody may do anything at this stage.
    pub(super) fn nothing(stage: &str, narrow: bool) -> Self {
        Self::new(Vec::new(), vec![format!("{stage}/*")], Vec::new(), narrow)
    }

    /// One resource and no other.
    pub(super) fn only(arn: &str, narrow: bool) -> Self {
        Self::new(vec![arn.to_owned()], Vec::new(), Vec::new(), narrow)
    }

    fn new(allow: Vec<String>, deny: Vec<String>, refused: Vec<String>, narrow: bool) -> Self {
        let document = document(&allow, deny.iter().chain(&refused).collect());
        Self { allow, deny, refused, narrow, document }
    }

    /// The same, and one resource more: allowed, if nothing denies it and there is room.
    pub(super) fn and_allow(&self, arn: &str) -> Option<Self> {
        let denied = |resources: &[String]| resources.iter().any(|resource| covers(resource, arn));
        let allow: Vec<String> = self.allow.iter().cloned().chain([arn.to_owned()]).collect();
        if denied(&self.deny)
            || denied(&self.refused)
            || !fits(allow.iter().chain(&self.deny).chain(&self.refused))
        {
            return None;
        }
        Some(Self::new(allow, self.deny.clone(), self.refused.clone(), true))
    }

    /// The same, and one resource more denied.
    pub(super) fn and_deny(&self, resource: String) -> Self {
        let deny = self.deny.iter().cloned().chain([resource]).collect();
        Self::new(self.allow.clone(), deny, self.refused.clone(), self.narrow)
    }

    /// Whether it allows a resource whose path the gate has taken.
    pub(super) fn admits(&self, arn: &str) -> bool {
        let covered = |resources: &[String]| resources.iter().any(|resource| covers(resource, arn));
        covered(&self.allow) && !covered(&self.deny)
    }

    /// Whether it allows a resource, whatever the gate says of its path.
    pub(super) fn allows(&self, arn: &str) -> bool {
        self.admits(arn) && !self.refused.iter().any(|resource| covers(resource, arn))
    }

    /// The policy document (API Gateway developer guide, "Output from an API Gateway Lambda
    /// authorizer").
    pub(super) fn document(&self) -> &RawValue {
        &self.document
    }
}

fn refused(stage: &str, encodings: &[&str]) -> Vec<String> {
    REFUSED.iter().chain(encodings).map(|path| format!("{stage}/{path}")).collect()
}

fn fits<'r>(resources: impl Iterator<Item = &'r String>) -> bool {
    let mut bytes = 0;
    for resource in resources {
        bytes += resource.len() + 3;
        if resource.len() > MAX_RESOURCE_BYTES || bytes > MAX_RESOURCES_BYTES {
            return false;
        }
    }
    true
}

fn dedup(resources: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    resources.retain(|resource| seen.insert(resource.clone()));
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'p> {
    version: &'static str,
    statement: Vec<Statement<'p>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement<'p> {
    action: &'static str,
    effect: &'static str,
    resource: Vec<&'p String>,
}

fn document(allow: &[String], deny: Vec<&String>) -> Box<RawValue> {
    let statement = [("Allow", allow.iter().collect()), ("Deny", deny)]
        .into_iter()
        .filter(|(_, resource)| !resource.is_empty())
        .map(|(effect, resource)| Statement { action: "execute-api:Invoke", effect, resource })
        .collect();
    // Strings alone: serialising them does not fail.
    serde_json::value::to_raw_value(&Document { version: "2012-10-17", statement }).unwrap_or_default()
}

/// Rules as resources.
#[derive(Default)]
struct Compiled {
    allow: Vec<String>,
    deny: Vec<String>,
    /// Whether a rule is among what is denied.
    keeps_out: bool,
    narrow: bool,
}

impl Compiled {
    fn of(routes: &[Route], admitted: &[bool], stage: &str) -> Self {
        let methods = methods(routes);
        let rules: Vec<Ruled<'_>> = routes
            .iter()
            .zip(admitted)
            .enumerate()
            .filter_map(|(index, (route, admitted))| Ruled::of(index, route, *admitted))
            .collect();
        let everything = |rule: &Ruled<'_>| rule.methods.is_empty() && rule.segments == [Segment::Rest];
        if rules.iter().all(|rule| rule.admitted) && rules.iter().any(everything) {
            return Self { allow: vec![format!("{stage}/*/*")], ..Self::default() };
        }
        let mut compiled = Self::default();
        let (mut kept, mut denied): (Vec<&Ruled<'_>>, Vec<Denied<'_>>) = (Vec::new(), Vec::new());
        for rule in rules.iter().filter(|rule| rule.admitted && !is_needless(rule, &rules)) {
            let before = rules.iter().filter(|other| other.index < rule.index && !other.admitted);
            let mut needed: Vec<Denied<'_>> =
                before.filter(|other| overlaps(other, rule)).map(Denied::rule).collect();
            needed.extend(rule.widened());
            let hurts = |deny: &Denied<'_>| kept.iter().any(|kept| deny.hurts(kept));
            if !rule.can_be_said() || needed.iter().any(hurts) {
                compiled.narrow = true;
                continue;
            }
            let others = needed.iter().filter(|deny| !deny.is_of(rule)).chain(&denied);
            compiled.keeps_out |= needed.iter().any(Denied::is_rule);
            compiled.narrow |= others.into_iter().any(|deny| deny.hurts(rule));
            denied.extend(needed);
            kept.push(rule);
        }
        for rule in kept {
            rule.resources(stage, &methods, &mut compiled.allow);
        }
        for deny in denied {
            deny.resources(stage, &methods, &mut compiled.deny);
        }
        compiled
    }
}

/// The methods that a rule for all of them is about: those of API Gateway, and every one that a
/// rule names.
fn methods(routes: &[Route]) -> Vec<&str> {
    let mut methods = METHODS.to_vec();
    for method in routes.iter().flat_map(|route| &route.methods) {
        if !methods.contains(&method.as_str()) {
            methods.push(method);
        }
    }
    methods
}

/// Whether a rule that IAM can only say with Denies of its own, or not at all, can be left to a
/// later one: that admits the caller to all the rule does, with nothing against it in between.
fn is_needless(rule: &Ruled<'_>, rules: &[Ruled<'_>]) -> bool {
    if rule.can_be_said() && rule.widened().is_empty() {
        return false;
    }
    let after = || rules.iter().filter(|other| other.index > rule.index);
    let against = after().find(|other| !other.admitted && overlaps(other, rule)).map(|other| other.index);
    after()
        .take_while(|other| against.is_none_or(|against| other.index < against))
        .any(|other| other.admitted && other.can_be_said() && other.covers(rule))
}
