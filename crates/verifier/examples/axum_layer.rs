//! An axum service that only verified callers reach.
//!
//! `ISSUER=https://login.example AUDIENCE=https://api.example cargo run -p countersign-verifier --features tower --example axum_layer`
//! and then `curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:3000/`.

use axum::{Extension, Router, routing::get};
use countersign_jose::{Algorithm, Timestamp};
use countersign_verifier::{Accepted, KeySource, TrustedIssuer, Verifier, tower::RequireBearer};
use std::{
    env,
    error::Error,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = TrustedIssuer::builder(env::var("ISSUER")?)
        .keys(KeySource::Discovery)
        .algorithms([Algorithm::RS256, Algorithm::ES256])
        .audiences([env::var("AUDIENCE")?])
        .build()?;
    let verifier = Arc::new(Verifier::builder().trust(issuer).build()?);
    for status in verifier.warm(now()).await {
        eprintln!(
            "{}: {} keys{}",
            status.issuer,
            status.keys,
            match status.failure {
                Some(why) => format!(", {why}"),
                None => String::new(),
            }
        );
    }

    let app = Router::new().route("/", get(hello)).layer(RequireBearer::new(verifier, now));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}

/// The layer has put the verified token into the request.
async fn hello(Extension(caller): Extension<Accepted>) -> String {
    format!("Hello {}\n", caller.verified().registered().sub.as_deref().unwrap_or("stranger"))
}

#[expect(clippy::disallowed_methods, reason = "a program has to take the time from somewhere")]
fn now() -> Timestamp {
    Timestamp::from_unix_seconds(0).plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
