//! The IAM policy that API Gateway is answered with, made so that it is also right when it is used again from a cache.
//!
//! API Gateway keeps a policy for the caller's identity source (300 s unless told otherwise) and compares later requests with it, to
//! whatever route. So the policy says what this caller may do everywhere: each rule that admits the caller is an Allow, each
//! earlier rule that does not, where the two overlap, a Deny. It is made of API, stage and the rules' patterns. Where IAM's `*`, which
//! takes slashes, can not say what a rule says, the rule is left out: narrower, never wider. If the request at hand would be
//! hurt by that, it is allowed by its own exact ARN, in which nothing is a wildcard, and nothing else.
//! docs/decisions/0010. Called by `reply`; pinned by the tests below and `tests/cached_policies.rs`.

use super::arn::{MethodArn, covers};
use crate::{gate::Gate, path::Target, pattern::Segment, route::Route};
use countersign_verifier::Accepted;
use serde::Serialize;
use std::borrow::Cow;

/// What API Gateway takes of one resource (API Gateway quotas: 512 characters).
const MAX_RESOURCE_BYTES: usize = 512;
/// Resources of both kinds together, in bytes; an authorizer's answer may have 8 KB in all.
const MAX_RESOURCES_BYTES: usize = 4800;
/// What API Gateway knows as methods. `*` in their place would take the beginning of the path as well.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What is allowed and what is denied; a Deny is stronger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Policy<'a> {
    allow: Vec<Cow<'a, str>>,
    deny: Vec<Cow<'a, str>>,
    /// Whether, used from a cache, it refuses some requests that the rules would let in.
    pub(super) narrow: bool,
}

impl<'a> Policy<'a> {
    /// Nobody may do anything at this stage; anywhere, where the ARN is not known.
    pub(super) fn nothing(arn: Option<&MethodArn<'_>>) -> Self {
        let all = arn.map_or(Cow::Borrowed("*"), |arn| Cow::Owned(format!("{}/*", arn.stage())));
        Self { deny: vec![all], ..Self::default() }
    }

    /// The configured ARNs, which came from no request.
    pub(super) fn of_apis(apis: &'a [String]) -> Self {
        Self { allow: apis.iter().map(|api| Cow::Borrowed(api.as_str())).collect(), ..Self::default() }
    }

    /// What the rules let this caller do, and so whether they let it do what it asks for.
    pub(super) fn of_rules(
        gate: &Gate,
        caller: Option<&Accepted>,
        arn: &MethodArn<'a>,
        admitted: bool,
    ) -> Self {
        if arn.path == Target::CONNECT {
            // The one route of a WebSocket API that is ever asked about.
            return if admitted { Self::exactly(arn) } else { Self::nothing(Some(arn)) };
        }
        let compiled = compile(gate.routes(), |route| gate.admits(route, caller), arn.stage());
        match compiled.filter(|policy| policy.fits() && policy.allows(arn.as_str()) == admitted) {
            Some(policy) => policy,
            None if admitted => Self::exactly(arn),
            None => Self::nothing(Some(arn)),
        }
    }

    /// What is asked for, to the letter. A path with a wildcard was refused before.
    fn exactly(arn: &MethodArn<'a>) -> Self {
        let literal = !arn.as_str().contains(['*', '?']) && !arn.as_str().contains("${");
        if !literal || arn.as_str().len() > MAX_RESOURCE_BYTES {
            return Self::nothing(Some(arn));
        }
        let narrow = arn.path != Target::CONNECT;
        Self { allow: vec![Cow::Borrowed(arn.as_str())], narrow, ..Self::default() }
    }

    pub(super) fn allows(&self, arn: &str) -> bool {
        let covered = |resources: &[Cow<'_, str>]| resources.iter().any(|resource| covers(resource, arn));
        covered(&self.allow) && !covered(&self.deny)
    }

    fn fits(&self) -> bool {
        let all = || self.allow.iter().chain(&self.deny);
        all().all(|resource| resource.len() <= MAX_RESOURCE_BYTES)
            && all().map(|resource| resource.len() + 3).sum::<usize>() <= MAX_RESOURCES_BYTES
    }

    /// The policy document (API Gateway developer guide, "Output from an API Gateway Lambda authorizer").
    pub(super) fn document(&self) -> impl Serialize + '_ {
        Document {
            version: "2012-10-17",
            statement: [("Allow", &self.allow), ("Deny", &self.deny)]
                .into_iter()
                .filter(|(_, resources)| !resources.is_empty())
                .map(|(effect, resource)| Statement { action: "execute-api:Invoke", effect, resource })
                .collect(),
        }
    }
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
    resource: &'p [Cow<'p, str>],
}

/// The rules as resources; `None` where nothing could be said.
fn compile<'a>(routes: &[Route], admits: impl Fn(&Route) -> bool, stage: &str) -> Option<Policy<'a>> {
    let routes: Vec<Ruled<'_>> = routes
        .iter()
        .filter_map(|route| Some(Ruled { route, segments: route.path.segments()?, admitted: admits(route) }))
        .collect();
    let mut policy = Policy::default();
    let everything = |ruled: &Ruled<'_>| ruled.route.methods.is_empty() && ruled.segments == [Segment::Rest];
    if routes.iter().all(|ruled| ruled.admitted) && routes.iter().any(everything) {
        policy.allow.push(Cow::Owned(format!("{stage}/*/*")));
        return Some(policy);
    }
    let mut denied: Vec<&Ruled<'_>> = Vec::new();
    let mut kept: Vec<(usize, &Ruled<'_>)> = Vec::new();
    for (index, ruled) in routes.iter().enumerate().filter(|(_, ruled)| ruled.admitted) {
        let before = routes.get(..index).unwrap_or_default();
        let needed = || before.iter().filter(|other| !other.admitted && other.overlaps(ruled));
        // A Deny would also hit what an even earlier rule admits.
        let hurts = |deny: &Ruled<'_>| {
            let at = routes.iter().position(|other| std::ptr::eq(other, deny)).unwrap_or_default();
            kept.iter().any(|(kept, other)| *kept < at && deny.overlaps(other))
        };
        if ruled.segments.contains(&Segment::Any) || needed().any(hurts) {
            policy.narrow = true;
            continue;
        }
        denied.extend(needed());
        kept.push((index, ruled));
    }
    for (_, ruled) in &kept {
        ruled.add_resources(stage, &mut policy.allow);
    }
    for ruled in denied {
        ruled.add_resources(stage, &mut policy.deny);
    }
    if policy.allow.is_empty() {
        return None;
    }
    // Paths that a service could read as others than they look: the gate would refuse them, or decode them first.
    for ambiguous in ["*%*", "*//*", "*;*", "*\\*", "*/./*", "*/../*", "*/.", "*/.."] {
        policy.deny.push(Cow::Owned(format!("{stage}/{ambiguous}")));
    }
    dedup(&mut policy.allow);
    dedup(&mut policy.deny);
    Some(policy)
}

fn dedup(resources: &mut Vec<Cow<'_, str>>) {
    let mut seen = std::collections::HashSet::new();
    resources.retain(|resource| seen.insert(resource.clone()));
}

/// A rule and whether it admits the caller.
struct Ruled<'r> {
    route: &'r Route,
    segments: &'r [Segment],
    admitted: bool,
}

impl Ruled<'_> {
    /// Whether some request could be matched by both, when `*` takes slashes too.
    fn overlaps(&self, other: &Ruled<'_>) -> bool {
        let (mine, theirs) = (&self.route.methods, &other.route.methods);
        let methods =
            mine.is_empty() || theirs.is_empty() || mine.iter().any(|method| theirs.contains(method));
        methods && overlap(self.segments, other.segments)
    }

    fn add_resources(&self, stage: &str, resources: &mut Vec<Cow<'_, str>>) {
        let named = self.route.methods.iter().map(String::as_str);
        let methods: Vec<&str> =
            if self.route.methods.is_empty() { METHODS.to_vec() } else { named.collect() };
        for method in methods {
            let mut path = format!("{stage}/{method}/");
            let mut open = false;
            for (at, segment) in self.segments.iter().enumerate() {
                match segment {
                    Segment::Rest => open = true,
                    Segment::Literal(_) | Segment::Any if at > 0 => path.push('/'),
                    Segment::Literal(_) | Segment::Any => {}
                }
                match segment {
                    Segment::Literal(literal) => path.push_str(literal),
                    Segment::Any => path.push('*'),
                    Segment::Rest => {}
                }
            }
            if path.ends_with('/') {
                // The root, alone or with all below it.
                resources.push(Cow::Owned(if open { format!("{path}*") } else { path }));
            } else {
                // A slash at the end does not count.
                resources.push(Cow::Owned(format!("{path}/{}", if open { "*" } else { "" })));
                resources.push(Cow::Owned(path));
            }
        }
    }
}

fn overlap(a: &[Segment], b: &[Segment]) -> bool {
    match (a, b) {
        ([], []) => true,
        ([Segment::Rest, ..], _) | (_, [Segment::Rest, ..]) => true,
        // As a resource it takes any number of segments; one at least.
        ([Segment::Any, rest @ ..], [_, others @ ..]) | ([_, others @ ..], [Segment::Any, rest @ ..]) => {
            overlap(rest, others)
                || (1..=others.len()).any(|skipped| overlap(rest, others.get(skipped..).unwrap_or_default()))
        }
        ([Segment::Literal(a), rest @ ..], [Segment::Literal(b), others @ ..]) => {
            a == b && overlap(rest, others)
        }
        ([], _) | (_, []) => false,
    }
}
