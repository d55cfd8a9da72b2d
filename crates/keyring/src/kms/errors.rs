//! What KMS and the way to it say, as decisions: try again later, let the operator look at the key
//! or the permissions, or give up.
//!
//! By the error codes of the KMS API reference ("Common errors" and each operation's). A code that
//! is not known counts as a key that cannot be used, with its message.

use crate::ServiceError;
use aws_sdk_kms::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use std::error::Error;

pub(super) fn classified<E>(error: SdkError<E>) -> ServiceError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let Some(code) = error.code() else { return without_answer(&error) };
    let said = match error.message() {
        Some(message) => format!("{code}: {message}"),
        None => code.to_owned(),
    };
    match code {
        "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "LimitExceededException" => ServiceError::Busy,
        "AccessDeniedException"
        | "AccessDenied"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "ExpiredTokenException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired" => ServiceError::Denied(said),
        "IncorrectKeyException" => ServiceError::OtherKey,
        "InvalidCiphertextException" => ServiceError::Altered,
        "KeyUnavailableException"
        | "KMSInternalException"
        | "DependencyTimeoutException"
        | "InternalFailure"
        | "InternalError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => ServiceError::Unavailable(said),
        _ if status(&error).is_some_and(|status| status >= 500) => ServiceError::Unavailable(said),
        _ => ServiceError::Unusable(said),
    }
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// No answer of KMS: a time-out, no connection, no credentials, or something that is not KMS.
fn without_answer<E: Error + 'static>(error: &SdkError<E>) -> ServiceError {
    match status(error) {
        Some(429) => return ServiceError::Busy,
        Some(status @ (401 | 403)) => return ServiceError::Denied(format!("status {status}")),
        Some(status) => return ServiceError::Unavailable(format!("status {status} and no error of KMS")),
        None => {}
    }
    if let SdkError::TimeoutError(_) = error {
        return ServiceError::Unavailable("no answer in time".to_owned());
    }
    // The causes one after the other; the debug form that follows them is of no use to people.
    let causes = DisplayErrorContext(error).to_string();
    let causes = causes.split(" (").next().unwrap_or_default().to_owned();
    if causes.contains("credentials") || causes.contains("identity") {
        return ServiceError::Misconfigured(format!("no AWS credentials were found ({causes})"));
    }
    ServiceError::Unavailable(causes)
}
