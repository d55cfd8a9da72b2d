//! What a provider says about the user of a token, with every value as it was sent.

use super::{error::UpstreamError, http::Members};
use countersign_jose::Timestamp;
use std::fmt;

/// The longest subject.
const MAX_SUBJECT: usize = 255;

/// What is believed about a token or code of a provider.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    /// As the provider says it: a string, or the digits of a number.
    pub(crate) subject: String,
    /// A JSON object, as the provider has sent it.
    pub(crate) claims: String,
    /// Scopes beyond which nothing may be asked for. Only an authorization server's: those of X or
    /// GitHub are names of its own API.
    pub(crate) scopes: Option<Vec<String>>,
    /// When the token ends, where the provider says so.
    pub(crate) ends: Option<Timestamp>,
}

impl fmt::Debug for Profile {
    /// Shows nothing about the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// What is known of a token before its profile: by a check of it, or because we have redeemed a
/// code for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) subject: Option<String>,
    /// What the provider has granted, in its own words.
    pub(super) granted: Option<Vec<String>>,
    pub(super) ends: Option<Timestamp>,
}

impl Bound {
    /// The profile of a token that is bound. Both answers must be about the same subject.
    pub(super) fn with(self, member: &str, members: &Members<'_>) -> Result<Profile, UpstreamError> {
        let subject = subject(members, member)?;
        if self.subject.is_some_and(|checked| checked != subject) {
            return Err(UpstreamError::OtherSubject);
        }
        Ok(Profile { subject, claims: members.text.to_owned(), scopes: None, ends: self.ends })
    }

    /// Refuses a token that was not granted what the rule requires.
    pub(super) fn require(&self, scopes: &[String]) -> Result<(), UpstreamError> {
        let granted = |name: &&String| self.granted.as_ref().is_some_and(|all| all.contains(name));
        match scopes.iter().find(|name| !granted(name)) {
            Some(missing) => Err(UpstreamError::Scope(missing.clone())),
            None => Ok(()),
        }
    }
}

/// A subject: a string, or a whole number by its digits, however many they are.
pub(super) fn subject(members: &Members<'_>, name: &str) -> Result<String, UpstreamError> {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = || members.raw(name).filter(digits).map(str::to_owned);
    let fits = |text: &String| {
        !text.trim().is_empty() && text.len() <= MAX_SUBJECT && !text.chars().any(char::is_control)
    };
    let found = members.string(name).or_else(number).filter(fits);
    found.ok_or_else(|| UpstreamError::NoSubject(name.to_owned()))
}

/// The names in a text, with spaces between them (RFC 6749 §3.3). A comma is a character of a name.
pub(super) fn names(text: &str) -> Vec<String> {
    text.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
