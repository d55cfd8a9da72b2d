//! What a request says of a meeting, for profiles `jaas` and `jitsi`: room, user, moderator,
//! features.
//!
//! Typed members instead of claims. Each is checked by itself, and a refusal names the member and
//! what was found there. Everything that is asked for has to be granted by the client's table of
//! the profile (`MeetingGrant`) and by nothing else: the room, each member of `user`, being
//! moderator, each feature, and that a room is read as a pattern. What is not asked for needs no
//! grant and is not in the token. Pinned by `tests/policy.rs` and `tests/meeting_properties.rs`.

use super::{Refusal, room::MAX_ROOM_CHARS};
use crate::{
    admission::Claims,
    names::Names,
    policy::{Denial, MeetingGrant, MeetingRule, MeetingService, Rule},
};
use countersign_jose::{
    json::{DEFAULT_DEPTH, Object, kind, string},
    quoted,
};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap};

/// The room that stands for every room.
pub(super) const EVERY_ROOM: &str = "*";

/// Features that 8x8 documents (developer.8x8.com/jaas/docs/api-keys-jwt and its branding pages),
/// and `flip`, which Jitsi itself knows beside them (jitsi-meet, mod_jitsi_permissions).
pub const MEETING_FEATURES: [&str; 12] = [
    "create-polls",
    "file-upload",
    "flip",
    "inbound-call",
    "list-visitors",
    "livestreaming",
    "outbound-call",
    "recording",
    "send-groupchat",
    "sip-inbound-call",
    "sip-outbound-call",
    "transcription",
];

/// The longest member of `user`, in characters.
const MAX_USER_CHARS: usize = 1024;
/// The longest name of a feature.
const MAX_FEATURE_CHARS: usize = 64;

/// What one service takes.
#[derive(Debug)]
pub(super) struct Takes {
    pub(super) service: MeetingService,
    /// Members of `data`.
    pub(super) members: &'static [&'static str],
    /// Members of `user` that are strings.
    pub(super) user: &'static [&'static str],
    /// Members of `user` that are true or false.
    pub(super) user_flags: &'static [&'static str],
}

/// What a request says of a meeting.
#[derive(Debug)]
pub(super) struct Meeting {
    takes: &'static Takes,
    pub(super) room: Option<String>,
    /// Whether the room is a pattern.
    pub(super) regex: bool,
    pub(super) user: BTreeMap<&'static str, String>,
    pub(super) user_flags: BTreeMap<&'static str, bool>,
    pub(super) moderator: bool,
    pub(super) features: BTreeMap<String, bool>,
}

impl Meeting {
    /// Reads the members that were admitted.
    ///
    /// # Errors
    ///
    /// The first member that is not what it must be.
    pub(super) fn read(takes: &'static Takes, claims: Claims<'_>) -> Result<Self, Refusal> {
        let flag = |name: &'static str| claims.get(name).map(|raw| flag(name, raw)).transpose();
        let regex = flag("regex")?.unwrap_or_default();
        let mut meeting = Self {
            takes,
            room: None,
            regex,
            user: BTreeMap::new(),
            user_flags: BTreeMap::new(),
            moderator: flag("moderator")?.unwrap_or_default(),
            features: claims.get("features").map(features).transpose()?.unwrap_or_default(),
        };
        meeting.room = claims.get("room").map(|raw| room(raw, regex)).transpose()?;
        if let Some(user) = claims.get("user") {
            meeting.read_user(user)?;
        }
        Ok(meeting)
    }

    /// An object and nothing that only looks like one: serde would take the array `["1","Alice"]`
    /// for a struct.
    fn read_user(&mut self, raw: &RawValue) -> Result<(), Refusal> {
        let takes = self.takes;
        let known = || names(takes.user.iter().chain(takes.user_flags));
        let object = Object::parse(raw.get().as_bytes(), DEFAULT_DEPTH).map_err(|_| {
            invalid(format!(
                "`data.user` must be an object with {}, all optional; found {}",
                known(),
                kind(raw)
            ))
        })?;
        for (name, value) in object.members() {
            if let Some(name) = takes.user.iter().find(|known| **known == name) {
                self.user.insert(name, user_text(name, value)?);
            } else if let Some(name) = takes.user_flags.iter().find(|known| **known == name) {
                self.user_flags.insert(name, flag(&format!("user.{name}"), value)?);
            } else if name == "moderator" {
                return Err(invalid(
                    "`data.user.moderator` has its place beside `user`, as `data.moderator`",
                ));
            } else {
                let profile = takes.service.profile();
                return Err(invalid(format!(
                    "unknown member {} in `data.user`; profile {profile} takes {}",
                    quoted(name),
                    known()
                )));
            }
        }
        Ok(())
    }

    /// The room, which every token has.
    pub(super) fn required_room(&self) -> Result<&str, Refusal> {
        let missing = "`data.room` is missing: a room name, or \"*\" for every room";
        self.room.as_deref().ok_or_else(|| invalid(missing))
    }

    /// Everything that is asked for must be granted; what is not asked for needs no grant.
    pub(super) fn check_grant(&self, grant: &MeetingGrant) -> Result<(), Refusal> {
        self.check_features(grant)?;
        let service = self.takes.service;
        let deny = |rule, what: String| Err(Denial::new(Rule::Meeting(service, rule), what).into());
        match self.room.as_deref() {
            Some(EVERY_ROOM) if !grant.any_room => {
                return deny(MeetingRule::AnyRoom, "tokens for every room".to_owned());
            }
            // Nobody but the service knows which rooms a pattern matches, so it is granted as a
            // text.
            Some(pattern) if self.regex && !grant.regex.allows(pattern) => {
                return deny(MeetingRule::Regex, format!("the room pattern {}", quoted(pattern)));
            }
            Some(room)
                if !self.regex
                    && !grant.any_room
                    && !grant.rooms.iter().any(|pattern| pattern.matches(room)) =>
            {
                return deny(MeetingRule::Rooms, format!("the room {}", quoted(room)));
            }
            None if self.regex => {
                return Err(invalid("`data.regex` says how `data.room` is read, which is missing"));
            }
            _ => {}
        }
        let flags = self.user_flags.iter().filter(|(_, is_set)| **is_set).map(|(name, _)| *name);
        if let Some(name) = self.user.keys().copied().chain(flags).find(|name| !grant.user.allows(name)) {
            return deny(MeetingRule::User, format!("`user.{name}`"));
        }
        if self.moderator && !grant.moderator {
            return deny(MeetingRule::Moderator, "moderators".to_owned());
        }
        match self.wanted().find(|name| !grant.features.allows(name)) {
            Some(name) => deny(MeetingRule::Features, format!("the feature {}", quoted(name))),
            None => Ok(()),
        }
    }

    /// A feature that nobody documents is a mistake in writing, unless the client's entry has it by
    /// name.
    fn check_features(&self, grant: &MeetingGrant) -> Result<(), Refusal> {
        let is_listed =
            |name: &str| matches!(&grant.features, Names::Listed(listed) if listed.iter().any(|n| n == name));
        let is_known = |name: &str| MEETING_FEATURES.contains(&name) || is_listed(name);
        match self.features.keys().find(|name| !is_known(name)) {
            Some(name) => Err(invalid(format!(
                "unknown feature {} in `data.features`; there are {}",
                quoted(name),
                names(&MEETING_FEATURES)
            ))),
            None => Ok(()),
        }
    }

    /// The features that are asked for.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &str> {
        self.features.iter().filter(|(_, wanted)| **wanted).map(|(name, _)| name.as_str())
    }

    /// The features as they stand in a token.
    pub(super) fn feature_words(&self) -> BTreeMap<&str, &'static str> {
        self.features.iter().map(|(name, on)| (name.as_str(), word(*on))).collect()
    }

    /// Whom the token is about: the id that was sent, or a fresh one.
    pub(super) fn user_id(&mut self, fresh: &str) -> String {
        self.user.entry("id").or_insert_with(|| fresh.to_owned()).clone()
    }
}

/// `true` and `false`, and the strings of the same spelling that the services themselves use.
fn flag(name: &str, raw: &RawValue) -> Result<bool, Refusal> {
    match raw.get() {
        "true" | "\"true\"" => Ok(true),
        "false" | "\"false\"" => Ok(false),
        _ => Err(invalid(format!("`data.{name}` must be true or false; found {}", found(raw)))),
    }
}

fn features(raw: &RawValue) -> Result<BTreeMap<String, bool>, Refusal> {
    let object = Object::parse(raw.get().as_bytes(), DEFAULT_DEPTH).map_err(|_| {
        let expected = "`data.features` must be an object of feature names with true or false";
        invalid(format!("{expected}; found {}", kind(raw)))
    })?;
    let one = |(name, value): (&str, &RawValue)| {
        if name.is_empty() || name.chars().count() > MAX_FEATURE_CHARS || name.chars().any(char::is_control) {
            return Err(invalid(format!(
                "the name of a feature in `data.features` has 1 to {MAX_FEATURE_CHARS} characters"
            )));
        }
        let on = match value.get() {
            "true" | "\"true\"" => true,
            "false" | "\"false\"" => false,
            _ => {
                return Err(invalid(format!(
                    "{} in `data.features` must be true or false; found {}",
                    quoted(name),
                    found(value)
                )));
            }
        };
        Ok((name.to_owned(), on))
    };
    object.members().map(one).collect()
}

/// A room's name. An asterisk is the sign for every room and stands in no name, so that no reader
/// takes one for a pattern. A pattern is the service's own language.
fn room(raw: &RawValue, regex: bool) -> Result<String, Refusal> {
    let room =
        string(raw).ok_or_else(|| invalid(format!("`data.room` must be a string; found {}", kind(raw))))?;
    if room.is_empty() || room.chars().count() > MAX_ROOM_CHARS || room.chars().any(char::is_control) {
        return Err(invalid("`data.room` must have 1 to 200 characters, none of them a control character"));
    }
    if regex && room == EVERY_ROOM {
        return Err(invalid(
            "`data.room` is \"*\", which is every room and no pattern; leave `data.regex` out",
        ));
    }
    if !regex && room != EVERY_ROOM && room.contains('*') {
        return Err(invalid("`data.room` is a room name, or \"*\" for every room; a name has no asterisk"));
    }
    Ok(room.into_owned())
}

fn user_text(name: &str, raw: &RawValue) -> Result<String, Refusal> {
    let text = string(raw)
        .ok_or_else(|| invalid(format!("`data.user.{name}` must be a string; found {}", kind(raw))))?;
    if text.chars().count() > MAX_USER_CHARS || text.chars().any(char::is_control) {
        return Err(invalid(format!(
            "`data.user.{name}` must have at most {MAX_USER_CHARS} characters, none of them a control character"
        )));
    }
    // It becomes the source of an image in everybody's browser.
    let is_picture = || text.is_empty() || text.starts_with("https:/") || text.starts_with("http:/");
    if name == "avatar" && !is_picture() {
        return Err(invalid("`data.user.avatar` must be the URL of a picture: https or http"));
    }
    Ok(text.into_owned())
}

/// What was found, as far as it may be repeated: a short text is not.
fn found(raw: &RawValue) -> &'static str {
    match kind(raw) {
        "a string" => "another string",
        other => other,
    }
}

fn names<'a>(names: impl IntoIterator<Item = &'a &'static str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

pub(super) fn invalid(why: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::Invalid(why.into())
}

/// A flag as a token has it.
pub(super) const fn word(on: bool) -> &'static str {
    if on { "true" } else { "false" }
}
