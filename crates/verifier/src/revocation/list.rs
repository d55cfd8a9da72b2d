//! `RevocationList`: which tokens of an issuer are revoked, as the claims of a JWT of its own type.
//!
//! `tokens` names tokens and families of tokens, by what is in their `jti`; `before` names subjects
//! and clients, with the time up to which their tokens are revoked (by `iat`). A name is the
//! beginning of a SHA-256, so that the list, which anybody may read, tells nobody who was revoked.
//! `sequence` counts the changes. Tokens are named by `jti` and not by their text, of which some
//! signatures allow several.

use aws_lc_rs::digest::{Context, SHA256};
use countersign_jose::{
    MAX_CLAIMS_DEPTH, Timestamp, Verified, base64url,
    json::{Object, string},
};
use serde::Serialize;
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The list's `typ`. No other token has it.
pub const TYP: &str = "revoked+jwt";
/// Where it is, below the issuer. That address is its audience too, so that nobody takes it for a
/// token.
pub const WELL_KNOWN: &str = "/.well-known/revoked.jwt";

const BYTES: usize = 12;

/// What may be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revoked {
    /// A token, by its `jti`.
    Token,
    /// Tokens whose `jti` begins with this, up to a full stop: those of one family of refresh
    /// tokens.
    Family,
    /// All tokens about somebody, up to a time.
    Subject,
    /// All tokens of a client, up to a time.
    Client,
}

/// What stands for a name in a list: 96 bits of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevokedName([u8; BYTES]);

impl RevokedName {
    /// What stands for the `jti`, family, `sub` or `client_id`.
    pub fn of(kind: Revoked, name: &str) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(match kind {
            Revoked::Token => b"countersign revoked token\0",
            Revoked::Family => b"countersign revoked family\0",
            Revoked::Subject => b"countersign revoked subject\0",
            Revoked::Client => b"countersign revoked client\0",
        });
        hash.update(name.as_bytes());
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(hash.finish().as_ref().get(..BYTES).unwrap_or(&[0; BYTES]));
        Self(bytes)
    }

    /// Reads what [`fmt::Display`] has written.
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for RevokedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for RevokedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What is revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevocationList {
    /// Counts the changes.
    pub sequence: u64,
    /// Tokens and families.
    pub tokens: BTreeSet<RevokedName>,
    /// Subjects and clients, and up to when.
    pub before: BTreeMap<RevokedName, Timestamp>,
}

/// The claims of a list.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: String,
    iat: i64,
    exp: i64,
    sequence: u64,
    tokens: Vec<String>,
    before: BTreeMap<String, i64>,
}

impl RevocationList {
    /// Whether it revokes a token. What in a token is unreadable names nothing.
    pub fn revokes(&self, token: &Verified) -> bool {
        if self.tokens.is_empty() && self.before.is_empty() {
            return false;
        }
        let claims = token.registered();
        let has = |kind, name: &str| self.tokens.contains(&RevokedName::of(kind, name));
        if let Some(jti) = claims.jti.as_deref() {
            let family = jti.split_once('.').map(|(family, _)| family);
            if has(Revoked::Token, jti) || family.is_some_and(|family| has(Revoked::Family, family)) {
                return true;
            }
        }
        if self.before.is_empty() {
            return false;
        }
        let object = Object::parse(token.payload(), MAX_CLAIMS_DEPTH).ok();
        let client = object.as_ref().and_then(|object| object.get("client_id")).and_then(string);
        self.revokes_issued(claims.sub.as_deref(), client.as_deref(), claims.iat)
    }

    /// Whether it revokes a family of tokens.
    pub fn revokes_family(&self, family: &str) -> bool {
        self.tokens.contains(&RevokedName::of(Revoked::Family, family))
    }

    /// Whether it revokes what somebody was issued at a time; without one, that was long ago.
    pub fn revokes_issued(
        &self,
        subject: Option<&str>,
        client: Option<&str>,
        issued_at: Option<Timestamp>,
    ) -> bool {
        let until = |kind, name: Option<&str>| self.before.get(&RevokedName::of(kind, name?)).copied();
        [until(Revoked::Subject, subject), until(Revoked::Client, client)]
            .into_iter()
            .flatten()
            .any(|until| issued_at.is_none_or(|issued_at| issued_at <= until))
    }

    /// The claims as JSON.
    pub fn claims(&self, issuer: &str, issued_at: Timestamp, expires_at: Timestamp) -> Vec<u8> {
        let claims = Claims {
            iss: issuer,
            aud: Self::audience(issuer),
            iat: issued_at.unix_seconds(),
            exp: expires_at.unix_seconds(),
            sequence: self.sequence,
            tokens: self.tokens.iter().map(ToString::to_string).collect(),
            before: self.before.iter().map(|(name, at)| (name.to_string(), at.unix_seconds())).collect(),
        };
        // Strings, numbers, and lists and maps of them: serialising them cannot fail.
        serde_json::to_vec(&claims).unwrap_or_default()
    }

    /// The audience of the lists of an issuer.
    pub fn audience(issuer: &str) -> String {
        format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer))
    }

    /// Reads the claims of a list whose signature was verified. `None` if there is anything in it
    /// that cannot be read: what is passed over could be what matters.
    pub(crate) fn of(token: &Verified) -> Option<Self> {
        let claims = Object::parse(token.payload(), MAX_CLAIMS_DEPTH).ok()?;
        let sequence = claims.get("sequence")?.get().parse().ok()?;
        let tokens: Vec<Cow<'_, str>> = serde_json::from_str(claims.get("tokens")?.get()).ok()?;
        let before: BTreeMap<Cow<'_, str>, &RawValue> =
            serde_json::from_str(claims.get("before")?.get()).ok()?;
        let tokens = tokens.iter().map(|name| RevokedName::parse(name)).collect::<Option<_>>()?;
        let before = before.iter().map(|(name, at)| {
            Some((RevokedName::parse(name)?, Timestamp::from_unix_seconds(at.get().parse().ok()?)))
        });
        Some(Self { sequence, tokens, before: before.collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_one_kind_is_none_of_another() {
        let kinds = [Revoked::Token, Revoked::Family, Revoked::Subject, Revoked::Client];
        let names: BTreeSet<_> = kinds
            .iter()
            .flat_map(|kind| ["", "a", "b", "a.b"].map(|name| RevokedName::of(*kind, name)))
            .collect();
        assert_eq!(names.len(), 16);
        for name in names {
            assert_eq!(name.to_string().len(), 16);
            assert_eq!(RevokedName::parse(&name.to_string()), Some(name));
        }
        for text in ["", "AAAA", "AAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAA", "é"] {
            assert_eq!(RevokedName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn who_was_revoked_up_to_a_time_has_what_is_issued_later() {
        let at = |seconds| Some(Timestamp::from_unix_seconds(seconds));
        let before = BTreeMap::from([
            (RevokedName::of(Revoked::Subject, "alice"), at(100).unwrap()),
            (RevokedName::of(Revoked::Client, "app"), at(50).unwrap()),
        ]);
        let list = RevocationList { before, ..RevocationList::default() };
        for (subject, client, issued_at, revoked) in [
            ("alice", "web", at(100), true),
            ("alice", "web", at(101), false),
            ("alice", "web", None, true),
            ("alice", "app", at(101), false),
            ("bob", "app", at(50), true),
            ("bob", "app", at(51), false),
            ("app", "alice", at(0), false),
            ("bob", "web", None, false),
        ] {
            let found = list.revokes_issued(Some(subject), Some(client), issued_at);
            assert_eq!(found, revoked, "{subject} {client} {issued_at:?}");
        }
        assert!(!list.revokes_issued(None, None, None));
    }
}
