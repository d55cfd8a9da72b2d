//! `countersign decode`: what a token says, verified by nobody. Needs no keys, no configuration and
//! no network.
//!
//! For a look at a token before anything else, as people do at jwt.io. Everything it prints is
//! marked as unverified, it has no option that makes it part of a decision, and nothing else in the
//! program reads a token in this way. Also shows what a strict reader refuses (padding, the other
//! alphabet of base64), and says that it does. Exit code 0 when there was something to show.

use super::Context;
use crate::{
    args::DecodeArgs,
    failure::{Outcome, refused},
    output,
    pasted::Pasted,
};
use countersign_jose::{
    MAX_TOKEN_BYTES, Timestamp, TokenPart, base64url,
    json::{DEFAULT_DEPTH, Object},
    shown_instant, shown_json,
};
use countersign_store::{Clock, SystemClock};
use serde::Serialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap};

/// Claims that are dates (RFC 7519 §4.1, OpenID Connect Core §2 and §5.1).
const DATES: [&str; 5] = ["exp", "nbf", "iat", "auth_time", "updated_at"];

/// Said first, whatever the token says.
const UNVERIFIED: &str = "not verified: this is what the token says, and anyone could have written it; `countersign verify` checks it";

pub(super) fn run(context: &Context<'_>, args: &DecodeArgs) -> Outcome {
    let pasted = Pasted::read(&args.token)?;
    let decoded = Decoded::of(&pasted, SystemClock.now())?;
    if context.json {
        let text = serde_json::to_string(&decoded).map_err(crate::failure::internal)?;
        output::line(&shown_json(&text));
    } else {
        decoded.lines().iter().for_each(|line| output::line(line));
    }
    Ok(())
}

/// What a token says.
#[derive(Serialize)]
struct Decoded {
    /// Always false.
    verified: bool,
    header: Box<RawValue>,
    /// `None` where the claims are encrypted or are no JSON object.
    claims: Option<Box<RawValue>>,
    /// The dates among the claims, in words.
    times: BTreeMap<String, String>,
    signature_bytes: Option<usize>,
    notes: Vec<String>,
}

impl Decoded {
    fn of(pasted: &Pasted, now: Timestamp) -> Outcome<Self> {
        let token = pasted.token.as_str();
        let mut notes: Vec<String> = pasted.note().into_iter().collect();
        if token.len() > MAX_TOKEN_BYTES {
            notes.push(format!(
                "it has {}, and verifiers read {MAX_TOKEN_BYTES} at most",
                countersign_jose::bytes(token.len())
            ));
        }
        let parts: Vec<&str> = token.split('.').collect();
        let (header, claims, signature) = match parts.as_slice() {
            [header, claims, signature] => (*header, Some(*claims), Some(*signature)),
            [header, claims] => {
                notes.push("it has no third part, so no signature".to_owned());
                (*header, Some(*claims), None)
            }
            [header, _, _, _, _] if is_encrypted(header) => {
                notes.push("it is encrypted (JWE): only its header can be read without its key".to_owned());
                (*header, None, None)
            }
            [_, _, _, _, _] => {
                return Err(refused(
                    "token_not_compact",
                    "these are two tokens behind one another, with nothing between them; give one",
                ));
            }
            parts => {
                let why = format!(
                    "this is not a token: one has three parts with dots between them, and here {}",
                    match parts.len() {
                        1 => "is one".to_owned(),
                        many => format!("are {many}"),
                    }
                );
                return Err(refused("token_not_compact", why));
            }
        };
        let header = part(header, TokenPart::Header, &mut notes)?;
        let header = object(&header).ok_or_else(|| {
            refused(
                "token_header_malformed",
                "this is not a token: its first part is not a JSON object in base64url",
            )
        })?;
        let claims = claims.and_then(|text| part(text, TokenPart::Claims, &mut notes).ok());
        let read = claims.as_deref().and_then(object);
        if let (Some(bytes), None) = (&claims, &read) {
            notes.push(format!(
                "its claims are not a JSON object, but {} of something else",
                countersign_jose::bytes(bytes.len())
            ));
        }
        let times = read.as_deref().map(|claims| times(claims, now)).unwrap_or_default();
        let signature_bytes = match signature {
            Some("") => {
                notes.push("its signature is empty: it is not signed".to_owned());
                Some(0)
            }
            Some(text) => part(text, TokenPart::Signature, &mut notes).ok().map(|bytes| bytes.len()),
            None => None,
        };
        Ok(Self { verified: false, header, claims: read, times, signature_bytes, notes })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![UNVERIFIED.to_owned(), "header".to_owned()];
        lines.extend(members(&self.header, &BTreeMap::new()));
        if let Some(claims) = &self.claims {
            lines.push("claims".to_owned());
            lines.extend(members(claims, &self.times));
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines
    }
}

/// The bytes of a part. What only a strict reader refuses is read all the same, and noted.
fn part(text: &str, part: TokenPart, notes: &mut Vec<String>) -> Outcome<Vec<u8>> {
    let strict = base64url::decode(text);
    let why = match strict {
        Ok(bytes) => return Ok(bytes),
        Err(why) => why,
    };
    notes.push(format!("verifiers refuse it: the {part} is not base64url: {why}"));
    let other: String = text
        .trim_end_matches('=')
        .chars()
        .map(|c| match c {
            '+' => '-',
            '/' => '_',
            c => c,
        })
        .collect();
    base64url::decode(&other).map_err(|why| {
        refused("token_not_base64url", format!("the {part} of the token is not base64url: {why}"))
    })
}

/// Whether a header is that of a JWE, which says how the content is encrypted (RFC 7516 §4.1.2).
fn is_encrypted(header: &str) -> bool {
    let header = base64url::decode(header).unwrap_or_default();
    Object::parse(&header, DEFAULT_DEPTH).is_ok_and(|header| header.get("enc").is_some())
}

/// JSON as it was typed, if it is an object.
fn object(bytes: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let raw = RawValue::from_string(text.trim().to_owned()).ok()?;
    raw.get().starts_with('{').then_some(raw)
}

/// A member a line, as it was typed, with its time in words behind it.
fn members(object: &RawValue, times: &BTreeMap<String, String>) -> Vec<String> {
    let Ok(object) = Object::parse(object.get().as_bytes(), DEFAULT_DEPTH) else {
        // What is there twice, or nested too deeply, is shown as it stands.
        return vec![format!("  {}", shown_json(object.get()))];
    };
    let width =
        object.names().map(|name| name.chars().count()).filter(|width| *width <= 24).max().unwrap_or(0);
    let line = |(name, value): (&str, &RawValue)| {
        let time = times.get(name).map_or(Cow::Borrowed(""), |time| Cow::Owned(format!("  ({time})")));
        format!("  {:width$}  {}{time}", shown_name(name), shown_json(value.get()))
    };
    object.members().map(line).collect()
}

fn shown_name(name: &str) -> String {
    match name.chars().all(|c| c.is_ascii_graphic()) {
        true => name.to_owned(),
        false => shown_json(&serde_json::Value::from(name).to_string()),
    }
}

/// The dates among the claims.
fn times(claims: &RawValue, now: Timestamp) -> BTreeMap<String, String> {
    let Ok(claims) = Object::parse(claims.get().as_bytes(), DEFAULT_DEPTH) else { return BTreeMap::new() };
    let one = |name: &str| {
        let text = claims.get(name)?.get();
        // Fractions are shown to the second.
        let seconds = text.split('.').next()?.parse().ok()?;
        Some((name.to_owned(), shown_instant(Timestamp::from_unix_seconds(seconds), now)))
    };
    DATES.into_iter().filter_map(one).collect()
}
