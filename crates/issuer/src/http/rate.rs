//! Rate limits of the minting routes: per client once it proved who it is, per address for those
//! that did not.
//!
//! An address is charged only for requests whose caller did not prove who it is, so bad clients
//! behind one address (a NAT, a proxy) use up nothing of the good ones there. The cells of
//! addresses are a fixed table: however many addresses come, memory does not grow; two addresses
//! that fall into one cell share it. The table's hash is keyed at random, so nobody can aim for
//! another's cell. An IPv6 caller counts by its /48, the network of one site, whose 65,536 /64s
//! would each be a budget of their own. The limiter itself (GCRA) is the crate `governor`.

use crate::Clients;
use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    net::IpAddr,
    num::NonZeroU32,
    time::Duration,
};

/// So many requests in any such time, all at once if need be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub requests: NonZeroU32,
    /// In this time.
    pub per: Duration,
}

/// The limits; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// For each client.
    pub per_client: Option<Rate>,
    /// For each address: requests that do not prove who they are.
    pub per_address: Option<Rate>,
}

/// Cells in the address table: 64 KiB of memory.
const CELLS: usize = 8192;

type ClientLimiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, NoOpMiddleware>;
type AddressLimiter = RateLimiter<u64, Cells, DefaultClock, NoOpMiddleware>;

/// What has been used of the limits, by every route that charges it.
pub struct RateLimiters {
    clients: HashMap<String, ClientLimiter>,
    addresses: Option<AddressLimiter>,
    hash: RandomState,
    clock: DefaultClock,
}

impl RateLimiters {
    pub(crate) fn new(limits: &RateLimits, clients: &Clients) -> Self {
        let clock = DefaultClock::default();
        let quota = |rate: Rate| {
            let each = rate.per.checked_div(rate.requests.get()).unwrap_or(rate.per);
            Quota::with_period(each).map(|quota| quota.allow_burst(rate.requests))
        };
        let per_client = limits.per_client.and_then(quota);
        let clients = clients.iter().filter_map(|client| {
            Some((client.id.to_string(), RateLimiter::direct_with_clock(per_client?, clock.clone())))
        });
        Self {
            clients: clients.collect(),
            addresses: limits
                .per_address
                .and_then(quota)
                .map(|quota| RateLimiter::new(quota, Cells::default(), clock.clone())),
            hash: RandomState::new(),
            clock,
        }
    }

    /// Charges the address for one request that did not prove who it is.
    ///
    /// # Errors
    ///
    /// How long to wait, where that is more than the limit.
    pub fn charge_address(&self, address: IpAddr) -> Result<(), Duration> {
        let Some(limiter) = &self.addresses else { return Ok(()) };
        let cell = match address.to_canonical() {
            IpAddr::V4(v4) => self.hash.hash_one(v4.octets()),
            IpAddr::V6(v6) => self.hash.hash_one(v6.octets().get(..6)),
        };
        limiter.check_key(&cell).map_err(|not_until| self.wait(&not_until))
    }

    /// Takes one request of the client.
    ///
    /// # Errors
    ///
    /// How long to wait, where that is more than the limit.
    pub fn check_client(&self, id: &str) -> Result<(), Duration> {
        let Some(limiter) = self.clients.get(id) else { return Ok(()) };
        limiter.check().map_err(|not_until| self.wait(&not_until))
    }

    fn wait<P: Reference>(&self, not_until: &NotUntil<P>) -> Duration
    where
        DefaultClock: governor::clock::Clock<Instant = P>,
    {
        let wait = not_until.wait_time_from(self.clock.now());
        // Whole seconds, rounded up: Retry-After has no fractions (RFC 9110 §10.2.3).
        Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

impl std::fmt::Debug for RateLimiters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimiters").finish_non_exhaustive()
    }
}

/// A fixed number of limiter states, chosen by the hash of the key.
struct Cells(Box<[InMemoryState]>);

impl Default for Cells {
    fn default() -> Self {
        Self((0..CELLS).map(|_| InMemoryState::default()).collect())
    }
}

impl StateStore for Cells {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &Self::Key, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let index = usize::try_from(*key % CELLS as u64).unwrap_or_default();
        match self.0.get(index) {
            Some(cell) => cell.measure_and_replace(&NotKeyed::NonKey, f),
            None => f(None).map(|(value, _)| value),
        }
    }
}
