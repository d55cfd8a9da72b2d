//! What is too wide in a rule, found before anything is shown to it.
//!
//! An error is what no author can have meant: a condition that every token meets, a pattern that
//! matches anything, an identity that its owner has not proved. A warning is what may be meant and
//! has gone wrong elsewhere. `config check` shows both; nothing starts with an error. That every
//! rule is bound to an audience is seen to where sources are resolved.

use super::{
    expression::{Expression, Node, conjuncts, node},
    meeting::MeetingTerms,
    terms::Terms,
};
use regex::Regex;

/// Something about a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The setting, below the rule.
    pub setting: String,
    /// What is wrong and what to do.
    pub why: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing starts with it.
    Error,
    /// It is told.
    Warning,
}

/// What is known of where a rule's tokens come from.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceFacts<'a> {
    /// Anyone can have a token of it, for an audience of their choice: what tells them apart is in
    /// other claims (GitHub Actions).
    pub is_open_to_all: bool,
    /// Claims that the source compares with a value itself, at the top.
    pub compared: &'a [String],
    /// Whether it demands that `email_verified` is true.
    pub verifies_email: bool,
}

/// Texts of no common form: what matches all of them matches anything.
const ANYTHING: [&str; 6] =
    ["a", "Zq9", "\u{e9}\u{4e2d}", "/../%2f*", "repo:a/b:ref:x@1.example", "- _ ~\t."];

/// Looks at the terms of a rule.
pub fn lint(terms: &Terms, source: SourceFacts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let expressions = terms.claims.iter().map(|(name, expression)| (format!("claims.{name}"), expression));
    let when = terms.when.as_ref();
    for (setting, expression) in when.map(|when| ("when".to_owned(), when)).into_iter().chain(expressions) {
        found.extend(patterns(expression).map(|why| error(&setting, why)));
    }
    if let Some(when) = when {
        found.extend(condition(when));
    }
    found.extend(email(terms, source));
    found.extend(open(terms, source));
    found
}

/// Looks at what a rule says of a meeting. `terms` are those of the same rule.
pub fn lint_meeting(meeting: &MeetingTerms, terms: &Terms, source: SourceFacts<'_>) -> Vec<Finding> {
    let verifies = verifies_email(terms, source);
    let mut found = Vec::new();
    for (setting, expression) in meeting.expressions() {
        found.extend(patterns(expression).map(|why| error(&setting, why)));
        if expression.may_read("email") && !verifies {
            found.push(error(&setting, format!("{UNPROVED}; {VERIFY}")));
        }
    }
    if meeting.room.as_ref().is_some_and(|room| !room.reads_claims()) {
        let why = "it is the same for every token; write the room's name into `rooms`";
        found.push(error("meeting.room", why.to_owned()));
    }
    found
}

const UNPROVED: &str = "an e-mail address that its owner has not proved is anyone's";
const VERIFY: &str = "add `claims.email_verified == true` to `when`";

/// Whether the rule takes only tokens whose e-mail address is proved.
fn verifies_email(terms: &Terms, source: SourceFacts<'_>) -> bool {
    let is_required =
        || terms.when.as_ref().is_some_and(|when| conjuncts(when.node()).iter().any(is_verified));
    source.verifies_email || is_required()
}

fn error(setting: &str, why: String) -> Finding {
    Finding { severity: Severity::Error, setting: setting.to_owned(), why }
}

fn warning(setting: &str, why: &str) -> Finding {
    Finding { severity: Severity::Warning, setting: setting.to_owned(), why: why.to_owned() }
}

/// Patterns that match anything.
fn patterns(expression: &Expression) -> impl Iterator<Item = String> {
    let is_any = |pattern: &Regex| ANYTHING.iter().all(|text| pattern.is_match(text));
    expression
        .patterns()
        .filter(move |(_, pattern)| is_any(pattern))
        .map(|(text, _)| format!("matches({text:?}) is true of anything; say what it has to be"))
}

/// A condition that does not depend on the token, or has a part that holds for every one.
fn condition(when: &Expression) -> Vec<Finding> {
    if !when.reads_claims() {
        let why = format!(
            "{:?} is the same for every token; compare a claim (claims.NAME), or leave it out",
            when.text()
        );
        return vec![error("when", why)];
    }
    let mut found = Vec::new();
    look(when.node(), &mut found);
    found
}

/// Looks into what is joined by `&&` and `||`.
fn look(part: Node<'_>, found: &mut Vec<Finding>) {
    match part {
        Node::And(one, other) | Node::Or(one, other) => {
            look(node(&one.expr), found);
            look(node(&other.expr), found);
        }
        Node::Boolean(value) => {
            found.push(error("when", format!("`{value}` in it makes the rest of no account; take it out")));
        }
        Node::Text(name, "") => {
            found.push(error("when", format!("{name}(\"\") is true of anything; say what it has to be")));
        }
        Node::Text("matches", pattern) if !(pattern.starts_with('^') && pattern.ends_with('$')) => {
            let why = "matches() finds its pattern anywhere in the text; begin it with ^ and end it with $";
            found.push(warning("when", why));
        }
        Node::Equals(one, other) => {
            let (one, other) = (node(&one.expr), node(&other.expr));
            if one != Node::Other && one == other {
                found.push(error("when", "it compares something with itself".to_owned()));
            }
        }
        Node::Path(_) | Node::Text(..) | Node::String(_) | Node::Other => {}
    }
}

/// An e-mail address that nobody has proved to be theirs.
fn email(terms: &Terms, source: SourceFacts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if verifies_email(terms, source) {
        return found;
    }
    let says = |name: &str, claim: &str| {
        let path = |expression: &Expression| expression.node() == Node::Path(vec![claim.to_owned()]);
        terms.claims.get(name).is_some_and(path)
    };
    // The pair as OpenID Connect has it leaves the judgement to who reads it.
    let is_pair = says("email", "email") && says("email_verified", "email_verified");
    for (name, expression) in &terms.claims {
        if expression.may_read("email") && !(is_pair && name == "email") {
            found.push(error(&format!("claims.{name}"), format!("{UNPROVED}; {VERIFY}")));
        }
    }
    if terms.when.as_ref().is_some_and(|when| when.may_read("email")) {
        found.push(error("when", format!("it judges by an e-mail address that anyone could have; {VERIFY}")));
    }
    found
}

/// `claims.email_verified == true`, or the same with fewer words.
fn is_verified(part: &Node<'_>) -> bool {
    let verified = Node::Path(vec!["email_verified".to_owned()]);
    match part {
        Node::Equals(one, other) => {
            let sides = [node(&one.expr), node(&other.expr)];
            // Some providers send a text.
            let yes = |side: &Node<'_>| matches!(side, Node::Boolean(true) | Node::String("true"));
            sides.contains(&verified) && sides.iter().any(yes)
        }
        path => *path == verified,
    }
}

/// GitHub Actions: everybody has an account, and names can be taken over.
fn open(terms: &Terms, source: SourceFacts<'_>) -> Option<Finding> {
    if !source.is_open_to_all {
        return None;
    }
    let names = |claim: &str| {
        let compares = source.compared.iter().any(|compared| compared == claim);
        compares || terms.when.as_ref().is_some_and(|when| when.may_read(claim))
    };
    if names("repository_id") || names("repository_owner_id") {
        return None;
    }
    if ["repository", "repository_owner", "sub", "job_workflow_ref"].iter().any(|claim| names(claim)) {
        let why = "it tells repositories by name, and who takes a freed name has their tokens; compare `repository_id` or `repository_owner_id`";
        return Some(warning("when", why));
    }
    let why = "any repository on GitHub has such tokens; compare `repository_id` or `repository_owner_id`";
    Some(error("when", why.to_owned()))
}

#[cfg(test)]
mod tests;
