//! The address a request comes from: that of the connection, or what trusted proxies say.
//!
//! `X-Forwarded-For` is read from the right, over as many entries as were written by trusted
//! proxies; the first address that is not one of theirs is the caller's. What a caller wrote itself
//! stands further left and is never reached. Where a header says that there is a proxy in between
//! and not who is behind it, the origin is unknown: rates count it by the last address that is
//! known, and nothing that an address opens (`/metrics`) is open to it.

use hyper::{
    HeaderMap,
    header::{FORWARDED, HeaderName, HeaderValue, VIA},
};
use ipnet::IpNet;
use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Headers that a request has only if somebody has handed it on.
const HANDED_ON: [HeaderName; 6] = [
    X_FORWARDED_FOR,
    FORWARDED,
    VIA,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The caller's address, or the nearest one to it that is known.
    pub(super) address: IpAddr,
    /// Whether it is the caller's.
    pub(super) is_known: bool,
}

pub(super) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The origin of a request that came over a connection from `connection`.
pub(super) fn origin(connection: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Origin {
    let handed_on = || HANDED_ON.iter().any(|name| headers.contains_key(name));
    if trusted.is_empty() || !contains(trusted, connection) {
        return Origin { address: connection.to_canonical(), is_known: !handed_on() };
    }
    let mut address = connection;
    if !headers.contains_key(X_FORWARDED_FOR) {
        return Origin { address: address.to_canonical(), is_known: !handed_on() };
    }
    let values: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    for entry in values.into_iter().rev().flat_map(entries) {
        let Some(entry) = entry else { return Origin { address: address.to_canonical(), is_known: false } };
        address = entry;
        if !contains(trusted, address) {
            break;
        }
    }
    Origin { address: address.to_canonical(), is_known: true }
}

/// The entries of one header, the last one first; `None` for one that is no address.
fn entries(value: &HeaderValue) -> impl Iterator<Item = Option<IpAddr>> {
    value.as_bytes().rsplit(|byte| *byte == b',').map(|entry| {
        let entry = std::str::from_utf8(entry).ok()?.trim();
        // Some proxies write the port as well, and some brackets without a port.
        let bare = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
        let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
        entry.parse().ok().or_else(with_port).or_else(bare)
    })
}

/// Notices a proxy that nobody named: its callers all count as one address.
#[derive(Debug, Default)]
pub(super) struct UntrustedProxies(AtomicBool);

impl UntrustedProxies {
    /// Warns the first time that an address which is not trusted sends `X-Forwarded-For`; says
    /// whether it did.
    pub(super) fn notice(&self, connection: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
        if !headers.contains_key(X_FORWARDED_FOR) || contains(trusted, connection) {
            return false;
        }
        let first = !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Relaxed);
        if first {
            tracing::warn!(
                address = %connection.to_canonical(),
                "X-Forwarded-For comes from an address that is not in server.trusted_proxies and is not believed; if this is your proxy, name it there, or all its callers share one rate of failed requests (said once)"
            );
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(connection: &str, headers: &[(&str, &str)]) -> (String, bool) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let origin = origin(connection.parse().unwrap(), &map, &trusted);
        (origin.address.to_string(), origin.is_known)
    }

    fn forwarded(connection: &str, values: &[&str]) -> (String, bool) {
        let headers: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
        seen(connection, &headers)
    }

    #[test]
    fn a_proxy_that_nobody_named_is_noticed_once_and_a_trusted_one_never() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let noticed = UntrustedProxies::default();
        let mut headers = HeaderMap::new();
        let outside = "192.0.2.1".parse().unwrap();
        assert!(!noticed.notice(outside, &headers, &trusted), "there is no such header");
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.7"));
        assert!(!noticed.notice("10.0.0.1".parse().unwrap(), &headers, &trusted));
        assert!(noticed.notice(outside, &headers, &trusted));
        assert!(!noticed.notice("192.0.2.2".parse().unwrap(), &headers, &trusted), "said once");
    }

    #[test]
    fn believes_only_what_trusted_proxies_wrote() {
        for (connection, values, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7, 10.2.3.4"], "198.51.100.7"),
            ("10.0.0.1", &["unknown, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.2"], "10.0.0.2"),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["5.5.5.5:80"], "5.5.5.5"),
            ("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
        ] {
            assert_eq!(forwarded(connection, values), (expected.to_owned(), true), "{connection} {values:?}");
        }
    }

    #[test]
    fn an_entry_that_is_no_address_hides_the_caller() {
        for entry in
            ["unknown", "_hidden", "not an address", "", " ", "5.5.5.5:", "[::1", "\u{e9}", "10.0.0.256"]
        {
            assert_eq!(forwarded("10.0.0.1", &[entry]), ("10.0.0.1".to_owned(), false), "{entry:?}");
            let before = format!("{entry}, 10.9.9.9");
            assert_eq!(forwarded("10.0.0.1", &[&before]), ("10.9.9.9".to_owned(), false), "{before:?}");
        }
    }

    #[test]
    fn whoever_hands_on_requests_and_is_not_trusted_hides_the_caller() {
        for name in HANDED_ON {
            let headers = [(name.as_str(), "198.51.100.7")];
            assert_eq!(seen("127.0.0.1", &headers), ("127.0.0.1".to_owned(), false), "{name}");
            let trusted = name == X_FORWARDED_FOR;
            assert_eq!(seen("10.0.0.1", &headers).1, trusted, "{name}");
        }
    }
}
