//! `countersign config`: check the configuration, or describe it.

use super::Context;
use crate::{
    args::ConfigCommand,
    config::{json_schema, markdown},
    failure::{Outcome, internal},
    output, scaffold,
};

pub(super) fn run(context: &Context<'_>, command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Check => {
            let config = context.load()?;
            let shown = scaffold::shown(&config.raw)?;
            if context.json {
                output::line(&shown.to_string());
            } else {
                let text = toml::to_string(&without_nulls(shown)).map_err(internal)?;
                output::line(&format!(
                    "# {} is good; with all defaults it says:\n",
                    context.file().display()
                ));
                output::line(text.trim_end());
            }
        }
        ConfigCommand::Schema { markdown: true } => output::line(markdown().trim_end()),
        ConfigCommand::Schema { markdown: false } => {
            output::line(&serde_json::to_string_pretty(&json_schema()).map_err(internal)?);
        }
    }
    Ok(())
}

/// TOML has no null; what is not set is left out.
fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect()
        }
        serde_json::Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}
