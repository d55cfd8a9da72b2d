//! Environment variables over the file: `COUNTERSIGN_STORE__URL` is `store.url`, two underscores for each dot.
//!
//! A value that is TOML (a number, a list, an inline table) counts as that, anything else as text. A variable that names
//! no setting is refused like an unknown key in the file, except those Kubernetes makes for a Service whose name begins
//! with `countersign` (`COUNTERSIGN_PORT`, `COUNTERSIGN_SERVICE_HOST`, …), which mean nothing here.

use super::RawConfig;
use crate::failure::{Outcome, configuration};
use countersign_settings::Environment;
use toml::{Table, Value};

const PREFIX: &str = "COUNTERSIGN_";
/// Variables of the program itself, not of the configuration.
const OWN: [&str; 1] = ["CONFIG"];

pub(super) fn apply(text: &str, environment: &Environment) -> Outcome<RawConfig> {
    let parse = |table: &Table| RawConfig::deserialize_from(table.clone());
    let mut table: Table = text.parse().map_err(|why: toml::de::Error| configuration(why.message()))?;
    for (name, value) in environment.with_prefix(PREFIX) {
        if OWN.contains(&name) || is_service_link(name) || value.is_empty() {
            continue;
        }
        set(&mut table, name, value);
        parse(&table)
            .map_err(|why| configuration(format!("the environment variable {PREFIX}{name}: {why}")))?;
    }
    parse(&table).map_err(configuration)
}

/// No setting has `PORT` or `SERVICE` as a word of its name.
fn is_service_link(name: &str) -> bool {
    name.split('_').any(|word| word == "PORT" || word == "SERVICE")
}

impl RawConfig {
    fn deserialize_from(table: Table) -> Result<Self, String> {
        // The value is left out of the message: a variable may hold a secret by mistake.
        table.try_into().map_err(|why: toml::de::Error| match why.message().split_once(", expected ") {
            Some((found, expected)) if found.starts_with("invalid ") => format!("expected {expected}"),
            _ => why.message().to_owned(),
        })
    }
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

    fn apply_to(variables: &[(&str, &str)]) -> Outcome<RawConfig> {
        apply("issuer = \"https://file.example\"\n[store]\nurl = \"memory:\"\n", &Environment::of(variables))
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
        assert_eq!(raw.log.level, "info");
    }

    #[test]
    fn a_variable_that_names_no_setting_is_refused_by_its_name() {
        for name in ["COUNTERSIGN_ISUER", "COUNTERSIGN_STORE__URI", "COUNTERSIGN_LIMITS__BODY_BYTES__X"] {
            let why = apply_to(&[(name, "1")]).unwrap_err();
            assert!(why.message().contains(name), "{}", why.message());
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_without_repeating_it() {
        for name in
            ["COUNTERSIGN_LIMITS__BODY_BYTES", "COUNTERSIGN_SERVER__TRUSTED_PROXIES", "COUNTERSIGN_STORE"]
        {
            let why = apply_to(&[(name, "a-secret")]).unwrap_err();
            assert!(why.message().contains(name) && !why.message().contains("a-secret"), "{}", why.message());
        }
    }
}
