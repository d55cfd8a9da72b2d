//! The configuration as it is typed. The comments here are the reference page and the JSON Schema.

mod client;
mod exchange;
mod meetings;
mod uploads;

pub(crate) use client::{RawAssertions, RawClient, RawWorkload};
pub(crate) use exchange::{RawExchange, RawMode, jwt_bearer};
pub(crate) use meetings::{
    RawJaasGrant, RawJaasProfile, RawJitsiGrant, RawJitsiProfile, RawMeeting, RawWebhooks, jaas_ring,
};
pub(crate) use uploads::{RawUpload, RawUploadProfile};

use countersign_gateway::settings::{RawGate, RawTrust};
use countersign_jose::Algorithm;
use countersign_settings::log::RawLog;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The configuration file of Countersign.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConfig {
    /// The issuer identifier: the URL in `iss`, in discovery and in front of every path (RFC 8414
    /// section 2). `https`, or `http` on loopback. May have a path. Never derived from a request.
    // What lacks it may be a whole configuration of the gate; `resolve` refuses that anywhere else.
    #[serde(default)]
    #[schemars(!default)]
    pub(crate) issuer: String,
    /// Where keys are kept.
    #[serde(default)]
    pub(crate) store: RawStore,
    /// What private keys are sealed with.
    #[serde(default)]
    pub(crate) sealing: RawSealing,
    /// The HTTP server.
    #[serde(default)]
    pub(crate) server: RawServer,
    /// What all tokens have in common.
    #[serde(default)]
    pub(crate) tokens: RawTokens,
    /// The public keys as verifiers see them.
    #[serde(default)]
    pub(crate) jwks: RawJwks,
    /// What the rotation of all rings has in common.
    #[serde(default)]
    pub(crate) rotation: RawRotation,
    /// Sizes, times and rates.
    #[serde(default)]
    pub(crate) limits: RawLimits,
    /// The log.
    #[serde(default)]
    pub(crate) log: RawLog,
    /// Lines of keys, by name: 1 to 64 lower-case letters, digits, `-` or `_`. Ring `default` is
    /// there even if not declared.
    #[serde(default)]
    pub(crate) rings: BTreeMap<String, RawRing>,
    /// Shapes of token.
    #[serde(default)]
    pub(crate) profiles: RawProfiles,
    /// Who may ask for tokens. Make an entry with `countersign client new`.
    #[serde(default)]
    pub(crate) clients: Vec<RawClient>,
    /// Kinds of uploads, by name: 1 to 64 lower-case letters, digits, `-` or `_`. Clients that name
    /// one in their `uploads` may let somebody put one file there (`POST /uploads`). In a build
    /// with `--features uploads`; see uploads.md.
    #[serde(default)]
    pub(crate) uploads: BTreeMap<String, RawUpload>,
    /// Events that others send to this server.
    #[serde(default)]
    pub(crate) webhooks: RawWebhooks,
    /// Where an AWS Lambda function publishes the public documents after each scheduled turn of the
    /// rotation.
    #[serde(default)]
    pub(crate) publish: Option<RawPublish>,
    /// Which clients may show whose tokens at `/token` for one of ours. Without a rule, none may.
    #[serde(default)]
    pub(crate) exchange: Vec<RawExchange>,
    /// How long refresh tokens live. A rule of exchange says who gets some (`refresh`).
    #[serde(default)]
    pub(crate) refresh: RawRefresh,
    /// How DPoP proofs at `/token` are judged (RFC 9449). A client that sends one gets a token that
    /// is bound to its key.
    #[serde(default)]
    pub(crate) dpop: RawDpop,
    /// Issuers whose tokens the gate accepts. A token's `iss` selects one, and only its keys can
    /// verify the token.
    #[serde(default)]
    pub(crate) trust: Vec<RawTrust>,
    /// The gate: `/gate` behind a proxy, and `countersign authorize`.
    #[serde(default)]
    pub(crate) gate: RawGate,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawStore {
    /// `sqlite:PATH` (relative to this file), `postgres://USER:PASSWORD@HOST/DATABASE`,
    /// `dynamodb://TABLE`, `mongodb://HOST/DATABASE` or `s3://BUCKET/PREFIX` (in a build with the
    /// feature of that name; see stores.md), or `memory:` (lost when the program ends). Or a
    /// reference to such a URL: `env:NAME`, `file:PATH` (readable by its owner alone),
    /// `shared-file:PATH`, `ssm:/NAME`, `secretsmanager:ARN`.
    pub(crate) url: String,
    /// What to do where the store holds no keyring: `refuse`, because it may be lost, mistyped or
    /// not mounted, or `create`: make one with a first key. For machines that are set up without
    /// anybody at a terminal; otherwise run `countersign keys init` once.
    pub(crate) first_keys: RawFirstKeys,
    /// How often a running server looks whether the keys have changed.
    pub(crate) refresh: String,
    /// How long `/readyz` stays ready while the store does not answer.
    pub(crate) max_stale: String,
    /// How long tokens are minted with the keys last read while the store does not answer; then
    /// `/sign` answers 503.
    pub(crate) max_stale_signing: String,
}

impl Default for RawStore {
    fn default() -> Self {
        Self {
            url: "sqlite:countersign.db".into(),
            first_keys: RawFirstKeys::Refuse,
            refresh: "5s".into(),
            max_stale: "5m".into(),
            max_stale_signing: "1h".into(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPublish {
    /// `s3://BUCKET/PREFIX`, or a folder, as for `countersign publish`.
    pub(crate) target: String,
    /// The id of a CloudFront distribution in front of the bucket, whose caches are told what has
    /// changed.
    #[serde(default)]
    pub(crate) cloudfront: Option<String>,
    /// A parameter of AWS Systems Manager, like `/auth/key_id`, that gets the kid of the key that
    /// signs in ring `default`, for programs that look for it there. In a build with
    /// `--features aws-secrets`.
    #[serde(default)]
    pub(crate) key_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawFirstKeys {
    Refuse,
    Create,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawSealing {
    /// What new private keys are sealed with. A reference to 32 random bytes in base64: `file:PATH`
    /// (relative to this file, readable by its owner alone: mode 0600), `shared-file:PATH` (no
    /// matter who may read it, for platforms that set the mode themselves), `env:NAME`, or in a
    /// build with `--features aws-secrets` `ssm:/NAME` (a parameter of AWS Systems Manager) or
    /// `secretsmanager:ARN` (a secret of AWS Secrets Manager by ARN or name; `#MEMBER` behind it
    /// for a member of a JSON object). A `file:` that is not there is made together with the
    /// keyring and never later. Or, in a build with `--features kms`, `kms:KEY`: an AWS KMS key by
    /// id, ARN or alias (`kms:alias/NAME`), under which a data key is kept in the store.
    pub(crate) key: String,
    /// References to sealing keys that open and do not seal, in the same forms: while the sealing
    /// key is changed (see keys.md).
    pub(crate) also: Vec<String>,
}

impl Default for RawSealing {
    fn default() -> Self {
        Self { key: "file:sealing.key".into(), also: Vec::new() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawServer {
    /// The address to listen on. TLS is the business of the proxy in front.
    pub(crate) listen: String,
    /// Networks of proxies whose `X-Forwarded-For` tells the caller's address. Not `0.0.0.0/0`.
    pub(crate) trusted_proxies: Vec<String>,
    /// Networks that may read `/metrics`. Requests that came through a proxy which is not in
    /// `trusted_proxies` may not, wherever the proxy is.
    pub(crate) metrics_allow: Vec<String>,
    /// How long the server goes on answering after SIGTERM or SIGQUIT, with `/readyz` at 503 and
    /// `Connection: close` on every answer, before it closes its port. As long as load balancers
    /// take to see it, and less than the supervisor waits before it kills (10 s for Docker, 30 s
    /// for Kubernetes, 90 s for systemd). Ctrl-C does not wait.
    pub(crate) drain: String,
}

impl Default for RawServer {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            trusted_proxies: Vec::new(),
            metrics_allow: vec!["127.0.0.0/8".into(), "::1/128".into()],
            drain: "5s".into(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawTokens {
    /// How far `iat` and `nbf` lie before the moment of minting, for verifiers without leeway whose
    /// clock is behind (API Gateway is one). It is part of a token's lifetime: `exp` is `iat` plus
    /// the lifetime, so that much less is left from now on.
    pub(crate) backdate: String,
}

impl Default for RawTokens {
    fn default() -> Self {
        Self { backdate: "5s".into() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawRefresh {
    /// How long a refresh token that was used is good for the same successor once more: for a
    /// client that has not got the answer, or asks in two places at once. Later, its use revokes
    /// all tokens of its family. At most 10m; `rotation.skew` is added to it.
    pub(crate) grace: String,
    /// How long a refresh token lives when it is not used. At most 400 days.
    pub(crate) idle: String,
    /// How long its owner can go on with the successors of one refresh token before he has to show
    /// another token again. At most 400 days.
    pub(crate) absolute: String,
}

impl Default for RawRefresh {
    fn default() -> Self {
        Self { grace: "30s".into(), idle: "14days".into(), absolute: "90days".into() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawDpop {
    /// How old a proof may be by the client's clock, 1s to 10m; its clock may be ahead by 10 s.
    /// Proofs with a nonce, which tells the server's time, do not depend on it.
    pub(crate) window: String,
    /// Whether each proof needs a nonce of this issuer. A client without one gets `use_dpop_nonce`
    /// and a nonce, and tries again.
    pub(crate) require_nonce: bool,
}

impl Default for RawDpop {
    fn default() -> Self {
        Self { window: "60s".into(), require_nonce: false }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawJwks {
    /// `Cache-Control: max-age` of discovery and JWKS, at most. Less when the keys change sooner,
    /// but 10s at least, and up to a fifth less by turns, so that caches do not all come back at
    /// one moment.
    pub(crate) max_age: String,
    /// Whether the keys in the JWKS have their certificates with them, as `x5c` and `x5t#S256`. It
    /// makes the JWKS several times as large; `/.well-known/x509.json` has the certificates in any
    /// case. A key whose `alg` is `Ed25519` has none there.
    pub(crate) x5c: bool,
}

impl Default for RawJwks {
    fn default() -> Self {
        Self { max_age: "5m".into(), x5c: false }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawRotation {
    /// How often a running server looks at its own JWKS as the world sees it, and takes the steps
    /// that are due. At most 1h.
    pub(crate) observe_every: String,
    /// How far the clocks of issuer and verifiers may differ.
    pub(crate) skew: String,
}

impl Default for RawRotation {
    fn default() -> Self {
        Self { observe_every: "5m".into(), skew: "1m".into() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawLimits {
    /// The longest request body, in bytes; longer ones get 413.
    pub(crate) body_bytes: usize,
    /// The longest request line and headers together, in bytes, at least 8192; longer ones get 431.
    pub(crate) header_bytes: usize,
    /// The longest request path and query, in bytes; longer ones get 414.
    pub(crate) url_bytes: usize,
    /// The longest token minted, in bytes. API Gateway takes 10240 bytes of headers in all.
    pub(crate) token_bytes: usize,
    /// How deep the JSON of a request may nest, at most 17: verifiers read claims 16 deep.
    pub(crate) json_depth: usize,
    /// How long a request may take from its first byte to the answer; slower ones get 408.
    pub(crate) request_time: String,
    /// How long a connection may be idle between two requests. Longer than proxies keep their idle
    /// connections (60s is the default of nginx and of AWS load balancers), so that it is they who
    /// close them.
    pub(crate) idle_time: String,
    /// How long a client may take to read an answer. The connection is closed when less than 16 KiB
    /// of it could be sent in that time and more is waiting.
    pub(crate) write_time: String,
    /// Connections open at once. When they are used up, the one that has waited longest for its
    /// client gives way to a new one. Not more than the limit of open files (`RLIMIT_NOFILE`) less
    /// 64.
    pub(crate) connections: usize,
    /// Connections open at once from one address (IPv6: one /64); `server.trusted_proxies` and
    /// `gate.proxies` may have all. Default: an eighth of `limits.connections`, and 8 at least.
    pub(crate) connections_per_address: Option<usize>,
    /// Tokens asked for by one client: `NUMBER/s`, `NUMBER/m`, `NUMBER/h`, or `off`. More get 429.
    pub(crate) per_client: String,
    /// Requests from one address (IPv6: one /48) that do not prove who they are, in the same form;
    /// more get 429. Clients that do are neither counted nor stopped, however many others fail at
    /// their address.
    pub(crate) per_address: String,
    /// Requests that may wait for a signature by a key in this process; more get 503. As many
    /// signatures are computed at once as there are cores, less one, so that health and keys keep
    /// their share of the processor.
    pub(crate) signatures_waiting: usize,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            body_bytes: 64 * 1024,
            header_bytes: 16 * 1024,
            url_bytes: 4096,
            token_bytes: 8192,
            json_depth: 16,
            request_time: "10s".into(),
            idle_time: "75s".into(),
            write_time: "10s".into(),
            connections: 1024,
            connections_per_address: None,
            per_client: "1000/s".into(),
            per_address: "200/s".into(),
            signatures_waiting: 1024,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawRing {
    /// The algorithm of keys made for this ring. RS256 is what every consumer takes. The keys of
    /// HS256, HS384 and HS512 are secrets, which are made on request and shown once
    /// (`countersign keys prepare --show-secret`; see keys.md).
    #[schemars(with = "String")]
    pub(crate) algorithm: Algorithm,
    /// The size of RSA keys made for this ring: 2048, 3072 or 4096.
    pub(crate) rsa_bits: u32,
    /// Where keys made for this ring are, and sign: `local` (here, sealed) or, in a build with
    /// `--features kms`, `kms` (made in AWS KMS, and never leaving it; see keys.md).
    pub(crate) signer: RawSigner,
    /// Other AWS regions that have a replica of each key made for this ring (KMS multi-Region
    /// keys), so that a server there signs with the same key. With `signer = "kms"`.
    pub(crate) kms_replicas: Vec<String>,
    /// Whether its public keys are in the JWKS. Default: yes, but not for the ring of profile
    /// `jaas`, whose key 8x8 is given by hand.
    pub(crate) publish: Option<bool>,
    /// How long a key signs before the next one takes over, like `90days`. Not set: by hand, with
    /// `countersign keys`. In a ring that is not published only with `propagation`, and never with
    /// secrets or the ring of profile `jaas`.
    pub(crate) rotate_every: Option<String>,
    /// Who verifies its tokens; each has to take the algorithm, and a new key waits until the
    /// slowest of them knows it: `aws-http-api`, `aws-rest-api`, `aws-alb`, `aws-iam`,
    /// `aws-cognito`, `aws-appsync`, `aws-verified-permissions`, `envoy`, `jitsi`, `countersign`,
    /// `jose`, `pyjwt`, `aws-jwt-verify`, `kubernetes`, or `other` (a day).
    pub(crate) consumers: Vec<String>,
    /// How long a new key must be seen in public before it signs. Default: the longest key cache of
    /// the consumers, and `jwks.max_age`; not below a cache that one of them documents, unless that
    /// reads the keys again for a key it does not know. For secrets and rings that are not
    /// published: how long it takes until every verifier was given a new key. Default: the longest
    /// key cache of the consumers, and nothing for the ring of profile `jaas`, as 8x8 has every key
    /// that it has named.
    pub(crate) propagation: Option<String>,
    /// The longest lifetime of a token it signs. Default: the longest `max_lifetime` of a client,
    /// and a day at least.
    pub(crate) longest_token: Option<String>,
    /// How long a key stays in the JWKS after it has stopped signing. Default, and the least it may
    /// be: `longest_token`, `rotation.skew`, `store.max_stale_signing` and `store.refresh`
    /// together.
    pub(crate) keep_retired: Option<String>,
}

impl Default for RawRing {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::RS256,
            rsa_bits: 2048,
            signer: RawSigner::Local,
            kms_replicas: Vec::new(),
            publish: None,
            rotate_every: None,
            consumers: vec!["other".into()],
            propagation: None,
            longest_token: None,
            keep_retired: None,
        }
    }
}

/// Where a ring's keys are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawSigner {
    Local,
    Kms,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawProfiles {
    /// Tokens with any claims the client's policy allows.
    pub(crate) jwt: RawJwtProfile,
    /// Access tokens of the grants at `/token` (RFC 9068).
    pub(crate) access_token: RawAccessTokenProfile,
    /// Tokens around a presigned form of S3, where `uploads` has something to upload to.
    pub(crate) upload: RawUploadProfile,
    /// 8x8 JaaS meeting tokens. Also set up by the environment variables `JAAS_APP_ID`,
    /// `JAAS_API_KID` and `PRIVATE_KEY`.
    pub(crate) jaas: Option<RawJaasProfile>,
    /// Meeting tokens for a Jitsi of your own, which its Prosody verifies.
    /// `countersign config prosody` prints what to write there.
    pub(crate) jitsi: Option<RawJitsiProfile>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawJwtProfile {
    /// The ring that signs.
    pub(crate) ring: String,
}

impl Default for RawJwtProfile {
    fn default() -> Self {
        Self { ring: "default".into() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawAccessTokenProfile {
    /// The ring that signs.
    pub(crate) ring: String,
    /// The header's `typ`: `at+jwt` as RFC 9068 says, or `JWT` for verifiers that refuse every
    /// other one.
    pub(crate) typ: RawAccessTokenTyp,
}

impl Default for RawAccessTokenProfile {
    fn default() -> Self {
        Self { ring: "default".into(), typ: RawAccessTokenTyp::AtJwt }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum RawAccessTokenTyp {
    #[serde(rename = "at+jwt")]
    AtJwt,
    #[serde(rename = "JWT")]
    Jwt,
}
