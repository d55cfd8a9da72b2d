//! `HttpsFetch`: key documents over hyper and rustls (aws-lc-rs), certificates checked against the system's roots.
//!
//! Guarantees: one GET, no redirect followed, no cookie or credential sent; the body is streamed and dropped as soon
//! as it exceeds the cap, whatever `Content-Length` said; one time limit for the connection and one for everything,
//! so a server that drips a byte a second is cut off too. The content type is not looked at.

use super::{Fetch, FetchError, Fetched, cache_control};
use crate::source::KeyUrl;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{Request, StatusCode, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{error::Error, fmt, io, time::Duration};
use tokio::sync::OnceCell;

/// The most a key document may ever be, whatever is configured: 512 KiB.
pub const MAX_KEY_BYTES: usize = 512 * 1024;

/// How large an answer may be and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of a body; at most [`MAX_KEY_BYTES`] counts. API Gateway and ALB stop at 150,000 too.
    pub max_bytes: usize,
    /// Until the TCP connection stands.
    pub connect_time: Duration,
    /// From the start until the last byte, TLS included.
    pub total_time: Duration,
}

impl Default for FetchLimits {
    /// 150,000 bytes, 3 s to connect, 5 s in all.
    fn default() -> Self {
        Self { max_bytes: 150_000, connect_time: Duration::from_secs(3), total_time: Duration::from_secs(5) }
    }
}

type HttpsClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Fetches key documents over the network. The system's roots are read with the first request, so that a start which
/// finds all keys in snapshots does not pay for them.
pub struct HttpsFetch {
    client: OnceCell<HttpsClient>,
    limits: FetchLimits,
}

impl fmt::Debug for HttpsFetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsFetch").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl HttpsFetch {
    /// A fetcher with these limits.
    pub fn new(limits: FetchLimits) -> Self {
        let limits = FetchLimits { max_bytes: limits.max_bytes.min(MAX_KEY_BYTES), ..limits };
        Self { client: OnceCell::new(), limits }
    }

    async fn client(&self) -> Result<&HttpsClient, FetchError> {
        let connect_time = self.limits.connect_time;
        let made = self.client.get_or_try_init(async || {
            let made = tokio::task::spawn_blocking(move || https_client(connect_time)).await;
            made.map_err(|_| FetchError::Interrupted)?
                .map_err(|why| FetchError::Connection(format!("no certificate roots on this system: {why}")))
        });
        made.await
    }

    async fn request(&self, url: &KeyUrl) -> Result<Fetched, FetchError> {
        let request = Request::get(url.as_str())
            .header(header::ACCEPT, "application/json, application/jwk-set+json")
            .header(header::USER_AGENT, concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|why| FetchError::Connection(why.to_string()))?;
        let response = self.client().await?.request(request).await.map_err(|why| connection(&why))?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(FetchError::Redirect),
            status => return Err(FetchError::Status(status.as_u16())),
        }
        let fresh_for = cache_control::fresh_for(response.headers());
        let max_bytes = self.limits.max_bytes;
        let body = Limited::new(response.into_body(), max_bytes).collect().await.map_err(|why| {
            if why.is::<LengthLimitError>() { FetchError::TooLarge(max_bytes) } else { connection(&*why) }
        })?;
        Ok(Fetched { body: body.to_bytes(), fresh_for })
    }
}

#[async_trait]
impl Fetch for HttpsFetch {
    async fn fetch(&self, url: &KeyUrl) -> Result<Fetched, FetchError> {
        let limit = self.limits.total_time;
        tokio::time::timeout(limit, self.request(url)).await.map_err(|_| FetchError::Timeout(limit))?
    }
}

fn https_client(connect_time: Duration) -> io::Result<HttpsClient> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(connect_time));
    let connector =
        HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().wrap_connector(tcp);
    // Keys are fetched every few minutes: no connection is worth keeping, and none outlives a frozen Lambda.
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
}

/// An error with its causes: the outermost alone says only "client error".
fn connection(why: &(dyn Error + 'static)) -> FetchError {
    let mut text = why.to_string();
    let mut source = why.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    FetchError::Connection(text)
}
