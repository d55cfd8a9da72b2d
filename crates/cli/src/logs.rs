//! The log: for people on a terminal, JSON lines otherwise; always on standard error.

use crate::failure::{Outcome, configuration};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

/// Starts logging at `level`: `info`, or a list like `info,countersign::audit=off`.
pub(crate) fn start(level: &str) -> Outcome {
    let filter = parse(level).ok_or_else(|| {
        configuration(format!(
            "log.level {level:?} is not a level (off, error, warn, info, debug, trace) or a list like \
             info,countersign::audit=off"
        ))
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let started = if crate::output::is_terminal() {
        registry.with(fmt::layer().with_writer(std::io::stderr).with_target(false)).try_init()
    } else {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
    };
    started.map_err(|why: TryInitError| crate::failure::internal(why))
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
    fn a_level_that_is_misspelt_is_refused_and_not_taken_for_a_target() {
        for level in ["info", "off", "WARN", "info,countersign::audit=off", "warn, hyper=debug"] {
            assert!(parse(level).is_some(), "{level}");
        }
        for level in ["", "loud", "inf", "info,", "info,audit", "=info", "audit=loud"] {
            assert!(parse(level).is_none(), "{level}");
        }
    }
}
