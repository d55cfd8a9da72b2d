//! How a command ends: the one table of exit codes, and for what does not end well one line for
//! people, or one JSON object.

use countersign_issuer::{IssuerError, MintError};
use countersign_keyring::{KeyringError, ServiceError};
use countersign_settings::{Environment, SettingsError};
use countersign_store::StoreError;
use std::{borrow::Cow, fmt, io, process::ExitCode};

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    code: &'static str,
    message: String,
    /// What scripts get beside that.
    more: Vec<(&'static str, serde_json::Value)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refused,
    Usage,
    Configuration,
    Internal,
}

/// How the program ends: what it comes to, and not what of it could be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked is done; a token is to be accepted.
    Done,
    /// A token or a check was refused.
    Refused,
    /// The command line makes no sense.
    Usage,
    /// Something failed that nobody asked for, such as a write to a full disk.
    Internal,
    /// The configuration has to change.
    Configuration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // sysexits.h has the last two: EX_SOFTWARE and EX_CONFIG.
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::Internal => 70,
            Exit::Configuration => 78,
        })
    }
}

/// What every command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// A token or a check was refused: exit code 1.
pub(crate) fn refused(code: &'static str, message: impl fmt::Display) -> Failure {
    Failure { kind: Kind::Refused, code, message: message.to_string(), more: Vec::new() }
}

/// The command line makes no sense: exit code 2.
pub(crate) fn usage(message: impl fmt::Display) -> Failure {
    Failure { kind: Kind::Usage, code: "usage", message: message.to_string(), more: Vec::new() }
}

/// The configuration has to change: exit code 78.
pub(crate) fn configuration(message: impl fmt::Display) -> Failure {
    Failure {
        kind: Kind::Configuration,
        code: "bad_configuration",
        message: message.to_string(),
        more: Vec::new(),
    }
}

/// There is no keyring where one has to be: exit code 78.
pub(crate) fn no_keyring(message: impl fmt::Display) -> Failure {
    Failure {
        kind: Kind::Configuration,
        code: "keyring_missing",
        message: message.to_string(),
        more: Vec::new(),
    }
}

/// Something failed that nobody asked for: exit code 70.
pub(crate) fn internal(message: impl fmt::Display) -> Failure {
    Failure { kind: Kind::Internal, code: "internal", message: message.to_string(), more: Vec::new() }
}

/// What has to be asked does not answer as it should: exit code 70.
pub(crate) fn away(code: &'static str, message: impl fmt::Display) -> Failure {
    Failure { kind: Kind::Internal, code, message: message.to_string(), more: Vec::new() }
}

/// A file that cannot be written. Anyone who has the wrong folder or no permission changes the
/// configuration; a disk that is full or broken is nothing the configuration says.
pub(crate) fn unwritable(what: impl fmt::Display, why: &io::Error) -> Failure {
    let message = format!("{what} cannot be written: {why}");
    match why.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::Unsupported => configuration(message),
        _ => internal(message),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// The same; but where it names a reference that nobody answered for, no configuration is
    /// wrong.
    pub(crate) fn unless_away(mut self, environment: &Environment) -> Self {
        if self.kind == Kind::Configuration && environment.is_away_in(&self.message) {
            (self.kind, self.code) = (Kind::Internal, "internal");
        }
        self
    }

    /// The same with a member for scripts.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.more.push((name, value.into()));
        self
    }

    /// The same, where what was typed stands in the configuration.
    pub(crate) fn in_configuration(mut self) -> Self {
        (self.kind, self.code) = (Kind::Configuration, "bad_configuration");
        self
    }

    /// The message with what it is about in front.
    pub(crate) fn about(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The same in other words.
    pub(crate) fn in_words(mut self, words: impl FnOnce(&str) -> String) -> Self {
        self.message = words(&self.message);
        self
    }

    /// The message with what to do behind it.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.message.push_str(more);
        self
    }

    /// Whether it is nothing that the configuration, or who asks, has to change.
    pub(crate) fn is_internal(&self) -> bool {
        self.kind == Kind::Internal
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// The longest message that is printed: what was typed wrong may be repeated in it.
const LONGEST: usize = 2_000;

/// Prints a failure and says how the program ends.
pub(crate) fn report(failure: &Failure, json: bool) -> Exit {
    let message = crate::hints::carry(&failure.message);
    let message = cut(&message);
    if json {
        let mut body = serde_json::Map::new();
        for (name, value) in &failure.more {
            body.insert((*name).to_owned(), value.clone());
        }
        body.insert("error".to_owned(), failure.code.into());
        body.insert("message".to_owned(), message.into());
        crate::output::line(&serde_json::Value::Object(body).to_string());
    } else {
        // One line, whatever a library put into its message.
        let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        crate::output::error_line(&format!("countersign: {message}"));
    }
    match failure.kind {
        Kind::Refused => Exit::Refused,
        Kind::Usage => Exit::Usage,
        Kind::Configuration => Exit::Configuration,
        Kind::Internal => Exit::Internal,
    }
}

/// Prints what clap says of a command line, which is several lines with the usage for people.
pub(crate) fn report_usage(message: &str, json: bool) -> Exit {
    if !json {
        crate::output::error_line(message);
        return Exit::Usage;
    }
    let first = message.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim);
    let first = first.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    report(&usage(first.trim_start_matches("error: ")), json)
}

fn cut(message: &str) -> Cow<'_, str> {
    match message.char_indices().nth(LONGEST) {
        Some((at, _)) => {
            let (start, rest) = message.split_at(at);
            Cow::Owned(format!("{start}… ({} more bytes)", rest.len()))
        }
        None => Cow::Borrowed(message),
    }
}

impl From<StoreError> for Failure {
    fn from(why: StoreError) -> Self {
        let kind = match why {
            StoreError::Denied { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Missing { .. }
            | StoreError::Misconfigured { .. } => Kind::Configuration,
            StoreError::Conflict { .. } | StoreError::Unavailable { .. } | StoreError::TooLarge { .. } => {
                Kind::Internal
            }
        };
        Self { kind, code: why.code(), message: why.to_string(), more: Vec::new() }
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
            | KeyringError::WrongSealingKey { .. }
            | KeyringError::Altered { .. }
            | KeyringError::WentBack(_)
            | KeyringError::OldFormat { .. }
            | KeyringError::Corrupt(_)
            | KeyringError::NewerFormat { .. } => Kind::Configuration,
            KeyringError::Key(_) | KeyringError::Lifecycle(_) | KeyringError::OtherDigest { .. } => {
                Kind::Refused
            }
            KeyringError::Contended | KeyringError::Certificate { .. } => Kind::Internal,
        };
        Self { kind, code, message, more: Vec::new() }
    }
}

impl From<ServiceError> for Failure {
    fn from(why: ServiceError) -> Self {
        Self { kind: kind_of(&why), code: why.code(), message: why.to_string(), more: Vec::new() }
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
        let (code, message) = (why.code(), why.to_string());
        let kind = match why {
            SettingsError::Missing { .. }
            | SettingsError::Unreadable { .. }
            | SettingsError::Malformed { .. }
            | SettingsError::Variable { .. }
            | SettingsError::Incomplete { .. }
            | SettingsError::LogLevel { .. }
            | SettingsError::LogQueue { .. } => Kind::Configuration,
            SettingsError::LogStarted { .. } => Kind::Internal,
        };
        Self { kind, code, message, more: Vec::new() }
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
            MintError::NoKey { .. } | MintError::ClockBehind { .. } => Kind::Configuration,
            MintError::Stale => Kind::Internal,
            _ => Kind::Refused,
        };
        Self { kind, code: why.code(), message: why.to_string(), more: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_repeats_what_was_typed_is_cut_between_characters() {
        for text in ["x", "\u{e4}", "\u{1f511}"] {
            let short = text.repeat(LONGEST);
            assert_eq!(cut(&short), short);
            let long = text.repeat(100_000);
            let rest = (100_000 - LONGEST) * text.len();
            assert_eq!(cut(&long), format!("{short}… ({rest} more bytes)"));
        }
        assert_eq!(cut(""), "");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_the_configurations_fault_only_where_that_could_be_another() {
        use io::ErrorKind::{
            AlreadyExists, FileTooLarge, NotADirectory, NotFound, Other, PermissionDenied, QuotaExceeded,
            ReadOnlyFilesystem, StorageFull,
        };
        let kind = |kind: io::ErrorKind| unwritable("a file", &kind.into()).kind;
        for found in [NotFound, PermissionDenied, AlreadyExists, NotADirectory, ReadOnlyFilesystem] {
            assert_eq!(kind(found), Kind::Configuration, "{found:?}");
        }
        for found in [StorageFull, FileTooLarge, QuotaExceeded, Other] {
            assert_eq!(kind(found), Kind::Internal, "{found:?}");
        }
    }
}
