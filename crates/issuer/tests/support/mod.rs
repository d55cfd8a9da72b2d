//! An issuer in memory with a client `app` and a client `nothing`, and a way to send it requests.

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header, request::Builder},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_issuer::{
    ClaimRules, Client, ClientSecret, HttpIssuer, Issuer, IssuerSettings, IssuerUrl, JaasProfile,
    JwksCertificates, JwtProfile, MintPolicy, Names, Patience, Profile, RequestLimits, SignatureLimits,
    http::{self, Peer, Rate, RateLimits},
};
use countersign_jose::{Algorithm, KeySize, SigningKey, Timestamp};
use countersign_keyring::{LoadedKeyring, LocalSigner, RingName};
use countersign_store::ManualClock;
use serde_json::{Value, value::to_raw_value};
use std::{
    collections::BTreeSet,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, OnceLock},
    time::Duration,
};

pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

pub(crate) struct House {
    pub(crate) issuer: String,
    pub(crate) secret: String,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) issuer_handle: Arc<Issuer>,
    routes: http::Routes,
}

/// Claims that client `app` may set.
const ALLOWED: [&str; 13] =
    ["sub", "roles", "big", "exact", "exp10", "neg", "text", "deep", "admin", "scope", "scp", "a", "x"];

const SIGNATURES: SignatureLimits = SignatureLimits { at_once: 1, waiting: 1024 };

/// What client `app` may have.
fn policy() -> MintPolicy {
    MintPolicy {
        audiences: ["api://one", "api://two"].into_iter().collect(),
        max_lifetime: Duration::from_secs(7200),
        scopes: ["read", "write"].into_iter().collect(),
        claims: ClaimRules {
            allow: ALLOWED.into_iter().collect(),
            deny: vec!["admin".parse().unwrap()],
            fixed: vec![("tenant".into(), to_raw_value("acme").unwrap())],
            schema: None,
        },
        profiles: Names::Listed(vec!["jwt".into()]),
        ..MintPolicy::default()
    }
}

impl House {
    pub(crate) fn new(issuer: &str) -> Self {
        Self::build(issuer, RateLimits::default())
    }

    /// A house whose client `app` has this policy.
    pub(crate) fn with_policy(policy: MintPolicy) -> Self {
        Self::assemble("https://tokens.example", RateLimits::default(), policy, SIGNATURES)
    }

    /// A house that signs this much at a time.
    pub(crate) fn with_signatures(limits: SignatureLimits) -> Self {
        Self::assemble("https://tokens.example", RateLimits::default(), policy(), limits)
    }

    pub(crate) fn with_rates(issuer: &str, per_client: u32, per_address: u32) -> Self {
        let hourly = |n| Some(Rate { requests: NonZeroU32::new(n).unwrap(), per: Duration::from_secs(3600) });
        Self::build(issuer, RateLimits { per_client: hourly(per_client), per_address: hourly(per_address) })
    }

    fn build(issuer: &str, rates: RateLimits) -> Self {
        Self::assemble(issuer, rates, policy(), SIGNATURES)
    }

    fn assemble(issuer: &str, rates: RateLimits, policy: MintPolicy, signatures: SignatureLimits) -> Self {
        let secret = ClientSecret::generate().unwrap();
        let client =
            |id: &str, policy| Client { id: id.parse().unwrap(), secret_hashes: vec![secret.hash()], policy };
        let ring: RingName = "default".parse().unwrap();
        let profiles: Vec<Arc<dyn Profile>> = vec![
            Arc::new(JwtProfile { ring }),
            Arc::new(JaasProfile { app_id: "app".into(), ring: "jaas".parse().unwrap() }),
        ];
        let settings = IssuerSettings {
            issuer: IssuerUrl::parse(issuer, HttpIssuer::LoopbackOnly).unwrap(),
            clients: [client("app", policy), client("nothing", MintPolicy::default())].into_iter().collect(),
            profiles,
            unpublished_rings: BTreeSet::from(["jaas".parse().unwrap()]),
            jwks_max_age: Duration::from_secs(300),
            jwks_certificates: JwksCertificates::Left,
            backdate: Duration::from_secs(5),
            limits: RequestLimits { body_bytes: 16 * 1024, json_depth: 16, token_bytes: 8192 },
            rates,
            patience: Patience {
                max_stale: Duration::from_secs(300),
                max_stale_signing: Duration::from_secs(3600),
                skew: Duration::from_secs(60),
                clock_settles: Duration::from_secs(86_400),
            },
            signatures,
            token_endpoint: None,
        };
        let clock = Arc::new(ManualClock::at(NOW));
        let issuer_handle = Arc::new(Issuer::new(settings, keyring(), Arc::clone(&clock) as _).unwrap());
        let routes =
            http::Routes::new(Arc::clone(&issuer_handle), Arc::new(|address: IpAddr| address.is_loopback()));
        Self { issuer: issuer.to_owned(), secret: secret.expose().to_owned(), clock, issuer_handle, routes }
    }

    pub(crate) fn replace_keys(&self) {
        self.issuer_handle.replace_keys(keyring()).unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path), String::new()).await
    }

    pub(crate) async fn send(&self, builder: Builder, body: String) -> Answer {
        let mut request: Request<Body> = builder.body(Body::from(body)).unwrap();
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().entry(header::CONTENT_TYPE).or_insert(json);
        let peer = request.extensions().get().copied().unwrap_or(Peer("127.0.0.1".parse().unwrap()));
        let response = self.routes.answer(request, peer).await;
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn assert_error(&self, status: StatusCode, error: &str, says: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        let body = self.json();
        assert_eq!(body["error"], error);
        let description = body["error_description"].as_str().unwrap();
        assert!(description.contains(says), "{description:?} does not say {says:?}");
        assert_eq!(self.header("cache-control"), "no-store");
    }
}

pub(crate) fn request(method: &str, path: &str) -> Builder {
    Request::builder().method(method).uri(path)
}

pub(crate) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// A key for profile jwt and the one that the console of JaaS knows.
pub(crate) fn keyring() -> LoadedKeyring {
    static JAAS: OnceLock<Arc<LocalSigner>> = OnceLock::new();
    let jaas = JAAS.get_or_init(|| {
        let key = SigningKey::generate(Algorithm::RS256, KeySize::default()).unwrap();
        Arc::new(LocalSigner::new("app/1".to_owned(), key))
    });
    let key = SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
    let kid = key.public_key().unwrap().thumbprint();
    LoadedKeyring::default()
        .with_ring("default".parse().unwrap(), Arc::new(LocalSigner::new(kid, key)))
        .with_ring("jaas".parse().unwrap(), Arc::clone(jaas) as _)
}
