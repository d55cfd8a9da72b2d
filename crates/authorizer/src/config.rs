//! Where the authorizer's settings come from: a file beside the binary, or the environment alone.
//!
//! The file (`COUNTERSIGN_CONFIG`, else `countersign.toml` in the function's folder) may hold
//! `[[trust]]`, `[gate]` and `[log]` and nothing else: whatever the issuer needs has no business
//! here. Without a file, `COUNTERSIGN_…` variables or the four of the authorizer this replaces are
//! enough.

use countersign_gateway::settings::{GateConfig, RawGate, RawTrust, Surroundings, resolve_chosen};
use countersign_lambda::runtime;
use countersign_settings::{
    Environment, load,
    log::{self, RawLog},
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The one folder a Lambda function may write to.
const KEY_CACHE: &str = "/tmp/countersign";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    trust: Vec<RawTrust>,
    gate: RawGate,
    log: RawLog,
}

/// Reads the settings, starts the log as they say, and puts the gate together. The error is a line
/// for the log.
pub(crate) fn read(environment: &Environment) -> Result<GateConfig, String> {
    let file = file(environment);
    let raw: RawConfig = match &file {
        Some(file) => load(file, environment).map_err(|why| why.to_string())?,
        None => countersign_settings::from_environment(environment).map_err(|why| why.to_string())?,
    };
    log::start_below(&raw.log, &runtime::LOG).map_err(|why| why.to_string())?;
    let folder = file.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
    let around = Surroundings { folder, environment, key_cache: Some(Path::new(KEY_CACHE)) };
    resolve_chosen(raw.trust, raw.gate, around)
}

fn file(environment: &Environment) -> Option<PathBuf> {
    if let Some(named) = environment.get("COUNTERSIGN_CONFIG") {
        return Some(environment.folder.join(named));
    }
    let folder =
        environment.get("LAMBDA_TASK_ROOT").map_or_else(|| environment.folder.clone(), PathBuf::from);
    Some(folder.join("countersign.toml")).filter(|file| file.exists())
}
