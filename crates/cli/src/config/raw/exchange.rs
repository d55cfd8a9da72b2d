//! Rules of exchange as they are typed. What they come to is in `config/exchange`.

use super::RawMeeting;
use crate::config::upstream::RawUpstream;
use countersign_gateway::settings::RawTrust;
use countersign_issuer::GrantType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A rule of exchange: whose tokens are worth what.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawExchange {
    /// What it is called in messages, the audit and `delegation.actors` of other rules. Default:
    /// its provider, or `own`.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// The clients that may show such tokens. Each must have the rule's grants in its entry. Left
    /// out in a rule that judges actor tokens for others, which name it in `delegation.actors`; its
    /// `scopes` are the most that such an actor may have.
    #[serde(default)]
    pub(crate) clients: Vec<String>,
    /// By which grants: `urn:ietf:params:oauth:grant-type:jwt-bearer`, which is the default, or
    /// `urn:ietf:params:oauth:grant-type:token-exchange`.
    #[serde(default = "jwt_bearer")]
    pub(crate) grants: Vec<String>,
    /// `enforce`, or `audit` for a rule that is only tried: what it says of each token is in the
    /// audit, nothing is minted by it, and the next rule decides.
    #[serde(default)]
    pub(crate) mode: RawMode,
    /// What stands in front of the subject, with a colon: 1 to 32 of `a-z 0-9 -`. So the subjects
    /// of two providers are never the same. Needed with every source but `own`.
    #[serde(default)]
    pub(crate) provider: Option<String>,
    /// Whether other rules with its `provider`, which ask another place, have the same users, so
    /// that one subject is the same user in all of them. Else `config check` refuses such rules.
    #[serde(default)]
    pub(crate) shares_provider: bool,
    /// Whose tokens they are, and what those must say. As in `trust`, but for this rule alone: the
    /// gate does not accept them. `audiences` is by default the issuer and its token endpoint, for
    /// which such a token has to be made (RFC 7523 section 3).
    #[serde(default)]
    pub(crate) trust: Option<RawTrust>,
    /// In place of `trust`: a provider whose opaque tokens, or authorization codes, the rule takes.
    #[serde(default)]
    pub(crate) upstream: Option<RawUpstream>,
    /// Instead of `trust`: they are access tokens of this authority, minted by a grant. Subjects
    /// keep the names they have.
    #[serde(default)]
    pub(crate) own: Option<RawOwn>,
    /// What the token's claims must meet: an expression in CEL that is true or false, like
    /// `claims.org == 'acme' && claims.level >= 3`. See exchange.md.
    #[serde(default)]
    pub(crate) when: Option<String>,
    /// The claims of what is minted, each an expression in CEL over the claims of the token, like
    /// `name = 'claims.name'`. Types are kept; null leaves a claim out. Each must also be in
    /// `claims.allow` of the rule's clients.
    #[serde(default)]
    pub(crate) claims: BTreeMap<String, String>,
    /// Whether a client may have a token for somebody without an `actor_token`, in token exchange
    /// (RFC 8693 calls it impersonation). Assertions (jwt-bearer) have no actors.
    #[serde(default)]
    pub(crate) impersonate: bool,
    /// Who may act for whom such a token is about, by token exchange with an `actor_token`.
    #[serde(default)]
    pub(crate) delegation: Option<RawDelegation>,
    /// Whether a client may show tokens that are bound to a key of somebody else (`cnf`), those
    /// that it was called with, by token exchange. Default: it has to send a DPoP proof of that
    /// key. `trust.dpop` takes only tokens that are bound, each with such a proof.
    #[serde(default)]
    pub(crate) bound_to_others: bool,
    /// Scopes that may be asked for with such a token, of those that the client may have; `"*"` is
    /// all of them.
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// The longest lifetime of what is minted. It never lives longer than the token that was shown.
    #[serde(default)]
    pub(crate) max_lifetime: Option<String>,
    /// The authorization servers of others for which it gives ID-JAGs, by which they let a client
    /// act for one of our users. Then it gives no access tokens.
    #[serde(default)]
    pub(crate) id_jags: Vec<RawIdJag>,
    /// The meetings for which it gives tokens to the user whose token is shown. Then it gives no
    /// access tokens.
    #[serde(default)]
    pub(crate) meeting: Option<RawMeeting>,
    /// The uploads for which it gives tokens to the user whose token is shown. Then it gives no
    /// access tokens.
    #[serde(default)]
    pub(crate) upload: Option<RawUploadRule>,
    /// Whether each token of `trust` is taken once, by its `jti`, whichever server it comes to,
    /// which is the default. `false`: as often as its holder likes. Has no meaning with other
    /// sources.
    #[serde(default)]
    pub(crate) once: Option<bool>,
    /// Whether its clients get a refresh token with what is minted, as far as they have the grant
    /// `refresh_token`. With it they go on for as long as `refresh` says, beyond the end of the
    /// token that was shown.
    #[serde(default)]
    pub(crate) refresh: bool,
}

pub(crate) fn jwt_bearer() -> Vec<String> {
    vec![GrantType::JwtBearer.name().into()]
}

/// Whether a rule mints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawMode {
    #[default]
    Enforce,
    Audit,
}

/// Which of this authority's tokens a rule takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOwn {
    /// For whom they were minted: one of these must be in `aud`.
    pub(crate) audiences: Vec<String>,
    /// Clients whose own tokens, which they got for themselves (`client_credentials`), may be
    /// exchanged too, by name. Then whom they call can act as them, within the rule.
    #[serde(default)]
    pub(crate) clients: Vec<String>,
}

/// Who may act by a rule.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDelegation {
    /// The rules that judge actor tokens, by name: rules without `clients`.
    pub(crate) actors: Vec<String>,
    /// The most actors in a row (`act` in `act`), 1 to 8.
    #[serde(default = "three")]
    pub(crate) depth: usize,
}

fn three() -> usize {
    3
}

/// Uploads for which a rule gives tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawUploadRule {
    /// Kinds of uploads (`uploads`). A request names one in its parameter `upload`, or none where
    /// there is one. The rule's clients must have it among their `uploads`, and `upload` among
    /// their `profiles`.
    pub(crate) to: Vec<String>,
}

/// An authorization server for which a rule gives ID-JAGs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIdJag {
    /// Its issuer. A request names it as `audience`; the client must have it among its `audiences`,
    /// and `id_jag` among its `profiles`.
    pub(crate) audience: String,
    /// What it calls the client. Default: the client's `id`.
    #[serde(default)]
    pub(crate) client_id: Option<String>,
    /// The APIs it protects, which a request may name as `resource`. All of them if it names none.
    #[serde(default)]
    pub(crate) resources: Vec<String>,
}
