//! Where a rule's tokens come from, and what makes one believed.
//!
//! A source judges what is shown and gives one `Shown`, whatever it is. It takes no name of a
//! token: that is done when the rule has accepted it, and not when a rule is tried.

use super::{
    Judging,
    error::ExchangeError,
    id_jag,
    shown::{Shown, scopes_of},
};
use crate::{
    assertion::shown as called,
    revoke::client_of,
    spend::SingleUse,
    upstream::{self, CODE_REMEMBERED, Code, Upstream, UpstreamError},
};
use aws_lc_rs::digest::{SHA256, digest};
use countersign_jose::{Timestamp, Verified, base64url};
use countersign_verifier::{TrustError, TrustedIssuer, Verifier};
use std::{collections::BTreeSet, fmt, time::Duration};

/// The longest time a foreign token may have left.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How much later than here it may be where a token is taken: the most that a trusted issuer may be
/// given.
const LEEWAY: Duration = Duration::from_secs(600);

/// Where a rule's tokens come from.
#[derive(Debug)]
pub enum RuleSource {
    /// They are JWTs of this issuer, and must say what it demands.
    Jwt(Box<TrustedIssuer>, Once),
    /// They are ID-JAGs of this issuer, each for the client that shows it.
    IdJag(Box<TrustedIssuer>),
    /// They are opaque tokens, or authorization codes, of this provider.
    Upstream(Upstream),
    /// They are access tokens of our own, minted by a grant.
    Own(OwnTokens),
}

/// Which tokens of our own are taken.
#[derive(Debug)]
pub struct OwnTokens {
    /// For whom they were minted: one of these.
    pub audiences: BTreeSet<String>,
    /// The clients that may be whom a token is about. What a client was given for itself
    /// (`client_credentials`) says that the client calls, and no more: a service that it calls must
    /// not become it, unless it is named here.
    pub clients: BTreeSet<String>,
}

impl OwnTokens {
    /// Whether a token about this subject is taken: a subject of a provider has that in front, and
    /// a client has no colon in its name.
    pub(super) fn takes(&self, subject: &str) -> bool {
        subject.contains(':') || self.clients.contains(subject)
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

/// A token that is shown, as the request has it.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) token: &'a str,
    pub(crate) kind: PresentedKind<'a>,
    /// The rule that is meant (`subject_issuer`).
    pub(crate) issuer: Option<&'a str>,
}

/// What somebody says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PresentedKind<'a> {
    /// An access token, which is a JWT or opaque.
    AccessToken,
    /// A JWT.
    Jwt,
    /// An authorization code of a provider.
    Code { verifier: &'a str, redirect_uri: &'a str },
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for PresentedKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessToken => "AccessToken",
            Self::Jwt => "Jwt",
            Self::Code { .. } => "Code",
        })
    }
}

impl<'a> Presented<'a> {
    /// A JWT, whose issuer says which rule it is for.
    pub(crate) fn jwt(token: &'a str) -> Self {
        Self { token, kind: PresentedKind::Jwt, issuer: None }
    }

    /// Whether it is for rules that ask a provider, as far as that can be seen: what could be a JWT
    /// says itself whose it is.
    pub(super) fn is_opaque(&self) -> bool {
        match self.kind {
            PresentedKind::AccessToken => !upstream::is_jwt(self.token),
            PresentedKind::Jwt => false,
            PresentedKind::Code { .. } => true,
        }
    }

    /// Whether a provider could have given it: an access token, or a code.
    pub(super) fn is_kind_of_upstream(&self) -> bool {
        self.kind != PresentedKind::Jwt
    }

    /// Whether rules that verify JWTs have nothing to do with it.
    pub(super) fn is_code(&self) -> bool {
        matches!(self.kind, PresentedKind::Code { .. })
    }

    fn upstream(&self) -> upstream::Presented<'_> {
        match self.kind {
            PresentedKind::AccessToken | PresentedKind::Jwt => upstream::Presented::Token(self.token),
            PresentedKind::Code { verifier, redirect_uri } => {
                upstream::Presented::Code(Code { code: self.token, verifier, redirect_uri })
            }
        }
    }
}

/// A source, at work.
#[derive(Debug)]
pub(super) enum Source {
    Jwt(Box<Verifier>, Once),
    IdJag(Box<Verifier>),
    Upstream(Upstream),
    Own(OwnTokens),
}

/// What tokens of our own are called where their source is named.
const OWN: &str = "own";

impl Source {
    pub(super) fn new(settings: RuleSource) -> Result<Self, TrustError> {
        match settings {
            RuleSource::Jwt(issuer, once) => {
                Ok(Self::Jwt(Box::new(Verifier::builder().trust(*issuer).build()?), once))
            }
            RuleSource::IdJag(issuer) => {
                Ok(Self::IdJag(Box::new(Verifier::builder().trust(*issuer).build()?)))
            }
            RuleSource::Upstream(upstream) => Ok(Self::Upstream(upstream)),
            RuleSource::Own(own) => Ok(Self::Own(own)),
        }
    }

    /// Whose tokens it takes, for people.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Jwt(verifier, _) | Self::IdJag(verifier) => {
                verifier.issuers().next().map_or("", |issuer| issuer.name())
            }
            Self::Upstream(upstream) => upstream.name(),
            Self::Own(_) => OWN,
        }
    }

    /// Where a subject is the same user.
    pub(super) fn subjects_of(&self) -> &str {
        match self {
            Self::Upstream(upstream) => upstream.subjects_of(),
            Self::Jwt(..) | Self::IdJag(_) | Self::Own(_) => self.name(),
        }
    }

    /// Whose tokens it takes, and a digest of everything by which one is believed: what is believed
    /// by something else has another trust.
    pub(super) fn trust(&self) -> String {
        match self {
            Self::Jwt(verifier, _) | Self::IdJag(verifier) => {
                let issuers =
                    verifier.issuers().map(|issuer| format!("{} {}", issuer.name(), issuer.fingerprint()));
                issuers.collect::<Vec<_>>().join(" ")
            }
            Self::Upstream(upstream) => upstream.trust().to_owned(),
            Self::Own(OwnTokens { audiences, clients }) => {
                format!("{OWN} {}", serde_json::json!([audiences, clients]))
            }
        }
    }

    /// Whether its tokens are ID-JAGs.
    pub(super) fn is_id_jag(&self) -> bool {
        matches!(self, Self::IdJag(_))
    }

    /// Whether the scopes of its tokens are names of this issuer's: a token without one is good for
    /// none.
    pub(super) fn has_scopes_of_ours(&self) -> bool {
        match self {
            Self::IdJag(_) | Self::Own(_) => true,
            Self::Jwt(..) | Self::Upstream(_) => false,
        }
    }

    /// Whether a provider is asked.
    pub(super) fn is_upstream(&self) -> bool {
        matches!(self, Self::Upstream(_))
    }

    /// Which tokens of our own it takes, whose subjects have their provider in front already.
    pub(super) fn own(&self) -> Option<&OwnTokens> {
        match self {
            Self::Own(own) => Some(own),
            Self::Jwt(..) | Self::IdJag(_) | Self::Upstream(_) => None,
        }
    }

    /// Judges what is shown.
    pub(super) async fn judge(
        &self,
        presented: &Presented<'_>,
        judging: &Judging<'_>,
    ) -> Result<Shown, ExchangeError> {
        match self {
            Self::Jwt(verifier, once) => {
                let accepted = verifier.verify(presented.token, judging.now).await?;
                if id_jag::is_typ(accepted.verified().typ()) {
                    return Err(ExchangeError::IdJag);
                }
                foreign(accepted.issuer(), accepted.verified(), *once, judging.now)
            }
            Self::IdJag(verifier) => {
                let accepted = verifier.verify(presented.token, judging.now).await?;
                let mut shown = foreign(accepted.issuer(), accepted.verified(), Once::Required, judging.now)?;
                shown.scopes.get_or_insert_default();
                id_jag::check(&shown, judging.client)?;
                Ok(shown)
            }
            Self::Own(OwnTokens { audiences, .. }) => {
                let token = judging.issuer.own(presented.token, judging.now).ok_or(ExchangeError::NotOwn)?;
                let shown = own(&token, audiences)?;
                let revoked = judging.revocations.list(judging.now).await?;
                if revoked.revokes(&token) { Err(ExchangeError::Revoked) } else { Ok(shown) }
            }
            Self::Upstream(upstream) => provided(upstream, presented, judging).await,
        }
    }
}

/// What a provider says. A code is taken once, for as long as any provider could take it again.
async fn provided(
    upstream: &Upstream,
    presented: &Presented<'_>,
    judging: &Judging<'_>,
) -> Result<Shown, ExchangeError> {
    let now = judging.now;
    if judging.issuer.may_be_own(presented.token) {
        return Err(UpstreamError::NotTheirs.into());
    }
    let profile = upstream.take(presented.upstream(), now).await?;
    let trust = upstream.name().to_owned();
    let single = presented.is_code().then(|| SingleUse {
        by: upstream.name().to_owned(),
        jti: name_of_code(presented.token),
        until: now.plus(CODE_REMEMBERED),
    });
    let (subject, claims) = (profile.subject.clone(), profile.claims.clone());
    let (scopes, ends) = (profile.scopes.clone(), profile.ends);
    Ok(Shown { subject, trust, claims, scopes, ends, token: None, single })
}

/// What a verified JWT of another issuer says.
fn foreign(trust: &str, token: &Verified, once: Once, now: Timestamp) -> Result<Shown, ExchangeError> {
    let registered = token.registered();
    let ends = registered.exp.filter(|ends| *ends <= now.plus(LONGEST)).ok_or(ExchangeError::TooLong);
    let (subject, ends) = (subject(token)?, ends?);
    let single = match once {
        Once::GivenUp => None,
        Once::Required => {
            let jti = registered.jti.as_deref().filter(|jti| !jti.is_empty()).ok_or(ExchangeError::NoJti)?;
            let by = registered.iss.clone().unwrap_or_default();
            Some(SingleUse { by, jti: jti.to_owned(), until: ends.plus(LEEWAY) })
        }
    };
    let claims = text(token);
    let (trust, scopes) = (trust.to_owned(), scopes_of(&claims));
    Ok(Shown { subject, trust, claims, scopes, ends: Some(ends), token: Some(called(token)), single })
}

/// What a token of our own says. One without a scope allows none: nothing is added on the way.
fn own(token: &Verified, audiences: &BTreeSet<String>) -> Result<Shown, ExchangeError> {
    let registered = token.registered();
    // Tokens of `POST /sign` have the subject that their client gave them.
    client_of(token).ok_or(ExchangeError::NotGranted)?;
    if !registered.aud.iter().any(|audience| audiences.contains(audience)) {
        return Err(ExchangeError::OwnAudience);
    }
    let ends = registered.exp.ok_or(ExchangeError::NotOwn)?;
    let claims = text(token);
    let scopes = Some(scopes_of(&claims).unwrap_or_default());
    Ok(Shown {
        subject: subject(token)?,
        trust: OWN.to_owned(),
        claims,
        scopes,
        ends: Some(ends),
        token: Some(called(token)),
        single: None,
    })
}

/// A code has no name, and is a secret: a hash of it stands for one.
fn name_of_code(code: &str) -> String {
    base64url::encode(digest(&SHA256, code.as_bytes()).as_ref())
}

fn subject(token: &Verified) -> Result<String, ExchangeError> {
    let subject = token.registered().sub.as_ref().filter(|sub| !sub.is_empty());
    subject.cloned().ok_or(ExchangeError::NoSubject)
}

/// The claims, which were parsed as JSON when the token was verified, so they are text.
fn text(token: &Verified) -> String {
    String::from_utf8_lossy(token.payload()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Tokens;

    #[test]
    fn what_is_shown_is_not_in_what_is_printed_of_it() {
        let code = PresentedKind::Code { verifier: "the-verifier", redirect_uri: "https://app.example/" };
        let tokens = Tokens {
            subject: Presented { token: "the-code", kind: code, issuer: None },
            actor: Some(Presented::jwt("the-actor")),
        };
        let single = SingleUse {
            by: "github".to_owned(),
            jti: name_of_code("the-code"),
            until: Timestamp::from_unix_seconds(0),
        };
        let shown = Shown {
            subject: "alice".to_owned(),
            trust: "github".to_owned(),
            claims: "the-claims".to_owned(),
            scopes: None,
            ends: None,
            token: None,
            single: Some(single.clone()),
        };
        let printed = format!("{tokens:?} {single:?} {shown:?}");
        assert!(printed.contains("Code") && printed.contains("github"), "{printed}");
        for secret in ["the-code", "the-verifier", "the-actor", "the-claims", "alice"] {
            assert!(!printed.contains(secret), "{printed}");
        }
        assert_ne!(name_of_code("the-code"), name_of_code("another"));
    }
}
