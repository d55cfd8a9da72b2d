//! AWS Lambda as both programs use it: the runtime client, and events as HTTP requests.
//!
//! Event JSON → [`Event`] (recognised by what AWS writes into it) → `http::Request` → response →
//! reply JSON in the form that the source of the event takes. Whatever is in an event, the outcome
//! is a request, a refusal with a status, or an [`Unknown`] that says why it is no event this
//! function takes; nothing panics. The address of a caller comes from `requestContext`, which AWS
//! writes, and never from a header. No part of an event is in an error.
//!
//! Knows neither issuer nor gate. `countersign serve` uses all of it, `countersign-authorizer` the
//! [`runtime`] alone. Sources: AWS Lambda developer guide ("Using AWS Lambda with API Gateway",
//! "Function URLs"), API Gateway developer guide ("Working with AWS Lambda proxy integrations for
//! HTTP APIs"), Elastic Load Balancing user guide ("Lambda functions as targets"), EventBridge user
//! guide. Pinned by `tests/events.rs` and `tests/e2e/test_lambda.py`.

mod event;
mod path;
mod reply;
mod request;
pub mod runtime;

pub use event::{Event, HttpEvent, Source, Unknown};
pub use request::Malformed;
