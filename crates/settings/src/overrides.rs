//! Environment variables over the file: `COUNTERSIGN_STORE__URL` is `store.url`, two underscores for each dot.
//!
//! A value that is TOML (a number, a list, an inline table) counts as that, anything else as text. A variable that names
//! no setting is refused like an unknown key in the file, except those Kubernetes makes for a Service whose name begins
//! with `countersign` (`COUNTERSIGN_PORT`, `COUNTERSIGN_SERVICE_HOST`, …), which mean nothing here.

use crate::{Environment, SettingsError};
use serde::de::DeserializeOwned;
use toml::{Table, Value, de::Error};

const PREFIX: &str = "COUNTERSIGN_";
/// Variables of the program itself, not of the configuration.
const OWN: [&str; 1] = ["CONFIG"];

/// The variables over `table`, which is a whole `T` by itself, so that whatever is wrong after one of them is its fault.
pub(crate) fn over<T: DeserializeOwned>(
    mut table: Table,
    environment: &Environment,
) -> Result<Table, SettingsError> {
    for (name, value) in settings(environment) {
        set(&mut table, name, value);
        table.clone().try_into::<T>().map_err(|why| wrong(name, &why))?;
    }
    Ok(table)
}

/// The variables by themselves. Each is looked at alone, because until the last of them something may be missing, and that
/// would hide what is wrong with another.
pub(crate) fn alone<T: DeserializeOwned>(environment: &Environment) -> Result<Table, SettingsError> {
    let mut table = Table::new();
    for (name, value) in settings(environment) {
        let mut alone = Table::new();
        set(&mut alone, name, value);
        match alone.try_into::<T>() {
            Err(why) if !is_missing(&why) => return Err(wrong(name, &why)),
            _ => set(&mut table, name, value),
        }
    }
    Ok(table)
}

/// Whether something is not there, as opposed to wrong. serde has no other sign of it than its words.
pub(crate) fn is_missing(why: &Error) -> bool {
    why.message().starts_with("missing field `")
}

/// What is wrong, with the value left out: a secret may stand there by mistake. It may hold the words behind it too.
pub(crate) fn told(why: &Error) -> String {
    match why.message().rsplit_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid ") => format!("expected {expected}"),
        _ => why.message().to_owned(),
    }
}

fn wrong(name: &str, why: &Error) -> SettingsError {
    SettingsError::Variable { name: format!("{PREFIX}{name}"), why: told(why) }
}

/// The variables that stand for a setting, each as the rest of its name and its value.
fn settings(environment: &Environment) -> impl Iterator<Item = (&str, &str)> {
    environment
        .with_prefix(PREFIX)
        .filter(|(name, value)| !(OWN.contains(name) || is_service_link(name) || value.is_empty()))
}

/// No setting may have `PORT` or `SERVICE` as a word of its name.
fn is_service_link(name: &str) -> bool {
    name.split('_').any(|word| word == "PORT" || word == "SERVICE")
}

fn set(table: &mut Table, name: &str, value: &str) {
    let path = name.to_ascii_lowercase();
    let mut parts: Vec<&str> = path.split("__").collect();
    let Some(last) = parts.pop() else { return };
    let mut at = table;
    for part in parts {
        let next = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        if !next.is_table() {
            *next = Value::Table(Table::new());
        }
        let Value::Table(next) = next else { return };
        at = next;
    }
    at.insert(last.to_owned(), typed(value));
}

fn typed(value: &str) -> Value {
    let document: Result<Table, _> = format!("value = {value}").parse();
    match document.ok().and_then(|mut table| if table.len() == 1 { table.remove("value") } else { None }) {
        Some(typed) if !typed.is_datetime() => typed,
        _ => Value::String(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Raw {
        issuer: String,
        store: Store,
        #[serde(default)]
        limits: Limits,
        #[serde(default)]
        server: Server,
        #[serde(default)]
        log: Log,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Store {
        url: String,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Limits {
        body_bytes: usize,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Server {
        trusted_proxies: Vec<String>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Log {
        level: Option<String>,
    }

    fn apply_to(variables: &[(&str, &str)]) -> Result<Raw, SettingsError> {
        let file = "issuer = \"https://file.example\"\n[store]\nurl = \"memory:\"\n";
        over::<Raw>(file.parse().unwrap(), &Environment::of(variables)).map(|table| table.try_into().unwrap())
    }

    #[test]
    fn a_variable_wins_over_the_file_with_its_own_type() {
        let raw = apply_to(&[
            ("COUNTERSIGN_ISSUER", "https://env.example"),
            ("COUNTERSIGN_LIMITS__BODY_BYTES", "77"),
            ("COUNTERSIGN_SERVER__TRUSTED_PROXIES", r#"["10.0.0.0/8"]"#),
            ("COUNTERSIGN_CONFIG", "/not/a/setting"),
            ("COUNTERSIGN_LOG__LEVEL", ""),
            ("COUNTERSIGN_PORT", "tcp://10.0.0.1:80"),
            ("COUNTERSIGN_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("COUNTERSIGN_SERVICE_HOST", "10.0.0.1"),
            ("COUNTERSIGN_DB_SERVICE_PORT", "5432"),
        ])
        .unwrap();
        assert_eq!(raw.issuer, "https://env.example");
        assert_eq!(raw.store.url, "memory:");
        assert_eq!(raw.limits.body_bytes, 77);
        assert_eq!(raw.server.trusted_proxies, ["10.0.0.0/8"]);
        assert_eq!(raw.log.level, None);
    }

    #[test]
    fn a_variable_that_names_no_setting_is_refused_by_its_name() {
        for name in ["COUNTERSIGN_ISUER", "COUNTERSIGN_STORE__URI", "COUNTERSIGN_LIMITS__BODY_BYTES__X"] {
            let why = apply_to(&[(name, "1")]).unwrap_err();
            assert!(why.to_string().contains(name), "{why}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_without_repeating_it() {
        for name in
            ["COUNTERSIGN_LIMITS__BODY_BYTES", "COUNTERSIGN_SERVER__TRUSTED_PROXIES", "COUNTERSIGN_STORE"]
        {
            for value in ["a-secret", "an, expected a-secret"] {
                let why = apply_to(&[(name, value)]).unwrap_err();
                let why = why.to_string();
                assert!(why.contains(name) && !why.contains("a-secret"), "{why}");
            }
        }
    }
}
