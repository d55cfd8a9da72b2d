//! Expressions of rules: CEL (<https://cel.dev>) over the claims of a token that is believed.
//!
//! `claims` is the only variable. An expression is read once, when the rule is (`subset` says what
//! may be in one), so that whatever is shown later it ends soon: its length, its depth and the
//! values it looks at are capped, loops do not nest, and patterns are compiled at the start.
//! Numbers are never rounded (`value`): an expression that only names a claim copies its text, and
//! one that computes with a number that 64 bits do not hold exactly is refused. What is missing is
//! refused with its name. Decision 0047; pinned by the tests here and by
//! `tests/suite/exchange_properties.rs`.

mod subset;
mod value;

use cel::{Context, Env, ExecutionError, Program, Value, extractors::This};
use countersign_jose::{
    MAX_CLAIMS_DEPTH,
    json::{JsonError, Object},
};
use regex::Regex;
use serde_json::value::RawValue;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
    thread,
};
use subset::Reads;
pub(super) use subset::{Node, conjuncts, node};

/// The longest expression, in bytes.
pub const MAX_EXPRESSION: usize = 1024;
/// The longest claims that an expression looks at, in bytes.
const MAX_CLAIMS: usize = 16 * 1024;
/// The stack of the thread that parses: the parser goes down a dozen levels of grammar for each
/// bracket.
const STACK: usize = 32 * 1024 * 1024;

/// The functions and operators of CEL; `subset` says which of them may be used.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// An expression that was read.
#[derive(Debug)]
pub struct Expression {
    text: String,
    program: Program,
    reads: Reads,
    /// Where it only names a claim: the names on the way to it.
    path: Option<Vec<String>>,
    patterns: Arc<BTreeMap<String, Regex>>,
}

/// Why a text is not an expression of a rule. It is text of the configuration, and shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Longer than any that is meant to be read by people.
    #[error("an expression of {0} bytes; at most {MAX_EXPRESSION} are read")]
    TooLong(usize),
    /// Not CEL.
    #[error("not an expression: {0}")]
    Malformed(String),
    /// Nested too deeply.
    #[error("nested too deeply; at most {} levels are read", subset::MAX_DEPTH)]
    TooDeep,
    /// CEL, but nothing a rule may say.
    #[error("{0}")]
    NotAllowed(String),
    /// Not a regular expression, or one that is too large.
    #[error("the pattern {pattern:?} cannot be used: {why}")]
    Pattern {
        /// As it was written.
        pattern: String,
        /// What is wrong.
        why: String,
    },
    /// No thread to read it in.
    #[error("it cannot be read: {0}")]
    Thread(String),
}

/// Why an expression has no value for these claims. Names claims and types, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvaluationError {
    #[error("`{0}`, which it reads, is missing")]
    Missing(String),
    #[error("a number in `{0}` is beyond what can be computed with exactly")]
    Inexact(String),
    #[error("there is more in the claims it reads than it looks at")]
    TooMuch,
    #[error("{0}")]
    WrongType(String),
    #[error("it is neither true nor false")]
    NotBoolean,
    #[error("its value has no form in JSON")]
    NotJson,
    #[error("its value is longer than {0} bytes")]
    TooLong(usize),
    #[error("it cannot be computed with these claims")]
    Failed,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// If a rule may not say this.
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > MAX_EXPRESSION {
            return Err(ExpressionError::TooLong(text.len()));
        }
        // What is nested too deeply overflows a smaller stack before it is refused, and does so
        // again when it is dropped.
        thread::scope(|scope| {
            let reading = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || Self::read(text));
            let reading = reading.map_err(|why| ExpressionError::Thread(why.to_string()))?;
            reading
                .join()
                .unwrap_or_else(|_| Err(ExpressionError::Malformed("the parser gave up".to_owned())))
        })
    }

    fn read(text: &str) -> Result<Self, ExpressionError> {
        let program = ENVIRONMENT.compile(text).map_err(|why| {
            let why = why.to_string();
            let first = why.lines().next().unwrap_or_default();
            // What the parser calls its own limit.
            if first.contains("OtherError") {
                return ExpressionError::TooDeep;
            }
            ExpressionError::Malformed(first.strip_prefix("ERROR: <input>:").unwrap_or(first).to_owned())
        })?;
        let found = subset::check(program.expression())?;
        let path = subset::path(&program.expression().expr);
        Ok(Self {
            text: text.to_owned(),
            program,
            reads: found.reads,
            path,
            patterns: Arc::new(found.patterns),
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it looks at a claim at all: without one, its value is the same for every token.
    pub(super) fn reads_claims(&self) -> bool {
        self.reads != Reads::nothing()
    }

    /// Whether it may look at the claim of this name.
    pub(super) fn may_read(&self, name: &str) -> bool {
        self.reads.has(name)
    }

    pub(super) fn node(&self) -> Node<'_> {
        node(&self.program.expression().expr)
    }

    pub(super) fn patterns(&self) -> impl Iterator<Item = (&str, &Regex)> {
        self.patterns.iter().map(|(text, pattern)| (text.as_str(), pattern))
    }

    /// Whether it is true of these claims.
    pub(crate) fn holds(&self, claims: &Object<'_>) -> Result<bool, EvaluationError> {
        match self.value(claims)? {
            Value::Bool(holds) => Ok(holds),
            _ => Err(EvaluationError::NotBoolean),
        }
    }

    /// Its value for these claims as JSON, at most `longest` bytes of it; `None` for null, which
    /// says nothing.
    pub(crate) fn json(
        &self,
        claims: &Object<'_>,
        longest: usize,
    ) -> Result<Option<String>, EvaluationError> {
        let text = match &self.path {
            Some(path) => named(path, claims)?.get().to_owned(),
            None => value::to_json(&self.value(claims)?, longest)?,
        };
        if text.len() > longest {
            return Err(EvaluationError::TooLong(longest));
        }
        Ok(Some(text).filter(|text| text != "null"))
    }

    fn value(&self, claims: &Object<'_>) -> Result<Value, EvaluationError> {
        let claims = value::of_claims(claims, &self.reads)?;
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        let patterns = Arc::clone(&self.patterns);
        let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            patterns.get(pattern.as_str()).is_some_and(|pattern| pattern.is_match(&text))
        };
        context.add_function("matches", matches).map_err(|_| EvaluationError::Failed)?;
        context.add_variable_from_value("claims", claims);
        // Nothing is left half done by a panic: the context is ours alone and is dropped.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.program.execute(&context)));
        outcome.map_err(|_| EvaluationError::Failed)?.map_err(|why| refusal(&why))
    }
}

/// The claims of a token, for expressions.
pub(crate) fn claims_of(text: &str) -> Result<Object<'_>, EvaluationError> {
    if text.len() > MAX_CLAIMS {
        return Err(EvaluationError::TooMuch);
    }
    Object::parse_text(text, MAX_CLAIMS_DEPTH).map_err(|why| match why {
        JsonError::TooDeep => EvaluationError::TooMuch,
        _ => EvaluationError::Failed,
    })
}

/// The text of the claim that a path leads to.
fn named<'a>(path: &[String], claims: &Object<'a>) -> Result<&'a RawValue, EvaluationError> {
    let missing = || EvaluationError::Missing(path.join("."));
    let (first, rest) = path.split_first().ok_or(EvaluationError::Failed)?;
    let mut value = claims.get(first).ok_or_else(missing)?;
    for name in rest {
        let object = Object::parse_text(value.get(), MAX_CLAIMS_DEPTH).map_err(|_| missing())?;
        value = object.get(name).ok_or_else(missing)?;
    }
    Ok(value)
}

/// What is told of a failure: names are those of the expression, for it has no computed ones.
fn refusal(why: &ExecutionError) -> EvaluationError {
    match why {
        ExecutionError::NoSuchKey(name) => EvaluationError::Missing(name.to_string()),
        ExecutionError::NoSuchOverload(types) => EvaluationError::WrongType(types.to_string()),
        _ => EvaluationError::Failed,
    }
}

#[cfg(test)]
mod tests;
