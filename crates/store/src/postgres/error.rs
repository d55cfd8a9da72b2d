//! Postgres' errors and the network's, translated into decisions.
//!
//! By SQLSTATE (PostgreSQL manual, appendix A), because texts are in the server's language.
//! Messages name the server and the database; the server's own texts name tables, never values.
//! What it says about a login is left out: it repeats the user's name.

use std::{error::Error, io, path::Path, time::Duration};

use super::connect::Failed;
use crate::{KeyError, StoreError};

/// Whether the server has taken back what the statement did because others were in the way. It may
/// be sent again.
pub(super) fn is_rolled_back(error: &sqlx::Error) -> bool {
    matches!(sqlstate(error).as_deref(), Some("40001" | "40P01"))
}

/// Translates how a statement ended.
pub(super) fn failed(place: &str, failed: &Failed) -> StoreError {
    match failed {
        Failed::Engine(error) => translate(place, error),
        Failed::NoAnswer => {
            unavailable(place, "it did not answer in time; look at the server and the network")
        }
    }
}

/// Translates an error of connecting or of a statement.
pub(super) fn translate(place: &str, error: &sqlx::Error) -> StoreError {
    let Some(code) = sqlstate(error) else { return without_code(place, error) };
    let text = error.as_database_error().map_or_else(String::new, |error| one_line(error.message()));
    let place = place.to_owned();
    match code.as_str() {
        "28P01" => denied(place, "the password is wrong, or there is no such user; correct the store URL"),
        code if code.starts_with("28") => denied(
            place,
            "the server does not let this user in from here; look at the user, the database and sslmode in the store \
             URL, and at the server's pg_hba.conf",
        ),
        "42501" => denied(
            place,
            &format!(
                "{text}; let this user read and write the tables, or make them: the owner of the database can run \
                 CREATE SCHEMA … AUTHORIZATION …"
            ),
        ),
        "3D000" => StoreError::Misconfigured {
            place,
            reason: "the server has no such database; make it, or correct the store URL".to_owned(),
        },
        // Feature not supported, syntax error, undefined function: not Postgres, or an old one.
        "0A000" | "42601" | "42883" => StoreError::Misconfigured {
            place,
            reason: format!(
                "the server does not know what the store needs: {text} ({code}); use PostgreSQL 9.5 or newer"
            ),
        },
        // A prepared statement or a setting of the session that is not there: another client's
        // connection.
        "26000" | "08P01" => StoreError::Misconfigured {
            place,
            reason: format!(
                "the server does not keep to the session: {text} ({code}); put a pooler in front into session mode"
            ),
        },
        "25006" => unavailable(&place, "the server is read-only; name the one that takes writes"),
        "57014" => {
            unavailable(&place, "a statement took too long and was given up; look at the server's load")
        }
        "40001" | "40P01" => unavailable(&place, "others kept changing the same documents; try again"),
        code if ["22", "23", "3F", "42"].iter().any(|class| code.starts_with(class))
            || matches!(code, "XX001" | "XX002") =>
        {
            StoreError::Corrupt {
                place,
                reason: format!(
                    "{text} ({code}); nothing was changed: restore a backup, or check the store URL"
                ),
            }
        }
        // Starting up, shutting down, out of connections, memory or disk, connection lost, and
        // whatever else.
        code => unavailable(&place, &format!("{text} ({code}); look at the server")),
    }
}

/// Errors of the driver, the network and TLS.
fn without_code(place: &str, error: &sqlx::Error) -> StoreError {
    match error {
        // A failed handshake comes as invalid data that was read.
        sqlx::Error::Io(problem) if problem.kind() == io::ErrorKind::InvalidData => no_tls(place, problem),
        sqlx::Error::Tls(problem) => no_tls(place, problem.as_ref()),
        sqlx::Error::Io(problem) if problem.kind() == io::ErrorKind::PermissionDenied => {
            denied(place.to_owned(), "this user may not open the server's socket")
        }
        sqlx::Error::Io(problem) => unavailable(
            place,
            &format!("{}; look at the server and the network", one_line(&problem.to_string())),
        ),
        sqlx::Error::Configuration(_) => StoreError::Misconfigured {
            place: place.to_owned(),
            reason: "the certificate or key of the store URL cannot be used".to_owned(),
        },
        // The texts of these may describe values, so they stay out.
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::RowNotFound => StoreError::Corrupt {
            place: place.to_owned(),
            reason: "a row does not have the expected shape; restore a backup".to_owned(),
        },
        // The driver has words for it and no code (sqlx 0.9, `establish.rs` and `sasl.rs`).
        sqlx::Error::Protocol(problem)
            if problem.contains("unsupported") && problem.contains("authentication") =>
        {
            StoreError::Misconfigured {
                place: place.to_owned(),
                reason:
                    "the server asks for a way of logging in that the driver does not have; let it ask for \
                         scram-sha-256, a client certificate or peer in its pg_hba.conf"
                        .to_owned(),
            }
        }
        sqlx::Error::Protocol(problem) => unavailable(
            place,
            &format!("what answers there does not speak as Postgres does: {}", one_line(problem)),
        ),
        other => unavailable(place, &one_line(&other.to_string())),
    }
}

fn no_tls(place: &str, problem: &(dyn Error + 'static)) -> StoreError {
    let problem = one_line(&problem.to_string());
    // The driver has words for it and no code (sqlx 0.9, `connection/tls.rs`).
    let advice = if problem.contains("does not support TLS") {
        "switch TLS on at the server (`ssl = on`), or if nobody else is on the way to it, write sslmode=disable"
    } else {
        "name the server as its certificate does, give the authority's certificate as sslrootcert, or choose another sslmode"
    };
    StoreError::Misconfigured { place: place.to_owned(), reason: format!("TLS: {problem}; {advice}") }
}

/// Nobody answers where the server should be.
pub(super) fn connecting_took_too_long(place: &str, limit: Duration) -> StoreError {
    unavailable(place, &format!("no connection within {limit:?}; look at the server and the network"))
}

/// A certificate or key that the URL names cannot be used.
pub(super) fn no_certificate(place: &str, path: &Path, why: &str) -> StoreError {
    StoreError::Misconfigured { place: place.to_owned(), reason: format!("{path:?}: {why}") }
}

/// The schema belongs to another program.
pub(super) fn not_ours(place: &str, schema: &str) -> StoreError {
    StoreError::Misconfigured {
        place: place.to_owned(),
        reason: format!(
            "the schema {schema:?} has a table `documents` of another program; name another one with `?schema=NAME`"
        ),
    }
}

/// There are no tables, and none are to be made.
pub(super) fn not_there(place: &str, schema: &str) -> StoreError {
    StoreError::Missing {
        place: place.to_owned(),
        reason: format!("there is no store in its schema {schema:?}; correct the URL"),
    }
}

/// The schema has a shape this version does not know.
pub(super) fn newer(place: &str, found: i32, known: i32) -> StoreError {
    StoreError::Misconfigured {
        place: place.to_owned(),
        reason: format!(
            "it was made by a newer version of Countersign (schema {found}, this one knows up to {known}); use that \
             version"
        ),
    }
}

/// A key in the table that this program never wrote.
pub(super) fn foreign_key(place: &str, reason: KeyError) -> StoreError {
    StoreError::Corrupt {
        place: place.to_owned(),
        reason: format!("a row was written by something else: {reason}"),
    }
}

fn denied(place: String, reason: &str) -> StoreError {
    StoreError::Denied { place, reason: reason.to_owned() }
}

fn unavailable(place: &str, reason: &str) -> StoreError {
    StoreError::Unavailable { place: place.to_owned(), reason: reason.to_owned() }
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

fn one_line(text: &str) -> String {
    text.replace(|character: char| character.is_control(), " ")
}
