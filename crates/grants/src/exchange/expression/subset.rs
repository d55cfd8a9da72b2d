//! What of CEL a rule may say: one variable, a list of functions, loops that do not nest, names and
//! patterns as literals.
//!
//! A list of what is allowed and not of what is forbidden: what a later version of the crate adds
//! is refused until it is thought about here. Inside a loop nothing is added up, so that what an
//! expression makes is no larger than what it reads times what is written in it.

use super::ExpressionError;
use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators},
};
use regex::{Regex, RegexBuilder};
use std::collections::{BTreeMap, BTreeSet};

/// The deepest an expression nests.
pub(super) const MAX_DEPTH: usize = 32;
/// How large a compiled pattern may be, in bytes.
const MAX_PATTERN: usize = 256 * 1024;

const VARIABLE: &str = "claims";
const ACCUMULATOR: &str = "@result";

/// Functions and operators that a rule may use.
const FUNCTIONS: [&str; 26] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    operators::NOT_STRICTLY_FALSE,
    "size",
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "string",
    "int",
];

/// Which claims an expression looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reads {
    /// These, at the top.
    Named(BTreeSet<String>),
    /// The whole of them.
    All,
}

impl Reads {
    pub(super) const fn nothing() -> Self {
        Self::Named(BTreeSet::new())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Named(names) => names.contains(name),
            Self::All => true,
        }
    }

    fn add(&mut self, name: &str) {
        if let Self::Named(names) = self {
            names.insert(name.to_owned());
        }
    }
}

/// What was found in an expression.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) reads: Reads,
    pub(super) patterns: BTreeMap<String, Regex>,
}

/// Whether a rule may say this.
pub(super) fn check(expression: &IdedExpr) -> Result<Found, ExpressionError> {
    let mut walk =
        Walk { found: Found { reads: Reads::nothing(), patterns: BTreeMap::new() }, of_loop: None };
    walk.visit(&expression.expr, 0)?;
    Ok(walk.found)
}

/// The names on the way to a claim, where an expression is nothing but that.
pub(super) fn path(expression: &Expr) -> Option<Vec<String>> {
    let (operand, name) = match expression {
        Expr::Select(select) if !select.test => (&select.operand.expr, select.field.clone()),
        Expr::Call(call) => index(call)?,
        _ => return None,
    };
    if matches!(operand, Expr::Ident(variable) if variable == VARIABLE) {
        return Some(vec![name]);
    }
    let mut names = path(operand)?;
    names.push(name);
    Some(names)
}

/// `operand["name"]`.
fn index(call: &CallExpr) -> Option<(&Expr, String)> {
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::INDEX, [operand, name]) => Some((&operand.expr, string(&name.expr)?.to_owned())),
        _ => None,
    }
}

fn string(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

struct Walk {
    found: Found,
    /// The variable of the loop that this is inside of.
    of_loop: Option<String>,
}

impl Walk {
    fn visit(&mut self, expression: &Expr, depth: usize) -> Result<(), ExpressionError> {
        if depth >= MAX_DEPTH {
            return Err(ExpressionError::TooDeep);
        }
        let deeper = depth + 1;
        if let Some(names) = path(expression)
            && let Some(first) = names.first()
        {
            self.found.reads.add(first);
            return if names.len() + depth > MAX_DEPTH { Err(ExpressionError::TooDeep) } else { Ok(()) };
        }
        match expression {
            Expr::Literal(LiteralValue::Bytes(_)) => not("bytes have no form in claims; use text"),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) if name == VARIABLE => {
                self.found.reads = Reads::All;
                Ok(())
            }
            Expr::Ident(name) if self.of_loop.as_ref() == Some(name) => Ok(()),
            Expr::Ident(name) => {
                not(&format!("there is no `{name}`; the claims of the token are `claims.NAME`"))
            }
            Expr::Select(select) if select.test => {
                // `has(claims.a)` looks at `a`, and at nothing else of the claims.
                match &select.operand.expr {
                    Expr::Ident(name) if name == VARIABLE => {
                        self.found.reads.add(&select.field);
                        Ok(())
                    }
                    operand => self.visit(operand, deeper),
                }
            }
            Expr::Select(select) => self.visit(&select.operand.expr, deeper),
            Expr::List(list) => {
                list.elements.iter().try_for_each(|element| self.visit(&element.expr, deeper))
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) if string(&entry.key.expr).is_some() => {
                    self.visit(&entry.value.expr, deeper)
                }
                _ => not("the members of an object are named by texts, like {'name': claims.name}"),
            }),
            Expr::Call(call) => self.call(call, deeper),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, deeper),
            Expr::Struct(_) | Expr::Unspecified => not("there are no messages here; write {'name': value}"),
        }
    }

    fn call(&mut self, call: &CallExpr, depth: usize) -> Result<(), ExpressionError> {
        let name = call.func_name.as_str();
        if !FUNCTIONS.contains(&name) {
            return not(&format!("`{name}` cannot be used in a rule"));
        }
        if self.of_loop.is_some() && name == operators::ADD {
            return not("inside all, exists, exists_one, map and filter nothing is added");
        }
        if name == operators::INDEX
            && !matches!(call.args.get(1).map(|key| &key.expr), Some(Expr::Literal(_)))
        {
            return not("in brackets there is a text or a number, like claims[\"https://a.example/role\"]");
        }
        if name == "matches" {
            let pattern = call.args.last().and_then(|pattern| string(&pattern.expr));
            let Some(pattern) = pattern else { return not("a pattern is a text, like matches('^a+$')") };
            self.found.patterns.insert(pattern.to_owned(), compile(pattern)?);
        }
        let mut operands = call.target.iter().map(AsRef::as_ref).chain(&call.args);
        operands.try_for_each(|operand| self.visit(&operand.expr, depth))
    }

    fn comprehension(&mut self, all: &ComprehensionExpr, depth: usize) -> Result<(), ExpressionError> {
        if self.of_loop.is_some() {
            return not("all, exists, exists_one, map and filter cannot be inside one another");
        }
        if all.iter_var == VARIABLE || all.iter_var2.is_some() {
            return not("all, exists, exists_one, map and filter have one variable, with a name of its own");
        }
        self.visit(&all.iter_range.expr, depth)?;
        self.of_loop = Some(all.iter_var.clone());
        let outcome = self.step(&all.loop_step.expr, depth);
        self.of_loop = None;
        // Start, condition and result are the macro's own.
        outcome
    }

    /// What a macro makes of its arguments: they are beside what it has gathered so far.
    fn step(&mut self, step: &Expr, depth: usize) -> Result<(), ExpressionError> {
        let is_gathered = |expression: &Expr| matches!(expression, Expr::Ident(name) if name == ACCUMULATOR);
        match step {
            step if is_gathered(step) => Ok(()),
            Expr::Call(call) if is_of_macro(&call.func_name) => {
                let gathers = call.func_name == operators::ADD;
                call.args.iter().try_for_each(|argument| match &argument.expr {
                    argument if is_gathered(argument) => Ok(()),
                    // `@result + [x]` and `@result + 1`; within the list nothing is added.
                    Expr::List(list) if gathers => {
                        list.elements.iter().try_for_each(|element| self.visit(&element.expr, depth))
                    }
                    Expr::Call(inner) if inner.args.first().is_some_and(|first| is_gathered(&first.expr)) => {
                        self.step(&argument.expr, depth)
                    }
                    argument => self.visit(argument, depth),
                })
            }
            step => self.visit(step, depth),
        }
    }
}

fn is_of_macro(name: &str) -> bool {
    [operators::ADD, operators::LOGICAL_AND, operators::LOGICAL_OR, operators::CONDITIONAL].contains(&name)
}

fn compile(pattern: &str) -> Result<Regex, ExpressionError> {
    RegexBuilder::new(pattern).size_limit(MAX_PATTERN).build().map_err(|why| {
        let why = why.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        ExpressionError::Pattern { pattern: pattern.to_owned(), why }
    })
}

fn not(why: &str) -> Result<(), ExpressionError> {
    Err(ExpressionError::NotAllowed(why.to_owned()))
}

/// An expression as the linter looks at it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::exchange) enum Node<'a> {
    /// All of them must hold.
    And(&'a IdedExpr, &'a IdedExpr),
    /// One of them must hold.
    Or(&'a IdedExpr, &'a IdedExpr),
    /// `claims.a.b`.
    Path(Vec<String>),
    /// `a == b`.
    Equals(&'a IdedExpr, &'a IdedExpr),
    /// `a.startsWith('b')` and its like: the function and the text, where it is one.
    Text(&'a str, &'a str),
    /// `true` and its like.
    Boolean(bool),
    /// A text.
    String(&'a str),
    /// Anything else.
    Other,
}

/// What an expression is at its top.
pub(in crate::exchange) fn node(expression: &Expr) -> Node<'_> {
    if let Some(names) = path(expression) {
        return Node::Path(names);
    }
    match expression {
        Expr::Literal(LiteralValue::Boolean(value)) => Node::Boolean(*value.inner()),
        Expr::Literal(LiteralValue::String(text)) => Node::String(text.inner()),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [one, other]) => Node::And(one, other),
            (operators::LOGICAL_OR, [one, other]) => Node::Or(one, other),
            (operators::EQUALS, [one, other]) => Node::Equals(one, other),
            (name @ ("startsWith" | "endsWith" | "contains" | "matches"), [.., last]) => {
                string(&last.expr).map_or(Node::Other, |text| Node::Text(name, text))
            }
            _ => Node::Other,
        },
        _ => Node::Other,
    }
}

/// What must all hold for an expression to hold.
pub(in crate::exchange) fn conjuncts(root: Node<'_>) -> Vec<Node<'_>> {
    match root {
        Node::And(one, other) => {
            let mut all = conjuncts(node(&one.expr));
            all.extend(conjuncts(node(&other.expr)));
            all
        }
        other => vec![other],
    }
}
