//! `S3Config`: which bucket and which part of it, in which region, at which endpoint; taken from a
//! URL.
//!
//! `s3://BUCKET/PREFIX?region=…&endpoint=…`. What the URL leaves open comes from where every AWS
//! tool finds it. Credentials come from there alone: a URL that has any is refused, and nothing of
//! it is repeated. Only an endpoint on this machine may be asked in plain text. A bucket's name is
//! what `countersign_aws` takes for one; a prefix has the alphabet of document keys, so that no
//! service reads it in another way.

use std::{fmt, time::Duration};

use countersign_aws::{ATTEMPT, BUCKET_NAME, OPERATION, is_bucket_name, is_endpoint, is_region};
use object_store::aws::AwsCredentialProvider;

use crate::{Engine, Key, Missing, StoreError, StoreUrl};

/// Which bucket and how it is asked. `Debug` shows what may be shown.
#[derive(Clone)]
pub struct S3Config {
    /// How errors call it.
    pub place: String,
    pub(super) bucket: String,
    /// With a slash at its end, unless it is empty.
    pub(super) prefix: String,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    /// Who asks; `None`: the identity AWS's own clients would have in this process.
    pub credentials: Option<AwsCredentialProvider>,
    /// Whether a store is begun where none exists.
    pub missing: Missing,
    /// Until one attempt is answered.
    pub attempt_timeout: Duration,
    /// Until an operation with all its attempts is given up.
    pub operation_timeout: Duration,
    /// How long an operation waits for others of this process.
    pub turn_timeout: Duration,
}

/// S3 takes names of 1,024 bytes; a document key has half of that.
const MAX_PREFIX: usize = 400;
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

impl S3Config {
    /// What `url` says.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the URL does not hold together; it repeats nothing that
    /// may be secret.
    pub fn parse(url: &StoreUrl) -> Result<Self, StoreError> {
        let place = format!("the S3 store {url}");
        let refuse =
            |reason: &str| StoreError::Misconfigured { place: place.clone(), reason: reason.to_owned() };
        let location = url.location_of(Engine::S3).and_then(|location| location.strip_prefix("//"));
        let rest = location.ok_or_else(|| refuse("write `s3://BUCKET/PREFIX`"))?;
        if rest.contains('@') {
            return Err(refuse(
                "credentials have no place in it; they come from where AWS's own tools find them (AWS_ACCESS_KEY_ID, \
                 AWS_PROFILE, the role of the function, container or instance)",
            ));
        }
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if !is_bucket_name(bucket) {
            return Err(refuse(&format!("the name of a bucket is {BUCKET_NAME}: `s3://BUCKET/PREFIX`")));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() && (prefix.len() > MAX_PREFIX || Key::parse(prefix).is_err()) {
            return Err(refuse(
                "a prefix is at most 400 of `A-Z a-z 0-9 . _ ~ = -`, as segments between single slashes",
            ));
        }
        let (mut region, mut endpoint) = (None, None);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let (slot, fits, remedy) = match name {
                "region" => (&mut region, is_region(value), "`region` is a name like eu-central-1"),
                "endpoint" => (
                    &mut endpoint,
                    is_endpoint(value),
                    "`endpoint` is https://HOST, or http://127.0.0.1:PORT on this machine",
                ),
                _ => return Err(refuse("it has an option that is not known; known are region, endpoint")),
            };
            if !fits {
                return Err(refuse(remedy));
            }
            if slot.replace(value.to_owned()).is_some() {
                return Err(refuse("it has an option twice"));
            }
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let bucket = bucket.to_owned();
        Ok(Self {
            place,
            bucket,
            prefix,
            region,
            endpoint,
            credentials: None,
            missing: Missing::Make,
            attempt_timeout: ATTEMPT,
            operation_timeout: OPERATION,
            turn_timeout: TURN_TIMEOUT,
        })
    }
}

impl S3Config {
    /// Whether an object can be in both places. Only endpoints that both name tell buckets of one
    /// name apart.
    pub fn overlaps(&self, other: &Self) -> bool {
        let elsewhere = matches!((&self.endpoint, &other.endpoint), (Some(one), Some(other)) if one != other);
        !elsewhere
            && self.bucket == other.bucket
            && (self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix))
    }
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<S3Config, StoreError> {
        S3Config::parse(&StoreUrl::parse(url)?)
    }

    #[test]
    fn takes_a_url_apart() {
        for (url, bucket, prefix) in [
            ("s3://my-bucket", "my-bucket", ""),
            ("s3://my-bucket/", "my-bucket", ""),
            ("S3://my.bucket/a", "my.bucket", "a/"),
            ("s3://my-bucket/a/b/", "my-bucket", "a/b/"),
        ] {
            let config = parse(url).unwrap();
            assert_eq!((config.bucket.as_str(), config.prefix.as_str()), (bucket, prefix), "{url}");
            assert_eq!((config.region, config.endpoint), (None, None), "the rest comes from the environment");
        }
        let config = parse("s3://bucket/p?region=eu-central-1&endpoint=http://127.0.0.1:9000").unwrap();
        assert_eq!(config.region.as_deref(), Some("eu-central-1"));
        assert_eq!(config.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
    }

    #[test]
    fn refuses_what_cannot_be_meant_and_repeats_none_of_it() {
        let long = format!("s3://bucket/{}", "p".repeat(401));
        for (url, hint) in [
            ("s3:bucket", "write `s3://BUCKET/PREFIX`"),
            ("s3://", "the name of a bucket"),
            ("s3:///prefix", "the name of a bucket"),
            ("s3://ab", "the name of a bucket"),
            ("s3://SECRET-upper", "the name of a bucket"),
            ("s3://-bucket", "the name of a bucket"),
            ("s3://a..b", "the name of a bucket"),
            ("s3://a.-b", "the name of a bucket"),
            ("s3://192.168.5.4", "the name of a bucket"),
            ("s3://bucket//SECRET", "a prefix is"),
            ("s3://bucket/a/../SECRET", "a prefix is"),
            ("s3://bucket/%53ECRET", "a prefix is"),
            ("s3://bucket/a b", "a prefix is"),
            (&long, "a prefix is"),
            ("s3://AKIA:SECRET@bucket/prefix", "credentials have no place in it"),
            ("s3://bucket?endpoint=http://AKIA:SECRET@127.0.0.1", "credentials have no place in it"),
            ("s3://bucket?secret_access_key=SECRET", "known are region, endpoint"),
            ("s3://bucket?SECRET", "known are region, endpoint"),
            ("s3://bucket?region=evil.example/SECRET", "`region` is"),
            ("s3://bucket?endpoint=http://SECRET.example", "`endpoint` is"),
            ("s3://bucket?region=a&region=b", "an option twice"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code(), "store_misconfigured", "{url}");
            let reason = match &error {
                StoreError::Misconfigured { reason, .. } => reason,
                other => panic!("{url}: {other}"),
            };
            assert!(reason.contains(hint) && !reason.contains("SECRET"), "{url}: {reason}");
        }
    }
}
