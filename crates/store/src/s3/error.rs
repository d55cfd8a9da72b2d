//! S3's errors and the network's, translated into decisions.
//!
//! By status and code (Amazon S3 API Reference, "Error responses"). Answers are not repeated: a
//! refused signature comes with the key id and everything that was signed. Of one that says "access
//! denied" its sentence is shown, which names who may not do what. The client keeps status and body
//! in its text alone, so they are read from there.

use std::error::Error;

use countersign_aws::{Unusable, credentials::NoCredentials};
use object_store::client::{HttpError, HttpErrorKind};

use crate::{KeyError, StoreError};

/// What S3 answered.
struct Answer {
    status: Option<u16>,
    code: String,
    message: String,
}

impl Answer {
    fn of(error: &object_store::Error) -> Self {
        let text = error.to_string();
        let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
        let element = |name: &str| {
            let rest = after(&format!("<{name}>"))?;
            let value = rest.split_once("</").map_or("", |(value, _)| value);
            Some(one_line(value).chars().take(300).collect::<String>())
        };
        Self {
            status: after("status code: ").and_then(|rest| rest.get(..3)?.parse().ok()),
            code: element("Code")
                .filter(|code| code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'))
                .unwrap_or_default(),
            message: element("Message").unwrap_or_default(),
        }
    }
}

/// Whether there is no such object; a bucket that is not there is something else.
pub(super) fn is_no_object(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && Answer::of(error).code != "NoSuchBucket"
}

/// Whether a conditional write was refused for its condition, or for another one that was under
/// way.
pub(super) fn is_condition(error: &object_store::Error) -> bool {
    use object_store::Error::{AlreadyExists, NotModified, Precondition};
    matches!(error, AlreadyExists { .. } | NotModified { .. } | Precondition { .. })
        && Answer::of(error).code != "NoSuchBucket"
}

/// Whether the service does not know what it was asked for.
pub(super) fn is_not_implemented(error: &object_store::Error) -> bool {
    let answer = Answer::of(error);
    answer.status == Some(501) || answer.code == "NotImplemented"
}

/// Whether S3 does not take the credentials, rather than what was asked with them.
pub(super) fn refuses_credentials(error: &object_store::Error) -> bool {
    is_about_credentials(&Answer::of(error).code)
}

fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
    )
}

/// Translates how a request ended.
pub(super) fn translate(place: &str, bucket: &str, error: &object_store::Error) -> StoreError {
    if let Some(why) = cause::<NoCredentials>(error) {
        return no_credentials(place, why);
    }
    if let Some(why) = cause::<HttpError>(error) {
        return no_answer_because(place, why);
    }
    if matches!(error, object_store::Error::InvalidPath { .. }) {
        return foreign_name(place);
    }
    let Answer { status, code, message } = Answer::of(error);
    let named = if code.is_empty() { String::new() } else { format!(" ({code})") };
    let region = || {
        misconfigured(
            place,
            &format!("the bucket is in another region{named}; name it with `?region=` or AWS_REGION"),
        )
    };
    match (status, code.as_str()) {
        (_, "NoSuchBucket") => {
            misconfigured(place, &format!("there is no bucket `{bucket}`; make it, or correct the URL"))
        }
        (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")
        | (Some(300..=399), _) => region(),
        (None, _) if error.to_string().contains("redirect without LOCATION") => region(),
        (_, "RequestTimeTooSkewed") => {
            denied(place, "the clock of this machine is not right (RequestTimeTooSkewed); set it")
        }
        (_, code) if is_about_credentials(code) => {
            denied(place, &format!("the AWS credentials are not accepted{named}; renew or correct them"))
        }
        (Some(401 | 403), "AccessDenied") if !message.is_empty() => denied(
            place,
            &format!(
                "{}; give this role s3:GetObject, s3:PutObject, s3:ListBucket and s3:DeleteObject there",
                message.trim_end_matches('.')
            ),
        ),
        (Some(401 | 403), _) => denied(
            place,
            &format!(
                "S3 refuses{named}; give this role s3:GetObject, s3:PutObject, s3:ListBucket and s3:DeleteObject there"
            ),
        ),
        (Some(501), _) | (_, "NotImplemented") => misconfigured(
            place,
            &format!("this service cannot do what is needed{named}; use one that has conditional writes"),
        ),
        (Some(status @ (408 | 409 | 429 | 500..)), _) => {
            unavailable(place, &format!("it answers {status}{named}; too many requests, or it has a problem"))
        }
        (Some(status), _) => misconfigured(place, &format!("it refuses what is asked: {status}{named}")),
        (None, _) => unavailable(place, "what answers there does not speak as S3 does; look at the endpoint"),
    }
}

fn cause<E: Error + 'static>(error: &object_store::Error) -> Option<&E> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn no_answer_because(place: &str, error: &HttpError) -> StoreError {
    if error.kind() == HttpErrorKind::Timeout {
        return no_answer(place);
    }
    let mut deepest: &(dyn Error + 'static) = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let why = one_line(&deepest.to_string());
    if why.contains("certificate") {
        return misconfigured(
            place,
            &format!("TLS: {why}; name the endpoint as its certificate does, and trust who issued it"),
        );
    }
    unavailable(place, &format!("{why}; look at the endpoint and the network"))
}

fn no_credentials(place: &str, why: &NoCredentials) -> StoreError {
    if *why == NoCredentials::Nowhere {
        return misconfigured(
            place,
            "there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the \
             function, container or instance a role",
        );
    }
    unavailable(place, &format!("{why}; look at the profile and the role of this machine"))
}

/// Nobody says anything.
pub(super) fn no_answer(place: &str) -> StoreError {
    unavailable(place, "it did not answer in time; look at the endpoint and the network")
}

/// A write whose answer was lost, and whose place another one has taken since.
pub(super) fn unknown(place: &str) -> StoreError {
    unavailable(place, "the answer to a write was lost and another writer came after it; read again")
}

/// Others kept changing the document.
pub(super) fn contended(place: &str) -> StoreError {
    unavailable(place, "others kept changing the same document; try again")
}

/// What the environment says about AWS cannot be used.
pub(super) fn unusable(place: &str, why: &Unusable) -> StoreError {
    let or_here = if *why == Unusable::NoRegion { ", or `?region=` in the URL" } else { "" };
    misconfigured(place, &format!("{why}{or_here}"))
}

/// There is no mark, and what is there was not written by this program.
pub(super) fn objects_of_others(place: &str, name: &str) -> StoreError {
    misconfigured(
        place,
        &format!(
            "there are objects of another program, like {:?}; give the store a prefix of its own",
            one_line(name)
        ),
    )
}

/// An object under a document's name that is not a document.
pub(super) fn foreign(place: &str, name: &str, why: &str) -> StoreError {
    StoreError::Corrupt {
        place: place.to_owned(),
        reason: format!("the object {name:?}: {why}; remove it, or restore an older version of it"),
    }
}

/// An object whose name no document has.
pub(super) fn foreign_name(place: &str) -> StoreError {
    StoreError::Corrupt {
        place: place.to_owned(),
        reason: "an object there has a name with an empty, `.` or `..` segment; give the store a prefix of its own"
            .to_owned(),
    }
}

/// The same, for a name that can be shown.
pub(super) fn foreign_key(place: &str, name: &str, why: KeyError) -> StoreError {
    StoreError::Corrupt {
        place: place.to_owned(),
        reason: format!(
            "the object {name:?} was written by something else ({why}); give the store a prefix of its own"
        ),
    }
}

/// There is no store, and none is to be begun.
pub(super) fn not_there(place: &str) -> StoreError {
    StoreError::Missing { place: place.to_owned(), reason: "there is no store; correct the URL".to_owned() }
}

/// The mark belongs to another program.
pub(super) fn not_ours(place: &str, name: &str) -> StoreError {
    misconfigured(place, &format!("the object `{name}` there is not this program's; choose another prefix"))
}

/// The store has a shape this version does not know.
pub(super) fn newer(place: &str) -> StoreError {
    misconfigured(place, "it was made by a newer version of Countersign; use that version")
}

/// The service does not keep to the conditions a store rests on.
pub(super) fn unfit(place: &str, why: &str) -> StoreError {
    misconfigured(
        place,
        &format!(
            "{why}: two writers could overwrite each other here; use Amazon S3 or a service with conditional writes"
        ),
    )
}

fn misconfigured(place: &str, reason: &str) -> StoreError {
    StoreError::Misconfigured { place: place.to_owned(), reason: reason.to_owned() }
}

fn denied(place: &str, reason: &str) -> StoreError {
    StoreError::Denied { place: place.to_owned(), reason: reason.to_owned() }
}

fn unavailable(place: &str, reason: &str) -> StoreError {
    StoreError::Unavailable { place: place.to_owned(), reason: reason.to_owned() }
}

fn one_line(text: &str) -> String {
    text.replace(|character: char| character.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the client has it: everything in one text.
    fn answer(status: u16, code: &str) -> object_store::Error {
        let text = format!(
            "Server returned non-2xx status code: {status}: <Error><Code>{code}</Code><Message>no</Message></Error>"
        );
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn credentials_are_given_up_for_what_is_said_about_them_alone() {
        for (code, given_up) in [
            ("ExpiredToken", true),
            ("InvalidToken", true),
            ("TokenRefreshRequired", true),
            ("InvalidAccessKeyId", true),
            ("SignatureDoesNotMatch", true),
            ("AccessDenied", false),
            ("AllAccessDisabled", false),
            ("RequestTimeTooSkewed", false),
            ("SlowDown", false),
            ("", false),
        ] {
            let error = answer(403, code);
            assert_eq!(refuses_credentials(&error), given_up, "{code}");
            assert_eq!(translate("place", "bucket", &error).code(), "store_denied", "{code}");
        }
    }
}
