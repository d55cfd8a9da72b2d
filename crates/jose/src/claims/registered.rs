//! The registered claims of RFC 7519 §4.1, read into their types: strings, one or many audiences,
//! whole seconds.
//!
//! A claim that is there has its type or is refused, whether or not anything is expected of it.
//! Called by `claims` for a token that is read, and by issuers for one that is about to be made, so
//! that nothing is minted that is refused here. Pinned by `tests/claims.rs`.

use super::{ClaimError, Fractions};
use crate::{
    Timestamp,
    explain::{About, Sink, excerpt},
    json::{Object, WrongType, string},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, ops::Range};

/// The seconds since 1970 that `exp`, `nbf` and `iat` may have: up to the end of the year 9999.
pub const NUMERIC_DATES: Range<i64> = 0..253_402_300_800;

/// Whether a verifier takes `value` as the claim `name`, as far as types go. Any claim that is not
/// registered fits.
///
/// # Errors
///
/// The type that RFC 7519 §4.1 gives the claim.
pub fn check_registered_claim(name: &str, value: &RawValue) -> Result<(), WrongType> {
    RegisteredClaims::default().set(name, value, Fractions::Refused)
}

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
    pub(super) fn read<S: Sink>(
        claims: &Object<'_>,
        fractions: Fractions,
        sink: &mut S,
    ) -> Result<Self, ClaimError> {
        let mut registered = Self::default();
        for (name, raw) in claims.members() {
            if let Err(WrongType { name, expected }) = registered.set(name, raw, fractions) {
                let why = ClaimError::WrongType { name, expected };
                sink.take(Err(why), || About::new(name, expected, excerpt(raw.get())))?;
            }
        }
        Ok(registered)
    }

    fn set(&mut self, name: &str, raw: &RawValue, fractions: Fractions) -> Result<(), WrongType> {
        match name {
            "iss" => self.iss = Some(text("iss", raw)?.into_owned()),
            "sub" => self.sub = Some(text("sub", raw)?.into_owned()),
            "jti" => self.jti = Some(text("jti", raw)?.into_owned()),
            "aud" => self.aud = one_or_many("aud", raw)?,
            "exp" => self.exp = Some(numeric_date("exp", raw, fractions, Round::Down)?),
            "nbf" => self.nbf = Some(numeric_date("nbf", raw, fractions, Round::Up)?),
            "iat" => self.iat = Some(numeric_date("iat", raw, fractions, Round::Down)?),
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

/// To which whole second a fraction goes: the one that accepts the token for less time. For `iat`
/// that is the earlier one, because the token's age counts from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Down,
    Up,
}

/// Not negative, before the year 10000, in whole seconds unless the policy takes fractions: two
/// readers that round differently disagree about a token.
fn numeric_date(
    name: &'static str,
    raw: &RawValue,
    fractions: Fractions,
    round: Round,
) -> Result<Timestamp, WrongType> {
    let seconds = match (raw.get().parse::<i64>(), fractions) {
        (Ok(seconds), _) => Some(seconds),
        (Err(_), Fractions::Rounded) => whole_second(raw.get(), round),
        (Err(_), Fractions::Refused) => None,
    };
    let expected = match fractions {
        Fractions::Refused => "a whole number of seconds since 1970",
        Fractions::Rounded => "a number of seconds since 1970, written without an exponent",
    };
    let seconds = seconds.filter(|seconds| NUMERIC_DATES.contains(seconds));
    seconds.map(Timestamp::from_unix_seconds).ok_or(WrongType { name, expected })
}

/// The whole second for `SECONDS.FRACTION`, rounded by its digits and never through a float.
fn whole_second(text: &str, round: Round) -> Option<i64> {
    let (whole, fraction) = text.split_once('.')?;
    if whole.starts_with('-') || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let up = round == Round::Up && fraction.bytes().any(|byte| byte != b'0');
    whole.parse::<i64>().ok()?.checked_add(i64::from(up))
}
