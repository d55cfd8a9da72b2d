//! A family of refresh tokens: what was granted once, and which token of it is live. Pure functions
//! of a passed-in time.
//!
//! Each turn makes the live token a turned one, and its successor live. Inside the grace window a
//! turned token is worth its successor, the same each time; after that its use is a replay. A turn
//! never changes what was granted, nor when the family ends at the latest. Times of other servers
//! may be off by the skew, so the window is that much longer, and the times of a family never run
//! backwards.

use super::token::{FamilyId, FamilySecret, NoRandomness, RefreshToken, SecretHash};
use countersign_issuer::{AudienceRequest, GrantType, Scope};
use countersign_jose::{MAX_CLAIMS_DEPTH, Timestamp, json::Object};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most turns in one grace window. A client that retries them all at once still gets the live
/// token.
pub(crate) const MOST_TURNED: usize = 16;

/// How long refresh tokens live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshLimits {
    /// How long a token that was used may be used again, for the same successor.
    pub grace: Duration,
    /// How long a family lives without being used.
    pub idle: Duration,
    /// How long a family lives from its first token.
    pub absolute: Duration,
    /// How far the clocks of servers may differ.
    pub skew: Duration,
}

/// What a family is worth, as it was granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Granting {
    /// The client, to which it is bound.
    pub(crate) client: String,
    /// The provider of the rule by which it was granted.
    pub(crate) provider: String,
    /// A tag over everything by which the token that was shown for it was believed
    /// (`Families::remembered`).
    pub(crate) trust: String,
    /// The grant by which it was shown.
    pub(crate) grant: String,
    /// The rule by which it was granted; families of earlier versions know only its provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// Whom tokens are about.
    pub(crate) subject: String,
    /// The scope, which only narrows.
    pub(crate) scope: Option<String>,
    /// The audiences, at least one.
    pub(crate) audiences: Vec<String>,
    /// The thumbprint of the key that each use has to be proved with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jkt: Option<String>,
    /// The claims that the rule gave: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claims: Option<String>,
    /// Who acts for the subject, the one that acts now first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) actors: Vec<String>,
    /// The rule that judged who acts now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor_rule: Option<String>,
    /// The same of what that rule believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor_trust: Option<String>,
    /// The longest life, in seconds, of what its rules gave: no later rule gives more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) longest: Option<u64>,
}

/// The document of a family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Family {
    pub(crate) id: FamilyId,
    pub(crate) granting: Granting,
    pub(crate) began: Timestamp,
    pub(crate) checks: FamilySecret,
    pub(crate) live: Live,
    /// Those that may be used again, oldest first.
    turned: Vec<Turned>,
}

/// The token that is worth a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Live {
    pub(crate) generation: u32,
    hash: SecretHash,
    pub(crate) made_at: Timestamp,
}

/// A token that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Turned {
    generation: u32,
    hash: SecretHash,
    /// What its successor follows from.
    seed: FamilySecret,
    at: Timestamp,
}

/// What a token is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Worth {
    /// A turn.
    Turn,
    /// The successor that it has.
    Successor(RefreshToken),
    /// Nothing: the family never made it, or its document is older than the token.
    Nothing,
    /// Nothing any more: the family has ended.
    Ended,
    /// Less than nothing: it was used before, so it is in two hands.
    Replay,
}

/// There were as many turns as there may be in one grace window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooFast;

impl RefreshLimits {
    fn window(&self) -> Duration {
        self.grace.saturating_add(self.skew)
    }
}

impl Granting {
    /// The grant, of those there are.
    pub(crate) fn grant(&self) -> Option<GrantType> {
        GrantType::named(&self.grant)
    }

    /// The longest life of what its rules gave.
    pub(crate) fn longest(&self) -> Option<Duration> {
        self.longest.map(Duration::from_secs)
    }

    pub(crate) fn scope(&self) -> Option<Scope> {
        self.scope.as_deref().and_then(|scope| Scope::parse(scope).ok())
    }

    /// The claims that it was given, of those that are `given` still.
    pub(crate) fn claims(&self, given: impl Fn(&str) -> bool) -> Option<String> {
        let text = self.claims.as_deref()?;
        let claims = Object::parse_text(text, MAX_CLAIMS_DEPTH).ok()?;
        let kept = claims.members().filter(|(name, _)| given(name));
        let kept: Vec<String> =
            kept.map(|(name, value)| format!("{}:{}", serde_json::Value::from(name), value.get())).collect();
        (!kept.is_empty()).then(|| format!("{{{}}}", kept.join(",")))
    }

    /// The audience: what a request asks for of it, or all of it. `None` if it asks for another.
    pub(crate) fn audience(&self, asked: Option<AudienceRequest>) -> Option<AudienceRequest> {
        match asked {
            Some(asked) => asked.names().iter().all(|name| self.audiences.contains(name)).then_some(asked),
            None => match self.audiences.as_slice() {
                [one] => AudienceRequest::one(one.clone()).ok(),
                many => AudienceRequest::many(many.to_vec()).ok(),
            },
        }
    }
}

impl Family {
    /// A new family and its first token.
    pub(crate) fn begin(granting: Granting, now: Timestamp) -> Result<(Self, RefreshToken), NoRandomness> {
        let (id, checks) = (FamilyId::random()?, FamilySecret::random()?);
        let token = RefreshToken::first(id, &checks)?;
        let live = Live { generation: token.generation, hash: token.hash(), made_at: now };
        Ok((Self { id, granting, began: now, checks, live, turned: Vec::new() }, token))
    }

    /// When it ends: when it was not used for too long, or exists for too long.
    pub(crate) fn ends(&self, limits: &RefreshLimits) -> Timestamp {
        self.live.made_at.plus(limits.idle).min(self.began.plus(limits.absolute))
    }

    /// Whether it has made a token, and knows of it. The key of the checks can be read in the
    /// store: it says which replays are real, and opens nothing.
    pub(crate) fn made(&self, token: &RefreshToken) -> bool {
        token.family == self.id && token.is_genuine(&self.checks) && token.generation <= self.live.generation
    }

    /// What a token is worth now.
    pub(crate) fn worth(&self, token: &RefreshToken, limits: &RefreshLimits, now: Timestamp) -> Worth {
        if !self.made(token) {
            return Worth::Nothing;
        }
        if now >= self.ends(limits) {
            return Worth::Ended;
        }
        if token.generation == self.live.generation {
            return if token.is(&self.live.hash) { Worth::Turn } else { Worth::Nothing };
        }
        let turned = self.turned.iter().find(|turned| turned.generation == token.generation);
        match turned.filter(|turned| turned.is_in_grace(limits, now)) {
            Some(turned) if token.is(&turned.hash) => {
                Worth::Successor(token.successor(&turned.seed, &self.checks))
            }
            _ => Worth::Replay,
        }
    }

    /// Whether this token is the live one, whatever the time.
    #[cfg(feature = "conformance")]
    pub(crate) fn is_live(&self, token: &RefreshToken) -> bool {
        token.generation == self.live.generation && token.is(&self.live.hash)
    }

    /// The family after a turn of its live token, and the token that is live then.
    pub(crate) fn turned(
        &self,
        token: &RefreshToken,
        seed: FamilySecret,
        limits: &RefreshLimits,
        now: Timestamp,
    ) -> Result<(Self, RefreshToken), TooFast> {
        let at = now.max(self.live.made_at);
        let mut next = self.clone();
        next.turned.retain(|turned| turned.is_in_grace(limits, at));
        if next.turned.len() >= MOST_TURNED {
            return Err(TooFast);
        }
        let successor = token.successor(&seed, &self.checks);
        let (generation, hash) = (self.live.generation, self.live.hash.clone());
        next.turned.push(Turned { generation, hash, seed, at });
        next.live = Live { generation: successor.generation, hash: successor.hash(), made_at: at };
        Ok((next, successor))
    }
}

impl Turned {
    fn is_in_grace(&self, limits: &RefreshLimits, now: Timestamp) -> bool {
        now.since(self.at) <= limits.window()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
    const LIMITS: RefreshLimits = RefreshLimits {
        grace: Duration::from_secs(30),
        idle: Duration::from_secs(3600),
        absolute: Duration::from_secs(86_400),
        skew: Duration::from_secs(60),
    };

    fn family() -> (Family, RefreshToken) {
        let granting = Granting {
            client: "app".to_owned(),
            provider: "login".to_owned(),
            trust: "https://login.example".to_owned(),
            grant: GrantType::JwtBearer.name().to_owned(),
            subject: "login:alice".to_owned(),
            scope: None,
            audiences: vec!["api://default".to_owned()],
            jkt: None,
            rule: None,
            claims: None,
            actors: Vec::new(),
            actor_rule: None,
            actor_trust: None,
            longest: None,
        };
        Family::begin(granting, NOW).unwrap()
    }

    /// Somebody who can read the store has the key of the checks, and the seeds.
    #[test]
    fn a_token_with_the_right_check_and_another_secret_is_worth_nothing() {
        let (family, token) = family();
        let forged = RefreshToken::first(family.id, &family.checks).unwrap();
        assert!(forged.is_genuine(&family.checks) && forged.generation == token.generation);
        assert_eq!(family.worth(&forged, &LIMITS, NOW), Worth::Nothing);
        let (next, _) = family.turned(&token, FamilySecret::random().unwrap(), &LIMITS, NOW).unwrap();
        assert!(matches!(next.worth(&token, &LIMITS, NOW), Worth::Successor(_)));
        assert_eq!(next.worth(&forged, &LIMITS, NOW), Worth::Replay);
        let ahead = forged.successor(&FamilySecret::random().unwrap(), &family.checks);
        assert_eq!(family.worth(&ahead, &LIMITS, NOW), Worth::Nothing);
        assert_eq!(next.worth(&ahead, &LIMITS, NOW), Worth::Nothing);
    }

    #[test]
    fn the_times_of_a_family_never_run_backwards() {
        let (family, token) = family();
        let seed = || FamilySecret::random().unwrap();
        let late = NOW.plus(Duration::from_secs(50));
        let (second, next) = family.turned(&token, seed(), &LIMITS, late).unwrap();
        // By a server whose clock is behind.
        let (third, _) = second.turned(&next, seed(), &LIMITS, NOW).unwrap();
        assert_eq!(third.live.made_at, late);
        assert_eq!(third.ends(&LIMITS), late.plus(LIMITS.idle));
        let last = late.plus(LIMITS.grace).plus(LIMITS.skew);
        assert!(matches!(third.worth(&next, &LIMITS, last), Worth::Successor(_)));
        assert_eq!(third.worth(&next, &LIMITS, last.plus(Duration::from_secs(1))), Worth::Replay);
    }
}
