//! The binary `countersign-authorizer` (`bootstrap` in a Lambda function): the gate alone, asked
//! through the Lambda runtime API.
//!
//! Keys are fetched, or read from `/tmp`, while the function starts. Every event gets an answer;
//! one that is no authorizer event gets the error `Unauthorized`, with `errorType` and the log
//! saying what it was, and one that nobody can judge, because an issuer's keys cannot be had, the
//! error `Unavailable`, which API Gateway turns into 500 and does not remember. Keys that are being
//! renewed when an answer was given are waited for before the next event is asked for: Lambda would
//! freeze the process in the middle of it.

mod config;

use countersign_gateway::lambda::{Authorizer, Reply};
use countersign_jose::Timestamp;
use countersign_lambda::runtime::{self, Failure};
use countersign_settings::Environment;
use serde_json::value::RawValue;
use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

/// How long a start waits for keys; what is missing then is fetched with the first event.
const WARM_UP: Duration = Duration::from_secs(4);

/// How long a fetch of keys keeps events waiting. A function may be ended after 3 s.
const RENEWAL: Duration = Duration::from_secs(1);

const BAD_CONFIGURATION: u8 = 78;
const INTERNAL: u8 = 70;

fn main() -> ExitCode {
    let environment = Environment::of_process();
    if let Err(why) = runtime::check(&environment) {
        eprintln!(
            "countersign-authorizer {}: {why}. To try an event here: countersign authorize --event FILE",
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
    let tasks = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tasks = tasks.map_err(|why| (INTERNAL, format!("no async runtime: {why}")))?;
    tasks.block_on(serve(&authorizer)).map_err(|why| (INTERNAL, why))
}

async fn serve(authorizer: &Authorizer) -> Result<(), String> {
    if tokio::time::timeout(WARM_UP, authorizer.gate().verifier().warm(now())).await.is_err() {
        tracing::warn!(
            "some keys could not be fetched while starting; they are fetched when they are needed"
        );
    }
    let renewed = async || authorizer.gate().verifier().settled_within(RENEWAL).await;
    runtime::run(async |event| answer(authorizer, &event).await, renewed).await
}

async fn answer(authorizer: &Authorizer, event: &RawValue) -> Result<Box<RawValue>, Failure> {
    let outcome = authorizer.authorize(event.get().as_bytes(), now()).await;
    let failure = |kind, message: &str| Failure { kind, message: message.to_owned() };
    let unauthorized = || {
        let kind = if outcome.shape.is_some() { "Unauthorized" } else { "UnknownEvent" };
        failure(kind, Reply::UNAUTHORIZED)
    };
    match outcome.reply {
        Reply::Json(json) => RawValue::from_string(json).map_err(|_| unauthorized()),
        Reply::Unauthorized => Err(unauthorized()),
        Reply::Unavailable => Err(failure("KeysUnavailable", Reply::UNAVAILABLE)),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one clock of this program")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_seconds(0).plus(since)
}
