//! The environment, read once and handed down: tests give their own, and nothing changes that of the process.

use std::{collections::BTreeMap, path::PathBuf};

/// Environment variables and the folder the program was started in.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    pub(crate) folder: PathBuf,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        f.debug_struct("Environment").field("names", &self.variables.keys()).finish_non_exhaustive()
    }
}

impl Environment {
    /// That of this process. Variables that are not UTF-8 are not there.
    pub(crate) fn of_process() -> Self {
        let text = |s: std::ffi::OsString| s.into_string().ok();
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        Self { variables: variables.collect(), folder: std::env::current_dir().unwrap_or_default() }
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All variables that begin with `prefix`, with the rest of the name.
    pub(crate) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.variables
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { variables: variables.collect(), folder: PathBuf::new() }
    }
}
