//! The log: for people on a terminal, JSON lines otherwise; always on standard error.

use crate::failure::{Outcome, configuration};
use tracing_subscriber::{
    filter::Targets,
    fmt,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

/// Starts logging at `level`: `info`, or a list like `info,countersign::audit=off`.
pub(crate) fn start(level: &str) -> Outcome {
    let filter: Targets = level.parse().map_err(|_| {
        configuration(format!(
            "log.level {level:?} is not a level (error, warn, info, debug, trace) or a list of them"
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
