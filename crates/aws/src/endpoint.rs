//! Where a service is asked: the endpoint of the environment, under one rule for every service.
//!
//! The first of these counts: what is named (`?endpoint=` of a store URL), the endpoint of the
//! service (`AWS_ENDPOINT_URL_S3`, or `services` in the profile), that of all services
//! (`AWS_ENDPOINT_URL`, `endpoint_url`), as the AWS SDKs and Tools Reference Guide has it
//! ("Service-specific endpoints"). Requests carry documents, data keys and session tokens, so an
//! endpoint is `https://`, or on this machine. FIPS and dual-stack endpoints are AWS' own: together
//! with another endpoint they cannot be had, and that is refused here rather than by each request.

use aws_config::{Region, SdkConfig};
use aws_types::service_config::ServiceConfigKey;

use crate::names::{is_endpoint, is_region};

/// A service that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Amazon CloudFront.
    CloudFront,
    /// Amazon DynamoDB.
    DynamoDb,
    /// AWS Key Management Service.
    Kms,
    /// Amazon S3.
    S3,
    /// AWS Secrets Manager.
    SecretsManager,
    /// AWS Systems Manager, whose parameters are read.
    Ssm,
}

impl Service {
    /// As the names of variables and profiles have it.
    const fn id(self) -> &'static str {
        match self {
            Self::CloudFront => "CloudFront",
            Self::DynamoDb => "DynamoDB",
            Self::Kms => "KMS",
            Self::S3 => "S3",
            Self::SecretsManager => "Secrets Manager",
            Self::Ssm => "SSM",
        }
    }
}

/// What a URL or a command line names; it goes before the environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Named<'a> {
    /// The region.
    pub region: Option<&'a str>,
    /// The endpoint.
    pub endpoint: Option<&'a str>,
}

/// Why AWS cannot be asked with what is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// No region is named or configured.
    NoRegion,
    /// An endpoint that is neither `https://` nor on this machine, by the name of its variable.
    Endpoint(String),
    /// An endpoint together with a wish for AWS' FIPS or dual-stack endpoints, by the name of its
    /// variable.
    Variant(&'static str),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRegion => {
                f.write_str("no AWS region is set; set AWS_REGION, or `region` in the AWS profile")
            }
            // The value is not repeated: whatever was pasted there by mistake may be a secret.
            Self::Endpoint(variable) => write!(
                f,
                "the endpoint ({variable}, or `endpoint_url` in the AWS profile) is not one that may be asked; it has to \
                 be https://HOST, or http://127.0.0.1:PORT on this machine"
            ),
            Self::Variant(variable) => {
                write!(f, "{variable} cannot be had together with another endpoint; remove one of them")
            }
        }
    }
}

impl std::error::Error for Unusable {}

/// Finds the endpoint of `service`, and checks it and the region. The configuration holds both
/// then.
pub(crate) fn settle(config: SdkConfig, service: Service, named: Named<'_>) -> Result<SdkConfig, Unusable> {
    let region = named.region.or_else(|| config.region().map(Region::as_ref));
    // A variable that is set to nothing sets nothing, and an invalid name would become part of
    // a host's.
    let region = region.filter(|region| is_region(region)).ok_or(Unusable::NoRegion)?;
    let region = Region::new(region.to_owned());

    // STS is sent tokens that prove who this process is, and its answer is credentials.
    check(&endpoint_of(&config, "STS"))?;
    let endpoint = match named.endpoint {
        Some(named) => Some((named.to_owned(), "`endpoint`".to_owned())),
        None => endpoint_of(&config, service.id()),
    };
    check(&endpoint)?;
    if endpoint.is_some() {
        let variants = [
            (config.use_fips(), "AWS_USE_FIPS_ENDPOINT"),
            (config.use_dual_stack(), "AWS_USE_DUALSTACK_ENDPOINT"),
        ];
        if let Some((_, variable)) = variants.into_iter().find(|(wanted, _)| *wanted == Some(true)) {
            return Err(Unusable::Variant(variable));
        }
    }
    let mut settled = config.into_builder().region(region);
    settled.set_endpoint_url(endpoint.map(|(url, _)| url));
    Ok(settled.build())
}

/// The endpoint that the environment or the profile has for a service, and the variable that names
/// it.
fn endpoint_of(config: &SdkConfig, service: &str) -> Option<(String, String)> {
    let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url");
    let own = key.build().ok().and_then(|key| config.service_config()?.load_config(key));
    let all = config.endpoint_url().filter(|url| !url.is_empty());
    // Where the service has none of its own, that of all services is found there, too.
    if let Some(own) = own.filter(|url| !url.is_empty() && all != Some(url)) {
        return Some((own, format!("AWS_ENDPOINT_URL_{}", service.to_ascii_uppercase().replace(' ', "_"))));
    }
    Some((all?.to_owned(), "AWS_ENDPOINT_URL".to_owned()))
}

fn check(endpoint: &Option<(String, String)>) -> Result<(), Unusable> {
    match endpoint {
        Some((url, variable)) if !is_endpoint(url) => Err(Unusable::Endpoint(variable.clone())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use aws_types::service_config::LoadServiceConfig;

    use super::*;

    /// Endpoints by service, as the environment has them.
    #[derive(Debug)]
    struct Environment {
        all: Option<String>,
        own: Vec<(&'static str, &'static str)>,
    }

    impl LoadServiceConfig for Environment {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            assert_eq!((key.env(), key.profile()), ("AWS_ENDPOINT_URL", "endpoint_url"));
            let found = self.own.iter().find(|(service, _)| service.eq_ignore_ascii_case(key.service_id()));
            // As the SDK does (aws-runtime, `env_config`).
            found.map(|(_, url)| (*url).to_owned()).or_else(|| self.all.clone())
        }
    }

    const ALL: [Service; 6] = [
        Service::CloudFront,
        Service::DynamoDb,
        Service::Kms,
        Service::S3,
        Service::SecretsManager,
        Service::Ssm,
    ];
    const FAR: &str = "http://10.0.0.5:4566";
    const HERE: &str = "http://127.0.0.1:4566";

    fn config(all: Option<&str>, own: &[(&'static str, &'static str)]) -> SdkConfig {
        let mut config = SdkConfig::builder().region(Region::new("eu-central-1"));
        config.set_endpoint_url(all.map(str::to_owned));
        config.service_config(Environment { all: all.map(str::to_owned), own: own.to_vec() }).build()
    }

    fn endpoint(
        config: SdkConfig,
        service: Service,
        named: Option<&str>,
    ) -> Result<Option<String>, Unusable> {
        let settled = settle(config, service, Named { region: None, endpoint: named })?;
        Ok(settled.endpoint_url().map(str::to_owned))
    }

    #[test]
    fn no_service_is_asked_in_plain_text_on_another_machine() {
        for service in ALL {
            let refused = Err(Unusable::Endpoint("AWS_ENDPOINT_URL".to_owned()));
            assert_eq!(endpoint(config(Some(FAR), &[]), service, None), refused, "{service:?}");
            let own = format!("AWS_ENDPOINT_URL_{}", service.id().to_ascii_uppercase().replace(' ', "_"));
            let refused = Err(Unusable::Endpoint(own));
            let settled = endpoint(config(Some(HERE), &[(service.id(), FAR)]), service, None);
            assert_eq!(settled, refused, "{service:?}");
            let sts = Err(Unusable::Endpoint("AWS_ENDPOINT_URL_STS".to_owned()));
            assert_eq!(endpoint(config(None, &[("STS", FAR)]), service, None), sts, "{service:?}");
            let named = Err(Unusable::Endpoint("`endpoint`".to_owned()));
            assert_eq!(endpoint(config(None, &[]), service, Some(FAR)), named, "{service:?}");
        }
    }

    #[test]
    fn the_nearest_endpoint_counts_for_every_service() {
        let (own, all) = ("https://own.example", "https://all.example");
        for service in ALL {
            let id = service.id();
            let found = |all, of: &[_], named| endpoint(config(all, of), service, named).unwrap();
            assert_eq!(found(None, &[], None), None, "{id}");
            assert_eq!(found(Some(all), &[], None).as_deref(), Some(all), "{id}");
            assert_eq!(found(Some(""), &[(id, "")], None), None, "{id}: set to nothing");
            assert_eq!(found(Some(all), &[(id, own)], None).as_deref(), Some(own), "{id}");
            assert_eq!(found(Some(all), &[("EC2", own)], None).as_deref(), Some(all), "{id}");
            assert_eq!(found(Some(all), &[(id, own)], Some(HERE)).as_deref(), Some(HERE), "{id}");
            assert_eq!(found(None, &[("EC2", FAR)], None), None, "{id}: nobody asks that one");
        }
    }

    #[test]
    fn variants_of_aws_own_endpoints_are_kept_or_refused_by_name() {
        for service in ALL {
            let with = |all| config(all, &[]).into_builder().use_fips(true).build();
            assert_eq!(settle(with(None), service, Named::default()).unwrap().use_fips(), Some(true));
            let refused = endpoint(with(Some(HERE)), service, None);
            assert_eq!(refused, Err(Unusable::Variant("AWS_USE_FIPS_ENDPOINT")), "{service:?}");
            let dual_stack = config(Some(HERE), &[]).into_builder().use_dual_stack(true).build();
            let refused = endpoint(dual_stack, service, None);
            assert_eq!(refused, Err(Unusable::Variant("AWS_USE_DUALSTACK_ENDPOINT")), "{service:?}");
        }
    }

    #[test]
    fn a_region_is_needed_and_the_one_that_is_named_goes_first() {
        let region = |config: SdkConfig, named| {
            let settled = settle(config, Service::S3, Named { region: named, endpoint: None });
            settled.map(|config| config.region().map(ToString::to_string))
        };
        let nowhere = SdkConfig::builder().build();
        assert_eq!(region(nowhere.clone(), None), Err(Unusable::NoRegion));
        assert_eq!(region(nowhere.clone(), Some("evil.example/")), Err(Unusable::NoRegion));
        assert_eq!(region(nowhere, Some("us-east-1")), Ok(Some("us-east-1".to_owned())));
        assert_eq!(region(config(None, &[]), Some("us-east-1")), Ok(Some("us-east-1".to_owned())));
        assert_eq!(region(config(None, &[]), None), Ok(Some("eu-central-1".to_owned())));
    }

    #[test]
    fn no_message_repeats_an_endpoint() {
        let secret = "http://me:SECRET@10.0.0.5";
        let refused = endpoint(config(Some(secret), &[]), Service::Kms, None).unwrap_err();
        assert!(refused.to_string().contains("(AWS_ENDPOINT_URL,"), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains("SECRET"), "{refused}");
    }
}
