//! MongoDB's errors, the network's and the driver's, translated into decisions.
//!
//! By code (mongodb/mongo, src/mongo/base/error_codes.yml). Texts of the server stay out, except a
//! code's name: they may repeat the whole command with what it was to write. So do the driver's,
//! which repeat the server's and tell about every server it knows; from them one reason is taken.

use std::{io, path::Path};

use ::mongodb::error::{Error, ErrorKind, WriteFailure};

use super::connect::Failed;
use crate::StoreError;

/// Whether the server has not done what was asked because of others, and may be asked again: too
/// many requests (462, and 16500 of Azure Cosmos DB), two writers of one document (112).
pub(super) fn is_put_off(error: &Error) -> bool {
    matches!(code(error), Some((112 | 462 | 16500, _)))
}

/// Whether a document of that name is there already.
pub(super) fn is_duplicate(error: &Error) -> bool {
    matches!(code(error), Some((11000, _)))
}

/// Whether there is no such collection.
pub(super) fn is_no_collection(error: &Error) -> bool {
    matches!(code(error), Some((26, _)))
}

/// Translates how an operation ended.
pub(super) fn failed(place: &str, failed: &Failed) -> StoreError {
    match failed {
        Failed::Engine(error) => translate(place, error),
        Failed::NoAnswer => {
            unavailable(place, "it did not answer in time; look at the servers and the network")
        }
    }
}

/// Translates an error of connecting or of a command.
pub(super) fn translate(place: &str, error: &Error) -> StoreError {
    if let ErrorKind::Write(WriteFailure::WriteConcernError(problem)) = error.kind.as_ref() {
        if is_never(problem.code) {
            return by_code(place, problem.code, &name(problem.code, &problem.code_name));
        }
        let reason = format!(
            "the write was not confirmed: a majority of the servers did not answer in time ({}); look at the replica set",
            name(problem.code, &problem.code_name)
        );
        return unavailable(place, &reason);
    }
    if let Some((number, name)) = code(error) {
        return by_code(place, number, &name);
    }
    match error.kind.as_ref() {
        ErrorKind::Authentication { message, .. }
            if message.contains("creds") || message.contains("credential") =>
        {
            denied(
                place,
                "no AWS credentials were found for MONGODB-AWS: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this \
             machine a role",
            )
        }
        ErrorKind::Authentication { .. } => denied(place, LOGIN),
        ErrorKind::Io(problem) => network(place, problem),
        ErrorKind::ServerSelection { message, .. } => no_server(place, message),
        ErrorKind::ConnectionPoolCleared { .. } => {
            unavailable(place, "the connection was lost; look at the servers")
        }
        ErrorKind::DnsResolve { .. } => unavailable(
            place,
            "the names of its servers cannot be looked up; look at the store URL and the name service",
        ),
        ErrorKind::InvalidTlsConfig { .. } => {
            misconfigured(place, "the certificate or key of the store URL cannot be used")
        }
        ErrorKind::InvalidArgument { .. } => {
            misconfigured(place, "the driver does not take the store URL; look at its options")
        }
        ErrorKind::IncompatibleServer { .. } | ErrorKind::SessionsNotSupported => {
            misconfigured(place, "the server lacks what the store needs: use MongoDB 4.4 or newer")
        }
        // The texts of these may describe values, so they stay out.
        ErrorKind::Bson(_) | ErrorKind::InvalidResponse { .. } => {
            unavailable(place, "what answers there does not speak as MongoDB does")
        }
        _ => unavailable(place, "the driver failed; look at the servers"),
    }
}

const LOGIN: &str = "the server does not let this user in; look at the user, the password, authSource and authMechanism in \
     the store URL";

fn by_code(place: &str, code: i32, name: &str) -> StoreError {
    match code {
        // UserNotFound, AuthenticationFailed, and Atlas' own
        11 | 18 | 8000 => denied(place, LOGIN),
        13 => denied(
            place,
            "this user may not do that; give it the role readWrite on the database of the store URL",
        ),
        // NotAReplicaSet
        123 => misconfigured(
            place,
            "the server stands alone and has no linearizable reads; leave `readConcernLevel` out",
        ),
        // IllegalOperation, and what Amazon DocumentDB says
        20 | 301 => misconfigured(
            place,
            "the server does not know retried writes; write `retryWrites=false` in the store URL",
        ),
        85 | 86 => misconfigured(
            place,
            "the collection has an index on `expires_at` of another kind; remove it, or name another collection with \
             `?collection=NAME`",
        ),
        code if is_never(code) => misconfigured(
            place,
            &format!(
                "the server refuses what the store needs ({name}); use MongoDB 4.4 or newer, or a service that has it"
            ),
        ),
        50 => unavailable(place, "a command took too long and was given up; look at the servers' load"),
        112 | 462 | 16500 => unavailable(place, &format!("too many requests ({name}); try again later")),
        // On the way to another primary, or down.
        91 | 189 | 10058 | 10107 | 11600 | 11602 | 13435 | 13436 => unavailable(
            place,
            &format!("no server takes writes at the moment ({name}); look at the replica set"),
        ),
        _ => unavailable(place, &format!("{name}; look at the servers")),
    }
}

/// Whether the server will answer the same however often it is asked: it does not know a command,
/// an option or a concern, or the place is not a collection.
const fn is_never(code: i32) -> bool {
    matches!(
        code,
        // BadValue, FailedToParse, TypeMismatch, CommandNotFound, InvalidOptions, InvalidNamespace
        2 | 9 | 14 | 59 | 72 | 73
        // UnknownReplWriteConcern, UnsatisfiableWriteConcern, CommandNotSupported,
        // DocumentValidationFailure
            | 79 | 100 | 115 | 121
        // ReadConcernMajorityNotEnabled, CommandNotSupportedOnView, NotImplemented, and Amazon
        // DocumentDB's "feature not supported"
            | 148 | 166 | 238 | 303
        // APIVersionError, APIStrictError, APIDeprecationError, MechanismUnavailable, a field that
        // is not known
            | 322 | 323 | 324 | 334 | 40415
    )
}

fn network(place: &str, problem: &io::Error) -> StoreError {
    match problem.kind() {
        // A failed handshake comes as invalid data that was read.
        io::ErrorKind::InvalidData => no_tls(place, &problem.to_string()),
        _ => unavailable(
            place,
            &format!("{}; look at the servers and the network", one_line(&problem.to_string())),
        ),
    }
}

/// No server was found that takes writes. The reasons of the driver for each server are all in one
/// text.
fn no_server(place: &str, message: &str) -> StoreError {
    if let Some(refusal) = wrong_version(place, message) {
        return refusal;
    }
    let reason = message.split_once("I/O error: ").and_then(|(_, rest)| rest.split_once(", labels:"));
    let reason = reason.map(|(reason, _)| one_line(reason));
    match reason {
        Some(reason) if TLS.iter().any(|sign| reason.contains(sign)) => no_tls(place, &reason),
        Some(reason) => unavailable(
            place,
            &format!("no server takes writes: {reason}; look at the servers and the network"),
        ),
        None => unavailable(
            place,
            "no server takes writes; look at the replica set, and at the hosts and `replicaSet` in the store URL",
        ),
    }
}

/// The driver and the server have no version of the protocol in common. The driver says so in words
/// (mongodb 3.9.1, `compatibility_error_message`); a test pins them.
fn wrong_version(place: &str, message: &str) -> Option<StoreError> {
    let after = |mark: &str| {
        let (_, rest) = message.split_once(mark)?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
        rest.get(..end).map(|text| text.trim_end_matches('.'))
    };
    if let (Some(found), Some(needed)) = (after("reports wire version "), after("requires at least ")) {
        let named = after("(MongoDB ").map_or_else(String::new, |version| format!(", MongoDB {version}"));
        let reason = format!(
            "the server is too old: its newest wire version is {found}, and at least {needed}{named} is needed; \
             upgrade the server"
        );
        return Some(misconfigured(place, &reason));
    }
    let (found, known) = (after("requires wire version ")?, after("only supports up to ")?);
    let reason = format!(
        "the server is too new: its oldest wire version is {found}, and this program knows up to {known}; \
         upgrade Countersign"
    );
    Some(misconfigured(place, &reason))
}

/// How rustls begins when it refuses a server.
const TLS: [&str; 4] = ["peer certificate", "fatal alert", "corrupt message", "handshake"];

fn no_tls(place: &str, reason: &str) -> StoreError {
    misconfigured(
        place,
        &format!(
            "TLS: {}; name the servers as their certificates do, give the authority's certificate as tlsCAFile, or write \
             `tls=false` where the network is trusted",
            one_line(reason)
        ),
    )
}

/// A certificate or key that the URL names cannot be used.
pub(super) fn no_certificate(place: &str, path: &Path, why: &str) -> StoreError {
    misconfigured(place, &format!("{path:?}: {why}"))
}

/// The collection belongs to another program.
pub(super) fn not_ours(place: &str, collection: &str) -> StoreError {
    misconfigured(
        place,
        &format!(
            "the collection {collection:?} has documents of another program; name another one with `?collection=NAME`"
        ),
    )
}

/// The collection takes different names for the same.
pub(super) fn collated(place: &str, collection: &str) -> StoreError {
    misconfigured(
        place,
        &format!(
            "the collection {collection:?} was made with a collation and does not tell every name from every other; \
             name another one with `?collection=NAME`"
        ),
    )
}

/// There is no collection, and none is to be made.
pub(super) fn not_there(place: &str, collection: &str) -> StoreError {
    StoreError::Missing {
        place: place.to_owned(),
        reason: format!("there is no store in its collection {collection:?}; correct the URL"),
    }
}

/// The collection has a shape this version does not know.
pub(super) fn newer(place: &str, found: u32, known: u32) -> StoreError {
    misconfigured(
        place,
        &format!(
            "it was made by a newer version of Countersign (shape {found}, this one knows up to {known}); use that version"
        ),
    )
}

/// A document in the collection that this program never wrote.
pub(super) fn foreign(place: &str, reason: &str) -> StoreError {
    StoreError::Corrupt {
        place: place.to_owned(),
        reason: format!("a document was written by something else: {reason}; remove it, or restore a backup"),
    }
}

pub(super) fn misconfigured(place: &str, reason: &str) -> StoreError {
    StoreError::Misconfigured { place: place.to_owned(), reason: reason.to_owned() }
}

fn denied(place: &str, reason: &str) -> StoreError {
    StoreError::Denied { place: place.to_owned(), reason: reason.to_owned() }
}

fn unavailable(place: &str, reason: &str) -> StoreError {
    StoreError::Unavailable { place: place.to_owned(), reason: reason.to_owned() }
}

/// The server's code and what it calls it. That of a write concern is not one: the write has taken
/// effect.
fn code(error: &Error) -> Option<(i32, String)> {
    match error.kind.as_ref() {
        ErrorKind::Command(problem) => Some((problem.code, name(problem.code, &problem.code_name))),
        ErrorKind::Write(WriteFailure::WriteError(problem)) => {
            Some((problem.code, name(problem.code, problem.code_name.as_deref().unwrap_or_default())))
        }
        _ => None,
    }
}

fn name(code: i32, name: &str) -> String {
    let is_name = (1..=60).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_name { format!("{name}, {code}") } else { format!("error {code}") }
}

fn one_line(text: &str) -> String {
    text.replace(|character: char| character.is_control(), " ")
}
