//! Secrets by reference: the configuration says where a secret is, never what it is.

use crate::{environment::Environment, files};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};
use zeroize::Zeroizing;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretRef {
    /// `file:PATH`, relative to the configuration file.
    File(PathBuf),
    /// `env:NAME`.
    Env(String),
}

/// Why a secret can not be had. Never holds it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("write env:NAME or file:PATH")]
    Malformed,
    #[error("the environment variable {0} is not set")]
    NoVariable(String),
    #[error("there is no file {0}")]
    NoFile(PathBuf),
    #[error("the file {0} can not be read: {1}")]
    Unreadable(PathBuf, io::Error),
}

impl FromStr for SecretRef {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.into())),
            _ => Err(SecretError::Malformed),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}

impl SecretRef {
    /// Reads the secret.
    pub(crate) fn read(
        &self,
        folder: &Path,
        environment: &Environment,
    ) -> Result<Zeroizing<String>, SecretError> {
        match self {
            Self::Env(name) => {
                let value = environment.get(name).ok_or_else(|| SecretError::NoVariable(name.clone()))?;
                Ok(Zeroizing::new(value.to_owned()))
            }
            Self::File(path) => {
                let path = folder.join(path);
                files::read_text(&path).map(Zeroizing::new).map_err(|why| match why.kind() {
                    io::ErrorKind::NotFound => SecretError::NoFile(path),
                    _ => SecretError::Unreadable(path, why),
                })
            }
        }
    }
}
