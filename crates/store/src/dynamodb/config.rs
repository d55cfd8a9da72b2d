//! `DynamoDbConfig`: which table, in which region, at which endpoint; taken from a URL.
//!
//! `dynamodb://TABLE?region=…&endpoint=…`. What the URL leaves open comes from where every AWS tool
//! finds it. Credentials come from there alone: a URL that has any is refused, and nothing of it is
//! repeated. What an endpoint is asked carries documents, so only one on this machine may be asked
//! in plain text. Table names are checked as AWS does (Amazon DynamoDB developer guide, "Supported
//! data types and naming rules").

use std::{fmt, time::Duration};

use countersign_aws::SdkConfig;

use crate::{Engine, StoreError, StoreUrl};

/// Which table and how it is asked. `Debug` shows what may be shown.
#[derive(Clone)]
pub struct DynamoDbConfig {
    /// How errors call it.
    pub(super) place: String,
    pub(super) table: String,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    /// Credentials, time-outs and retries; `None`: those of this process. The region and endpoint
    /// of a URL go before.
    pub aws: Option<SdkConfig>,
    /// How many requests this process has under way at most; the others wait for their turn.
    pub in_flight: usize,
    /// How long an operation waits for its turn.
    pub turn_timeout: Duration,
    /// How long [`create`](crate::create) waits for a table to be ready for use.
    pub ready_timeout: Duration,
    /// The pause between two looks at a table that is being made.
    pub ready_pause: Duration,
}

/// Each is a connection of its own. AWS's own clients have 50; documents are large and few here.
const IN_FLIGHT: usize = 32;
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// AWS takes some ten seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(300);
const READY_PAUSE: Duration = Duration::from_secs(1);

impl DynamoDbConfig {
    /// What `url` says, and the usual patience.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the URL does not hold together; it repeats nothing that
    /// may be secret.
    pub fn parse(url: &StoreUrl) -> Result<Self, StoreError> {
        let place = format!("the DynamoDB store {url}");
        let refuse =
            |reason: &str| StoreError::Misconfigured { place: place.clone(), reason: reason.to_owned() };
        let location = url.location_of(Engine::DynamoDb).and_then(|location| location.strip_prefix("//"));
        let rest = location.ok_or_else(|| refuse("write `dynamodb://TABLE`"))?;
        if rest.contains('@') {
            return Err(refuse(
                "credentials have no place in it; they come from where AWS's own tools find them (AWS_ACCESS_KEY_ID, \
                 AWS_PROFILE, the role of the function, container or instance)",
            ));
        }
        let (table, options) = rest.split_once('?').unwrap_or((rest, ""));
        if !is_table_name(table) {
            return Err(refuse("the name of a table is 3 to 255 of `A-Z a-z 0-9 _ . -`: `dynamodb://TABLE`"));
        }
        let (mut region, mut endpoint) = (None, None);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let (place, fits, remedy) = match name {
                "region" => {
                    (&mut region, countersign_aws::is_region(value), "`region` is a name like eu-central-1")
                }
                "endpoint" => (
                    &mut endpoint,
                    countersign_aws::is_endpoint(value),
                    "`endpoint` is https://HOST, or http://127.0.0.1:PORT on this machine",
                ),
                _ => return Err(refuse("it has an option that is not known; known are region, endpoint")),
            };
            if !fits {
                return Err(refuse(remedy));
            }
            if place.replace(value.to_owned()).is_some() {
                return Err(refuse("it has an option twice"));
            }
        }
        Ok(Self {
            place,
            table: table.to_owned(),
            region,
            endpoint,
            aws: None,
            in_flight: IN_FLIGHT,
            turn_timeout: TURN_TIMEOUT,
            ready_timeout: READY_TIMEOUT,
            ready_pause: READY_PAUSE,
        })
    }
}

impl fmt::Debug for DynamoDbConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDbConfig")
            .field("table", &self.table)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

fn is_table_name(text: &str) -> bool {
    (3..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<DynamoDbConfig, StoreError> {
        DynamoDbConfig::parse(&StoreUrl::parse(url)?)
    }

    #[test]
    fn takes_a_url_apart() {
        let config = parse("dynamodb://countersign").unwrap();
        assert_eq!(
            (config.table.as_str(), config.region, config.endpoint),
            ("countersign", None, None),
            "the rest comes from the environment"
        );
        let config =
            parse("DynamoDB://My_table-1.x?region=eu-central-1&endpoint=https://vpce-1.example").unwrap();
        assert_eq!(config.table, "My_table-1.x");
        assert_eq!(config.region.as_deref(), Some("eu-central-1"));
        assert_eq!(config.endpoint.as_deref(), Some("https://vpce-1.example"));
    }

    #[test]
    fn refuses_what_cannot_be_meant_and_repeats_none_of_it() {
        let long = format!("dynamodb://{}", "t".repeat(256));
        for (url, hint) in [
            ("dynamodb:table", "write `dynamodb://TABLE`"),
            ("dynamodb://", "the name of a table"),
            ("dynamodb://ab", "the name of a table"),
            (&long, "the name of a table"),
            ("dynamodb://table/more", "the name of a table"),
            ("dynamodb://t%61ble", "the name of a table"),
            ("dynamodb://täble", "the name of a table"),
            ("dynamodb://AKIA:SECRET@table", "credentials have no place in it"),
            ("dynamodb://table?endpoint=http://AKIA:SECRET@127.0.0.1", "credentials have no place in it"),
            ("dynamodb://table?secret_access_key=SECRET", "known are region, endpoint"),
            ("dynamodb://table?SECRET", "known are region, endpoint"),
            ("dynamodb://table?region=", "`region` is"),
            ("dynamodb://table?region=evil.example/SECRET", "`region` is"),
            ("dynamodb://table?region=-x", "`region` is"),
            ("dynamodb://table?region=a&region=b", "an option twice"),
            ("dynamodb://table?endpoint=http://10.0.0.1:8000", "`endpoint` is https://HOST"),
            ("dynamodb://table?endpoint=https://h/path", "`endpoint` is https://HOST"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code(), "store_misconfigured", "{url}");
            let text = format!("{error} {error:?}");
            assert!(text.contains(hint) && !text.contains("SECRET"), "{url}: {text}");
        }
    }
}
