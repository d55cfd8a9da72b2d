//! SQLite's and the file system's errors, translated into decisions.
//!
//! The same result code means different things at different times: a file that cannot be opened at
//! start is a permission to fix, one that cannot be opened any more is an outage. Hence two entry
//! points. Messages name the file; SQLite's texts name tables and columns, never values.

use std::{io, path::Path};

use crate::{Key, KeyError, StoreError};

// Primary result codes, sqlite.org/rescode.html.
/// With our fixed statements: a table or column is missing.
const ERROR: i32 = 1;
const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const CORRUPT: i32 = 11;
const CANTOPEN: i32 = 14;
/// Lost a race for the WAL's locks too often.
const PROTOCOL: i32 = 15;
/// With our fixed statements: the table is not the one we made.
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const AUTH: i32 = 23;
const NOTADB: i32 = 26;
/// A file larger than this system's files can be.
const NOLFS: i32 = 22;
const FORMAT: i32 = 24;

/// How messages call the store.
pub(super) fn place(path: &Path) -> String {
    format!("the SQLite store {path:?}")
}

/// Whether somebody else holds the file and trying again may help.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(result_code(error), Some(BUSY | LOCKED | PROTOCOL))
}

/// The file that was opened, or its log, is not at its path any more.
pub(super) fn is_gone(path: &Path) -> StoreError {
    StoreError::Unavailable {
        place: place(path),
        reason: "the file or its -wal was removed or replaced while it was in use; stop every program that uses it, put the right \
                 file there without -wal and -shm beside it, and start again"
            .to_owned(),
    }
}

/// Translates an error of opening the file for the first time.
pub(super) fn while_opening(path: &Path, error: &sqlx::Error) -> StoreError {
    match result_code(error) {
        Some(CANTOPEN) => StoreError::Denied {
            place: place(path),
            reason: "it cannot be opened; let this user read and write the file and its folder".to_owned(),
        },
        _ => in_use(path, error),
    }
}

/// Translates an error of a store that was opened before.
pub(super) fn in_use(path: &Path, error: &sqlx::Error) -> StoreError {
    let place = place(path);
    match result_code(error) {
        Some(BUSY | LOCKED | PROTOCOL) => locked(path),
        Some(PERM | AUTH | READONLY) => StoreError::Denied {
            place,
            reason: format!("{}; let this user write the file and its folder", engine_text(error)),
        },
        Some(NOLFS) => {
            misconfigured(path, "its file system does not take files of this size; move it to another")
        }
        Some(CORRUPT | NOTADB | FORMAT | ERROR | MISMATCH | CONSTRAINT) => StoreError::Corrupt {
            place,
            reason: format!(
                "{}; nothing was changed: move the file away and restore a backup, or check the path",
                engine_text(error)
            ),
        },
        Some(_) => StoreError::Unavailable {
            place,
            reason: format!("{}; check the disk and its free space", engine_text(error)),
        },
        None => without_code(place, error),
    }
}

/// Errors of the driver and not of the engine.
fn without_code(place: String, error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::PoolTimedOut => StoreError::Unavailable {
            place,
            reason: "all connections stayed busy; too many requests, or another process holds the file"
                .to_owned(),
        },
        sqlx::Error::Configuration(_) => StoreError::Misconfigured {
            place,
            reason: "the driver does not take this path; choose a plain one".to_owned(),
        },
        // The texts of these may describe values, so they stay out.
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound => {
            StoreError::Corrupt {
                place,
                reason: "a row does not have the expected shape; restore a backup".to_owned(),
            }
        }
        other => StoreError::Unavailable { place, reason: one_line(&other.to_string()) },
    }
}

/// Another process holds the file.
pub(super) fn locked(path: &Path) -> StoreError {
    StoreError::Unavailable {
        place: place(path),
        reason: "another process has kept the file locked; try again, or look for a stuck process".to_owned(),
    }
}

/// The file system refuses before SQLite is asked.
pub(super) fn file(path: &Path, error: &io::Error) -> StoreError {
    let place = place(path);
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::Denied {
            place,
            reason: format!("{error}; let this user write the file and its folder"),
        },
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => {
            StoreError::Misconfigured { place, reason: format!("{error}; correct the path") }
        }
        _ => StoreError::Unavailable { place, reason: format!("{error}; check the disk and its free space") },
    }
}

/// The path names a directory.
pub(super) fn is_directory(path: &Path) -> StoreError {
    misconfigured(path, "it is a directory; name a file in it")
}

/// The path names a device, a pipe or a socket.
pub(super) fn is_no_file(path: &Path) -> StoreError {
    misconfigured(path, "it is not a regular file; name another one")
}

/// The file has lost its content.
pub(super) fn is_cut_off(path: &Path) -> StoreError {
    StoreError::Corrupt {
        place: place(path),
        reason:
            "file is not a database; it was cut off: nothing was changed, move it and its `-wal` away and \
                 restore a backup"
                .to_owned(),
    }
}

/// There is no file, and none is to be made.
pub(super) fn not_there(path: &Path) -> StoreError {
    StoreError::Missing { place: place(path), reason: "there is no such store; correct the path".to_owned() }
}

/// The path is a symbolic link that leads nowhere.
pub(super) fn is_dangling_link(path: &Path) -> StoreError {
    misconfigured(
        path,
        "it is a symbolic link to a file that does not exist; make the target or remove the link",
    )
}

/// The folder of the file does not exist.
pub(super) fn no_folder(path: &Path) -> StoreError {
    misconfigured(path, "its folder does not exist; create the folder or correct the path")
}

/// The file system has no shared memory, as network file systems.
pub(super) fn no_wal(path: &Path) -> StoreError {
    misconfigured(
        path,
        "its file system cannot be shared between processes (no WAL); move it to a local disk",
    )
}

/// The database belongs to another program.
pub(super) fn not_ours(path: &Path) -> StoreError {
    misconfigured(path, "it is the database of another program; name another file")
}

/// The database has a shape this version does not know.
pub(super) fn newer(path: &Path, found: i32, known: i32) -> StoreError {
    let reason = format!(
        "it was made by a newer version of Countersign (schema {found}, this one knows up to {known}); use that \
         version"
    );
    misconfigured(path, &reason)
}

/// A row has lost its version or its content.
pub(super) fn no_content(path: &Path, key: &Key) -> StoreError {
    StoreError::Corrupt {
        place: place(path),
        reason: format!("the document `{key}` has no content; restore a backup"),
    }
}

/// A key in the table that this program never wrote.
pub(super) fn foreign_key(path: &Path, reason: KeyError) -> StoreError {
    StoreError::Corrupt {
        place: place(path),
        reason: format!("a row was written by something else: {reason}"),
    }
}

fn misconfigured(path: &Path, reason: &str) -> StoreError {
    StoreError::Misconfigured { place: place(path), reason: reason.to_owned() }
}

fn result_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

fn engine_text(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(String::new, |error| one_line(error.message()))
}

fn one_line(text: &str) -> String {
    text.replace(|character: char| character.is_control(), " ")
}
