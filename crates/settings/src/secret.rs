//! Secrets by reference: the configuration says where a secret is, never what it is.
//!
//! So a configuration can be shown, logged and committed. Reading gives text that is wiped when it is dropped, and errors
//! name the place alone. The kinds of reference are those of [`SecretRef`]; anything else is refused.

use crate::{Environment, files};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};
use zeroize::Zeroizing;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `file:PATH`, relative to the configuration file.
    File(PathBuf),
    /// `env:NAME`.
    Env(String),
}

/// Why a secret can not be had. Never holds it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The reference itself is neither of the two.
    #[error("write env:NAME or file:PATH")]
    Malformed,
    /// `env:` names a variable that is not set, or is empty.
    #[error("the environment variable {0} is not set")]
    NoVariable(String),
    /// `file:` names a file that is not there.
    #[error("there is no file {0}")]
    NoFile(PathBuf),
    /// `file:` names a file that is there and can not be read.
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
    /// Reads the secret. A relative file begins in `folder`; its content is given as it is, a last line break included.
    pub fn read(&self, folder: &Path, environment: &Environment) -> Result<Zeroizing<String>, SecretError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_file_or_a_variable_and_is_shown_as_it_was_written() {
        for text in ["file:sealing.key", "file:/run/secrets/key", "env:KEY"] {
            assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
        }
        for text in ["", "file:", "env:", "plain-text", "vault:key"] {
            let why = text.parse::<SecretRef>().unwrap_err();
            assert_eq!(why.to_string(), "write env:NAME or file:PATH");
        }
    }

    #[test]
    fn a_secret_that_is_not_there_is_named_by_its_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "a-secret\n").unwrap();
        let read = |text: &str| {
            let reference: SecretRef = text.parse().unwrap();
            reference.read(folder.path(), &Environment::of(&[("KEY", "a-secret"), ("EMPTY", "")]))
        };
        assert_eq!(read("file:key").unwrap().as_str(), "a-secret\n");
        assert_eq!(read("env:KEY").unwrap().as_str(), "a-secret");
        assert!(matches!(read("file:other"), Err(SecretError::NoFile(path)) if path.ends_with("other")));
        assert!(matches!(read("file:."), Err(SecretError::Unreadable(..))));
        assert!(matches!(read("env:EMPTY"), Err(SecretError::NoVariable(name)) if name == "EMPTY"));
    }
}
