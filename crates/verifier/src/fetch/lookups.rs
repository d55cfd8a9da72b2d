//! The addresses of a host, from the system's resolver: for everything that is asked over the
//! network.
//!
//! A look-up occupies a thread until the system gives up on it, long after everybody who has asked
//! for it. So the place that it takes is given back by the thread, and not by who asks: a resolver
//! that hangs holds no more threads than there are places.

use hyper_util::client::legacy::connect::dns::Name;
use std::{
    fmt,
    future::Future,
    io,
    net::{SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};
use tokio::{sync::Semaphore, task::spawn_blocking};
use tower_service::Service;

/// Look-ups by one client at the same time.
const AT_ONCE: usize = 8;

type Addresses = vec::IntoIter<SocketAddr>;
type LookUp = dyn Fn(&str) -> io::Result<Addresses> + Send + Sync;

/// Looks names up, a few at a time.
#[derive(Clone)]
pub struct Lookups {
    places: Arc<Semaphore>,
    look_up: Arc<LookUp>,
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

impl Lookups {
    /// By the system.
    pub fn of_system() -> Self {
        Self::by(|host| (host, 0).to_socket_addrs())
    }

    fn by(look_up: impl Fn(&str) -> io::Result<Addresses> + Send + Sync + 'static) -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), look_up: Arc::new(look_up) }
    }
}

impl Service<Name> for Lookups {
    type Response = Addresses;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Addresses>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, host: Name) -> Self::Future {
        let Self { places, look_up } = self.clone();
        Box::pin(async move {
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            let found = spawn_blocking(move || {
                let _place = place;
                look_up(host.as_str())
            });
            found.await.map_err(io::Error::other)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, mpsc};

    #[tokio::test]
    async fn a_look_up_that_hangs_keeps_its_place_when_nobody_waits_for_it_any_more() {
        let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let mut lookups = Lookups::by(move |_| {
            began.send(()).unwrap();
            released.lock().unwrap().recv().map_err(io::Error::other)?;
            Ok(Vec::new().into_iter())
        });
        let host = || "login.example".parse::<Name>().unwrap();
        release.send(()).unwrap();
        assert!(lookups.call(host()).await.is_ok());
        begun.recv().await.unwrap();
        let asking = tokio::spawn(lookups.call(host()));
        begun.recv().await.unwrap();
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        assert_eq!(lookups.places.available_permits(), AT_ONCE - 1);
        release.send(()).unwrap();
        let all = lookups.places.acquire_many(AT_ONCE.try_into().unwrap()).await.unwrap();
        assert_eq!(all.num_permits(), AT_ONCE);
    }
}
