//! An issuer in memory with `POST /token`, for clients and rules of a test's own.

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use countersign_grants::{
    ClientGrants, ClientKind, DpopSettings, ExchangeRule, Grants, Holder, Impersonation, Mode, Once,
    RefreshLimits, Refreshes, RuleSettings, RuleSource, Terms, TokenRoute,
};
use countersign_issuer::{
    AccessTokenProfile, AccessTokenTyp, ClaimRules, Client, ClientSecret, GrantType, HttpIssuer, Issuer,
    IssuerSettings, IssuerUrl, JWKS_PATH, JaasProfile, JitsiProfile, JwksCertificates, JwtProfile,
    MeetingGrant, MintPolicy, Names, Patience, Profile, RequestLimits, Scope, SignatureLimits,
    http::{Peer, RateLimits, Routes},
};
use countersign_jose::{
    Algorithm, Header, KeySet, KeySize, Policy, SigningInput, SigningKey, Timestamp, Unverified,
};
use countersign_keyring::{LoadedKeyring, LocalSigner, SealingKey, StoredKeyring};
use countersign_store::{ManualClock, MemoryStore, Store};
use countersign_verifier::{KeySource, TrustedIssuer};
use proptest::prelude::*;
use serde_json::{Map, Value, value::to_raw_value};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock, OnceLock},
    time::Duration,
};
use tracing::{Dispatch, Subscriber, subscriber::DefaultGuard};

pub(crate) const ISSUER: &str = "https://tokens.example";
pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// Has the events of this thread recorded until the guard is dropped.
///
/// One subscriber is kept for good. While a process has one alone, a callsite that a thread without
/// it meets first is switched off for all threads.
pub(crate) fn recorded_by(records: impl Subscriber + Clone + Send + Sync) -> DefaultGuard {
    static KEPT: OnceLock<Dispatch> = OnceLock::new();
    KEPT.get_or_init(|| Dispatch::new(records.clone()));
    tracing::subscriber::set_default(records)
}

const LIMITS: RefreshLimits = RefreshLimits {
    grace: Duration::from_secs(30),
    idle: Duration::from_secs(3600),
    absolute: Duration::from_secs(86_400),
    skew: Duration::from_secs(60),
};

const DPOP: DpopSettings = DpopSettings { window: Duration::from_secs(60), require_nonce: false };

pub(crate) static SECRET: LazyLock<ClientSecret> = LazyLock::new(|| ClientSecret::generate().unwrap());
static KEYS: LazyLock<LoadedKeyring> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
    LoadedKeyring::default()
        .with_ring("default".parse().unwrap(), Arc::new(LocalSigner::new("k1".to_owned(), key)))
        .with_ring("meetings".parse().unwrap(), {
            let key = SigningKey::generate(Algorithm::RS256, KeySize::default()).unwrap();
            Arc::new(LocalSigner::new("app/1".to_owned(), key))
        })
});

/// What one client may have.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) grant: Option<GrantType>,
    pub(crate) audiences: Vec<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) default_scope: Option<String>,
    pub(crate) longest: u64,
    pub(crate) fixed: bool,
    pub(crate) profiles: Vec<String>,
    /// Whether it has the grant `refresh_token` too.
    pub(crate) refresh: bool,
    /// Claims it may have; any if none are named.
    pub(crate) allow: Names,
    /// What it may have in meeting tokens of either profile.
    pub(crate) meetings: MeetingGrant,
    /// For which audiences it may ask what a token is worth.
    pub(crate) introspect: Names,
}

impl Entry {
    /// A client with one audience, these scopes, all of them by default, and no fixed claims.
    pub(crate) fn plain(grant: GrantType, scopes: Vec<String>, longest: u64) -> Self {
        let own: Vec<&str> = scopes.iter().map(String::as_str).filter(|scope| *scope != "*").collect();
        Self {
            grant: Some(grant),
            audiences: vec!["x:a".to_owned()],
            default_scope: (!own.is_empty()).then(|| own.join(" ")),
            scopes,
            longest,
            fixed: false,
            profiles: vec!["access_token".to_owned()],
            refresh: false,
            allow: Names::Any,
            meetings: MeetingGrant::default(),
            introspect: Names::default(),
        }
    }

    fn client(&self, id: &str) -> Client {
        let fixed = if self.fixed { vec![("tenant".into(), to_raw_value("acme").unwrap())] } else { vec![] };
        Client {
            id: id.parse().unwrap(),
            secret_hashes: vec![SECRET.hash()],
            policy: MintPolicy {
                audiences: self.audiences.iter().cloned().collect(),
                max_lifetime: Duration::from_secs(self.longest),
                scopes: self.scopes.iter().cloned().collect(),
                claims: ClaimRules { allow: self.allow.clone(), fixed, ..ClaimRules::default() },
                profiles: self.profiles.iter().cloned().collect(),
                jaas: self.meetings.clone(),
                jitsi: self.meetings.clone(),
                ..MintPolicy::default()
            },
        }
    }

    fn grants(&self) -> ClientGrants {
        ClientGrants {
            grants: self.grant.into_iter().chain(self.refresh.then_some(GrantType::RefreshToken)).collect(),
            default_scope: self.default_scope.as_deref().map(|scope| Scope::parse(scope).unwrap()),
            introspect: self.introspect.clone(),
            kind: ClientKind::Confidential,
            dpop_bound: false,
        }
    }
}

/// The issuer with these clients, and its route where one of them has a grant.
pub(crate) fn route(
    clients: &[(&str, &Entry)],
    rules: Vec<ExchangeRule>,
) -> (Arc<Issuer>, Option<Arc<TokenRoute>>) {
    let clock = Arc::new(ManualClock::at(NOW));
    let (store, grants) = (Arc::new(MemoryStore::new(Arc::clone(&clock) as _)), grants(clients, rules));
    route_on(store, clock, clients, grants)
}

/// What these clients may do by these rules.
pub(crate) fn grants(clients: &[(&str, &Entry)], rules: Vec<ExchangeRule>) -> Option<Grants> {
    let grants = clients.iter().map(|(id, entry)| ((*id).to_owned(), entry.grants()));
    Grants::new(grants.collect::<BTreeMap<_, _>>(), None, None, rules, LIMITS, DPOP)
}

/// The same, on this store.
pub(crate) fn route_on(
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    clients: &[(&str, &Entry)],
    grants: Option<Grants>,
) -> (Arc<Issuer>, Option<Arc<TokenRoute>>) {
    let (ring, meetings) = (|| "default".parse().unwrap(), || "meetings".parse().unwrap());
    let profiles: Vec<Arc<dyn Profile>> = vec![
        Arc::new(JwtProfile { ring: ring() }),
        Arc::new(AccessTokenProfile { ring: ring(), typ: AccessTokenTyp::AtJwt }),
        Arc::new(JaasProfile { app_id: "app".into(), ring: meetings() }),
        Arc::new(JitsiProfile {
            app_id: "mine".into(),
            audience: "jitsi".into(),
            domain: "meet.example".into(),
            ring: meetings(),
        }),
    ];
    let settings = IssuerSettings {
        issuer: IssuerUrl::parse(ISSUER, HttpIssuer::LoopbackOnly).unwrap(),
        clients: clients.iter().map(|(id, entry)| entry.client(id)).collect(),
        profiles,
        unpublished_rings: BTreeSet::from([meetings()]),
        jwks_max_age: Duration::from_secs(300),
        jwks_certificates: JwksCertificates::Left,
        backdate: Duration::from_secs(5),
        limits: RequestLimits { body_bytes: 16 * 1024, json_depth: 16, token_bytes: 8192 },
        rates: RateLimits::default(),
        patience: Patience {
            max_stale: Duration::from_secs(300),
            max_stale_signing: Duration::from_secs(3600),
            clock_settles: Duration::from_secs(86_400),
            skew: Duration::from_secs(60),
        },
        signatures: SignatureLimits { at_once: 1, waiting: 1024 },
        token_endpoint: None,
    };
    let issuer = Arc::new(Issuer::new(settings, KEYS.clone(), clock).unwrap());
    let rates = Routes::new(Arc::clone(&issuer), Arc::new(|_| false)).rates();
    let sealing = Arc::new(SealingKey::generate().unwrap().0);
    let keyring = StoredKeyring::new(Arc::clone(&store), sealing);
    let route = |grants| Arc::new(TokenRoute::new(grants, Arc::clone(&issuer), rates, store, keyring));
    let route = grants.map(route);
    (issuer, route)
}

pub(crate) fn send(route: &Arc<TokenRoute>, credentials: &str, body: String) -> (StatusCode, Value) {
    let request = request(credentials, body);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let response = route.answer(request, Peer("127.0.0.1".parse().unwrap())).await;
        let status = response.status();
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    })
}

/// A request of the client with these credentials.
pub(crate) fn request(credentials: &str, body: String) -> Request<Body> {
    use base64::Engine;
    let basic = base64::engine::general_purpose::STANDARD.encode(credentials);
    Request::post("/token")
        .header(header::AUTHORIZATION, format!("Basic {basic}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap()
}

/// A rule of the client `mine` for everything it has, which gives nothing but what it is changed
/// to.
pub(crate) fn rule(name: &str, source: RuleSource) -> RuleSettings {
    let provider = matches!(source, RuleSource::Jwt(..)).then(|| name.parse().unwrap());
    RuleSettings {
        name: name.to_owned(),
        clients: BTreeSet::from(["mine".to_owned()]),
        grants: BTreeSet::from([GrantType::JwtBearer, GrantType::TokenExchange]),
        mode: Mode::Enforce,
        provider,
        source,
        terms: Terms::default(),
        scopes: Names::default(),
        longest: None,
        refresh: Refreshes::No,
        impersonation: Impersonation::Allowed,
        delegation: None,
        holder: Holder::Client,
        id_jags: Vec::new(),
        meeting: None,
        upload: None,
    }
}

/// Tokens of an issuer with one key, made for `audience`.
pub(crate) fn source(issuer: &str, key: &SigningKey, audience: &str, once: Once) -> RuleSource {
    let key = key.public_key().unwrap().to_pem().unwrap();
    let issuer = TrustedIssuer::builder(issuer)
        .keys(KeySource::InlinePem(key))
        .algorithms([Algorithm::ES256])
        .audiences([audience])
        .build()
        .unwrap();
    RuleSource::Jwt(Box::new(issuer), once)
}

/// A token with these claims.
pub(crate) fn signed(key: &SigningKey, claims: &Value) -> String {
    signed_text(key, &claims.to_string())
}

/// The same of claims whose numbers are not to be read.
pub(crate) fn signed_text(key: &SigningKey, claims: &str) -> String {
    let header = Header { alg: key.algorithm(), kid: None, typ: Some("JWT") }.encode();
    let input = SigningInput::new(&header, claims.as_bytes());
    let signature = key.sign(&input).unwrap();
    input.finish(&signature)
}

pub(crate) fn scope_names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(proptest::sample::select(vec!["a", "b", "ab", "a:b", "*"]), 0..4)
        .prop_map(|names| names.into_iter().map(str::to_owned).collect())
}

/// The claims of a token that the issuer's published keys verify and that meets `policy`.
pub(crate) fn claims(issuer: &Issuer, token: Unverified<'_>, policy: &Policy) -> Map<String, Value> {
    serde_json::from_str(&payload(issuer, token, policy)).unwrap()
}

/// The same as they are written.
pub(crate) fn payload(issuer: &Issuer, token: Unverified<'_>, policy: &Policy) -> String {
    let documents = issuer.documents();
    let keys = KeySet::parse(&documents.get(JWKS_PATH).unwrap().body, None).unwrap();
    let verified = keys.verify(token).unwrap().check(&policy.clone().issuer(ISSUER), NOW).unwrap();
    String::from_utf8(verified.payload().to_vec()).unwrap()
}
