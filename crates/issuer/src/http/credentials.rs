//! Client credentials of a request (RFC 6749 §2.3.1): HTTP Basic, or `client_id` and
//! `client_secret` in the body.
//!
//! Exactly one of the two; both at once is a malformed request, even if they agree. A secret in
//! Basic has two readings: §2.3.1 wants it form-encoded first, and many clients send it as it is.
//! Ids have no character that would be encoded.

use super::error::HttpError;
use axum::http::{HeaderMap, header};
use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use std::fmt;
use zeroize::Zeroizing;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a caller shows of itself. Not believed yet.
pub struct Credentials {
    /// The client's name.
    pub id: String,
    /// Its secret.
    secret: Zeroizing<String>,
    /// The secret as it was sent, where that is another text.
    unencoded: Option<Zeroizing<String>>,
}

impl Credentials {
    /// What the secret may be: as the specification says, and as it was sent.
    pub fn readings(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.secret).chain(&self.unencoded).map(|secret| secret.as_bytes())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

pub(super) fn select(headers: &HeaderMap, body: Option<(&str, &str)>) -> Result<Credentials, HttpError> {
    match (basic(headers)?, body) {
        (Some(_), Some(_)) => {
            Err(HttpError::BadBody("send the credentials in the header or in the body, not both"))
        }
        (Some(basic), None) => Ok(basic),
        (None, Some((id, secret))) => {
            let secret = Zeroizing::new(secret.to_owned());
            Ok(Credentials { id: id.to_owned(), secret, unencoded: None })
        }
        (None, None) => Err(HttpError::InvalidClient),
    }
}

/// The credentials of HTTP Basic, where there is an `Authorization` header.
///
/// # Errors
///
/// If there are two such headers, or it is of another scheme or malformed.
pub fn basic(headers: &HeaderMap) -> Result<Option<Credentials>, HttpError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HttpError::BadBody("more than one Authorization header"));
    }
    let parse = || {
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(BASE64.decode(encoded.trim()).ok()?);
        let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        // RFC 6749 §2.3.1: both are form-urlencoded before they are joined.
        let (id, unencoded) = (form_decode(id)?, Zeroizing::new(secret.to_owned()));
        Some(match form_decode(secret).map(Zeroizing::new) {
            None => Credentials { id, secret: unencoded, unencoded: None },
            Some(secret) if *secret == *unencoded => Credentials { id, secret, unencoded: None },
            Some(secret) => Credentials { id, secret, unencoded: Some(unencoded) },
        })
    };
    parse().map(Some).ok_or(HttpError::InvalidClient)
}

/// One value of `application/x-www-form-urlencoded`; `None` when it is not UTF-8.
pub fn form_decode(text: &str) -> Option<String> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(text.to_owned());
    }
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}
