//! The Firebase form of a key set: a JSON object from `kid` to a PEM certificate.
//!
//! A certificate is only the wrapping of a key here: it came from the configured address over TLS,
//! and anyone who signed it is not looked at. Its key and its dates (RFC 5280 §4.1.2.5) are. A bad
//! entry is skipped; an `error` member makes the whole document a failure, as it does for
//! Firebase's own SDK.

use super::Validity;
use crate::fetch::FetchError;
use countersign_jose::{
    Algorithm, Instead, KeyError, MAX_KEYS, PublicKey, Timestamp, VerifyingKey, check_kid,
    json::{DEFAULT_DEPTH, Object, string},
    unpacked_pem,
};
use std::collections::HashMap;
use x509_cert::{
    Certificate,
    der::{Decode, Encode, SliceReader},
    time::Time,
};

/// The keys of an x509 map, and when the certificate of each is valid.
pub(super) fn read(
    body: &[u8],
    allowed: &[Algorithm],
    certificates: &mut HashMap<String, Validity>,
) -> Result<Vec<VerifyingKey>, FetchError> {
    let map = Object::parse(body, DEFAULT_DEPTH).map_err(FetchError::NotJson)?;
    if map.get("error").is_some() {
        return Err(FetchError::ErrorDocument);
    }
    if map.members().len() > MAX_KEYS {
        return Err(FetchError::NotAKeySet(KeyError::TooManyKeys));
    }
    let mut keys = Vec::new();
    let mut is_map = map.members().len() == 0;
    for (kid, certificate) in map.members() {
        let read = check_kid(kid).and_then(|()| {
            let text = string(certificate).ok_or(KeyError::NoKeyFound(Instead::Json))?;
            let (public, validity) = certificate_key(&text)?;
            is_map = true;
            let algorithm = allowed.iter().copied().find(|a| a.key_kind() == public.kind());
            let algorithm = algorithm.ok_or(KeyError::NoAlgorithm)?;
            Ok((VerifyingKey::new(&public, algorithm, Some(kid.to_owned()))?, validity))
        });
        match read {
            Ok((key, validity)) => {
                keys.push(key);
                certificates.insert(kid.to_owned(), validity);
            }
            Err(why) => {
                tracing::debug!(code = why.code(), "a certificate of a key map was passed over: {why}")
            }
        }
    }
    // Some other JSON object withdraws nothing.
    if is_map { Ok(keys) } else { Err(FetchError::NoUsableKey) }
}

/// OpenSSL's certificate with what it is trusted for behind it.
const TRUSTED: &str = "TRUSTED CERTIFICATE";
/// What a certificate is called in PEM.
const LABELS: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", TRUSTED];

/// The public key of a PEM text, and the dates of the certificate it came in, if it came in one.
/// The text is an operator's, who has it from a file or a variable, so text around the one
/// certificate is passed over as around a key.
pub(crate) fn public_key(text: &str) -> Result<(PublicKey, Option<Validity>), KeyError> {
    match PublicKey::from_pem(text) {
        Ok(key) => Ok((key, None)),
        Err(KeyError::NoKeyFound(Instead::Certificate)) => {
            let blocks = pem::parse_many(unpacked_pem(text).as_bytes());
            let blocks = blocks.map_err(|_| KeyError::NoKeyFound(Instead::Body))?;
            let mut certificates = blocks.iter().filter(|block| LABELS.contains(&block.tag()));
            let one = certificates.next().ok_or(KeyError::NoKeyFound(Instead::Body))?;
            if certificates.next().is_some() {
                return Err(KeyError::MoreThanOneKey);
            }
            let certificate = match one.tag() {
                TRUSTED => SliceReader::new(one.contents()).and_then(|mut der| Certificate::decode(&mut der)),
                _ => Certificate::from_der(one.contents()),
            };
            let (key, validity) = key_of(&certificate.map_err(|_| KeyError::MalformedDer)?)?;
            Ok((key, Some(validity)))
        }
        Err(why) => Err(why),
    }
}

/// The key in the one certificate of a PEM text that has nothing else in it, and the certificate's
/// dates.
fn certificate_key(text: &str) -> Result<(PublicKey, Validity), KeyError> {
    // Text around the block would be taken for something else by another reader.
    let text = text.trim_start_matches('\u{feff}').trim();
    let none = || KeyError::NoKeyFound(Instead::of(text));
    let inner = text.strip_prefix("-----BEGIN CERTIFICATE-----");
    let inner = inner.and_then(|rest| rest.strip_suffix("-----END CERTIFICATE-----"));
    if inner.ok_or_else(none)?.contains("-----BEGIN") {
        return Err(KeyError::MoreThanOneKey);
    }
    if inner.is_none_or(|inner| inner.contains("-----")) {
        return Err(KeyError::NoKeyFound(Instead::Body));
    }
    let blocks = pem::parse_many(text.as_bytes()).map_err(|_| KeyError::NoKeyFound(Instead::Body))?;
    match blocks.as_slice() {
        [one] if one.tag() == "CERTIFICATE" => {
            key_of(&Certificate::from_der(one.contents()).map_err(|_| KeyError::MalformedDer)?)
        }
        [] | [_] => Err(KeyError::NoKeyFound(Instead::Body)),
        _ => Err(KeyError::MoreThanOneKey),
    }
}

/// The key in a certificate, and the certificate's dates.
fn key_of(certificate: &Certificate) -> Result<(PublicKey, Validity), KeyError> {
    let certificate = certificate.tbs_certificate();
    let spki = certificate.subject_public_key_info().to_der().map_err(|_| KeyError::MalformedDer)?;
    let public = PublicKey::from_spki_der(&spki)?;
    let validity = certificate.validity();
    Ok((
        public,
        Validity { not_before: instant(validity.not_before), not_after: instant(validity.not_after) },
    ))
}

fn instant(time: Time) -> Timestamp {
    Timestamp::from_unix_seconds(0).plus(time.to_unix_duration())
}
