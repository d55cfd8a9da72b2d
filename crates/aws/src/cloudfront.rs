//! Invalidates paths in a CloudFront distribution (Amazon CloudFront API Reference,
//! `CreateInvalidation` and `GetInvalidation`).
//!
//! One signed request each, as `request` makes them. An invalidation has a caller reference, so a
//! retry is idempotent.

use aws_config::SdkConfig;
use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};

use crate::{
    Named, OPERATION, Service, Unusable, configuration, dns_suffix,
    request::{Call, Http, Pauses, Unanswered, code, is_denial, is_throttling, is_transient},
};

/// The region of CloudFront's own API, for those who have none.
const REGION: &str = "us-east-1";
const NAMESPACE: &str = "http://cloudfront.amazonaws.com/doc/2020-05-31/";
/// The longest answer: it repeats the paths.
const LONGEST: usize = 1024 * 1024;

/// Why an invalidation was not made or found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotInvalidated {
    /// AWS cannot be asked at all.
    #[error("{0}")]
    Unusable(Unusable),
    /// No credentials were found.
    #[error("there are no AWS credentials: {0}")]
    NoCredentials(String),
    /// There is no such distribution.
    #[error("there is no such distribution")]
    NoDistribution,
    /// This identity lacks the permission; with the code.
    #[error("this identity lacks the permission ({0})")]
    Denied(String),
    /// The credentials are not accepted; with the code.
    #[error("these credentials are not accepted ({0})")]
    NotTrusted(String),
    /// Too many requests, throughout; with the code.
    #[error("it was asked too often ({0})")]
    Throttled(String),
    /// The request is refused; with the code.
    #[error("it refuses ({0})")]
    Refused(String),
    /// The answer to an accepted request is not the documented one.
    #[error("its answer cannot be read")]
    NotUnderstood,
    /// No answer, or the error of a server, throughout.
    #[error("{0}")]
    Unavailable(String),
}

/// The state of an invalidation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Invalidation {
    /// Its id, for [`Invalidations::get`].
    pub id: String,
    /// `InProgress`, `Completed`.
    pub status: String,
}

#[derive(Debug, Serialize)]
#[serde(rename = "InvalidationBatch", rename_all = "PascalCase")]
struct Batch<'a> {
    #[serde(rename = "@xmlns")]
    namespace: &'a str,
    paths: Paths<'a>,
    caller_reference: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Paths<'a> {
    quantity: usize,
    items: Items<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Items<'a> {
    path: &'a [String],
}

/// The invalidations of one distribution.
#[derive(Debug)]
pub struct Invalidations {
    http: Http,
    config: SdkConfig,
    /// Where they are, and the region that signatures name.
    place: (String, &'static str),
}

impl Invalidations {
    /// Those of the distribution with this id, which is to be letters and digits. Asks AWS for
    /// nothing yet.
    ///
    /// # Errors
    ///
    /// [`NotInvalidated::Unusable`], and [`NotInvalidated::Unavailable`] where there are no
    /// certificate roots.
    pub async fn of(distribution: &str) -> Result<Self, NotInvalidated> {
        let config = match configuration(Service::CloudFront, Named::default()).await {
            Err(Unusable::NoRegion) => {
                configuration(Service::CloudFront, Named { region: Some(REGION), endpoint: None }).await
            }
            found => found,
        };
        let config = config.map_err(NotInvalidated::Unusable)?;
        let (base, region) = place(&config);
        let place = (format!("{base}/2020-05-31/distribution/{distribution}/invalidation"), region);
        Ok(Self { http: Http::new()?, config, place })
    }

    /// Invalidates `paths`. Requests with the same caller reference make one invalidation.
    ///
    /// # Errors
    ///
    /// [`NotInvalidated`]
    pub async fn create(&self, paths: &[String], reference: &str) -> Result<Invalidation, NotInvalidated> {
        let paths = Paths { quantity: paths.len(), items: Items { path: paths } };
        let batch = Batch { namespace: NAMESPACE, paths, caller_reference: reference };
        let body = quick_xml::se::to_string(&batch);
        let body = body.map_err(|why| NotInvalidated::Refused(why.to_string()))?;
        self.ask(Method::POST, "", body.into()).await
    }

    /// Looks at one.
    ///
    /// # Errors
    ///
    /// [`NotInvalidated`]
    pub async fn get(&self, id: &str) -> Result<Invalidation, NotInvalidated> {
        self.ask(Method::GET, &format!("/{id}"), Bytes::new()).await
    }

    async fn ask(&self, method: Method, below: &str, body: Bytes) -> Result<Invalidation, NotInvalidated> {
        let asked = tokio::time::timeout(OPERATION, self.ask_in_attempts(&method, below, &body)).await;
        asked.unwrap_or_else(|_| Err(Unanswered::late(OPERATION).into()))
    }

    async fn ask_in_attempts(
        &self,
        method: &Method,
        below: &str,
        body: &Bytes,
    ) -> Result<Invalidation, NotInvalidated> {
        let mut pauses = Pauses::new();
        loop {
            let outcome = self.attempt(method.clone(), below, body.clone()).await;
            let throttled = matches!(outcome, Err(NotInvalidated::Throttled(_)));
            let may_pass = throttled || matches!(outcome, Err(NotInvalidated::Unavailable(_)));
            if !may_pass || !pauses.wait(throttled).await {
                return outcome;
            }
        }
    }

    async fn attempt(
        &self,
        method: Method,
        below: &str,
        body: Bytes,
    ) -> Result<Invalidation, NotInvalidated> {
        let (url, region) = &self.place;
        let call = Call {
            method,
            url: format!("{url}{below}"),
            headers: if body.is_empty() { Vec::new() } else { vec![("content-type", "application/xml")] },
            body,
            service: "cloudfront",
            region: (*region).to_owned(),
        };
        let answer = self.http.ask(&self.config, call, LONGEST).await?;
        if answer.status.is_success() {
            return understood(answer.body.as_deref()).ok_or(NotInvalidated::NotUnderstood);
        }
        let (status, code) = (answer.status, code(&answer));
        let shown = if code.is_empty() { status.to_string() } else { code.clone() };
        Err(match code.as_str() {
            "NoSuchDistribution" => NotInvalidated::NoDistribution,
            "AccessDenied" | "AccessDeniedException" => NotInvalidated::Denied(shown),
            code if is_throttling(status, code) => NotInvalidated::Throttled(shown),
            code if is_transient(status, code) => NotInvalidated::Unavailable(format!("it answers {shown}")),
            code if is_denial(status, code) => NotInvalidated::NotTrusted(shown),
            _ => NotInvalidated::Refused(shown),
        })
    }
}

/// What the body of an answer says, if its id can be a part of a path.
fn understood(body: Option<&[u8]>) -> Option<Invalidation> {
    let found: Invalidation = quick_xml::de::from_reader(body?).ok()?;
    let is_id = (1..=64).contains(&found.id.len()) && found.id.bytes().all(|b| b.is_ascii_alphanumeric());
    is_id.then_some(found)
}

/// Where CloudFront's API is, one for all regions of a partition, and the region that signatures
/// name: the SDK's `implicitGlobalRegion`.
fn place(config: &SdkConfig) -> (String, &'static str) {
    let region = config.region().map_or(REGION, |region| region.as_ref());
    let domain = dns_suffix(region);
    let (single, dual, signed) = match domain {
        "amazonaws.com.cn" => {
            ("cn-northwest-1.amazonaws.com.cn", "api.amazonwebservices.com.cn", "cn-northwest-1")
        }
        "amazonaws.eu" => (domain, "api.amazonwebservices.eu", "eusc-de-east-1"),
        "c2s.ic.gov" => (domain, "api.aws.ic.gov", "us-iso-east-1"),
        "sc2s.sgov.gov" => (domain, "api.aws.scloud", "us-isob-east-1"),
        "cloud.adc-e.uk" => (domain, "api.cloud-aws.adc-e.uk", "eu-isoe-west-1"),
        "csp.hci.ic.gov" => (domain, "api.aws.hci.ic.gov", "us-isof-south-1"),
        _ if region.starts_with("us-gov-") => (domain, "api.aws", "us-gov-west-1"),
        _ => (domain, "global.api.aws", REGION),
    };
    if let Some(own) = config.endpoint_url() {
        return (own.trim_end_matches('/').to_owned(), signed);
    }
    let fips = if config.use_fips() == Some(true) { "-fips" } else { "" };
    let suffix = if config.use_dual_stack() == Some(true) { dual } else { single };
    (format!("https://cloudfront{fips}.{suffix}"), signed)
}

impl From<Unanswered> for NotInvalidated {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::NoCredentials(why) => Self::NoCredentials(why),
            Unanswered::NotSigned(why) => Self::Refused(why),
            Unanswered::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_config::Region;

    #[test]
    fn it_is_asked_at_the_host_of_the_regions_partition_and_signed_for_its_region() {
        // As the SDK's endpoint rules for CloudFront have it.
        for (region, fips, dual, host, signed) in [
            ("eu-central-1", false, false, "cloudfront.amazonaws.com", "us-east-1"),
            ("us-east-1", true, false, "cloudfront-fips.amazonaws.com", "us-east-1"),
            ("us-east-1", false, true, "cloudfront.global.api.aws", "us-east-1"),
            ("cn-north-1", false, false, "cloudfront.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"),
            ("cn-north-1", true, true, "cloudfront-fips.api.amazonwebservices.com.cn", "cn-northwest-1"),
            ("eusc-de-east-1", false, false, "cloudfront.amazonaws.eu", "eusc-de-east-1"),
            ("us-iso-west-1", false, false, "cloudfront.c2s.ic.gov", "us-iso-east-1"),
            ("us-gov-east-1", false, false, "cloudfront.amazonaws.com", "us-gov-west-1"),
            ("us-gov-east-1", true, true, "cloudfront-fips.api.aws", "us-gov-west-1"),
        ] {
            let config = SdkConfig::builder().region(Region::new(region));
            let config = config.use_fips(fips).use_dual_stack(dual).build();
            assert_eq!(place(&config), (format!("https://{host}"), signed), "{region}");
        }
    }

    #[test]
    fn a_batch_is_written_as_documented() {
        let paths = ["/a&b".to_owned(), "/c*".to_owned()];
        let paths = Paths { quantity: 2, items: Items { path: &paths } };
        let batch = Batch { namespace: NAMESPACE, paths, caller_reference: "r" };
        assert_eq!(
            quick_xml::se::to_string(&batch).unwrap(),
            "<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>2</Quantity>\
             <Items><Path>/a&amp;b</Path><Path>/c*</Path></Items></Paths><CallerReference>r</CallerReference></InvalidationBatch>"
        );
    }
}
