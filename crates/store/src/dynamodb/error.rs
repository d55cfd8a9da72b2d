//! DynamoDB's errors, the SDK's and the network's, translated into decisions.
//!
//! By error code (Amazon DynamoDB developer guide, "Error handling"). Of the texts of AWS only
//! those are shown that name what is not allowed or not valid; the others, and what the SDK knows
//! about a request, may hold parts of it. What may be tried again was tried again when these are
//! seen.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use countersign_aws::Unusable;

use crate::{Key, KeyError, StoreError};

/// The most of a foreign text that is shown, in characters.
const LONGEST: usize = 300;

/// Translates how a request ended.
pub(super) fn translate<E>(place: &str, error: &SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            service(place, answer.err().code(), answer.err().message().unwrap_or_default(), status)
        }
        SdkError::TimeoutError(_) => no_answer(place),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => no_answer(place),
        SdkError::ResponseError(answer) => not_dynamodb(place, answer.raw().status().as_u16()),
        other => not_sent(place, other),
    }
}

/// By code, as AWS answers.
fn service(place: &str, code: Option<&str>, text: &str, status: u16) -> StoreError {
    let text = one_line(text);
    let Some(code) = code else { return not_dynamodb(place, status) };
    match code {
        "ResourceNotFoundException" => no_table(place),
        "AccessDeniedException" => {
            denied(place, &format!("{text}; give this identity the rights of the policy in docs/stores.md"))
        }
        "ExpiredTokenException" | "ExpiredToken" => {
            denied(place, "the AWS credentials have expired; renew them")
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorizedException"
        | "OptInRequired"
        | "SignatureDoesNotMatch" => denied(
            place,
            &format!(
                "AWS does not accept the credentials ({code}); look at them, at the region and at this machine's clock"
            ),
        ),
        "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "ThrottlingException"
        | "Throttling" => unavailable(
            place,
            &format!(
                "too many requests ({code}); raise the table's capacity or the account's quota, or ask less"
            ),
        ),
        // A global table with strong consistency. Not a conflict: nobody's version is there yet.
        "ReplicatedWriteConflictException" => unavailable(
            place,
            "another region writes the same item at the same moment (ReplicatedWriteConflictException), each time it was \
             tried; nothing was changed, try again",
        ),
        "LimitExceededException" => unavailable(
            place,
            "too many tables are being made or changed at once, or the account's limit is reached; try again later",
        ),
        "UnknownOperationException"
        | "UnsupportedOperationException"
        | "InvalidAction"
        | "NotImplemented" => misconfigured(
            place,
            &format!("what answers there does not have what the store needs ({code}); use Amazon DynamoDB"),
        ),
        "ValidationException" | "SerializationException" => {
            misconfigured(place, &format!("DynamoDB does not take the request: {text}"))
        }
        // Encryption keys that are away, transactions and other regions in the way, and whatever
        // else.
        code => unavailable(place, &format!("DynamoDB answers {}", one_line(code))),
    }
}

/// What never reached anybody: no credentials, no connection.
fn not_sent<E>(place: &str, error: &SdkError<E>) -> StoreError
where
    E: Error + 'static,
{
    let mut source: Option<&(dyn Error + 'static)> = Error::source(error);
    let mut last = String::new();
    while let Some(cause) = source {
        last = cause.to_string();
        // The SDK's type of this error cannot be named without another dependency; a test pins the
        // words.
        if last.contains("credential provider was not enabled") || last.contains("not properly configured") {
            return denied(
                place,
                "there are no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give \
                 the function, container or instance a role",
            );
        }
        if last.contains("loading credentials") || last.contains("credentials provider timed out") {
            return unavailable(place, "the AWS credentials cannot be loaded now; look at their source");
        }
        source = cause.source();
    }
    unavailable(
        place,
        &format!("it cannot be reached: {}; look at the endpoint and the network", one_line(&last)),
    )
}

/// What the environment says about AWS cannot be used.
pub(super) fn unusable(place: &str, why: &Unusable) -> StoreError {
    let or_here = if *why == Unusable::NoRegion { ", or `?region=` in the store URL" } else { "" };
    misconfigured(place, &format!("{why}{or_here}"))
}

/// The table is not there.
pub(super) fn no_table(place: &str) -> StoreError {
    misconfigured(
        place,
        "there is no such table; make it with `countersign store create`, or correct the URL, the region or the account",
    )
}

/// The table is somebody else's.
pub(super) fn not_ours(place: &str, what: &str) -> StoreError {
    misconfigured(
        place,
        &format!(
            "this table is not of the expected shape: {what}; the one key has to be the partition key `key`, a string: \
             name another table, or make one with `countersign store create`"
        ),
    )
}

/// Another program keeps items in the table.
pub(super) fn items_of_others(place: &str) -> StoreError {
    misconfigured(
        place,
        "this table has items of another program; name another table, or make one with `countersign store create`",
    )
}

/// The table has a shape this version does not know.
pub(super) fn newer(place: &str, found: u32, known: u32) -> StoreError {
    misconfigured(
        place,
        &format!(
            "it was made by a newer version of Countersign (shape {found}, this one knows up to {known}); use that version"
        ),
    )
}

/// The table is there and cannot be used yet, or no more.
pub(super) fn not_ready(place: &str, status: &str) -> StoreError {
    unavailable(place, &format!("the table is {}; wait until it is ACTIVE", one_line(status)))
}

/// Documents would vanish by another attribute than theirs.
pub(super) fn other_time_to_live(place: &str, attribute: &str) -> StoreError {
    misconfigured(
        place,
        &format!(
            "its time to live is on the attribute {:?} and has to be on `ttl`; change that, or name another table",
            one_line(attribute)
        ),
    )
}

/// Time to live is in the middle of being switched.
pub(super) fn time_to_live_changes(place: &str) -> StoreError {
    unavailable(
        place,
        "its time to live was switched off shortly ago; AWS lets it be switched on an hour later",
    )
}

/// A write was refused, and an attempt before that was not answered: either may be why.
pub(super) fn unknown_outcome(place: &str) -> StoreError {
    unavailable(
        place,
        "the answer to a write was lost, and the document was changed since; whether by this write is unknown: read it \
         again",
    )
}

/// An item that this program did not write.
pub(super) fn foreign_item(place: &str, key: &Key, what: &str) -> StoreError {
    corrupt(
        place,
        &format!("the item `{key}` was written by something else: {what}; restore a backup, or remove it"),
    )
}

/// A key in the table that this program never wrote.
pub(super) fn foreign_key(place: &str, reason: KeyError) -> StoreError {
    corrupt(place, &format!("an item was written by something else: {reason}"))
}

/// An item without its key, which DynamoDB cannot have.
pub(super) fn no_key(place: &str) -> StoreError {
    corrupt(place, "an item was read that has no key")
}

fn no_answer(place: &str) -> StoreError {
    unavailable(place, "it did not answer in time; look at the endpoint and the network")
}

/// A refusal is an answer to what was asked, and the next one will be the same.
fn not_dynamodb(place: &str, status: u16) -> StoreError {
    let reason =
        format!("what answers there (HTTP {status}) does not speak as DynamoDB does; look at the endpoint");
    match status {
        408 | 429 => unavailable(place, &reason),
        400..=499 | 501 => misconfigured(place, &reason),
        _ => unavailable(place, &reason),
    }
}

fn denied(place: &str, reason: &str) -> StoreError {
    StoreError::Denied { place: place.to_owned(), reason: reason.to_owned() }
}

fn unavailable(place: &str, reason: &str) -> StoreError {
    StoreError::Unavailable { place: place.to_owned(), reason: reason.to_owned() }
}

fn misconfigured(place: &str, reason: &str) -> StoreError {
    StoreError::Misconfigured { place: place.to_owned(), reason: reason.to_owned() }
}

fn corrupt(place: &str, reason: &str) -> StoreError {
    StoreError::Corrupt { place: place.to_owned(), reason: reason.to_owned() }
}

fn one_line(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
