//! Checks as people and scripts read them: a line each, or an object each. For `explain` and
//! `authorize --explain`.

use countersign_verifier::{Check, Verdict};
use serde::Serialize;

/// A line for each check, with a mark in front.
pub(crate) fn lines(checks: &[Check]) -> Vec<String> {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let line = |Check { name, expected, found, verdict }: &Check| match verdict {
        Verdict::Passed => format!("✓ {name:width$}  expected {expected}; found {found}"),
        Verdict::Failed { why, .. } if found.is_empty() => {
            format!("✗ {name:width$}  expected {expected}: {why}")
        }
        Verdict::Failed { why, .. } => format!("✗ {name:width$}  expected {expected}; found {found}: {why}"),
        Verdict::NotReached => format!("– {name:width$}  expected {expected}; not reached"),
    };
    checks.iter().map(line).collect()
}

/// A check in JSON.
#[derive(Serialize)]
pub(crate) struct ReportedCheck<'a> {
    name: &'a str,
    expected: &'a str,
    found: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

/// The checks for scripts.
pub(crate) fn reported(checks: &[Check]) -> Vec<ReportedCheck<'_>> {
    let rows = checks.iter().map(|check| {
        let (verdict, code) = match &check.verdict {
            Verdict::Passed => ("passed", None),
            Verdict::Failed { code, .. } => ("failed", Some(*code)),
            Verdict::NotReached => ("not_reached", None),
        };
        ReportedCheck { name: &check.name, expected: &check.expected, found: &check.found, verdict, code }
    });
    rows.collect()
}
