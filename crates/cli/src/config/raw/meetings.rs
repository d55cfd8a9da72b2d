//! What is said of meetings: profiles `jaas` and `jitsi`, what a client may have in their tokens,
//! rules of exchange that give them, and the events of 8x8.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawJaasProfile {
    /// The AppID, `vpaas-magic-cookie-…`, from the JaaS console.
    pub(crate) app_id: String,
    /// The ring that signs. Its key comes from `countersign keys generate --jaas`, or from
    /// `countersign keys import --ring jaas --kid APPID/KEYID FILE`.
    #[serde(default = "jaas_ring")]
    pub(crate) ring: String,
}

pub(crate) fn jaas_ring() -> String {
    "jaas".into()
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawJitsiProfile {
    /// Prosody's `app_id`, which is `iss` in the tokens.
    pub(crate) app_id: String,
    /// `sub`: the domain of the meetings (Prosody's `VirtualHost`), in lower case. Tenants are not
    /// supported.
    pub(crate) domain: String,
    /// `aud`.
    #[serde(default = "jitsi")]
    pub(crate) audience: String,
    /// The ring that signs, RS256 with Prosody's `asap_key_server` or `cache_keys_url`. Default:
    /// `default`. Not with `secret`.
    #[serde(default)]
    pub(crate) ring: Option<String>,
    /// Prosody's `app_secret`, for HS256 in place of a ring: at least 32 bytes. A reference, as for
    /// `sealing.key`: `file:PATH`, `shared-file:PATH`, `env:NAME`, `ssm:/NAME`,
    /// `secretsmanager:ARN`. The line end behind it is not part of it.
    #[serde(default)]
    pub(crate) secret: Option<String>,
}

fn jitsi() -> String {
    "jitsi".into()
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawJaasGrant {
    /// Make a user moderator.
    pub(crate) moderator: bool,
    /// Tokens for every room (`"room": "*"`), and so for each single one.
    pub(crate) any_room: bool,
    /// Rooms it may have tokens for. A pattern is compared with the whole name; `*` stands for any
    /// number of characters, everything else for itself. At most 256 patterns of 200 characters.
    pub(crate) rooms: Vec<String>,
    /// Patterns of 8x8's own that it may send as `room` with `"regex": true`, word for word; `"*"`
    /// is any, and so any room. At most 256.
    pub(crate) regex: Vec<String>,
    /// Members of `user` it may set: `id`, `name`, `email`, `avatar`, `hidden-from-recorder`; `"*"`
    /// is all of them.
    pub(crate) user: Vec<String>,
    /// Meeting features, like `recording` or `livestreaming`; `"*"` is every documented one. One
    /// that is not documented has to be named.
    pub(crate) features: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawJitsiGrant {
    /// Make a user moderator.
    pub(crate) moderator: bool,
    /// Tokens for every room (`"room": "*"`), and so for each single one.
    pub(crate) any_room: bool,
    /// Rooms it may have tokens for, in lower case as Prosody compares them. Patterns as in
    /// `clients[].jaas.rooms`.
    pub(crate) rooms: Vec<String>,
    /// Members of `user` it may set: `id`, `name`, `email`, `avatar`; `"*"` is all of them.
    pub(crate) user: Vec<String>,
    /// Meeting features, like `recording` or `livestreaming`; `"*"` is every known one. One that is
    /// not known has to be named.
    pub(crate) features: Vec<String>,
}

/// The meetings for which a rule gives tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMeeting {
    /// The profile of the tokens: `jaas` or `jitsi`. A request asks for them by
    /// `requested_token_type` `urn:countersign:params:oauth:token-type:jaas`, or `…:jitsi`, and for
    /// the room by `room`.
    pub(crate) profile: String,
    /// Rooms that may be asked for, by name or pattern as in `clients[].jaas.rooms`.
    #[serde(default)]
    pub(crate) rooms: Vec<String>,
    /// A room, or a list of rooms, that the token which is shown is worth beside `rooms`: an
    /// expression in CEL, like `"team-" + claims.team`. Names, never patterns.
    #[serde(default)]
    pub(crate) room: Option<String>,
    /// Members of `user`, each an expression in CEL; null leaves one out. Those that are not named
    /// are taken from the token, as far as every client of the rule may set them: `id` is the
    /// subject, `name` is `name`, `email` is `email` where `email_verified` is true, `avatar` is
    /// `picture` where that is an https URL.
    #[serde(default)]
    pub(crate) user: BTreeMap<String, String>,
    /// Whether they become moderator: an expression in CEL, like `claims.role == 'host'`. Default:
    /// nobody does.
    #[serde(default)]
    pub(crate) moderator: Option<String>,
    /// Features, each with an expression in CEL that says who has it. With profile `jaas`, of
    /// moderators only.
    #[serde(default)]
    pub(crate) features: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawWebhooks {
    /// Events of 8x8 JaaS, taken at `/webhooks/jaas`.
    pub(crate) jaas: Option<RawJaasWebhook>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawJaasWebhook {
    /// The secret of the webhook, from the JaaS console. While it changes, the new one and the old
    /// one. References, as for `sealing.key`.
    pub(crate) secrets: Vec<String>,
    /// The AppID whose events are taken. Default: that of profile `jaas`.
    #[serde(default)]
    pub(crate) app_id: Option<String>,
    /// Where events are sent on to: `https`, or `http` on loopback or with `allow_http`. Default:
    /// they are written to the log, under the target `countersign::webhooks::event`. That needs
    /// `log.audit = "wait"` and a `log.level` that has them.
    #[serde(default)]
    pub(crate) target: Option<String>,
    /// A token for the target, sent as `Authorization: Bearer`. A reference.
    #[serde(default)]
    pub(crate) target_token: Option<String>,
    /// Whether `target` may be `http` on a network: for a private one alone, since events have
    /// people's names in them.
    #[serde(default)]
    pub(crate) allow_http: bool,
    /// How old a signature may be, or how far in the future, 1m to 24h. As long as 8x8 tries again
    /// while the target is away; an event that was delivered is known for twice as long.
    #[serde(default = "one_hour")]
    pub(crate) window: String,
}

fn one_hour() -> String {
    "1h".into()
}
