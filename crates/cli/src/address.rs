//! The one reader of addresses to listen on, for the command line, the configuration and the
//! environment.
//!
//! An address and a port, and nothing that has to be looked up or guessed: a port alone could mean
//! this machine or every network. Each of the forms that people try is refused with what to write
//! instead; `localhost` is 127.0.0.1.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// An address to listen on.
///
/// # Errors
///
/// What is wrong and what to write, for people.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = |text: &str| text.parse::<u16>().ok();
    if let Some(port) = text.strip_prefix("localhost:").and_then(port) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    let like =
        |port: u16| format!("127.0.0.1:{port} for this machine alone, or 0.0.0.0:{port} for every network");
    Err(match text.rsplit_once(':') {
        None if text.parse::<IpAddr>().is_ok() => format!("{text} has no port; write {text}:8080"),
        None if port(text).is_some() => {
            format!("{text} is a port without an address; write {}", like(port(text).unwrap_or(8080)))
        }
        Some(("", given)) if port(given).is_some() => {
            format!("{text} has no address in front of the port; write {}", like(port(given).unwrap_or(8080)))
        }
        _ if text.contains("://") => format!("{text:?} is a URL; write {}", like(8080)),
        Some((host, given)) if text.parse::<IpAddr>().is_ok() => {
            // `::1:8080` is an address as a whole; its last part was most likely meant as the port.
            let meant = host.parse::<IpAddr>().ok().and(port(given));
            let meant = meant.map(|port| format!("[{host}]:{port}, or ")).unwrap_or_default();
            format!("an IPv6 address needs brackets and a port; write {meant}[{text}]:8080")
        }
        Some((host, given)) if port(given).is_some() => {
            format!(
                "{host:?} is a name, and an IP address is needed; write {}",
                like(port(given).unwrap_or(8080))
            )
        }
        Some((_, given))
            if given.len() <= 20 && !given.is_empty() && given.bytes().all(|c| c.is_ascii_digit()) =>
        {
            format!("{given} is not a port, which is at most 65535; write {}", like(8080))
        }
        None if text.len() > 4 && text.bytes().all(|c| c.is_ascii_digit()) => {
            format!("{text:?} is not a port, which is at most 65535; write {}", like(8080))
        }
        _ => format!("{text:?} is not an address and a port; write {}", like(8080)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_port_are_taken_and_everything_else_says_what_to_write() {
        for (text, address) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:80", "[::1]:80"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("localhost:8081", "127.0.0.1:8081"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), address);
        }
        for (text, says) in [
            (":8080", "no address in front of the port; write 127.0.0.1:8080"),
            ("8080", "a port without an address; write 127.0.0.1:8080"),
            ("127.0.0.1", "no port; write 127.0.0.1:8080"),
            ("::1", "needs brackets"),
            ("::1:8080", "write [::1]:8080, or [::1:8080]:8080"),
            ("fe80::1", "write [fe80::1]:8080"),
            ("example.com:8443", "is a name, and an IP address is needed; write 127.0.0.1:8443"),
            ("http://127.0.0.1:8080", "is a URL"),
            ("127.0.0.1:http", "is not an address and a port"),
            ("127.0.0.1:80800", "80800 is not a port, which is at most 65535; write 127.0.0.1:8080"),
            ("80800", "is not a port, which is at most 65535"),
            ("", "is not an address and a port"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(says), "{text:?}: {why}");
        }
    }
}
