//! From a file and the environment to the settings as typed: TOML, then the variables over it.
//!
//! The type says which settings there are. It should refuse unknown fields, so that a misspelt key or variable is an error
//! and not a default, and may have no setting with `port` or `service` as a word of its name (see `overrides`). Everything
//! is checked for shape alone: what a value stands for is the program's to find out.

use crate::{
    Environment, SettingsError,
    error::Place,
    files,
    overrides::{self, is_missing, told},
};
use serde::de::DeserializeOwned;
use std::{io::ErrorKind, path::Path};
use toml::Table;

/// Reads the file at `path` and puts the variables `COUNTERSIGN_…` over it.
///
/// # Errors
///
/// [`SettingsError::Missing`] and [`SettingsError::Unreadable`] for the file, [`SettingsError::Malformed`] for what is in
/// it, with line and column, and [`SettingsError::Variable`] for a variable.
pub fn load<T: DeserializeOwned>(path: &Path, environment: &Environment) -> Result<T, SettingsError> {
    let text = files::read_text(path).map_err(|why| match why.kind() {
        ErrorKind::NotFound => SettingsError::Missing { path: path.to_owned() },
        _ => SettingsError::Unreadable { path: path.to_owned(), why },
    })?;
    let malformed = |why: toml::de::Error| SettingsError::Malformed {
        path: path.to_owned(),
        place: why.span().map(|span| Place::of(&text, span.start)),
        why: told(&why),
    };
    // The file by itself first, for errors with line and column.
    toml::from_str::<T>(&text).map_err(malformed)?;
    let table: Table = text.parse().map_err(malformed)?;
    overrides::over::<T>(table, environment)?.try_into().map_err(malformed)
}

/// The settings from variables `COUNTERSIGN_…` alone, for a program without any file.
///
/// # Errors
///
/// [`SettingsError::Variable`] for a variable that is wrong by itself, [`SettingsError::Incomplete`] where together they
/// leave out something without a default.
pub fn from_environment<T: DeserializeOwned>(environment: &Environment) -> Result<T, SettingsError> {
    let table = overrides::alone::<T>(environment)?;
    table.try_into().map_err(|why: toml::de::Error| {
        // With the table it is missing from, which stands on a line of its own.
        let whole = || why.to_string().lines().collect::<Vec<_>>().join(" ");
        SettingsError::Incomplete { why: if is_missing(&why) { whole() } else { told(&why) } }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Raw {
        name: String,
        #[serde(default)]
        size: u32,
        part: Option<Part>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Part {
        url: String,
        #[serde(default)]
        tries: u32,
    }

    fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Raw, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, text).unwrap();
        load(&path, &Environment::of(variables))
    }

    fn from_variables(variables: &[(&str, &str)]) -> Result<Raw, SettingsError> {
        from_environment(&Environment::of(variables))
    }

    #[test]
    fn a_file_is_read_and_a_variable_wins_over_it() {
        let raw = load_text("name = 'a'\nsize = 1\n[part]\nurl = 'b'", &[("COUNTERSIGN_PART__TRIES", "2")])
            .unwrap();
        let part = raw.part.unwrap();
        assert_eq!((raw.name.as_str(), raw.size, part.url.as_str(), part.tries), ("a", 1, "b", 2));
    }

    #[test]
    fn a_file_that_is_not_there_or_not_readable_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let load = |path: &Path| load::<Raw>(path, &Environment::default()).unwrap_err();
        let absent = folder.path().join("absent.toml");
        assert!(matches!(load(&absent), SettingsError::Missing { path } if path == absent));
        assert!(
            matches!(load(folder.path()), SettingsError::Unreadable { path, .. } if path == folder.path())
        );
    }

    #[test]
    fn a_mistake_in_the_file_is_named_with_its_line_and_column() {
        for (text, line, column) in [
            ("name = 'a'\nsiez = 1", 2, 1),
            ("name = 'a'\n\n[part]\nurl = 5", 4, 7),
            ("name = 'ä'; size", 1, 11),
            ("name = 'a'\nsize = 'many'", 2, 8),
        ] {
            let why = load_text(text, &[]).unwrap_err();
            assert!(
                why.to_string().contains(&format!("settings.toml line {line}, column {column}: ")),
                "{why}"
            );
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_of_the_file_is_not_repeated() {
        for text in [
            "name = 'a'\nsize = 'a-secret'",
            "name = 'a'\npart = 'a-secret'",
            "name = 'a'\npart = 'an, expected a-secret'",
            "name = ['a-secret']",
            "name = { a-secret = 'a-secret' }",
            "name = 'a-secret",
            "name = a-secret",
            "name = 'a' 'a-secret'",
            "a-secret",
        ] {
            let why = load_text(text, &[]).unwrap_err().to_string();
            assert!(why.contains("settings.toml line ") && !why.contains("a-secret"), "{why}");
        }
    }

    #[test]
    fn without_a_file_the_variables_are_enough_in_any_order() {
        let raw = from_variables(&[
            ("COUNTERSIGN_NAME", "a"),
            ("COUNTERSIGN_PART__TRIES", "2"),
            ("COUNTERSIGN_PART__URL", "b"),
            ("COUNTERSIGN_SIZE", "1"),
        ]);
        let raw = raw.unwrap();
        let part = raw.part.unwrap();
        assert_eq!((raw.name.as_str(), raw.size, part.url.as_str(), part.tries), ("a", 1, "b", 2));
    }

    #[test]
    fn without_a_file_what_is_missing_is_named_with_its_table() {
        for (variables, says) in [
            (&[][..], "missing field `name`"),
            (&[("COUNTERSIGN_SIZE", "1")], "missing field `name`"),
            (&[("COUNTERSIGN_NAME", "a"), ("COUNTERSIGN_PART__TRIES", "1")], "missing field `url` in `part`"),
        ] {
            let why = from_variables(variables).unwrap_err();
            assert!(
                matches!(&why, SettingsError::Incomplete { why } if why == says),
                "{says:?} is not in {why}"
            );
        }
    }

    #[test]
    fn without_a_file_a_wrong_variable_is_named_though_others_are_missing() {
        for (name, value) in [
            ("COUNTERSIGN_NAEM", "a-secret"),
            ("COUNTERSIGN_SIZE", "a-secret"),
            ("COUNTERSIGN_PART__TRIES", "a-secret"),
            ("COUNTERSIGN_PART", "a-secret"),
        ] {
            let why = from_variables(&[("COUNTERSIGN_PART__ALSO_WRONG", ""), (name, value)]).unwrap_err();
            assert!(matches!(&why, SettingsError::Variable { name: named, .. } if named == name), "{why}");
            assert!(!why.to_string().contains("a-secret"), "{why}");
        }
    }
}
