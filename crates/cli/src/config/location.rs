//! Where the configuration is: a file that was named, one in its usual place, or the environment
//! alone.
//!
//! A file that was named has to be there: only the usual one is ever made by `serve`, so that a
//! typo in a unit file or a volume that is not mounted is an error and not a second authority with
//! keys of its own. The usual places are `./countersign/countersign.toml` and, as where most
//! programs have theirs, `./countersign.toml`. With files in both nobody can tell which is meant.
//! Pinned by `tests/e2e/test_configuration_place.py`.

use crate::{
    failure::{Failure, Outcome, configuration, usage},
    remote,
};
use countersign_settings::Environment;
use std::path::{Path, PathBuf};

/// The file that is used if no other is named, and made if it does not exist.
const USUAL: &str = "countersign/countersign.toml";

/// The same in the folder itself, and in the package of a Lambda function.
const HERE: &str = "countersign.toml";

/// The variable that names the file.
const VARIABLE: &str = "COUNTERSIGN_CONFIG";

/// The variable without which the environment is no configuration.
const ISSUER: &str = "COUNTERSIGN_ISSUER";

/// Where the configuration is, whether or not it is there yet.
#[derive(Debug)]
pub(crate) struct Location {
    file: PathBuf,
    said_by: SaidBy,
    /// There is no file, and the variables say who the issuer is.
    is_environment: bool,
}

/// Who says where the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SaidBy {
    /// Nobody: it is in its usual place.
    Nobody,
    /// Nobody, and it could be either of two.
    Two,
    /// The option `--config`.
    Option,
    /// The variable `COUNTERSIGN_CONFIG`.
    Variable,
    /// The same, set to nothing or to what is not text.
    BadVariable,
}

impl Location {
    /// From the command line and the environment.
    pub(crate) fn find(named: Option<&Path>, environment: &Environment) -> Self {
        let variable = environment.get(VARIABLE).map(PathBuf::from);
        let is_bad = variable.is_none() && environment.is_set(VARIABLE);
        let (file, said_by) = match (named, variable, environment.get("LAMBDA_TASK_ROOT")) {
            (Some(named), _, _) => (named.to_owned(), SaidBy::Option),
            (None, Some(named), _) => (named, SaidBy::Variable),
            (None, None, _) if is_bad => (PathBuf::from(USUAL), SaidBy::BadVariable),
            (None, None, Some(package)) => (Path::new(package).join(HERE), SaidBy::Nobody),
            (None, None, None) => {
                let is_there = |file| is_there(&environment.folder.join(file));
                match (is_there(USUAL), is_there(HERE)) {
                    (true, true) => (PathBuf::from(USUAL), SaidBy::Two),
                    (false, true) => (PathBuf::from(HERE), SaidBy::Nobody),
                    (_, false) => (PathBuf::from(USUAL), SaidBy::Nobody),
                }
            }
        };
        let file = if remote::is_remote(&file) { file } else { environment.folder.join(file) };
        let is_named = matches!(said_by, SaidBy::Option | SaidBy::Variable | SaidBy::BadVariable);
        let is_environment = !is_named && !is_there(&file) && environment.get(ISSUER).is_some();
        Self { file, said_by, is_environment }
    }

    /// The file, there or not.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Whether there is a file to read, or one that was named and has to be there. One on AWS is
    /// taken to be there.
    pub(crate) fn has_file(&self) -> bool {
        self.is_named() || remote::is_remote(&self.file) || is_there(&self.file)
    }

    /// Whether the environment is the whole configuration.
    pub(crate) fn is_environment(&self) -> bool {
        self.is_environment
    }

    /// What the configuration is called in messages.
    pub(crate) fn shown(&self) -> String {
        if self.is_environment { "the environment".to_owned() } else { self.file.display().to_string() }
    }

    /// Refuses what may be either of two.
    pub(crate) fn check(&self) -> Outcome {
        if self.said_by == SaidBy::BadVariable {
            return Err(configuration(format!(
                "{VARIABLE} is set, and empty or not UTF-8 text; name a file in it, or leave it out"
            )));
        }
        if self.said_by == SaidBy::Two {
            return Err(configuration(format!(
                "there are two configurations here, {USUAL} and {HERE}; name one with --config, or move the other away"
            )));
        }
        Ok(())
    }

    /// Refuses to make a configuration over another, and where nobody could read it.
    pub(crate) fn check_free(&self) -> Outcome {
        self.check()?;
        if remote::is_remote(&self.file) {
            return Err(usage(
                "a configuration on AWS is written by those who may write there; make one in a file first",
            ));
        }
        let shown = self.file.display();
        let is_taken = self.file.is_symlink()
            || self.file.try_exists().map_err(|why| configuration(format!("{shown}: {why}")))?;
        if is_taken {
            let why = format!("{shown} is there already; nothing was changed");
            return Err(crate::failure::refused("already_there", why));
        }
        Ok(())
    }

    /// What is said where the file is missing.
    pub(crate) fn missing(&self) -> Failure {
        let file = self.file.display();
        let (named_by, make) = match self.said_by {
            SaidBy::Option => (", named by --config", format!("countersign init --config {file}")),
            SaidBy::Variable => (", named by COUNTERSIGN_CONFIG", "countersign init".to_owned()),
            SaidBy::Nobody | SaidBy::Two | SaidBy::BadVariable => {
                return configuration(format!(
                    "there is no configuration at {file}; make one with `countersign init`, name another with --config, or set {ISSUER}"
                ));
            }
        };
        configuration(format!(
            "there is no configuration at {file}{named_by}, and nothing was made; correct the path, or make one there with `{make}`"
        ))
    }

    fn is_named(&self) -> bool {
        matches!(self.said_by, SaidBy::Option | SaidBy::Variable | SaidBy::BadVariable)
    }
}

/// Whether something is at this path. What cannot be looked at is taken to be there, so that
/// reading it says why.
fn is_there(file: &Path) -> bool {
    file.is_symlink() || file.try_exists().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(folder: &Path, named: Option<&str>, variables: &[(&str, &str)]) -> Location {
        let mut environment = Environment::of(variables);
        environment.folder = folder.to_owned();
        Location::find(named.map(Path::new), &environment)
    }

    #[test]
    fn the_usual_places_are_looked_at_and_two_are_one_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(at(folder.path(), None, &[]).file(), path(USUAL));
        std::fs::write(path(HERE), "").unwrap();
        assert_eq!(at(folder.path(), None, &[]).file(), path(HERE));
        std::fs::create_dir(path("countersign")).unwrap();
        std::fs::write(path(USUAL), "").unwrap();
        let two = at(folder.path(), None, &[]);
        assert!(two.has_file() && two.check().unwrap_err().message().contains("two configurations"));
        assert!(at(folder.path(), Some(HERE), &[]).check().is_ok());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_there_to_be_read() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join(HERE)).unwrap();
        let issuer = ("COUNTERSIGN_ISSUER", "https://a.example");
        let found = at(folder.path(), None, &[issuer]);
        assert!(found.has_file() && !found.is_environment() && found.file().ends_with(HERE));
    }

    #[test]
    fn a_file_that_was_named_is_never_taken_for_one_to_make() {
        let folder = tempfile::tempdir().unwrap();
        let issuer = ("COUNTERSIGN_ISSUER", "https://a.example");
        for location in [
            at(folder.path(), Some("absent.toml"), &[issuer]),
            at(folder.path(), None, &[("COUNTERSIGN_CONFIG", "absent.toml"), issuer]),
        ] {
            assert!(location.has_file() && !location.is_environment());
            let message = location.missing().message().to_owned();
            assert!(message.contains("nothing was made") && message.contains("named by"), "{message}");
        }
        let empty = at(folder.path(), None, &[("COUNTERSIGN_CONFIG", ""), issuer]);
        assert!(empty.has_file() && !empty.is_environment());
        assert!(empty.check().unwrap_err().message().contains("COUNTERSIGN_CONFIG is set, and empty"));
        let unnamed = at(folder.path(), None, &[]);
        assert!(!unnamed.has_file() && !unnamed.is_environment());
        assert!(at(folder.path(), None, &[issuer]).is_environment());
    }
}
