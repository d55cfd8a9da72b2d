//! The settings of the gate as they are typed. The comments here are the reference page and the JSON Schema.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// An issuer whose tokens the gate accepts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawTrust {
    /// A well-known kind of issuer, which fills in what is not given here: `firebase`, `cognito`, `auth0`, `okta`, `entra`,
    /// `google`, `github-actions`, `aws-sts`, `kubernetes` or `countersign`.
    pub preset: Option<String>,
    /// What the preset is made from: project id, user pool id, domain, tenant id, client id, owner id or issuer URL.
    pub id: Option<String>,
    /// Without a preset: the exact `iss` of its tokens. For many tenants it contains `{tenantid}`.
    pub issuer: Option<String>,
    /// Other exact `iss` values the same issuer uses.
    pub also_known_as: Vec<String>,
    /// The tenants of a `{tenantid}` issuer (or of preset `entra` with `common` or `organizations`) whose tokens are accepted.
    pub tenants: Vec<String>,
    /// Where its discovery document is, if not at `ISSUER/.well-known/openid-configuration`, where its keys are looked for
    /// when nothing else is said.
    pub discovery_url: Option<String>,
    /// Where its keys are: a JWK Set, or a map `{kid: PEM certificate}` as Firebase has it.
    pub keys_url: Option<String>,
    /// Its keys: a JWK Set as text, or `file:PATH`.
    pub jwks: Option<String>,
    /// Its one key: a PEM text, or `file:PATH`.
    pub pem: Option<String>,
    /// The secret shared with it, as `env:NAME`, `file:PATH` (readable by its owner alone) or `shared-file:PATH`; for HS256, HS384 or HS512.
    pub hmac_secret: Option<String>,
    /// The algorithms it signs with. Default: the preset's, else `RS256`.
    pub algorithms: Vec<String>,
    /// Audiences, of which a token must name one exactly.
    pub audiences: Vec<String>,
    /// The claim that is compared with the audiences when a token has no `aud` at all: `client_id`, `cid` or `azp`.
    pub audience_fallback: Option<String>,
    /// What the claim `token_use` must be: `access` or `id` (Cognito).
    pub token_use: Option<String>,
    /// What the header's `typ` must be, like `at+jwt`.
    pub typ: Option<String>,
    /// Claims that must be there. A name that begins with `/` is a JSON Pointer.
    pub require: Vec<String>,
    /// Claims that must be there with exactly this value. A name that begins with `/` is a JSON Pointer.
    pub claims: BTreeMap<String, Value>,
    /// Accept `exp`, `nbf` and `iat` with a fraction of a second, as issuers send it that have `time.time() + 3600`. `exp` and
    /// `iat` are rounded down, `nbf` up.
    pub fractional_dates: bool,
    /// How far the clocks of issuer and gate may differ, 10 minutes at most. Default: 10s.
    pub leeway: Option<String>,
    /// How long fetched keys are kept at least, whatever the answer says. Default: 60s.
    pub keys_min_age: Option<String>,
    /// How long fetched keys are kept at most, whatever the answer says. Default: 24h.
    pub keys_max_age: Option<String>,
    /// How much longer keys are used while they cannot be fetched again. Default: 1h.
    pub keys_stale: Option<String>,
    /// Accept tokens made for anybody. A token that its holder gave to another service then opens this one too.
    pub dangerously_accept_any_audience: bool,
    /// Accept tokens whatever their `iss` says, as long as a key of this entry signed them. Only if it is the only one.
    pub dangerously_accept_any_issuer: bool,
    /// Accept tokens after they have expired, and tokens that never do. A stolen token then works forever.
    pub dangerously_ignore_expiry: bool,
}

/// The gate: `/gate` behind a proxy, and Lambda authorizers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawGate {
    /// Where a request's token may be. Two different tokens in one request are refused.
    pub credentials: RawCredentials,
    /// Rules, of which the first that matches decides. A request that none matches is refused. Without any rule, every
    /// accepted token opens everything.
    pub routes: Vec<RawRoute>,
    /// Proxies that may ask at `/gate`.
    pub proxies: Vec<RawProxies>,
    /// Identity headers for the service behind a proxy, and the claims they are filled from (`sub`, or a JSON Pointer like
    /// `/realm_access/roles`); always set, empty if need be.
    pub identity_headers: BTreeMap<String, String>,
    /// What a Lambda authorizer hands on as `context`: keys, and the claims they are filled from. A claim inside an object is
    /// named by a JSON Pointer, like `/realm_access/roles`.
    pub context: BTreeMap<String, String>,
    /// The claim that names the caller to API Gateway (`principalId`). With several issuers it stands behind the issuer, as
    /// `https://a.example#alice`.
    pub principal_claim: String,
    /// The claim with the API key of a usage plan (`usageIdentifierKey`), for REST APIs whose `apiKeySource` is AUTHORIZER.
    pub usage_identifier_claim: Option<String>,
    /// How HTTP APIs with payload format 2.0 are answered: `simple` (`enableSimpleResponses`) or `policy`.
    pub http_api_response: String,
    /// ARNs of the APIs that may be called, with IAM's wildcards. Empty: the API that asks. Not together with rules.
    pub authorized_apis: Vec<String>,
    /// How long AppSync may remember an answer; never past the token's end.
    pub appsync_ttl: String,
    /// A folder for fetched keys, so that a restart needs no network. Default: none; on Lambda `/tmp/countersign`.
    pub key_cache: Option<String>,
    /// How many verified tokens are remembered, so that their signature is not checked again; 0 for none.
    pub token_cache: usize,
}

impl Default for RawGate {
    fn default() -> Self {
        let pairs =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self {
            credentials: RawCredentials::default(),
            routes: Vec::new(),
            proxies: Vec::new(),
            identity_headers: pairs(&[
                ("X-Auth-Subject", "sub"),
                ("X-Auth-Issuer", "iss"),
                ("X-Auth-Scope", "scope"),
            ]),
            context: pairs(&[("sub", "sub"), ("iss", "iss"), ("scope", "scope"), ("exp", "exp")]),
            principal_claim: "sub".to_owned(),
            usage_identifier_claim: None,
            http_api_response: "simple".to_owned(),
            authorized_apis: Vec::new(),
            appsync_ttl: "5m".to_owned(),
            key_cache: None,
            token_cache: 0,
        }
    }
}

/// Where a token may be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawCredentials {
    /// In `Authorization: Bearer TOKEN`.
    pub authorization: bool,
    /// In this query parameter; empty for none.
    pub query: String,
    /// In this cookie; empty for none. Cookies go along with requests that other sites make: mind CSRF.
    pub cookie: String,
    /// Behind this entry of `Sec-WebSocket-Protocol`, as `new WebSocket(url, ["bearer", token])` sends it; empty for none.
    pub websocket_marker: String,
}

impl Default for RawCredentials {
    fn default() -> Self {
        Self {
            authorization: true,
            query: "authorization".to_owned(),
            cookie: String::new(),
            websocket_marker: "bearer".to_owned(),
        }
    }
}

/// A route rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawRoute {
    /// Methods, in capitals; empty for all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// A path: `*` or `{name}` is one segment, `**` or `{name+}` at the end any number of them. `$connect` is the handshake
    /// of a WebSocket API. Compared with the decoded path; a slash at its end does not count.
    pub path: String,
    /// Let everyone in, with or without a token.
    #[serde(default)]
    pub public: bool,
    /// Only tokens of these issuers, by the `issuer` of their entry (of a preset: the `iss`).
    #[serde(default)]
    pub issuers: Vec<String>,
    /// At least one of these scopes (`scope` or `scp`).
    #[serde(default)]
    pub any_scope: Vec<String>,
    /// All of these scopes.
    #[serde(default)]
    pub all_scopes: Vec<String>,
    /// Claims and their values; a claim that is a list must contain the value. A name that begins with `/` is a JSON Pointer,
    /// like `/realm_access/roles`.
    #[serde(default)]
    pub claims: BTreeMap<String, Value>,
}

/// Proxies that may ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawProxies {
    /// Which headers say what they ask about: those of `nginx`, `traefik`, `caddy` or `envoy`. No other is believed.
    pub kind: String,
    /// The networks their connections come from, like `10.0.0.0/8`. Not `0.0.0.0/0`.
    pub networks: Vec<String>,
}
