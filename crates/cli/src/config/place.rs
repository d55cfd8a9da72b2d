//! Where a wrong setting was said: in a variable, or in the file.
//!
//! What resolves a configuration names settings, `server.listen`, and does not know who set them. A
//! message that blames the file for a variable sends people to the wrong place. Pinned by
//! `tests/e2e/test_twenty_mistakes.py`.

use crate::failure::Failure;
use countersign_settings::Environment;

/// The message with the place in front: the variable that set what it is about, or else
/// `elsewhere`.
pub(super) fn of(why: Failure, elsewhere: &str, environment: &Environment) -> Failure {
    let key = why.message().split_once(": ").map(|(key, _)| key.to_owned());
    match key.and_then(|key| variable(&key, environment)) {
        // The variable is the whole setting: its name says it.
        Some((name, true)) => why.in_words(|message| {
            let (_, rest) = message.split_once(": ").unwrap_or(("", message));
            format!("the environment variable {name}: {rest}")
        }),
        Some((name, false)) => why.about(format!("the environment variable {name}")),
        None => why.about(elsewhere),
    }
}

/// The variable that a setting is from, and whether it is that setting and not a table around it.
fn variable(key: &str, environment: &Environment) -> Option<(String, bool)> {
    let is_variable = key.len() > 3 && key.bytes().all(|c| c.is_ascii_uppercase() || c == b'_');
    if is_variable {
        return Some((key.to_owned(), true));
    }
    let names: Vec<String> =
        key.split('.').map(|part| part.split('[').next().unwrap_or(part).to_ascii_uppercase()).collect();
    (1..=names.len()).rev().find_map(|parts| {
        let name = format!("COUNTERSIGN_{}", names.get(..parts)?.join("__"));
        let is_whole = parts == names.len() && !key.contains('[');
        environment.get(&name).is_some().then_some((name, is_whole))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::configuration;

    #[test]
    fn the_variable_is_blamed_where_one_has_set_it_and_the_file_otherwise() {
        let environment = Environment::of(&[
            ("COUNTERSIGN_SERVER__LISTEN", "x"),
            ("COUNTERSIGN_CLIENTS", "[]"),
            ("COUNTERSIGN_RINGS__DEFAULT", "{}"),
        ]);
        let said = |message: &str| of(configuration(message), "file.toml", &environment).message().to_owned();
        for (message, expected) in [
            ("server.listen: no port", "the environment variable COUNTERSIGN_SERVER__LISTEN: no port"),
            ("store.url: no scheme", "file.toml: store.url: no scheme"),
            ("clients.a.scopes: no", "the environment variable COUNTERSIGN_CLIENTS: clients.a.scopes: no"),
            ("clients[0].id: no", "the environment variable COUNTERSIGN_CLIENTS: clients[0].id: no"),
            (
                "rings.default.algorithm: no",
                "the environment variable COUNTERSIGN_RINGS__DEFAULT: rings.default.algorithm: no",
            ),
            ("JAAS_API_KID: no", "the environment variable JAAS_API_KID: no"),
            ("PRIVATE_KEY: no", "the environment variable PRIVATE_KEY: no"),
            ("no setting at all", "file.toml: no setting at all"),
        ] {
            assert_eq!(said(message), expected);
        }
    }
}
