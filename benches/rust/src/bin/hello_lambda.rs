//! The least a Lambda function in Rust can do: `lambda_runtime` and a greeting.
//!
//! What the start, the memory and the size of `countersign-authorizer` are measured against. Like
//! it, one thread and `lambda_runtime` without its feature `tracing`.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(hello)).await
}

async fn hello(_: LambdaEvent<Value>) -> Result<Value, Error> {
    Ok(json!({ "message": "Hello, world!" }))
}
