//! Rules of exchange: which client may show whose tokens, and what it gets for them at most.
//!
//! A rule trusts one issuer for this purpose alone: what opens the gate is not thereby worth a
//! token here. Its tokens must be made for this issuer (or whom the rule names), be about somebody,
//! and expire within a day. The subject of what is minted is the rule's provider, a colon and the
//! token's `sub`: no two providers, and no client, can have the same.

use crate::{
    request::{Asked, Request},
    seen::{Kind, Seen, SeenError},
};
use countersign_issuer::{GrantType, Names, Scope};
use countersign_jose::{MAX_CLAIMS_DEPTH, Timestamp, Verified, json::Object};
use countersign_verifier::{Fault, TrustError, TrustedIssuer, Verifier, VerifyError};
use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

/// The longest time a foreign token may have left.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How much later than here it may be where a token is taken: the most that a trusted issuer may be given.
const LEEWAY: Duration = Duration::from_secs(600);

/// What a rule says.
#[derive(Debug)]
pub struct RuleSettings {
    /// The clients it is for.
    pub clients: BTreeSet<String>,
    /// The grants it is for.
    pub grants: BTreeSet<GrantType>,
    /// What stands in front of the subject.
    pub provider: Provider,
    /// Whose tokens, and what those must say.
    pub issuer: TrustedIssuer,
    /// What may be asked for with one.
    pub scopes: Names,
    /// The longest life of what is minted.
    pub longest: Option<Duration>,
    /// How often one may be shown.
    pub once: Once,
}

/// One rule.
#[derive(Debug)]
pub struct ExchangeRule {
    clients: BTreeSet<String>,
    grants: BTreeSet<GrantType>,
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
    /// The rule, at work.
    ///
    /// # Errors
    ///
    /// If tokens could not be told by their issuer.
    pub fn new(settings: RuleSettings) -> Result<Self, TrustError> {
        let RuleSettings { clients, grants, provider, issuer, scopes, longest, once } = settings;
        let verifier = Verifier::builder().trust(issuer).build()?;
        Ok(Self { clients, grants, provider, verifier, scopes, longest, once })
    }

    fn is_for(&self, client: &str, grant: GrantType) -> bool {
        self.clients.contains(client) && self.grants.contains(&grant)
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
        let subject = format!("{}:{subject}", self.provider);
        Ok(Exchanged { subject, longest, scopes: &self.scopes, shown: scopes_of(accepted.verified()) })
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
    /// The scopes of the token itself, where it has any.
    shown: Option<Vec<String>>,
}

/// The scopes that a token has (RFC 8693 §4.2). What is there in another form allows none.
fn scopes_of(token: &Verified) -> Option<Vec<String>> {
    let Ok(claims) = Object::parse(token.payload(), MAX_CLAIMS_DEPTH) else { return Some(Vec::new()) };
    claims.get("scope")?;
    let scope = claims.string("scope").ok().flatten().unwrap_or_default();
    Some(scope.split_ascii_whitespace().map(str::to_owned).collect())
}

impl Exchanged<'_> {
    /// Whether the rule has this scope, and with token exchange the token too (RFC 8693: a grant only narrows).
    fn allows(&self, grant: GrantType, name: &str) -> bool {
        let shown = match (grant, &self.shown) {
            (GrantType::TokenExchange, Some(shown)) => shown.iter().any(|shown| shown == name),
            // An assertion's scopes are names of its issuer's own, about who it is made for.
            (GrantType::TokenExchange, None) | (GrantType::JwtBearer | GrantType::ClientCredentials, _) => {
                true
            }
        };
        shown && self.scopes.allows(name)
    }
}

/// What a token is worth to the client that shows it.
pub(crate) async fn ask(
    request: &Request<'_>,
    grant: GrantType,
    token: &str,
    scope: Option<Scope>,
) -> Result<Asked, ExchangeError> {
    let exchanged = take(request, grant, token).await?;
    if exchanged.longest <= request.backdate {
        return Err(ExchangeError::Ending);
    }
    let scope = match scope {
        Some(asked) if asked.names().all(|name| exchanged.allows(grant, name)) => Some(asked),
        Some(_) => return Err(ExchangeError::Scope),
        None => request.own.default_scope.as_ref().and_then(|default| {
            let kept: Vec<&str> = default.names().filter(|name| exchanged.allows(grant, name)).collect();
            Scope::parse(&kept.join(" ")).ok()
        }),
    };
    let longest = Some(exchanged.longest);
    Ok(Asked { subject: Some(exchanged.subject), scope, longest, issued_token_type: None })
}

/// Takes a token by the first rule of this client that accepts it.
async fn take<'r>(
    request: &Request<'r>,
    grant: GrantType,
    token: &str,
) -> Result<Exchanged<'r>, ExchangeError> {
    let mut refusal = ExchangeError::NoRule;
    for rule in request.rules.iter().filter(|rule| rule.is_for(request.client, grant)) {
        match rule.take(token, request.now, request.seen).await {
            Err(ExchangeError::Refused(VerifyError::UnknownIssuer)) => {}
            // It was accepted and spent, or cannot be judged: another rule has nothing to add.
            Err(why @ ExchangeError::Seen(_)) => return Err(why),
            Err(why) => refusal = why,
            Ok(exchanged) => return Ok(exchanged),
        }
    }
    Err(refusal)
}

/// Why a foreign token is not worth a token here. Told to the client, which has proved who it is;
/// no text of the token is in it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("no rule of this client (`exchange`) takes tokens of this issuer")]
    NoRule,
    #[error("the token shown is not accepted: {0}")]
    Refused(#[from] VerifyError),
    #[error("the token shown is about nobody (`sub`)")]
    NoSubject,
    #[error("the token shown is valid for more than a day from now (`exp`)")]
    TooLong,
    #[error("the token shown expires before a token for it could be used (`exp`)")]
    Ending,
    #[error("the token shown has no name (`jti`), and the rule takes each one once")]
    NoJti,
    #[error("the token shown: {0}")]
    Seen(#[from] SeenError),
    #[error("the rule (`exchange`) or the token shown does not allow this scope")]
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
