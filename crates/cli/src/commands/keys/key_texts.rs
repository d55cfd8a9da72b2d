//! What private keys are written in: PEM, JWK, JWKS, and documents of a MongoDB collection.
//!
//! A document is a JWK with whatever else is kept beside it (`pem`, `_id`, `createdAt`, `__v`, …),
//! or has `pem` alone. Several stand in an array, one behind the other (`mongoexport`, with
//! `--jsonArray` or without; extended JSON in members that are not a key's is passed over), or as
//! `keys` of a JWKS. Where a key is there twice, as JWK and as PEM, the two must be one key. A text
//! with anything in it that is no private key is refused as a whole, and the message says which it
//! is.

use crate::failure::{Failure, Outcome, refused};
use countersign_jose::{
    Algorithm, Instead, Jwk, KeyError, MAX_KEYS, PrivateKey, PublicKey,
    json::{DEFAULT_DEPTH, JsonError, Object},
};
use countersign_keyring::ImportedMaterial;
use serde_json::value::RawValue;

/// A key that was read, with the name and algorithm it came with.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) material: ImportedMaterial,
    pub(super) kid: Option<String>,
    pub(super) algorithm: Option<Algorithm>,
}

/// The keys of a text, at least one.
pub(super) fn of_text(text: &str) -> Outcome<Vec<Read>> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(unusable(KeyError::NoKeyFound(Instead::Nothing)));
    }
    if !text.starts_with(['{', '[']) {
        let material = ImportedMaterial::Private(PrivateKey::from_pem(text).map_err(unusable)?);
        return Ok(vec![Read { material, kid: None, algorithm: None }]);
    }
    let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let values = values.map(|value| {
        value.map_err(|why| {
            unusable(KeyError::Json(JsonError::Malformed { line: why.line(), column: why.column() }))
        })
    });
    of_values(values)
}

/// The keys of documents, each a JSON text of its own.
pub(super) fn of_documents(documents: &[String]) -> Outcome<Vec<Read>> {
    of_values(documents.iter().map(|text| {
        serde_json::from_str::<&RawValue>(text)
            .map_err(|_| refused("key_malformed_json", "a document is not JSON"))
    }))
}

fn of_values<'t>(values: impl Iterator<Item = Outcome<&'t RawValue>>) -> Outcome<Vec<Read>> {
    let mut documents = Vec::new();
    for value in values {
        let value = value?;
        match elements(value)? {
            Some(several) => documents.extend(several),
            None => documents.push(value),
        }
        if documents.len() > MAX_KEYS {
            return Err(unusable(KeyError::TooManyKeys));
        }
    }
    if documents.is_empty() {
        return Err(refused("key_not_found", "no key found: it is empty"));
    }
    let count = documents.len();
    let read = |(index, document): (usize, &RawValue)| {
        of_document(document).map_err(|why| match count {
            1 => why,
            _ => why.about(format!("key {} of {count}{}", index + 1, called(document))),
        })
    };
    documents.into_iter().enumerate().map(read).collect()
}

/// The documents of an array or of a JWKS; `None` for what is one itself.
fn elements(value: &RawValue) -> Outcome<Option<Vec<&RawValue>>> {
    if value.get().starts_with('[') {
        return serde_json::from_str(value.get()).map(Some).map_err(|why| {
            unusable(KeyError::Json(JsonError::Malformed { line: why.line(), column: why.column() }))
        });
    }
    let object = object(value)?;
    let Some(keys) = object.get("keys") else { return Ok(None) };
    let keys = serde_json::from_str(keys.get());
    keys.map(Some).map_err(|_| refused("key_wrong_type", "`keys` of a JWKS must be an array of JWKs"))
}

fn of_document(document: &RawValue) -> Outcome<Read> {
    let object = object(document)?;
    let has = |name: &str| object.get(name).is_some_and(|value| value.get() != "null");
    let pem = match has("pem") {
        true => object.string("pem").map_err(|why| unusable(why.into()))?,
        false => None,
    };
    match (has("kty"), pem) {
        (true, None) => of_jwk(Jwk::from_object(&object).map_err(unusable)?, None),
        (true, Some(pem)) => of_jwk(Jwk::from_object(&object).map_err(unusable)?, Some(&pem)),
        (false, Some(pem)) => of_pem(&object, &pem),
        (false, None) => {
            Err(refused("key_missing_member", "it is not a key: it has neither `kty` nor `pem`"))
        }
    }
}

fn of_jwk(jwk: Jwk, pem: Option<&str>) -> Outcome<Read> {
    if pem.is_none() {
        jwk.check_signs().map_err(unusable)?;
    }
    let (kid, algorithm) = (jwk.kid().map(str::to_owned), jwk.algorithm());
    let Some(public) = jwk.public_key() else {
        if pem.is_some() {
            return Err(refused(
                "key_pem_differs",
                "its `pem` cannot be the key of its JWK members: that is a secret",
            ));
        }
        let secret = jwk.into_symmetric_key().ok_or(KeyError::NotPrivate).map_err(unusable)?;
        return Ok(Read { material: ImportedMaterial::Secret(secret), kid, algorithm });
    };
    if let Some(pem) = pem {
        let other = PublicKey::from_pem(pem).map_err(|why| unusable(why).about("pem"))?;
        let members = differences(&public, &other);
        if !members.is_empty() {
            let members: Vec<_> = members.iter().map(|member| format!("`{member}`")).collect();
            let why = "its `pem` is another key than its JWK members: they differ in";
            return Err(refused("key_pem_differs", format!("{why} {}", members.join(", "))));
        }
    }
    let private = match (jwk.into_private_key(), pem) {
        // A public JWK beside its private key.
        (Err(KeyError::NotPrivate), Some(pem)) => PrivateKey::from_pem(pem),
        (outcome, _) => outcome,
    };
    Ok(Read { material: ImportedMaterial::Private(private.map_err(unusable)?), kid, algorithm })
}

/// A key whose JWK members are only those that say what it is for.
fn of_pem(object: &Object<'_>, pem: &str) -> Outcome<Read> {
    let text = |name| object.string(name).map_err(|why| unusable(why.into()));
    if text("use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(unusable(KeyError::NotForSignatures));
    }
    let kid = text("kid")?.map(|kid| kid.into_owned());
    let algorithm = text("alg")?.map(|algorithm| algorithm.parse::<Algorithm>()).transpose();
    let algorithm = algorithm.map_err(|why| unusable(why.into()))?;
    let private = PrivateKey::from_pem(pem).map_err(|why| unusable(why).about("pem"))?;
    Ok(Read { material: ImportedMaterial::Private(private), kid, algorithm })
}

/// The JWK members in which two keys are not the same.
fn differences(one: &PublicKey, other: &PublicKey) -> Vec<&'static str> {
    use PublicKey::{Ec, Ed25519, Rsa};
    let compared = match (one, other) {
        (Rsa { n, e }, Rsa { n: other_n, e: other_e }) => vec![("n", n == other_n), ("e", e == other_e)],
        (Ec { curve, x, y }, Ec { curve: other_curve, x: other_x, y: other_y }) => {
            vec![("crv", curve == other_curve), ("x", x == other_x), ("y", y == other_y)]
        }
        (Ed25519 { x }, Ed25519 { x: other_x }) => vec![("x", x == other_x)],
        _ => vec![("kty", false)],
    };
    compared.into_iter().filter(|(_, same)| !same).map(|(member, _)| member).collect()
}

/// What a document calls itself, for a message: never a member that may be part of a key.
fn called(document: &RawValue) -> String {
    let Ok(object) = object(document) else { return String::new() };
    let name = ["kid", "_id"].into_iter().find_map(|name| Some((name, object.get(name)?.get())));
    name.filter(|(_, value)| value.len() <= 100 && value.is_ascii())
        .map_or_else(String::new, |(name, value)| format!(" ({name} {value})"))
}

fn object(value: &RawValue) -> Outcome<Object<'_>> {
    Object::parse(value.get().as_bytes(), DEFAULT_DEPTH).map_err(|why| unusable(why.into()))
}

fn unusable(why: KeyError) -> Failure {
    refused(why.code(), why)
}
