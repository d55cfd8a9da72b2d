//! `jaas`: 8x8 JaaS meeting tokens (developer.8x8.com/jaas/docs/api-keys-jwt).
//!
//! Typed input instead of claims; `aud` and `iss` are constants of the service, `sub` is the AppID, and the kid is
//! `{AppID}/{key id}` as the console shows it. Booleans leave as the strings "true" and "false", the documented form.
//! Moderator, every-room tokens and each feature are the client's policy; a feature needs moderator to have effect.

use super::{Facts, Profile, ProfileError, Refusal, Shaped};
use crate::{
    policy::{MintPolicy, Rule},
    request::SignRequest,
};
use countersign_jose::{Algorithm, KeyKind, MIN_RSA_BITS};
use countersign_keyring::{RingName, Signer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{collections::BTreeMap, time::Duration};

/// How far `nbf` lies before now in 8x8's own samples.
const NOT_BEFORE: Duration = Duration::from_secs(10);

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
    room: String,
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

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
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
struct Claims<'a> {
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

    fn shape(
        &self,
        request: &SignRequest<'_>,
        policy: &MintPolicy,
        facts: &Facts<'_>,
    ) -> Result<Shaped, Refusal> {
        if request.audience.is_some() {
            return Err(Refusal::Invalid(
                "`metadata.audience` has no place in profile jaas; the audience is always `jitsi`".into(),
            ));
        }
        let mut input = Input::read(request)?;
        if input.room == "*" && !policy.jaas.any_room {
            return Err(Rule::JaasAnyRoom.into());
        }
        if input.moderator && !policy.jaas.moderator {
            return Err(Rule::JaasModerator.into());
        }
        let wanted = || input.features.iter().filter(|(_, wanted)| wanted.0);
        if wanted().any(|(name, _)| !policy.jaas.features.allows(name)) {
            return Err(Rule::JaasFeatures.into());
        }
        if !input.moderator && wanted().next().is_some() {
            return Err(Refusal::Invalid(
                "JaaS grants features to moderators only; set `moderator` to true or leave the features out"
                    .into(),
            ));
        }
        let lifetime = policy.lifetime(request.duration)?;
        let subject = input.user.id.get_or_insert_with(|| facts.id.to_owned()).clone();
        let claims = Claims {
            aud: "jitsi",
            iss: "chat",
            sub: &self.app_id,
            room: &input.room,
            iat: facts.now.minus(facts.backdate).unix_seconds(),
            nbf: facts.now.minus(NOT_BEFORE.max(facts.backdate)).unix_seconds(),
            exp: facts.now.plus(lifetime).unix_seconds(),
            context: Context {
                user: ContextUser { user: &input.user, moderator: word(input.moderator) },
                features: input.features.iter().map(|(name, on)| (name.as_str(), word(on.0))).collect(),
                room: Room { regex: "false" },
            },
        };
        let payload = serde_json::to_vec(&claims)
            .map_err(|_| Refusal::Invalid("the claims can not be written as JSON".into()))?;
        Ok(Shaped { payload, lifetime, jti: None, subject: Some(subject) })
    }
}

impl Input {
    fn read(request: &SignRequest<'_>) -> Result<Self, Refusal> {
        let invalid = |why: &'static str| Refusal::Invalid(why.into());
        let known = ["room", "user", "moderator", "features"];
        if request.data.names().any(|name| !known.contains(&name)) {
            return Err(invalid(
                "unknown member in `data`; profile jaas takes `room`, `user`, `moderator`, `features`",
            ));
        }
        let member = |name: &str| request.data.get(name).map(RawValue::get);
        let room =
            member("room").ok_or(invalid("`data.room` is missing: a room name, or \"*\" for every room"))?;
        let room: String = serde_json::from_str(room).map_err(|_| invalid("`data.room` must be a string"))?;
        if room.is_empty() || room.len() > 200 || room.chars().any(char::is_control) {
            return Err(invalid("`data.room` must have 1 to 200 characters"));
        }
        let user = member("user").map(serde_json::from_str).transpose();
        let user = user.map_err(|_| {
            invalid("`data.user` must be an object with the strings `id`, `name`, `email`, `avatar`, all optional")
        })?;
        let moderator = member("moderator").map(serde_json::from_str::<Flag>).transpose();
        let moderator = moderator.map_err(|_| invalid("`data.moderator` must be true or false"))?;
        let features = member("features").map(serde_json::from_str).transpose();
        let features = features
            .map_err(|_| invalid("`data.features` must be an object of feature names with true or false"))?;
        Ok(Self {
            room,
            user: user.unwrap_or_default(),
            moderator: moderator.is_some_and(|flag| flag.0),
            features: features.unwrap_or_default(),
        })
    }
}

const fn word(on: bool) -> &'static str {
    if on { "true" } else { "false" }
}
