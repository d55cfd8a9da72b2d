//! One rule: which clients may show whose tokens, and what it gives for them at most.
//!
//! What a rule says of its source is in `source`; everything here holds for every source.

use super::{
    delegation::Delegation,
    expression::Expression,
    id_jag::IdJagTarget,
    meeting::MeetingTerms,
    source::{RuleSource, Source},
    terms::Terms,
};
use crate::{refresh::Granting, upload::UploadTerms};
use aws_lc_rs::digest::{SHA256, digest};
use countersign_issuer::{GrantType, IdJagProfile, Names, UPLOAD_PROFILE};
use countersign_jose::base64url;
use countersign_verifier::TrustError;
use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

/// What a rule says.
#[derive(Debug)]
pub struct RuleSettings {
    /// What it is called in messages and the audit.
    pub name: String,
    /// The clients it is for; none for a rule that judges actor tokens for others.
    pub clients: BTreeSet<String>,
    /// The grants it is for.
    pub grants: BTreeSet<GrantType>,
    /// Whether it mints, or is only tried.
    pub mode: Mode,
    /// What stands in front of the subject; none for tokens of our own, whose subjects have theirs.
    pub provider: Option<Provider>,
    /// Whose tokens, and what those must say.
    pub source: RuleSource,
    /// What their claims must meet, and which claims it gives.
    pub terms: Terms,
    /// What may be asked for with one.
    pub scopes: Names,
    /// The longest life of what is minted.
    pub longest: Option<Duration>,
    /// Whether a client that has the grant `refresh_token` gets such a token too.
    pub refresh: Refreshes,
    /// Whether a token may be exchanged without anyone who acts.
    pub impersonation: Impersonation,
    /// Who may act.
    pub delegation: Option<Delegation>,
    /// Who holds the key that a token is bound to.
    pub holder: Holder,
    /// The authorization servers for which it gives ID-JAGs, in place of access tokens.
    pub id_jags: Vec<IdJagTarget>,
    /// The meetings for which it gives tokens, in place of access tokens.
    pub meeting: Option<MeetingTerms>,
    /// The uploads for which it gives tokens, in place of access tokens.
    pub upload: Option<UploadTerms>,
}

/// One rule.
#[derive(Debug)]
pub struct ExchangeRule {
    name: String,
    clients: BTreeSet<String>,
    grants: BTreeSet<GrantType>,
    mode: Mode,
    provider: Option<Provider>,
    source: Source,
    /// What is believed and under which condition.
    trust: String,
    terms: Terms,
    scopes: Names,
    longest: Option<Duration>,
    refresh: Refreshes,
    impersonation: Impersonation,
    delegation: Option<Delegation>,
    holder: Holder,
    id_jags: Vec<IdJagTarget>,
    meeting: Option<MeetingTerms>,
    upload: Option<UploadTerms>,
}

/// Whether a rule mints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Enforce,
    /// It is tried and recorded, and the next rule decides.
    Audit,
}

/// Whether a client may have a token for somebody without an actor in it (RFC 8693 §1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impersonation {
    /// Yes: the rule says so by name.
    Allowed,
    /// No: an actor token has to be shown.
    Refused,
}

/// Who holds the key that a token is bound to (`cnf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The client that shows it, with a DPoP proof. A token may also be bound to none.
    Client,
    /// The same, and every token is bound to one.
    ClientAlways,
    /// Anybody: the client was called with the token.
    Other,
}

impl Holder {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::ClientAlways => "client, always",
            Self::Other => "other",
        }
    }

    /// The same where nobody may show what another holds.
    pub(super) fn without_others(self) -> Self {
        if self == Self::Other { Self::Client } else { self }
    }
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

/// Whether what a rule grants can be refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshes {
    /// No: when the token has expired, another one is shown.
    No,
    /// By clients that have the grant `refresh_token`.
    ByClients,
}

impl ExchangeRule {
    /// The rule, at work.
    ///
    /// # Errors
    ///
    /// If tokens could not be told by their issuer.
    pub fn new(settings: RuleSettings) -> Result<Self, TrustError> {
        let RuleSettings { name, clients, grants, mode, provider, terms, scopes, longest, .. } = settings;
        let RuleSettings { source, refresh, impersonation, delegation, holder, id_jags, .. } = settings;
        let (meeting, upload) = (settings.meeting, settings.upload);
        let source = Source::new(source)?;
        let trust = trust(&source, terms.when.as_ref(), holder);
        Ok(Self {
            name,
            clients,
            grants,
            mode,
            provider,
            source,
            trust,
            terms,
            scopes,
            longest,
            refresh,
            impersonation,
            delegation,
            holder,
            id_jags,
            meeting,
            upload,
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_for(&self, client: &str, grant: GrantType) -> bool {
        self.clients.contains(client) && self.grants.contains(&grant)
    }

    /// Whether it judges actor tokens for other rules, and nothing for itself.
    pub(super) fn judges_actors(&self) -> bool {
        self.clients.is_empty()
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// What stands in front of its subjects; nothing for tokens of our own.
    pub(super) fn provider(&self) -> &str {
        self.provider.as_ref().map_or("", |provider| provider.0.as_str())
    }

    /// The name that a subject of its source has here.
    pub(super) fn named(&self, subject: &str) -> String {
        match &self.provider {
            Some(provider) => format!("{provider}:{subject}"),
            None => subject.to_owned(),
        }
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(super) fn impersonation(&self) -> Impersonation {
        self.impersonation
    }

    pub(super) fn delegation(&self) -> Option<&Delegation> {
        self.delegation.as_ref()
    }

    pub(super) fn holder(&self) -> Holder {
        self.holder
    }

    /// Whose subjects they are: two rules with one provider and the same of this mean the same
    /// users.
    pub fn subjects_of(&self) -> &str {
        self.source.subjects_of()
    }

    /// Whose word is believed, about what and under which condition: what was granted by something
    /// else it does not refresh.
    pub(crate) fn trust(&self) -> &str {
        &self.trust
    }

    /// The rule that has judged who acts in a family, if it judges actors for this one still.
    pub(crate) fn actor_of<'r>(&self, family: &Granting, rules: &'r [Self]) -> Option<&'r Self> {
        let name = family.actor_rule.as_ref()?;
        let is_named = self.delegation.as_ref()?.actors.iter().any(|actor| actor == name);
        rules.iter().find(|rule| is_named && rule.judges_actors() && rule.name == *name)
    }

    /// Whether it gives the claim of this name.
    pub(crate) fn gives(&self, claim: &str) -> bool {
        self.terms.claims.contains_key(claim)
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Whether its tokens are ID-JAGs.
    pub(crate) fn takes_id_jags(&self) -> bool {
        self.source.is_id_jag()
    }

    /// The profile of what it gives in place of access tokens.
    pub(super) fn profile(&self) -> Option<&'static str> {
        let id_jag = (!self.id_jags.is_empty()).then_some(IdJagProfile::NAME);
        let upload = self.upload.as_ref().map(|_| UPLOAD_PROFILE);
        id_jag.or(self.meeting().map(|meeting| meeting.service.profile())).or(upload)
    }

    /// The meetings for which it gives tokens.
    pub(super) fn meeting(&self) -> Option<&MeetingTerms> {
        self.meeting.as_ref()
    }

    /// The uploads for which it gives tokens.
    pub(super) fn upload(&self) -> Option<&UploadTerms> {
        self.upload.as_ref()
    }

    /// The authorization servers for which it gives ID-JAGs. Then it gives no access tokens.
    pub(super) fn id_jags(&self) -> &[IdJagTarget] {
        &self.id_jags
    }

    /// Whether somebody may get refresh tokens by it.
    pub(crate) fn gives_refresh_tokens(&self) -> bool {
        self.refresh == Refreshes::ByClients
    }

    /// Whether it may be the rule by which a family was granted, and would grant it still: its name
    /// and provider, who may use it and who may act. Whether it believes what it did is `trust`'s
    /// to say. `rules` are all there are.
    pub(crate) fn refreshes(&self, family: &Granting, rules: &[Self]) -> bool {
        let may_act = match &family.actor_rule {
            Some(_) => self.actor_of(family, rules).is_some(),
            None => {
                family.grant() != Some(GrantType::TokenExchange)
                    || self.impersonation == Impersonation::Allowed
            }
        };
        self.gives_refresh_tokens()
            && may_act
            && self.mode == Mode::Enforce
            && family.rule.as_ref().is_none_or(|name| *name == self.name)
            && self.provider() == family.provider
            && family.grant().is_some_and(|grant| self.is_for(&family.client, grant))
    }

    pub(crate) fn scopes(&self) -> &Names {
        &self.scopes
    }

    pub(crate) fn longest(&self) -> Option<Duration> {
        self.longest
    }
}

/// What makes a rule believe a token: a source, a condition and who holds the token's key. The
/// source's name, and a digest of all of it, which may have been made of shared secrets: it stays
/// in memory.
fn trust(source: &Source, when: Option<&Expression>, holder: Holder) -> String {
    let name = source.name();
    let binds = serde_json::json!([source.trust(), when.map(Expression::text), holder.name()]);
    let digest = digest(&SHA256, binds.to_string().as_bytes());
    format!("{name} sha256:{}", base64url::encode(digest.as_ref()))
}
