//! How a command ends when it does not end well: one line for people, or one JSON object, and the right exit code.

use countersign_issuer::{IssuerError, MintError};
use countersign_keyring::{KeyringError, ServiceError};
use countersign_settings::SettingsError;
use countersign_store::StoreError;
use std::{fmt, process::ExitCode};

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    code: &'static str,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refused,
    Usage,
    Configuration,
    Internal,
}

/// What every command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// A token or a check was refused: exit code 1.
pub(crate) fn refused(code: &'static str, message: impl fmt::Display) -> Failure {
    Failure { kind: Kind::Refused, code, message: message.to_string() }
}

/// The command line makes no sense: exit code 2.
pub(crate) fn usage(message: impl fmt::Display) -> Failure {
    Failure { kind: Kind::Usage, code: "usage", message: message.to_string() }
}

/// The configuration has to change: exit code 78.
pub(crate) fn configuration(message: impl fmt::Display) -> Failure {
    Failure { kind: Kind::Configuration, code: "bad_configuration", message: message.to_string() }
}

/// Something failed that nobody asked for: exit code 70.
pub(crate) fn internal(message: impl fmt::Display) -> Failure {
    Failure { kind: Kind::Internal, code: "internal", message: message.to_string() }
}

impl Failure {
    /// The message with what it is about in front.
    pub(crate) fn about(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// Prints a failure and gives its exit code.
pub(crate) fn report(failure: &Failure, json: bool) -> ExitCode {
    if json {
        let body = serde_json::json!({ "error": failure.code, "message": failure.message });
        crate::output::line(&body.to_string());
    } else {
        // One line, whatever a library put into its message.
        let message = failure.message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        crate::output::error_line(&format!("countersign: {message}"));
    }
    ExitCode::from(match failure.kind {
        Kind::Refused => 1,
        Kind::Usage => 2,
        Kind::Configuration => 78,
        Kind::Internal => 70,
    })
}

impl From<StoreError> for Failure {
    fn from(why: StoreError) -> Self {
        let kind = match why {
            StoreError::Denied { .. } | StoreError::Corrupt { .. } | StoreError::Misconfigured { .. } => {
                Kind::Configuration
            }
            StoreError::Conflict { .. } | StoreError::Unavailable { .. } | StoreError::TooLarge { .. } => {
                Kind::Internal
            }
        };
        Self { kind, code: why.code(), message: why.to_string() }
    }
}

impl From<KeyringError> for Failure {
    fn from(why: KeyringError) -> Self {
        let (code, message) = (why.code(), why.to_string());
        let kind = match why {
            KeyringError::Store(why) => return why.into(),
            KeyringError::DataKey { why, .. } | KeyringError::Service(why) => kind_of(&why),
            KeyringError::Seal { .. }
            | KeyringError::NoService { .. }
            | KeyringError::Sealing(_)
            | KeyringError::Corrupt(_)
            | KeyringError::NewerFormat { .. } => Kind::Configuration,
            KeyringError::Key(_) | KeyringError::Lifecycle(_) => Kind::Refused,
            KeyringError::Contended | KeyringError::Certificate { .. } => Kind::Internal,
        };
        Self { kind, code, message }
    }
}

impl From<ServiceError> for Failure {
    fn from(why: ServiceError) -> Self {
        Self { kind: kind_of(&why), code: why.code(), message: why.to_string() }
    }
}

/// As with a store: what the operator has to change, and what may be otherwise in a minute.
fn kind_of(why: &ServiceError) -> Kind {
    match why {
        ServiceError::Denied(_)
        | ServiceError::Unusable(_)
        | ServiceError::Misconfigured(_)
        | ServiceError::OtherKey
        | ServiceError::Altered => Kind::Configuration,
        ServiceError::Busy
        | ServiceError::Unavailable(_)
        | ServiceError::WrongSignature
        | ServiceError::TooLong { .. } => Kind::Internal,
    }
}

impl From<SettingsError> for Failure {
    fn from(why: SettingsError) -> Self {
        let (code, mut message) = (why.code(), why.to_string());
        if let SettingsError::Missing { .. } = why {
            message.push_str("; make one with `countersign init`, or name another with --config");
        }
        let kind = match why {
            SettingsError::Missing { .. }
            | SettingsError::Unreadable { .. }
            | SettingsError::Malformed { .. }
            | SettingsError::Variable { .. }
            | SettingsError::Incomplete { .. }
            | SettingsError::LogLevel { .. } => Kind::Configuration,
            SettingsError::LogStarted { .. } => Kind::Internal,
        };
        Self { kind, code, message }
    }
}

impl From<IssuerError> for Failure {
    fn from(why: IssuerError) -> Self {
        configuration(why)
    }
}

impl From<MintError> for Failure {
    fn from(why: MintError) -> Self {
        let kind = match why {
            MintError::Sign(_) | MintError::NoRandomness => Kind::Internal,
            MintError::NoKey => Kind::Configuration,
            MintError::Stale => Kind::Internal,
            _ => Kind::Refused,
        };
        Self { kind, code: why.code(), message: why.to_string() }
    }
}
