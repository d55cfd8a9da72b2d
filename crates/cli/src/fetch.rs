//! Fetching keys for `countersign verify --jwks URL` and `--issuer URL`: https, or http on loopback; no redirects;
//! capped in size and time; certificates checked against the system's roots.

use crate::failure::{Outcome, refused, usage};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::time::Duration;
use url::{Host, Url};

const MAX_BYTES: usize = 1024 * 1024;
const TIME: Duration = Duration::from_secs(10);

/// Whether a text is meant as a URL and not as a file name.
pub(crate) fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// The body at `url`.
pub(crate) async fn get(url: &str) -> Outcome<Bytes> {
    let failed = |why: String| refused("keys_unavailable", format!("{url}: {why}"));
    let parsed = Url::parse(url).map_err(|_| usage(format!("{url:?} is not a URL")))?;
    let loopback = match parsed.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    if parsed.scheme() != "https" && !loopback {
        return Err(usage(format!(
            "{url}: keys are fetched over https only (http on loopback); anyone on the way could replace them"
        )));
    }
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|why| failed(format!("no certificate roots on this system: {why}")))?
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::get(parsed.as_str())
        .header(header::ACCEPT, "application/json, application/jwk-set+json")
        .header(header::USER_AGENT, concat!("countersign/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|why| usage(format!("{url:?} is not a URL: {why}")))?;
    let answer = async {
        let response = client.request(request).await.map_err(|why| failed(sources(&why)))?;
        if response.status() != StatusCode::OK {
            return Err(failed(format!("answered {} (redirects are not followed)", response.status())));
        }
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
        Ok(body.map_err(|why| failed(format!("the answer can not be read: {why}")))?.to_bytes())
    };
    tokio::time::timeout(TIME, answer)
        .await
        .map_err(|_| failed(format!("no answer in {} s", TIME.as_secs())))?
}

/// An error with its causes: the outermost alone says only "client error".
fn sources(why: &dyn std::error::Error) -> String {
    let mut text = why.to_string();
    let mut source = why.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
