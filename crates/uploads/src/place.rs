//! Where a form is sent: a bucket of AWS, or of a service that takes the same, in one of the two
//! ways to name it in a URL.
//!
//! The URL is for browsers, so it comes from the configuration alone: an endpoint in the
//! environment (`AWS_ENDPOINT_URL`) is often one that this machine alone can reach. It is `https`,
//! or on this machine.

use countersign_aws::{BUCKET_NAME, dns_suffix, is_bucket_name, is_endpoint, is_region};
use std::{fmt, net::Ipv4Addr, str::FromStr};

/// The name of a bucket ([`is_bucket_name`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket(String);

impl Bucket {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Bucket {
    type Err = PlaceError;

    fn from_str(name: &str) -> Result<Self, PlaceError> {
        if is_bucket_name(name) { Ok(Self(name.to_owned())) } else { Err(PlaceError::Bucket) }
    }
}

/// How a bucket is named in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addressing {
    /// In the host's name.
    VirtualHost,
    /// In the path.
    Path,
}

/// A bucket, and the URL that takes its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    bucket: Bucket,
    region: String,
    url: String,
}

/// Why forms cannot be sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Not the name of a bucket.
    #[error("a bucket's name is {}", BUCKET_NAME)]
    Bucket,
    /// Not the name of a region.
    #[error("a region is a name like eu-central-1")]
    Region,
    /// Not an endpoint for browsers.
    #[error("an endpoint is https://HOST, or http://127.0.0.1:PORT on this machine; it has no path")]
    Endpoint,
    /// No certificate covers the host.
    #[error(
        "the bucket has a dot in its name, and no certificate covers such a host; set path_style = true, or take a bucket \
         without a dot"
    )]
    Dotted,
    /// An address has no names below it.
    #[error("the endpoint is an address, and a bucket cannot be in front of it; leave path_style out")]
    Address,
}

impl Place {
    /// A bucket in a region of AWS, or at an endpoint. `path_style` says how it is named in the
    /// URL; by default in the host where AWS is asked and the name has no dot, and in the path
    /// otherwise.
    ///
    /// # Errors
    ///
    /// [`PlaceError`]
    pub fn new(
        bucket: Bucket,
        region: &str,
        endpoint: Option<&str>,
        path_style: Option<bool>,
    ) -> Result<Self, PlaceError> {
        if !is_region(region) {
            return Err(PlaceError::Region);
        }
        let dotted = bucket.as_str().contains('.');
        let addressing = match path_style {
            Some(true) => Addressing::Path,
            Some(false) => Addressing::VirtualHost,
            None if endpoint.is_some() || dotted => Addressing::Path,
            None => Addressing::VirtualHost,
        };
        let of_aws = format!("https://s3.{region}.{}", dns_suffix(region));
        let endpoint = endpoint.unwrap_or(&of_aws);
        if !is_endpoint(endpoint) {
            return Err(PlaceError::Endpoint);
        }
        let endpoint = endpoint.trim_end_matches('/');
        let (scheme, authority) = endpoint.split_once("://").ok_or(PlaceError::Endpoint)?;
        let url = match addressing {
            Addressing::Path => format!("{endpoint}/{}", bucket.as_str()),
            Addressing::VirtualHost => {
                let host = authority.split(':').next().unwrap_or_default();
                if authority.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() {
                    return Err(PlaceError::Address);
                }
                if dotted && scheme == "https" {
                    return Err(PlaceError::Dotted);
                }
                format!("{scheme}://{}.{authority}/", bucket.as_str())
            }
        };
        Ok(Self { bucket, region: region.to_owned(), url })
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        self.bucket.as_str()
    }

    /// The region, as it is in the signature.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// What the form is sent to.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{} at {}", self.bucket.as_str(), self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(
        bucket: &str,
        region: &str,
        endpoint: Option<&str>,
        path: Option<bool>,
    ) -> Result<String, PlaceError> {
        Ok(Place::new(bucket.parse()?, region, endpoint, path)?.url().to_owned())
    }

    #[test]
    fn a_bucket_is_named_in_the_host_or_in_the_path() {
        for (bucket, region, endpoint, path, expected) in [
            ("photos", "eu-west-1", None, None, "https://photos.s3.eu-west-1.amazonaws.com/"),
            ("photos", "eu-west-1", None, Some(true), "https://s3.eu-west-1.amazonaws.com/photos"),
            ("my.photos", "eu-west-1", None, None, "https://s3.eu-west-1.amazonaws.com/my.photos"),
            ("photos", "cn-north-1", None, None, "https://photos.s3.cn-north-1.amazonaws.com.cn/"),
            ("photos", "eusc-de-east-1", None, None, "https://photos.s3.eusc-de-east-1.amazonaws.eu/"),
            ("photos", "us-iso-east-1", None, Some(true), "https://s3.us-iso-east-1.c2s.ic.gov/photos"),
            ("photos", "auto", Some("https://x.r2.example"), None, "https://x.r2.example/photos"),
            ("photos", "auto", Some("https://x.r2.example/"), Some(false), "https://photos.x.r2.example/"),
            ("photos", "us-east-1", Some("http://127.0.0.1:9000"), None, "http://127.0.0.1:9000/photos"),
            (
                "photos",
                "us-east-1",
                Some("http://localhost:9000"),
                Some(false),
                "http://photos.localhost:9000/",
            ),
        ] {
            assert_eq!(url(bucket, region, endpoint, path).as_deref(), Ok(expected), "{bucket} {endpoint:?}");
        }
    }

    #[test]
    fn no_file_is_sent_in_plain_text_or_to_a_host_that_cannot_prove_who_it_is() {
        use PlaceError::{Address, Bucket, Dotted, Endpoint, Region};
        for (bucket, region, endpoint, path, why) in [
            ("photos", "eu-west-1", Some("http://10.0.0.1:9000"), None, Endpoint),
            ("photos", "eu-west-1", Some("http://s3.example"), None, Endpoint),
            ("photos", "eu-west-1", Some("https://s3.example/path"), None, Endpoint),
            ("photos", "eu-west-1", Some("https://me:pw@s3.example"), None, Endpoint),
            ("photos", "eu-west-1", Some("javascript:alert(1)"), None, Endpoint),
            ("photos", "eu-west-1", Some(""), None, Endpoint),
            ("my.photos", "eu-west-1", None, Some(false), Dotted),
            ("my.photos", "eu-west-1", Some("https://s3.example"), Some(false), Dotted),
            ("photos", "eu-west-1", Some("https://192.0.2.1"), Some(false), Address),
            ("photos", "eu-west-1", Some("https://[2001:db8::1]:9000"), Some(false), Address),
            ("photos", "", None, None, Region),
            ("photos", "evil.example/", None, None, Region),
            ("photos", "Eu-West-1", None, None, Region),
            ("", "eu-west-1", None, None, Bucket),
            ("ab", "eu-west-1", None, None, Bucket),
            ("Photos", "eu-west-1", None, None, Bucket),
            ("pho/tos", "eu-west-1", None, None, Bucket),
            ("pho_tos", "eu-west-1", None, None, Bucket),
            ("-photos", "eu-west-1", None, None, Bucket),
            ("pho..tos", "eu-west-1", None, None, Bucket),
            ("192.168.5.4", "eu-west-1", None, None, Bucket),
            ("photos.evil.example#", "eu-west-1", None, None, Bucket),
        ] {
            assert_eq!(url(bucket, region, endpoint, path), Err(why), "{bucket} {region} {endpoint:?}");
        }
    }
}
