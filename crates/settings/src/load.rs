//! From a file and the environment to the settings as typed: TOML, then the variables over it.
//!
//! The type says which settings there are. It should refuse unknown fields, so that a misspelt key
//! or variable is an error and not a default. Everything is checked for shape alone: what a value
//! stands for is the program's to find out.

use crate::{
    Environment, SettingsError,
    error::Place,
    files,
    overrides::{self, Misfit, Wrong, is_missing, told},
    suggest,
};
use serde::de::DeserializeOwned;
use std::{io::ErrorKind, path::Path};
use toml::{
    Table,
    de::{DeTable, DeValue},
};

/// Reads the file at `path` and puts the variables `COUNTERSIGN_…` over it.
///
/// # Errors
///
/// [`SettingsError::Missing`] and [`SettingsError::Unreadable`] for the file,
/// [`SettingsError::Malformed`] for what is in it, with line and column, and
/// [`SettingsError::Variable`] for a variable.
pub fn load<T: DeserializeOwned>(path: &Path, environment: &Environment) -> Result<T, SettingsError> {
    let text = files::read_text(path).map_err(|why| match why.kind() {
        ErrorKind::NotFound => SettingsError::Missing { path: path.to_owned() },
        _ => SettingsError::Unreadable { path: path.to_owned(), why },
    })?;
    load_text(path, &text, environment)
}

/// The same for a file that is at hand, called `path` in errors.
///
/// # Errors
///
/// As [`load`], but for those about reading.
pub fn load_text<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    environment: &Environment,
) -> Result<T, SettingsError> {
    let at = |place: Option<usize>, why: String| SettingsError::Malformed {
        path: path.to_owned(),
        place: place.map(|place| Place::of(text, place)),
        why,
    };
    let not_toml = |why: toml::de::Error| {
        let instead = other_than_toml(text).map(|instead| format!("{instead}; ")).unwrap_or_default();
        at(why.span().map(|span| span.start), instead + &told(&why))
    };
    let table: Table = text.parse().map_err(not_toml)?;
    let misfit = |why: &Misfit| {
        let place = why.error.span().map(|span| span.start);
        let instead = suggest::table_of_key::<T>(&table, why).map(|instead| format!("{instead}; "));
        at(place.or_else(|| place_of(&why.path, text)), instead.unwrap_or_default() + &why.told())
    };
    // The file by itself first, for errors with line and column. What is missing in it may be in
    // the variables.
    let file = toml::Deserializer::parse(text).map_err(not_toml)?;
    let alone = serde_path_to_error::deserialize::<_, T>(file).map_err(Misfit::new);
    if let Err(why) = &alone
        && !is_missing(&why.error)
    {
        return Err(misfit(why));
    }
    overrides::over(table.clone(), environment).map_err(|why| match (why, alone) {
        (Wrong::Variable(why), _) => *why,
        (Wrong::Whole(_), Err(why)) => misfit(&why),
        (Wrong::Whole(why), Ok(_)) => misfit(&why),
    })
}

/// What a text is that is not TOML, if it looks like something that people have.
fn other_than_toml(text: &str) -> Option<&'static str> {
    let text = text.trim_start();
    let first =
        text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
    // `name: value`, or `name:` alone; a URL has no blank behind its colon.
    let is_yaml = first.starts_with("---") && !first.starts_with("-----")
        || first.starts_with("- ")
        || first.split_once(':').is_some_and(|(name, rest)| {
            !name.contains(['=', '"', '[']) && (rest.is_empty() || rest.starts_with(' '))
        });
    if text.starts_with('{') {
        return Some("this looks like JSON, and a configuration is TOML: name = \"value\", and [table]");
    }
    if text.starts_with("-----BEGIN ") {
        return Some(
            "this is PEM and not a configuration; a key is named in one, or brought in with `keys import`",
        );
    }
    if text.starts_with('<') {
        return Some(
            "this looks like XML or a web page, and a configuration is TOML: name = \"value\", and [table]",
        );
    }
    is_yaml.then_some("this looks like YAML, and a configuration is TOML: name = \"value\", and [table]")
}

/// Where the last of these keys that the text has stands in it. Not every error knows its own
/// place.
fn place_of(path: &[String], text: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let (mut table, mut place) = (root.get_ref(), None);
    for key in path {
        let Some((_, value)) = table.iter().find(|(name, _)| name.get_ref().as_ref() == key.as_str()) else {
            break;
        };
        place = Some(value.span().start);
        let DeValue::Table(inner) = value.get_ref() else { break };
        table = inner;
    }
    place
}

/// The settings from variables `COUNTERSIGN_…` alone, for a program without any file.
///
/// # Errors
///
/// [`SettingsError::Variable`] for a variable that is wrong by itself,
/// [`SettingsError::Incomplete`] where together they leave out something without a default.
pub fn from_environment<T: DeserializeOwned>(environment: &Environment) -> Result<T, SettingsError> {
    overrides::over(Table::new(), environment).map_err(|why| match why {
        Wrong::Variable(why) => *why,
        Wrong::Whole(why) => SettingsError::Incomplete { why: why.told() },
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
    fn a_mistake_in_the_file_is_named_with_its_key_and_what_is_repeated_of_it_is_cut() {
        let long = "x".repeat(100_000);
        for (text, says) in [
            ("name = 'a'\n[part]\nurl = 5", "line 3, column 7: part.url: expected a string".to_owned()),
            ("name = 'a'\npart = ['', '', '']", "line 2, column 13: part[1]: expected a whole number, without quotes and without a unit, like 10000000 (bytes, where it is a size)".to_owned()),
            ("name = 'a'\npart = ['', 1, 2]", "line 2, column 8: part: expected fewer elements".to_owned()),
            ("name = 'a'\nsize = 2026-01-01", "line 2, column 8: size: expected a whole number that is not below 0".to_owned()),
            ("name = 'a'\npart = {}", "line 2, column 8: part: missing field `url`".to_owned()),
            ("size = 1", "missing field `name`".to_owned()),
            // A setting of a table, written without it.
            ("name = 'a'\nurl = 'b'", "line 2, column 1: `url` is a setting of [part]; unknown field `url`".to_owned()),
            ("name = 'a'\ntries = 'b'", "line 2, column 1: `tries` is a setting of [part]; ".to_owned()),
            (&format!("name = 'a'\n{long} = 1"), "line 2, column 1: unknown field `xxx".to_owned()),
            (
                "name = 'a'\n[part]\nurl = ''\nuri = ''",
                "line 4, column 1: part: unknown field `uri`".to_owned(),
            ),
        ] {
            let why = load_text(text, &[]).unwrap_err().to_string();
            assert!(why.contains(&says) && why.len() < 1_000, "{says} is not in {why}");
        }
    }

    #[test]
    fn over_a_file_variables_are_enough_in_any_order() {
        // `PART__TRIES` comes first and is no whole table by itself.
        let variables = [("COUNTERSIGN_PART__TRIES", "2"), ("COUNTERSIGN_PART__URL", "b")];
        let part = load_text("name = 'a'", &variables).unwrap().part.unwrap();
        assert_eq!((part.url.as_str(), part.tries), ("b", 2));
        // What the file lacks may be in a variable, and what both lack is told of the file.
        assert_eq!(load_text("size = 1", &[("COUNTERSIGN_NAME", "a")]).unwrap().name, "a");
        for (text, variables, says) in [
            ("size = 1", &[("COUNTERSIGN_SIZE", "2")][..], "missing field `name`"),
            ("name = 'a'", &variables[..1], "part: missing field `url`"),
            (
                "size = 1",
                &[("COUNTERSIGN_SIZE", "x")][..],
                "COUNTERSIGN_SIZE: expected a whole number, without quotes and without a unit, like 10000000 (bytes, where it is a size)",
            ),
        ] {
            let why = load_text(text, variables).unwrap_err().to_string();
            assert!(why.contains(says), "{says} is not in {why}");
        }
    }

    #[test]
    fn what_is_another_language_is_named() {
        for (text, says) in [
            ("{\"name\": \"a\"}", "line 1, column 1: this looks like JSON, and a configuration is TOML: "),
            ("---\nname: a\n", "this looks like YAML"),
            ("# ours\nname: a\npart:\n  url: b\n", "line 2, column 7: this looks like YAML"),
            ("part:\n  url: b\n", "this looks like YAML"),
            ("-----BEGIN PRIVATE KEY-----\nMII=\n", "this is PEM and not a configuration"),
            ("<!doctype html>", "a web page"),
            ("name = a: b", "settings.toml line 1, column 8: "),
        ] {
            let why = load_text(text, &[]).unwrap_err().to_string();
            assert!(why.contains(says), "{says} is not in {why}");
            assert_eq!(why.contains("this "), says.contains("this ") || says.contains("page"), "{why}");
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
            (&[("COUNTERSIGN_NAME", "a"), ("COUNTERSIGN_PART__TRIES", "1")], "part: missing field `url`"),
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
