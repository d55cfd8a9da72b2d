//! Mint policy: what one client may have in its tokens. Nothing declared, nothing allowed.
//!
//! This file is the data and the questions that concern one value: an audience, a lifetime, a
//! scope. All of them are asked in `admission`, the one place that applies a policy. A refusal is a
//! `Denial`: the rule, in the words of the configuration, and what it refused, cut to a few hundred
//! bytes. Only a caller that proved who it is sees one.

use crate::{names::Names, profile::RoomPattern, request::AudienceRequest, schema::Schema};
use countersign_jose::{ClaimName, json::string, quoted};
use serde_json::value::RawValue;
use std::{fmt, time::Duration};

/// What a client may ask for.
#[derive(Debug)]
pub struct MintPolicy {
    /// Which audiences, compared exactly. The first one is the default.
    pub audiences: Names,
    /// The longest lifetime.
    pub max_lifetime: Duration,
    /// Which values of the claims `scope` and `scp` (RFC 8693 §4.2).
    pub scopes: Names,
    /// Which claims, with which values.
    pub claims: ClaimRules,
    /// Which shapes of token.
    pub profiles: Names,
    /// To which destinations it may let somebody upload.
    pub uploads: Names,
    /// What it may have in tokens for 8x8 JaaS meetings.
    pub jaas: MeetingGrant,
    /// What it may have in tokens for meetings of a Jitsi of one's own.
    pub jitsi: MeetingGrant,
}

impl Default for MintPolicy {
    /// Allows nothing.
    fn default() -> Self {
        Self {
            audiences: Names::default(),
            max_lifetime: Duration::ZERO,
            scopes: Names::default(),
            claims: ClaimRules::default(),
            profiles: Names::default(),
            uploads: Names::default(),
            jaas: MeetingGrant::default(),
            jitsi: MeetingGrant::default(),
        }
    }
}

/// Which claims a client may set.
#[derive(Debug, Default)]
pub struct ClaimRules {
    /// Names it may set.
    pub allow: Names,
    /// Claims it may not set, at the top or inside others, even where `allow` has them.
    pub deny: Vec<ClaimName>,
    /// Claims every token of this client has, whatever it asks for.
    pub fixed: Vec<(String, Box<RawValue>)>,
    /// A JSON Schema the claims it sets must satisfy.
    pub schema: Option<Schema>,
}

/// Who runs the meetings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeetingService {
    /// 8x8 JaaS.
    Jaas,
    /// A Jitsi of one's own.
    Jitsi,
}

impl MeetingService {
    /// The profile of its tokens.
    pub const fn profile(self) -> &'static str {
        match self {
            Self::Jaas => "jaas",
            Self::Jitsi => "jitsi",
        }
    }
}

/// What a client may put into meeting tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeetingGrant {
    /// Make a user moderator.
    pub moderator: bool,
    /// Tokens for every room (`"*"`), and so for each single one.
    pub any_room: bool,
    /// Tokens for a room that one of these matches.
    pub rooms: Vec<RoomPattern>,
    /// Patterns of the service's own that a room may be, word for word. Only 8x8 JaaS has such.
    pub regex: Names,
    /// Members of `user`.
    pub user: Names,
    /// Meeting features. All that are known, or those that are named.
    pub features: Names,
}

/// The rule of a client's policy that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the configuration key that `name` gives")]
pub enum Rule {
    Audiences,
    MaxLifetime,
    Scopes,
    ClaimsAllow,
    ClaimsDeny,
    ClaimsFixed,
    ClaimsSchema,
    Profiles,
    Uploads,
    Meeting(MeetingService, MeetingRule),
}

/// The rule of a client's table for meetings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is the last part of the configuration key that `Rule::name` gives"
)]
pub enum MeetingRule {
    Moderator,
    AnyRoom,
    Rooms,
    Regex,
    User,
    Features,
}

impl Rule {
    /// The configuration key of the rule, below the client.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audiences => "audiences",
            Self::MaxLifetime => "max_lifetime",
            Self::Scopes => "scopes",
            Self::ClaimsAllow => "claims.allow",
            Self::ClaimsDeny => "claims.deny",
            Self::ClaimsFixed => "claims.fixed",
            Self::ClaimsSchema => "claims.schema",
            Self::Profiles => "profiles",
            Self::Uploads => "uploads",
            Self::Meeting(MeetingService::Jaas, rule) => match rule {
                MeetingRule::Moderator => "jaas.moderator",
                MeetingRule::AnyRoom => "jaas.any_room",
                MeetingRule::Rooms => "jaas.rooms",
                MeetingRule::Regex => "jaas.regex",
                MeetingRule::User => "jaas.user",
                MeetingRule::Features => "jaas.features",
            },
            Self::Meeting(MeetingService::Jitsi, rule) => match rule {
                MeetingRule::Moderator => "jitsi.moderator",
                MeetingRule::AnyRoom => "jitsi.any_room",
                MeetingRule::Rooms => "jitsi.rooms",
                MeetingRule::Regex => "jitsi.regex",
                MeetingRule::User => "jitsi.user",
                MeetingRule::Features => "jitsi.features",
            },
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a policy does not allow, and which of its rules says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy of this client does not allow {what} (rule: {rule})")]
pub struct Denial {
    rule: Rule,
    what: String,
}

impl Denial {
    /// A refusal by `rule`. `what` completes "does not allow"; text of the caller's in it is quoted
    /// and cut.
    pub(crate) fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self { rule, what: what.into() }
    }

    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }
}

/// The audience of a token: what the caller asked for, or what its policy gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience<'a> {
    /// One, a string.
    One(&'a str),
    /// A list.
    Many(&'a [String]),
}

impl MintPolicy {
    /// Everything, for the operator who holds the keys anyway and mints on the command line.
    pub fn operator() -> Self {
        let meetings = MeetingGrant {
            moderator: true,
            any_room: true,
            rooms: Vec::new(),
            regex: Names::Any,
            user: Names::Any,
            features: Names::Any,
        };
        Self {
            audiences: Names::Any,
            max_lifetime: Duration::MAX,
            scopes: Names::Any,
            claims: ClaimRules { allow: Names::Any, ..ClaimRules::default() },
            profiles: Names::Any,
            uploads: Names::Any,
            jaas: meetings.clone(),
            jitsi: meetings,
        }
    }

    /// The audience of a token: what was asked for, if allowed, else the first one allowed.
    pub(crate) fn audience<'a>(&'a self, asked: Option<&'a AudienceRequest>) -> Result<Audience<'a>, Denial> {
        let Some(asked) = asked else {
            let none = || Denial::new(Rule::Audiences, "any audience");
            return self.audiences.first().map(Audience::One).ok_or_else(none);
        };
        let outside = asked.names().iter().filter(|name| !self.audiences.allows(name));
        let outside: Vec<_> = outside.map(|name| quoted(name)).collect();
        match outside.as_slice() {
            [] => Ok(asked.audience()),
            [one] => Err(Denial::new(Rule::Audiences, format!("the audience {one}"))),
            // All of them, so that a client need not find out one by one.
            many => Err(Denial::new(Rule::Audiences, format!("the audiences {}", many.join(", ")))),
        }
    }

    /// The lifetime of a token: what was asked for, if allowed, else an hour or the most allowed.
    pub(crate) fn lifetime(&self, asked: Option<Duration>) -> Result<Duration, Denial> {
        match asked {
            Some(asked) if asked > self.max_lifetime => {
                let (asked, longest) = (asked.as_secs(), self.max_lifetime.as_secs());
                let what = format!("a lifetime of {asked} s; the longest is {longest} s");
                Err(Denial::new(Rule::MaxLifetime, what))
            }
            Some(asked) => Ok(asked),
            None => Ok(DEFAULT_LIFETIME.min(self.max_lifetime)),
        }
    }

    /// `scope` is a space-separated string (RFC 8693 §4.2); `scp` is that or a list.
    pub(crate) fn check_scopes(&self, claim: &str, value: &RawValue) -> Result<(), Denial> {
        if self.scopes == Names::Any {
            return Ok(());
        }
        let scopes: Vec<String> = match string(value) {
            Some(text) => text.split(' ').map(str::to_owned).collect(),
            None => serde_json::from_str(value.get()).map_err(|_| {
                Denial::new(Rule::Scopes, format!("the claim `{claim}` to be anything but scopes"))
            })?,
        };
        self.check_scope_names(scopes.iter().map(String::as_str))
    }

    pub(crate) fn check_scope_names<'s>(
        &self,
        mut names: impl Iterator<Item = &'s str>,
    ) -> Result<(), Denial> {
        match names.find(|name| !self.scopes.allows(name)) {
            Some(name) => Err(Denial::new(Rule::Scopes, format!("the scope {}", quoted(name)))),
            None => Ok(()),
        }
    }
}

/// The lifetime of a token when nothing else is asked for.
pub(crate) const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
