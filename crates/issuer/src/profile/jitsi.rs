//! `jitsi`: meeting tokens for a Jitsi of one's own, whose Prosody verifies them (jitsi-meet,
//! resources/prosody-plugins: mod_auth_token, mod_token_verification, token/util.lib.lua,
//! luajwtjitsi.lib.lua; lib-jitsi-meet, doc/tokens.md).
//!
//! Those plugins are strict where others are not: the header's `typ` is exactly `JWT`, `aud` is one
//! string, `sub` has to be there, members of `context.user` are strings and never null, the room is
//! compared in lower case, and `nbf` and `exp` have no leeway, so tokens begin 10 s ago. A token
//! without `context.features` would have every feature, so there is always such a table, with what
//! was granted. `context.room.regex` is never there: a room is never a pattern. What makes a
//! participant a moderator is said in docs/meetings.md; `moderator` is passed on in both forms
//! there are.

use super::{
    Facts, Profile, ProfileError, Refusal, Shaped, Takes, Ways,
    meeting::{self, EVERY_ROOM, Meeting, invalid, word},
};
use crate::{
    admission::{Admitted, Claims},
    policy::{MeetingService, MintPolicy},
};
use countersign_jose::{Algorithm, KeyKind, MIN_RSA_BITS, quoted};
use countersign_keyring::{RingName, Signer};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// The profile of one Jitsi.
#[derive(Debug, Clone)]
pub struct JitsiProfile {
    /// Prosody's `app_id`, which is `iss`.
    pub app_id: String,
    /// `aud`.
    pub audience: String,
    /// `sub`: the domain of the rooms.
    pub domain: String,
    /// The ring that signs.
    pub ring: RingName,
}

static TAKES: meeting::Takes = meeting::Takes {
    service: MeetingService::Jitsi,
    members: &["room", "user", "moderator", "features"],
    user: &["id", "name", "email", "avatar"],
    user_flags: &[],
};

/// Characters that no room has: those that the local part of an address does not (RFC 7622 §3.3.1),
/// and the brackets around a tenant.
const NEVER_IN_A_ROOM: &[char] = &['"', '&', '\'', '/', ':', '<', '>', '@', '[', ']'];

#[derive(Serialize)]
struct TokenClaims<'a> {
    aud: &'a str,
    iss: &'a str,
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
}

#[derive(Serialize)]
struct ContextUser<'a> {
    #[serde(flatten)]
    user: &'a BTreeMap<&'static str, String>,
    moderator: &'static str,
    /// Read by token_affiliation of jitsi-contrib.
    affiliation: &'static str,
}

impl Profile for JitsiProfile {
    fn name(&self) -> &'static str {
        MeetingService::Jitsi.profile()
    }

    fn ring(&self) -> &RingName {
        &self.ring
    }

    fn typ(&self) -> &'static str {
        "JWT"
    }

    fn check_signer(&self, signer: &dyn Signer) -> Result<(), ProfileError> {
        let algorithm = signer.algorithm();
        let fits = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => true,
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => signer
                .public_key()
                .is_some_and(|key| key.kind() == KeyKind::Rsa && key.bits() >= MIN_RSA_BITS),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let reason = format!(
            "Prosody's token plugins take RS256, RS384 and RS512 with RSA keys of at least {MIN_RSA_BITS} bits, and HS256, \
             HS384 and HS512; the ring {} signs with {algorithm}",
            self.ring
        );
        Err(ProfileError { profile: "jitsi", reason })
    }

    fn takes(&self) -> Takes {
        Takes::Members(TAKES.members)
    }

    fn ways(&self) -> Ways {
        Ways::Both
    }

    /// The plugins compare with a clock that may be behind ours, and have no leeway.
    fn backdate(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn check_fixed(&self, fixed: Claims<'_>, policy: &MintPolicy) -> Result<(), Refusal> {
        read(fixed)?.check_grant(&policy.jitsi)
    }

    fn shape(&self, admitted: &Admitted<'_>, facts: &Facts<'_>) -> Result<Shaped, Refusal> {
        let mut meeting = read(admitted.claims())?;
        meeting.check_grant(&admitted.policy().jitsi)?;
        let room = meeting.required_room()?.to_owned();
        let subject = meeting.user_id(facts.id);
        let begins = facts.validity.begins().unix_seconds();
        let claims = TokenClaims {
            aud: &self.audience,
            iss: &self.app_id,
            sub: &self.domain,
            room: &room,
            iat: begins,
            nbf: begins,
            exp: facts.validity.ends().unix_seconds(),
            context: Context {
                user: ContextUser {
                    user: &meeting.user,
                    moderator: word(meeting.moderator),
                    affiliation: if meeting.moderator { "owner" } else { "member" },
                },
                features: meeting.feature_words(),
            },
        };
        let payload =
            serde_json::to_vec(&claims).map_err(|_| invalid("the claims cannot be written as JSON"))?;
        Ok(Shaped { payload, live: None, jti: None, subject: Some(subject), object: None })
    }
}

/// The same with the room as it is compared: in lower case, before any policy sees it.
fn read(claims: Claims<'_>) -> Result<Meeting, Refusal> {
    let mut meeting = Meeting::read(&TAKES, claims)?;
    let Some(room) = meeting.room.take() else { return Ok(meeting) };
    let wrong = |c: char| NEVER_IN_A_ROOM.contains(&c) || c.is_whitespace();
    if room != EVERY_ROOM
        && let Some(c) = room.chars().find(|c| wrong(*c))
    {
        let found = quoted(c.encode_utf8(&mut [0; 4]));
        return Err(invalid(format!("`data.room` has {found}, which no room of a Jitsi can have")));
    }
    meeting.room = Some(room.to_lowercase());
    Ok(meeting)
}
