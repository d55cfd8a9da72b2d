//! Names to addresses, for the connector: an address that a document from elsewhere has named must
//! not lead to this machine or its link, whatever name it goes by.
//!
//! The addresses that are checked are those that are connected to, so a name that answers
//! differently the second time (DNS rebinding) passes nothing. One such address among several
//! refuses the name. Called by `https`; literal addresses were checked by `KeyUrl`.

use super::lookups::Lookups;
use crate::source::is_local;
use hyper_util::client::legacy::connect::dns::Name;
use std::{
    error::Error,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    vec,
};
use tower_service::Service;

/// A name leads to this machine, though it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name resolves to an address of this machine or its link")]
pub(super) struct LeadsHere;

/// A resolver of names, and whether it answers with local addresses.
#[derive(Debug, Clone)]
pub(super) struct Resolver<R = Lookups> {
    pub(super) inner: R,
    pub(super) may_be_local: bool,
}

type Addresses = vec::IntoIter<SocketAddr>;
type Resolving = Pin<Box<dyn Future<Output = Result<Addresses, Box<dyn Error + Send + Sync>>> + Send>>;

impl<R> Service<Name> for Resolver<R>
where
    R: Service<Name, Error = io::Error>,
    R::Response: Iterator<Item = SocketAddr>,
    R::Future: Send + 'static,
{
    type Response = Addresses;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Resolving;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Resolving {
        let (resolving, may_be_local) = (self.inner.call(name), self.may_be_local);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = resolving.await?.collect();
            if !may_be_local && addresses.iter().any(|address| is_local(address.ip().to_canonical())) {
                return Err(LeadsHere.into());
            }
            Ok(addresses.into_iter())
        })
    }
}
