//! `SettingsError`: why a program cannot have its settings, one variant per reason.
//!
//! Messages say what was wrong and where; a value of the wrong kind is never repeated, because it
//! may be a secret typed into the wrong place. What a program offers against a missing file (a
//! command that makes one, an option that names another) only the program knows, so it adds that to
//! [`SettingsError::Missing`] itself.

use std::{fmt, io, path::PathBuf};
use thiserror::Error;

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// There is no such file.
    #[error("there is no configuration at {path}")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },

    /// The file is there and cannot be read: permissions, a folder, not text, too large.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },

    /// The file is not TOML, or says something the program has no setting for.
    #[error("{path}{}: {why}", place.map(|place| format!(" {place}")).unwrap_or_default())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it, where that is known.
        place: Option<Place>,
        /// What is wrong there, without the value.
        why: String,
    },

    /// A variable names no setting, or its value is not valid for that setting.
    #[error("the environment variable {name}: {why}")]
    Variable {
        /// The whole name of the variable.
        name: String,
        /// What is wrong with it, without its value.
        why: String,
    },

    /// Each variable is good and together they are not all that is needed.
    #[error(
        "the variables COUNTERSIGN_… are not a whole configuration: {why}; write two underscores for each dot"
    )]
    Incomplete {
        /// What is missing.
        why: String,
    },

    /// The level of the log is not one of the known levels.
    #[error(
        "log.level {level:?} is not a level (off, error, warn, info, debug, trace) or a list like \
         info,countersign::audit=off"
    )]
    LogLevel {
        /// What was asked for.
        level: String,
    },

    /// The queue of the log is too small or too large.
    #[error("log.queue_bytes {bytes} is not between 65536 and 67108864")]
    LogQueue {
        /// What was asked for.
        bytes: usize,
    },

    /// This process logs already: a mistake of the program, not of its configuration.
    #[error("the log cannot be started: {why}")]
    LogStarted {
        /// What stands in the way.
        why: String,
    },
}

impl SettingsError {
    /// The stable name of this kind of error, for programs that read the output of ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. }
            | Self::Unreadable { .. }
            | Self::Malformed { .. }
            | Self::Variable { .. }
            | Self::Incomplete { .. }
            | Self::LogLevel { .. }
            | Self::LogQueue { .. } => "bad_configuration",
            Self::LogStarted { .. } => "internal",
        }
    }
}

/// A place in a text, as editors count: both begin at 1, and a column is a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// Of the byte `offset` of `text`.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}
