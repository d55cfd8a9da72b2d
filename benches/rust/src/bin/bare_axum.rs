//! The least an axum server can do: one route that answers given bytes with given headers, all of
//! it in memory.
//!
//! What `GET /.well-known/jwks.json` is measured against. Usage:
//! `bare_axum PORT FILE TYPE ETAG CACHE_CONTROL`.

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderValue, header},
    response::IntoResponse,
    routing::get,
};
use std::{net::Ipv4Addr, sync::Arc};
use tokio::net::TcpListener;

struct Document {
    content_type: HeaderValue,
    etag: HeaderValue,
    cache_control: HeaderValue,
    body: Bytes,
}

/// One thread: the server has one core.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().context("usage: bare_axum PORT FILE TYPE ETAG CACHE_CONTROL");
    let port: u16 = argument()?.parse()?;
    let body = Bytes::from(std::fs::read(argument()?)?);
    let document = Document {
        body,
        content_type: argument()?.parse()?,
        etag: argument()?.parse()?,
        cache_control: argument()?.parse()?,
    };
    let router = Router::new().route("/.well-known/jwks.json", get(answer)).with_state(Arc::new(document));
    axum::serve(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?, router).await?;
    Ok(())
}

async fn answer(State(document): State<Arc<Document>>) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, document.content_type.clone()),
        (header::ETAG, document.etag.clone()),
        (header::CACHE_CONTROL, document.cache_control.clone()),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    ];
    (headers, document.body.clone())
}
