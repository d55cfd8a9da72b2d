//! The checks of a policy, in their order: `typ`, the types of the registered claims, the times,
//! `iss`, `sub`, `aud`, the claims that are required, the length of `sub`.
//!
//! One run for accepting a token and for explaining it: every check goes through a `Sink`, with its
//! words as a closure that only a run which explains ever calls. Called by `Signed::check`,
//! `Signed::explain` and `Policy::unreached`.

use super::{ClaimError, ClaimName, ClaimValue, Expiry, Kinds, OTHER_KINDS, Policy, RegisteredClaims};
use crate::{
    Timestamp,
    explain::{About, Distance, Sink, excerpt, quoted, shown_instant},
    json::{Object, string},
};
use serde_json::{Value, value::RawValue};

/// What is shown where a claim is not there.
const ABSENT: &str = "absent";

impl Policy {
    pub(super) fn run<S: Sink>(
        &self,
        claims: &Object<'_>,
        typ: Option<&str>,
        now: Timestamp,
        sink: &mut S,
    ) -> Result<RegisteredClaims, ClaimError> {
        if let Some(expected) = &self.typ {
            let found = || typ.map_or_else(|| ABSENT.to_owned(), quoted);
            sink.take(is_media_type(expected, typ), || About::new("typ", quoted(expected), found()))?;
        } else if self.kinds == Kinds::ForRequests
            && OTHER_KINDS.iter().any(|other| is_media_type(other, typ).is_ok())
        {
            let expected = || "a token that is for requests".to_owned();
            let found = || typ.map(quoted).unwrap_or_default();
            sink.take(Err(ClaimError::WrongTyp), || About::new("typ", expected(), found()))?;
        }
        let registered = RegisteredClaims::read(claims, self.fractions, sink)?;
        self.run_times(&registered, now, sink)?;
        for (name, expected, found) in
            [("iss", &self.issuer, &registered.iss), ("sub", &self.subject, &registered.sub)]
        {
            if let Some(expected) = expected {
                sink.take(exactly(name, expected, found.as_deref()), || {
                    About::new(name, quoted(expected), shown(claims, name))
                })?;
            }
        }
        if let Some(expected) = &self.audiences {
            sink.take(self.check_audience(expected, claims, &registered.aud), || {
                About::new("aud", one_of(expected), self.shown_audience(claims))
            })?;
        }
        for (name, expected) in &self.required {
            sink.take(is_there(name, expected.as_ref(), claims), || {
                let any = || "any value but null".to_owned();
                let expected = expected.as_ref().map_or_else(any, |value| excerpt(value.as_str()));
                let name_shown = format!("claim {}", excerpt(name.as_str()));
                About::new(name_shown, expected, text_of(name.find(claims)))
            })?;
        }
        if let Some(max) = self.max_subject_chars {
            let chars = registered.sub.as_ref().map(|sub| sub.chars().count());
            let fits = chars.is_some_and(|chars| (1..=max).contains(&chars));
            sink.take(if fits { Ok(()) } else { Err(ClaimError::UnacceptableSubject) }, || {
                let found = chars.map_or_else(|| shown(claims, "sub"), |chars| format!("{chars} characters"));
                About::new("sub length", format!("1 to {max} characters"), found)
            })?;
        }
        Ok(registered)
    }

    fn run_times<S: Sink>(
        &self,
        claims: &RegisteredClaims,
        now: Timestamp,
        sink: &mut S,
    ) -> Result<(), ClaimError> {
        let found = |at: Option<Timestamp>| at.map_or_else(|| ABSENT.to_owned(), |at| shown_instant(at, now));
        let leeway = || match self.leeway.as_secs() {
            0 => String::new(),
            _ => format!(" (leeway {})", Distance(self.leeway)),
        };
        if self.expiry != Expiry::Ignored {
            let outcome = match claims.exp {
                None if self.expiry == Expiry::Required => Err(ClaimError::Missing("exp".into())),
                Some(exp) if now >= exp.plus(self.leeway) => Err(ClaimError::Expired),
                _ => Ok(()),
            };
            let absent = if self.expiry == Expiry::CheckedIfPresent { " or absent" } else { "" };
            sink.take(outcome, || {
                About::new("exp", format!("in the future{absent}{}", leeway()), found(claims.exp))
            })?;
        }
        let horizon = now.plus(self.leeway);
        for (name, at, too_late) in
            [("nbf", claims.nbf, ClaimError::NotYetValid), ("iat", claims.iat, ClaimError::IssuedInTheFuture)]
        {
            let outcome = if at.is_some_and(|at| at > horizon) { Err(too_late) } else { Ok(()) };
            sink.take(outcome, || {
                About::new(name, format!("not in the future, or absent{}", leeway()), found(at))
            })?;
        }
        if let Some(max_age) = self.max_age {
            let outcome = match claims.iat {
                None => Err(ClaimError::Missing("iat".into())),
                Some(iat) if now > iat.plus(max_age).plus(self.leeway) => Err(ClaimError::TooOld),
                Some(_) => Ok(()),
            };
            sink.take(outcome, || {
                let expected = format!("`iat` at most {} ago{}", Distance(max_age), leeway());
                About::new("age", expected, found(claims.iat))
            })?;
        }
        Ok(())
    }

    /// The claim that stands in for `aud`, where there is no `aud`.
    fn stand_in(&self, claims: &Object<'_>) -> Option<&str> {
        self.audience_fallback.as_deref().filter(|_| claims.get("aud").is_none())
    }

    fn check_audience(
        &self,
        expected: &[String],
        claims: &Object<'_>,
        audiences: &[String],
    ) -> Result<(), ClaimError> {
        let missing = || ClaimError::Missing("aud".into());
        if let Some(claim) = self.stand_in(claims) {
            let client = claims.get(claim).and_then(string).ok_or_else(missing)?;
            let found = expected.iter().any(|audience| *audience == client);
            return if found { Ok(()) } else { Err(ClaimError::Mismatch(claim.to_owned())) };
        }
        if audiences.is_empty() {
            return Err(missing());
        }
        let found = audiences.iter().any(|audience| expected.contains(audience));
        if found { Ok(()) } else { Err(ClaimError::Mismatch("aud".into())) }
    }

    fn shown_audience(&self, claims: &Object<'_>) -> String {
        match self.stand_in(claims) {
            Some(claim) => format!("`{claim}`: {}", shown(claims, claim)),
            None => shown(claims, "aud"),
        }
    }
}

fn is_media_type(expected: &str, typ: Option<&str>) -> Result<(), ClaimError> {
    let typ = typ.ok_or_else(|| ClaimError::Missing("typ".into()))?;
    let same = media_type(typ).eq_ignore_ascii_case(media_type(expected));
    if same { Ok(()) } else { Err(ClaimError::WrongTyp) }
}

fn media_type(typ: &str) -> &str {
    match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => typ,
    }
}

fn exactly(name: &'static str, expected: &str, found: Option<&str>) -> Result<(), ClaimError> {
    let found = found.ok_or_else(|| ClaimError::Missing(name.into()))?;
    if found == expected { Ok(()) } else { Err(ClaimError::Mismatch(name.into())) }
}

fn is_there(name: &ClaimName, expected: Option<&ClaimValue>, claims: &Object<'_>) -> Result<(), ClaimError> {
    let raw = name.find(claims).filter(|raw| raw.get() != "null");
    let raw = raw.ok_or_else(|| ClaimError::Missing(name.to_string()))?;
    let matches = expected.is_none_or(|value| value.is(raw));
    if matches { Ok(()) } else { Err(ClaimError::Mismatch(name.to_string())) }
}

/// The text of a claim's value.
fn shown(claims: &Object<'_>, name: &str) -> String {
    text_of(claims.get(name))
}

fn text_of(found: Option<&RawValue>) -> String {
    found.map_or_else(|| ABSENT.to_owned(), |raw| excerpt(raw.get()))
}

fn one_of(expected: &[String]) -> String {
    match expected {
        [] => "no token at all".to_owned(),
        [one] => quoted(one),
        many => excerpt(&format!("one of {}", Value::from(many))),
    }
}
