//! What a configuration refers to on AWS: a parameter of Systems Manager, a secret of Secrets
//! Manager, an object of S3; and a parameter that is given a text.
//!
//! One signed request each (`GetParameter` with decryption, `GetSecretValue`, `GetObject`,
//! `PutParameter`), as `request` makes them. A text has at most 64 KiB (an object 1 MiB), and one
//! that is binary is refused. No error holds anything of what was read.

use aws_config::SdkConfig;
use http::{Method, StatusCode};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{
    Named, OPERATION, Service, Unusable, configuration, dns_suffix, is_bucket_name,
    request::{Answer, Call, Http, Pauses, Unanswered, code, is_denial, is_throttling, is_transient},
};

/// The longest secret.
const MAX_SECRET: usize = 64 * 1024;
/// The largest object.
const MAX_OBJECT: usize = 1024 * 1024;
/// What JSON around a secret may add to it.
const ENVELOPE: usize = 8 * 1024;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A parameter of Systems Manager, by name or ARN.
    Parameter(&'a str),
    /// A secret of Secrets Manager, by name or ARN; with a member, that one of a JSON object.
    Secret {
        /// Its name or ARN.
        id: &'a str,
        /// The member.
        member: Option<&'a str>,
    },
    /// An object of S3.
    Object {
        /// The bucket.
        bucket: &'a str,
        /// The key.
        key: &'a str,
    },
    /// A parameter of Systems Manager that gets a text, by name.
    NewValue {
        /// Its name.
        name: &'a str,
        /// The text.
        text: &'a str,
    },
}

/// Why something cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// AWS cannot be asked at all.
    #[error("{0}")]
    Unusable(#[from] Unusable),
    /// No credentials were found.
    #[error("there are no AWS credentials: {0}")]
    NoCredentials(String),
    /// There is no such parameter, secret or object.
    #[error("{0} does not exist in this account and region")]
    Missing(&'static str),
    /// This identity may not read it.
    #[error("this identity may not read it ({0}); it needs {1}")]
    Denied(String, &'static str),
    /// Too many requests, throughout.
    #[error("AWS was asked too often ({0}); try again later")]
    Throttled(String),
    /// No usable answer.
    #[error("AWS does not answer as it should: {0}")]
    Unavailable(String),
    /// Something else was wrong with the request.
    #[error("AWS does not take the request ({0})")]
    Refused(String),
    /// It is not text.
    #[error("it is binary; store it as text, in base64 where it stands for bytes")]
    Binary,
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It is longer than anything this is for.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// It is not a JSON object with that member.
    #[error("it is not a JSON object with the member that is named behind #, which has to be a text")]
    NoMember,
    /// Not a name of a bucket or key.
    #[error("s3://BUCKET/KEY needs the name of a bucket and of an object")]
    BadName,
}

impl Unreadable {
    /// Whether it says nothing of what was asked for, so that it may be there the next time.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unavailable(_))
    }
}

impl From<Unanswered> for Unreadable {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::NoCredentials(why) => Self::NoCredentials(why),
            Unanswered::NotSigned(why) => Self::Refused(why),
            Unanswered::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

/// Reads. One for as many texts as are needed at a time.
#[derive(Debug, Clone)]
pub struct Reader {
    http: Http,
}

impl Reader {
    /// Reads the system's certificate roots, and asks for nothing yet.
    ///
    /// # Errors
    ///
    /// [`Unreadable::Unavailable`] where there are no roots.
    pub fn new() -> Result<Self, Unreadable> {
        Ok(Self { http: Http::new()? })
    }

    /// Reads one text.
    ///
    /// # Errors
    ///
    /// [`Unreadable`]
    pub async fn read(&self, place: Place<'_>) -> Result<Zeroizing<String>, Unreadable> {
        let read = tokio::time::timeout(OPERATION, self.read_in_attempts(place)).await;
        read.unwrap_or_else(|_| Err(Unanswered::late(OPERATION).into()))
    }

    /// Gives a parameter of Systems Manager a text, unless it has it already: each change is a
    /// version, and AWS keeps a hundred. Returns whether it was changed.
    ///
    /// # Errors
    ///
    /// [`Unreadable`]
    pub async fn write_parameter(&self, name: &str, text: &str) -> Result<bool, Unreadable> {
        match self.read(Place::Parameter(name)).await {
            Ok(found) if found.as_str() == text => return Ok(false),
            Ok(_) | Err(Unreadable::Missing(_) | Unreadable::Empty) => {}
            Err(why) => return Err(why),
        }
        self.read(Place::NewValue { name, text }).await?;
        Ok(true)
    }

    async fn read_in_attempts(&self, place: Place<'_>) -> Result<Zeroizing<String>, Unreadable> {
        let service = place.service();
        let config = configuration(service, Named { region: place.region(), endpoint: None }).await?;
        let mut pauses = Pauses::new();
        loop {
            let outcome = self.attempt(place, &config).await;
            let throttled = matches!(outcome, Err(Unreadable::Throttled(_)));
            if !outcome.as_ref().is_err_and(Unreadable::may_pass) || !pauses.wait(throttled).await {
                return outcome;
            }
        }
    }

    async fn attempt(&self, place: Place<'_>, config: &SdkConfig) -> Result<Zeroizing<String>, Unreadable> {
        let most = place.longest() + ENVELOPE;
        let answer = self.http.ask(config, place.call(config)?, most).await?;
        let Some(body) = answer.body.as_deref() else {
            return Err(Unreadable::TooLong(place.longest()));
        };
        if answer.status != StatusCode::OK {
            return Err(failure(place, &answer));
        }
        let text = match place {
            Place::Object { .. } => {
                String::from_utf8(body.to_vec()).map(Zeroizing::new).map_err(|_| Unreadable::Binary)?
            }
            Place::Parameter(_) | Place::Secret { .. } => value(place, body)?,
            Place::NewValue { text, .. } => Zeroizing::new(text.to_owned()),
        };
        if text.trim().is_empty() {
            return Err(Unreadable::Empty);
        }
        if text.len() > place.longest() { Err(Unreadable::TooLong(place.longest())) } else { Ok(text) }
    }
}

impl<'a> Place<'a> {
    const fn service(self) -> Service {
        match self {
            Self::Parameter(_) | Self::NewValue { .. } => Service::Ssm,
            Self::Secret { .. } => Service::SecretsManager,
            Self::Object { .. } => Service::S3,
        }
    }

    /// As it is in host names and signatures.
    const fn signing_name(self) -> &'static str {
        match self {
            Self::Parameter(_) | Self::NewValue { .. } => "ssm",
            Self::Secret { .. } => "secretsmanager",
            Self::Object { .. } => "s3",
        }
    }

    /// What an identity needs to read it.
    const fn permission(self) -> &'static str {
        match self {
            Self::Parameter(_) => "ssm:GetParameter, and kms:Decrypt for the key of a SecureString",
            Self::Secret { .. } => "secretsmanager:GetSecretValue, and kms:Decrypt for a key of one's own",
            Self::Object { .. } => "s3:GetObject",
            Self::NewValue { .. } => "ssm:PutParameter",
        }
    }

    /// That of its ARN, which goes before that of the environment.
    fn region(self) -> Option<&'a str> {
        let name = match self {
            Self::Parameter(name) | Self::NewValue { name, .. } | Self::Secret { id: name, .. } => name,
            Self::Object { .. } => return None,
        };
        name.strip_prefix("arn:")?.split(':').nth(2).filter(|region| !region.is_empty())
    }

    const fn longest(self) -> usize {
        match self {
            Self::Parameter(_) | Self::NewValue { .. } | Self::Secret { .. } => MAX_SECRET,
            Self::Object { .. } => MAX_OBJECT,
        }
    }

    /// Operation and body of the JSON protocol.
    fn operation(self) -> Option<(&'static str, Value)> {
        match self {
            Self::Parameter(name) => {
                Some(("AmazonSSM.GetParameter", serde_json::json!({ "Name": name, "WithDecryption": true })))
            }
            Self::Secret { id, .. } => {
                Some(("secretsmanager.GetSecretValue", serde_json::json!({ "SecretId": id })))
            }
            Self::NewValue { name, text } => {
                let body =
                    serde_json::json!({ "Name": name, "Value": text, "Type": "String", "Overwrite": true });
                Some(("AmazonSSM.PutParameter", body))
            }
            Self::Object { .. } => None,
        }
    }

    fn call(self, config: &SdkConfig) -> Result<Call, Unreadable> {
        let url = self.url(config)?;
        let region = config.region().ok_or(Unusable::NoRegion)?.as_ref().to_owned();
        let service = self.signing_name();
        Ok(match self.operation() {
            Some((target, body)) => {
                let headers = vec![("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
                Call { method: Method::POST, url, headers, body: body.to_string().into(), service, region }
            }
            None => Call {
                method: Method::GET,
                url,
                headers: Vec::new(),
                body: Vec::new().into(),
                service,
                region,
            },
        })
    }

    fn url(self, config: &SdkConfig) -> Result<String, Unreadable> {
        let region = config.region().ok_or(Unusable::NoRegion)?.as_ref();
        let domain = dns_suffix(region);
        if config.endpoint_url().is_none() && config.use_dual_stack() == Some(true) {
            return Err(Unusable::Variant("AWS_USE_DUALSTACK_ENDPOINT").into());
        }
        let fips = if config.use_fips() == Some(true) { "-fips" } else { "" };
        let name = self.signing_name();
        let own = config.endpoint_url().map(|url| url.trim_end_matches('/').to_owned());
        let of_service = || format!("https://{name}{fips}.{region}.{domain}");
        let Self::Object { bucket, key } = self else {
            return Ok(format!("{}/", own.unwrap_or_else(of_service)));
        };
        if !is_bucket_name(bucket) || key.is_empty() {
            return Err(Unreadable::BadName);
        }
        let key: String = key.bytes().map(encoded).collect();
        Ok(match own {
            Some(own) => format!("{own}/{bucket}/{key}"),
            // A dot would make a host name of several labels, for which there is no certificate.
            None if bucket.contains('.') => format!("{}/{bucket}/{key}", of_service()),
            None => format!("https://{bucket}.s3{fips}.{region}.{domain}/{key}"),
        })
    }
}

/// One byte of a key, as a path has it.
fn encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// The text in an answer of the JSON protocol.
fn value(place: Place<'_>, body: &[u8]) -> Result<Zeroizing<String>, Unreadable> {
    let not_understood = || Unreadable::Unavailable("the answer is not the documented one".to_owned());
    let answer: Value = serde_json::from_slice(body).map_err(|_| not_understood())?;
    let text = match place {
        Place::Secret { .. } if answer.get("SecretString").is_none() => {
            return Err(if answer.get("SecretBinary").is_some() {
                Unreadable::Binary
            } else {
                not_understood()
            });
        }
        Place::Secret { .. } => answer.get("SecretString"),
        Place::Parameter(_) | Place::NewValue { .. } | Place::Object { .. } => {
            answer.get("Parameter").and_then(|p| p.get("Value"))
        }
    };
    let text = text.and_then(Value::as_str).ok_or_else(not_understood)?;
    let Place::Secret { member: Some(member), .. } = place else {
        return Ok(Zeroizing::new(text.to_owned()));
    };
    let object: Value = serde_json::from_str(text).map_err(|_| Unreadable::NoMember)?;
    let text = object.get(member).and_then(Value::as_str).ok_or(Unreadable::NoMember)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// What a refusal means, by its code.
fn failure(place: Place<'_>, answer: &Answer) -> Unreadable {
    let (status, code) = (answer.status, code(answer));
    let shown = if code.is_empty() { status.to_string() } else { code.clone() };
    match code.as_str() {
        "ParameterNotFound" | "ParameterVersionNotFound" => Unreadable::Missing("the parameter"),
        "ResourceNotFoundException" => Unreadable::Missing("the secret"),
        "NoSuchKey" => Unreadable::Missing("the object"),
        "NoSuchBucket" => Unreadable::Missing("the bucket"),
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            Unreadable::Refused(format!("{shown}: the bucket is in another region"))
        }
        "InvalidRequestException" => Unreadable::Refused(format!("{shown}: the secret is being deleted")),
        "DecryptionFailure" | "InvalidKeyId" => Unreadable::Denied(shown, place.permission()),
        code if is_throttling(status, code) => Unreadable::Throttled(shown),
        code if is_denial(status, code) => Unreadable::Denied(shown, place.permission()),
        code if is_transient(status, code) => Unreadable::Unavailable(shown),
        _ => Unreadable::Refused(shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_config::Region;

    fn url(place: Place<'_>, region: &'static str, fips: bool) -> Result<String, Unreadable> {
        place.url(&SdkConfig::builder().region(Region::new(region)).use_fips(fips).build())
    }

    #[test]
    fn secrets_are_asked_for_at_a_host_of_the_regions_partition() {
        let object = Place::Object { bucket: "a-bucket", key: "k" };
        let dotted = Place::Object { bucket: "a.bucket", key: "k" };
        let secret = Place::Secret { id: "name", member: None };
        for (place, region, fips, expected) in [
            (Place::Parameter("/a"), "eu-central-1", false, "https://ssm.eu-central-1.amazonaws.com/"),
            (Place::Parameter("/a"), "us-east-1", true, "https://ssm-fips.us-east-1.amazonaws.com/"),
            (Place::Parameter("/a"), "eusc-de-east-1", false, "https://ssm.eusc-de-east-1.amazonaws.eu/"),
            (secret, "us-iso-east-1", false, "https://secretsmanager.us-iso-east-1.c2s.ic.gov/"),
            (secret, "cn-north-1", false, "https://secretsmanager.cn-north-1.amazonaws.com.cn/"),
            (object, "us-isob-east-1", false, "https://a-bucket.s3.us-isob-east-1.sc2s.sgov.gov/k"),
            (dotted, "eusc-de-east-1", false, "https://s3.eusc-de-east-1.amazonaws.eu/a.bucket/k"),
        ] {
            assert_eq!(url(place, region, fips).as_deref(), Ok(expected), "{place:?} {region}");
        }
    }

    #[test]
    fn what_is_no_name_of_a_bucket_becomes_no_part_of_a_host() {
        for bucket in ["192.168.5.4", "a.-b", "a..b", "-ab", "Ab", "ab"] {
            let place = Place::Object { bucket, key: "k" };
            assert_eq!(url(place, "eu-central-1", false), Err(Unreadable::BadName), "{bucket}");
        }
    }
}
