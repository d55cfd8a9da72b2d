//! The binary `countersign-authorizer` (`bootstrap` in a Lambda function): the gate alone, asked through the Lambda runtime API.
//!
//! Keys are fetched, or read from `/tmp`, while the function starts. Every event gets an answer; one that is no authorizer event gets
//! the error `Unauthorized`, with `errorType` and the log saying what it was, and one that nobody can judge, because an issuer's keys
//! cannot be had, the error `Unavailable`, which API Gateway turns into 500 and does not remember.

mod config;

use countersign_gateway::lambda::{Authorizer, Reply};
use countersign_jose::Timestamp;
use countersign_settings::Environment;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

/// What Lambda sets, and the runtime cannot do without.
const NEEDED: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];
/// How long a start waits for keys; what is missing then is fetched with the first event.
const WARM_UP: Duration = Duration::from_secs(4);

const BAD_CONFIGURATION: u8 = 78;
const INTERNAL: u8 = 70;

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let memory = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
    if memory.is_some_and(|memory| memory.parse::<i32>().is_err()) {
        eprintln!("countersign-authorizer: AWS_LAMBDA_FUNCTION_MEMORY_SIZE is not a number");
        return ExitCode::from(BAD_CONFIGURATION);
    }
    if let Some(missing) = NEEDED.into_iter().find(|name| environment.get(name).is_none()) {
        eprintln!(
            "countersign-authorizer {}: {missing} is not set; this program is the `bootstrap` of an AWS Lambda function. \
             To try an event here: countersign authorize --event FILE",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::from(BAD_CONFIGURATION);
    }
    match run(&environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => {
            eprintln!("countersign-authorizer: {why}");
            ExitCode::from(code)
        }
    }
}

fn run(environment: &Environment) -> Result<(), (u8, String)> {
    let config = config::read(environment).map_err(|why| (BAD_CONFIGURATION, why))?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let authorizer = config.into_authorizer();
    // One event at a time is all that Lambda sends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| (INTERNAL, format!("no async runtime: {why}")))?;
    runtime.block_on(serve(&authorizer)).map_err(|why| (INTERNAL, why.to_string()))
}

async fn serve(authorizer: &Authorizer) -> Result<(), lambda_runtime::Error> {
    if tokio::time::timeout(WARM_UP, authorizer.gate().verifier().warm(now())).await.is_err() {
        tracing::warn!(
            "some keys could not be fetched while starting; they are fetched when they are needed"
        );
    }
    lambda_runtime::run(service_fn(|event| answer(authorizer, event))).await
}

async fn answer(
    authorizer: &Authorizer,
    event: LambdaEvent<Box<RawValue>>,
) -> Result<Box<RawValue>, Diagnostic> {
    let outcome = authorizer.authorize(event.payload.get().as_bytes(), now()).await;
    let error = |error_type: &str, message: &str| Diagnostic {
        error_type: error_type.to_owned(),
        error_message: message.to_owned(),
    };
    let unauthorized = || {
        let error_type = if outcome.shape.is_some() { "Unauthorized" } else { "UnknownEvent" };
        error(error_type, Reply::UNAUTHORIZED)
    };
    match outcome.reply {
        Reply::Json(json) => RawValue::from_string(json).map_err(|_| unauthorized()),
        Reply::Unauthorized => Err(unauthorized()),
        Reply::Unavailable => Err(error("KeysUnavailable", Reply::UNAVAILABLE)),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one clock of this program")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_seconds(0).plus(since)
}
