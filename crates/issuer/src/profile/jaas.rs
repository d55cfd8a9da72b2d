//! `jaas`: 8x8 JaaS meeting tokens (developer.8x8.com/jaas/docs/api-keys-jwt).
//!
//! Typed input instead of claims (`meeting`); `aud` and `iss` are constants of the service, `sub`
//! is the AppID, and the kid is `{AppID}/{key id}` as the console shows it. Booleans leave as the
//! strings "true" and "false", the documented form. A feature needs moderator to have effect, so
//! asking for one without is refused. `context.room.regex` is "true" only for a pattern that the
//! client's `jaas.regex` has word for word, or where that is `"*"`.

use super::{
    Facts, Profile, ProfileError, Refusal, Shaped, Takes, Ways,
    meeting::{self, Meeting, invalid, word},
};
use crate::{
    admission::{Admitted, Claims},
    policy::{MeetingService, MintPolicy},
};
use countersign_jose::{Algorithm, KeyKind, MIN_RSA_BITS};
use countersign_keyring::{RingName, Signer};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// The JaaS profile of one AppID.
#[derive(Debug, Clone)]
pub struct JaasProfile {
    /// The AppID (`vpaas-magic-cookie-…`), the tenant of all rooms.
    pub app_id: String,
    /// The ring that signs.
    pub ring: RingName,
}

/// Whether a text can be an AppID: `vpaas-magic-cookie-` and hexadecimal digits, but only what no
/// AppID has is refused.
pub fn is_jaas_app_id(app_id: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=128).contains(&app_id.len()) && app_id.bytes().all(fits)
}

/// Whether a kid is `{AppID}/{key id}`.
pub fn is_jaas_kid(kid: &str, app_id: &str) -> bool {
    let id = kid.strip_prefix(app_id).and_then(|rest| rest.strip_prefix('/'));
    !app_id.is_empty() && id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

static TAKES: meeting::Takes = meeting::Takes {
    service: MeetingService::Jaas,
    members: &["room", "regex", "user", "moderator", "features"],
    user: &["id", "name", "email", "avatar"],
    user_flags: &["hidden-from-recorder"],
};

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
    user: &'a BTreeMap<&'static str, String>,
    #[serde(flatten)]
    flags: BTreeMap<&'static str, &'static str>,
    moderator: &'static str,
}

#[derive(Serialize)]
struct Room {
    regex: &'static str,
}

impl Profile for JaasProfile {
    fn name(&self) -> &'static str {
        MeetingService::Jaas.profile()
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
        Takes::Members(TAKES.members)
    }

    fn ways(&self) -> Ways {
        Ways::Both
    }

    /// As in 8x8's own samples.
    fn backdate(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn check_fixed(&self, fixed: Claims<'_>, policy: &MintPolicy) -> Result<(), Refusal> {
        let mut fixed = Meeting::read(&TAKES, fixed)?;
        // Whether features come with a moderator, and how a room is read, is known when the rest of
        // a request is.
        fixed.regex &= fixed.room.is_some();
        fixed.check_grant(&policy.jaas)
    }

    fn shape(&self, admitted: &Admitted<'_>, facts: &Facts<'_>) -> Result<Shaped, Refusal> {
        let mut meeting = Meeting::read(&TAKES, admitted.claims())?;
        meeting.check_grant(&admitted.policy().jaas)?;
        let room = meeting.required_room()?.to_owned();
        if !meeting.moderator && meeting.wanted().next().is_some() {
            return Err(invalid(
                "JaaS grants features to moderators only; set `moderator` to true or leave the features out",
            ));
        }
        let subject = meeting.user_id(facts.id);
        let begins = facts.validity.begins().unix_seconds();
        let claims = TokenClaims {
            aud: "jitsi",
            iss: "chat",
            sub: &self.app_id,
            room: &room,
            iat: begins,
            nbf: begins,
            exp: facts.validity.ends().unix_seconds(),
            context: Context {
                user: ContextUser {
                    user: &meeting.user,
                    flags: meeting.user_flags.iter().map(|(name, on)| (*name, word(*on))).collect(),
                    moderator: word(meeting.moderator),
                },
                features: meeting.feature_words(),
                room: Room { regex: word(meeting.regex) },
            },
        };
        let payload =
            serde_json::to_vec(&claims).map_err(|_| invalid("the claims cannot be written as JSON"))?;
        Ok(Shaped { payload, live: None, jti: None, subject: Some(subject), object: None })
    }
}
