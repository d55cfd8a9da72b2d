//! Where a sealing key is: a secret by reference, or a key of AWS KMS.

use crate::kms;
use countersign_settings::SecretRef;
use std::{fmt, str::FromStr};

/// A reference to a sealing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SealingRef {
    /// The key itself is there.
    Secret(SecretRef),
    /// It is in the store, under this key of KMS: an id, an ARN or an alias.
    Kms(String),
}

impl FromStr for SealingRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("kms:") {
            None => text.parse().map(Self::Secret).map_err(
                |_| "write file:PATH, shared-file:PATH, env:NAME, ssm:/NAME, secretsmanager:ARN or kms:KEY",
            ),
            Some("") => Err("kms: names no key; write kms: and a key id, an ARN or alias/NAME"),
            Some(_) if !cfg!(feature = "kms") => Err(kms::NOT_BUILT_IN),
            Some(key) => Ok(Self::Kms(key.to_owned())),
        }
    }
}

impl fmt::Display for SealingRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(secret) => secret.fmt(f),
            Self::Kms(key) => write!(f, "kms:{key}"),
        }
    }
}
