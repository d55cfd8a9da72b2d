//! Names that lead to a service: regions and endpoints, as people type them into URLs and variables.
//!
//! A region becomes part of a host name, and an endpoint is told documents; so both are checked before anything is asked,
//! and only an endpoint on this machine may be asked in plain text. Neither has room for a credential.

use std::net::IpAddr;

/// Whether `text` can be the name of a region, like `eu-central-1`.
pub fn is_region(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether `text` is `https://HOST`, perhaps with a port, or `http://` with a host that is this machine.
pub fn is_endpoint(text: &str) -> bool {
    let text = text.strip_suffix('/').unwrap_or(text);
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let (host, port) = match authority.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, port))) if host.parse::<IpAddr>().is_ok() => (host, port),
        Some(_) => return false,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    let is_host = !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
    let is_here = host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    is_port && is_host && (scheme == "https" || scheme == "http" && is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_what_a_host_name_can_hold() {
        for text in ["eu-central-1", "us-gov-west-1", "auto", "a"] {
            assert!(is_region(text), "{text}");
        }
        for text in ["", "-x", "x-", "Eu", "a.b", "a/b", "a@b", &"a".repeat(64)] {
            assert!(!is_region(text), "{text}");
        }
    }

    #[test]
    fn only_what_stays_on_this_machine_goes_unprotected() {
        for text in [
            "http://127.0.0.1:8000",
            "http://localhost:8000/",
            "http://[::1]:8000",
            "https://h:8443",
            "https://h",
        ] {
            assert!(is_endpoint(text), "{text}");
        }
        for text in [
            "http://10.0.0.1:8000",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://[2001:db8::1]",
            "ftp://127.0.0.1",
            "127.0.0.1:8000",
            "https://",
            "https://h:0",
            "https://h:99999",
            "https://h/path",
            "https://me:pw@h",
            "https://h h",
            "https://[::1",
            "https://[h]",
            "https://h#x",
            "https://h?x",
            "",
        ] {
            assert!(!is_endpoint(text), "{text}");
        }
    }
}
