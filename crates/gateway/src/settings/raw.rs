//! The settings of the gate as they are typed. The comments here are the reference page and the
//! JSON Schema.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// An issuer whose tokens the gate accepts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawTrust {
    /// A well-known kind of issuer, which fills in what is not given here: `firebase`, `cognito`,
    /// `auth0`, `okta`, `entra`, `google`, `github-actions`, `aws-sts`, `aws-alb`, `kubernetes` or
    /// `countersign`.
    pub preset: Option<String>,
    /// What the preset is made from: project id, user pool id, domain, tenant id, client id, owner
    /// id, issuer URL or ARN.
    pub id: Option<String>,
    /// Without a preset: the exact `iss` of its tokens. For many tenants it contains `{tenantid}`.
    /// With preset `aws-alb`: the issuer that the action of the load balancer names.
    pub issuer: Option<String>,
    /// Other exact `iss` values the same issuer uses.
    pub also_known_as: Vec<String>,
    /// Other regions to which a user pool is replicated (preset `cognito`). The original form of
    /// its issuer names the region that has issued the token, whose keys are at its own address.
    pub replica_regions: Vec<String>,
    /// The tenants of a `{tenantid}` issuer (or of preset `entra` with `common` or `organizations`)
    /// whose tokens are accepted.
    pub tenants: Vec<String>,
    /// Where its discovery document is, if not at `ISSUER/.well-known/openid-configuration`, where
    /// its keys are looked for when nothing else is said.
    pub discovery_url: Option<String>,
    /// Where its keys are: a JWK Set, or a map `{kid: PEM certificate}` as Firebase has it. With
    /// preset `aws-alb`: the address below which there is one key as PEM for each `kid`.
    pub keys_url: Option<String>,
    /// The authorities that vouch for the server of `keys_url`, in place of the system's:
    /// certificates as PEM, or `file:PATH`, which is read again each time.
    pub keys_ca: Option<String>,
    /// What is sent to `keys_url` as `Authorization: Bearer`: the token in `file:PATH` (readable by
    /// its owner alone) or `shared-file:PATH`, which is read again each time.
    pub keys_bearer: Option<String>,
    /// Its keys: a JWK Set as text, or `file:PATH`.
    pub jwks: Option<String>,
    /// Its one key: a PEM text, or `file:PATH`.
    pub pem: Option<String>,
    /// The secret shared with it, as `env:NAME`, `file:PATH` (readable by its owner alone) or
    /// `shared-file:PATH`; for HS256, HS384 or HS512.
    pub hmac_secret: Option<String>,
    /// The algorithms it signs with. Default: the preset's, else `RS256`.
    pub algorithms: Vec<String>,
    /// Audiences, of which a token must name one exactly. With preset `aws-alb`: client ids,
    /// compared with `client` in the header.
    pub audiences: Vec<String>,
    /// The claim that is compared with the audiences when a token has no `aud` at all: `client_id`,
    /// `cid` or `azp`.
    pub audience_fallback: Option<String>,
    /// What the claim `token_use` must be: `access` or `id` (Cognito).
    pub token_use: Option<String>,
    /// What the header's `typ` must be, like `at+jwt`.
    pub typ: Option<String>,
    /// Claims that must be there. A name that begins with `/` is a JSON Pointer.
    pub require: Vec<String>,
    /// Claims that must be there with exactly this value. A name that begins with `/` is a JSON
    /// Pointer.
    pub claims: BTreeMap<String, Value>,
    /// Accept `exp`, `nbf` and `iat` with a fraction of a second, as issuers send it that have
    /// `time.time() + 3600`. `exp` and `iat` are rounded down, `nbf` up.
    pub fractional_dates: bool,
    /// How far the clocks of issuer and gate may differ, 10 minutes at most. Default: 10s.
    pub leeway: Option<String>,
    /// How long fetched keys are kept at least, whatever the answer says. Default: 60s.
    pub keys_min_age: Option<String>,
    /// How long fetched keys are kept at most, whatever the answer says. Default: 24h.
    pub keys_max_age: Option<String>,
    /// How much longer keys are used while they cannot be fetched again. Default: 1h.
    pub keys_stale: Option<String>,
    /// Whether tokens are refused that the issuer has revoked, by the list that another Countersign
    /// signs: `"on"` for `ISSUER/.well-known/revoked.jwt`, or the address of the list. Default:
    /// `"off"`.
    pub revocations: Option<String>,
    /// How old the list may be while a newer one can be had: 1s to 1h. Default: 30s.
    pub revocations_every: Option<String>,
    /// How much longer the list is used while none can be had, 24h at most. Then no token of the
    /// issuer is accepted. Default: 10m.
    pub revocations_stale: Option<String>,
    /// Accept only tokens that are bound to a key (`cnf.jkt`), which are worth nothing without a
    /// DPoP proof of it.
    pub dpop: bool,
    /// Accept tokens made for anybody. A token that its holder gave to another service then opens
    /// this one too.
    pub dangerously_accept_any_audience: bool,
    /// Accept tokens whatever their `iss` says, as long as a key of this entry signed them. Only if
    /// it is the only one.
    pub dangerously_accept_any_issuer: bool,
    /// Accept tokens after they have expired, and tokens that never do. A stolen token then works
    /// forever.
    pub dangerously_ignore_expiry: bool,
}

/// The gate: `/gate` behind a proxy, and Lambda authorizers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawGate {
    /// Where a request's token may be. Two different tokens in one request are refused.
    pub credentials: RawCredentials,
    /// Rules, of which the first that matches decides. A request that none matches is refused.
    /// Without any rule, every accepted token opens everything.
    pub routes: Vec<RawRoute>,
    /// Proxies that may ask at `/gate`.
    pub proxies: Vec<RawProxies>,
    /// Identity headers for the service behind a proxy, and the claims they are filled from (`sub`,
    /// or a JSON Pointer like `/realm_access/roles`); always set, empty if need be.
    pub identity_headers: BTreeMap<String, String>,
    /// What a Lambda authorizer hands on as `context`: keys, and the claims they are filled from. A
    /// claim inside an object is named by a JSON Pointer, like `/realm_access/roles`.
    pub context: BTreeMap<String, String>,
    /// The claim that names the caller to API Gateway (`principalId`). With several issuers it
    /// stands behind the issuer, as `https://a.example#alice`.
    pub principal_claim: String,
    /// The claim with the API key of a usage plan (`usageIdentifierKey`), for REST APIs whose
    /// `apiKeySource` is AUTHORIZER.
    pub usage_identifier_claim: Option<String>,
    /// How HTTP APIs with payload format 2.0 are answered: `simple` (`enableSimpleResponses`) or
    /// `policy`.
    pub http_api_response: String,
    /// ARNs of the APIs that may be called, with IAM's wildcards. Empty: the API that asks. Not
    /// together with rules.
    pub authorized_apis: Vec<String>,
    /// How long AppSync may remember an answer; never past the token's end.
    pub appsync_ttl: String,
    /// A folder for fetched keys, so that a restart needs no network. Default: none; on Lambda
    /// `/tmp/countersign`.
    pub key_cache: Option<String>,
    /// How many verified tokens are remembered, so that their signature is not checked again; 0 for
    /// none.
    pub token_cache: usize,
    /// How DPoP proofs are judged (RFC 9449), which every token that is bound to a key needs.
    pub dpop: RawGateDpop,
    /// What the service behind the gate says of itself to clients (RFC 9728). The server hands it
    /// out at `/.well-known/oauth-protected-resource`, with the path of `url` behind it, and
    /// challenges name it.
    pub resource: Option<RawResource>,
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
            dpop: RawGateDpop::default(),
            resource: None,
        }
    }
}

/// How proofs are judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawGateDpop {
    /// The URLs below which clients reach the service, like `https://api.example` or, where API
    /// Gateway or a proxy takes a part of the path away, `https://api.example/v1`. A proof has to
    /// be for one of them and the request's path. Empty: what the event of API Gateway says; behind
    /// a proxy and for AppSync it has to be said.
    pub public_urls: Vec<String>,
    /// How old a proof may be by the client's clock, 1s to 10m; its clock may be ahead by 10 s.
    /// Proofs with a nonce, which tells the gate's time, do not depend on it.
    pub window: String,
    /// Whether each proof needs a nonce of this gate. Not for authorizers, which cannot hand one
    /// out.
    pub require_nonce: bool,
    /// A secret of 32 bytes or more that all gates behind one name share, as `env:NAME` or
    /// `file:PATH`, so that they take each other's nonces. Without it the process makes one up at
    /// each start.
    pub nonce_secret: Option<String>,
    /// How many proofs are remembered, so that none is taken twice, 1 to 10000000; each takes 80
    /// bytes for a window. A key can have as many as are left free, so half at most.
    pub proofs: usize,
    /// How long API Gateway remembers the answers of this authorizer. `"0s"` is the one value there
    /// is: an answer that is remembered would let in requests without a proof. Without it,
    /// authorizers accept no bound tokens. AppSync is told not to remember.
    pub authorizer_ttl: Option<String>,
}

impl Default for RawGateDpop {
    fn default() -> Self {
        Self {
            public_urls: Vec::new(),
            window: "60s".to_owned(),
            require_nonce: false,
            nonce_secret: None,
            proofs: crate::MOST_PROOFS,
            authorizer_ttl: None,
        }
    }
}

/// What a protected resource says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawResource {
    /// Its identifier, which clients compare byte by byte and send as `resource`: a URL without a
    /// query, like `https://api.example/v1`. Usually the audience of its tokens.
    pub url: String,
    /// The issuers that clients may ask. Default: those of `[[trust]]`.
    #[serde(default)]
    pub authorization_servers: Vec<String>,
    /// The scopes that clients may ask for. Default: those that the rules name.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What it is called, for people.
    #[serde(default)]
    pub name: Option<String>,
    /// Where people read about it.
    #[serde(default)]
    pub documentation: Option<String>,
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
    /// In this cookie; empty for none. Cookies go along with requests that other sites make: mind
    /// CSRF.
    pub cookie: String,
    /// Behind this entry of `Sec-WebSocket-Protocol`, as `new WebSocket(url, ["bearer", token])`
    /// sends it; empty for none.
    pub websocket_marker: String,
    /// In the header `x-amzn-oidc-data`, in which an Application Load Balancer of AWS says who has
    /// logged in (preset `aws-alb`).
    pub load_balancer: bool,
}

impl Default for RawCredentials {
    fn default() -> Self {
        Self {
            authorization: true,
            query: "authorization".to_owned(),
            cookie: String::new(),
            websocket_marker: "bearer".to_owned(),
            load_balancer: false,
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
    /// A path: `*` or `{name}` is one segment, `**` or `{name+}` at the end any number of them.
    /// `$connect` is the handshake of a WebSocket API. Compared with the decoded path; a slash at
    /// its end does not count.
    pub path: String,
    /// Let everyone in, with or without a token.
    #[serde(default)]
    pub public: bool,
    /// Only tokens of these issuers, by the `issuer` of their entry (of a preset: the `iss`; of
    /// `aws-alb`: the ARN).
    #[serde(default)]
    pub issuers: Vec<String>,
    /// At least one of these scopes (`scope` or `scp`).
    #[serde(default)]
    pub any_scope: Vec<String>,
    /// All of these scopes.
    #[serde(default)]
    pub all_scopes: Vec<String>,
    /// Only tokens that are bound to a key, with a DPoP proof of it.
    #[serde(default)]
    pub dpop: bool,
    /// Claims and their values; a claim that is a list must contain the value. A name that begins
    /// with `/` is a JSON Pointer, like `/realm_access/roles`.
    #[serde(default)]
    pub claims: BTreeMap<String, Value>,
}

/// Proxies that may ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawProxies {
    /// Which headers say what they ask about: those of `nginx`, `ingress-nginx`, `traefik`, `caddy`
    /// or `envoy`. No other is believed.
    pub kind: String,
    /// The networks their connections come from, like `10.0.0.0/8`. Not `0.0.0.0/0`.
    pub networks: Vec<String>,
}
