//! Rules of exchange: which client may show whose tokens, and what it gets for them at most.
//!
//! A rule trusts one issuer for this purpose alone: what opens the gate is not thereby worth a token here. Its tokens must be
//! made for this issuer (or whom the rule names), be about somebody, and expire within a day. The subject of what is minted is
//! the rule's provider, a colon and the token's `sub`: no two providers, and no client, can have the same.

use crate::seen::{Kind, Seen, SeenError};
use countersign_issuer::{Names, Scope};
use countersign_jose::Timestamp;
use countersign_verifier::{Fault, TrustError, TrustedIssuer, Verifier, VerifyError};
use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

/// The longest time a foreign token may have left.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How much later than here it may be where a token is taken: the most that a trusted issuer may be given.
const LEEWAY: Duration = Duration::from_secs(600);

/// One rule.
#[derive(Debug)]
pub struct ExchangeRule {
    clients: BTreeSet<String>,
    provider: Provider,
    verifier: Verifier,
    scopes: Names,
    longest: Option<Duration>,
    once: Once,
}

/// What stands in front of a subject: 1 to 32 lower-case letters, digits and `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider(String);

/// A text that is not a provider's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a provider is 1 to 32 of the characters a-z 0-9 -")]
pub struct ProviderError;

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(name: &str) -> Result<Self, ProviderError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let valid = (1..=32).contains(&name.len()) && name.bytes().all(allowed);
        if valid { Ok(Self(name.to_owned())) } else { Err(ProviderError) }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How often one token may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Once {
    /// Once; it must have a name (`jti`).
    Required,
    /// As often as its holder likes, until it expires.
    GivenUp,
}

impl ExchangeRule {
    /// A rule by which these clients may show tokens of `issuer`.
    ///
    /// # Errors
    ///
    /// If tokens could not be told by their issuer.
    pub fn new(
        clients: BTreeSet<String>,
        provider: Provider,
        issuer: TrustedIssuer,
        scopes: Names,
        longest: Option<Duration>,
        once: Once,
    ) -> Result<Self, TrustError> {
        let verifier = Verifier::builder().trust(issuer).build()?;
        Ok(Self { clients, provider, verifier, scopes, longest, once })
    }

    /// Whether it is for this client.
    pub fn is_for(&self, client: &str) -> bool {
        self.clients.contains(client)
    }

    async fn take(&self, token: &str, now: Timestamp, seen: &Seen) -> Result<Exchanged<'_>, ExchangeError> {
        let accepted = self.verifier.verify(token, now).await?;
        let claims = accepted.verified().registered();
        let subject = claims.sub.as_deref().filter(|sub| !sub.is_empty()).ok_or(ExchangeError::NoSubject)?;
        let ends = claims.exp.filter(|ends| *ends <= now.plus(LONGEST)).ok_or(ExchangeError::TooLong)?;
        if self.once == Once::Required {
            let jti = claims.jti.as_deref().filter(|jti| !jti.is_empty()).ok_or(ExchangeError::NoJti)?;
            let iss = claims.iss.as_deref().unwrap_or_default();
            seen.once(Kind::OfIssuer, iss, jti, ends.plus(LEEWAY)).await?;
        }
        let left = ends.since(now);
        let longest = self.longest.map_or(left, |longest| left.min(longest));
        Ok(Exchanged { subject: format!("{}:{subject}", self.provider), longest, scopes: &self.scopes })
    }
}

/// What a foreign token is worth by a rule.
#[derive(Debug)]
pub(crate) struct Exchanged<'r> {
    /// Whom it is about, with the provider.
    pub(crate) subject: String,
    /// The longest life of what is minted for it: never beyond its own end.
    pub(crate) longest: Duration,
    scopes: &'r Names,
}

impl Exchanged<'_> {
    /// The scope that was asked for, if the rule has all of it.
    pub(crate) fn allow(&self, asked: Scope) -> Result<Scope, ExchangeError> {
        let within = asked.names().all(|name| self.scopes.allows(name));
        if within { Ok(asked) } else { Err(ExchangeError::Scope) }
    }

    /// What of a default the rule has.
    pub(crate) fn narrow(&self, default: &Scope) -> Option<Scope> {
        let kept: Vec<&str> = default.names().filter(|name| self.scopes.allows(name)).collect();
        Scope::parse(&kept.join(" ")).ok()
    }
}

/// Takes a token by the first rule of this client that accepts it.
pub(crate) async fn take<'r>(
    rules: &'r [ExchangeRule],
    client: &str,
    token: &str,
    now: Timestamp,
    seen: &Seen,
) -> Result<Exchanged<'r>, ExchangeError> {
    let mut refusal = ExchangeError::NoRule;
    for rule in rules.iter().filter(|rule| rule.is_for(client)) {
        match rule.take(token, now, seen).await {
            Err(ExchangeError::Refused(VerifyError::UnknownIssuer)) => {}
            // It was accepted and spent, or cannot be judged: another rule has nothing to add.
            Err(why @ ExchangeError::Seen(_)) => return Err(why),
            Err(why) => refusal = why,
            Ok(exchanged) => return Ok(exchanged),
        }
    }
    Err(refusal)
}

/// Why a foreign token is not worth a token here. Told to the client, which has proved who it is; no text of the token is in it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("no rule of this client (`exchange`) takes tokens of this issuer")]
    NoRule,
    #[error("the assertion is not accepted: {0}")]
    Refused(#[from] VerifyError),
    #[error("the assertion is about nobody (`sub`)")]
    NoSubject,
    #[error("the assertion is valid for more than a day from now (`exp`)")]
    TooLong,
    #[error("the assertion expires before a token for it could be used (`exp`)")]
    Ending,
    #[error("the assertion has no name (`jti`), and the rule takes each one once")]
    NoJti,
    #[error(transparent)]
    Seen(#[from] SeenError),
    #[error("the rule (`exchange`) does not allow this scope")]
    Scope,
}

impl ExchangeError {
    /// Whether it may be good, and only cannot be judged now.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(why) => why.fault() == Fault::Keys,
            Self::Seen(why) => why.is_temporary(),
            Self::NoRule | Self::NoSubject | Self::TooLong | Self::Ending | Self::NoJti | Self::Scope => {
                false
            }
        }
    }
}
