//! Names that lead to a service: regions, endpoints and buckets, as people type them into URLs and
//! variables.
//!
//! A region and a bucket become parts of a host name, and an endpoint is told documents; so all are
//! checked before anything is asked, and only an endpoint on this machine may be asked in plain
//! text. None has room for a credential. What is behind a region in AWS's host names depends on the
//! partition that it is of; one function says it for everything that makes a host name itself.
//! tests/e2e/test_aws_regions.py compares it with botocore's list of partitions.

use std::net::{IpAddr, Ipv4Addr};

/// How the regions of a partition begin, and how its host names end. All others are those of `aws`
/// and `aws-us-gov`.
const PARTITIONS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov"),
];

/// How host names end in the regions that most people know.
pub const DNS_SUFFIX: &str = "amazonaws.com";

/// How AWS's host names end in a region, like `amazonaws.com`. No other domain of that region is
/// AWS's.
pub fn dns_suffix(region: &str) -> &'static str {
    let of_region = PARTITIONS.iter().find(|(start, _)| region.starts_with(start));
    of_region.map_or(DNS_SUFFIX, |(_, suffix)| suffix)
}

/// What [`is_bucket_name`] demands, for messages that begin with what is named.
pub const BUCKET_NAME: &str = "3 to 63 of `a-z 0-9 . -`, with a letter or digit at both ends of each part between dots, and not an address";

/// Whether `text` can be the name of a bucket: labels of a host name, since it becomes part of one,
/// and no IP address (Amazon S3 User Guide, "General purpose bucket naming rules"). Beginnings and
/// ends that AWS keeps for itself are taken: the aliases of access points have them, and stand
/// where buckets do.
pub fn is_bucket_name(text: &str) -> bool {
    let is_edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(is_edge)
            && bytes.last().is_some_and(is_edge)
            && bytes.iter().all(|b| is_edge(b) || *b == b'-')
    };
    (3..=63).contains(&text.len()) && text.split('.').all(is_label) && text.parse::<Ipv4Addr>().is_err()
}

/// Whether `text` can be the name of a region, like `eu-central-1`.
pub fn is_region(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether `text` is `https://HOST`, perhaps with a port, or `http://` with a host that is this
/// machine.
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
    fn a_host_name_ends_as_those_of_the_regions_partition_do() {
        for (region, suffix) in [
            ("eu-central-1", "amazonaws.com"),
            ("us-east-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("eusc-de-east-1", "amazonaws.eu"),
            ("us-iso-west-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("eu-isoe-west-1", "cloud.adc-e.uk"),
            ("us-isof-south-1", "csp.hci.ic.gov"),
            ("auto", "amazonaws.com"),
        ] {
            assert_eq!(dns_suffix(region), suffix, "{region}");
        }
    }

    #[test]
    fn a_bucket_is_what_a_host_name_can_begin_with() {
        for name in ["abc", "my-bucket", "my.bucket", "1.2.3", "a--b", "point-abc-s3alias", &"a".repeat(63)] {
            assert!(is_bucket_name(name), "{name}");
        }
        for name in [
            "",
            "ab",
            "Abc",
            "a_b",
            "a/b",
            "-abc",
            "abc-",
            ".abc",
            "abc.",
            "a..b",
            "a.-b",
            "a-.b",
            "192.168.5.4",
            "a b",
            "b\u{fc}cher",
            &"a".repeat(64),
        ] {
            assert!(!is_bucket_name(name), "{name}");
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
