//! The first and the last record of a server: what runs here with what, and what ended it.
//!
//! One record at the start says everything that somebody asks who was not there: version, issuer,
//! address, store, configuration, the key that signs in each ring, what was compiled in. No secret
//! is in it: of the store's URL what its type shows, of a reference its name. Pinned by
//! tests/e2e/test_start_record.py, which puts secrets into every place there is.

use crate::{config::Config, stores};
use countersign_issuer::Issuer;
use countersign_settings::Environment;

/// What was compiled in, beside what is always there.
const FEATURES: [(&str, bool); 11] = [
    ("sqlite", cfg!(feature = "sqlite")),
    ("postgres", cfg!(feature = "postgres")),
    ("dynamodb", cfg!(feature = "dynamodb")),
    ("mongodb", cfg!(feature = "mongodb")),
    ("s3", cfg!(feature = "s3")),
    ("kms", cfg!(feature = "kms")),
    ("cloudfront", cfg!(feature = "cloudfront")),
    ("aws-secrets", cfg!(feature = "aws-secrets")),
    ("uploads", cfg!(feature = "uploads")),
    ("lambda", cfg!(feature = "lambda")),
    ("json-schema", cfg!(feature = "json-schema")),
];

/// What a configuration says that is not asked again once it is at work.
#[derive(Debug)]
pub(super) struct Place {
    store: String,
    configuration: String,
}

impl Place {
    pub(super) fn of(config: &Config, environment: &Environment, configuration: String) -> Self {
        let typed = &config.raw.store.url;
        let meant = stores::fetched_url(typed, &config.folder, environment);
        let (typed, meant) = (stores::shown(typed), meant.map(|url| stores::shown(&url)));
        let store = match meant {
            Ok(meant) if meant != typed => format!("{meant} ({typed})"),
            Ok(_) | Err(_) => typed,
        };
        Self { store, configuration }
    }
}

/// The record at the start.
pub(super) fn tell(place: &Place, issuer: &Issuer, listen: &str) {
    let keyring = issuer.keyring();
    let rings: Vec<_> = keyring
        .rings()
        .map(|(name, ring)| format!("{name} {}", ring.active().map_or("(no key)", |signer| signer.kid())))
        .collect();
    let features: Vec<_> = FEATURES.iter().filter(|(_, is_in)| *is_in).map(|(name, _)| *name).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        issuer = issuer.settings().issuer.as_str(),
        listen,
        store = place.store,
        configuration = place.configuration,
        rings = rings.join(", "),
        features = features.join(","),
        pid = std::process::id(),
        "started"
    );
}
