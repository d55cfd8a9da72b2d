//! The address a request comes from: that of the connection, or what trusted proxies say.
//!
//! `X-Forwarded-For` is read from the right, over as many entries as were written by trusted proxies; the first address
//! that is not one of theirs is the caller's. What a caller wrote itself stands further left and is never reached.

use super::contains;
use hyper::HeaderMap;
use ipnet::IpNet;
use std::net::IpAddr;

pub(super) fn address(connection: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    if !contains(trusted, connection) {
        return connection.to_canonical();
    }
    let mut found = connection;
    let values: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let Ok(address) = entry.trim().parse::<IpAddr>() else { break };
        found = address;
        if !contains(trusted, address) {
            break;
        }
    }
    found.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn seen(connection: &str, forwarded: &[&str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(value).unwrap());
        }
        address(connection.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn believes_only_what_trusted_proxies_wrote() {
        assert_eq!(seen("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9", "198.51.100.7, 10.2.3.4"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["not an address"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
    }
}
