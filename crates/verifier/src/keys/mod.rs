//! `LoadedKeys`: the parsed keys of one issuer at one moment. They verify this issuer's tokens and
//! no other's.
//!
//! A document is parsed once, as a whole, into a new value: a refresh replaces the keys and never
//! adds to them. One bad key is skipped and the good ones kept. Keys whose algorithm the issuer may
//! not use do not count as usable; a well-formed document without a usable key withdraws all that
//! were known, and says so (`are_usable`). Called by `verifier`; made by `remote` and, for inline
//! sources, at start.

mod x509;

use crate::{error::VerifyError, fetch::FetchError, trusted::Identity};
use aws_lc_rs::digest::{SHA256, digest};
use countersign_jose::{
    Algorithm, Instead, KeyError, KeySet, PublicKey, Skipped, Timestamp, TokenError, Unverified,
    VerifyingKey, check_kid,
    json::{DEFAULT_DEPTH, Object, string},
    quoted,
};
use serde_json::value::RawValue;
use std::collections::HashMap;

/// As many keys that were passed over are named where that explains a refusal.
const MOST_SKIPPED_SHOWN: usize = 3;

/// The form of a key document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// RFC 7517 §5.
    Jwks,
    /// `{kid: PEM certificate}`.
    X509Map,
    /// One of these, told apart by the document.
    KeyDocument,
    /// One public key as PEM.
    Pem,
}

impl Format {
    /// Whether `body` is to be read as a JWK Set. Only that has an array `keys`: a certificate
    /// named so is a string.
    fn is_jwks(self, body: &[u8]) -> Result<bool, FetchError> {
        match self {
            Self::Jwks => Ok(true),
            Self::X509Map | Self::Pem => Ok(false),
            Self::KeyDocument => has_array_of_keys(body),
        }
    }
}

fn has_array_of_keys(body: &[u8]) -> Result<bool, FetchError> {
    let document = Object::parse(body, DEFAULT_DEPTH).map_err(FetchError::NotJson)?;
    Ok(document.get("keys").is_some_and(|keys| keys.get().starts_with('[')))
}

/// The keys of one issuer.
#[derive(Debug)]
pub(crate) struct LoadedKeys {
    keys: Keys,
    /// Whether one of them is for an algorithm of the issuer.
    usable: bool,
    /// Names what the keys were made from: same bytes, same fingerprint.
    fingerprint: [u8; 32],
    /// When a key's certificate is valid, by `kid`; no key has an empty one, which stands for a key
    /// without a name.
    certificates: HashMap<String, Validity>,
    /// The `issuer` members of a shared key set (Entra), by `kid`.
    owners: HashMap<String, Vec<String>>,
}

/// The public key of a PEM text: a public key, the public half of a private one, or that of a
/// certificate. For code that has to know what kind of key it is; whether a certificate is valid
/// now is for the verifier to say.
///
/// # Errors
///
/// What the text is instead.
pub fn public_key(text: &str) -> Result<PublicKey, KeyError> {
    x509::public_key(text).map(|(key, _)| key)
}

#[derive(Debug)]
enum Keys {
    Set(KeySet),
    /// One key without a name.
    Only(Box<VerifyingKey>),
}

/// From when until when a certificate is valid, both ends included (RFC 5280 §4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    fn holds_at(self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

impl LoadedKeys {
    /// One key for every token of its issuer.
    pub(crate) fn only(key: VerifyingKey) -> Self {
        Self {
            keys: Keys::Only(Box::new(key)),
            usable: true,
            fingerprint: [0; 32],
            certificates: HashMap::new(),
            owners: HashMap::new(),
        }
    }

    /// The one key of a PEM text, for every token of its issuer: a public key, the public half of a
    /// private one, or that of a certificate, whose dates count.
    pub(crate) fn of_pem(text: &str, algorithm: Algorithm) -> Result<Self, KeyError> {
        let (public, validity) = x509::public_key(text)?;
        let mut keys = Self::only(VerifyingKey::new(&public, algorithm, None)?);
        keys.certificates.extend(validity.map(|validity| (String::new(), validity)));
        Ok(keys)
    }

    /// Reads a key document that is at hand: a JWK Set, a JWK or a map of certificates.
    pub(crate) fn of_json(text: &str, allowed: &[Algorithm]) -> Result<Self, FetchError> {
        let text = text.trim_start_matches('\u{feff}').trim();
        let is_map = text.contains("-----BEGIN CERTIFICATE-----") && !has_array_of_keys(text.as_bytes())?;
        Self::parse(if is_map { Format::X509Map } else { Format::Jwks }, text.as_bytes(), allowed)
    }

    /// Reads a key document. One that is well-formed but holds no key for these algorithms is not
    /// an error: its issuer has withdrawn them all ([`LoadedKeys::are_usable`]).
    pub(crate) fn parse(format: Format, body: &[u8], allowed: &[Algorithm]) -> Result<Self, FetchError> {
        if format == Format::Pem {
            return Self::of_fetched_pem(body, allowed);
        }
        let mut certificates = HashMap::new();
        let mut owners = HashMap::new();
        let set = if format.is_jwks(body)? {
            let set = KeySet::parse_for(body, allowed).map_err(not_a_key_set)?;
            owners = owners_of(body);
            for Skipped { kid, why } in set.skipped() {
                tracing::debug!(code = why.code(), kid, "a key of a JWK Set was passed over: {why}");
            }
            set
        } else {
            KeySet::from(x509::read(body, allowed, &mut certificates)?)
        };
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, body).as_ref());
        let usable = is_usable(&set, allowed);
        // A JSON object of another kind, such as one that reports an error, withdraws nothing.
        if !usable && format.is_jwks(body)? && !has_array_of_keys(body)? {
            return Err(FetchError::NoUsableKey);
        }
        Ok(Self { keys: Keys::Set(set), usable, fingerprint, certificates, owners })
    }

    /// The one key of an answer, which is a public key and nothing else.
    fn of_fetched_pem(body: &[u8], allowed: &[Algorithm]) -> Result<Self, FetchError> {
        let text = std::str::from_utf8(body).unwrap_or_default().trim();
        let [algorithm] = allowed else { return Err(FetchError::NoUsableKey) };
        if !text.starts_with("-----BEGIN PUBLIC KEY-----") {
            return Err(FetchError::NotAKeySet(KeyError::NoKeyFound(Instead::of(text))));
        }
        let mut keys = Self::of_pem(text, *algorithm).map_err(FetchError::NotAKeySet)?;
        keys.fingerprint.copy_from_slice(digest(&SHA256, body).as_ref());
        Ok(keys)
    }

    /// Keys that never change.
    pub(crate) fn of_set(set: KeySet, allowed: &[Algorithm]) -> Result<Self, FetchError> {
        if !is_usable(&set, allowed) {
            return Err(FetchError::NoUsableKey);
        }
        Ok(Self {
            keys: Keys::Set(set),
            usable: true,
            fingerprint: [0; 32],
            certificates: HashMap::new(),
            owners: HashMap::new(),
        })
    }

    /// Whether any key in them can verify a token of the issuer.
    pub(crate) fn are_usable(&self) -> bool {
        self.usable
    }

    /// Which keys were passed over and why, or are for other algorithms, each behind a semicolon;
    /// empty where none is.
    pub(crate) fn skipped_in_words(&self, allowed: &[Algorithm]) -> String {
        let Keys::Set(set) = &self.keys else { return String::new() };
        let one = |Skipped { kid, why }: &Skipped| match kid {
            Some(kid) => format!("; key {} was passed over: {why}", quoted(kid)),
            None => format!("; a key was passed over: {why}"),
        };
        let others = set.keys().iter().filter(|key| !allowed.contains(&key.algorithm()));
        let others = others.map(|key| match key.kid() {
            Some(kid) => format!("; key {} is for {}", quoted(kid), key.algorithm()),
            None => format!("; a key is for {}", key.algorithm()),
        });
        set.skipped().iter().map(one).chain(others).take(MOST_SKIPPED_SHOWN).collect()
    }

    /// How many keys there are.
    pub(crate) fn count(&self) -> usize {
        match &self.keys {
            Keys::Set(set) => set.keys().len(),
            Keys::Only(_) => 1,
        }
    }

    /// The same for two values only if their keys are the same.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The key that must verify this token. Its name is only compared.
    pub(crate) fn select(&self, token: &Unverified<'_>) -> Result<&VerifyingKey, VerifyError> {
        match &self.keys {
            Keys::Set(set) => Ok(set.select(token)?),
            Keys::Only(key) => Ok(key),
        }
    }

    /// Whether a key may be used now, where it came in a certificate.
    pub(crate) fn check_certificate(&self, key: &VerifyingKey, now: Timestamp) -> Result<(), VerifyError> {
        match self.certificate(key) {
            Some(validity) if !validity.holds_at(now) => Err(VerifyError::CertificateNotValid),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a key of a shared set is of the issuer whose token it is to verify.
    pub(crate) fn check_owner(&self, key: &VerifyingKey, identity: &Identity) -> Result<(), VerifyError> {
        let owned = self.owners(key).iter().all(|owner| identity.owns_keys_of(owner));
        if owned { Ok(()) } else { Err(VerifyError::KeyOfAnotherIssuer) }
    }

    /// When the certificate of a key is valid, if it came in one.
    pub(crate) fn certificate(&self, key: &VerifyingKey) -> Option<Validity> {
        self.certificates.get(key.kid().unwrap_or_default()).copied()
    }

    /// The issuers a shared key set names for a key.
    pub(crate) fn owners(&self, key: &VerifyingKey) -> &[String] {
        key.kid().and_then(|kid| self.owners.get(kid)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The names of the keys; `None` where one key is for every token.
    pub(crate) fn names(&self) -> Option<Vec<&str>> {
        match &self.keys {
            Keys::Set(set) => Some(set.keys().iter().filter_map(VerifyingKey::kid).collect()),
            Keys::Only(_) => None,
        }
    }
}

fn is_usable(set: &KeySet, allowed: &[Algorithm]) -> bool {
    set.keys().iter().any(|key| allowed.contains(&key.algorithm()))
}

fn not_a_key_set(why: KeyError) -> FetchError {
    match why {
        KeyError::Json(why) => FetchError::NotJson(why),
        // A document without `keys` is read as one JWK; without `kty` it is neither.
        why => FetchError::NotAKeySet(why),
    }
}

/// The `issuer` members of a JWK Set. Only Entra has them, in sets that several tenants share.
fn owners_of(body: &[u8]) -> HashMap<String, Vec<String>> {
    let mut owners: HashMap<String, Vec<String>> = HashMap::new();
    let Ok(set) = Object::parse(body, DEFAULT_DEPTH) else { return owners };
    let keys: Vec<&RawValue> =
        set.get("keys").and_then(|keys| serde_json::from_str(keys.get()).ok()).unwrap_or_default();
    for key in keys {
        let Ok(key) = Object::parse(key.get().as_bytes(), DEFAULT_DEPTH) else { continue };
        let (Some(kid), Some(owner)) = (key.get("kid").and_then(string), key.get("issuer").and_then(string))
        else {
            continue;
        };
        owners.entry(kid.into_owned()).or_default().push(owner.into_owned());
    }
    owners
}

/// Whether a token's `kid` could be the name of a key that is not known yet, and so be worth a
/// look.
pub(crate) fn may_be_new(token: &Unverified<'_>, why: &VerifyError) -> bool {
    matches!(why, VerifyError::Token(TokenError::NoKey | TokenError::KeyUnusable(_)))
        && token.unverified_kid().is_some_and(|kid| check_kid(kid).is_ok())
}
