//! Environment variables over the file: `COUNTERSIGN_STORE__URL` is `store.url`, two underscores
//! for each dot.
//!
//! A value that is TOML (a number, a list, an inline table) counts as that, anything else as text.
//! In which order variables come does not matter: each is looked at by itself, then all together. A
//! variable that names no setting is refused like an unknown key in the file, except those
//! Kubernetes makes for a Service whose name begins with `countersign`, which are known by their
//! exact shapes.

use crate::{
    Environment, SettingsError,
    suggest::{self, with_the_nearest},
};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use std::collections::BTreeSet;
use toml::{Table, Value, de::Error};

pub(crate) const PREFIX: &str = "COUNTERSIGN_";
/// Variables of the program itself, not of the configuration.
const OWN: [&str; 1] = ["CONFIG"];
/// As much of a message as is shown: what was typed may be repeated in it.
const LONGEST: usize = 300;

/// The settings of `table` with the variables over it. The table may lack what a variable has.
///
/// # Errors
///
/// [`SettingsError::Variable`] for a variable that is wrong, [`Wrong::Whole`] for what is wrong
/// with all of them together.
pub(crate) fn over<T: DeserializeOwned>(table: Table, environment: &Environment) -> Result<T, Wrong> {
    let variables = settings(environment)?;
    let mut whole = table.clone();
    for (name, value) in &variables {
        let wrong = |value: Value| {
            let mut alone = table.clone();
            set(&mut alone, name, value);
            parse::<T>(alone).err().filter(|why| !is_missing(&why.error) && why.is_about(name))
        };
        let mut value = typed(value);
        if let Some(why) = wrong(value.clone()) {
            // What looks like a number, and is wanted as text, is text: its reader says what is
            // wrong with it.
            let text = Value::String(text_of(&variables, name));
            if let Some(why) = broken(&text) {
                return Err(SettingsError::Variable { name: format!("{PREFIX}{name}"), why }.into());
            }
            if value.is_str() || wrong(text.clone()).is_some() {
                return Err(why.of(name, suggest::variable::<T>(&table, &why, name, &value)).into());
            }
            value = text;
        }
        set(&mut whole, name, value);
    }
    for (name, value) in &variables {
        // `COUNTERSIGN_STORE` says what `store` is, and another one what is in it.
        let inner = format!("{name}__");
        if let Some((other, _)) = variables.iter().find(|(other, _)| other.starts_with(&inner))
            && !typed(value).is_table()
        {
            let why = format!("is no table, and {PREFIX}{other} sets a part of it; unset one of them");
            return Err(SettingsError::Variable { name: format!("{PREFIX}{name}"), why }.into());
        }
    }
    parse(whole).map_err(|why| match variables.iter().find(|(name, _)| why.is_about(name)) {
        Some((name, _)) if !why.path.is_empty() && !is_missing(&why.error) => why.of(name, None).into(),
        _ => Wrong::Whole(why),
    })
}

/// What is wrong: with one variable, or with the file and all variables together.
#[derive(Debug)]
pub(crate) enum Wrong {
    Variable(Box<SettingsError>),
    Whole(Box<Misfit>),
}

impl From<SettingsError> for Wrong {
    fn from(why: SettingsError) -> Self {
        Self::Variable(Box::new(why))
    }
}

/// Why a text or table does not fit a type, and the keys that lead to where.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) error: Error,
    pub(crate) path: Vec<String>,
    /// As it is shown: `trust[0].issuer`.
    shown: String,
}

impl Misfit {
    pub(crate) fn new(why: serde_path_to_error::Error<Error>) -> Box<Self> {
        let keys = why.path().iter().map_while(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
        });
        let (path, shown) = (keys.collect(), why.path().to_string());
        Box::new(Self { path, shown, error: why.into_inner() })
    }

    /// What is wrong, with the key and without the value.
    pub(crate) fn told(&self) -> String {
        let mut why = told(&self.error);
        if why == LIST_OF_TABLES {
            let parts = self.shown.split('.').map(|part| part.split('[').next().unwrap_or_default());
            let table = parts.collect::<Vec<_>>().join(".");
            why = format!(
                "expected a list; write [[{}]] on the line above its settings, or [\"a\", \"b\"] for a list of strings",
                cut(&table)
            );
        }
        // A key that is unknown is named by the message itself; where it is, is not.
        let shown = if why.starts_with("unknown field ") {
            self.shown.rsplit_once('.').map_or("", |(table, _)| table)
        } else if self.path.is_empty() {
            ""
        } else {
            &self.shown
        };
        if shown.is_empty() { why } else { format!("{}: {why}", cut(shown)) }
    }

    /// Whether the variable sets something on the way to the place, or behind it.
    pub(crate) fn is_about(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        name.split("__").zip(&self.path).all(|(one, other)| one == other)
    }

    /// `instead` is what to write, where that is known.
    fn of(&self, name: &str, instead: Option<String>) -> SettingsError {
        let mut why = told(&self.error);
        if let Some(instead) = instead {
            why = instead;
        } else if why.starts_with("expected a list") {
            why = "expected a list; the value is TOML: write [\"a\", \"b\"], and tables as [{ preset = \"firebase\", id = \"x\" }]"
                .to_owned();
        } else if why.starts_with("expected a table") {
            why = format!(
                "is a table; set a part of it by a variable of its own, with two underscores: {PREFIX}{name}__PART"
            );
        }
        SettingsError::Variable { name: format!("{PREFIX}{name}"), why }
    }
}

pub(crate) fn parse<T: DeserializeOwned>(table: Table) -> Result<T, Box<Misfit>> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(Misfit::new)
}

/// Whether something is not there, as opposed to wrong. serde has no other sign of it than its
/// words.
pub(crate) fn is_missing(why: &Error) -> bool {
    why.message().starts_with("missing field `")
}

/// A table was found where a list is expected. `Misfit::told`, which knows the key, replaces it.
const LIST_OF_TABLES: &str = "expected a list of tables";

/// What is wrong and what to write, with the value left out: a secret may stand there by mistake.
/// It may hold the words behind it too.
pub(crate) fn told(why: &Error) -> String {
    let message = why.message();
    match message.rsplit_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid ") => cut(&expectation(found, expected)),
        _ if message.starts_with("unknown field `") => cut(&with_the_nearest(message)),
        _ => cut(message),
    }
}

/// What was expected, and how it is written where something else stands. `found` begins with a kind
/// of value in serde's words.
fn expectation(found: &str, expected: &str) -> String {
    let found = found.strip_prefix("invalid type: ").unwrap_or_default();
    let is = |kind: &str| found.starts_with(kind);
    match expected {
        "a string" if is("integer") || is("floating point") => {
            "expected a string and found a number; write it in quotes: a time with its unit, like \"5m\", an address with its \
             port, like \"127.0.0.1:8080\""
                .to_owned()
        }
        "a boolean" => "expected true or false, without quotes".to_owned(),
        "f32" | "f64" => "expected a number, without quotes".to_owned(),
        _ if is_whole_number(expected) && found.starts_with("string") => {
            "expected a whole number, without quotes and without a unit, like 10000000 (bytes, where it is a size)".to_owned()
        }
        _ if is_whole_number(expected) => "expected a whole number that is not below 0".to_owned(),
        "a string" if is("boolean") => {
            "expected a string and found true or false; write it in quotes".to_owned()
        }
        "a string" if is("sequence") => "expected a string and found a list".to_owned(),
        "a string" if is("map") => "expected a string and found a table".to_owned(),
        "a sequence" if is("map") => LIST_OF_TABLES.to_owned(),
        "a sequence" if is("string") => "expected a list; write [\"a\", \"b\"]".to_owned(),
        _ if expected.starts_with("struct ") => {
            "expected a table, with a value for each of its parts".to_owned()
        }
        _ => format!("expected {expected}"),
    }
}

/// Rust's names of what has no part behind the point and no sign, alone or where it has to be more
/// than nothing.
fn is_whole_number(expected: &str) -> bool {
    let bits = expected.strip_prefix("a nonzero ").unwrap_or(expected).strip_prefix('u');
    bits.is_some_and(|bits| bits == "size" || bits.parse::<u8>().is_ok())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The variables that stand for a setting, each as the rest of its name and its value.
fn settings(environment: &Environment) -> Result<Vec<(&str, &str)>, SettingsError> {
    let all: Vec<_> = environment.with_prefix(PREFIX).filter(|(_, value)| !value.is_empty()).collect();
    let services: BTreeSet<&str> = all.iter().filter_map(|(name, _)| service(name)).collect();
    let is_ours = |name: &str| !OWN.contains(&name) && !services.iter().any(|of| is_service_link(name, of));
    Ok(all.into_iter().filter(|(name, _)| is_ours(name)).collect())
}

/// The Service that a variable says the address of, with the underscore behind its name; nothing
/// for `COUNTERSIGN` itself. Kubernetes makes this one for every Service.
fn service(name: &str) -> Option<&str> {
    name.strip_suffix("SERVICE_HOST").filter(|of| (of.is_empty() || of.ends_with('_')) && !of.contains("__"))
}

/// Whether Kubernetes makes this variable for that Service.
fn is_service_link(name: &str, of: &str) -> bool {
    let Some(rest) = name.strip_prefix(of).filter(|rest| !rest.contains("__")) else { return false };
    if matches!(rest, "SERVICE_HOST" | "SERVICE_PORT" | "PORT") {
        return true;
    }
    if let Some(port) = rest.strip_prefix("SERVICE_PORT_") {
        return !port.is_empty();
    }
    let parts: Vec<&str> = rest.split('_').collect();
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let is_protocol = |text: &str| matches!(text, "TCP" | "UDP" | "SCTP");
    match parts.as_slice() {
        ["PORT", port, protocol] => is_port(port) && is_protocol(protocol),
        ["PORT", port, protocol, what] => {
            is_port(port) && is_protocol(protocol) && matches!(*what, "ADDR" | "PORT" | "PROTO")
        }
        _ => false,
    }
}

fn text_of(variables: &[(&str, &str)], name: &str) -> String {
    variables.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned()).unwrap_or_default()
}

pub(crate) fn set(table: &mut Table, name: &str, value: Value) {
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
    at.insert(last.to_owned(), value);
}

/// Why a text that begins like a list or a table is neither. What was typed is not repeated.
fn broken(text: &Value) -> Option<String> {
    let text = text.as_str().filter(|text| text.trim_start().starts_with(['[', '{']))?;
    let why = format!("value = {text}").parse::<Table>().err()?;
    let why = cut(why.message());
    Some(format!(
        "is not TOML: {why}; write a list like [\"a\", \"b\"], a table like {{ a = \"b\" }} and not {{ \"a\": \"b\" }}, and a \
         list of tables like [{{ preset = \"firebase\", id = \"x\" }}]"
    ))
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
    use std::collections::BTreeMap;

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
        #[serde(default)]
        #[expect(dead_code, reason = "only its names are looked at")]
        rings: BTreeMap<String, Ring>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ring {
        #[expect(dead_code, reason = "only its name is looked at")]
        algorithm: String,
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
        over::<Raw>(file.parse().unwrap(), &Environment::of(variables)).map_err(|why| match why {
            Wrong::Variable(why) => *why,
            Wrong::Whole(why) => panic!("{}", why.told()),
        })
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
            ("COUNTERSIGN_DB_SERVICE_HOST", "10.0.0.2"),
            ("COUNTERSIGN_DB_SERVICE_PORT", "5432"),
            ("COUNTERSIGN_DB_SERVICE_PORT_POSTGRES", "5432"),
            ("COUNTERSIGN_DB_PORT", "tcp://10.0.0.2:5432"),
            ("COUNTERSIGN_DB_PORT_5432_TCP", "tcp://10.0.0.2:5432"),
            ("COUNTERSIGN_DB_PORT_5432_TCP_PROTO", "tcp"),
            ("COUNTERSIGN_DB_PORT_53_UDP_PORT", "53"),
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
    fn only_the_exact_shapes_of_a_service_link_are_passed_over_and_only_for_a_service() {
        let services =
            [("COUNTERSIGN_SERVICE_HOST", "10.0.0.1"), ("COUNTERSIGN_DB_SERVICE_HOST", "10.0.0.2")];
        for name in [
            "COUNTERSIGN_SERVER__PORT",
            "COUNTERSIGN_SERVER_PORT",
            "COUNTERSIGN_SERVICE__LISTEN",
            "COUNTERSIGN_STORE_PORT__URL",
            "COUNTERSIGN_STORE__SERVICE_HOST",
            "COUNTERSIGN_SERVICE",
            "COUNTERSIGN_SERVICE_PORT_",
            "COUNTERSIGN_PORT_80",
            "COUNTERSIGN_PORT_80_HTTP",
            "COUNTERSIGN_PORT_70000_TCP",
            "COUNTERSIGN_PORT_80_TCP_HOST",
            "COUNTERSIGN_DB_PORT_80_TCP_ADDR_X",
            "COUNTERSIGN_DBPORT",
            "COUNTERSIGN_MY_PORT",
        ] {
            let variables: Vec<_> = services.into_iter().chain([(name, "9000")]).collect();
            let why = apply_to(&variables).unwrap_err().to_string();
            assert!(why.contains(&format!("variable {name}: ")), "{why}");
        }
        for name in ["COUNTERSIGN_PORT", "COUNTERSIGN_SERVICE_PORT", "COUNTERSIGN_DB_PORT"] {
            let why = apply_to(&[(name, "9000")]).unwrap_err().to_string();
            assert!(why.contains(name), "there is no such service: {why}");
        }
    }

    #[test]
    fn one_variable_for_a_table_and_one_for_a_part_of_it_go_together_or_are_refused() {
        let raw = apply_to(&[
            ("COUNTERSIGN_LIMITS", "{ body_bytes = 5 }"),
            ("COUNTERSIGN_LIMITS__BODY_BYTES", "6"),
        ]);
        assert_eq!(raw.unwrap().limits.body_bytes, 6);
        let why =
            apply_to(&[("COUNTERSIGN_LOG", "a-secret"), ("COUNTERSIGN_LOG__LEVEL", "warn")]).unwrap_err();
        let why = why.to_string();
        assert!(why.contains("COUNTERSIGN_LOG: ") && !why.contains("a-secret"), "{why}");
    }

    #[test]
    fn a_mistake_says_what_to_write_instead() {
        for (name, value, says) in [
            ("COUNTERSIGN_STORE_URL", "x", "write two underscores: COUNTERSIGN_STORE__URL"),
            // Also where a name is in the middle, a value is wrong, or some underscores are two
            // already.
            (
                "COUNTERSIGN_RINGS_DEFAULT_ALGORITHM",
                "x",
                "write two underscores: COUNTERSIGN_RINGS__DEFAULT__ALGORITHM",
            ),
            (
                "COUNTERSIGN_RINGS__DEFAULT_ALGORITHM",
                "x",
                "write two underscores: COUNTERSIGN_RINGS__DEFAULT__ALGORITHM",
            ),
            ("COUNTERSIGN_LIMITS_BODY_BYTES", "x", "write two underscores: COUNTERSIGN_LIMITS__BODY_BYTES"),
            // No number of underscores makes this a setting.
            (
                "COUNTERSIGN_STORE_URI",
                "x",
                "would be store.uri, which does not exist either: unknown field `uri`; did you mean `url`?",
            ),
            ("COUNTERSIGN_STORES_URL", "x", "unknown field `stores_url`"),
            // A setting of a table, written without it.
            ("COUNTERSIGN_LEVEL", "x", "for log.level write COUNTERSIGN_LOG__LEVEL"),
            ("COUNTERSIGN_BODY_BYTES", "many", "for limits.body_bytes write COUNTERSIGN_LIMITS__BODY_BYTES"),
            ("COUNTERSIGN_ISUER", "x", "did you mean `issuer`?"),
            ("COUNTERSIGN_LOG", "debug", "COUNTERSIGN_LOG__PART"),
            ("COUNTERSIGN_SERVER__TRUSTED_PROXIES", "a,b", "the value is TOML: write [\"a\", \"b\"]"),
        ] {
            let why = apply_to(&[(name, value)]).unwrap_err().to_string();
            assert!(why.contains(says) && why.contains(name), "{why}");
        }
        // A number where text is wanted is that text.
        assert_eq!(apply_to(&[("COUNTERSIGN_ISSUER", "300")]).unwrap().issuer, "300");
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
