//! One rule as resources of IAM, and which paths two rules, or a Deny and a rule, have in common.
//!
//! In a rule, `Segment::Any` is one segment. As a resource it is `?*`, which takes slashes:
//! `/a/{id}/c` becomes an Allow of `a/?*/c` and, since that has `a/x/y/c` in it too, a Deny of
//! `a/?*/?*/c`. Such a Deny can hurt other rules.

use crate::{pattern::Segment, route::Route};
use std::borrow::Cow;

/// A rule about paths, and whether it admits the caller.
#[derive(Debug)]
pub(super) struct Ruled<'r> {
    pub(super) index: usize,
    pub(super) methods: &'r [String],
    pub(super) segments: &'r [Segment],
    pub(super) admitted: bool,
}

impl<'r> Ruled<'r> {
    /// `None` for the handshake of a WebSocket API, which has no path.
    pub(super) fn of(index: usize, route: &'r Route, admitted: bool) -> Option<Self> {
        Some(Self { index, methods: &route.methods, segments: route.path.segments()?, admitted })
    }

    /// Whether resources can have exactly this rule's paths. `/a/*/c/**` cannot: where the rest may
    /// have another `c`, no Deny tells how much of the path the star has taken.
    pub(super) fn can_be_said(&self) -> bool {
        let fixed = self.before_rest();
        fixed.len() == self.segments.len() || !self.is_counted()
    }

    /// The segments without the `**` at the end.
    fn before_rest(&self) -> &'r [Segment] {
        match self.segments {
            [fixed @ .., Segment::Rest] => fixed,
            all => all,
        }
    }

    /// Whether a star of it must not take slashes: unless it is followed by stars and the rest
    /// alone.
    fn is_counted(&self) -> bool {
        let fixed = self.before_rest();
        let open = fixed.len() < self.segments.len();
        let last_literal = fixed.iter().rposition(|segment| *segment != Segment::Any);
        let closed = if open { fixed.get(..last_literal.unwrap_or(0)).unwrap_or_default() } else { fixed };
        closed.contains(&Segment::Any)
    }

    /// What its resources have too much: for each star, the paths where it would have taken a
    /// slash.
    pub(super) fn widened(&self) -> Vec<Denied<'r>> {
        if !self.is_counted() {
            return Vec::new();
        }
        let stars = self.segments.iter().enumerate().filter(|(_, segment)| **segment == Segment::Any);
        let widened = stars.map(|(at, _)| {
            let mut segments = self.segments.to_vec();
            segments.insert(at, Segment::Any);
            Denied { methods: self.methods, segments: Cow::Owned(segments), of: self.index, is_rule: false }
        });
        widened.collect()
    }

    /// Whether every request that the other matches is matched by this one too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || !other.methods.is_empty() && other.methods.iter().all(|method| self.methods.contains(method));
        methods && contains(self.segments, other.segments)
    }

    pub(super) fn resources(&self, stage: &str, methods: &[&str], resources: &mut Vec<String>) {
        add(self.segments, self.methods, stage, methods, resources);
    }
}

/// Paths that must be denied.
#[derive(Debug)]
pub(super) struct Denied<'r> {
    methods: &'r [String],
    segments: Cow<'r, [Segment]>,
    /// The rule it is about.
    of: usize,
    /// Whether it is the rule itself, which does not admit the caller, or what an Allow has too
    /// much.
    is_rule: bool,
}

impl<'r> Denied<'r> {
    pub(super) fn rule(rule: &Ruled<'r>) -> Self {
        let segments = Cow::Borrowed(rule.segments);
        Self { methods: rule.methods, segments, of: rule.index, is_rule: true }
    }

    pub(super) fn is_of(&self, rule: &Ruled<'_>) -> bool {
        self.of == rule.index
    }

    pub(super) fn is_rule(&self) -> bool {
        self.is_rule
    }

    /// Whether it would deny what a rule lets in.
    pub(super) fn hurts(&self, rule: &Ruled<'_>) -> bool {
        if self.is_of(rule) || !share_methods(self.methods, rule.methods) {
            return false;
        }
        // An earlier rule decides what it matches; only what its resource has beyond that hurts.
        if self.is_rule && self.of < rule.index {
            let stars = self.segments.iter().enumerate().filter(|(_, segment)| **segment == Segment::Any);
            return stars.into_iter().any(|(at, _)| {
                let mut widened = self.segments.to_vec();
                widened.insert(at, Segment::Any);
                !contains(&self.segments, &widened) && meets(&widened, rule.segments, true)
            });
        }
        meets(&self.segments, rule.segments, true)
    }

    pub(super) fn resources(&self, stage: &str, methods: &[&str], resources: &mut Vec<String>) {
        add(&self.segments, self.methods, stage, methods, resources);
    }
}

fn add(segments: &[Segment], named: &[String], stage: &str, all: &[&str], resources: &mut Vec<String>) {
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    for method in if named.is_empty() { all } else { &named } {
        let mut path = format!("{stage}/{method}/");
        let mut fixed = segments;
        if let [before @ .., Segment::Rest] = segments {
            fixed = before;
        }
        for (at, segment) in fixed.iter().enumerate() {
            if at > 0 {
                path.push('/');
            }
            match segment {
                Segment::Literal(literal) => path.push_str(literal),
                Segment::Any | Segment::Rest => path.push_str("?*"),
            }
        }
        let open = fixed.len() < segments.len();
        match fixed.last() {
            // The root, alone or with all below it.
            None => resources.push(if open { format!("{path}*") } else { path }),
            // The star takes a slash at the end, and all that follows.
            Some(Segment::Any) => resources.push(path),
            // A slash at the end does not count.
            Some(_) => {
                resources.push(format!("{path}/{}", if open { "*" } else { "" }));
                resources.push(path);
            }
        }
    }
}

fn share_methods(one: &[String], other: &[String]) -> bool {
    one.is_empty() || other.is_empty() || one.iter().any(|method| other.contains(method))
}

/// Whether some request is matched by both rules.
pub(super) fn overlaps(one: &Ruled<'_>, other: &Ruled<'_>) -> bool {
    share_methods(one.methods, other.methods) && meets(one.segments, other.segments, false)
}

/// Whether some path is matched by both; by the first as a resource, whose stars take any number of
/// segments, if `wide`.
pub(super) fn meets(one: &[Segment], rule: &[Segment], wide: bool) -> bool {
    match (one, rule) {
        ([], []) | ([], [Segment::Rest]) | ([Segment::Rest, ..], _) | (_, [Segment::Rest, ..]) => true,
        ([], _) | (_, []) => false,
        ([Segment::Any, rest @ ..], [_, others @ ..]) => {
            meets(rest, others, wide) || wide && meets(one, others, wide)
        }
        ([Segment::Literal(_), rest @ ..], [Segment::Any, others @ ..]) => meets(rest, others, wide),
        ([Segment::Literal(a), rest @ ..], [Segment::Literal(b), others @ ..]) => {
            a == b && meets(rest, others, wide)
        }
    }
}

/// Whether every path of the second pattern is one of the first.
fn contains(pattern: &[Segment], other: &[Segment]) -> bool {
    match (pattern, other) {
        ([], []) | ([Segment::Rest], _) => true,
        ([Segment::Any, rest @ ..], [Segment::Any | Segment::Literal(_), others @ ..]) => {
            contains(rest, others)
        }
        ([Segment::Literal(a), rest @ ..], [Segment::Literal(b), others @ ..]) => {
            a == b && contains(rest, others)
        }
        _ => false,
    }
}
