//! What is said of a client: how it proves who it is, and what its tokens may have.

use super::{RawJaasGrant, RawJitsiGrant};
use countersign_gateway::settings::RawTrust;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawClient {
    /// Its name: 1 to 128 of `A-Z a-z 0-9 . _ ~ -`.
    pub(crate) id: String,
    /// The hashes of the secrets it may show, as `countersign client new` prints them. Several
    /// while a secret changes; none for a client that proves who it is in another way.
    pub(crate) secret_hashes: Vec<String>,
    /// Audiences its tokens may have, compared exactly. The first one is the default.
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    /// The longest lifetime of its tokens, from `iat` to `exp`. Must be more than
    /// `tokens.backdate`.
    #[serde(default = "one_hour")]
    pub(crate) max_lifetime: String,
    /// Values it may put into the claims `scope` and `scp`, and scopes it may ask for at `/token`;
    /// `"*"` is any.
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// The grants it may use at `/token`: `client_credentials`,
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer`,
    /// `urn:ietf:params:oauth:grant-type:token-exchange`, `refresh_token`. They mint tokens of
    /// profile `access_token`, which must be in `profiles`; rules for meetings mint those of the
    /// profile that they name. All but the first need a rule (`exchange`), `refresh_token` one that
    /// says `refresh = true`.
    #[serde(default)]
    pub(crate) grants: Vec<String>,
    /// The scopes of its access tokens when it asks for none. Each must be in `scopes`.
    #[serde(default)]
    pub(crate) default_scope: Vec<String>,
    /// Audiences of tokens that it may ask about at `/introspect`, compared exactly; `"*"` is any.
    /// For resource servers, which need no grant.
    #[serde(default)]
    pub(crate) introspect: Vec<String>,
    /// The keys it signs assertions with, to authenticate at `/token` without a secret
    /// (`private_key_jwt`, RFC 7523).
    #[serde(default)]
    pub(crate) assertions: Option<RawAssertions>,
    /// The tokens by which its platform says that somebody is this client, to authenticate at
    /// `/token` without a secret: GitHub Actions, Kubernetes, AWS, another Countersign. Such a
    /// token must be made for this issuer. At most 16.
    #[serde(default)]
    pub(crate) workloads: Vec<RawWorkload>,
    /// Whether its id is all there is to show, as for a program that runs where its users are. Only
    /// for grants by rules that take each token once (`exchange.once`), and `refresh_token`. Its
    /// requests are counted by address (`limits.per_address`).
    #[serde(default)]
    pub(crate) public: bool,
    /// Whether it gets no token at `/token` without a DPoP proof (RFC 9449 section 5.2).
    #[serde(default)]
    pub(crate) dpop_bound_access_tokens: bool,
    /// Profiles it may use; `"*"` is any.
    #[serde(default = "jwt_only")]
    pub(crate) profiles: Vec<String>,
    /// Kinds of uploads (`uploads`) that it may let somebody do, with profile `upload`. Its
    /// `audiences` are the origins of the pages that send the files.
    #[serde(default)]
    pub(crate) uploads: Vec<String>,
    /// Claims it may set.
    #[serde(default)]
    pub(crate) claims: RawClaims,
    /// What it may put into JaaS meeting tokens.
    #[serde(default)]
    pub(crate) jaas: RawJaasGrant,
    /// What it may put into meeting tokens for a Jitsi of your own.
    #[serde(default)]
    pub(crate) jitsi: RawJitsiGrant,
}

/// The public keys of a client. One of `keys_url`, `jwks` and `pem` says where they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawAssertions {
    /// Where its JWK Set is: `https`, or `http` on loopback. Fetched when it is needed, and again
    /// for keys that are not known.
    pub(crate) keys_url: Option<String>,
    /// Its JWK Set: as text, or `file:PATH`.
    pub(crate) jwks: Option<String>,
    /// Its one key: a PEM text, or `file:PATH`.
    pub(crate) pem: Option<String>,
    /// The algorithms it signs with. Default: `RS256`, `PS256`, `ES256`, `EdDSA` and `Ed25519`;
    /// with `pem` it is exactly one.
    pub(crate) algorithms: Vec<String>,
}

/// Which tokens of a platform are this client's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWorkload {
    /// Whose tokens they are, and what those must say. As in `trust`, but for this client alone.
    /// `claims` must say which workload it is: with preset `github-actions` `repository_id`, or
    /// `job_workflow_ref`, which each of the owner's repositories shows that calls that workflow;
    /// `ref` and `environment` narrow both. With `kubernetes` `sub`, which is
    /// `system:serviceaccount:NAMESPACE:NAME`, or both names as `/kubernetes.io/namespace` and
    /// `/kubernetes.io/serviceaccount/name`, or `/kubernetes.io/serviceaccount/uid`; with `aws-sts`
    /// `sub`, the ARN of a role; with `countersign` `sub`, or `client_id`, which `sub` must be too
    /// then. `audiences` cannot be set.
    pub(crate) trust: RawTrust,
    /// Whether each token is taken once, by its `jti`, whichever server it comes to. Default: if it
    /// has one, and not with preset `kubernetes`, whose pods show one for as long as it lives.
    #[serde(default)]
    pub(crate) once: Option<bool>,
}

fn one_hour() -> String {
    "1h".into()
}

fn jwt_only() -> Vec<String> {
    vec!["jwt".into()]
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawClaims {
    /// Names of claims it may set in profile `jwt`, each at the top; `"*"` is any. A claim whose
    /// name begins with `/` is not minted, because some verifiers would read it as a JSON Pointer.
    pub(crate) allow: Vec<String>,
    /// Claims, or other members of `data`, that it may not set in any profile, even where `allow`
    /// or `jaas` has them. A name that begins with `/` is a JSON Pointer, like
    /// `/realm_access/roles`.
    pub(crate) deny: Vec<String>,
    /// Claims, or other members of `data`, that all its tokens have, with their values. Each of its
    /// profiles must have such a member.
    pub(crate) fixed: BTreeMap<String, serde_json::Value>,
    /// A JSON Schema file (`file:PATH`) that `data` must satisfy, in every profile. Numbers are
    /// compared exactly: what a 64-bit integer or a decimal of 15 digits cannot hold is refused.
    /// Needs a build with `--features full`.
    pub(crate) schema: Option<String>,
}
