//! The one client for what is asked over the network: hyper and rustls (aws-lc-rs), certificates
//! checked against the system's roots.
//!
//! No redirect is followed, no proxy used, no cookie kept. A name that hangs in the system's
//! resolver holds a bounded number of threads ([`Lookups`]). Nothing is kept open between two
//! requests: what is asked here is asked every few minutes or once for a login, and no connection
//! outlives a frozen Lambda. Keys are fetched with it (`https`), providers asked (`grants`), events
//! handed on (`webhooks`).

use super::lookups::Lookups;
use hyper::body::Body;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use std::{error::Error, io, net::SocketAddr, time::Duration};
use tower_service::Service;

/// A client whose requests have bodies of this kind.
pub type HttpsClient<B, R = Lookups> = Client<HttpsConnector<HttpConnector<R>>, B>;

/// A client for https, and http where the caller's addresses say so, that gives up on a TCP
/// connection after `connect_time`. Reads the system's roots, which takes a while.
///
/// # Errors
///
/// If there are none.
pub fn https_client<B>(connect_time: Duration) -> io::Result<HttpsClient<B>>
where
    B: Body + Send,
    B::Data: Send,
{
    Ok(client(of_system()?, Lookups::of_system(), connect_time))
}

/// Whose certificates are good: those that the system trusts.
pub(super) fn of_system() -> io::Result<rustls::ClientConfig> {
    Ok(rustls::ClientConfig::builder().with_native_roots()?.with_no_client_auth())
}

/// The same by other roots and another resolver.
pub(super) fn client<B, R>(
    tls: rustls::ClientConfig,
    resolver: R,
    connect_time: Duration,
) -> HttpsClient<B, R>
where
    B: Body + Send,
    B::Data: Send,
    R: Service<Name> + Clone + Send + Sync + 'static,
    R::Response: Iterator<Item = SocketAddr>,
    R::Future: Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(connect_time));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https.wrap_connector(tcp))
}
