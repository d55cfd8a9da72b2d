//! Paths that the caches of a CloudFront distribution are to forget (Amazon CloudFront API
//! Reference, `CreateInvalidation` and `GetInvalidation`).
//!
//! One signed request each, as `request` makes them. An invalidation has a reference, which makes
//! it harmless to ask for it again.

use aws_config::SdkConfig;
use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};

use crate::{
    Named, OPERATION, Service, Unusable, configuration, dns_suffix,
    request::{Call, Http, Pauses, Unanswered, code, is_denial, is_throttling},
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
    /// There is no such distribution.
    #[error("there is no such distribution")]
    NoDistribution,
    /// This identity may not.
    #[error("this identity may not ({0})")]
    Denied(String),
    /// It does not take the request, by its code.
    #[error("it refuses ({0})")]
    Refused(String),
    /// No usable answer, or none that it can be asked for again.
    #[error("{0}")]
    Unavailable(String),
}

/// What becomes of an invalidation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Invalidation {
    /// By which it can be asked for.
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
    distribution: String,
}

impl Invalidations {
    /// Those of the distribution with this id, which is to be letters and digits. Asks AWS for
    /// nothing yet.
    ///
    /// # Errors
    ///
    /// [`NotInvalidated::Unusable`]
    pub async fn of(distribution: &str) -> Result<Self, NotInvalidated> {
        let config = match configuration(Service::CloudFront, Named::default()).await {
            Err(Unusable::NoRegion) => {
                configuration(Service::CloudFront, Named { region: Some(REGION), endpoint: None }).await
            }
            found => found,
        };
        let config = config.map_err(NotInvalidated::Unusable)?;
        Ok(Self { http: Http::new()?, config, distribution: distribution.to_owned() })
    }

    /// Has `paths` forgotten. `reference` is the name of this wish: however often it is asked for
    /// under it, there is one invalidation.
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
            if !matches!(outcome, Err(NotInvalidated::Unavailable(_))) || !pauses.wait().await {
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
        let (base, region) = place(&self.config)?;
        let call = Call {
            method,
            url: format!("{base}/2020-05-31/distribution/{}/invalidation{below}", self.distribution),
            headers: if body.is_empty() { Vec::new() } else { vec![("content-type", "application/xml")] },
            body,
            service: "cloudfront",
            region: region.to_owned(),
        };
        let answer = self.http.ask(&self.config, call, LONGEST).await?;
        if answer.status.is_success() {
            let not_understood =
                || NotInvalidated::Refused("the answer is not the documented one".to_owned());
            let body = answer.body.ok_or_else(not_understood)?;
            let found: Invalidation = quick_xml::de::from_reader(&*body).map_err(|_| not_understood())?;
            // It becomes a part of a path.
            let is_id = !found.id.is_empty() && found.id.bytes().all(|b| b.is_ascii_alphanumeric());
            return if is_id { Ok(found) } else { Err(not_understood()) };
        }
        let (status, code) = (answer.status, code(&answer));
        let shown = if code.is_empty() { status.to_string() } else { code.clone() };
        Err(match code.as_str() {
            "NoSuchDistribution" => NotInvalidated::NoDistribution,
            code if is_throttling(status, code) || status.is_server_error() => {
                NotInvalidated::Unavailable(format!("it answers {shown}"))
            }
            code if is_denial(status, code) => NotInvalidated::Denied(shown),
            _ => NotInvalidated::Refused(shown),
        })
    }
}

/// Where the API of CloudFront is, one for all regions of a partition, and the region that
/// signatures name.
fn place(config: &SdkConfig) -> Result<(String, &'static str), NotInvalidated> {
    let region = config.region().map(|region| region.as_ref()).unwrap_or(REGION);
    let domain = dns_suffix(region);
    // The SDK's rules for partitions, whose `implicitGlobalRegion` this is.
    let (infix, signed) = match domain {
        "amazonaws.com.cn" => (".cn-northwest-1", "cn-northwest-1"),
        "amazonaws.eu" => ("", "eusc-de-east-1"),
        "c2s.ic.gov" => ("", "us-iso-east-1"),
        "sc2s.sgov.gov" => ("", "us-isob-east-1"),
        "cloud.adc-e.uk" => ("", "eu-isoe-west-1"),
        "csp.hci.ic.gov" => ("", "us-isof-south-1"),
        _ if region.starts_with("us-gov-") => ("", "us-gov-west-1"),
        _ => ("", REGION),
    };
    if let Some(own) = config.endpoint_url() {
        return Ok((own.trim_end_matches('/').to_owned(), signed));
    }
    let fips = if config.use_fips() == Some(true) { "-fips" } else { "" };
    match (config.use_dual_stack(), domain) {
        (Some(true), "amazonaws.com") => Ok((format!("https://cloudfront{fips}.global.api.aws"), signed)),
        (Some(true), _) => Err(NotInvalidated::Unusable(Unusable::Variant("AWS_USE_DUALSTACK_ENDPOINT"))),
        _ => Ok((format!("https://cloudfront{fips}{infix}.{domain}"), signed)),
    }
}

impl From<Unanswered> for NotInvalidated {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Unusable(why) => Self::Unusable(why),
            Unanswered::NoCredentials(why) => {
                Self::Unavailable(format!("there are no AWS credentials: {why}"))
            }
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
        // Those of the SDK's endpoint rules for CloudFront.
        for (region, fips, host, signed) in [
            ("eu-central-1", false, "https://cloudfront.amazonaws.com", "us-east-1"),
            ("us-east-1", true, "https://cloudfront-fips.amazonaws.com", "us-east-1"),
            ("cn-north-1", false, "https://cloudfront.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"),
            ("eusc-de-east-1", false, "https://cloudfront.amazonaws.eu", "eusc-de-east-1"),
            ("us-iso-west-1", false, "https://cloudfront.c2s.ic.gov", "us-iso-east-1"),
            ("us-gov-east-1", false, "https://cloudfront.amazonaws.com", "us-gov-west-1"),
        ] {
            let config = SdkConfig::builder().region(Region::new(region)).use_fips(fips).build();
            assert_eq!(place(&config).unwrap(), (host.to_owned(), signed), "{region}");
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
