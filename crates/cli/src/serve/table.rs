//! The connections that are open: how many there may be, in all and from one address, and which of
//! them gives way.
//!
//! A newcomer never waits while somebody else makes the server wait: when all places are taken, the
//! connection that has waited longest for its client closes (`Link::waited`), one of an ordinary
//! client before one of a proxy. What is busy is never cut. One address, and with IPv6 one /64,
//! gets a share; proxies that are configured are exempt, because all their clients come from there.
//! Locked once when a connection opens and once when it closes, never for a request.

use super::link::Link;
use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// So many connections may be closing beyond the limit. They hold descriptors of the reserve for
/// that moment.
const MOST_LEAVING: usize = 24;

/// An address as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AddressKey {
    V4([u8; 4]),
    /// The first 64 bits, which one host can have whole.
    V6([u8; 8]),
}

impl AddressKey {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let mut network = [0; 8];
                network.iter_mut().zip(v6.octets()).for_each(|(to, from)| *to = from);
                Self::V6(network)
            }
        }
    }
}

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) all: usize,
    pub(super) per_address: usize,
}

impl Places {
    /// A share of all places for one address, unless the configuration says how many.
    pub(super) fn new(all: usize, per_address: Option<usize>) -> Self {
        Self { all, per_address: per_address.unwrap_or((all / 8).max(8)).min(all) }
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// This address has all it may have, and all of them are busy.
    Address,
    /// All places are taken by connections that are busy.
    All,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Table {
    inner: Mutex<Inner>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<u64, Entry>,
    next: u64,
    counted: usize,
    by_address: HashMap<AddressKey, usize>,
}

#[derive(Debug)]
struct Entry {
    link: Arc<Link>,
    /// Whether it takes a place. One that was told to give way does not any more.
    counts: bool,
}

/// A place in the table, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    table: Arc<Table>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        if let Some(entry) = inner.entries.remove(&self.id).filter(|entry| entry.counts) {
            inner.uncount(&entry.link);
        }
        drop(inner);
        self.table.left.notify_one();
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way; and counts that are off by one are better than no
        // server.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for `link`, for which another connection may have to give way.
    pub(super) fn admit(self: &Arc<Self>, link: &Arc<Link>, places: Places) -> Result<Place, NoPlace> {
        let mut inner = self.lock();
        let of_address = inner.by_address.get(&link.key).copied().unwrap_or_default();
        // An address that may have all waits for a place like everybody.
        let shares = places.per_address < places.all && !link.of_proxy;
        if shares && of_address >= places.per_address {
            let same = |other: &Link| other.key == link.key && !other.of_proxy;
            inner.make_room(same).ok_or(NoPlace::Address)?;
        }
        if inner.counted >= places.all {
            let freed = inner.make_room(|other| !other.of_proxy).or_else(|| inner.make_room(|_| true));
            freed.ok_or(NoPlace::All)?;
        }
        Ok(self.enter(&mut inner, link))
    }

    /// A place for `link`, whatever there is.
    pub(super) fn admit_anyway(self: &Arc<Self>, link: &Arc<Link>) -> Place {
        self.enter(&mut self.lock(), link)
    }

    fn enter(self: &Arc<Self>, inner: &mut Inner, link: &Arc<Link>) -> Place {
        let id = inner.next;
        inner.next = inner.next.wrapping_add(1);
        inner.counted += 1;
        *inner.by_address.entry(link.key).or_default() += 1;
        inner.entries.insert(id, Entry { link: Arc::clone(link), counts: true });
        Place { table: Arc::clone(self), id }
    }

    /// Ends when a place was given back.
    pub(super) async fn left(&self) {
        self.left.notified().await;
    }

    /// Tells all of them to finish.
    pub(super) fn finish(&self) {
        self.lock().entries.values().for_each(|entry| entry.link.finish());
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.lock().entries.len()
    }
}

impl Inner {
    /// Tells the one that has waited longest to give way. `None` if none of those that may has
    /// waited.
    fn make_room(&mut self, may: impl Fn(&Link) -> bool) -> Option<()> {
        if self.entries.len() - self.counted >= MOST_LEAVING {
            return None;
        }
        let waiting = self.entries.iter_mut().filter(|(_, entry)| entry.counts && may(&entry.link));
        // Of two that have waited for the same milliseconds it is the older connection.
        let longest = waiting.filter_map(|(id, entry)| Some(((entry.link.waited()?, Reverse(*id)), entry)));
        let (_, entry) = longest.max_by_key(|(waited, _)| *waited)?;
        entry.counts = false;
        let link = Arc::clone(&entry.link);
        self.uncount(&link);
        link.give_way();
        Some(())
    }

    fn uncount(&mut self, link: &Link) {
        self.counted = self.counted.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&link.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_address.remove(&link.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    struct Host {
        table: Arc<Table>,
        places: Places,
        epoch: Instant,
    }

    impl Host {
        fn new(all: usize, per_address: usize) -> Self {
            let places = Places::new(all, Some(per_address));
            Self { table: Arc::default(), places, epoch: Instant::now() }
        }

        fn link(&self, address: &str, of_proxy: bool) -> Arc<Link> {
            Arc::new(Link::new(address.parse().unwrap(), of_proxy, self.epoch))
        }

        /// A connection that has had an answer.
        fn idle(&self, address: &str, of_proxy: bool) -> (Arc<Link>, Result<Place, NoPlace>) {
            let link = self.link(address, of_proxy);
            link.begins();
            link.answered();
            link.flushed();
            let place = self.table.admit(&link, self.places);
            (link, place)
        }

        /// A connection whose answer is being made.
        fn busy(&self, address: &str) -> (Arc<Link>, Result<Place, NoPlace>) {
            let link = self.link(address, false);
            link.begins();
            let place = self.table.admit(&link, self.places);
            (link, place)
        }
    }

    #[test]
    fn what_is_busy_never_gives_way() {
        let host = Host::new(2, 2);
        let (one, one_place) = host.busy("192.0.2.1");
        let (two, two_place) = host.busy("192.0.2.2");
        assert!(one_place.is_ok() && two_place.is_ok());
        assert_eq!(host.busy("192.0.2.3").1.unwrap_err(), NoPlace::All);
        assert!(!one.is_last() && !two.is_last());
        drop(one_place);
        assert!(host.busy("192.0.2.3").1.is_ok(), "a place that was given back is free");
    }

    #[test]
    fn an_idle_connection_of_a_proxy_gives_way_after_all_others() {
        let host = Host::new(3, 3);
        let (proxy, _proxy_place) = host.idle("192.0.2.1", true);
        let (first, _first_place) = host.idle("192.0.2.2", false);
        let (busy, _busy_place) = host.busy("192.0.2.3");
        let told = |link: &Link| link.obey() == crate::serve::link::Step::WindUp && link.is_last();
        let _fourth = host.busy("192.0.2.4").1.unwrap();
        assert!(told(&first) && !proxy.is_last() && !busy.is_last());
        let _fifth = host.busy("192.0.2.5").1.unwrap();
        assert!(told(&proxy) && !busy.is_last());
        assert_eq!(host.busy("192.0.2.6").1.unwrap_err(), NoPlace::All);
    }

    #[test]
    fn an_address_has_its_share_and_takes_nothing_from_others() {
        let host = Host::new(100, 2);
        let places: Vec<_> = (0..2).map(|_| host.busy("192.0.2.1").1.unwrap()).collect();
        assert_eq!(host.busy("192.0.2.1").1.unwrap_err(), NoPlace::Address);
        assert_eq!(host.busy("::ffff:192.0.2.1").1.unwrap_err(), NoPlace::Address, "the same address");
        let _other = host.busy("192.0.2.2").1.unwrap();
        drop(places);
        assert!(host.busy("192.0.2.1").1.is_ok());
        assert!(host.table.lock().by_address.len() == 1, "addresses without connections are forgotten");
    }

    #[test]
    fn one_ipv6_network_counts_as_one_address() {
        let host = Host::new(100, 2);
        let _places = ["2001:db8::1", "2001:db8::2:3"].map(|address| host.busy(address).1.unwrap());
        assert_eq!(host.busy("2001:db8::ffff").1.unwrap_err(), NoPlace::Address);
        assert!(host.busy("2001:db8:0:1::1").1.is_ok());
    }

    #[test]
    fn a_share_is_an_eighth_unless_it_is_set() {
        for (all, set, expected) in [
            (1024, None, 128),
            (100, None, 12),
            (16, None, 8),
            (2, None, 2),
            (1024, Some(1), 1),
            (10, Some(1000), 10),
        ] {
            assert_eq!(Places::new(all, set).per_address, expected, "{all} {set:?}");
        }
    }

    #[test]
    fn whoever_is_told_to_leave_is_not_counted_and_only_so_many_are_told() {
        let host = Host::new(2 * MOST_LEAVING, 2 * MOST_LEAVING);
        let idle: Vec<_> = (0..2 * MOST_LEAVING).map(|_| host.idle("192.0.2.1", false).1.unwrap()).collect();
        let came: Vec<_> = (0..MOST_LEAVING).map(|_| host.busy("192.0.2.2").1.unwrap()).collect();
        assert_eq!(host.busy("192.0.2.2").1.unwrap_err(), NoPlace::All, "too many are leaving");
        assert_eq!(host.table.open(), 3 * MOST_LEAVING);
        drop(idle);
        assert_eq!(host.table.lock().counted, MOST_LEAVING);
        drop(came);
        let inner = host.table.lock();
        assert_eq!((inner.counted, inner.by_address.len(), inner.entries.len()), (0, 0, 0));
    }
}
