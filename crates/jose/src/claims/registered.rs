//! The registered claims of RFC 7519 §4.1, read into their types: strings, one or many audiences, whole seconds.
//!
//! A claim that is there has its type or is refused, whether or not anything is expected of it. Called by `claims`.
//! Pinned by `tests/claims.rs`.

use super::ClaimError;
use crate::{
    Timestamp,
    explain::{About, Sink, excerpt},
    json::{Object, WrongType, string},
};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The registered claims of RFC 7519 §4.1, in their proper types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegisteredClaims {
    /// Who issued the token.
    pub iss: Option<String>,
    /// Whom it is about.
    pub sub: Option<String>,
    /// For whom it is; one or many.
    pub aud: Vec<String>,
    /// When it ends.
    pub exp: Option<Timestamp>,
    /// When it begins.
    pub nbf: Option<Timestamp>,
    /// When it was issued.
    pub iat: Option<Timestamp>,
    /// Its own name.
    pub jti: Option<String>,
}

impl RegisteredClaims {
    /// The type of a claim is a check of its own only where it is wrong.
    pub(super) fn read<S: Sink>(claims: &Object<'_>, sink: &mut S) -> Result<Self, ClaimError> {
        let mut registered = Self::default();
        for (name, raw) in claims.members() {
            if let Err(WrongType { name, expected }) = registered.set(name, raw) {
                let why = ClaimError::WrongType { name, expected };
                sink.take(Err(why), || About::new(name, expected, excerpt(raw.get())))?;
            }
        }
        Ok(registered)
    }

    fn set(&mut self, name: &str, raw: &RawValue) -> Result<(), WrongType> {
        match name {
            "iss" => self.iss = Some(text("iss", raw)?.into_owned()),
            "sub" => self.sub = Some(text("sub", raw)?.into_owned()),
            "jti" => self.jti = Some(text("jti", raw)?.into_owned()),
            "aud" => self.aud = one_or_many("aud", raw)?,
            "exp" => self.exp = Some(numeric_date("exp", raw)?),
            "nbf" => self.nbf = Some(numeric_date("nbf", raw)?),
            "iat" => self.iat = Some(numeric_date("iat", raw)?),
            _ => {}
        }
        Ok(())
    }
}

fn text<'a>(name: &'static str, raw: &'a RawValue) -> Result<Cow<'a, str>, WrongType> {
    string(raw).ok_or(WrongType { name, expected: "a string" })
}

fn one_or_many(name: &'static str, raw: &RawValue) -> Result<Vec<String>, WrongType> {
    if let Some(one) = string(raw) {
        return Ok(vec![one.into_owned()]);
    }
    serde_json::from_str(raw.get())
        .map_err(|_| WrongType { name, expected: "a string or an array of strings" })
}

/// Whole seconds, not negative, at most the year 9999. RFC 7519 would allow fractions; no issuer needs them, and two
/// readers that round differently disagree about a token.
fn numeric_date(name: &'static str, raw: &RawValue) -> Result<Timestamp, WrongType> {
    const YEAR_10000: i64 = 253_402_300_800;
    match raw.get().parse::<i64>() {
        Ok(seconds) if (0..YEAR_10000).contains(&seconds) => Ok(Timestamp::from_unix_seconds(seconds)),
        _ => Err(WrongType { name, expected: "a whole number of seconds since 1970" }),
    }
}
