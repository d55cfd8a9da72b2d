//! The environment, read once and handed down: tests give their own, and nothing changes that of
//! the process.
//!
//! An empty variable counts as not set, because a shell or a container file often cannot unset one.
//! Values may be secrets and are in no debug output. `main` reads it; everything below is given it.
//! What is kept elsewhere (AWS) is fetched by the program, which alone knows how, and noted here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};
use zeroize::Zeroizing;

/// What was fetched from elsewhere, by its reference: a text, or why it cannot be had.
type Fetched = BTreeMap<String, Result<Zeroizing<String>, String>>;

/// References that nobody answered for. It is nobody's mistake, and may be there the next time.
type Away = BTreeSet<String>;

/// Environment variables and the folder the program was started in.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Variables whose values are not UTF-8, which nobody can read.
    not_text: BTreeSet<String>,
    /// Shared by all copies, since the fetching code hands down what it was given.
    fetched: Arc<RwLock<Fetched>>,
    away: Arc<RwLock<Away>>,
    /// Where the program was started; relative paths on the command line begin there.
    pub folder: PathBuf,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        f.debug_struct("Environment").field("names", &self.variables.keys()).finish_non_exhaustive()
    }
}

impl Environment {
    /// That of this process. Variables that are not UTF-8 are not there, and are known by their
    /// names.
    pub fn of_process() -> Self {
        let folder = std::env::current_dir().unwrap_or_default();
        let mut environment = Self { folder, ..Self::default() };
        for (name, value) in std::env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => environment.variables.insert(name, value).map(drop),
                (Ok(name), Err(_)) => environment.not_text.insert(name).then_some(()),
                (Err(_), _) => None,
            };
        }
        environment
    }

    /// Why [`Environment::get`] has no value of this name, in words that go behind it.
    pub fn why_missing(&self, name: &str) -> &'static str {
        match self.not_text.contains(name) {
            true => "is not UTF-8 text",
            false => "is not set",
        }
    }

    /// Whether a variable is set, be it to nothing or to what is not text.
    pub fn is_set(&self, name: &str) -> bool {
        self.variables.contains_key(name) || self.not_text.contains(name)
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All variables that begin with `prefix`, also empty ones, each as the rest of its name and
    /// its value.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.variables
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// An environment of these variables alone, in no folder: tests give one instead of changing
    /// that of the process.
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { variables: variables.collect(), ..Self::default() }
    }

    /// Notes what a reference to another place has led to, for later readers. A new outcome takes
    /// the place of the old one.
    pub fn note_fetched(&self, reference: &str, outcome: Result<Zeroizing<String>, String>) {
        let mut fetched = self.fetched.write().unwrap_or_else(PoisonError::into_inner);
        fetched.insert(reference.to_owned(), outcome);
    }

    /// Notes that nobody answered for a reference, whatever else is noted of it.
    pub fn note_away(&self, reference: &str) {
        self.away.write().unwrap_or_else(PoisonError::into_inner).insert(reference.to_owned());
    }

    /// Whether a text names a reference that nobody answered for.
    pub fn is_away_in(&self, text: &str) -> bool {
        self.away
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|reference| text.contains(reference))
    }

    /// What a reference to another place has led to; `None` where nobody has fetched it.
    pub fn fetched(&self, reference: &str) -> Option<Result<Zeroizing<String>, String>> {
        self.fetched.read().unwrap_or_else(PoisonError::into_inner).get(reference).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let environment = Environment::of(&[("EMPTY", ""), ("FULL", "x")]);
        assert_eq!(environment.get("EMPTY"), None);
        assert_eq!(environment.get("FULL"), Some("x"));
        assert_eq!(environment.get("ABSENT"), None);
    }

    #[test]
    fn an_environment_shows_names_and_no_values() {
        let shown = format!("{:?}", Environment::of(&[("NAME", "a-secret")]));
        assert!(shown.contains("NAME") && !shown.contains("a-secret"), "{shown}");
    }
}
