//! `jaas`: 8x8 JaaS meeting tokens (developer.8x8.com/jaas/docs/api-keys-jwt).
//!
//! Typed input instead of claims; `aud` and `iss` are constants of the service, `sub` is the AppID, and the kid is
//! `{AppID}/{key id}` as the console shows it. Booleans leave as the strings "true" and "false", the documented form.
//! Rooms, members of `user`, moderator and each feature are granted by the client's `jaas` table and by nothing else; a
//! feature needs moderator to have effect. `context.room.regex` is always "false", so a room is never a pattern.

use super::{Facts, Profile, ProfileError, Refusal, Shaped, Takes, room::MAX_ROOM_CHARS};
use crate::{
    admission::{Admitted, Claims},
    policy::{Denial, JaasGrant, MintPolicy, Rule},
};
use countersign_jose::{
    Algorithm, KeyKind, MIN_RSA_BITS,
    json::{DEFAULT_DEPTH, Object, string},
    quoted,
};
use countersign_keyring::{RingName, Signer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{collections::BTreeMap, time::Duration};

/// The room that stands for every room.
const EVERY_ROOM: &str = "*";

/// The JaaS profile of one AppID.
#[derive(Debug, Clone)]
pub struct JaasProfile {
    /// The AppID (`vpaas-magic-cookie-…`), the tenant of all rooms.
    pub app_id: String,
    /// The ring that signs.
    pub ring: RingName,
}

/// Whether a kid is `{AppID}/{key id}`.
pub fn is_jaas_kid(kid: &str, app_id: &str) -> bool {
    let id = kid.strip_prefix(app_id).and_then(|rest| rest.strip_prefix('/'));
    !app_id.is_empty() && id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

struct Input {
    room: Option<String>,
    user: User,
    moderator: bool,
    features: BTreeMap<String, Flag>,
}

/// `true` and `false`, and the strings of the same spelling that JaaS itself uses.
#[derive(Deserialize, Clone, Copy)]
#[serde(try_from = "BoolOrText")]
struct Flag(bool);

#[derive(Deserialize)]
#[serde(untagged)]
enum BoolOrText {
    Bool(bool),
    Text(String),
}

impl TryFrom<BoolOrText> for Flag {
    type Error = std::str::ParseBoolError;
    fn try_from(flag: BoolOrText) -> Result<Self, Self::Error> {
        match flag {
            BoolOrText::Bool(on) => Ok(Self(on)),
            BoolOrText::Text(text) => text.parse().map(Self),
        }
    }
}

#[derive(Serialize, Default)]
struct User {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<String>,
}

#[derive(Serialize)]
struct TokenClaims<'a> {
    aud: &'static str,
    iss: &'static str,
    sub: &'a str,
    room: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    context: Context<'a>,
}

#[derive(Serialize)]
struct Context<'a> {
    user: ContextUser<'a>,
    features: BTreeMap<&'a str, &'static str>,
    room: Room,
}

#[derive(Serialize)]
struct ContextUser<'a> {
    #[serde(flatten)]
    user: &'a User,
    moderator: &'static str,
}

#[derive(Serialize)]
struct Room {
    regex: &'static str,
}

impl Profile for JaasProfile {
    fn name(&self) -> &'static str {
        "jaas"
    }

    fn ring(&self) -> &RingName {
        &self.ring
    }

    fn typ(&self) -> &'static str {
        "JWT"
    }

    fn check_signer(&self, signer: &dyn Signer) -> Result<(), ProfileError> {
        let fail = |reason: String| Err(ProfileError { profile: "jaas", reason });
        if !is_jaas_kid(signer.kid(), &self.app_id) {
            return fail(format!(
                "the kid {:?} must be the AppID {:?}, a slash and the key id, as the JaaS console shows it under API keys",
                signer.kid(),
                self.app_id
            ));
        }
        match signer.public_key() {
            Some(key) if key.kind() == KeyKind::Rsa && key.bits() >= MIN_RSA_BITS => {}
            _ => return fail(format!("JaaS takes RSA keys of at least {MIN_RSA_BITS} bits only")),
        }
        if signer.algorithm() != Algorithm::RS256 {
            return fail(format!("JaaS takes RS256 only, the ring signs with {}", signer.algorithm()));
        }
        Ok(())
    }

    fn takes(&self) -> Takes {
        Takes::Members(&["room", "user", "moderator", "features"])
    }

    /// As in 8x8's own samples.
    fn backdate(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn check_fixed(&self, fixed: Claims<'_>, policy: &MintPolicy) -> Result<(), Refusal> {
        let input = Input::read(fixed)?;
        // Whether features come with a moderator is known when the rest of a request is.
        input.check_grant(&policy.jaas)
    }

    fn shape(&self, admitted: &Admitted<'_>, facts: &Facts<'_>) -> Result<Shaped, Refusal> {
        let mut input = Input::read(admitted.claims())?;
        input.check_grant(&admitted.policy().jaas)?;
        let room = input.room.as_deref();
        let room = room.ok_or(invalid("`data.room` is missing: a room name, or \"*\" for every room"))?;
        if !input.moderator && input.wanted().next().is_some() {
            return Err(invalid(
                "JaaS grants features to moderators only; set `moderator` to true or leave the features out",
            ));
        }
        let subject = input.user.id.get_or_insert_with(|| facts.id.to_owned()).clone();
        let begins = facts.validity.begins().unix_seconds();
        let claims = TokenClaims {
            aud: "jitsi",
            iss: "chat",
            sub: &self.app_id,
            room,
            iat: begins,
            nbf: begins,
            exp: facts.validity.ends().unix_seconds(),
            context: Context {
                user: ContextUser { user: &input.user, moderator: word(input.moderator) },
                features: input.features.iter().map(|(name, on)| (name.as_str(), word(on.0))).collect(),
                room: Room { regex: "false" },
            },
        };
        let payload =
            serde_json::to_vec(&claims).map_err(|_| invalid("the claims cannot be written as JSON"))?;
        Ok(Shaped { payload, jti: None, subject: Some(subject) })
    }
}

impl Input {
    fn read(claims: Claims<'_>) -> Result<Self, Refusal> {
        let member = |name: &str| claims.get(name).map(RawValue::get);
        let moderator = member("moderator").map(serde_json::from_str::<Flag>).transpose();
        let moderator = moderator.map_err(|_| invalid("`data.moderator` must be true or false"))?;
        let features = member("features").map(serde_json::from_str).transpose();
        let features = features
            .map_err(|_| invalid("`data.features` must be an object of feature names with true or false"))?;
        Ok(Self {
            room: claims.get("room").map(room).transpose()?,
            user: claims.get("user").map(User::read).transpose()?.unwrap_or_default(),
            moderator: moderator.is_some_and(|flag| flag.0),
            features: features.unwrap_or_default(),
        })
    }

    /// Everything that is asked for must be granted; what is not asked for needs no grant.
    fn check_grant(&self, grant: &JaasGrant) -> Result<(), Refusal> {
        match self.room.as_deref() {
            Some(EVERY_ROOM) if !grant.any_room => {
                return Err(Denial::new(Rule::JaasAnyRoom, "tokens for every room").into());
            }
            Some(room) if !grant.any_room && !grant.rooms.iter().any(|pattern| pattern.matches(room)) => {
                return Err(Denial::new(Rule::JaasRooms, format!("the room {}", quoted(room))).into());
            }
            _ => {}
        }
        if let Some(name) = self.user.names().find(|name| !grant.user.allows(name)) {
            return Err(Denial::new(Rule::JaasUser, format!("`user.{name}`")).into());
        }
        if self.moderator && !grant.moderator {
            return Err(Denial::new(Rule::JaasModerator, "moderators").into());
        }
        if let Some(name) = self.wanted().find(|name| !grant.features.allows(name)) {
            return Err(Denial::new(Rule::JaasFeatures, format!("the feature {}", quoted(name))).into());
        }
        Ok(())
    }

    fn wanted(&self) -> impl Iterator<Item = &str> {
        self.features.iter().filter(|(_, wanted)| wanted.0).map(|(name, _)| name.as_str())
    }
}

impl User {
    /// An object and nothing that only looks like one: serde would take the array `["1","Alice"]` for it.
    fn read(raw: &RawValue) -> Result<Self, Refusal> {
        let wrong = || {
            invalid(
                "`data.user` must be an object with the strings `id`, `name`, `email`, `avatar`, all optional",
            )
        };
        let object = Object::parse(raw.get().as_bytes(), DEFAULT_DEPTH).map_err(|_| wrong())?;
        let mut user = Self::default();
        for (name, value) in object.members() {
            let member = match name {
                "id" => &mut user.id,
                "name" => &mut user.name,
                "email" => &mut user.email,
                "avatar" => &mut user.avatar,
                _ => return Err(wrong()),
            };
            *member = Some(string(value).ok_or_else(wrong)?.into_owned());
        }
        Ok(user)
    }

    /// The members that are set.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        let members =
            [("id", &self.id), ("name", &self.name), ("email", &self.email), ("avatar", &self.avatar)];
        members.into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name)
    }
}

/// A room's name. An asterisk is the sign for every room and stands in no name, so that no reader takes one for a pattern.
fn room(raw: &RawValue) -> Result<String, Refusal> {
    let room = string(raw).ok_or(invalid("`data.room` must be a string"))?;
    if room.is_empty() || room.chars().count() > MAX_ROOM_CHARS || room.chars().any(char::is_control) {
        return Err(invalid("`data.room` must have 1 to 200 characters"));
    }
    if room != EVERY_ROOM && room.contains('*') {
        return Err(invalid("`data.room` is a room name, or \"*\" for every room; a name has no asterisk"));
    }
    Ok(room.into_owned())
}

fn invalid(why: &'static str) -> Refusal {
    Refusal::Invalid(why.into())
}

const fn word(on: bool) -> &'static str {
    if on { "true" } else { "false" }
}
