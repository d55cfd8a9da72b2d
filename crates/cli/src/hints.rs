//! Commands that messages advise, as they have to be typed: with `--config` where this one was run
//! with it.
//!
//! Without it the advice leads to another configuration, and `countersign serve` even makes one,
//! which is a second authority. Failures get it where they are printed, whichever crate has worded
//! them; everything else asks [`carry`]. Pinned by `tests/e2e/test_configuration_place.py`.

use std::{borrow::Cow, path::Path, sync::OnceLock};

/// How a command stands in a message.
const COMMAND: &str = "`countersign ";
const OPTION: &str = "--config";

/// The option as it was typed; there is one command line for each process.
static CONFIG: OnceLock<String> = OnceLock::new();

/// Says which configuration the command line names. Only the first call counts.
pub(crate) fn begin(named: Option<&Path>) {
    if let Some(named) = named {
        let _ = CONFIG.set(quoted(&named.display().to_string()));
    }
}

/// The text, with the configuration in each command of it.
pub(crate) fn carry(text: &str) -> Cow<'_, str> {
    CONFIG.get().map_or(Cow::Borrowed(text), |config| Cow::Owned(with(text, config)))
}

fn with(text: &str, config: &str) -> String {
    let mut parts = text.split(COMMAND);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        whole.push_str(COMMAND);
        match part.split_once('`') {
            Some((command, rest)) if !command.contains(OPTION) => {
                whole.extend([command, " ", OPTION, " ", config, "`", rest]);
            }
            _ => whole.push_str(part),
        }
    }
    whole
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_./-+:@%=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_a_message_carries_the_configuration_once() {
        for (text, expected) in [
            ("nothing to run", "nothing to run"),
            ("run `countersign serve`, then more", "run `countersign serve --config a.toml`, then more"),
            (
                "`countersign keys init`; or `countersign init`",
                "`countersign keys init --config a.toml`; or `countersign init --config a.toml`",
            ),
            ("`countersign init --config b.toml`", "`countersign init --config b.toml`"),
            ("cut off: `countersign ke", "cut off: `countersign ke"),
        ] {
            assert_eq!(with(text, "a.toml"), expected);
        }
    }

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        assert_eq!(quoted("etc/c.toml"), "etc/c.toml");
        assert_eq!(quoted("my files/c.toml"), "'my files/c.toml'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
