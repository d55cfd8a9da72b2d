//! `HttpsFetch`: key documents over hyper and rustls (aws-lc-rs), certificates checked against the
//! system's roots.
//!
//! Guarantees: one GET, no redirect followed, no cookie sent, and no credential but what the
//! operator gave for this one address (`key_server`); the body is streamed and dropped as soon as
//! it exceeds the cap, whatever `Content-Length` said; one time limit for the connection and one
//! for everything, so a server that drips a byte a second is cut off too. The content type changes
//! nothing.

use super::{
    Fetch, FetchError, Fetched, HttpsClient, KeyServer, Lookups, Stated, cache_control,
    outgoing::{client, of_system},
    resolve::{LeadsHere, Resolver},
};
use crate::source::{KeyUrl, KeyUrlError, NamedBy};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    header::{self, HeaderValue},
};
use hyper_util::client::legacy::{
    Client,
    connect::{Connect, dns::Name},
};
use std::{error::Error, fmt, io, net::SocketAddr, time::Duration};
use tokio::sync::OnceCell;
use tower_service::Service;

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

/// One client for each kind of address.
struct Clients<R = Lookups> {
    /// For addresses of the configuration.
    anywhere: HttpsClient<Empty<Bytes>, Resolver<R>>,
    /// For addresses that a document has named.
    elsewhere: HttpsClient<Empty<Bytes>, Resolver<R>>,
}

/// Fetches key documents over the network. The system's roots are read with the first request, so
/// that a start which finds all keys in snapshots does not pay for them.
pub struct HttpsFetch {
    clients: OnceCell<Clients>,
    lookups: Lookups,
    limits: FetchLimits,
    /// What one server wants, and the address at which it gets to see the token.
    server: Option<(KeyServer, KeyUrl)>,
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
        Self { clients: OnceCell::new(), lookups: Lookups::of_system(), limits, server: None }
    }

    /// A fetcher that asks the server of `url` as it wants to be asked.
    pub(crate) fn at_server(limits: FetchLimits, server: KeyServer, url: KeyUrl) -> Self {
        Self { server: Some((server, url)), ..Self::new(limits) }
    }

    /// Asks a server that authorities of its own vouch for, or that wants to see a token.
    async fn request_at(
        &self,
        url: &KeyUrl,
        server: KeyServer,
        keys: &KeyUrl,
    ) -> Result<Fetched, FetchError> {
        let shows = url == keys;
        let read = tokio::task::spawn_blocking(move || {
            let authorization = if shows { server.authorization()? } else { None };
            Ok((server.roots()?, authorization))
        });
        let read = read.await.map_err(|_| FetchError::Interrupted)?;
        let (roots, authorization) = read.map_err(FetchError::Access)?;
        let Some(roots) = roots else {
            return self.request(self.clients().await?, url, authorization.as_deref()).await;
        };
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let clients = clients_with(&tls, &self.lookups, self.limits.connect_time);
        self.request(&clients, url, authorization.as_deref()).await
    }

    async fn clients(&self) -> Result<&Clients, FetchError> {
        let (lookups, connect_time) = (self.lookups.clone(), self.limits.connect_time);
        let made = self.clients.get_or_try_init(async || {
            let made = tokio::task::spawn_blocking(move || clients(lookups, connect_time)).await;
            made.map_err(|_| FetchError::Interrupted)?
                .map_err(|why| FetchError::Connection(format!("no certificate roots on this system: {why}")))
        });
        made.await
    }

    async fn request(
        &self,
        clients: &Clients,
        url: &KeyUrl,
        authorization: Option<&String>,
    ) -> Result<Fetched, FetchError> {
        let client = match url.named_by() {
            NamedBy::Configuration => &clients.anywhere,
            NamedBy::Document => &clients.elsewhere,
        };
        self.answer(client, url, authorization).await
    }

    async fn answer<C>(
        &self,
        client: &Client<C, Empty<Bytes>>,
        url: &KeyUrl,
        authorization: Option<&String>,
    ) -> Result<Fetched, FetchError>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let mut request = Request::get(url.as_str())
            .header(header::ACCEPT, "application/json, application/jwk-set+json")
            .header(header::USER_AGENT, concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|why| FetchError::Connection(why.to_string()))?;
        if let Some(authorization) = authorization {
            // Not what the library says: it may quote the token.
            let value = HeaderValue::from_str(authorization);
            let mut value = value.map_err(|_| FetchError::Access("the bearer token".to_owned()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let response = client.request(request).await.map_err(|why| connection(&why))?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(FetchError::Redirect),
            status => return Err(FetchError::Status(status.as_u16())),
        }
        let fresh_for = cache_control::fresh_for(response.headers());
        let stated = Stated::of(response.headers());
        let max_bytes = self.limits.max_bytes;
        let body = Limited::new(response.into_body(), max_bytes).collect().await.map_err(|why| {
            if why.is::<LengthLimitError>() { FetchError::TooLarge(max_bytes) } else { connection(&*why) }
        })?;
        Ok(Fetched { body: body.to_bytes(), fresh_for, stated })
    }
}

#[async_trait]
impl Fetch for HttpsFetch {
    async fn fetch(&self, url: &KeyUrl) -> Result<Fetched, FetchError> {
        let limit = self.limits.total_time;
        let asking = async {
            match &self.server {
                // The list of revoked tokens may be at another server, which these authorities say
                // nothing of.
                Some((server, keys)) if url.is_at_server_of(keys) => {
                    self.request_at(url, server.clone(), keys).await
                }
                Some(_) | None => self.request(self.clients().await?, url, None).await,
            }
        };
        tokio::time::timeout(limit, asking).await.map_err(|_| FetchError::Timeout(limit))?
    }

    fn limit(&self) -> Duration {
        self.limits.total_time
    }
}

fn clients<R>(inner: R, connect_time: Duration) -> io::Result<Clients<R>>
where
    R: Service<Name, Error = io::Error> + Clone + Send + Sync + 'static,
    R::Response: Iterator<Item = SocketAddr>,
    R::Future: Send + 'static,
{
    Ok(clients_with(&of_system()?, &inner, connect_time))
}

fn clients_with<R>(tls: &rustls::ClientConfig, inner: &R, connect_time: Duration) -> Clients<R>
where
    R: Service<Name, Error = io::Error> + Clone + Send + Sync + 'static,
    R::Response: Iterator<Item = SocketAddr>,
    R::Future: Send + 'static,
{
    let made =
        |may_be_local| client(tls.clone(), Resolver { inner: inner.clone(), may_be_local }, connect_time);
    Clients { anywhere: made(true), elsewhere: made(false) }
}

/// An error with its causes: the outermost alone says only "client error".
fn connection(why: &(dyn Error + 'static)) -> FetchError {
    let mut text = why.to_string();
    let mut source = why.source();
    while let Some(inner) = source {
        if inner.is::<LeadsHere>() {
            return FetchError::JwksUri(KeyUrlError::Local);
        }
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    FetchError::Connection(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::{Ready, ready},
        net::{IpAddr, Ipv4Addr, TcpListener},
        task::{Context, Poll},
    };

    /// Every name leads to these addresses.
    #[derive(Clone)]
    struct Says(Vec<IpAddr>);

    impl Service<Name> for Says {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = io::Error;
        type Future = Ready<io::Result<Self::Response>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            ready(Ok(self.0.iter().map(|ip| SocketAddr::new(*ip, 0)).collect::<Vec<_>>().into_iter()))
        }
    }

    fn limits() -> FetchLimits {
        let soon = Duration::from_millis(200);
        FetchLimits { connect_time: soon, ..FetchLimits::default() }
    }

    async fn fetched(ip: &[&str], url: &KeyUrl) -> Result<Fetched, FetchError> {
        let resolver = Says(ip.iter().map(|ip| ip.parse().unwrap()).collect());
        let clients = clients(resolver, limits().connect_time).unwrap();
        let fetch = HttpsFetch::new(limits());
        let client = match url.named_by() {
            NamedBy::Configuration => &clients.anywhere,
            NamedBy::Document => &clients.elsewhere,
        };
        // Nobody answers a connection that should not have been made.
        let answer = tokio::time::timeout(Duration::from_secs(20), fetch.answer(client, url, None));
        answer.await.unwrap_or_else(|_| panic!("{ip:?} was connected to"))
    }

    #[tokio::test]
    async fn a_name_in_a_document_from_elsewhere_that_resolves_to_this_machine_is_not_connected_to() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let configured = KeyUrl::parse(&format!("https://keys.example:{port}/jwks")).unwrap();
        let from = KeyUrl::discovery_of("https://issuer.example").unwrap();
        let named = configured.clone().named_in_document_from(&from).unwrap();
        for here in [
            &["127.0.0.1"][..],
            &["127.9.9.9"],
            &["0.0.0.0"],
            &["0.1.2.3"],
            &["169.254.169.254"],
            &["255.255.255.255"],
            &["224.0.0.1"],
            &["::1"],
            &["::"],
            &["fe80::1"],
            &["ff02::1"],
            &["::ffff:127.0.0.1"],
            &["::ffff:169.254.169.254"],
            // One good answer does not make up for it: which one is connected to is left to chance.
            &["192.0.2.1", "127.0.0.1"],
        ] {
            let refused = fetched(here, &named).await;
            assert_eq!(refused, Err(FetchError::JwksUri(KeyUrlError::Local)), "{here:?}");
        }
        assert!(listener.accept().is_err(), "nothing was connected to");
        // The control: what the operator has configured may be here, and is connected to. It hangs
        // up.
        listener.set_nonblocking(false).unwrap();
        let hangs_up = std::thread::spawn(move || listener.accept().is_ok());
        let reached = fetched(&["127.0.0.1"], &configured).await;
        assert!(matches!(reached, Err(FetchError::Connection(_))), "{reached:?}");
        assert!(hangs_up.join().unwrap());
    }

    #[test]
    fn a_document_may_name_its_own_host_and_what_is_on_this_machine_if_it_is_itself() {
        for (from, uri, by) in [
            ("https://a.example", "https://a.example:8443/k", NamedBy::Configuration),
            ("https://a.example", "https://b.example/k", NamedBy::Document),
            ("http://127.0.0.1:1", "https://b.example/k", NamedBy::Configuration),
            ("http://localhost:1", "http://127.0.0.1:2/k", NamedBy::Configuration),
        ] {
            let from = KeyUrl::discovery_of(from).unwrap();
            let named = KeyUrl::parse(uri).unwrap().named_in_document_from(&from).unwrap();
            assert_eq!(named.named_by(), by, "{uri}");
        }
    }
}
