//! `countersign authorize`: runs an authorizer event of API Gateway or AppSync through the gate and
//! prints the exact reply.
//!
//! With the gate of the configuration, with the file or the variables that the authorizer on Lambda
//! has, or with the four variables alone. Exit code 0 when the request is let in, 1 when it is not,
//! with the reason on standard error; 2 when it is not an event of API Gateway or AppSync. Where
//! Lambda would fail the invocation, the reply is `{"errorMessage":"Unauthorized"}`, or
//! `"Unavailable"` where an issuer's keys cannot be had. Exit code, log and reply are made of one
//! decision.

use super::{CARRIERS, Context};
use crate::{
    args::AuthorizeArgs,
    checks, config,
    failure::{Exit, Outcome, configuration, internal, usage},
    files, output, remote,
};
use countersign_gateway::{
    Decision, Refusal,
    lambda::{self, Authorizer, Reply},
    settings::{GateConfig, RawGate, RawTrust, Surroundings, resolve_chosen},
};
use countersign_jose::shown_json;
use countersign_settings::{Environment, log, log::RawLog};
use countersign_store::{Clock, SystemClock};
use serde_json::value::RawValue;
use std::path::Path;

pub(super) async fn run(context: &Context<'_>, args: &AuthorizeArgs) -> Outcome<Exit> {
    let event = match args.event.as_str() {
        "-" => files::read_standard_input().map_err(|why| usage(format!("standard input: {why}")))?,
        file => files::read_text(file.as_ref()).map_err(|why| usage(format!("--event {file}: {why}")))?,
    };
    let authorizer = authorizer(context).await?;
    let (event, now) = (event.as_bytes(), SystemClock.now());
    let (outcome, checks) = match args.explain {
        true => authorizer.explain(event, now).await,
        false => (authorizer.authorize(event, now).await, Vec::new()),
    };
    let reply = reply(&outcome)?;
    match (args.explain, context.json) {
        (true, true) => {
            let report = serde_json::json!({ "reply": reply, "checks": checks::reported(&checks) });
            output::line(&shown_json(&report.to_string()));
        }
        (true, false) => {
            checks::lines(&checks).iter().for_each(|line| output::error_line(line));
            output::line(&shown_json(reply.get()));
        }
        (false, _) => output::line(&shown_json(reply.get())),
    }
    match &outcome.decision {
        Decision::Allow(_) => Ok(Exit::Done),
        Decision::Deny(denial) => {
            output::error_line(&format!("countersign: not let in: {}", denial.refusal));
            let is_none = matches!(denial.refusal, Refusal::Event(_));
            Ok(if is_none { Exit::Usage } else { Exit::Refused })
        }
    }
}

/// What the Lambda function would hand back.
fn reply(outcome: &lambda::Outcome) -> Outcome<Box<RawValue>> {
    let json = match &outcome.reply {
        Reply::Json(json) => json.clone(),
        Reply::Unauthorized => serde_json::json!({ "errorMessage": Reply::UNAUTHORIZED }).to_string(),
        Reply::Unavailable => serde_json::json!({ "errorMessage": Reply::UNAVAILABLE }).to_string(),
    };
    RawValue::from_string(json).map_err(internal)
}

async fn authorizer(context: &Context<'_>) -> Outcome<Authorizer> {
    let environment = context.environment;
    let read = config::at_hand(&context.location, environment).await?;
    if !read.is_gate_alone() {
        let config = context.started(read.resolve(environment, context.http).await?)?;
        if let Some(gate) = config.gate {
            return Ok(started(gate));
        }
        return of_parts(config.raw.trust, config.raw.gate, &config.folder, environment);
    }
    read.check_gate_alone()?;
    let config::AsRead { raw, folder, .. } = read;
    remote::fetch_references(&raw, environment).await;
    let level =
        if context.location.has_file() { raw.log } else { RawLog { level: "warn".into(), ..raw.log } };
    log::start_below(&level, &CARRIERS)?;
    of_parts(raw.trust, raw.gate, &folder, environment)
}

/// The gate of what the file says, or of the four variables where nobody is trusted by it.
fn of_parts(
    trust: Vec<RawTrust>,
    gate: RawGate,
    folder: &Path,
    environment: &Environment,
) -> Outcome<Authorizer> {
    let around = Surroundings { folder, environment, key_cache: None };
    Ok(started(resolve_chosen(trust, gate, around).map_err(configuration)?))
}

fn started(gate: GateConfig) -> Authorizer {
    for warning in &gate.warnings {
        tracing::warn!("{warning}");
    }
    gate.into_authorizer()
}
