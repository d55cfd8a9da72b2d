//! The Lambda runtime API: asks for one event at a time and hands back what became of it.
//!
//! The client is AWS's own crate `lambda_runtime`. It panics where a variable is missing that
//! Lambda always sets, so [`check`] goes before. A handler returns JSON, or a [`Failure`] that
//! Lambda reports as the error of the invocation. Once the answer was handed over, and before the
//! next event is asked for, there is time for what else is to be done: with that question Lambda
//! freezes the process.

use countersign_settings::{Environment, log::LevelFilter};
use lambda_runtime::{
    Diagnostic, LambdaEvent, Runtime,
    layers::TracingLayer,
    service_fn,
    tower::{ServiceExt, layer::layer_fn},
};
use serde_json::value::RawValue;

/// The variable with the address of the runtime API; a process that has it is a Lambda function.
pub const ADDRESS: &str = "AWS_LAMBDA_RUNTIME_API";

/// What Lambda sets, and the runtime cannot do without.
const NEEDED: [&str; 4] =
    [ADDRESS, "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"];

/// What the runtime may log at most: its traces show whole events, and tokens in them; its errors
/// repeat each failure, which was told already.
pub const LOG: [(&str, LevelFilter); 2] =
    [("lambda_runtime", LevelFilter::INFO), ("lambda_runtime::layers::panic", LevelFilter::OFF)];

/// Why an invocation has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure: `errorType`.
    pub kind: &'static str,
    /// What is said of it: `errorMessage`.
    pub message: String,
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: failure.kind.to_owned(), error_message: failure.message }
    }
}

/// Whether the environment is that of a Lambda function.
///
/// # Errors
///
/// Says which variable is missing or wrong.
pub fn check(environment: &Environment) -> Result<(), String> {
    if let Some(missing) = NEEDED.into_iter().find(|name| environment.get(name).is_none()) {
        return Err(format!(
            "{missing} is not set; this program is the `bootstrap` of an AWS Lambda function"
        ));
    }
    let memory = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
    if memory.is_some_and(|memory| memory.parse::<i32>().is_err()) {
        return Err("AWS_LAMBDA_FUNCTION_MEMORY_SIZE is not a number".to_owned());
    }
    Ok(())
}

/// Answers events until the process is ended. `afterwards` is done after each answer, which does
/// not wait for it; the next event does. The environment must have passed [`check`].
///
/// # Errors
///
/// The runtime API cannot be used any more.
pub async fn run<A, B>(answer: A, afterwards: B) -> Result<(), String>
where
    A: AsyncFn(Box<RawValue>) -> Result<Box<RawValue>, Failure>,
    B: AsyncFn(),
{
    let (answer, afterwards) = (&answer, &afterwards);
    let service = service_fn(|event: LambdaEvent<Box<RawValue>>| answer(event.payload));
    let runtime = Runtime::new(service).layer(TracingLayer::new());
    // This is around all that hands the answer over.
    let runtime = runtime.layer(layer_fn(|service| {
        ServiceExt::then(service, move |handed_over| async move {
            afterwards().await;
            handed_over
        })
    }));
    runtime.run().await.map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_missing_or_wrong_is_named() {
        let all = [
            (ADDRESS, "127.0.0.1:1"),
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ];
        assert_eq!(check(&Environment::of(&all)), Ok(()));
        for (name, _) in all {
            let others: Vec<_> = all.into_iter().filter(|(other, _)| *other != name).collect();
            assert!(check(&Environment::of(&others)).unwrap_err().starts_with(name));
        }
        let mut wrong = all;
        wrong[2].1 = "much";
        assert!(check(&Environment::of(&wrong)).unwrap_err().contains("MEMORY_SIZE is not a number"));
    }
}
