//! The log: for people on a terminal, JSON lines otherwise; always on standard error.
//!
//! A JSON line is timestamp, level, the event's fields as they were given, target; whoever reads the lines relies on that
//! (`tests/e2e/test_observability.py`). A level that is misspelt is refused, because it would silence the log.

use crate::SettingsError;
use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
pub use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::{
    filter::Targets,
    fmt::{
        self, FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

/// The settings of the log as they are typed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawLog {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a list like `info,countersign::audit=off`.
    pub level: String,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { level: "info".into() }
    }
}

/// Starts logging at `level`: `info`, or a list like `info,countersign::audit=off`.
///
/// # Errors
///
/// [`SettingsError::LogLevel`] when `level` is neither, [`SettingsError::LogStarted`] the second time.
pub fn start(level: &str) -> Result<(), SettingsError> {
    start_below(level, &[])
}

/// Starts logging at `level`, but some targets never above a level of their own, whatever `level` says of them or of their parts.
///
/// # Errors
///
/// As [`start`].
pub fn start_below(level: &str, most: &[(&str, LevelFilter)]) -> Result<(), SettingsError> {
    let filter = parse(level).ok_or_else(|| SettingsError::LogLevel { level: level.to_owned() })?;
    let most = Targets::new().with_default(LevelFilter::TRACE).with_targets(most.iter().copied());
    let registry = tracing_subscriber::registry().with(filter).with(most);
    let layer = fmt::layer().with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        registry.with(layer.with_target(false)).try_init()
    } else {
        registry.with(layer.event_format(JsonLines)).try_init()
    };
    started.map_err(|why: TryInitError| SettingsError::LogStarted { why: why.to_string() })
}

/// One JSON object a line: timestamp, level, the event's fields, target. The format of tracing-subscriber's `json` feature
/// with flattened events, written straight into the line instead of through a map of values: there is one for every token.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut time = String::with_capacity(32);
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Line(Vec::with_capacity(640));
        line.member(b'{', "timestamp", &time);
        line.member(b',', "level", event.metadata().level().as_str());
        event.record(&mut line);
        line.member(b',', "target", event.metadata().target());
        line.0.push(b'}');
        writeln!(writer, "{}", String::from_utf8_lossy(&line.0))
    }
}

struct Line(Vec<u8>);

impl Line {
    fn member(&mut self, before: u8, name: &str, value: impl serde::Serialize) {
        self.0.push(before);
        // Strings and numbers into a Vec: neither can fail.
        let _ = serde_json::to_writer(&mut self.0, name);
        self.0.push(b':');
        let _ = serde_json::to_writer(&mut self.0, &value);
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.member(b',', field.name(), format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(b',', field.name(), value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(b',', field.name(), value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(b',', field.name(), value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(b',', field.name(), value);
    }
}

/// `Targets` takes any word for the name of a target, so a misspelt level would silence the log, the audit included.
fn parse(level: &str) -> Option<Targets> {
    let is_level = |word: &str| !word.trim().is_empty() && word.trim().parse::<LevelFilter>().is_ok();
    let well_formed = level.split(',').all(|item| match item.split_once('=') {
        Some((target, level)) => !target.trim().is_empty() && is_level(level),
        None => is_level(item),
    });
    level.parse().ok().filter(|_| well_formed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_level_is_repeated_with_what_may_be_written_instead() {
        let why = start("loud").unwrap_err();
        assert_eq!(
            why.to_string(),
            "log.level \"loud\" is not a level (off, error, warn, info, debug, trace) or a list like \
             info,countersign::audit=off"
        );
    }

    #[test]
    fn a_level_that_is_misspelt_is_refused_and_not_taken_for_a_target() {
        for level in ["info", "off", "WARN", "info,countersign::audit=off", "warn, hyper=debug"] {
            assert!(parse(level).is_some(), "{level}");
        }
        for level in ["", "loud", "inf", "info,", "info,audit", "=info", "audit=loud"] {
            assert!(parse(level).is_none(), "{level}");
        }
    }
}
